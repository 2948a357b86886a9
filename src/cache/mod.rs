//! Answers and failures that were seen before. The one place where moka is.
//!
//! An entry carries its own times and is looked at on every read: moka's `Expiry` would expire entries inline and was seen to
//! stall one read for 589 ms. Never stores anything under a name that was not asked for, and never prolongs an entry.

mod lifetime;

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;

use crate::stats::Counter;
use crate::wire::answer::{Answer, TtlLimits};
use crate::wire::edns::Ede;
use crate::wire::query::Query;
use crate::wire::question::QuestionKey;

pub use lifetime::Origin;

/// Failures kept at most: 10,000 of about 900 octets (measured) are 9 MB, and a flood of failing names only pushes out other
/// failures.
const MAX_FAILURES: u64 = 10_000;

/// A failure that has not been seen again for this long starts anew at its first step.
const FORGET_FAILURE: Duration = Duration::from_secs(60);

/// Octets of memory an entry costs beside its key and its answer: moka's own books, the `Arc`, the entry's times, and what the
/// allocator rounds up. Measured: 100,000 small entries took 644 octets each, of which 70 were key and answer.
const ENTRY_OVERHEAD: usize = 576;

/// Settings of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets of memory for answers, keys and overhead.
    pub max_bytes: u64,
    /// Bounds on what clients see as TTL.
    pub ttls: TtlLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            ttls: TtlLimits {
                min: 0,
                max: 86_400,
                max_negative: 3600,
            },
        }
    }
}

/// Figures of the cache.
#[derive(Debug, Default)]
pub struct Stats {
    /// Answers stored.
    pub insertions: Counter,
    /// Answers pushed out to stay within `max_bytes`.
    pub evictions: Counter,
}

/// A bounded store, shared by all threads.
pub struct Cache {
    answers: moka::sync::Cache<Box<[u8]>, Arc<Entry>>,
    failures: moka::sync::Cache<Box<[u8]>, CachedFailure>,
    settings: Settings,
    stats: Arc<Stats>,
}

/// Holds a name, and debug output ends up in logs.
impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("entries", &self.entry_count())
            .finish_non_exhaustive()
    }
}

/// What is known of a question.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer within its lifetime.
    Fresh(Arc<Entry>),
    /// It failed a moment ago.
    Failure(CachedFailure),
    /// Nothing that may be used.
    Nothing,
}

impl Cache {
    /// An empty cache. Its hashes are keyed with random numbers of this process (`RandomState`), so that nobody can make
    /// entries collide.
    pub fn new(settings: Settings) -> Self {
        let stats = Arc::new(Stats::default());
        let counted = Arc::clone(&stats);
        let answers = moka::sync::Cache::builder()
            .max_capacity(settings.max_bytes)
            .weigher(weight)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counted.evictions.increment();
                }
            })
            .build();
        Self {
            answers,
            failures: moka::sync::Cache::new(MAX_FAILURES),
            settings,
            stats,
        }
    }

    /// Looks a question up. `roads` counts how often a transport came back: older failures of the road are void.
    pub fn get(&self, key: &QuestionKey, now: Instant, roads: u64) -> Found {
        match self.answers.get(key.as_octets()) {
            Some(entry) if entry.is_fresh(now) => Found::Fresh(entry),
            _ => match self.failures.get(key.as_octets()) {
                Some(failure) if failure.holds(now, roads) => Found::Failure(failure),
                _ => Found::Nothing,
            },
        }
    }

    /// Stores an answer whose TTLs began to run at `stored`, if it may be kept, and gives it back ready for writing.
    pub fn put(&self, key: &QuestionKey, answer: Answer, stored: Instant) -> Arc<Entry> {
        let lifetime = lifetime::of_answer(&answer.facts());
        let entry = Arc::new(Entry {
            answer,
            stored,
            lifetime: Duration::from_secs(lifetime.unwrap_or(0).into()),
        });
        self.failures.invalidate(key.as_octets());
        if lifetime.is_some() {
            self.answers.insert(key.as_octets().into(), Arc::clone(&entry));
            self.stats.insertions.increment();
        }
        entry
    }

    /// Remembers a failure for a growing time (RFC 9520).
    pub fn put_failure(&self, key: &QuestionKey, origin: Origin, ede: Option<Ede>, now: Instant, roads: u64) {
        let is_recent = |failure: &CachedFailure| failure.origin == origin && now < failure.until + FORGET_FAILURE;
        let before = self.failures.get(key.as_octets()).filter(is_recent);
        let times = before.map_or(1, |failure| failure.times.saturating_add(1));
        let until = now + lifetime::of_failure(origin, times);
        self.failures.insert(
            key.as_octets().into(),
            CachedFailure {
                origin,
                ede,
                times,
                until,
                roads,
            },
        );
    }

    /// Does all housekeeping that is due, so that the figures are right. Readers do it in small shares, every 64 reads, without
    /// waiting and without allocating; whoever reads the figures may wait.
    pub fn maintain(&self) {
        self.answers.run_pending_tasks();
        self.failures.run_pending_tasks();
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The figures.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Answers stored, as of the last housekeeping.
    pub fn entry_count(&self) -> u64 {
        self.answers.entry_count()
    }

    /// Octets used by answers, keys and overhead, as of the last housekeeping.
    pub fn bytes(&self) -> u64 {
        self.answers.weighted_size()
    }
}

