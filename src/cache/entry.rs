//! One stored answer: its times, and what is known of its use near its end.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use crate::wire::answer::{Answer, Outline};
use crate::wire::query::Query;
use crate::wire::question::QuestionKey;

/// The shortest lifetime that is worth renewing early, in seconds: the last tenth of less is under a second.
const MIN_RENEWED: u32 = 10;

/// Hits in the last tenth that make an answer worth renewing: one may be chance, and the last there is.
const LATE_HITS: u8 = 2;

/// The pause between the two attempts at renewal, in milliseconds. A question takes 4.4 s at the longest, so the second attempt never meets the
/// first; and an upstream that fails is not asked with every hit.
const RENEWAL_PAUSE_MS: u32 = 5_000;

/// `next_renewal` when both attempts are taken.
const NEVER: u32 = u32::MAX;

/// A stored answer and its times, in one allocation. Clones are the same entry.
#[derive(Clone)]
pub struct Entry(ThinArc<Head, u8>);

/// What stands before the answer's octets.
struct Head {
    outline: Outline,
    /// The last octet of the question's key: DO and CD, which the answer's own question does not have.
    key_flags: u8,
    /// Hits in the last tenth of the lifetime, up to [`LATE_HITS`].
    late_hits: AtomicU8,
    is_overruled: AtomicBool,
    /// In seconds.
    lifetime: u32,
    /// The age in milliseconds from which a renewal may be tried; 0 before the first attempt. After 49 days none is.
    next_renewal: AtomicU32,
    stored: Instant,
    /// Of the rules that it was last looked at under.
    generation: AtomicU64,
}

/// Holds a name, and debug output ends up in logs.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("outline", &self.head().outline)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// An answer to `key` whose TTLs began to run at `stored`; `lifetime` in seconds.
    pub(super) fn new(key: &QuestionKey, answer: &Answer, stored: Instant, lifetime: u32) -> Self {
        let (outline, octets) = answer.to_keep();
        let head = Head {
            outline,
            key_flags: key.flags(),
            late_hits: AtomicU8::new(0),
            is_overruled: AtomicBool::new(false),
            lifetime,
            next_renewal: AtomicU32::new(0),
            stored,
            generation: AtomicU64::new(0),
        };
        Self(ThinArc::from_header_and_slice(head, octets))
    }

    /// Writes the response to `query` with TTLs as of `now`; see [`Answer::write`].
    pub fn write(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> usize {
        let age = self.age(now).as_secs();
        self.answer().write(query, u32::try_from(age).unwrap_or(u32::MAX), out)
    }

    /// Writes the response to `query` as one past its end; see [`Answer::write_stale`].
    pub fn write_stale(&self, query: &Query<'_>, out: &mut [u8]) -> usize {
        self.answer().write_stale(query, out)
    }

    /// Whether it was looked at under rules of this generation.
    pub fn is_of(&self, generation: u64) -> bool {
        self.head().generation.load(Relaxed) == generation
    }

    /// It was looked at, and may be given.
    pub fn passed(&self, generation: u64) {
        self.head().generation.store(generation, Relaxed);
    }

    /// The answer.
    pub fn answer(&self) -> Answer<&[u8]> {
        Answer::of_kept(self.head().outline, &self.0.slice)
    }

    /// Octets of memory, without what the allocator rounds up.
    pub(super) fn heap_len(&self) -> usize {
        size_of::<Head>() + 2 * size_of::<usize>() + self.0.slice.len()
    }

    /// Whether it answers this question.
    pub(super) fn is_for(&self, key: &QuestionKey) -> bool {
        self.head().key_flags == key.flags() && self.answer().is_of(key.question())
    }

    /// Whether it is worth renewing for its age: the last tenth of its lifetime has begun, and that is no moment.
    pub fn is_ending(&self, now: Instant) -> bool {
        let lifetime = self.lifetime();
        self.head().lifetime >= MIN_RENEWED && self.age(now) >= lifetime - lifetime / 10
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime()
    }

    /// Whether it is past its end by less than `window` and nothing newer was heard.
    pub(super) fn is_stale(&self, now: Instant, window: Duration) -> bool {
        let (age, lifetime) = (self.age(now), self.lifetime());
        age >= lifetime && age - lifetime < window && !self.head().is_overruled.load(Relaxed)
    }

    /// It is never given past its end from now on.
    pub(super) fn overrule(&self) {
        self.head().is_overruled.store(true, Relaxed);
    }

    /// Counts a hit in the last tenth of the lifetime; says whether this hit should have the answer renewed. That is the second
    /// one, and once more after [`RENEWAL_PAUSE_MS`]: an answer that was renewed is replaced, so who asks again was left alone.
    pub(super) fn note_late_hit(&self, now: Instant) -> bool {
        if !self.is_ending(now) {
            return false;
        }
        let head = self.head();
        // Once enough have been counted, hits only read: threads that write to one place slow each other down.
        if head.late_hits.load(Relaxed) < LATE_HITS && head.late_hits.fetch_add(1, Relaxed) + 1 < LATE_HITS {
            return false;
        }
        let age = u32::try_from(self.age(now).as_millis()).unwrap_or(NEVER);
        let due = head.next_renewal.load(Relaxed);
        let next = if due == 0 {
            age.saturating_add(RENEWAL_PAUSE_MS)
        } else {
            NEVER
        };
        age >= due && due != NEVER && head.next_renewal.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.head().lifetime.into())
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.head().stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{after, answer, now};
    use crate::wire::testkit::{A, key};

    fn entry(lifetime: u32) -> (Entry, Instant) {
        let start = now();
        let answer = answer("a.example", lifetime);
        (Entry::new(&key("a.example", A), &answer, start, lifetime), start)
    }

    #[test]
    fn the_second_hit_in_the_last_tenth_renews_and_no_other() {
        let (entry, start) = entry(100);
        let hits = |millis: [u64; 4]| millis.map(|millis| entry.note_late_hit(after(start, millis)));
        assert_eq!(hits([0, 50_000, 89_999, 89_999]), [false; 4]);
        assert_eq!(hits([90_000, 90_001, 90_002, 94_000]), [false, true, false, false]);
    }

    #[test]
    fn a_renewal_that_brought_nothing_is_tried_once_more_after_a_pause() {
        let (entry, start) = entry(3600);
        let tries: Vec<u64> = (3_240_000..3_600_000)
            .step_by(1000)
            .filter(|millis| entry.note_late_hit(after(start, *millis)))
            .collect();
        assert_eq!(tries, [3_241_000, 3_246_000]);
    }

    #[test]
    fn a_short_life_is_not_renewed() {
        for (lifetime, renewed) in [(9, false), (10, true)] {
            let (entry, start) = entry(lifetime);
            let late = after(start, u64::from(lifetime) * 1000 - 1);
            assert!(!entry.note_late_hit(late));
            assert_eq!(entry.note_late_hit(late), renewed);
        }
    }

    #[test]
    fn r8767_1_what_was_overruled_is_never_stale() {
        let (entry, start) = entry(60);
        let (day, at) = (Duration::from_secs(86_400), after(start, 60_000));
        assert!(!entry.is_stale(after(start, 59_999), day) && entry.is_stale(at, day));
        assert!(
            !entry.is_stale(after(start, 60_000 + 86_400_000), day),
            "the window ends"
        );
        assert!(!entry.is_stale(at, Duration::ZERO), "off");
        entry.overrule();
        assert!(!entry.is_stale(at, day) && entry.is_fresh(after(start, 59_999)));
    }
}
