//! Queries in datagrams: a thread for each socket takes them in batches and answers hits on the spot.
//!
//! The thread never waits for anything but its socket; for a fresh hit it takes no lock that a tokio worker holds for long and
//! allocates nothing. Once a batch's hits are sent, what must wait becomes tasks, and so does what renews an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::intake::{Client, Intake, Message, Refresh, Step, Via, Waiting};
use super::limits::{ERROR_PAUSE, ERRORS_BEFORE_PAUSE};
use super::stats::Tally;
use crate::os::socket::{BATCH_LEN, Datagram, MAX_REPLY_LEN, ReplyHandle, Transport, UdpBatch, UdpListener};
use crate::resolve::{Outcome, Resolver};
use crate::shutdown::Shutdown;
use crate::stats::Counter;

/// One socket's receiving thread.
pub(super) struct Receiver {
    pub(super) listener: Arc<UdpListener>,
    pub(super) intake: Arc<Intake>,
    pub(super) resolver: watch::Receiver<Arc<Resolver>>,
    pub(super) shutdown: Shutdown,
    pub(super) runtime: Handle,
    /// How often it came back from waiting; see `pulse`.
    pub(super) turns: Arc<Counter>,
}

impl Receiver {
    /// Receives until the listener is stopped. A panic is caught and counted, and receiving goes on.
    pub(super) fn run(mut self) {
        let runtime = self.runtime.clone();
        let _tasks_run_there = runtime.enter();
        // Outlives a panic: what others asked before it is still answered.
        let mut later = Later::new();
        while !self.listener.is_stopping() {
            if catch_unwind(AssertUnwindSafe(|| self.receive(&mut later))).is_err() {
                self.intake.stats.panics.increment();
            }
        }
    }

    fn receive(&mut self, later: &mut Later) {
        let mut batch = UdpBatch::new();
        let mut tally = Tally::default();
        let mut errors = 0;
        let mut resolver = Arc::clone(&self.resolver.borrow_and_update());
        while !self.listener.is_stopping() {
            match batch.receive(&self.listener) {
                Ok(_) => {
                    errors = 0;
                    self.turns.increment();
                }
                Err(_) => {
                    self.intake.stats.socket_failures.increment();
                    errors += 1;
                    if errors >= ERRORS_BEFORE_PAUSE {
                        std::thread::park_timeout(ERROR_PAUSE);
                    }
                    continue;
                }
            }
            // A look at one atomic, unless a reload has published a new resolver.
            if self.resolver.has_changed().unwrap_or(false) {
                resolver = Arc::clone(&self.resolver.borrow_and_update());
            }
            self.answer(&mut batch, &resolver, &mut tally, later);
        }
    }

    fn answer(&self, batch: &mut UdpBatch, resolver: &Arc<Resolver>, tally: &mut Tally, later: &mut Later) {
        let received = Instant::now();
        let oversized = batch.answer(|datagram, out| {
            let Datagram { octets, path } = datagram;
            let message = Message {
                octets,
                client: Client {
                    address: path.peer.ip(),
                    asked_at: self.listener.local().ip(),
                },
                via: Via::Udp,
                received,
            };
            match self.intake.answer(resolver, message, out, tally) {
                Step::Done(len) => len,
                Step::DoneThenRefresh(len, refresh) => {
                    later.refreshes.push(refresh);
                    len
                }
                Step::Wait(waiting) => {
                    later.owed.push((waiting, ReplyHandle::new(&self.listener, path)));
                    0
                }
            }
        });
        let stats = &self.intake.stats;
        for _ in 0..oversized {
            stats.oversized.increment();
            tally.count_query(Outcome::Rejected);
        }
        let sent = batch.send(&self.listener);
        for _ in 0..sent.failed {
            stats.socket_failures.increment();
        }
        let latency = if tally.has_latency() {
            received.elapsed()
        } else {
            Duration::ZERO
        };
        tally.flush(stats, Transport::Udp, latency);
        self.hand_over(resolver, &mut later.owed);
        for refresh in later.refreshes.drain(..) {
            refresh.start(resolver);
        }
    }

    /// Wakes the runtime once, however many wait: they begin on one of its threads.
    fn hand_over(&self, resolver: &Arc<Resolver>, owed: &mut Vec<Owed>) {
        if owed.is_empty() {
            return;
        }
        let begin = {
            let (intake, resolver) = (Arc::clone(&self.intake), Arc::clone(resolver));
            let shutdown = self.shutdown.clone();
            move |(waiting, reply)| {
                shutdown.spawn(answer_late(Arc::clone(&intake), Arc::clone(&resolver), waiting, reply));
            }
        };
        if owed.len() > 1 {
            let all = std::mem::replace(owed, Vec::with_capacity(BATCH_LEN));
            self.shutdown.spawn(async move { all.into_iter().for_each(begin) });
        } else {
            owed.drain(..).for_each(begin);
        }
    }
}

/// A query that waits for its answer, and the way back.
type Owed = (Waiting, ReplyHandle);

/// What a batch leaves to be done when its hits are sent. Each datagram brings one at the most: nothing here grows beyond two batches.
struct Later {
    owed: Vec<Owed>,
    refreshes: Vec<Refresh>,
}

impl Later {
    fn new() -> Self {
        Self {
            owed: Vec::with_capacity(BATCH_LEN),
            refreshes: Vec::with_capacity(BATCH_LEN),
        }
    }
}

async fn answer_late(intake: Arc<Intake>, resolver: Arc<Resolver>, waiting: Waiting, reply: ReplyHandle) {
    let late = waiting.settle(&resolver, &intake.stats).await;
    // No await from here on, so the buffer is on the stack and not in the task.
    let mut out = [0; MAX_REPLY_LEN];
    let len = late.write(&intake.stats, &mut out);
    if len > 0 && reply.send(&out[..len]).is_err() {
        intake.stats.socket_failures.increment();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::{self, Given};
    use crate::serve::intake::Gate;
    use crate::serve::limits::WAITING_QUERY_KIB;
    use crate::serve::settings::AccessList;
    use crate::serve::tests::support::{FakeUpstream, Query, test_resolver};

    const ONE: socket::Wish = socket::Wish {
        udp_count: 1,
        patience: None,
    };

    #[test]
    fn a_waiting_query_takes_what_its_limit_reckons_with() {
        let listener = socket::bind("127.0.0.1:0".parse().unwrap(), ONE, Given::default())
            .unwrap()
            .udp
            .remove(0);
        let gate = Gate {
            access: AccessList::new(&[]),
            rate_limit: None,
        };
        let intake = Arc::new(Intake::new(gate, Arc::default()));
        let resolver = test_resolver(&FakeUpstream::new());
        std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(&Query::new("slow.example").octets(1), listener.local())
            .unwrap();
        let mut batch = UdpBatch::new();
        batch.receive(&listener).unwrap();
        let mut size = 0;
        batch.answer(|datagram, out| {
            let Datagram { octets, path } = datagram;
            let message = Message {
                octets,
                client: Client {
                    address: path.peer.ip(),
                    asked_at: listener.local().ip(),
                },
                via: Via::Udp,
                received: Instant::now(),
            };
            if let Step::Wait(waiting) = intake.answer(&resolver, message, out, &mut Tally::default()) {
                let reply = ReplyHandle::new(&listener, path);
                size = size_of_val(&answer_late(Arc::clone(&intake), Arc::clone(&resolver), waiting, reply));
            }
            0
        });
        // The task proper and the header of tokio's; a message of a KiB is the rest.
        assert!(
            size > 0 && size + 256 <= WAITING_QUERY_KIB as usize * 1024,
            "{size} octets"
        );
    }
}
