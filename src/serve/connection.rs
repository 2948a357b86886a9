//! One TCP connection: queries in, answers out in whatever order they are ready.
//!
//! One task with no buffer while it is idle. It reads only what it can answer and makes answers only as fast as they
//! are read, so a client can hold up itself alone.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::intake::{Client, Intake, Late, Message, Step, Via};
use super::limits::{MAX_IN_FLIGHT, MESSAGE_DEADLINE, READ_LEN};
use super::output::Output;
use super::stats::Tally;
use super::tcp::Seat;
use crate::os::socket::Transport;
use crate::resolve::{Outcome, Resolver};
use crate::shutdown::Shutdown;
use crate::wire::frame::{FrameReader, MAX_MESSAGE_LEN};
use crate::wire::header::HEADER_LEN;

/// A connection that was let in.
pub(super) struct Connection {
    stream: TcpStream,
    client: Client,
    seat: Seat,
    intake: Arc<Intake>,
    resolver: watch::Receiver<Arc<Resolver>>,
    input: Input,
    late: JoinSet<Late>,
    output: Output,
    /// Since when it has been owed nothing; `None` while it is owed something.
    idle_since: Option<Instant>,
    /// How long it may be idle: what it was told if it asked (RFC 7828).
    idle_timeout: Duration,
}

/// What is left to do, or why nothing is.
enum Flow {
    GoOn,
    /// The client is gone or was given everything.
    End,
    /// Idle for too long.
    Idle,
    /// The client does not keep to the protocol or does not read.
    Fault,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        client: Client,
        seat: Seat,
        intake: Arc<Intake>,
        resolver: watch::Receiver<Arc<Resolver>>,
    ) -> Self {
        let idle_timeout = seat.idle_timeout();
        Self {
            stream,
            client,
            seat,
            intake,
            resolver,
            input: Input::default(),
            late: JoinSet::new(),
            output: Output::default(),
            idle_since: Some(Instant::now()),
            idle_timeout,
        }
    }

    /// Serves it to its end. After a stop nothing more is read, and what was read is answered.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let stats = Arc::clone(&self.intake.stats);
        let _open = stats.connections.open.hold();
        loop {
            match self.turn(&shutdown).await {
                // A client that never pauses must not keep the worker from the others: waiting for a socket that is
                // ready takes nothing from the task's budget, so every turn does.
                Flow::GoOn => consume_budget().await,
                Flow::End => return,
                Flow::Idle => return stats.connections.closed_idle.increment(),
                Flow::Fault => return stats.connections.closed_faulty.increment(),
            }
        }
    }

    /// Does all that can be done without waiting, then waits for one thing.
    async fn turn(&mut self, shutdown: &Shutdown) -> Flow {
        let now = Instant::now();
        let asked = self.take_messages(now);
        if self
            .output
            .write_to(now, |octets| self.stream.try_write(octets))
            .is_err()
        {
            return Flow::End;
        }
        self.note_idle(asked, now);
        if self.idle_since.is_some() && self.input.state != InputState::Open {
            let is_faulty = self.input.state == InputState::Faulty;
            return if is_faulty { Flow::Fault } else { Flow::End };
        }
        let (deadline, on_deadline) = self.deadline();
        let is_open = self.input.state == InputState::Open;
        tokio::select! {
            ready = self.stream.readable(), if is_open && self.has_room() => return self.read(ready),
            // The next turn writes.
            _ = self.stream.writable(), if !self.output.is_empty() => {}
            Some(late) = self.late.join_next(), if self.output.has_room() => self.collect(late),
            () = self.seat.evicted(), if is_open => self.input.state = InputState::Closed,
            () = shutdown.stopped(), if is_open => self.input.state = InputState::Closed,
            () = until(deadline) => return on_deadline,
        }
        Flow::GoOn
    }

    /// Whether one more query could be answered.
    fn has_room(&self) -> bool {
        self.late.len() < MAX_IN_FLIGHT && self.output.has_room()
    }

    /// What ends the connection next if nothing else happens. What waits for an upstream has a deadline of its own.
    fn deadline(&self) -> (Option<Instant>, Flow) {
        if let Some(deadline) = self.output.deadline() {
            (Some(deadline), Flow::Fault)
        } else if let Some(since) = self.input.message_since {
            (Some(since + MESSAGE_DEADLINE), Flow::Fault)
        } else if let Some(since) = self.idle_since {
            (Some(since + self.idle_timeout), Flow::Idle)
        } else {
            (None, Flow::GoOn)
        }
    }

    /// Tells the table when the connection begins or ceases to be idle, and that an idle one has asked something.
    fn note_idle(&mut self, asked: bool, now: Instant) {
        let is_idle = self.late.is_empty() && self.output.is_empty();
        if is_idle != self.idle_since.is_some() || (is_idle && asked) {
            self.idle_since = is_idle.then_some(now);
            self.seat.set_idle_since(self.idle_since);
        }
    }

    fn read(&mut self, ready: io::Result<()>) -> Flow {
        let mut buffer = [0; READ_LEN];
        match ready.and_then(|()| self.stream.try_read(&mut buffer)) {
            // A client that has said all may still listen (R7766-4).
            Ok(0) => self.input.state = InputState::Closed,
            Ok(len) => self.input.reader.push(&buffer[..len]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return Flow::End,
        }
        Flow::GoOn
    }

    /// Answers every whole message, as long as there is room for what comes of it; says whether there was one.
    fn take_messages(&mut self, now: Instant) -> bool {
        let mut tally = Tally::default();
        let mut asked = false;
        // Without room the rest waits in the reader, and its clock stands still: the delay is ours.
        self.input.message_since = self.input.message_since.filter(|_| self.has_room());
        while self.has_room() {
            let Some(octets) = self.input.reader.next_message() else {
                self.input.note_rest(asked, now);
                break;
            };
            if !asked {
                asked = true;
                self.idle_timeout = self.seat.idle_timeout();
            }
            if octets.len() < HEADER_LEN {
                // Where the next message begins is anybody's guess now (R7766-5).
                tally.count_query(Outcome::Rejected);
                self.input.fail();
                break;
            }
            let keepalive = u16::try_from(self.idle_timeout.as_millis() / 100).unwrap_or(u16::MAX);
            let message = Message {
                octets,
                client: self.client,
                via: Via::Tcp { keepalive },
                received: now,
            };
            let resolver = Arc::clone(&self.resolver.borrow());
            let step = with_scratch(|out| {
                let step = self.intake.answer(&resolver, message, out, &mut tally);
                if let Step::Done(len) | Step::DoneThenRefresh(len, _) = step {
                    self.output.push(&out[..len]);
                }
                step
            });
            match step {
                Step::Done(_) => {}
                // Starts a task, which the write of the answer does not wait for.
                Step::DoneThenRefresh(_, refresh) => refresh.start(&resolver),
                Step::Wait(waiting) => {
                    let intake = Arc::clone(&self.intake);
                    self.late
                        .spawn(async move { waiting.settle(&resolver, &intake.stats).await });
                }
            }
        }
        if asked {
            tally.flush(&self.intake.stats, Transport::Tcp, now.elapsed());
        }
        asked
    }

    /// Makes the answers that are ready, so that they go out in one write.
    fn collect(&mut self, first: Result<Late, JoinError>) {
        let mut next = Some(first);
        while let Some(late) = next {
            match late {
                Ok(late) => with_scratch(|out| {
                    let len = late.write(&self.intake.stats, out);
                    self.output.push(&out[..len]);
                }),
                // Costs this one query.
                Err(_) => self.intake.stats.panics.increment(),
            }
            next = if self.output.has_room() {
                self.late.try_join_next()
            } else {
                None
            };
        }
    }
}

