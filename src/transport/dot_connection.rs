//! One DoT connection: a task owns the TLS stream, askers share a [`Pipeline`] with it.
//!
//! The writer sends everything that was queued since its last write in one write, a TLS record for each message; the
//! reader works off every message of a read. Each read is at most [`READ_LEN`], each write ends within
//! [`WRITE_LIMIT`], and the waiting is bounded by the askers' deadlines and the idle time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::hold::Hold;
use super::link::{AskError, Carry, Departure};
use super::pipeline::{MAX_IN_FLIGHT, Pipeline, Received, StartError, Ticket};
use super::random_ids::RandomIds;
use super::tls::{Session, io_words};
use super::turn::behind_the_others;
use super::{ExchangeError, Response, Stats};
use crate::wire::frame::FrameReader;

/// The askers' side. Dropping it closes the connection when its last query is done.
#[derive(Debug)]
pub(super) struct DotConnection {
    shared: Arc<Shared>,
    hold: Hold,
    closing: watch::Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    pipeline: Mutex<Table>,
    ids: Mutex<RandomIds>,
    /// Something was queued, or the last waiter is gone.
    changed: Notify,
    /// Places in flight; askers over the limit wait here in line.
    places: Semaphore,
    /// Reads that brought something.
    reads: AtomicU64,
    /// Why the connection ended.
    end: OnceLock<String>,
    stats: Arc<Stats>,
}

impl DotConnection {
    /// Takes over a stream whose handshake is done, and its hold.
    pub(super) fn start(stream: Session, hold: Hold, stats: Arc<Stats>) -> Self {
        let (alive, closing) = watch::channel(());
        let shared = Arc::new(Shared {
            pipeline: Mutex::new(Pipeline::new(Instant::now())),
            ids: Mutex::default(),
            changed: Notify::new(),
            places: Semaphore::new(MAX_IN_FLIGHT),
            reads: AtomicU64::new(0),
            end: OnceLock::new(),
            stats,
        });
        tokio::spawn(run(Arc::clone(&shared), stream, alive));
        Self { shared, hold, closing }
    }
}

impl Drop for DotConnection {
    fn drop(&mut self) {
        self.shared.lock().drain();
        self.shared.changed.notify_one();
    }
}

impl Carry for DotConnection {
    fn is_open(&self) -> bool {
        self.shared.lock().is_open()
    }

    fn is_crowded(&self) -> bool {
        self.shared.places.available_permits() < MAX_IN_FLIGHT / 5
    }

    fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    fn has_lost_its_path(&self) -> bool {
        self.hold.is_lost()
    }

    fn closing(&self) -> watch::Receiver<()> {
        self.closing.clone()
    }

    async fn ask(&self, query: &[u8], deadline: Instant, departure: &Departure) -> Result<Response, AskError> {
        let shared = &*self.shared;
        let late = || AskError::Failed(ExchangeError::network("no free place on the connection in time"));
        let place = timeout_at(deadline, shared.places.acquire())
            .await
            .map_err(|_| late())?;
        let place = place.map_err(|_| AskError::Unsent(shared.ended()))?;
        // A place that came free with the deadline is no use any more, to this asker or those behind it.
        if Instant::now() >= deadline {
            return Err(late());
        }
        let (waiter, mut answer) = oneshot::channel();
        let ticket = shared.start(query, waiter).map_err(|error| shared.not_started(error))?;
        let _asker = Asker { shared, ticket };
        departure.now();
        shared.stats.queries.increment();
        shared.changed.notify_one();
        let mut ended = timeout_at(deadline.min(Instant::now() + PLACE_LIMIT), &mut answer).await;
        if ended.is_err() {
            // Names that the resolver has trouble with must not keep all others out.
            drop(place);
            ended = timeout_at(deadline, answer).await;
        }
        match ended {
            Ok(Ok(octets)) => Ok(Response { octets, age: 0 }),
            Ok(Err(_)) => Err(AskError::Unanswered(shared.ended())),
            Err(_) => Err(AskError::Failed(ExchangeError::silent("no answer in time"))),
        }
    }
}

type Table = Pipeline<oneshot::Sender<Vec<u8>>>;