#[expect(clippy::borrowed_box, reason = "the signature that moka asks for")]
fn weight(key: &Box<[u8]>, entry: &Arc<Entry>) -> u32 {
    u32::try_from(key.len() + entry.answer.heap_len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
}

/// A stored answer and its times.
#[derive(Debug)]
pub struct Entry {
    answer: Answer,
    stored: Instant,
    lifetime: Duration,
}

impl Entry {
    /// Writes the response to `query` with TTLs as of `now`; see [`Answer::write`].
    pub fn write(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> usize {
        let age = now.saturating_duration_since(self.stored).as_secs();
        self.answer.write(query, u32::try_from(age).unwrap_or(u32::MAX), out)
    }

    /// The answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.stored) < self.lifetime
    }
}

/// A failure that is not tried again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedFailure {
    origin: Origin,
    /// Why it failed at first hand.
    pub ede: Option<Ede>,
    times: u32,
    until: Instant,
    roads: u64,
}

impl CachedFailure {
    fn holds(&self, now: Instant, roads: u64) -> bool {
        now < self.until && (self.origin == Origin::Resolver || self.roads == roads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::{A, key, query, record, response, soa};

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn answer(qname: &str, ttl: u32) -> Answer {
        let octets = response(qname, A, 0, &[record(qname, A, ttl, &[192, 0, 2, 1])], &[]);
        Answer::check(&octets, &key(qname, A), &Settings::default().ttls).unwrap()
    }

    fn is_fresh(found: &Found) -> bool {
        matches!(found, Found::Fresh(_))
    }

    fn ttl(entry: &Entry, now: Instant) -> u32 {
        let mut out = [0; 512];
        let asked = query("a.example", A, None);
        let len = entry.write(&Query::parse(&asked).unwrap(), now, &mut out);
        u32::from_be_bytes(*out[len - 10..].first_chunk().unwrap())
    }

    #[test]
    fn r1035_12_an_entry_counts_down_and_ends_on_time() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        cache.put(&key("a.example", A), answer("a.example", 60), start);
        let get = |millis| cache.get(&key("a.example", A), after(start, millis), 0);
        let Found::Fresh(entry) = get(59_999) else {
            panic!("fresh")
        };
        assert_eq!((ttl(&entry, start), ttl(&entry, after(start, 59_999))), (60, 1));
        assert!(!is_fresh(&get(60_000)));
        assert!(!is_fresh(&cache.get(&key("a.example", 28), start, 0)));
    }

    #[test]
    fn t_poi_8_a_hit_never_prolongs() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        cache.put(&key("a.example", A), answer("a.example", 60), start);
        for millis in (0..60_000).step_by(1000) {
            assert!(is_fresh(&cache.get(&key("a.example", A), after(start, millis), 0)));
        }
        assert!(!is_fresh(&cache.get(&key("a.example", A), after(start, 60_000), 0)));
    }

