//! What others have changed of what was set, and setting it again.

use std::io;
use std::path::PathBuf;

use super::journal::{Journal, Phase};
use super::system::System;
use super::{Error, Machine};

/// Something is not as it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What, in words: a path, or whose settings.
    pub what: String,
}

impl<S: System> Machine<S> {
    /// What is not as it was set; `None` if all of it is, or if nothing is set. Changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn drift(&self) -> Result<Option<Drift>, Error> {
        let Some(journal) = self.applied()? else {
            return Ok(None);
        };
        for change in journal.changes() {
            let stands = self.system.stands(change, journal.listen);
            if !stands.map_err(Error::Failed)? {
                let what = S::name_of(change);
                return Ok(Some(Drift { what }));
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
        let Some(mut journal) = self.applied()? else {
            return Ok(());
        };
        let boot_id = self.system.boot_id();
        if journal.boot_id != boot_id {
            journal.boot_id = boot_id;
            for step in &mut journal.steps {
                S::forget(&mut step.change);
            }
        }
        let applied = self.apply(&mut journal);
        let entered = self.enter(&mut journal, Phase::Applied);
        applied.and(entered).map_err(Error::Failed)
    }

    fn applied(&self) -> Result<Option<Journal<S::Change>>, Error> {
        Ok(self.load()?.filter(|journal| journal.phase == Phase::Applied))
    }

    /// Keeps a program that will not leave it alone from changing what is set, where the system has a way; until the next [`Machine::set`]
    /// or [`Machine::restore`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn raise_shield(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let journal = self.load()?;
        let changes = journal.as_ref().map(Journal::changes).unwrap_or_default();
        let raised = self.system.raise_shield(&changes);
        raised.map_err(|error| Error::Failed(format!("what is set cannot be shielded: {error}")))
    }

    /// Whether the shield is up.
    pub fn is_shielded(&self) -> bool {
        self.system.is_shielded()
    }

    pub(super) fn lower_shield(&self) -> Result<(), Error> {
        let lowered = self.system.lower_shield();
        lowered.map_err(|error: io::Error| Error::Failed(format!("the shield cannot be taken away: {error}")))
    }

    /// The folders in which a change may be one of what is set.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.system.folder()];
        let journal = self.load().unwrap_or_default();
        let changes = journal.as_ref().map(Journal::changes).unwrap_or_default();
        folders.extend(self.system.folders(&changes));
        folders.sort();
        folders.dedup();
        folders
    }
}
