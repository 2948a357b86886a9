//! The programs of this host: commands with a fixed search path and a limit of time, and the system's bus.

use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::bus::Bus;
use super::services::{Link, Service, Services};

/// Where the system's own programs are. Not the user's `PATH`: they run as root.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A restart of systemd-resolved takes a second on a slow machine; systemd itself gives up after 90.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is shown of a failed command's words.
const MAX_WORDS: usize = 300;

/// The name under which openresolv knows us. It sorts `lo` first in any case.
const OPENRESOLV_NAME: &str = "lo.tacenda";

/// The programs of this host.
#[derive(Debug)]
pub struct Host {
    runtime: Runtime,
}

impl Host {
    /// Starts nothing.
    ///
    /// # Errors
    /// When the system gives no event queue.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime })
    }

    fn on_bus<T>(&self, work: impl AsyncFnOnce(&Bus) -> Result<T, String>) -> Result<T, String> {
        self.runtime.block_on(async {
            let bus = Bus::connect().await?;
            work(&bus).await
        })
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Result<(), String> {
        self.runtime.block_on(run(words, input))
    }
}

impl Services for Host {
    fn reload(&self, service: Service) -> Result<(), String> {
        match service {
            Service::Resolved => self.run(&["systemctl", "reload-or-restart", "systemd-resolved.service"], &[]),
            Service::NetworkManager => self.run(&["nmcli", "general", "reload"], &[]),
        }
    }

    fn openresolv_add(&self, octets: &[u8]) -> Result<(), String> {
        self.run(&["resolvconf", "-x", "-a", OPENRESOLV_NAME], octets)
    }

    fn openresolv_delete(&self) -> Result<(), String> {
        self.run(&["resolvconf", "-f", "-d", OPENRESOLV_NAME], &[])
    }

    fn links(&self) -> Result<Vec<Link>, String> {
        self.on_bus(async |bus| bus.links().await)
    }

    fn strip_link(&self, link: &Link) -> Result<(), String> {
        self.on_bus(async |bus| bus.strip(link).await)
    }

    fn put_back_link(&self, link: &Link) -> Result<(), String> {
        self.on_bus(async |bus| bus.put_back(link).await)
    }
}

/// Runs a command to its end, which is a failure unless it says 0.
async fn run(words: &[&str], input: &[u8]) -> Result<(), String> {
    let shown = words.join(" ");
    let mut child = Command::new(words.first().copied().unwrap_or_default())
        .args(words.get(1..).unwrap_or_default())
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may not want it and be gone; its exit code says what is to be known.
        let _ = stdin.write_all(input).await;
    }
    let ended = in_time(child.wait_with_output()).await;
    let output = ended.map_err(|error| format!("`{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_say_why_they_failed() {
        let host = Host::new().unwrap();
        assert_eq!(host.run(&["sh", "-c", "read x && [ \"$x\" = y ]"], b"y\n"), Ok(()));
        let failed = host.run(&["sh", "-c", "echo no way >&2; exit 3"], &[]).unwrap_err();
        assert!(failed.contains("no way") && failed.contains('3'), "{failed}");
        let absent = host.run(&["tacenda-is-not-installed-here"], &[]).unwrap_err();
        assert!(absent.starts_with("cannot run `tacenda-is-not"), "{absent}");
    }
}
