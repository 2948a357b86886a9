//! The clock that nobody sets.

use std::time::Duration;

/// Time since the machine's start, that asleep among it.
#[cfg(target_os = "linux")]
pub fn since_start() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[allow(unsafe_code, reason = "std reads no clock but two")]
    // SAFETY: the call writes one timespec, which outlives it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) } != 0;
    let (Ok(seconds), Ok(nanos), false) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec), failed) else {
        return Duration::ZERO;
    };
    Duration::new(seconds, nanos)
}

/// Nobody needs it there.
#[cfg(not(target_os = "linux"))]
pub fn since_start() -> Duration {
    Duration::ZERO
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
