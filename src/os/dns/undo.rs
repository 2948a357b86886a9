//! Putting back: backwards, only what is still ours, and as often as it takes.

use super::journal::{Journal, Mark, Phase};
use super::system::{Cut, System};
use super::{Done, Error, Machine};

impl<S: System> Machine<S> {
    /// Undoes every step of a journal that is not undone, then takes the journal away. Goes on after a step that cannot be undone, and
    /// keeps the journal then.
    pub(super) fn undo(&self, journal: &mut Journal<S::Change>) -> Result<Done, Error> {
        let (phase, same_start) = (journal.phase, journal.boot_id == self.system.boot_id());
        let (mut remarks, mut failed) = (Vec::new(), Vec::new());
        for at in (0..journal.steps.len()).rev() {
            let mark = journal.steps[at].mark;
            if matches!(mark, Mark::Planned | Mark::Undone) {
                continue;
            }
            journal.steps[at].mark = Mark::Undoing;
            self.note_progress(journal)?;
            let cut = Cut {
                mark,
                phase,
                same_start,
            };
            match self.system.take_back(&journal.steps[at].change, cut, &self.fault) {
                Ok(remark) => {
                    remarks.extend(remark);
                    journal.steps[at].mark = Mark::Undone;
                }
                Err(why) => failed.push(why),
            }
            self.note_progress(journal)?;
        }
        if !failed.is_empty() {
            return Err(Error::NotUndone(failed));
        }
        let removed = self.store.remove(&self.fault);
        removed.map_err(|error| self.journal_error(error))?;
        Ok(Done {
            back_end: Some(journal.back_end),
            remarks,
        })
    }

    /// On a full disk it is undone all the same: what is left to do is seen on the objects.
    fn note_progress(&self, journal: &mut Journal<S::Change>) -> Result<(), Error> {
        match self.enter(journal, Phase::Restoring) {
            Err(why) if self.fault.has_stopped() => Err(Error::NotUndone(vec![why])),
            _ => Ok(()),
        }
    }

    /// Gives back without a journal that can be read: what is ours is known without it, but not what was there before.
    pub(super) fn salvage(&self) -> Result<Done, Error> {
        let aside = format!("{}: cannot be read, and is put aside", self.store.path().display());
        let mut remarks = vec![aside];
        remarks.extend(self.system.salvage(&self.fault).map_err(Error::NotUndone)?);
        self.store.put_aside().map_err(|error| self.journal_error(error))?;
        Ok(Done {
            back_end: None,
            remarks,
        })
    }
}
