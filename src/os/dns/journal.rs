//! What was done and what stood there before, on the disk before it is done: so that whatever is cut off can be undone.
//!
//! It is in a folder of root's own and not in the daemon's state: what is written here is put back by root, and the daemon's user must not
//! be able to say what. It keeps our own octets, not a hash of them: so the beginning of a file that was being written in place is known as
//! ours too.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::object::{MAX_LEN, Object, Octets, clear_beside};
use super::plan::BackEnd;
use super::services::{Link, Service};
use super::{RESOLV_CONF, facts};
use crate::os::file;

/// What this version writes. A later one has to read it, or to say which tacenda does.
const VERSION: u32 = 1;

/// The longest journal: six files with what stood there before, twice, in an encoding that may take twice the place.
const MAX_JOURNAL_LEN: u64 = 6 * 4 * MAX_LEN;

/// The undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Journal {
    version: u32,
    /// Of which start of the machine: links' numbers and what `/run` held mean nothing after the next one.
    pub boot_id: String,
    /// Who was told.
    pub back_end: BackEnd,
    /// Where programs ask.
    pub listen: IpAddr,
    /// How far it went.
    pub phase: Phase,
    /// In the order in which they are done.
    pub steps: Vec<Step>,
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
pub struct Step {
    /// Whether it is undone.
    pub mark: Mark,
    /// What is changed.
    pub change: Change,
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

/// What a step changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A file of ours in the place of what stood there.
    File(FileChange),
    /// Links of systemd-resolved that lose their servers.
    Links {
        /// As they were.
        before: Vec<Link>,
    },
    /// Our entry in openresolv's table, which hides all others.
    Openresolv {
        /// What it is handed.
        octets: Octets,
        /// `/etc/resolv.conf`, should openresolv not write it anew.
        before: Object,
    },
}

/// A file of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileChange {
    /// From the root of the file tree.
    pub path: PathBuf,
    /// What stood there first. Never ours.
    pub before: Object,
    /// What somebody put there since, and we replaced again. Never ours.
    pub latest: Option<Object>,
    /// What we write.
    pub ours: Octets,
    /// Its permission bits.
    pub mode: u32,
    /// Folders that are made for it, from above.
    pub folders: Vec<PathBuf>,
    /// Who has to read it, before it counts and after it is gone.
    pub reader: Option<Service>,
}

impl FileChange {
    /// What is to stand there again. A link is somebody's decision and stays it; a file that was written over is out of date.
    pub fn to_put_back(&self) -> &Object {
        match (&self.before, &self.latest) {
            (Object::File { .. }, Some(latest)) => latest,
            (before, _) => before,
        }
    }
}

impl Journal {
    /// Nothing was changed yet.
    pub(super) fn of_intent(boot_id: &str, back_end: BackEnd, listen: IpAddr, changes: Vec<Change>) -> Self {
        let step = |change| Step {
            mark: Mark::Planned,
            change,
        };
        Self {
            version: VERSION,
            boot_id: boot_id.to_owned(),
            back_end,
            listen,
            phase: Phase::Intent,
            steps: changes.into_iter().map(step).collect(),
        }
    }

    /// What is to stand at `/etc/resolv.conf` again, if it is ours to write.
    fn resolv_conf(&self) -> Option<&Object> {
        self.steps.iter().find_map(|step| match &step.change {
            Change::File(change) if change.path == Path::new(RESOLV_CONF) => Some(change.to_put_back()),
            _ => None,
        })
    }
}

impl Journal {
    /// The servers that stood where ours do now, as networks or users had put them there. None twice.
    pub fn servers_of_others(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = self
            .steps
            .iter()
            .flat_map(|step| step.change.servers_before())
            .collect();
        found.retain(|server| !server.is_loopback());
        found.sort();
        found.dedup();
        found
    }
}

impl Change {
    fn servers_before(&self) -> Vec<IpAddr> {
        let of_file = |object: &Object| {
            let text = String::from_utf8_lossy(object.octets().unwrap_or_default()).into_owned();
            let servers = facts::servers(&text).into_iter();
            servers.filter_map(|server| server.parse().ok()).collect::<Vec<_>>()
        };
        match self {
            Self::File(change) => std::iter::once(&change.before)
                .chain(&change.latest)
                .flat_map(of_file)
                .collect(),
            Self::Links { before } => before.iter().flat_map(Link::addresses).collect(),
            Self::Openresolv { before, .. } => of_file(before),
        }
    }
}

/// Where the journal is.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Where root keeps it (FHS 3.0 section 5.8).
pub(super) const FOLDER: &str = "var/lib/tacenda-system";
const NAME: &str = "journal.json";

