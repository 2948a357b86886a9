//! Root's helpers that keep what a command has set: they look a moment after it, and what `tacenda status` says is theirs.

use std::io;
use std::time::Duration;

/// A keeper looks a tenth of a second after a change.
const BREATH: Duration = Duration::from_millis(20);
const LOOKS: u32 = 100;

/// Waits until a keeper's report says so, two seconds at the longest: `status` is to say the same as the command that was just typed.
/// Nothing depends on it, and where nobody keeps it there is no report to wait for.
pub(super) fn wait_until<R>(read: impl Fn() -> io::Result<Option<R>>, says_so: impl Fn(&R) -> bool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    for _ in 0..LOOKS {
        if read().ok().flatten().is_none_or(|report| says_so(&report)) {
            return;
        }
        runtime.block_on(async { tokio::time::sleep(BREATH).await });
    }
}
