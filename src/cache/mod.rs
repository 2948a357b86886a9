//! Answers and failures that were seen before. The one place where moka is: it decides what stays, and `index` finds it.
//!
//! An entry carries its own times and is looked at on every read: moka's `Expiry` would expire entries inline and was seen to
//! stall one read for 589 ms. Never stores anything under a name that was not asked for, and never prolongs an entry: one past
//! its end stays where it is and counts in `max_bytes` until it is replaced, or pushed out as one that is used least.

mod entry;
mod failures;
mod index;
mod lifetime;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;

use crate::stats::Counter;
use crate::wire::answer::{Answer, TtlLimits};
use crate::wire::edns::Ede;
use crate::wire::question::QuestionKey;

pub use entry::Entry;
use failures::Failures;
pub use failures::{CachedFailure, Since};
use index::{AsItIs, Index};
pub use lifetime::Origin;

/// Octets of memory an entry costs beside itself: moka's own books, its place in the index. Measured: of 400,000 small answers each took 446
/// octets of resident memory, of which 142 were the entry; tables that have just doubled take some more.
const ENTRY_OVERHEAD: usize = 300;

/// Settings of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Octets of memory for answers and overhead.
    pub max_bytes: u64,
    /// Bounds on what clients see as TTL.
    pub ttls: TtlLimits,
    /// How long an answer may be given past its end when no newer one can be had (RFC 8767); zero for never.
    pub serve_stale: Duration,
    /// Whether an answer that is asked for until its end is renewed before it.
    pub prefetch: bool,
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
            serve_stale: Duration::from_secs(86_400),
            prefetch: true,
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
    /// Answers given past their end. Counted by who gives them.
    pub stale_hits: Counter,
    /// Questions asked to renew an answer before its end. Counted by who asks them.
    pub prefetches: Counter,
}

/// A bounded store, shared by all threads.
pub struct Cache {
    /// What stays, by the hash of the question; found through the index.
    answers: moka::sync::Cache<u64, Entry, BuildHasherDefault<AsItIs>>,
    index: Arc<Index>,
    hashes: RandomState,
    failures: Failures,
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
    Fresh(Entry),
    /// An answer past its end that may be given if no newer one can be had, and why the question must not be asked now: it
    /// failed within the last 30 s.
    Stale(Entry, Option<CachedFailure>),
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
        let index = Arc::new(Index::new());
        let (counted, indexed) = (Arc::clone(&stats), Arc::clone(&index));
        let answers = moka::sync::Cache::builder()
            .max_capacity(settings.max_bytes)
            .weigher(weight)
            .eviction_listener(move |hash, _, cause| {
                if cause == RemovalCause::Size {
                    indexed.remove(*hash);
                    counted.evictions.increment();
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            answers,
            index,
            hashes: RandomState::new(),
            failures: Failures::new(),
            settings,
            stats,
        }
    }

    /// An answer that is not past its end.
    pub fn fresh(&self, key: &QuestionKey, now: Instant) -> Option<Entry> {
        self.index.get(self.hash(key), key).filter(|entry| entry.is_fresh(now))
    }

    /// Looks a question up.
    pub fn get(&self, key: &QuestionKey, now: Instant, since: Since) -> Found {
        let hash = self.hash(key);
        let answer = match self.index.get(hash, key) {
            Some(entry) if entry.is_fresh(now) => return Found::Fresh(entry),
            answer => answer,
        };
        let failure = self.failures.get(hash, key);
        match answer.filter(|entry| entry.is_stale(now, self.settings.serve_stale)) {
            Some(entry) => Found::Stale(entry, failure.filter(|failure| failure.is_recent(now, since))),
            None => match failure.filter(|failure| failure.holds(now, since)) {
                Some(failure) => Found::Failure(failure),
                None => Found::Nothing,
            },
        }
    }

    /// Counts a hit on a fresh answer near its end and says whether it is the one that should have the answer renewed.
    pub fn wants_renewal(&self, entry: &Entry, now: Instant) -> bool {
        self.settings.prefetch && entry.note_late_hit(now)
    }

    /// Stores an answer whose TTLs began to run at `stored`, if it may be kept, and gives it back ready for writing.
    pub fn put(&self, key: &QuestionKey, answer: &Answer, stored: Instant) -> Entry {
        let lifetime = lifetime::of_answer(&answer.facts());
        let entry = Entry::new(key, answer, stored, lifetime.unwrap_or(0));
        let hash = self.hash(key);
        self.failures.remove(hash);
        if lifetime.is_some() {
            self.keep(hash, &entry);
            self.stats.insertions.increment();
        } else {
            self.overrule(hash, key);
        }
        entry
    }

    /// Into the index first: moka may let go of it again at once.
    fn keep(&self, hash: u64, entry: &Entry) {
        self.index.put(hash, entry.clone());
        // Moka counts what is asked for, found or not: what is wanted more stays.
        let count = |hash| drop(self.answers.get(&hash));
        self.index.used(count);
        count(hash);
        self.answers.insert(hash, entry.clone());
    }

    /// Two questions with the same one take each other's place; none is ever given for the other.
    fn hash(&self, key: &QuestionKey) -> u64 {
        self.hashes.hash_one(key)
    }

    /// The upstream has said something newer that is not kept: what is here may live to its end, but is never given past it.
    fn overrule(&self, hash: u64, key: &QuestionKey) {
        if let Some(entry) = self.index.get(hash, key) {
            entry.overrule();
        }
    }

    /// Remembers a failure for a growing time (RFC 9520). After a failed validation no old answer is given either.
    pub fn put_failure(&self, key: &QuestionKey, origin: Origin, ede: Option<Ede>, now: Instant, since: Since) {
        let hash = self.hash(key);
        if ede.is_some_and(Ede::is_validation_failure) {
            self.overrule(hash, key);
        }
        let before = self.failures.get(hash, key);
        self.failures
            .put(hash, key, CachedFailure::after(before, origin, ede, now, since));
    }

    /// Does all housekeeping that is due, so that the figures are right. Otherwise those who put answers do it, in small shares; hits never do.
    pub fn maintain(&self) {
        self.answers.run_pending_tasks();
    }

    /// Forgets everything, failures too.
    pub fn forget_all(&self) {
        // In this order: what is put meanwhile may be in moka alone, where it is counted and pushed out, but never in the index alone.
        self.answers.invalidate_all();
        self.index.clear();
        self.failures.clear();
    }

    /// Forgets failures: whoever is asked now has not failed yet.
    pub fn forget_failures(&self) {
        self.failures.clear();
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The figures.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Answers stored, those past their end included, as of the last housekeeping.
    pub fn entry_count(&self) -> u64 {
        self.answers.entry_count()
    }

    /// Octets used by answers, keys and overhead, as of the last housekeeping.
    pub fn bytes(&self) -> u64 {
        self.answers.weighted_size()
    }
}

fn weight(_: &u64, entry: &Entry) -> u32 {
    let len = entry.heap_len();
    // The allocator's sizes are an eighth apart.
    u32::try_from(len + len / 8 + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
