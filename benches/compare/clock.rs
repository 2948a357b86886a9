//! The harness's clock: real time, which the crate's own code is handed and never reads.
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement is real time, and a round has a length"
)]

use std::time::{Duration, Instant};

/// Now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits.
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Asks again and again until `look` has something or the time is over.
pub(crate) fn until<T>(longest: Duration, step: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + longest;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if now() >= end {
            return None;
        }
        rest(step);
    }
}
