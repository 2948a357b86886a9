//! How often a setting that somebody else changes is put right again: at once, but not for ever. Two programs that both want to be right
//! would else burn the processor and the disk.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many times in [`WINDOW`] are no fight: a DHCP client writes twice, a network manager for each link.
const MAX_IN_WINDOW: usize = 10;

const WINDOW: Duration = Duration::from_secs(5);

/// Between two tries once it is a fight.
const PAUSE: Duration = Duration::from_secs(60);

/// Without a change by others for this long it is over.
const PEACE: Duration = Duration::from_secs(600);

/// What to do about a change that somebody made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Put it right.
    Now,
    /// Leave it until then: somebody fights for it.
    At(Instant),
}

/// Keeps the count. Pure: time is handed in.
#[derive(Debug, Default)]
pub(super) struct Fight {
    /// When it was put right, the latest last; at most [`MAX_IN_WINDOW`].
    recent: VecDeque<Instant>,
    /// The last change by others since it is a fight.
    last: Option<Instant>,
}

impl Fight {
    /// Somebody has changed it, seen at `now`.
    pub(super) fn changed(&mut self, now: Instant) -> Move {
        if self.last.is_some_and(|last| now >= last + PEACE) {
            *self = Self::default();
        }
        if self.last.is_some() {
            self.last = Some(now);
            let next = self.recent.back().map_or(now, |last| *last + PAUSE);
            if now < next {
                return Move::At(next);
            }
        }
        self.note(now);
        Move::Now
    }

    /// Whether it is one: to be told to the user.
    pub(super) fn is_on(&self) -> bool {
        self.last.is_some()
    }

    fn note(&mut self, now: Instant) {
        self.recent.push_back(now);
        if self.recent.len() > MAX_IN_WINDOW {
            self.recent.pop_front();
        }
        let is_full = self.recent.len() == MAX_IN_WINDOW;
        if is_full && self.recent.front().is_some_and(|first| now < *first + WINDOW) {
            self.last = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of these milliseconds it is put right.
    fn put_right(fight: &mut Fight, start: Instant, millis: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut done = Vec::new();
        for ms in millis {
            if fight.changed(start + Duration::from_millis(ms)) == Move::Now {
                done.push(ms);
            }
        }
        done
    }

    #[test]
    fn ten_times_in_five_seconds_and_then_once_a_minute() {
        let (mut fight, start) = (Fight::default(), Instant::now());
        let done = put_right(&mut fight, start, (0..30_000).step_by(10));
        assert_eq!(done, (0..10).map(|n| n * 10).collect::<Vec<_>>());
        assert!(fight.is_on());
        assert_eq!(
            fight.changed(start + Duration::from_secs(40)),
            Move::At(start + Duration::from_millis(90) + PAUSE)
        );
        let done = put_right(&mut fight, start, (60_000..240_000).step_by(1000));
        assert_eq!(done, [61_000, 121_000, 181_000]);
    }

    #[test]
    fn who_changes_it_now_and_then_is_put_right_every_time() {
        let (mut fight, start) = (Fight::default(), Instant::now());
        assert_eq!(put_right(&mut fight, start, (0..1000).map(|n| n * 600)).len(), 1000);
        assert!(!fight.is_on());
    }

    #[test]
    fn ten_minutes_of_peace_end_it() {
        let (mut fight, start) = (Fight::default(), Instant::now());
        put_right(&mut fight, start, (0..1000).step_by(10));
        assert!(fight.is_on());
        let later = start + Duration::from_secs(602);
        assert_eq!(fight.changed(later), Move::Now);
        assert!(!fight.is_on());
    }
}
