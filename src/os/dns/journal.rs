//! What was done and what stood there before, on the disk before it is done: so that whatever is cut off can be undone.
//!
//! It is in a folder of root's own and not in the daemon's state: what is written here is put back by root, and the daemon's user must not
//! be able to say what. It keeps our own octets, not a hash of them: so the beginning of a file that was being written in place is known as
//! ours too.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::system::{BackEnd, System};
use crate::os::file;

/// What this version writes. A later one has to read it, or to say which tacenda does.
const VERSION: u32 = 1;

/// The longest journal: six files with what stood there before, twice, one of them four times, in an encoding that may take twice the place. Settings of hundreds of
/// adapters are less.
const MAX_JOURNAL_LEN: u64 = 8 * 1024 * 1024;

/// The undo journal, of changes of one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Journal<C> {
    version: u32,
    /// The system that it was written on.
    #[serde(default = "linux", skip_serializing_if = "is_linux")]
    system: String,
    /// Of which start of the machine: links' numbers and what `/run` held mean nothing after the next one.
    pub boot_id: String,
    /// Who was told.
    pub back_end: BackEnd,
    /// Where programs ask.
    pub listen: IpAddr,
    /// How far it went.
    pub phase: Phase,
    /// In the order in which they are done.
    pub steps: Vec<Step<C>>,
}

/// Journals were written on Linux before they said so.
fn linux() -> String {
    "linux".to_owned()
}

fn is_linux(system: &str) -> bool {
    system == linux()
}

/// What is read first: whether the rest can be.
#[derive(Deserialize)]
struct Head {
    version: u32,
    #[serde(default = "linux")]
    system: String,
}

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What stands there is known; nothing was changed.
    Intent,
    /// Steps are being done.
    Steps,
    /// They are done, and it is tried whether the host asks tacenda.
    Verify,
    /// It does.
    Applied,
    /// It did, and steps that others have changed are being done again.
    Again,
    /// Steps are being undone.
    Restoring,
}

impl Phase {
    /// Whether the host has once asked tacenda with this. What has not is undone when it is cut off.
    pub fn is_known_to_work(self) -> bool {
        matches!(self, Self::Applied | Self::Again)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step<C> {
    /// Whether it is undone.
    pub mark: Mark,
    /// What is changed.
    pub change: C,
}

/// How far a step went. Whether one that was begun has an effect is seen on its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing was changed.
    Planned,
    /// From here on it may have been.
    Begun,
    /// It is being put back.
    Undoing,
    /// It is undone.
    Undone,
}

impl<C> Journal<C> {
    /// Nothing was changed yet.
    pub(super) fn of_intent<S: System<Change = C>>(
        boot_id: String,
        back_end: BackEnd,
        listen: IpAddr,
        changes: Vec<C>,
    ) -> Self {
        let step = |change| Step {
            mark: Mark::Planned,
            change,
        };
        Self {
            version: VERSION,
            system: S::NAME.to_owned(),
            boot_id,
            back_end,
            listen,
            phase: Phase::Intent,
            steps: changes.into_iter().map(step).collect(),
        }
    }

    /// What it says was changed.
    pub(super) fn changes(&self) -> Vec<&C> {
        self.steps.iter().map(|step| &step.change).collect()
    }

    /// The servers that stood where ours do now, as networks or users had put them there, the newest first. None twice.
    pub(super) fn servers_of_others<S: System<Change = C>>(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = Vec::new();
        for server in self.changes().into_iter().flat_map(S::servers_before) {
            if !server.is_loopback() && !found.contains(&server) {
                found.push(server);
            }
        }
        found
    }
}

/// Where the journal is.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    /// The system whose journals are read.
    system: &'static str,
}

const NAME: &str = "journal.json";

impl Store {
    /// That of a system.
    pub(super) fn of<S: System>(system: &S) -> Self {
        Self {
            folder: system.folder(),
            system: S::NAME,
        }
    }

