//! Putting back: backwards, only what is still ours, and as often as it takes.

use std::io;

use super::journal::{Journal, Mark, Phase};
use super::system::{Cut, System};
use super::{Done, Error, Machine};

impl<S: System> Machine<S> {
    /// Puts back what stood there before; none if nothing is set. Needs neither the daemon nor the network.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn restore(&self) -> Result<Option<Done>, Error> {
        if !self.store.may_be_there() && !self.system.has_left_something() {
            return self.lower_shield().map(|()| None);
        }
        let _lock = self.lock()?;
        self.lower_shield()?;
        match self.store.load() {
            Ok(Some(mut journal)) => self.undo(&mut journal).map(Some),
            Ok(None) if !self.system.has_left_something() => Ok(None),
            Ok(None) => self.salvage(None).map(Some),
            // Damaged, of another version, or not to be believed: what is ours is known by its mark.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.salvage(Some(&error)).map(Some),
            Err(error) => Err(self.journal_error(error)),
        }
    }

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
        let dropped = self.system.drop_beside(&self.fault);
        let removed = dropped.and_then(|()| self.store.remove(&self.fault));
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

    /// Gives back without a journal: what is ours is known without it, but what was there before may not be. `unreadable` is what keeps it from
    /// being read, if there is one.
    fn salvage(&self, unreadable: Option<&io::Error>) -> Result<Done, Error> {
        let path = self.store.path();
        let mut remarks = vec![match unreadable {
            Some(error) => format!("{} is put aside: {error}", path.display()),
            None => format!("{} is gone", path.display()),
        }];
        remarks.extend(self.system.salvage(&self.fault).map_err(Error::NotUndone)?);
        let put_aside = self.store.put_aside();
        let dropped = put_aside.and_then(|()| self.system.drop_beside(&self.fault));
        dropped.map_err(|error| self.journal_error(error))?;
        Ok(Done {
            back_end: None,
            remarks,
        })
    }
}
