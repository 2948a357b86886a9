//! What others have changed of what was set.

use std::io;
use std::path::{Path, PathBuf};

use super::journal::{Change, FileChange, Phase};
use super::object::Object;
use super::services::Services;
use super::{DHCPCD_HOOK, Error, Machine, RESOLV_CONF, content, facts, inside, shield};

/// Something is not as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What, in words: a path, or whose settings.
    pub what: String,
}

impl<S: Services> Machine<S> {
    /// What is not as it was set; `None` if all of it is, or if nothing is set. Changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn drift(&self) -> Result<Option<Drift>, Error> {
        let Some(journal) = self.load()?.filter(|journal| journal.phase == Phase::Applied) else {
            return Ok(None);
        };
        let drift = |what: String| Ok(Some(Drift { what }));
        for step in &journal.steps {
            let stands = self.stands_still(&step.change).map_err(Error::Failed)?;
            if !stands {
                return drift(match &step.change {
                    Change::File(change) => change.path.display().to_string(),
                    Change::Links { .. } => "the links of systemd-resolved".to_owned(),
                    Change::Openresolv { .. } => "the servers of openresolv".to_owned(),
                });
            }
        }
        Ok(None)
    }

    /// Sets again what is set already, where others have changed it. Nothing happens if nothing is set, and nothing is ever undone: what
    /// fails now is tried again later, and the journal knows as much as before. Whether names arrive is not tried: a network that is
    /// down for the moment is no reason to give everything back.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_again(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let Some(mut journal) = self.load()?.filter(|journal| journal.phase == Phase::Applied) else {
            return Ok(());
        };
        let boot_id = self.facts().boot_id;
        if journal.boot_id != boot_id {
            journal.boot_id = boot_id;
            for step in &mut journal.steps {
                // Numbers of links from before the restart mean others now.
                if let Change::Links { before } = &mut step.change {
                    before.clear();
                }
            }
        }
        let applied = self.apply(&mut journal);
        let entered = self.enter(&mut journal, Phase::Applied);
        applied.and(entered).map_err(Error::Failed)
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
                if let Change::File(change) = &step.change {
                    add(&change.path);
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
