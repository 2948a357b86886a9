//! How many questions may be asked twice for speed: one in twenty.

use std::sync::atomic::{AtomicU32, Ordering};

/// A token bucket. Every question puts a twentieth of a token in, every hedge takes one out.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(AT_START))
    }
}

impl Budget {
    /// A question is asked.
    pub(super) fn earn(&self) {
        let earned = |parts: u32| (parts < MAX).then_some(parts + 1);
        // Full is fine.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    /// Takes a hedge if one is left.
    pub(super) fn take(&self) -> bool {
        let taken = |parts: u32| parts.checked_sub(PER_HEDGE);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

/// Questions that earn a hedge: 5 % extra.
const PER_HEDGE: u32 = 20;

/// Saved up at most: a dozen queries that were under way when their connection fell silent.
const MAX: u32 = 12 * PER_HEDGE;

/// The first connection may be a bad one.
const AT_START: u32 = 4 * PER_HEDGE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_and_a_dozen_saved() {
        let budget = Budget::default();
        let taken = |times| (0..times).filter(|_| budget.take()).count();
        assert_eq!(taken(100), 4);
        (0..19).for_each(|_| budget.earn());
        assert_eq!(taken(1), 0);
        budget.earn();
        assert_eq!(taken(100), 1);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(taken(100), 12);
    }
}
