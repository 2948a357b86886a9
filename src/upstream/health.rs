//! Whether an upstream works, judged by real queries only. Pure: time is handed in.
//!
//! A road that fails is down at once. Silence is weaker evidence, because a resolver may be busy with one slow name: it
//! counts only if nothing else came back meanwhile, and only the second time in a row.

use std::time::Duration;

use tokio::time::Instant;

/// Silences in a row that make an upstream count as down.
const MAX_SILENCES: u32 = 2;

/// The first wait before a query tries an upstream that is down; doubles up to [`MAX_RETRY`]. Short, because each try costs one
/// query at most [`PROBE_TIME`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait before a down upstream is tried again.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// How long a query waits for an upstream that is down and on trial before the next one is asked too.
pub(super) const PROBE_TIME: Duration = Duration::from_millis(500);

/// What is known of an upstream.
#[derive(Debug, Default)]
pub(super) struct Health {
    silences: u32,
    last_response: Option<Instant>,
    network_changed: Option<Instant>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    retry_at: Instant,
    wait: Duration,
    on_trial: bool,
    /// It asked for this time itself: until then it is not asked at all.
    is_told: bool,
}

/// How an upstream may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It works as far as we know.
    Up,
    /// It was down; this query may try whether it is back.
    Trial,
    /// It is down: only if there is nothing better.
    Down,
}

impl Health {
    /// How to use the upstream for a query that starts now. A trial is given to one query, then the wait begins anew.
    pub(super) fn standing(&mut self, now: Instant) -> Standing {
        match &mut self.down {
            None => Standing::Up,
            Some(down) if now >= down.retry_at => {
                down.retry_at = now + down.wait;
                down.on_trial = true;
                // The time it asked for is over: others may ask it too if there is nothing better.
                down.is_told = false;
                Standing::Trial
            }
            Some(_) => Standing::Down,
        }
    }

