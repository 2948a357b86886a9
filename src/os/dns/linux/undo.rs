//! Taking one step back.

use std::path::Path;

use super::object::{Octets, clear_beside};
use super::services::Link;
use super::steps::names_the_same;
use super::{
    Change, DHCPCD_HOOK, FileChange, Linux, Object, Program, RESOLV_CONF, Services, content, explained, inside, program,
};
use crate::os::dns::fault::Fault;
use crate::os::dns::journal::{Mark, Phase};
use crate::os::dns::system::{Cut, System};

impl<S: Services> Linux<S> {
    pub(super) fn undo_step(&self, change: &Change, cut: Cut, fault: &Fault) -> Result<Option<String>, String> {
        match change {
            Change::File(change) => self.undo_file(change, cut, fault),
            // Nothing of them is left.
            Change::Links { .. } if !cut.same_start || !self.facts(true).runs(Program::Resolved) => Ok(None),
            Change::Links { before } => Ok(self.undo_links(before).err()),
            Change::Openresolv { octets, before } => self.undo_openresolv(&octets.0, before, fault),
        }
    }

    fn undo_file(&self, change: &FileChange, cut: Cut, fault: &Fault) -> Result<Option<String>, String> {
        let path = inside(&self.root, &change.path);
        let shown = change.path.display();
        let failed = |error: std::io::Error| format!("{shown}: {}", explained(&error));
        clear_beside(&path).map_err(failed)?;
        let there = Object::at(&path).map_err(failed)?;
        let target = change.to_put_back(&self.services);
        let mut remark = None;
        if there == *target {
            // Done before a cut, or by others.
        } else if is_still_ours(change, &there, cut) {
            target.put(&path, fault).map_err(failed)?;
        } else if let Some(without) = without_ours(&change.path, &there) {
            without.put(&path, fault).map_err(failed)?;
        } else {
            remark = Some(format!(
                "{shown} was written by somebody else since, and is left as it is"
            ));
        }
        for folder in change.folders.iter().rev() {
            // If others use it by now it is not empty, and stays.
            let _ = std::fs::remove_dir(inside(&self.root, folder));
        }
        fault.point().map_err(failed)?;
        if let Some(reader) = change.reader
            && self.facts(true).runs(program(reader))
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

    fn undo_openresolv(&self, ours: &[u8], before: &Object, fault: &Fault) -> Result<Option<String>, String> {
        let deleted = self.services.openresolv_delete();
        // After a power cut it may have nothing to write, and be gone altogether.
        let path = inside(&self.root, Path::new(RESOLV_CONF));
        let there = Object::at(&path).map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
        let is_ours = there.octets().is_some_and(|there| names_the_same(there, ours));
        if is_ours || there == Object::Nothing {
            before
                .put(&path, fault)
                .map_err(|error| format!("{RESOLV_CONF}: {}", explained(&error)))?;
        }
        Ok(deleted.err())
    }
}

/// Whether what stands there is what we wrote, or half of what we were writing in place when we were cut off.
fn is_still_ours(change: &FileChange, there: &Object, cut: Cut) -> bool {
    let was_writing = cut.mark == Mark::Begun && cut.phase != Phase::Applied;
    let was_putting_back = cut.mark == Mark::Undoing;
    // Another one than now may have been chosen then.
    let is_begun = |one: &Object| one.octets().is_some_and(|octets| there.is_part_of(octets));
    // What was taken away is of no use to anybody.
    *there == Object::Nothing
        || there.octets() == Some(&change.ours.0)
        // A line that somebody added does not make ours his: it would be a second server, or the first one of nobody.
        || change.path == Path::new(RESOLV_CONF) && there.octets().is_some_and(content::is_ours)
        || was_writing && there.is_part_of(&change.ours.0)
        || was_putting_back
            && (there.is_part_of(&change.ours.0) || change.of_others().any(is_begun))
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
    if path != Path::new(DHCPCD_HOOK) {
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
        octets: Octets(left),
        mode: *mode,
        owner: *owner,
        group: *group,
    })
}
