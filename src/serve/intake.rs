//! What both transports do with a message: read it, check who asks, answer at once or wait. Knows no sockets.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::{MAX_WAITING_KIB, QUERY_DEADLINE, WAITING_QUERY_KIB};
use super::rate::{ClientNetwork, RateLimit};
use super::settings::AccessList;
use super::stats::{Stats, Tally};
use crate::resolve::{Now, Outcome, Pending, Resolver, Settled};
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;
use crate::wire::query::Query;
use crate::wire::synth;

/// What all threads and connections share.
#[derive(Debug)]
pub(super) struct Intake {
    gate: RwLock<Gate>,
    pub(super) stats: Arc<Stats>,
    waiting: Arc<Semaphore>,
}

/// Who may ask, and how much. Looked at for clients that are not on this host's loopback.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) access: AccessList,
    pub(super) rate_limit: Option<RateLimit>,
}

/// How a message came in, as far as its response depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// The client's payload size limits the response.
    Udp,
    /// Nothing limits it, and a client that asks is told our idle time, in units of 100 milliseconds.
    Tcp { keepalive: u16 },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    /// Where the socket that it came to is bound.
    pub(super) asked_at: IpAddr,
}

impl Client {
    /// Whether it is a program of this host's. What others send never gets to a socket that is bound to loopback; the leak guard leads questions
    /// there that programs here have sent elsewhere, and those come from any address that this host has.
    fn is_here(self) -> bool {
        [self.address, self.asked_at]
            .iter()
            .any(|ip| ip.to_canonical().is_loopback())
    }
}

/// One message from a client.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) octets: &'a [u8],
    pub(super) client: Client,
    pub(super) via: Via,
    pub(super) received: Instant,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    may_ask: bool,
    /// Its network asks too many over UDP.
    is_over_rate: bool,
}

/// What became of a message.
pub(super) enum Step {
    /// The response is written, this long; 0 is silence.
    Done(usize),
    /// The same, and once it is sent the resolver should make the answer new ([`Resolver::refresh`]).
    DoneThenRefresh(usize, Refresh),
    /// The response comes later.
    Wait(Waiting),
}

/// An answer to make new, in the time that a query has.
pub(super) struct Refresh {
    pending: Pending,
    deadline: Instant,
}

impl Refresh {
    /// Starts it; waits for nothing.
    pub(super) fn start(self, resolver: &Resolver) {
        resolver.refresh(self.pending, self.deadline);
    }
}

impl Intake {
    pub(super) fn new(gate: Gate, stats: Arc<Stats>) -> Self {
        Self {
            gate: RwLock::new(gate),
            stats,
            waiting: Arc::new(Semaphore::new(MAX_WAITING_KIB)),
        }
    }

