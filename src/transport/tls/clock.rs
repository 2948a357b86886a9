//! The wall clock that certificates are judged by. It is never earlier than tacenda itself (T-TIME): a machine whose
//! clock was lost cannot be shown certificates that were over before this program was written.
//!
//! It is read in handshakes only: a clock that jumps disturbs no connection that is open.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Tells rustls the time.
#[derive(Debug)]
pub(super) struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(floored(since_1970(), RELEASED)))
    }
}

/// Whether the host's clock shows a time before this version existed, so that it must be wrong.
pub fn is_before_release() -> bool {
    since_1970() < RELEASED
}

/// The time to judge by: the later one.
fn floored(now: Duration, floor: Duration) -> Duration {
    now.max(floor)
}

/// A clock before 1970 counts as 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "certificates are dated by the calendar; no other place reads it"
)]
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// 2026-11-01 00:00 UTC. Set by hand with each release, never to a day in the future: read from the build machine it
/// would make two builds of one source differ.
const RELEASED: Duration = Duration::from_secs(1_793_491_200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_time_no_earlier_than_the_release() {
        let floor = Duration::from_secs(1_000);
        for (now, expected) in [
            (0, 1_000),
            (999, 1_000),
            (1_000, 1_000),
            (1_001, 1_001),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(floored(Duration::from_secs(now), floor), Duration::from_secs(expected));
        }
        assert!(Clock.current_time().unwrap().as_secs() >= RELEASED.as_secs());
    }

    #[test]
    fn t_time_the_release_is_not_in_the_future() {
        assert!(
            !is_before_release(),
            "RELEASED is in the future, or this machine's clock is wrong"
        );
    }
}