/// What came in and is no whole message yet.
#[derive(Debug, Default)]
struct Input {
    reader: FrameReader,
    /// When the first octet of an incomplete message came.
    message_since: Option<Instant>,
    state: InputState,
}

/// Whether more is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InputState {
    #[default]
    Open,
    /// The client or we have said that nothing more comes.
    Closed,
    /// What comes cannot be understood.
    Faulty,
}

impl Input {
    /// There is no whole message any more: starts, keeps or stops the clock of the incomplete one.
    fn note_rest(&mut self, took_some: bool, now: Instant) {
        if self.reader.is_mid_message() {
            if took_some || self.message_since.is_none() {
                self.message_since = Some(now);
            }
            // At the end of the stream it will never be whole.
            if self.state != InputState::Open {
                self.message_since = None;
            }
        } else {
            self.message_since = None;
            if took_some {
                // An idle connection holds no buffer.
                self.reader = FrameReader::new();
            }
        }
    }

    fn fail(&mut self) {
        *self = Self {
            state: InputState::Faulty,
            ..Self::default()
        };
    }
}

/// Ends at the deadline, if there is one. Cancel-safe.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Lends the thread's own buffer for the longest message: a connection needs none between its messages.
fn with_scratch<R>(write: impl FnOnce(&mut [u8]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE_LEN].into_boxed_slice());
    }
    SCRATCH.with_borrow_mut(|scratch| write(scratch))
}