    /// Others may ask from the next message on.
    pub(super) fn set_gate(&self, gate: Gate) {
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    /// Whether this client may ask.
    pub(super) fn admits(&self, client: Client) -> bool {
        client.is_here() || self.gate().access.allows(client.address)
    }

    fn gate(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers into `out`, or says what to wait for, and counts the message. A panic on the way costs this one message.
    pub(super) fn answer(&self, resolver: &Resolver, message: Message<'_>, out: &mut [u8], tally: &mut Tally) -> Step {
        let counted = tally.queries();
        let step = catch_unwind(AssertUnwindSafe(|| self.try_answer(resolver, message, out, tally)));
        step.unwrap_or_else(|_| {
            self.stats.panics.increment();
            if tally.queries() == counted {
                tally.count_query(Outcome::Rejected);
            }
            Step::Done(0)
        })
    }

    fn try_answer(&self, resolver: &Resolver, message: Message<'_>, out: &mut [u8], tally: &mut Tally) -> Step {
        let standing = self.standing(&message);
        let mut query = match Query::parse(message.octets) {
            Ok(query) => query,
            Err(_) if standing.is_over_rate => return silence(tally),
            Err(reject) => {
                let len = reject.write(message.octets, out);
                return done(len, reject.rcode().unwrap_or(Rcode::NOERROR), Outcome::Rejected, tally);
            }
        };
        match standing {
            Standing {
                may_ask: true,
                is_over_rate: false,
            } => {}
            Standing { may_ask: true, .. } => {
                tally.count_limited();
                let len = synth::write_truncated(&query, out);
                return done(len, Rcode::NOERROR, Outcome::Rejected, tally);
            }
            Standing { is_over_rate: true, .. } => return silence(tally),
            Standing { .. } => {
                let len = synth::write_error(&query, Rcode::REFUSED, Some(Ede::PROHIBITED), out);
                return done(len, Rcode::REFUSED, Outcome::Rejected, tally);
            }
        }
        let limit = message.via.prepare(&mut query, out.len());
        match resolver.answer_now(&query, message.received.into_std(), &mut out[..limit]) {
            Now::Ready(len, outcome) => done(len, header_rcode(&out[..len]), outcome, tally),
            Now::ReadyThenRefresh(len, outcome, pending) => {
                done(len, header_rcode(&out[..len]), outcome, tally);
                Step::DoneThenRefresh(
                    len,
                    Refresh {
                        pending,
                        deadline: message.received + QUERY_DEADLINE,
                    },
                )
            }
            Now::Wait(pending) => {
                let Some(place) = self.place(message.octets.len()) else {
                    self.stats.shed.increment();
                    let len = resolver.answer_shed(&pending, &query, &mut out[..limit]);
                    return done(len, header_rcode(&out[..len]), Outcome::Miss, tally);
                };
                tally.count_query(Outcome::Miss);
                let Message {
                    octets, via, received, ..
                } = message;
                Step::Wait(Waiting {
                    octets: octets.into(),
                    via,
                    received,
                    pending,
                    place,
                })
            }
        }
    }

    /// What the client may do. This host's own clients pass before anything is looked at: most hits are theirs. Every datagram of the
    /// others counts, whatever becomes of it, because each would be answered. Over TCP there is no rate: the address is proven,
    /// connections and their queries are limited, and whoever was sent there from UDP must find an answer.
    fn standing(&self, message: &Message<'_>) -> Standing {
        let client = message.client;
        let stranger = ClientNetwork::of(client.address).filter(|_| !client.is_here());
        let Some(network) = stranger else {
            return Standing {
                may_ask: true,
                is_over_rate: false,
            };
        };
        let gate = self.gate();
        let rate_limit = gate.rate_limit.as_ref().filter(|_| message.via == Via::Udp);
        Standing {
            may_ask: gate.access.allows(client.address),
            is_over_rate: rate_limit.is_some_and(|rate_limit| !rate_limit.allows(network, message.received)),
        }
    }

    /// Room for one more waiting query, or `None` when all is taken.
    fn place(&self, message_len: usize) -> Option<OwnedSemaphorePermit> {
        let extra = u32::try_from(message_len / 1024).unwrap_or(u32::MAX);
        Arc::clone(&self.waiting)
            .try_acquire_many_owned(extra.saturating_add(WAITING_QUERY_KIB))
            .ok()
    }
}

/// Who floods with what could not be answered well anyway gets nothing to send to a victim.
fn silence(tally: &mut Tally) -> Step {
    tally.count_limited();
    done(0, Rcode::NOERROR, Outcome::Rejected, tally)
}

fn done(len: usize, rcode: Rcode, outcome: Outcome, tally: &mut Tally) -> Step {
    tally.count_query(outcome);
    if len > 0 {
        tally.count_response(rcode);
    }
    Step::Done(len)
}

impl Via {
    /// Fits the query to the transport; gives back how long its response may be.
    fn prepare(self, query: &mut Query<'_>, room: usize) -> usize {
        match self {
            Self::Udp => query.udp_payload_limit().min(room),
            Self::Tcp { keepalive } => {
                query.offer_keepalive(keepalive);
                room
            }
        }
    }
}

/// A query that waits for an upstream. It holds a place among all that wait.
pub(super) struct Waiting {
    octets: Box<[u8]>,
    via: Via,
    received: Instant,
    pending: Pending,
    place: OwnedSemaphorePermit,
}

impl Waiting {
    /// Waits, [`QUERY_DEADLINE`] after the arrival at the longest. Cancel-safe: dropping it disturbs nobody.
    pub(super) async fn settle(self, resolver: &Resolver, stats: &Stats) -> Late {
        let _waiting = stats.waiting.hold();
        let settled = resolver
            .answer_later(self.pending, self.received + QUERY_DEADLINE)
            .await;
        Late {
            octets: self.octets,
            via: self.via,
            received: self.received,
            settled,
            _place: self.place,
        }
    }
}

/// A query whose answer is there and not yet written: big buffers are no part of a waiting task.
pub(super) struct Late {
    octets: Box<[u8]>,
    via: Via,
    received: Instant,
    settled: Settled,
    _place: OwnedSemaphorePermit,
}

impl Late {
    /// Writes the response into `out`, counts it and gives back its length; 0 after a panic, which costs this one
    /// query.
    pub(super) fn write(&self, stats: &Stats, out: &mut [u8]) -> usize {
        catch_unwind(AssertUnwindSafe(|| self.try_write(stats, out))).unwrap_or_else(|_| {
            stats.panics.increment();
            0
        })
    }

    fn try_write(&self, stats: &Stats, out: &mut [u8]) -> usize {
        let now = Instant::now();
        // It was parsed when it came in, so this cannot fail; if it could, silence would be right.
        let Ok(mut query) = Query::parse(&self.octets) else {
            return 0;
        };
        let limit = self.via.prepare(&mut query, out.len());
        let len = self.settled.write(&query, now.into_std(), &mut out[..limit]);
        stats.count_response(header_rcode(&out[..len]));
        stats
            .upstream_latency
            .observe(now.saturating_duration_since(self.received));
        len
    }
}

/// The RCODE of a response of the resolver's. Four bits are all of it: upstream answers with an extended RCODE are
/// not kept.
fn header_rcode(response: &[u8]) -> Rcode {
    Rcode(response.get(3).map_or(0, |flags| u16::from(flags & 0x0f)))
}

#[cfg(test)]
mod tests;