/// Gives the question's place back, whichever way its asker ends.
struct Asker<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        self.shared.lock().abandon(self.ticket, Instant::now());
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, query: &[u8], waiter: oneshot::Sender<Vec<u8>>) -> Result<Ticket, StartError> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock().start(query, waiter, || ids.draw())
    }

    fn ended(&self) -> ExchangeError {
        ExchangeError::network(self.end.get().map_or("the connection is closing", String::as_str))
    }

    fn not_started(&self, error: StartError) -> AskError {
        match error {
            StartError::Closing => AskError::Unsent(self.ended()),
            StartError::Full => AskError::Failed(ExchangeError::full("the connection is full")),
            StartError::Impossible => AskError::Failed(ExchangeError::network("the query cannot be sent")),
        }
    }

    /// Reads until the connection ends; says why it did.
    async fn read(&self, mut stream: ReadHalf<Session>) -> String {
        let mut frames = FrameReader::new();
        let mut buffer = vec![0; READ_LEN];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return "the server closed the connection".to_owned(),
                Ok(len) => {
                    self.reads.fetch_add(1, Ordering::Relaxed);
                    frames.push(&buffer[..len]);
                }
                Err(error) => return format!("the connection broke: {}", io_words(&error)),
            }
            if !self.deliver(&mut frames) {
                return "the server sent too many messages that answer no question".to_owned();
            }
        }
    }

    /// Hands out every whole message; false when the server has sent too much that was not asked for.
    fn deliver(&self, frames: &mut FrameReader) -> bool {
        let now = Instant::now();
        let mut pipeline = self.lock();
        while let Some(message) = frames.next_message() {
            let mut message = message.to_vec();
            match pipeline.receive(&mut message, now) {
                // An asker that has just gone away needs no answer.
                Received::Answer(waiter) => drop(waiter.send(message)),
                Received::Late => {}
                Received::Violation => self.stats.violations.increment(),
                Received::TooManyViolations => {
                    self.stats.violations.increment();
                    return false;
                }
            }
        }
        true
    }

    /// Writes until the connection breaks or has been idle long enough; says why it ended.
    async fn write(&self, stream: &mut WriteHalf<Session>) -> String {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let idle = self.next_batch(&mut batch);
            if !batch.is_empty() {
                match timeout(WRITE_LIMIT, send(stream, &batch)).await {
                    Ok(Ok(())) => self.stats.writes.increment(),
                    Ok(Err(error)) => return format!("the connection broke: {}", io_words(&error)),
                    Err(_) => return "the server stopped reading".to_owned(),
                }
                continue;
            }
            tokio::select! {
                () = self.changed.notified() => if self.lock().is_shared() {
                    // The others of a batch have not put their questions yet.
                    behind_the_others().await;
                },
                () = sleep_until(idle.unwrap_or_else(Instant::now)), if idle.is_some() => {
                    if self.drain_if_idle() {
                        return "the connection was idle".to_owned();
                    }
                }
            }
        }
    }

    fn next_batch(&self, batch: &mut Vec<u8>) -> Option<Instant> {
        let mut pipeline = self.lock();
        pipeline.take_outgoing(batch);
        pipeline.idle_deadline()
    }

    fn drain_if_idle(&self) -> bool {
        let mut pipeline = self.lock();
        let idle = pipeline
            .idle_deadline()
            .is_some_and(|deadline| deadline <= Instant::now());
        if idle {
            pipeline.drain();
        }
        idle
    }
}

/// Sends a batch of frames: a TLS record for each, all records in one write to the socket. dnsdist 1.7 takes one
/// message from a record and leaves the rest of it lying until its time is over.
async fn send(stream: &mut WriteHalf<Session>, mut batch: &[u8]) -> std::io::Result<()> {
    while let Some(len) = batch.first_chunk::<2>() {
        let frame_len = 2 + usize::from(u16::from_be_bytes(*len));
        let (frame, rest) = batch.split_at(frame_len.min(batch.len()));
        stream.write_all(frame).await?;
        batch = rest;
    }
    stream.flush().await
}

async fn run(shared: Arc<Shared>, stream: Session, alive: watch::Sender<()>) {
    let closing = Closing(&shared);
    let (reader, mut writer) = tokio::io::split(stream);
    let end = tokio::select! {
        end = shared.read(reader) => end,
        end = shared.write(&mut writer) => end,
    };
    tracing::debug!(reason = end, "connection to a resolver ended");
    let _ = shared.end.set(end);
    drop(closing);
    drop(alive);
    // A polite close_notify, if the peer still reads.
    let _ = timeout(CLOSE_LIMIT, writer.shutdown()).await;
}

/// Tells every waiter that the connection is over, also when its task panics.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.places.close();
        self.0.lock().close();
    }
}

/// How long a query keeps its place in flight: then it only waits, and the places are for those whose answers come. All in all
/// there are never more than wait at one resolver.
const PLACE_LIMIT: Duration = Duration::from_secs(1);

/// What one read takes: a whole TLS record (RFC 8446 section 5.1).
const READ_LEN: usize = 16 * 1024;

/// A write is at most 1,200 queries of 388 octets, less than half a megabyte: a peer that has not taken it in a
/// query's lifetime never will.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// For `close_notify`: nothing waits for it but the socket.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
