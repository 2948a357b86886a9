//! Programs of the system: commands with a fixed search path and a limit of time.

use std::future::Future;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::process::needed_variables;

/// Runs a command to its end with this on its stdin, and gives back its stdout.
///
/// # Errors
/// In words: it cannot be run, takes longer than 30 s, or does not end with 0.
pub async fn run(words: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    run_within(PATIENCE, words, input).await
}

/// The same with another limit.
///
/// # Errors
/// As [`run`].
pub async fn run_within(patience: Duration, words: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
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
    let feed = async {
        if let Some(mut stdin) = stdin {
            // It may not want it and be gone; its exit code says what is to be known.
            let _ = stdin.write_all(input).await;
        }
    };
    // Together: whoever writes before he has read all must not wait for us.
    let ended = in_time(patience, async { tokio::join!(feed, child.wait_with_output()).1 }).await;
    let output = ended.map_err(|error| format!("`{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: String = words.trim().chars().take(MAX_WORDS).collect();
    Err(format!("`{shown}` failed ({}): {words}", output.status))
}

/// Whether there is a program of this name.
pub fn is_there(name: &str) -> bool {
    SEARCH_PATH
        .split(':')
        .any(|folder| Path::new(folder).join(name).is_file())
}

async fn in_time<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("not done within {} s", patience.as_secs()),
        ))
    })
}

/// Where the system's own programs are. Not the user's `PATH`: they run as root.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A restart of systemd-resolved takes a second on a slow machine; systemd itself gives up after 90.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is shown of a failed command's words.
const MAX_WORDS: usize = 300;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_say_why_they_failed() {
        assert_eq!(
            run(&["sh", "-c", "read x && echo \"$x\""], b"y\n").await.unwrap(),
            b"y\n"
        );
        let failed = run(&["sh", "-c", "echo no way >&2; exit 3"], &[]).await.unwrap_err();
        assert!(failed.contains("no way") && failed.contains('3'), "{failed}");
        let absent = run(&["tacenda-is-not-installed-here"], &[]).await.unwrap_err();
        assert!(absent.starts_with("cannot run `tacenda-is-not"), "{absent}");
        assert!(is_there("sh") && !is_there("tacenda-is-not-installed-here"));
    }

    #[tokio::test]
    async fn whoever_writes_before_he_has_read_is_not_waited_for() {
        let much = vec![b'x'; 1 << 20];
        assert_eq!(run(&["cat"], &much).await.unwrap().len(), much.len());
    }
}
