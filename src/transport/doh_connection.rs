//! One HTTP/2 connection to a DoH resolver: a task drives it, askers open streams on it.
//!
//! At most one stream waits inside h2 for the server's leave to open (MAX_CONCURRENT_STREAMS); the other askers wait
//! here in line.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::doh::Template;
use super::doh_body;
use super::hold::Hold;
use super::link::{AskError, Carry, Departure};
use super::metered::{Meter, Metered};
use super::pipeline::{MAX_IN_FLIGHT, MAX_VIOLATIONS};
use super::tls::{Session, io_words};
use super::turn::Turn;
use super::{ExchangeError, ExchangeErrorKind, Response, Stats};

/// The askers' side. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct DohConnection {
    shared: Arc<Shared>,
    hold: Hold,
    closing: watch::Receiver<()>,
    /// Its end tells the driver that nobody can ask any more.
    _alive: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    /// `None` once the connection is being closed.
    sender: Mutex<Option<SendRequest<Bytes>>>,
    /// Whose turn it is to open a stream: askers wait in line.
    turn: Semaphore,
    asking: AtomicUsize,
    /// A request was handed to h2 since the connection was last polled.
    is_fresh: AtomicBool,
    /// Answers that were not to the question on their stream.
    violations: AtomicU32,
    last_used: Mutex<Instant>,
    template: Arc<Template>,
    meter: Arc<Meter>,
    pace: Arc<Pace>,
    stats: Arc<Stats>,
}

/// Whether requests go out in a burst or one by one. Knot Resolver 5 refuses a stream that opens between another
/// one's headers and body, which is how h2 sends a burst; after the first refusal this upstream gets each request
/// whole before the next begins. That costs a write for each, so only those pay it who ask for it.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicBool);

impl Pace {
    fn slow_down(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_one_by_one(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a question had come when its time was over.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Queued,
    Sent,
    Answering,
}

impl DohConnection {
    /// Begins HTTP/2 on a session that chose `h2`, with its hold. Does not wait for the server's settings.
    pub(super) async fn start(
        (stream, hold): (Session, Hold),
        template: Arc<Template>,
        pace: Arc<Pace>,
        stats: Arc<Stats>,
        deadline: Instant,
    ) -> Result<Self, ExchangeError> {
        let meter = Arc::new(Meter::default());
        let handshake = builder().handshake(Metered::new(stream, Arc::clone(&meter)));
        let (sender, connection) = match timeout_at(deadline, handshake).await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return Err(ExchangeError::network(h2_words(&error))),
            Err(_) => return Err(ExchangeError::network("http/2 did not begin in time")),
        };
        let shared = Arc::new(Shared {
            sender: Mutex::new(Some(sender)),
            turn: Semaphore::new(1),
            asking: AtomicUsize::new(0),
            is_fresh: AtomicBool::new(false),
            violations: AtomicU32::new(0),
            last_used: Mutex::new(Instant::now()),
            template,
            meter,
            pace,
            stats,
        });
        let (alive, gone) = oneshot::channel();
        let (open, closing) = watch::channel(());
        tokio::spawn(drive(connection, Arc::clone(&shared), gone, open));
        Ok(Self {
            shared,
            hold,
            closing,
            _alive: alive,
        })
    }
}

impl Carry for DohConnection {
    fn is_open(&self) -> bool {
        self.shared.takes_streams()
    }

    fn is_crowded(&self) -> bool {
        self.shared.asking.load(Ordering::Relaxed) * 5 >= self.shared.max_streams() * 4
    }

    fn reads(&self) -> u64 {
        self.shared.meter.reads()
    }

    fn has_lost_its_path(&self) -> bool {
        self.hold.is_lost()
    }

    fn closing(&self) -> watch::Receiver<()> {
        self.closing.clone()
    }

