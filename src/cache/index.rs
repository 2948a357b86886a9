//! Where answers are found: those that moka holds, by the keyed hash of their question. Two that come at the same moment for one question may
//! leave one in moka alone, where it is counted until it is pushed out; never one here alone.
//!
//! Reading moka costs five times as much on a warm cache, and now and then a reader does its housekeeping. So hits end here, and moka decides
//! what stays: what it lets go of is taken out, and of what was used here it is told ([`Index::used`]) by those who put answers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Entry;
use crate::wire::question::QuestionKey;

/// Parts with a lock of their own each: with a handful of receiving threads two seldom meet, and a part of a million answers grows in under a
/// millisecond.
const SHARDS: usize = 64;

/// Of so many hits one is told to moka, which wants to know what is used more than other things, not how often.
const TOLD_OF: u32 = 8;

/// Uses that wait to be told, for each part: the newest. More of them would only be old.
const MAX_TOLD: usize = 16;

/// Parts whose uses are told at a time: all of them within 16 answers, before those could push much out.
const TOLD_AT_A_TIME: usize = 4;

/// The answers, in parts.
pub(super) struct Index {
    shards: [Mutex<Shard>; SHARDS],
    /// The part to tell of next.
    turn: AtomicUsize,
}

/// A line of the processor's cache to itself.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsItIs>>,
    used: Used,
    lot: u32,
}

/// Hashes that were found, the newest [`MAX_TOLD`]; 0 for none.
type Used = [u64; MAX_TOLD];

impl Index {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            turn: AtomicUsize::new(0),
        }
    }

    /// The answer to `key`, whatever its age.
    pub(super) fn get(&self, hash: u64, key: &QuestionKey) -> Option<Entry> {
        let mut shard = self.shard(hash);
        let found = shard.entries.get(&hash).filter(|entry| entry.is_for(key)).cloned()?;
        shard.note_use(hash);
        Some(found)
    }

    /// Puts an answer in the place of what had its hash.
    pub(super) fn put(&self, hash: u64, entry: Entry) {
        // What was there is given back to the allocator outside the lock.
        let replaced = self.shard(hash).entries.insert(hash, entry);
        drop(replaced);
    }

    /// Hands over what has been used in the next few parts since the last time.
    pub(super) fn used(&self, mut tell: impl FnMut(u64)) {
        let turn = self.turn.fetch_add(TOLD_AT_A_TIME, Ordering::Relaxed);
        for part in turn..turn + TOLD_AT_A_TIME {
            let used = std::mem::take(&mut lock(&self.shards[part % SHARDS]).used);
            used.into_iter().filter(|hash| *hash != 0).for_each(&mut tell);
        }
    }

    /// Takes out what has this hash.
    pub(super) fn remove(&self, hash: u64) {
        let removed = self.shard(hash).entries.remove(&hash);
        drop(removed);
    }

    /// Takes out everything.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let removed = std::mem::take(&mut *lock(shard));
            drop(removed);
        }
    }

    /// The bits that choose the part are not those by which a map finds a place in it: it takes the lowest and the highest.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let index = (hash >> 32) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

/// Nothing in a part is left half done by a panic.
pub(super) fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Drawn by lot (Numerical Recipes' generator), not counted off: of names that are asked for in turn some would never be told.
    fn note_use(&mut self, hash: u64) {
        self.lot = self.lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if self.lot < u32::MAX / TOLD_OF {
            self.used[(self.lot >> 8) as usize % MAX_TOLD] = hash;
        }
    }
}

/// Takes a number that is a keyed hash already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, octets: &[u8]) {
        debug_assert!(octets.is_empty(), "only numbers are hashed like this");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{answer, now};
    use crate::wire::testkit::{A, key};

    fn entry(name: &str) -> Entry {
        Entry::new(&key(name, A), &answer(name, 60), now(), 60)
    }

    #[test]
    fn t_hash_questions_with_one_hash_never_get_each_others_answer() {
        let index = Index::new();
        index.put(7, entry("a.example"));
        assert!(index.get(7, &key("a.example", A)).is_some());
        for other in [key("b.example", A), key("a.example", 28), key("www.a.example", A)] {
            assert!(index.get(7, &other).is_none());
        }
        index.put(7, entry("b.example"));
        assert!(index.get(7, &key("a.example", A)).is_none() && index.get(7, &key("b.example", A)).is_some());
    }

    #[test]
    fn about_one_use_of_eight_is_told_and_only_once() {
        let told = |index: &Index| {
            let mut times = 0;
            for _ in 0..SHARDS / TOLD_AT_A_TIME {
                index.used(|hash| times += u32::from(hash == 7));
            }
            times
        };
        let index = Index::new();
        index.put(7, entry("a.example"));
        let mut all = 0;
        for _ in 0..100 {
            for _ in 0..TOLD_OF {
                index.get(7, &key("a.example", A)).unwrap();
            }
            all += told(&index);
        }
        assert!((80..=120).contains(&all), "{all}");
        assert_eq!(told(&index), 0);
    }
}
