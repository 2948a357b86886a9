//! What others have changed of what was set.

use std::io;
use std::path::{Path, PathBuf};

use super::journal::{Change, FileChange, Journal, Phase};
use super::object::Object;
use super::services::Services;
use super::{DHCPCD_HOOK, Done, Error, Machine, RESOLV_CONF, content, facts, inside, shield};

/// Something is not as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What, in words: a path, or whose settings.
    pub what: String,
}

impl Drift {
    fn of(change: &Change) -> Self {
        let what = match change {
            Change::File(change) => change.path.display().to_string(),
            Change::Links { .. } => "the links of systemd-resolved".to_owned(),
            Change::Openresolv { .. } => "the servers of openresolv".to_owned(),
        };
        Self { what }
    }
}

impl<S: Services> Machine<S> {
    /// What is not as it was set; `None` if all of it is, or if nothing is set. Changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn drift(&self) -> Result<Option<Drift>, Error> {
        let Some(journal) = self.in_force()? else {
            return Ok(None);
        };
        let mut unknown = None;
        for step in &journal.steps {
            match self.stands_still(&step.change) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(Drift::of(&step.change))),
                // The others can be set again all the same.
                Err(why) => unknown = Some(why),
            }
        }
        unknown.map_or(Ok(None), |why| Err(Error::Failed(why)))
    }

    /// What is set, and known to work.
    fn in_force(&self) -> Result<Option<Journal>, Error> {
        let journal = self.load()?;
        Ok(journal.filter(|journal| journal.phase.is_known_to_work()))
    }

    /// Sets again what is set already, where others have changed it. Nothing happens if nothing is set, and nothing is ever undone: what
    /// fails now keeps nothing else from it and is tried again later, and the journal knows as much as before. Whether names arrive is not
    /// tried: a network that is down for the moment is no reason to give everything back.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_again(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let Some(mut journal) = self.in_force()? else {
            return Ok(());
        };
        self.take_over(&mut journal);
        let mut failed = Vec::new();
        for at in 0..journal.steps.len() {
            let done = match self.stands_still(&journal.steps[at].change) {
                Ok(true) => Ok(()),
                Ok(false) => self.apply_step(&mut journal, at, Phase::Again),
                Err(why) => Err(why),
            };
            failed.extend(done.err());
            if self.fault.has_stopped() {
                return Err(Error::Failed(failed.join("; ")));
            }
        }
        failed.extend(self.enter(&mut journal, Phase::Applied).err());
        if failed.is_empty() {
            return Ok(());
        }
        Err(Error::Failed(failed.join("; ")))
    }

    /// A journal from before the machine's restart: numbers of links mean others now.
    fn take_over(&self, journal: &mut Journal) {
        let boot_id = self.facts().boot_id;
        if journal.boot_id == boot_id {
            return;
        }
        journal.boot_id = boot_id;
        for step in &mut journal.steps {
            if let Change::Links { before } = &mut step.change {
                before.clear();
            }
        }
    }

    /// Undoes what a `set` or a `restore` has left that was cut off: killed, or by a power cut. None if there is nothing of the kind, or if
    /// one is at it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn undo_cut_off(&self) -> Result<Option<Done>, Error> {
        let is_cut_off = |journal: &Journal| !journal.phase.is_known_to_work();
        if !self.load()?.is_some_and(|journal| is_cut_off(&journal)) {
            return Ok(None);
        }
        let _lock = match self.lock() {
            Err(Error::Busy) => return Ok(None),
            lock => lock?,
        };
        let journal = self.load()?.filter(is_cut_off);
        journal.map(|mut journal| self.undo(&mut journal)).transpose()
    }

    /// Lays a read-only copy of `/etc/resolv.conf` over it, against a program that will not leave it alone; down again with the next
    /// [`Machine::set`] or [`Machine::restore`].
    ///
    /// # Errors
    /// See [`Error`]; above all if what is set does not write that file.
    pub fn raise_shield(&self) -> Result<(), Error> {
        let failed = |error: io::Error| Error::Failed(format!("{RESOLV_CONF} cannot be shielded: {error}"));
        let _lock = self.lock()?;
        let journal = self.load()?;
        let steps = journal.iter().flat_map(|journal| &journal.steps);
        let mut ours = steps.filter_map(|step| match &step.change {
            Change::File(change) if change.path == Path::new(RESOLV_CONF) => Some(&change.ours.0),
            _ => None,
        });
        let Some(ours) = ours.next() else {
            return Err(failed(io::Error::other("another program writes it for us")));
        };
        shield::raise(&inside(&self.root, Path::new(RESOLV_CONF)), ours).map_err(failed)
    }

    /// Whether the shield is up.
    pub fn is_shielded(&self) -> bool {
        shield::is_up(&inside(&self.root, Path::new(RESOLV_CONF)))
    }

    pub(super) fn lower_shield(&self) -> Result<(), Error> {
        let lowered = shield::lower(&inside(&self.root, Path::new(RESOLV_CONF)));
        lowered.map_err(|error| Error::Failed(format!("the shield over {RESOLV_CONF} cannot be taken away: {error}")))
    }

    /// The folders in which a change may be one of what is set.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![inside(&self.root, Path::new(super::journal::FOLDER))];
        let mut add = |path: &Path| {
            let folder = path.parent().map(|folder| inside(&self.root, folder));
            folders.extend(folder);
        };
        add(Path::new(RESOLV_CONF));
        if let Ok(Some(journal)) = self.load() {
            for step in &journal.steps {
                match &step.change {
                    Change::File(change) => add(&change.path),
                    Change::Links { .. } => OF_LINKS.iter().for_each(|file| add(Path::new(file))),
                    Change::Openresolv { .. } => {}
                }
            }
        }
        // What `/etc/resolv.conf` leads to is written where it lies.
        if let Some(end) = self.facts().resolv_conf.leads_to {
            add(&end);
        }
        folders.sort();
        folders.dedup();
        folders
    }
}

/// Files in the folders to which systemd-resolved and systemd-networkd write whenever a link gets other servers: no signal tells of that.
const OF_LINKS: [&str; 3] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/systemd/resolve/netif/1",
    "/run/systemd/netif/links/1",
];

/// Whether a file does what it was written for. Around our lines in a hook others may write what they like.
pub(super) fn is_in_force(change: &FileChange, there: &Object) -> bool {
    let Some(octets) = there.octets() else { return false };
    let block = content::dhcpcd_hook();
    let is_hook = change.path == Path::new(DHCPCD_HOOK);
    octets == change.ours.0 || is_hook && octets.windows(block.len()).any(|window| window == block)
}

/// Whether somebody has only begun to write `/etc/resolv.conf`: a file without a server is nothing to be put back where there was one.
pub(super) fn is_cut_short(change: &FileChange, there: &Object) -> bool {
    let names_one = |object: &Object| {
        let octets = object.octets().unwrap_or_default();
        !facts::servers(&String::from_utf8_lossy(octets)).is_empty()
    };
    change.path == Path::new(RESOLV_CONF)
        && matches!(there, Object::File { .. })
        && !names_one(there)
        && (names_one(&change.before) || change.latest.as_ref().is_some_and(names_one))
}