    async fn ask(&self, query: &[u8], deadline: Instant, departure: &Departure) -> Result<Response, AskError> {
        let mut stage = Stage::Queued;
        let _asking = Asking::new(&self.shared);
        match timeout_at(deadline, self.shared.converse(query, deadline, departure, &mut stage)).await {
            Ok(result) => result,
            Err(_) => Err(AskError::Failed(match stage {
                Stage::Queued => no_stream(),
                Stage::Sent => ExchangeError::silent("no answer in time"),
                Stage::Answering => ExchangeError::network("the answer stalled half-way"),
            })),
        }
    }
}

impl Shared {
    async fn converse(
        &self,
        query: &[u8],
        deadline: Instant,
        departure: &Departure,
        stage: &mut Stage,
    ) -> Result<Response, AskError> {
        // The stream stays in scope: dropping it early would tell the server that we lost interest.
        let (response, _stream) = self.send(query, deadline, departure).await?;
        *stage = Stage::Sent;
        let (head, mut body) = response.await.map_err(|error| self.failed(&error))?.into_parts();
        *stage = Stage::Answering;
        let age = doh_body::judge(head.status, &head.headers).map_err(AskError::Failed)?;
        let response = doh_body::read(&mut body, age, query).await;
        if matches!(&response, Err(AskError::Failed(error)) if error.kind == ExchangeErrorKind::Garbage) {
            self.violation();
        }
        response
    }

    /// A server that answers what nobody asked is left after a few times, as over DoT (T-POI-1): behind the same address there
    /// are many machines, and the next connection may meet a sane one.
    fn violation(&self) {
        self.stats.violations.increment();
        if self.violations.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_VIOLATIONS {
            self.close();
        }
    }

    /// Waits for a stream and sends the request on it.
    async fn send(
        &self,
        query: &[u8],
        deadline: Instant,
        departure: &Departure,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), AskError> {
        let unsent = |error: &h2::Error| AskError::Unsent(ExchangeError::network(h2_words(error)));
        let closing = || AskError::Unsent(ExchangeError::network("the connection is closing"));
        let impossible = || AskError::Failed(ExchangeError::network("the query cannot be sent"));
        let (request, body) = self.template.request(query).ok_or_else(impossible)?;
        let _turn = self.turn.acquire().await.map_err(|_| closing())?;
        poll_fn(|context| {
            self.lock()
                .as_mut()
                .map_or(Poll::Ready(None), |sender| sender.poll_ready(context).map(Some))
        })
        .await
        .ok_or_else(closing)?
        .map_err(|error| unsent(&error))?;
        // A turn that came with the deadline is no use any more, to this asker or those behind it.
        if Instant::now() >= deadline {
            return Err(AskError::Failed(no_stream()));
        }
        self.meter.grant();
        let goal = self
            .pace
            .is_one_by_one()
            .then(|| self.meter.written() + body.len() as u64);
        let (response, mut stream) = {
            let mut sender = self.lock();
            let sender = sender.as_mut().ok_or_else(closing)?;
            sender
                .send_request(request, body.is_empty())
                .map_err(|error| unsent(&error))?
        };
        departure.now();
        if !body.is_empty() {
            // If the stream is gone already, its response says why.
            let _ = stream.send_data(body, true);
        }
        self.is_fresh.store(true, Ordering::Release);
        if let Some(goal) = goal {
            self.meter.has_written(goal).await;
        }
        self.stats.queries.increment();
        Ok((response, stream))
    }

    fn failed(&self, error: &h2::Error) -> AskError {
        if is_refused(error) {
            self.pace.slow_down();
        }
        ask_error(error)
    }

    fn lock(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_used(&self) -> MutexGuard<'_, Instant> {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_streams(&self) -> bool {
        // A clone has no stream of its own waiting, so that asking it never takes another asker's wake-up away.
        let Some(mut sender) = self.lock().clone() else {
            return false;
        };
        !matches!(
            sender.poll_ready(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Err(_))
        )
    }

    /// Streams that may be open at once.
    fn max_streams(&self) -> usize {
        let max = self.lock().as_ref().map_or(0, SendRequest::current_max_send_streams);
        max.min(MAX_STREAMS)
    }

    /// Whether several ask, and have room.
    fn has_company(&self) -> bool {
        let asking = self.asking.load(Ordering::Relaxed);
        asking > 1 && asking < self.max_streams()
    }

    /// When to look again whether the connection is idle.
    fn idle_at(&self) -> Instant {
        *self.last_used() + IDLE_LIMIT
    }

    /// Lets no new stream open; h2 then says GOAWAY once the open ones are done.
    fn close(&self) {
        self.turn.close();
        self.lock().take();
    }
}

/// Marks the connection as in use.
struct Asking<'a>(&'a Shared);

