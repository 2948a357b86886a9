//! How long answers of one resolver take, and from when on a query has waited oddly long. Lock-free; durations are handed in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Smoothed times of one resolver's answers, on whichever connection they came.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    /// RFC 6298: an eighth of each new sample, which counts for at most twice what is known. Microseconds; 0 before the first.
    smoothed: AtomicU64,
    /// The time that 95 of 100 answers keep. Microseconds.
    usual: AtomicU64,
}

impl Rtt {
    /// Takes the time of an answer. Racing writers may lose a sample: the next one makes up for it.
    pub(super) fn observe(&self, duration: Duration) {
        let sample = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
        let smoothed = self.smoothed.load(Ordering::Relaxed);
        if smoothed == 0 {
            self.smoothed.store(sample, Ordering::Relaxed);
            self.usual.store(sample, Ordering::Relaxed);
            return;
        }
        // A few slow names, or a connection that stood still, must not make us patient with one that is dead.
        let counted = sample.min(smoothed * 2);
        self.smoothed
            .store(smoothed - smoothed / 8 + counted / 8, Ordering::Relaxed);
        // A quantile found by steps: nineteen small ones down for each large one up.
        let (usual, step) = (self.usual.load(Ordering::Relaxed), smoothed / 32);
        let next = if sample > usual {
            usual + 19 * step / 16
        } else {
            usual.saturating_sub(step / 16)
        };
        self.usual.store(next.max(1), Ordering::Relaxed);
    }

    /// After this time a query may be asked on a second connection too, if one is open: most answers are here by now.
    pub(super) fn hedge_after(&self) -> Duration {
        let smoothed = self.smoothed.load(Ordering::Relaxed);
        let usual = self.usual.load(Ordering::Relaxed);
        if smoothed == 0 {
            return MIN_SUSPICION;
        }
        Duration::from_micros(usual.max(smoothed + smoothed / 2)).max(MIN_HEDGE)
    }

    /// After this time without an octet read the connection itself is in doubt.
    pub(super) fn suspect_after(&self) -> Duration {
        Duration::from_micros(self.smoothed.load(Ordering::Relaxed) * 3).clamp(MIN_SUSPICION, MAX_SUSPICION)
    }

    /// After this time octets that answer nobody are no sign of life any more. Twice the patience with silence: an answer in
    /// pieces has time to come whole, and one connection after the other can still be given up within a second.
    pub(super) fn stalled_after(&self) -> Duration {
        (self.suspect_after() * 2).min(MAX_SUSPICION)
    }
}

/// Below this a second question would only measure our own scheduling.
const MIN_HEDGE: Duration = Duration::from_millis(20);

/// Recursion takes this long for many a name (RFC 8305's own patience with a connection is the same).
pub(super) const MIN_SUSPICION: Duration = Duration::from_millis(250);

/// A resolver that usually takes longer than a third of this is slow, not gone; a query that is to be answered in five seconds
/// must have time for another try all the same.
pub(super) const MAX_SUSPICION: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(samples: impl IntoIterator<Item = u64>) -> Rtt {
        let rtt = Rtt::default();
        samples
            .into_iter()
            .for_each(|ms| rtt.observe(Duration::from_millis(ms)));
        rtt
    }

    #[test]
    fn a_steady_resolver_is_hedged_after_half_a_round_trip_more() {
        let rtt = fed(vec![40; 100]);
        let after = rtt.hedge_after().as_millis();
        assert!((59..=61).contains(&after), "{after}");
        assert_eq!(rtt.suspect_after(), MIN_SUSPICION);
    }

    #[test]
    fn few_are_slower_than_the_hedge() {
        // Nine fast answers, then a slow one that recursion took 200 ms for.
        let samples = |n: u64| if n.is_multiple_of(10) { 200 } else { 20 };
        let rtt = fed((0..5_000).map(samples));
        let hedged = (5_000..10_000).filter(|n| {
            let slow = Duration::from_millis(samples(*n)) > rtt.hedge_after();
            rtt.observe(Duration::from_millis(samples(*n)));
            slow
        });
        let hedged = hedged.count();
        // One in ten would be all the slow ones; the budget is the hard limit.
        assert!(hedged <= 5_000 / 14, "{hedged} of 5000");
    }

    #[test]
    fn a_few_slow_names_do_not_make_a_resolver_slow_but_it_may_become_so() {
        let rtt = fed([vec![40; 100], vec![1_500; 5]].concat());
        assert_eq!(rtt.suspect_after(), MIN_SUSPICION);
        let rtt = fed([vec![40; 100], vec![600; 30]].concat());
        assert_eq!(rtt.suspect_after(), MAX_SUSPICION);
    }

    #[test]
    fn nothing_known_is_patient_and_a_slow_resolver_is_not_given_up_for_being_slow() {
        assert_eq!(Rtt::default().suspect_after(), MIN_SUSPICION);
        assert_eq!(Rtt::default().hedge_after(), MIN_SUSPICION);
        let after = fed(vec![300; 100]).suspect_after().as_millis();
        assert!((899..=900).contains(&after), "{after}");
        assert_eq!(fed(vec![3_000; 100]).suspect_after(), MAX_SUSPICION);
    }
}
