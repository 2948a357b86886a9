//! One stored answer: its times, and what is known of its use near its end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::wire::answer::Answer;
use crate::wire::query::Query;

/// The shortest lifetime that is worth renewing early: the last tenth of less is under a second.
const MIN_RENEWED: Duration = Duration::from_secs(10);

/// Hits in the last tenth that make an answer worth renewing: one may be chance, and the last there is.
const LATE_HITS: u32 = 2;

/// The pause between the two attempts at renewal, in milliseconds. A question takes 4.4 s at the longest, so the second attempt never meets the
/// first; and an upstream that fails is not asked with every hit.
const RENEWAL_PAUSE_MS: u64 = 5_000;

/// `next_renewal` when both attempts are taken.
const NEVER: u64 = u64::MAX;

/// A stored answer and its times.
#[derive(Debug)]
pub struct Entry {
    answer: Answer,
    stored: Instant,
    lifetime: Duration,
    /// The age at which the last tenth of the lifetime begins; never for one below [`MIN_RENEWED`]. Reckoned once, because
    /// every hit looks at it.
    ends_from: Duration,
    /// The age in milliseconds from which a renewal may be tried; 0 before the first attempt.
    next_renewal: AtomicU64,
    /// Hits in the last tenth of the lifetime, up to [`LATE_HITS`].
    late_hits: AtomicU32,
    is_overruled: AtomicBool,
    /// Of the rules that it was last looked at under.
    generation: AtomicU64,
}

impl Entry {
    /// An answer whose TTLs began to run at `stored`.
    pub(super) fn new(answer: Answer, stored: Instant, lifetime: Duration) -> Self {
        let is_short = lifetime < MIN_RENEWED;
        Self {
            answer,
            stored,
            lifetime,
            ends_from: if is_short {
                Duration::MAX
            } else {
                lifetime - lifetime / 10
            },
            next_renewal: AtomicU64::new(0),
            late_hits: AtomicU32::new(0),
            is_overruled: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }
    }

    /// Writes the response to `query` with TTLs as of `now`; see [`Answer::write`].
    pub fn write(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> usize {
        let age = self.age(now).as_secs();
        self.answer.write(query, u32::try_from(age).unwrap_or(u32::MAX), out)
    }

    /// Writes the response to `query` as one past its end; see [`Answer::write_stale`].
    pub fn write_stale(&self, query: &Query<'_>, out: &mut [u8]) -> usize {
        self.answer.write_stale(query, out)
    }

    /// Whether it was looked at under rules of this generation.
    pub fn is_of(&self, generation: u64) -> bool {
        self.generation.load(Relaxed) == generation
    }

    /// It was looked at, and may be given.
    pub fn passed(&self, generation: u64) {
        self.generation.store(generation, Relaxed);
    }

    /// The answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether it is worth renewing for its age: the last tenth of its lifetime has begun, and that is no moment.
    pub fn is_ending(&self, now: Instant) -> bool {
        self.age(now) >= self.ends_from
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime
    }

    /// Whether it is past its end by less than `window` and nothing newer was heard.
    pub(super) fn is_stale(&self, now: Instant, window: Duration) -> bool {
        let age = self.age(now);
        age >= self.lifetime && age - self.lifetime < window && !self.is_overruled.load(Relaxed)
    }

    /// It is never given past its end from now on.
    pub(super) fn overrule(&self) {
        self.is_overruled.store(true, Relaxed);
    }

    /// Counts a hit in the last tenth of the lifetime; says whether this hit should have the answer renewed. That is the second
    /// one, and once more after [`RENEWAL_PAUSE_MS`]: an answer that was renewed is replaced, so who asks again was left alone.
    pub(super) fn note_late_hit(&self, now: Instant) -> bool {
        if !self.is_ending(now) {
            return false;
        }
        // Once enough have been counted, hits only read: threads that write to one place slow each other down.
        if self.late_hits.load(Relaxed) < LATE_HITS && self.late_hits.fetch_add(1, Relaxed) + 1 < LATE_HITS {
            return false;
        }
        let age = u64::try_from(self.age(now).as_millis()).unwrap_or(NEVER);
        let due = self.next_renewal.load(Relaxed);
        let next = if due == 0 {
            age.saturating_add(RENEWAL_PAUSE_MS)
        } else {
            NEVER
        };
        age >= due && due != NEVER && self.next_renewal.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{after, answer, now};

    fn entry(lifetime: u64) -> (Entry, Instant) {
        let start = now();
        let answer = answer("a.example", u32::try_from(lifetime).unwrap());
        (Entry::new(answer, start, Duration::from_secs(lifetime)), start)
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
            let late = after(start, lifetime * 1000 - 1);
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
