//! How much a client network may ask over UDP, where anybody can write anybody's address on a query (T-AMP, T-SPOOF).
//!
//! Who asks more is sent to TCP by a response that is no longer than the query. So nothing is gained by a flood with a victim's
//! address on it, and a real client loses a round trip: over TCP its address is proven, and connections have limits of their own.
//! Pure: time is handed in.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Clients that share a bucket: an IPv4 /24 or an IPv6 /56, since whoever has one address has the others too, or can write them
/// on a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientNetwork(u64);

impl ClientNetwork {
    /// Whose client it is; `None` for this host's loopback addresses, which nobody else can use and nothing limits. An IPv4 address
    /// mapped into IPv6 counts as the IPv4 address.
    pub(super) fn of(client: IpAddr) -> Option<Self> {
        let client = client.to_canonical();
        if client.is_loopback() {
            return None;
        }
        Some(match client {
            IpAddr::V4(address) => Self(u64::from(address.to_bits() >> 8)),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, ..] = address.octets();
                Self(u64::from_be_bytes([IPV6_MARK, a, b, c, d, e, f, g]))
            }
        })
    }
}

/// The same rate for every client network: GCRA, as virtual scheduling, one number for each bucket.
///
/// Networks that the hash puts into one slot share its bucket. That is harmless: who is limited goes on over TCP, and the hash is
/// keyed for each process, so nobody can choose whom to share with.
pub(super) struct RateLimit {
    start: Instant,
    /// Between two queries of a network that asks as much as it may.
    interval_ns: u64,
    hasher: RandomState,
    /// For each bucket when it will be empty, in nanoseconds since `start`: the theoretical arrival time of the next query.
    empty_at: Box<[AtomicU64]>,
}