impl<'a> Asking<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.asking.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.0.last_used() = Instant::now();
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives the connection until it ends, is idle, or nobody can ask on it any more.
async fn drive(
    connection: Connection<Metered<Session>, Bytes>,
    shared: Arc<Shared>,
    mut gone: oneshot::Receiver<()>,
    open: watch::Sender<()>,
) {
    let mut open = Some(open);
    let mut connection = pin!(connection);
    let mut look = shared.idle_at();
    let mut turn = Turn::default();
    loop {
        tokio::select! {
            end = poll_fn(|context| {
                // The others of a batch have not opened their streams yet. What comes is read at once; and where there is no room for all, each
                // stream is opened before the next one asks.
                if shared.is_fresh.load(Ordering::Acquire) && shared.has_company() {
                    ready!(turn.poll(context));
                }
                shared.is_fresh.store(false, Ordering::Release);
                let polled = connection.as_mut().poll(context);
                // After a GOAWAY the open streams go on, but no other begins: time for a successor.
                if open.is_some() && !shared.takes_streams() {
                    open = None;
                }
                polled
            }) => {
                let reason = end.as_ref().map_or_else(h2_words, |()| "closed".to_owned());
                tracing::debug!(reason, "connection to a resolver ended");
                return shared.close();
            }
            _ = &mut gone => break,
            () = sleep_until(look) => {
                if shared.asking.load(Ordering::Relaxed) > 0 {
                    look = Instant::now() + IDLE_LIMIT;
                } else if shared.idle_at() > Instant::now() {
                    look = shared.idle_at();
                } else {
                    break;
                }
            }
        }
    }
    shared.close();
    // Streams of those who still wait may finish; a peer that does not let us say goodbye is dropped.
    let _ = timeout(LINGER, connection).await;
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_max_send_streams(INITIAL_STREAMS)
        .max_concurrent_reset_streams(MAX_CANCELLED)
        .reset_stream_duration(CANCELLED_KEPT)
        .max_local_error_reset_streams(Some(MAX_ERRORS));
    builder
}

/// Sorts an h2 error by whether to ask again.
pub(super) fn ask_error(error: &h2::Error) -> AskError {
    let words = ExchangeError::network(h2_words(error));
    // h2 fails only those streams with the server's GOAWAY that are above its last one: they were not processed (RFC
    // 9113 section 6.8).
    if error.is_go_away() && error.is_remote() {
        return AskError::Unsent(words);
    }
    if is_refused(error) {
        return AskError::Refused(words);
    }
    // A reset of any other kind may be the first sign of a connection that ends: servers cancel their streams before they close. A
    // DNS query may always be asked again, and it is asked again only once.
    let is_reset = error.is_reset() && error.is_remote();
    if is_reset || error.is_go_away() || error.is_io() {
        return AskError::Unanswered(words);
    }
    AskError::Failed(words)
}

fn is_refused(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM)
}

fn no_stream() -> ExchangeError {
    ExchangeError::network("the server let no more streams open in time")
}

fn h2_words(error: &h2::Error) -> String {
    match (error.get_io(), error.reason()) {
        (Some(io), _) => format!("the connection broke: {}", io_words(io)),
        // The reason alone: GOAWAY's debug data is the peer's own text.
        (None, Some(reason)) => format!("http/2: {reason:?}").to_lowercase(),
        (None, None) => format!("http/2: {error}").to_lowercase(),
    }
}

/// Streams on one connection before a second one is opened, whatever the server allows: as many as over DoT.
const MAX_STREAMS: usize = MAX_IN_FLIGHT;

/// Holds an answer of 65,535 octets without waiting for a window update.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Sixteen of the longest answers at once.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A DoH answer has a handful of headers; this is the limit of most servers' own (T-H2).
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// Streams opened before the server's settings say how many it takes: what RFC 9113 section 6.5.2 recommends that
/// servers allow.
const INITIAL_STREAMS: usize = 100;

/// Cancelled streams remembered, so that their late answers are not taken for errors: as many as may wait at one
/// resolver.
const MAX_CANCELLED: usize = 1_200;

/// How long: a query's lifetime.
const CANCELLED_KEPT: Duration = Duration::from_secs(5);

/// Streams the server may break by malformed frames before the connection is closed.
const MAX_ERRORS: usize = 64;

/// An idle connection is kept this long, if the server does not close it before: as over DoT.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// For the last streams and the GOAWAY: a query's lifetime.
const LINGER: Duration = Duration::from_secs(5);
