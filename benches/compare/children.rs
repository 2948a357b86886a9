//! What the harness starts and makes, so that nothing of it is left: each process is ended by its own id and waited for, each namespace
//! deleted, also after an error (drop) and after Ctrl-C (the registry).

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::sys;

/// What is there at the moment, for the one who is interrupted.
static LEFT: Mutex<Left> = Mutex::new(Left {
    processes: BTreeSet::new(),
    namespaces: BTreeSet::new(),
    folders: BTreeSet::new(),
});

struct Left {
    processes: BTreeSet<u32>,
    namespaces: BTreeSet<String>,
    folders: BTreeSet<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a process may take to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_millis(500);

/// A process of ours, ended with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// When it was begun.
    pub(crate) begun: Instant,
}

impl Running {
    /// Starts a program, with what it says in `log`. The calling thread must outlive it.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        sys::die_with_parent(command);
        // Registered under the lock: an interrupt in between would else miss it.
        let mut left = left();
        let begun = clock::now();
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        left.processes.insert(child.id());
        Ok(Self { child, begun })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(status.to_string())
    }

    pub(crate) fn signal(&self, number: i32) -> Result<(), String> {
        sys::signal(self.pid(), number).map_err(|error| format!("cannot signal {}: {error}", self.pid()))
    }

    /// Waits until it ends by itself; kills it if it does not.
    pub(crate) fn wait(mut self, longest: Duration) {
        let _ = clock::until(longest, Duration::from_millis(5), || self.ended());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = sys::signal(self.pid(), libc::SIGTERM);
            if clock::until(PATIENCE, Duration::from_millis(2), || self.ended()).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        left().processes.remove(&self.child.id());
    }
}

/// A network namespace of ours, deleted with this value; its name has our process id in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(side: &str) -> Result<Self, String> {
        let name = format!("tacenda-bench-{}-{side}", std::process::id());
        left().namespaces.insert(name.clone());
        let made = Self { name };
        ip(&["netns", "add", &made.name])?;
        made.ip(&["link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// `ip` inside it.
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Has a program start inside it. Not by `ip netns exec`, whose own time would count as the program's.
    pub(crate) fn hold(&self, command: &mut Command) -> Result<(), String> {
        sys::start_inside(command, self.open()?);
        Ok(())
    }

    fn open(&self) -> Result<File, String> {
        File::open(Path::new("/run/netns").join(&self.name)).map_err(|error| error.to_string())
    }

    /// Calls `work` on a thread that is inside it: sockets made there belong there for good.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        let file = self.open()?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                sys::enter_namespace(&file).map_err(|error| format!("cannot enter the namespace: {error}"))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err("panicked".to_owned()))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
        left().namespaces.remove(&self.name);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot start ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
}

/// A folder for configurations and logs, removed with this value.
pub(crate) fn folder() -> Result<Folder, String> {
    let made = tempfile::Builder::new()
        .prefix("tacenda-compare-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    left().folders.insert(made.path().to_owned());
    Ok(Folder { made })
}

/// See [`folder`].
#[derive(Debug)]
pub(crate) struct Folder {
    made: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.made.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        left().folders.remove(self.made.path());
    }
}

/// From now on Ctrl-C and SIGTERM clear everything away and end the harness.
pub(crate) fn clear_away_when_interrupted() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            clear_away();
            std::process::exit(130);
        });
    });
    Ok(())
}

fn clear_away() {
    // Held to the end: nothing new is started meanwhile.
    let left = left();
    for pid in &left.processes {
        let _ = sys::signal(*pid, libc::SIGKILL);
    }
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}/fd/0")).exists();
    let _ = clock::until(PATIENCE, Duration::from_millis(2), || {
        left.processes.iter().all(gone).then_some(())
    });
    for namespace in &left.namespaces {
        let _ = ip(&["netns", "del", namespace]);
    }
    for folder in &left.folders {
        let _ = std::fs::remove_dir_all(folder);
    }
}
