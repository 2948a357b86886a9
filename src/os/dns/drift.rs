//! What others have changed of what was set, and setting it again.

use std::io;
use std::path::PathBuf;

use super::journal::{Journal, Phase};
use super::system::System;
use super::{Done, Error, Machine};

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
        let Some(journal) = self.in_force()? else {
            return Ok(None);
        };
        let mut unknown = None;
        for change in journal.changes() {
            match self.system.stands(change, journal.listen) {
                Ok(true) => {}
                Ok(false) => {
                    let what = S::name_of(change);
                    return Ok(Some(Drift { what }));
                }
                // The others can be set again all the same.
                Err(why) => unknown = Some(why),
            }
        }
        unknown.map_or(Ok(None), |why| Err(Error::Failed(why)))
    }

    /// What is set, and known to work.
    fn in_force(&self) -> Result<Option<Journal<S::Change>>, Error> {
        Ok(self.load()?.filter(|journal| journal.phase.is_known_to_work()))
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
            let done = match self.system.stands(&journal.steps[at].change, journal.listen) {
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

    /// A journal from before the machine's restart.
    fn take_over(&self, journal: &mut Journal<S::Change>) {
        let boot_id = self.system.boot_id();
        if journal.boot_id == boot_id {
            return;
        }
        journal.boot_id = boot_id;
        for step in &mut journal.steps {
            S::forget(&mut step.change);
        }
    }

    /// Undoes what a `set` or a `restore` has left that was cut off: killed, or by a power cut. None if there is nothing of the kind, or if
    /// one is at it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn undo_cut_off(&self) -> Result<Option<Done>, Error> {
        let is_cut_off = |journal: &Journal<S::Change>| !journal.phase.is_known_to_work();
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