impl RateLimit {
    /// So many queries a second for each network; `start` is not later than any query.
    pub(super) fn new(queries_per_second: NonZeroU32, start: Instant) -> Self {
        Self {
            start,
            interval_ns: NANOS_PER_SECOND / u64::from(queries_per_second.get()),
            hasher: RandomState::new(),
            empty_at: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether a query that came at `now` is within the rate, and counts it if so: what is turned away costs its network nothing,
    /// so that a flood cannot keep the network's other clients waiting for ever.
    pub(super) fn allows(&self, network: ClientNetwork, now: Instant) -> bool {
        // Threads hand in moments in any order; an older one only finds the bucket fuller.
        let now = nanos(now.saturating_duration_since(self.start));
        let slot = &self.empty_at[self.slot(network)];
        let mut seen = slot.load(Ordering::Relaxed);
        for _ in 0..MAX_RACES {
            let empty_at = seen.max(now).saturating_add(self.interval_ns);
            if empty_at - now > BURST_NS {
                return false;
            }
            match slot.compare_exchange(seen, empty_at, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    fn slot(&self, network: ClientNetwork) -> usize {
        let [a, b, ..] = self.hasher.hash_one(network).to_ne_bytes();
        usize::from(u16::from_ne_bytes([a, b])) % SLOTS
    }
}

/// Without thousands of numbers that say nothing.
impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("interval_ns", &self.interval_ns)
            .finish_non_exhaustive()
    }
}

/// 584 years of nanoseconds fit; after them everything is allowed.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Buckets: 64 KiB, whoever asks. A home has a handful of networks; of a thousand, one in nine would share its bucket.
const SLOTS: usize = 8192;

/// What a network may ask at once after a rest: two seconds' worth, for a machine that wakes up or a browser that opens all its tabs.
const BURST_NS: u64 = 2 * NANOS_PER_SECOND;

/// Tries to count one query. Each loss means that another query of the bucket was counted meanwhile, so only a network that asks
/// through many threads at once gets here, and it is sent to TCP.
const MAX_RACES: usize = 16;

/// In the octet before a /56, which no IPv4 /24 has.
const IPV6_MARK: u8 = 6;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(client: &str) -> ClientNetwork {
        ClientNetwork::of(client.parse().unwrap()).unwrap()
    }

    struct Gate {
        rate: RateLimit,
        start: Instant,
    }

    impl Gate {
        fn new(queries_per_second: u32) -> Self {
            let start = Instant::now();
            Self {
                rate: RateLimit::new(NonZeroU32::new(queries_per_second).unwrap(), start),
                start,
            }
        }

        /// How many of so many queries pass that come at one moment, so long after the start.
        fn passed(&self, client: &str, ms: u64, queries: usize) -> usize {
            let (network, now) = (network(client), self.start + Duration::from_millis(ms));
            (0..queries).filter(|_| self.rate.allows(network, now)).count()
        }

        /// An address of a network that shares no bucket with `client`'s: the hash has a new key in every run.
        fn stranger_to(&self, client: &str) -> String {
            let own = self.rate.slot(network(client));
            let mut others = (0..).map(|number| format!("10.0.{number}.1"));
            others.find(|other| self.rate.slot(network(other)) != own).unwrap()
        }
    }

    const CLIENT: &str = "192.168.7.1";

    #[test]
    fn t_amp_two_seconds_worth_at_once_and_then_the_rate() {
        for (queries_per_second, rate) in [(1, 1), (3, 3), (1000, 1000), (30_000, 30_000)] {
            let gate = Gate::new(queries_per_second);
            assert_eq!(gate.passed(CLIENT, 5000, 3 * rate), 2 * rate);
            assert_eq!(gate.passed(CLIENT, 6000, 3 * rate), rate);
            assert_eq!(gate.passed(CLIENT, 7000, 1), 1, "what was turned away cost nothing");
            assert_eq!(
                gate.passed(CLIENT, 60_000, 3 * rate),
                2 * rate,
                "and a rest gives no more"
            );
        }
        // As exact as it must be at the highest rate that a file may say, too.
        assert_eq!(
            (
                Gate::new(999_999).rate.interval_ns,
                Gate::new(1_000_000).rate.interval_ns
            ),
            (1000, 1000)
        );
    }

    #[test]
    fn t_amp_a_steady_flood_gets_the_rate() {
        let gate = Gate::new(100);
        let passed: usize = (0..10_000).map(|ms| gate.passed(CLIENT, ms, 3)).sum();
        // Ten seconds and the burst.
        assert!(passed.abs_diff(1200) <= 1, "{passed}");
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_limited() {
        let gate = Gate::new(50);
        assert!((0..5000).all(|number| gate.passed(CLIENT, 20 * number, 1) == 1));
    }

    #[test]
    fn a_network_does_not_slow_another() {
        let gate = Gate::new(5);
        let other = gate.stranger_to(CLIENT);
        assert_eq!(gate.passed(CLIENT, 0, 1000), 10);
        assert_eq!(gate.passed(&other, 0, 1000), 10);
        assert_eq!(gate.passed(CLIENT, 0, 1000), 0);
    }

    #[test]
    fn t_spoof_the_addresses_of_a_network_share_its_bucket() {
        let same = |one: &str, other: &str| network(one) == network(other);
        for (one, other) in [
            ("192.168.7.0", "192.168.7.255"),
            ("192.168.7.1", "::ffff:192.168.7.9"),
            ("2001:db8:1:200::", "2001:db8:1:2ff:ffff:ffff:ffff:ffff"),
            ("fe80::1", "fe80::2"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("192.168.7.1", "192.168.8.1"),
            ("192.168.7.1", "193.168.7.1"),
            ("2001:db8:1:200::1", "2001:db8:1:300::1"),
            ("2001:db8:1:200::1", "3001:db8:1:200::1"),
            // The same bits in both families.
            ("10.11.12.1", "0:0:a0b:c00::"),
            ("0.0.0.1", "::2"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn loopback_is_nobodys_network() {
        for own in ["127.0.0.1", "127.255.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ClientNetwork::of(own.parse().unwrap()), None, "{own}");
        }
    }

    #[test]
    fn time_that_goes_backwards_gives_nothing_away_and_takes_nothing() {
        let gate = Gate::new(10);
        assert_eq!(gate.passed(CLIENT, 9000, 30), 20);
        assert_eq!(
            gate.passed(CLIENT, 8000, 30),
            0,
            "the bucket is fuller, seen from before"
        );
        assert_eq!(gate.passed(CLIENT, 10_000, 30), 10, "as if nothing had been");
        let before = gate.start.checked_sub(Duration::from_secs(1)).unwrap_or(gate.start);
        let other = network(&gate.stranger_to(CLIENT));
        assert!(gate.rate.allows(other, before), "counts as the start");
    }

    #[test]
    fn at_the_end_of_time_everybody_passes() {
        let gate = Gate::new(1);
        let years = |years: u64| years * 365 * 24 * 3_600_000;
        assert_eq!(gate.passed(CLIENT, years(580), 100), 2);
        assert_eq!(gate.passed(CLIENT, years(600), 100), 100);
    }

    #[test]
    fn threads_let_through_no_more_and_no_less_than_one() {
        let gate = Gate::new(500);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| gate.passed(CLIENT, 0, 20_000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }
}