    #[test]
    fn ttl_0_is_given_but_not_kept() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        let entry = cache.put(&key("a.example", A), answer("a.example", 0), start);
        assert_eq!(ttl(&entry, start), 0);
        assert!(!is_fresh(&cache.get(&key("a.example", A), start, 0)));
    }

    #[test]
    fn r8484_4_time_spent_in_http_caches_counts() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        let arrived = after(start, 50_000);
        let entry = cache.put(&key("a.example", A), answer("a.example", 60), start);
        assert_eq!(ttl(&entry, arrived), 10);
        assert!(!is_fresh(&cache.get(&key("a.example", A), after(arrived, 10_000), 0)));
    }

    #[test]
    fn r2308_1_negatives_are_kept_by_their_soa() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        let octets = response("nx.example", A, 3, &[], &[soa("example", 60, 5)]);
        let negative = Answer::check(&octets, &key("nx.example", A), &Settings::default().ttls).unwrap();
        cache.put(&key("nx.example", A), negative, start);
        assert!(is_fresh(&cache.get(&key("nx.example", A), after(start, 4999), 0)));
        assert!(!is_fresh(&cache.get(&key("nx.example", A), after(start, 5000), 0)));
    }

    #[test]
    fn r9520_1_a_failure_is_kept_longer_each_time_and_forgotten_with_the_next_answer() {
        let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
        let holds = |millis| matches!(cache.get(&asked, after(start, millis), 0), Found::Failure(_));
        cache.put_failure(&asked, Origin::Resolver, None, start, 0);
        assert!(holds(999) && !holds(1000));
        cache.put_failure(&asked, Origin::Resolver, None, after(start, 1000), 0);
        assert!(holds(2999) && !holds(3000));
        cache.put(&asked, answer("a.example", 1), after(start, 3000));
        cache.put_failure(&asked, Origin::Resolver, None, after(start, 4000), 0);
        assert!(holds(4999) && !holds(5000), "starts anew");
    }

    #[test]
    fn r9520_4_a_failed_validation_is_kept_for_seconds_whatever_its_records_say() {
        let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
        for _ in 0..20 {
            cache.put_failure(&asked, Origin::Resolver, Some(Ede(6)), start, 0);
        }
        assert!(matches!(cache.get(&asked, after(start, 29_999), 0), Found::Failure(_)));
        assert!(matches!(cache.get(&asked, after(start, 30_000), 0), Found::Nothing));
    }

    #[test]
    fn r9520_3_a_transport_that_comes_back_lifts_failures_of_the_road() {
        let (cache, start) = (Cache::new(Settings::default()), now());
        cache.put_failure(&key("a.example", A), Origin::Road, Some(Ede::NETWORK_ERROR), start, 7);
        cache.put_failure(&key("b.example", A), Origin::Resolver, Some(Ede(6)), start, 7);
        assert!(matches!(cache.get(&key("a.example", A), start, 7), Found::Failure(_)));
        assert!(matches!(cache.get(&key("a.example", A), start, 8), Found::Nothing));
        assert!(matches!(cache.get(&key("b.example", A), start, 8), Found::Failure(_)));
    }

    #[test]
    fn t_mem_the_bound_in_bytes_holds() {
        let settings = Settings {
            max_bytes: 100_000,
            ..Settings::default()
        };
        let (cache, start) = (Cache::new(settings), now());
        for i in 0..2000 {
            let name = format!("n{i}.example");
            cache.put(&key(&name, A), answer(&name, 60), start);
        }
        cache.maintain();
        assert!(cache.bytes() <= 100_000, "{}", cache.bytes());
        assert!(cache.entry_count() > 100);
        assert_eq!(cache.stats().insertions.value(), 2000);
        assert!(cache.stats().evictions.value() >= 1700);
    }

    #[test]
    fn r9520_1_an_answer_that_is_not_kept_ends_the_row_of_failures_too() {
        let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
        cache.put_failure(&asked, Origin::Resolver, None, start, 0);
        cache.put(&asked, answer("a.example", 0), after(start, 1500));
        cache.put_failure(&asked, Origin::Resolver, None, after(start, 3000), 0);
        let held = matches!(cache.get(&asked, after(start, 4500), 0), Found::Failure(_));
        assert!(!held, "one failure after an answer is kept 1 s");
    }
}
