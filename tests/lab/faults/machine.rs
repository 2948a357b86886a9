//! Faults of the machine under the stub: clock, descriptors, memory, disk, configuration, signals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::cases::{length, seconds};
use crate::load::{Load, Mix};
use crate::relay::Fault;
use crate::rig::{Excuse, Rig};
use crate::subject::Setup;

/// Where Debian has libfaketime (multi-arch directory left out).
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// The stub's descriptors in case 25; it must still start.
const DESCRIPTORS: u32 = 96;

/// The stub's writable memory in case 26 (RLIMIT_DATA: heap and stacks), and its cache.
const MEMORY: &str = "134217728";

/// What a case has borrowed of the machine; given back when dropped.
#[derive(Default)]
pub(crate) struct Host {
    clock: Option<(TempDir, PathBuf)>,
    mounted: Option<TempDir>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(folder) = &self.mounted {
            // The stub is gone by now; lazily, should it not be.
            let _ = Command::new("umount").arg("-l").arg(folder.path()).status();
        }
    }
}

/// What the stub needs before it starts.
pub(crate) fn prepare(number: u8, setup: &mut Setup, host: &mut Host) -> Result<(), String> {
    match number {
        24 => fake_clock(setup, host),
        25 => {
            setup.wrap = vec!["prlimit".into(), format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}")];
            Ok(())
        }
        26 => {
            setup.wrap = vec!["prlimit".into(), format!("--data={MEMORY}:{MEMORY}")];
            setup.tail = "[cache]\nmax-bytes = \"1 MiB\"\n".into();
            Ok(())
        }
        27 => full_disk(setup, host),
        _ => Ok(()),
    }
}

fn fake_clock(setup: &mut Setup, host: &mut Host) -> Result<(), String> {
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|folder| Path::new(folder).join(FAKETIME))
        .into_iter()
        .find(|path| path.exists())
        .ok_or("needs libfaketime (apt-get install libfaketime)")?;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    for (key, value) in [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        // Only the wall clock jumps, as on a real machine.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ] {
        setup.env.push((key.into(), value));
    }
    host.clock = Some((folder, clock));
    Ok(())
}

/// The stub works and keeps temporary files on a file system with no octet free.
fn full_disk(setup: &mut Setup, host: &mut Host) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path());
    if !mount.status().is_ok_and(|status| status.success()) {
        return Err("needs root (mount)".into());
    }
    // Ends with an error, as it should: the disk is full then.
    let _ = fs::write(folder.path().join("full"), vec![0; 128 << 10]);
    for key in ["TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "STATE_DIRECTORY"] {
        setup.env.push((key.into(), folder.path().display().to_string()));
    }
    setup.directory = Some(folder.path().to_owned());
    host.mounted = Some(folder);
    Ok(())
}

pub(crate) async fn act(number: u8, rig: &mut Rig, host: &Host) -> Result<(), String> {
    match number {
        24 => clock_jumps(rig, host).await,
        25 => descriptors(rig).await,
        26 => flood(rig).await,
        27 => {
            // Something that a program would like to write about.
            rig.hold(Fault::Reset, length()).await;
        }
        28 => broken_file(rig).await,
        29 => {
            rig.book.excuse = Some(Excuse::Killed(Instant::now()));
            rig.subject.restart(Duration::from_secs(1)).await;
            rig.mark();
        }
        30 => stopped(rig).await,
        _ => return Err(format!("no case {number}")),
    }
    Ok(())
}

/// An hour ahead, a day back, and right again; a new handshake each time.
async fn clock_jumps(rig: &mut Rig, host: &Host) {
    let Some((_, clock)) = &host.clock else { return };
    for offset in ["+3600", "-86400", "+0"] {
        fs::write(clock, offset).unwrap();
        rig.reset_once().await;
        if offset != "+0" {
            sleep(length() / 2).await;
        }
    }
    rig.mark();
}

/// More clients over TCP than the stub has descriptors; then they go.
async fn descriptors(rig: &mut Rig) {
    let stub = rig.load.server();
    let mut clients = Vec::new();
    for _ in 0..DESCRIPTORS * 3 {
        if let Ok(Ok(client)) = timeout(Duration::from_millis(50), TcpStream::connect(stub)).await {
            clients.push(client);
        }
    }
    // While there is none left, the connection to the resolver is lost.
    rig.reset_once().await;
    sleep(length()).await;
    rig.note(format!(
        "{} clients, {} of {DESCRIPTORS} descriptors",
        clients.len(),
        rig.subject.descriptors().unwrap_or(0)
    ));
    drop(clients);
    rig.mark();
}

/// Fresh names by the thousand under a small cache and a limit of memory.
async fn flood(rig: &mut Rig) {
    let before = rig.subject.resident().unwrap_or(0);
    let flood = Load::start(rig.load.server(), Mix { rate: 1500, hot: 0 }).await;
    sleep(length()).await;
    let asked = flood.finish().await;
    let lost = asked.iter().filter(|asked| asked.answered.is_none()).count();
    let after = rig.subject.resident().unwrap_or(0);
    rig.note(format!(
        "flood of {}: {lost} unanswered; memory {} -> {} MiB",
        asked.len(),
        before >> 20,
        after >> 20
    ));
    rig.mark();
}

/// SIGHUP with a broken file, and again with the right one.
async fn broken_file(rig: &mut Rig) {
    let path = rig.subject.configuration();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, "version = 1\nlisten = [\nno such key").unwrap();
    rig.subject.signal("HUP");
    rig.mark();
    sleep(length() / 2).await;
    fs::write(&path, text).unwrap();
    rig.subject.signal("HUP");
    sleep(Duration::from_secs(1)).await;
}

/// For so long the queries of the ordinary load fit the socket's buffer: 10,000 do, at 50 a second.
const FITS: Duration = Duration::from_secs(60);

/// Stopped, the resolver closes its connections meanwhile, and continued.
async fn stopped(rig: &mut Rig) {
    rig.subject.signal("STOP");
    sleep(Duration::from_millis(300)).await;
    rig.reset_once().await;
    let length = seconds("STOP_SECONDS", 4);
    sleep(length).await;
    rig.subject.signal("CONT");
    let now = Instant::now();
    rig.book.excuse = Some(if length <= FITS {
        Excuse::Stopped(now)
    } else {
        Excuse::StoppedForLong(now)
    });
    rig.mark();
}
