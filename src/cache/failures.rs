//! Questions that failed a moment ago (RFC 9520).
//!
//! While there are none a look costs nothing, and those that tell nothing any more are dropped in passing. Not in moka: there is nothing to
//! decide, the oldest is the least worth.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::index::{AsItIs, lock};
use super::lifetime::{self, Origin};
use crate::wire::edns::Ede;
use crate::wire::question::QuestionKey;

/// Parts with a lock of their own each.
const SHARDS: usize = 16;

/// Failures kept at most in a part: 10,000 in all, of some 250 octets each, are 2.5 MB, and a flood of failing names only pushes out other
/// failures.
const MAX_IN_SHARD: usize = 10_000 / SHARDS;

/// After this time a failure tells nothing any more: no question is kept from being asked for longer than 30 s, and then a row is forgotten.
const TELLING: Duration = Duration::from_secs(30 + FORGET_FAILURE.as_secs());

/// A failure that has not been seen again for this long starts anew at its first step.
const FORGET_FAILURE: Duration = Duration::from_secs(60);

/// How long a question that failed is not asked again while there is an old answer to give (RFC 8767 section 5: the failure
/// recheck timer, 30 s).
const STALE_RECHECK: Duration = Duration::from_secs(30);

/// The failures, in parts, by the keyed hash of their question.
pub(super) struct Failures {
    shards: [Mutex<Shard>; SHARDS],
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    /// With the question's key: what is known of one must not be told of another of the same hash.
    failures: HashMap<u64, (Box<[u8]>, CachedFailure), BuildHasherDefault<AsItIs>>,
    /// By age: the hash of each that was put, also of those that were replaced or forgotten since.
    order: VecDeque<(u64, Instant)>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        }
    }

    /// What is known of this question.
    pub(super) fn get(&self, hash: u64, key: &QuestionKey) -> Option<CachedFailure> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let shard = self.shard(hash);
        let (question, failure) = shard.failures.get(&hash)?;
        (**question == *key.as_octets()).then_some(*failure)
    }

    /// Remembers one; the oldest gives way.
    pub(super) fn put(&self, hash: u64, key: &QuestionKey, failure: CachedFailure) {
        let mut shard = self.shard(hash);
        let before = shard.failures.len();
        shard.drop_old(failure.failed);
        shard.order.push_back((hash, failure.failed));
        shard.failures.insert(hash, (key.as_octets().into(), failure));
        self.count(before, shard.failures.len());
    }

    /// Forgets the one of this hash.
    pub(super) fn remove(&self, hash: u64) {
        if self.count.load(Ordering::Relaxed) > 0 && self.shard(hash).failures.remove(&hash).is_some() {
            self.count(1, 0);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let removed = std::mem::take(&mut *lock(shard));
            self.count(removed.failures.len(), 0);
        }
    }

    /// So many have become so many.
    fn count(&self, before: usize, after: usize) {
        // Wraps where there are less, as it should.
        self.count.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl Shard {
    /// Makes room for one more, put at `now`.
    fn drop_old(&mut self, now: Instant) {
        while let Some((hash, failed)) = self.order.front().copied() {
            if self.order.len() < MAX_IN_SHARD && now < failed + TELLING {
                break;
            }
            self.order.pop_front();
            // One that was put again since stays for its later place.
            if self
                .failures
                .get(&hash)
                .is_some_and(|(_, failure)| failure.failed == failed)
            {
                self.failures.remove(&hash);
            }
        }
    }
}

/// What voids a failure that is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// How often a transport came back: older failures of the road are void.
    pub roads: u64,
    /// By which rules another name was asked for; 0 for the name itself.
    pub rules: u64,
}

/// A failure that is not tried again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedFailure {
    origin: Origin,
    /// Why it failed at first hand.
    pub ede: Option<Ede>,
    times: u32,
    failed: Instant,
    until: Instant,
    since: Since,
}

impl CachedFailure {
    /// One at `now`, after what is known of the same question from before.
    pub(super) fn after(before: Option<Self>, origin: Origin, ede: Option<Ede>, now: Instant, since: Since) -> Self {
        let is_in_row = |failure: &Self| failure.origin == origin && now < failure.until + FORGET_FAILURE;
        let times = before
            .filter(is_in_row)
            .map_or(1, |failure| failure.times.saturating_add(1));
        Self {
            origin,
            ede,
            times,
            failed: now,
            until: now + lifetime::of_failure(origin, times),
            since,
        }
    }

    /// Whether the question must not be asked now.
    pub(super) fn holds(&self, now: Instant, since: Since) -> bool {
        now < self.until && self.is_valid(since)
    }

    /// Whether it keeps the question from being asked while there is an old answer to give.
    pub(super) fn is_recent(&self, now: Instant, since: Since) -> bool {
        now.saturating_duration_since(self.failed) < STALE_RECHECK && self.is_valid(since)
    }

    fn is_valid(&self, since: Since) -> bool {
        self.since.rules == since.rules && (self.origin == Origin::Resolver || self.since.roads == since.roads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{after, now};
    use crate::wire::testkit::{A, key};

    #[test]
    fn t_mem_failures_push_out_the_oldest_failures() {
        let (failures, start, asked) = (Failures::new(), now(), key("a.example", A));
        let failed =
            |millis| CachedFailure::after(None, Origin::Resolver, None, after(start, millis), Since::default());
        // All of one part.
        for hash in 0..MAX_IN_SHARD as u64 + 10 {
            failures.put(hash, &asked, failed(hash));
        }
        let count = || failures.count.load(Ordering::Relaxed);
        assert_eq!(count(), MAX_IN_SHARD);
        assert!(failures.get(9, &asked).is_none() && failures.get(10, &asked).is_some());
        assert!(failures.get(10, &key("b.example", A)).is_none(), "of the same hash");
        failures.remove(10);
        assert!(failures.get(10, &asked).is_none());
        failures.put(11, &asked, failed(5_000));
        failures.put(7, &asked, failed(5_000 + 90_000));
        assert_eq!(count(), 1, "what tells nothing any more is gone");
        failures.clear();
        assert_eq!(count(), 0);
        assert!(failures.get(7, &asked).is_none());
    }
}