/// Beside the journal: `/etc/resolv.conf` as it was, a file or a link, for every version of tacenda and for people.
const COPY: &str = "resolv.conf.before";

impl Store {
    /// In this folder.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The journal's path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// The lock: two of us at once would undo each other's work. Let go with the file, also by a crash.
    pub(super) fn lock(&self) -> io::Result<File> {
        file::make_private_folder(&self.folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("lock"))?;
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
    pub fn load(&self) -> io::Result<Option<Journal>> {
        let path = self.path();
        let Some(octets) = file::read(&path, MAX_JOURNAL_LEN)? else {
            return Ok(None);
        };
        file::is_of_this_user_alone(&path)?;
        file::is_of_this_user_alone(&self.folder)?;
        let journal: Journal =
            serde_json::from_slice(&octets).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if journal.version != VERSION {
            let text = format!("of version {}, this tacenda knows {VERSION}", journal.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Some(journal))
    }

    /// On the disk when this returns.
    pub(super) fn save(&self, journal: &Journal, fault: &Fault) -> io::Result<()> {
        file::make_private_folder(&self.folder)?;
        let octets = serde_json::to_vec_pretty(journal).map_err(io::Error::other)?;
        file::replace(&self.path(), &octets)?;
        fault.point()?;
        // Before anything is changed that the journal only announces.
        journal
            .resolv_conf()
            .map_or(Ok(()), |before| before.put(&self.folder.join(COPY), fault))
    }

    /// What stood at `/etc/resolv.conf`, as it is in the journal: for whoever cannot read that, or finds none. None if nothing stood there,
    /// or if others than root could have put it here.
    pub(super) fn copy(&self) -> Option<Object> {
        file::is_of_this_user_alone(&self.folder).ok()?;
        let copy = Object::at(&self.folder.join(COPY)).ok()?;
        (copy != Object::Nothing).then_some(copy)
    }

    /// Puts a journal that is of no use aside, for whoever wants to look at it. Without one there is nothing to do.
    pub(super) fn put_aside(&self) -> io::Result<()> {
        match fs::rename(self.path(), self.folder.join("journal.broken")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Object::Nothing.put(&self.folder.join(COPY), &Fault::default())
    }

    /// Nothing is set any more.
    pub(super) fn remove(&self, fault: &Fault) -> io::Result<()> {
        clear_beside(&self.folder.join(COPY))?;
        Object::Nothing.put(&self.folder.join(COPY), fault)?;
        fs::remove_file(self.path())?;
        File::open(&self.folder)?.sync_all()?;
        fault.point()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn journal() -> Journal {
        let change = FileChange {
            path: "/etc/resolv.conf".into(),
            before: Object::Nothing,
            latest: None,
            ours: Octets(b"x".to_vec()),
            mode: 0o644,
            folders: Vec::new(),
            reader: Some(Service::Resolved),
        };
        Journal::of_intent(
            "boot",
            BackEnd::File,
            Ipv4Addr::LOCALHOST.into(),
            vec![Change::File(change)],
        )
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("made"));
        assert_eq!(store.load().unwrap(), None);
        store.save(&journal(), &Fault::default()).unwrap();
        assert_eq!(store.load().unwrap(), Some(journal()));
        store.remove(&Fault::default()).unwrap();
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn what_is_no_journal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let other = serde_json::to_string(&journal())
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        for text in ["", "{", "{\"version\":1}", "[]", &other] {
            fs::write(store.path(), text).unwrap();
            assert_eq!(store.load().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }

    #[test]
    fn what_others_can_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        store.save(&journal(), &Fault::default()).unwrap();
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o666)).unwrap();
        let error = store.load().unwrap_err();
        assert!(error.to_string().contains("not believed"), "{error}");
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let held = store.lock().unwrap();
        assert_eq!(store.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(store.lock().is_ok());
    }

    #[test]
    fn a_link_comes_back_as_it_was_and_a_file_as_it_was_last() {
        let Change::File(mut change) = journal().steps.remove(0).change else {
            panic!()
        };
        let object = |octets: &[u8]| Object::ours(octets.to_vec(), 0o644);
        let link = Object::Link {
            target: Octets(b"t".to_vec()),
            owner: 0,
            group: 0,
        };
        for (before, latest, expected) in [
            (object(b"a"), None, object(b"a")),
            (object(b"a"), Some(object(b"b")), object(b"b")),
            (link.clone(), Some(object(b"b")), link),
            (Object::Nothing, Some(object(b"b")), Object::Nothing),
        ] {
            (change.before, change.latest) = (before, latest);
            assert_eq!(*change.to_put_back(), expected);
        }
    }
}
