//! The clock that nobody sets.

use std::time::Duration;

/// Time since the machine's start, that asleep among it. Nobody needs it but on Linux.
pub fn since_start() -> Duration {
    #[cfg(target_os = "linux")]
    return read(libc::CLOCK_BOOTTIME);
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

/// The same without the time asleep.
pub fn awake() -> Duration {
    #[cfg(target_os = "linux")]
    return read(libc::CLOCK_MONOTONIC);
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

#[cfg(target_os = "linux")]
fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[allow(unsafe_code, reason = "std says of no clock how long ago the machine was started")]
    // SAFETY: the call writes one timespec, which outlives it.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    let (Ok(seconds), Ok(nanos), false) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec), failed) else {
        return Duration::ZERO;
    };
    Duration::new(seconds, nanos)
}

/// What the host's clock shows, in seconds since 1970: for people and for other runs to read; nothing of this one is measured by it. 0 before that.
#[expect(
    clippy::disallowed_methods,
    reason = "a person wants to know when something happened, and what is read in another run can only be dated by the calendar"
)]
pub fn seconds_since_1970() -> u64 {
    let shown = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    shown.map_or(0, |time| time.as_secs())
}
