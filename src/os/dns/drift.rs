//! What others have changed of what was set.

use std::path::{Path, PathBuf};

use super::journal::{Change, Phase};
use super::services::Services;
use super::{Error, Machine, RESOLV_CONF};

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

    /// The folders in which a change may be one of what is set.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![super::inside(&self.root, Path::new(super::journal::FOLDER))];
        let mut add = |path: &Path| {
            let folder = path.parent().map(|folder| super::inside(&self.root, folder));
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