    /// The journal's path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Whether there is one, also if we may not look.
    pub(super) fn may_be_there(&self) -> bool {
        let found = fs::symlink_metadata(self.path());
        found.map_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied, |_| true)
    }

    /// The lock: two of us at once would undo each other's work. Let go with the file, also by a crash.
    pub(super) fn lock(&self) -> io::Result<File> {
        file::make_private_folder(&self.folder)?;
        let lock = file::open_lock(&self.folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another tacenda is at it"),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(lock)
    }

    /// The journal; none if nothing is set.
    ///
    /// # Errors
    /// The system's own, and `InvalidData` for what is no journal of ours.
    pub fn load<C: DeserializeOwned>(&self) -> io::Result<Option<Journal<C>>> {
        let path = self.path();
        let Some(octets) = file::read(&path, MAX_JOURNAL_LEN)? else {
            return Ok(None);
        };
        file::is_of_this_user_alone(&path)?;
        file::is_of_this_user_alone(&self.folder)?;
        let head: Head = serde_json::from_slice(&octets).map_err(invalid)?;
        if head.version != VERSION {
            let text = format!("of version {}, this tacenda knows {VERSION}", head.version);
            return Err(invalid(text));
        }
        if head.system != self.system {
            let text = format!("written on {}, and this is {}", head.system, self.system);
            return Err(invalid(text));
        }
        serde_json::from_slice(&octets).map(Some).map_err(invalid)
    }

    /// On the disk when this returns.
    pub(super) fn save<C: Serialize>(&self, journal: &Journal<C>, fault: &Fault) -> io::Result<()> {
        file::make_private_folder(&self.folder)?;
        let octets = serde_json::to_vec_pretty(journal).map_err(io::Error::other)?;
        file::replace(&self.path(), &octets)?;
        fault.point()
    }

    /// Puts a journal that is of no use aside, for whoever wants to look at it. Without one there is nothing to do.
    pub(super) fn put_aside(&self) -> io::Result<()> {
        match fs::rename(self.path(), self.folder.join("journal.broken")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => file::sync_folder(&self.folder),
        }
    }

    /// Nothing is set any more.
    pub(super) fn remove(&self, fault: &Fault) -> io::Result<()> {
        fs::remove_file(self.path())?;
        file::sync_folder(&self.folder)?;
        fault.point()
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A journal whose changes are words.
    fn journal() -> Journal<String> {
        Journal {
            version: VERSION,
            system: linux(),
            boot_id: "boot".to_owned(),
            back_end: BackEnd::File,
            listen: Ipv4Addr::LOCALHOST.into(),
            phase: Phase::Intent,
            steps: vec![Step {
                mark: Mark::Planned,
                change: "x".to_owned(),
            }],
        }
    }

    fn store(folder: PathBuf) -> Store {
        Store {
            folder,
            system: "linux",
        }
    }

    fn load(store: &Store) -> io::Result<Option<Journal<String>>> {
        store.load()
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path().join("made"));
        assert_eq!(load(&store).unwrap(), None);
        store.save(&journal(), &Fault::default()).unwrap();
        assert_eq!(load(&store).unwrap(), Some(journal()));
        store.remove(&Fault::default()).unwrap();
        assert_eq!(load(&store).unwrap(), None);
    }

    #[test]
    fn what_is_no_journal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path().to_owned());
        let text = serde_json::to_string(&journal()).unwrap();
        let other_version = text.replace("\"version\":1", "\"version\":2");
        let other_system = text.replace("\"version\":1", "\"version\":1,\"system\":\"macos\"");
        for (text, why) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("{\"version\":1}", "missing field"),
            ("[]", "invalid length"),
            (&other_version, "of version 2, this tacenda knows 1"),
            (&other_system, "written on macos, and this is linux"),
        ] {
            fs::write(store.path(), text).unwrap();
            let error = load(&store).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_write_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path().to_owned());
        store.save(&journal(), &Fault::default()).unwrap();
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o666)).unwrap();
        let error = load(&store).unwrap_err();
        assert!(error.to_string().contains("not believed"), "{error}");
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path().to_owned());
        let held = store.lock().unwrap();
        assert_eq!(store.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(store.lock().is_ok());
    }
}
