//! Who writes to the files of a folder: fanotify(7) tells the process, which inotify does not. Linux from 5.9 on, for root.
#![allow(unsafe_code, reason = "std has no fanotify")]

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process that wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its name, as `ps` shows it; empty if it had ended before anybody looked.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "a process that has ended (pid {})", self.pid),
            name => write!(f, "{name} (pid {})", self.pid),
        }
    }
}

/// Hears of all that is written in one folder.
#[derive(Debug)]
pub struct Writers(fs::File);

/// What one read may bring: some hundred events. The kernel keeps 16,384, and throws away what comes then.
const BUFFER_LEN: usize = 16 << 10;

/// Reads of one look: whoever writes faster than we read is found among these too.
const MAX_READS: usize = 64;

/// `struct fanotify_event_metadata`: length of the event, version, length of this, mask, descriptor, process.
const METADATA_LEN: usize = 24;

/// `struct fanotify_event_info_header`, `__kernel_fsid_t`, and the two numbers of `struct file_handle`.
const INFO_LEN: usize = 4 + 8 + 8;

impl Writers {
    /// From now on. What we write ourselves is told too.
    ///
    /// # Errors
    /// The system's own: no right, an older kernel, a file system that fanotify does not know.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_REPORT_DFID_NAME;
        // SAFETY: takes two numbers.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as libc::c_uint) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = CString::new(folder.as_os_str().as_bytes())?;
        let events = libc::FAN_CLOSE_WRITE | libc::FAN_CREATE | libc::FAN_MOVED_TO | libc::FAN_DELETE;
        // SAFETY: the path ends with a zero and lives until the call returns.
        let marked = unsafe {
            libc::fanotify_mark(
                fd.as_raw_fd(),
                libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR,
                events | libc::FAN_EVENT_ON_CHILD,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        if marked < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(fs::File::from(fd)))
    }

    /// The last one since the last look who wrote, replaced or removed the file of this name, and is not this process.
    pub fn last_of(&mut self, file: &str) -> Option<Writer> {
        let own = std::process::id();
        let mut last = None;
        let mut buffer = vec![0; BUFFER_LEN];
        for _ in 0..MAX_READS {
            let Ok(len) = self.0.read(&mut buffer) else { break };
            let mut events = &buffer[..len];
            while let Some((event, rest)) = next(events) {
                events = rest;
                if event.name == file.as_bytes() && event.pid != own {
                    last = Some(event.pid);
                }
            }
        }
        last.map(|pid| Writer {
            name: name_of(pid),
            pid,
        })
    }
}

struct Event<'a> {
    pid: u32,
    name: &'a [u8],
}

/// The first event, and the octets behind it. The name is empty where the kernel gives none.
fn next(octets: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let number = |at: usize| Some(u32::from_ne_bytes(*octets.get(at..)?.first_chunk()?));
    let event_len = usize::try_from(number(0)?).ok()?;
    let event = octets.get(..event_len).filter(|event| event.len() >= METADATA_LEN)?;
    let pid = number(METADATA_LEN - 4)?;
    let name = name_in(&event[METADATA_LEN..]).unwrap_or_default();
    Some((Event { pid, name }, &octets[event_len..]))
}

/// Behind the handle of the folder stands the name, ended by a zero.
fn name_in(info: &[u8]) -> Option<&[u8]> {
    let handle_len = u32::from_ne_bytes(*info.get(INFO_LEN - 8..)?.first_chunk()?);
    let name = info.get(INFO_LEN + usize::try_from(handle_len).ok()?..)?;
    name.split(|octet| *octet == 0).next()
}

/// A process may call itself what it likes: nothing but printable ASCII goes on.
fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn events_of_any_octets_are_read_or_the_end() {
        for len in 0..200 {
            for fill in [0, 1, 24, 255] {
                let octets = vec![fill; len];
                let mut rest = octets.as_slice();
                let mut count = 0;
                while let Some((_, after)) = next(rest) {
                    assert!(after.len() < rest.len());
                    rest = after;
                    count += 1;
                }
                assert!(count <= len / METADATA_LEN);
            }
        }
    }

    #[test]
    #[ignore = "needs root for fanotify"]
    fn who_writes_replaces_or_removes_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut writers = Writers::of(folder.path()).unwrap();
        assert_eq!(writers.last_of("resolv.conf"), None);
        fs::write(folder.path().join("resolv.conf"), "ours").unwrap();
        assert_eq!(writers.last_of("resolv.conf"), None, "ourselves");
        for script in [
            "echo x > resolv.conf; sleep 5",
            "echo y > other; mv other resolv.conf; sleep 5",
            "rm resolv.conf; sleep 5",
        ] {
            let mut shell = Command::new("sh")
                .args(["-c", script])
                .current_dir(folder.path())
                .spawn()
                .unwrap();
            let writer = (0..1000).find_map(|_| {
                std::thread::yield_now();
                let writer = writers.last_of("resolv.conf");
                if writer.is_none() {
                    std::thread::park_timeout(std::time::Duration::from_millis(5));
                }
                writer
            });
            let writer = writer.unwrap();
            // `mv` and `rm` are processes of their own, and may have ended.
            assert!(writer.pid >= shell.id(), "{writer}");
            assert!(["sh", "mv", "rm", ""].contains(&writer.name.as_str()), "{writer}");
            shell.kill().unwrap();
            shell.wait().unwrap();
        }
        assert_eq!(writers.last_of("resolv.conf"), None, "nobody since");
    }
}
