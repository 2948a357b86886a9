//! When a new connection may be tried. Sans-IO: time is handed in.
//!
//! The first try is free, and so is the one after the first failure: a server that closes is asked again at once.
//! From then on the pause grows, so that a dead server costs a few handshakes a second and not one per query, yet one
//! that comes back is found within a second.

use std::time::Duration;

use tokio::time::Instant;

/// Remembers failures in a row.
#[derive(Debug, Default)]
pub(super) struct Redial {
    failures: usize,
    not_before: Option<Instant>,
}

impl Redial {
    /// When a connection may be tried again; `None` for now.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|not_before| now < *not_before)
    }

    /// Counts a dial that was begun at `since` and failed, or a connection that broke then before it answered anything. A dial that
    /// took long has been its own pause.
    pub(super) fn failed(&mut self, since: Instant) {
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.failures += 1;
        self.not_before = Some(since + pause);
    }

    /// A query was answered: all is forgiven.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }
}

/// The pause after the first, second, ... failure in a row. The last one and a handshake stay under the second within which a
/// resolver that came back must be in use again.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(600),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_after(failures: usize) -> Duration {
        let start = Instant::now();
        let mut redial = Redial::default();
        (0..failures).for_each(|_| redial.failed(start));
        (0..2_000)
            .map(Duration::from_millis)
            .find(|pause| redial.paused_until(start + *pause).is_none())
            .expect("some pause is enough")
    }

    #[test]
    fn the_pause_grows_and_stays_under_a_second() {
        let pauses: Vec<u128> = (0..8).map(|failures| pause_after(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 600, 600, 600]);
    }

    #[test]
    fn an_answer_resets() {
        let start = Instant::now();
        let mut redial = Redial::default();
        (0..5).for_each(|_| redial.failed(start));
        assert!(redial.paused_until(start).is_some());
        redial.answered();
        assert!(redial.paused_until(start).is_none());
        redial.failed(start);
        assert!(redial.paused_until(start).is_none());
    }
}
