//! Putting back: backwards, only what is still ours, and as often as it takes.

use std::path::Path;

use super::facts::{Facts, inside};
use super::journal::{Change, FileChange, Journal, Mark, Phase};
use super::object::{Object, clear_beside};
use super::services::{Link, Services};
use super::{Done, Error, Machine, RESOLV_CONF, content, explained, facts, program};

/// How far a journal went, for what a cut may have left.
#[derive(Clone, Copy)]
struct Cut {
    mark: Mark,
    phase: Phase,
}

impl<S: Services> Machine<S> {
    /// Puts back what stood there before; none if nothing is set. Needs neither the daemon nor the network.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn restore(&self) -> Result<Option<Done>, Error> {
        if !self.facts().is_set && !self.has_left_something() {
            return self.lower_shield().map(|()| None);
        }
        let _lock = self.lock()?;
        self.lower_shield()?;
        match self.store.load() {
            Ok(Some(mut journal)) => self.undo(&mut journal).map(Some),
            Ok(None) if !self.has_left_something() => Ok(None),
            Ok(None) => self.salvage(None).map(Some),
            // Damaged, of another version, or not to be believed: what is ours is known by its mark.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => self.salvage(Some(&error)).map(Some),
            Err(error) => Err(self.journal_error(error)),
        }
    }

    /// Undoes every step of a journal that is not undone, then takes the journal away. Goes on after a step that cannot be undone, and
    /// keeps the journal then.
    pub(super) fn undo(&self, journal: &mut Journal) -> Result<Done, Error> {
        let facts = self.facts();
        let was = journal.phase;
        let (mut remarks, mut failed) = (Vec::new(), Vec::new());
        for at in (0..journal.steps.len()).rev() {
            let mark = journal.steps[at].mark;
            if matches!(mark, Mark::Planned | Mark::Undone) {
                continue;
            }
            journal.steps[at].mark = Mark::Undoing;
            self.note_progress(journal)?;
            let cut = Cut { mark, phase: was };
            match self.undo_step(journal, at, cut, &facts) {
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
    fn note_progress(&self, journal: &mut Journal) -> Result<(), Error> {
        match self.enter(journal, Phase::Restoring) {
            Err(why) if self.fault.has_stopped() => Err(Error::NotUndone(vec![why])),
            _ => Ok(()),
        }
    }

    fn undo_step(&self, journal: &Journal, at: usize, cut: Cut, facts: &Facts) -> Result<Option<String>, String> {
        let same_start = journal.boot_id == facts.boot_id;
        match &journal.steps[at].change {
            Change::File(change) => self.undo_file(change, cut, facts),
            // Nothing of them is left.
            Change::Links { .. } if !same_start || !facts.runs(facts::Program::Resolved) => Ok(None),
            Change::Links { before } => Ok(self.undo_links(before).err()),
            Change::Openresolv { octets, before } => self.undo_openresolv(&octets.0, before),
        }
    }

    fn undo_file(&self, change: &FileChange, cut: Cut, facts: &Facts) -> Result<Option<String>, String> {
        let path = inside(&self.root, &change.path);
        let shown = change.path.display();
        let failed = |error: std::io::Error| format!("{shown}: {}", explained(&error));
        clear_beside(&path).map_err(failed)?;
        let there = Object::at(&path).map_err(failed)?;
        let target = change.to_put_back();
        let mut remark = None;
        if there == *target {
            // Done before a cut, or by others.
        } else if is_still_ours(change, &there, cut) {
            target.put(&path, &self.fault).map_err(failed)?;
        } else if let Some(without) = without_ours(&change.path, &there) {
            without.put(&path, &self.fault).map_err(failed)?;
        } else {
            remark = Some(format!(
                "{shown} was written by somebody else since, and is left as it is"
            ));
        }
        for folder in change.folders.iter().rev() {
            // If others use it by now it is not empty, and stays.
            let _ = std::fs::remove_dir(inside(&self.root, folder));
        }
        self.fault.point().map_err(failed)?;
        if let Some(reader) = change.reader
            && facts.runs(program(reader))
            && let Err(why) = self.services.reload(reader)
        {
            // The files are as they were: it is right again with its next start.
            return Ok(Some(format!(
                "{} goes on as before until it is restarted: {why}",
                reader.name()
            )));
        }
        Ok(remark)
    }

    /// A link that has other servers again got them from its owner, and keeps them. With those of before it may be ours half put back.
    fn undo_links(&self, before: &[Link]) -> Result<(), String> {
        let now = self.services.links()?;
        for link in before {
            let same = now.iter().find(|one| one.index == link.index && one.name == link.name);
            if same.is_some_and(|same| same.servers.is_empty() || same.servers == link.servers) {
                self.services.put_back_link(link)?;
            }
        }
        Ok(())
    }

    fn undo_openresolv(&self, ours: &[u8], before: &Object) -> Result<Option<String>, String> {
        let deleted = self.services.openresolv_delete();
        // After a power cut it may have nothing to write, and be gone altogether.
        let path = inside(&self.root, Path::new(RESOLV_CONF));
        let there = Object::at(&path).map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
        let is_ours = there.octets().is_some_and(|there| super::names_the_same(there, ours));
        if is_ours || there == Object::Nothing {
            before
                .put(&path, &self.fault)
                .map_err(|error| format!("{RESOLV_CONF}: {}", explained(&error)))?;
        }
        Ok(deleted.err())
    }
}

/// Whether what stands there is what we wrote, or half of what we were writing in place when we were cut off.
fn is_still_ours(change: &FileChange, there: &Object, cut: Cut) -> bool {
    let was_writing = cut.mark == Mark::Begun && cut.phase != Phase::Applied;
    let was_putting_back = cut.mark == Mark::Undoing;
    let target = change.to_put_back().octets();
    // What was taken away is of no use to anybody.
    *there == Object::Nothing
        || there.octets() == Some(&change.ours.0)
        // A line that somebody added does not make ours his: it would be a second server, or the first one of nobody.
        || change.path == Path::new(RESOLV_CONF) && there.octets().is_some_and(content::is_ours)
        || was_writing && there.is_part_of(&change.ours.0)
        || was_putting_back
            && (there.is_part_of(&change.ours.0) || target.is_some_and(|target| there.is_part_of(target)))
}

/// The file without the lines that we appended to it, if others changed it since. Only for hooks: ours may not stay in force.
pub(super) fn without_ours(path: &Path, there: &Object) -> Option<Object> {
    let Object::File {
        octets,
        mode,
        owner,
        group,
    } = there
    else {
        return None;
    };
    let block = content::dhcpcd_hook();
    if path != Path::new(super::DHCPCD_HOOK) {
        return None;
    }
    let at = octets.0.windows(block.len()).position(|window| window == block)?;
    let mut left = octets.0.clone();
    left.drain(at..at + block.len());
    // There was no file before ours.
    if left.is_empty() {
        return Some(Object::Nothing);
    }
    Some(Object::File {
        octets: super::Octets(left),
        mode: *mode,
        owner: *owner,
        group: *group,
    })
}