    /// Whether the upstream is down and no trial is due. Takes no trial.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        self.down.as_ref().is_some_and(|down| now < down.retry_at)
    }

    /// Whether the upstream has asked not to be asked (429, 503 with Retry-After) and that time still runs.
    pub(super) fn must_be_left_alone(&self, now: Instant) -> bool {
        self.down
            .as_ref()
            .is_some_and(|down| down.is_told && now < down.retry_at)
    }

    /// Whether the upstream counts as working.
    pub(super) fn is_up(&self) -> bool {
        self.down.is_none()
    }

    /// A response came, whatever it said. Says whether the upstream came back by that: not if it asked to be left alone, and this
    /// is to an earlier query.
    pub(super) fn responded(&mut self, now: Instant) -> bool {
        self.silences = 0;
        self.last_response = Some(now);
        if self.must_be_left_alone(now) {
            return false;
        }
        self.down.take().is_some()
    }

    /// Nothing came back to a query that was sent at `sent`. Of one sent before the network changed it says nothing.
    pub(super) fn was_silent(&mut self, sent: Instant, now: Instant) {
        if self
            .last_response
            .max(self.network_changed)
            .is_some_and(|at| at >= sent)
        {
            return;
        }
        self.silences += 1;
        if self.silences >= MAX_SILENCES {
            self.broke(now, None);
        }
    }

    /// What was learned on the old network is void: an upstream that is down gets a trial at once. Where changes come in a
    /// row, the next trial comes a first wait after the last change. One that asked to be left alone itself still is. Says
    /// whether it was down.
    pub(super) fn network_changed(&mut self, now: Instant) -> bool {
        let before = self.network_changed.replace(now);
        self.silences = 0;
        let Some(down) = &mut self.down else { return false };
        if !down.is_told {
            let soonest = before.map_or(now, |at| now.max(at + FIRST_RETRY));
            down.retry_at = down.retry_at.min(soonest);
            down.wait = FIRST_RETRY;
        }
        true
    }

    /// The road failed, or the upstream asked to be left alone for `leave_alone`.
    pub(super) fn broke(&mut self, now: Instant, leave_alone: Option<Duration>) {
        let wait = match &self.down {
            None => FIRST_RETRY,
            Some(down) if down.on_trial => (down.wait * 2).min(MAX_RETRY),
            // What it asks for holds, whatever else is known; the longest if it asks more than once.
            Some(down) if leave_alone.is_some() => down.wait,
            // Many queries may fail together; they are one failure, not many.
            Some(_) => return,
        };
        let told = self.down.as_ref().filter(|down| down.is_told).map(|down| down.retry_at);
        let retry_at = now + leave_alone.unwrap_or(wait).max(FIRST_RETRY);
        let retry_at = told.map_or(retry_at, |told| told.max(retry_at));
        self.down = Some(Down {
            retry_at,
            wait,
            on_trial: false,
            is_told: leave_alone.is_some() || told.is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_broken_road_is_down_until_a_trial_succeeds() {
        let (mut health, start) = (Health::default(), Instant::now());
        assert_eq!(health.standing(start), Standing::Up);
        health.broke(start, None);
        assert_eq!(health.standing(after(start, 999)), Standing::Down);
        assert_eq!(health.standing(after(start, 1000)), Standing::Trial);
        assert_eq!(
            health.standing(after(start, 1001)),
            Standing::Down,
            "one query at a time"
        );
        assert!(health.responded(after(start, 1100)));
        assert_eq!(health.standing(after(start, 1100)), Standing::Up);
        assert!(!health.responded(after(start, 1200)));
    }

    #[test]
    fn trials_grow_apart_up_to_a_limit() {
        let (mut health, start) = (Health::default(), Instant::now());
        let mut now = start;
        let mut waits = vec![];
        for _ in 0..7 {
            health.broke(now, None);
            let begun = now;
            while health.standing(now) != Standing::Trial {
                now += Duration::from_millis(100);
            }
            waits.push((now - begun).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_burst_of_failures_is_one_failure() {
        let (mut health, start) = (Health::default(), Instant::now());
        for _ in 0..100 {
            health.broke(start, None);
        }
        assert_eq!(health.standing(after(start, 2000)), Standing::Trial);
    }

    #[test]
    fn silence_counts_the_second_time_and_only_without_other_responses() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.was_silent(start, after(start, 1500));
        assert!(health.is_up());
        health.responded(after(start, 1600));
        health.was_silent(start, after(start, 1700));
        health.was_silent(start, after(start, 1700));
        assert!(health.is_up(), "it answered others meanwhile");
        health.was_silent(after(start, 2000), after(start, 3500));
        health.was_silent(after(start, 2000), after(start, 3500));
        assert!(!health.is_up());
    }

    #[test]
    fn r9520_3_a_change_of_network_gives_a_trial_at_once() {
        let (mut health, start) = (Health::default(), Instant::now());
        assert!(!health.network_changed(start), "it was not down");
        for (broke, trial) in [(2000, 3000), (3000, 5000)] {
            health.broke(after(start, broke), None);
            assert_eq!(health.standing(after(start, trial)), Standing::Trial);
        }
        health.broke(after(start, 5000), None);
        assert_eq!(
            health.standing(after(start, 8999)),
            Standing::Down,
            "the wait has grown"
        );
        let changed = after(start, 6000);
        assert!(health.network_changed(changed));
        assert_eq!(health.standing(changed), Standing::Trial);
        assert_eq!(health.standing(after(start, 6001)), Standing::Down, "one query");
        assert_eq!(
            health.standing(after(start, 7000)),
            Standing::Trial,
            "the wait begins anew"
        );
    }

    #[test]
    fn a_network_that_changes_all_the_time_gives_one_trial_a_second() {
        let (mut health, start) = (Health::default(), Instant::now());
        let mut trials = 0;
        for tick in 0..100 {
            let now = after(start, tick * 100);
            health.broke(now, None);
            health.network_changed(now);
            trials += usize::from(health.standing(now) == Standing::Trial);
        }
        assert!((5..=11).contains(&trials), "{trials} trials in 10 s");
    }

    #[test]
    fn silence_on_the_old_network_does_not_count() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.was_silent(start, after(start, 1500));
        health.network_changed(after(start, 1600));
        health.was_silent(after(start, 1500), after(start, 3000));
        health.was_silent(after(start, 1500), after(start, 3000));
        health.was_silent(after(start, 1700), after(start, 3200));
        assert!(health.is_up(), "one silence on the new network");
        health.was_silent(after(start, 1700), after(start, 3200));
        assert!(!health.is_up());
    }

    #[test]
    fn r8484_8_a_change_of_network_does_not_void_retry_after() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.broke(start, Some(Duration::from_secs(20)));
        assert!(health.network_changed(after(start, 1000)));
        assert!(health.must_be_left_alone(after(start, 19_999)));
        assert_eq!(health.standing(after(start, 20_000)), Standing::Trial);
    }

    #[test]
    fn r8484_8_retry_after_holds_whatever_else_is_known() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.broke(start, None);
        health.broke(after(start, 100), Some(Duration::from_secs(20)));
        assert!(
            health.must_be_left_alone(after(start, 20_099)),
            "it was down, and asked as there was nothing better"
        );
        health.broke(after(start, 200), Some(Duration::from_secs(5)));
        assert!(health.must_be_left_alone(after(start, 20_099)), "the longest counts");
        assert!(!health.responded(after(start, 300)), "an answer to an earlier query");
        assert!(health.must_be_left_alone(after(start, 20_099)));
    }

    #[test]
    fn r8484_8_when_retry_after_is_over_all_may_ask_if_there_is_nothing_better() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.broke(start, Some(Duration::from_secs(20)));
        assert_eq!(health.standing(after(start, 20_000)), Standing::Trial);
        assert!(!health.must_be_left_alone(after(start, 20_001)), "while the trial runs");
        assert_eq!(health.standing(after(start, 20_001)), Standing::Down);
        assert!(health.responded(after(start, 20_002)));
    }

    #[test]
    fn r8484_8_retry_after_is_respected() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.broke(start, Some(Duration::from_secs(20)));
        assert_eq!(health.standing(after(start, 19_999)), Standing::Down);
        assert_eq!(health.standing(after(start, 20_000)), Standing::Trial);
    }
}
