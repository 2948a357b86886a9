//! What root wants of the guard, on the disk: it holds over restarts of the machine and of whoever keeps the guard.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ruleset::Mode;
use crate::os::{clock, file};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wish {
    version: u32,
    /// Whether the guard is on.
    pub is_on: bool,
    /// As the command said; else as the configuration says.
    pub mode: Option<Mode>,
    /// The configuration that is read for it, if not the usual one.
    pub config: Option<PathBuf>,
    /// Until when.
    pub until: Option<Until>,
    /// What is wanted from then on: as before.
    then: Option<Box<Self>>,
}

/// A moment of one run of the machine. After a restart it has passed: who is shut out by a trial, or left open, is so no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Until {
    boot_id: String,
    /// Seconds since the machine's start, those asleep among them.
    uptime: u64,
}

/// Now, by what nobody sets: no clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    boot_id: String,
    uptime: Duration,
}

impl Wish {
    /// The guard on, or off, for good.
    pub fn new(is_on: bool, mode: Option<Mode>, config: Option<PathBuf>) -> Self {
        Self {
            version: VERSION,
            is_on,
            mode,
            config,
            until: None,
            then: None,
        }
    }

    /// The same until then, and after it as `before`; if that is for a time too, as before both.
    #[must_use]
    pub fn until(self, until: Until, before: Self) -> Self {
        Self {
            until: Some(until),
            then: Some(match before.then {
                Some(then) => then,
                None => Box::new(before),
            }),
            ..self
        }
    }

    /// What it comes to now: once its time has passed, what was wanted before it.
    #[must_use]
    pub fn at(self, now: &Moment) -> Self {
        let is_over = self.until.as_ref().is_some_and(|until| until.left(now).is_zero());
        match self.then {
            Some(then) if is_over => *then,
            _ => self,
        }
    }
}

impl Until {
    /// So long after now, in whole seconds, one at least.
    pub fn after(now: &Moment, time: Duration) -> Self {
        Self {
            boot_id: now.boot_id.clone(),
            uptime: now.uptime.saturating_add(time).as_secs().saturating_add(1),
        }
    }

    /// How long it is until then.
    pub fn left(&self, now: &Moment) -> Duration {
        if self.boot_id == now.boot_id {
            self.left_at(now.uptime)
        } else {
            Duration::ZERO
        }
    }

    /// The same, so long after the start of this run of the machine.
    pub fn left_at(&self, uptime: Duration) -> Duration {
        Duration::from_secs(self.uptime).saturating_sub(uptime)
    }

    /// Seconds from the machine's start until then.
    pub fn seconds(&self) -> u64 {
        self.uptime
    }
}

impl Moment {
    /// The time since the machine's start.
    pub fn uptime(&self) -> Duration {
        self.uptime
    }

    /// This one.
    ///
    /// # Errors
    /// The system's own, where it does not tell.
    pub fn now() -> io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            boot_id: boot_id.trim().to_owned(),
            uptime: clock::since_start(),
        })
    }
}

/// Where the wish is.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Root's own folder.
    pub fn of_this_host() -> Self {
        Self::at(Path::new(FOLDER))
    }

    fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Its folder: what is wanted changes there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is wanted; none if nobody ever said.
    ///
    /// # Errors
    /// The system's own, and `InvalidData` for what this tacenda cannot read, or others can write.
    pub fn load(&self) -> io::Result<Option<Wish>> {
        let path = self.folder.join(NAME);
        let Some(octets) = file::read(&path, MAX_LEN)? else {
            return Ok(None);
        };
        #[cfg(unix)]
        for path in [&path, &self.folder] {
            file::is_of_this_user_alone(path)?;
        }
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        let wish: Wish = serde_json::from_slice(&octets).map_err(|error| invalid(error.to_string()))?;
        if wish.version != VERSION {
            return Err(invalid(format!(
                "of version {}, this tacenda knows {VERSION}",
                wish.version
            )));
        }
        Ok(Some(wish))
    }

    /// The right to keep the guard, let go with the file, also by a crash; none if another process has it, or looks at this moment whether
    /// one has.
    ///
    /// # Errors
    /// The system's own.
    pub fn keep(&self) -> io::Result<Option<File>> {
        file::make_private_folder(&self.folder)?;
        let lock = file::open_lock(&self.folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a process keeps the guard. Root's to see.
    pub fn is_kept(&self) -> bool {
        let lock = File::open(self.folder.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// On the disk when this returns.
    ///
    /// # Errors
    /// The system's own; the old wish stands then.
    pub fn save(&self, wish: &Wish) -> io::Result<()> {
        file::make_private_folder(&self.folder)?;
        let octets = serde_json::to_vec_pretty(wish).map_err(io::Error::other)?;
        file::replace(&self.folder.join(NAME), &octets)
    }
}

/// What this version writes.
const VERSION: u32 = 1;

/// Beside the journal of `system set`.
const FOLDER: &str = "/var/lib/tacenda-system";
const NAME: &str = "guard.json";
const LOCK: &str = "guard.lock";

/// A path and some words.
const MAX_LEN: u64 = 16 << 10;

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn moment(boot_id: &str, seconds: u64) -> Moment {
        Moment {
            boot_id: boot_id.to_owned(),
            uptime: Duration::from_millis(seconds * 1000 + 500),
        }
    }

    #[test]
    fn a_time_ends_with_it_and_with_the_run_of_the_machine_and_what_was_before_is_wanted_again() {
        let start = moment("a", 100);
        let off = || Wish::new(false, None, None);
        let on = || Wish::new(true, Some(Mode::Reject), Some("/etc/x.toml".into()));
        for (before, is_on) in [(off(), true), (on(), true), (on(), false)] {
            let until = Until::after(&start, Duration::from_secs(600));
            let wish = Wish::new(is_on, Some(Mode::Redirect), None).until(until, before.clone());
            for (now, holds) in [
                (start.clone(), true),
                (moment("a", 700), true),
                (moment("a", 701), false),
                (moment("b", 100), false),
            ] {
                let expected = if holds { &wish } else { &before };
                assert_eq!(wish.clone().at(&now), *expected, "{now:?}");
            }
            // A time within a time ends with what was before both.
            let until = Until::after(&start, Duration::from_secs(1));
            let again = Wish::new(is_on, None, None).until(until, wish);
            assert_eq!(again.at(&moment("a", 102)), before);
        }
        assert_eq!(on().at(&moment("b", 0)), on());
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("made"));
        assert_eq!(store.load().unwrap(), None);
        let until = Until::after(&Moment::now().unwrap(), Duration::from_secs(1));
        let wish = Wish::new(true, Some(Mode::Redirect), Some("/etc/x.toml".into()));
        let wish = wish.until(until, Wish::new(false, None, None));
        store.save(&wish).unwrap();
        assert_eq!(store.load().unwrap(), Some(wish));
    }

    #[test]
    fn what_is_no_wish_or_anybodys_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let path = folder.path().join(NAME);
        for text in [
            "",
            "{",
            "[]",
            "{\"version\":1}",
            "{\"version\":2,\"is-on\":true,\"mode\":null,\"config\":null,\"until\":null,\"then\":null}",
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(store.load().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
        store.save(&Wish::new(true, None, None)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(store.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
