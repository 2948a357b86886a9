//! What serving counts. No names, no client addresses.
//!
//! Every message received counts once in `queries`, so that hits, misses, synthesized and rejected add up to what
//! came in.

use std::slice;
use std::time::Duration;

use crate::os::socket::Transport;
use crate::resolve::Outcome;
use crate::stats::{Counter, Gauge, Histogram};
use crate::wire::header::Rcode;

/// The figures of the room.
#[derive(Debug, Default)]
pub struct Stats {
    queries: [[Counter; 4]; 2],
    responses: [Counter; NAMED_RCODES + 1],
    /// From a datagram's or message's arrival to its response, where nothing was waited for.
    pub cached_latency: Histogram,
    /// The same for what had to wait for an upstream.
    pub upstream_latency: Histogram,
    /// Queries that wait for an upstream now.
    pub waiting: Gauge,
    /// Queries answered SERVFAIL, or with an answer past its end, because too many others were waiting (also counted as misses).
    pub shed: Counter,
    /// UDP queries that were sent to TCP because their network asked too many (also counted as rejected).
    pub limited: Counter,
    /// Datagrams dropped for their length (also counted as rejected).
    pub oversized: Counter,
    /// UDP responses that the system would not take, and receive calls that failed.
    pub socket_failures: Counter,
    /// Panics caught in this room: always a bug of ours. Those of other tasks are in `Shutdown::panics`.
    pub panics: Counter,
    /// TCP connections.
    pub connections: ConnectionStats,
}

/// What becomes of TCP connections.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    /// Open now.
    pub open: Gauge,
    /// Let in since the start.
    pub accepted: Counter,
    /// Closed at once: all places were taken by connections that were owed something, or the client may not ask and
    /// places were few.
    pub refused: Counter,
    /// Times when the system had no descriptor or memory for a new connection.
    pub exhausted: Counter,
    /// Closed for having asked nothing for a while, or to make room for a new one.
    pub closed_idle: Counter,
    /// Closed for bad framing, for a message that took too long, or for not reading answers.
    pub closed_faulty: Counter,
}

impl Stats {
    /// Messages received over `transport` that ended as `outcome`.
    pub fn queries(&self, transport: Transport, outcome: Outcome) -> u64 {
        self.query_counter(transport, outcome).value()
    }

    /// Responses with this RCODE, extended ones in full; `None` for all that have none of the codes up to 23.
    pub fn responses(&self, rcode: Option<Rcode>) -> u64 {
        self.responses[rcode.map_or(NAMED_RCODES, response_index)].value()
    }

    /// A response was written after waiting.
    pub(super) fn count_response(&self, rcode: Rcode) {
        self.responses[response_index(rcode)].increment();
    }

    fn query_counter(&self, transport: Transport, outcome: Outcome) -> &Counter {
        &self.queries[transport as usize][outcome_index(outcome)]
    }
}

fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Hit => 0,
        Outcome::Miss => 1,
        Outcome::Synthesized => 2,
        Outcome::Rejected => 3,
    }
}

fn response_index(rcode: Rcode) -> usize {
    usize::from(rcode.0).min(NAMED_RCODES)
}

/// Counts of one batch, kept in plain memory: threads that add to shared atomics for every query slow each other down.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: [u64; 4],
    responses: [u64; NAMED_RCODES + 1],
    at_once: u64,
    limited: u64,
}

impl Tally {
    /// A message came in and ended, or will end, like this.
    pub(super) fn count_query(&mut self, outcome: Outcome) {
        self.outcomes[outcome_index(outcome)] += 1;
    }

    /// A response was written without waiting.
    pub(super) fn count_response(&mut self, rcode: Rcode) {
        self.responses[response_index(rcode)] += 1;
        self.at_once += 1;
    }

    /// A query was over the rate of its network, beside whatever else is counted of it.
    pub(super) fn count_limited(&mut self) {
        self.limited += 1;
    }

    /// Messages counted since the last [`Tally::flush`].
    pub(super) fn queries(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Whether a response was written at once since the last [`Tally::flush`]: then its latency is wanted.
    pub(super) fn has_latency(&self) -> bool {
        self.at_once > 0
    }

    /// Moves the counts over, with `latency` for each response that was written at once.
    pub(super) fn flush(&mut self, stats: &Stats, transport: Transport, latency: Duration) {
        let add = |counts: &mut [u64], counters: &[Counter]| {
            for (count, counter) in counts.iter_mut().zip(counters).filter(|(count, _)| **count > 0) {
                counter.add(std::mem::take(count));
            }
        };
        add(&mut self.outcomes, &stats.queries[transport as usize]);
        add(&mut self.responses, &stats.responses);
        add(slice::from_mut(&mut self.limited), slice::from_ref(&stats.limited));
        stats
            .cached_latency
            .observe_many(latency, std::mem::take(&mut self.at_once));
    }
}

/// RCODEs 0 to 23 are assigned (RFC 6895 section 2.3 and IANA's list, BADCOOKIE last); the rest share a counter.
pub const NAMED_RCODES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_arrives_once() {
        let stats = Stats::default();
        let mut tally = Tally::default();
        for outcome in [
            Outcome::Hit,
            Outcome::Hit,
            Outcome::Miss,
            Outcome::Synthesized,
            Outcome::Rejected,
        ] {
            tally.count_query(outcome);
        }
        tally.count_response(Rcode::NOERROR);
        tally.count_response(Rcode::NOERROR);
        tally.count_response(Rcode::BADVERS);
        tally.count_limited();
        stats.count_response(Rcode(4095));
        assert_eq!(tally.queries(), 5);
        assert!(tally.has_latency());
        for _ in 0..2 {
            tally.flush(&stats, Transport::Tcp, Duration::from_micros(10));
        }
        let count = |outcome| stats.queries(Transport::Tcp, outcome);
        assert_eq!(
            (
                count(Outcome::Hit),
                count(Outcome::Miss),
                count(Outcome::Synthesized),
                count(Outcome::Rejected)
            ),
            (2, 1, 1, 1)
        );
        assert_eq!(stats.queries(Transport::Udp, Outcome::Hit), 0);
        assert_eq!(stats.responses(Some(Rcode::NOERROR)), 2);
        assert_eq!(stats.responses(Some(Rcode::BADVERS)), 1);
        assert_eq!(stats.responses(None), 1);
        assert_eq!(stats.limited.value(), 1);
        let latency = stats.cached_latency.snapshot();
        assert_eq!((latency.count(), latency.sum_us), (3, 30));
    }
}
