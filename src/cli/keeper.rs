//! Root's helpers that keep what a command has set: they look a moment after it, and what `tacenda status` says is theirs.

use std::time::Duration;

/// A keeper looks a tenth of a second after a change.
const BREATH: Duration = Duration::from_millis(20);
const LOOKS: u32 = 100;

/// Waits until a keeper has said what it has seen, two seconds at the longest: `status` is to say the same as the command that was just
/// typed. Nothing depends on it.
pub(super) fn wait_until(has_said: impl Fn() -> bool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    for _ in 0..LOOKS {
        if has_said() {
            return;
        }
        runtime.block_on(async { tokio::time::sleep(BREATH).await });
    }
}
