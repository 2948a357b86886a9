//! Programs of the system's own, with a fixed search path and a limit of time.

use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::os::process::needed_variables;

/// Where the system's own programs are. Not the user's `PATH`: they run as root.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A restart of systemd-resolved takes a second on a slow machine; systemd itself gives up after 90.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is shown of a failed command's words.
const MAX_WORDS: usize = 300;

/// Runs a command to its end, which is a failure unless it says 0. Gives back what it wrote.
pub(super) async fn run(words: &[&str], input: &[u8]) -> Result<String, String> {
    let shown = words.join(" ");
    let mut child = Command::new(words.first().copied().unwrap_or_default())
        .args(words.get(1..).unwrap_or_default())
        .env_clear()
        .envs(needed_variables())
        .env("PATH", SEARCH_PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    let stdin = child.stdin.take();
    let ended = in_time(async move {
        if let Some(mut stdin) = stdin {
            // It may not want it and be gone; its exit code says what is to be known.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    });
    let ended = ended.await;
    let output = ended.map_err(|error| format!("`{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: String = words.trim().chars().take(MAX_WORDS).collect();
    Err(format!("`{shown}` failed ({}): {words}", output.status))
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("not done within {} s", PATIENCE.as_secs()),
        ))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_say_what_they_wrote_and_why_they_failed() {
        let said = run(&["sh", "-c", "read x && [ \"$x\" = y ] && echo z"], b"y\n").await;
        assert_eq!(said.as_deref(), Ok("z\n"));
        let failed = run(&["sh", "-c", "echo no way >&2; exit 3"], &[]).await.unwrap_err();
        assert!(failed.contains("no way") && failed.contains('3'), "{failed}");
        let absent = run(&["tacenda-is-not-installed-here"], &[]).await.unwrap_err();
        assert!(absent.starts_with("cannot run `tacenda-is-not"), "{absent}");
    }
}
