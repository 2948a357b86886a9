//! `/etc/resolv.conf` as it was, a file or a link, beside the journal: for every version of tacenda, and for people.

use std::io;
use std::path::{Path, PathBuf};

use super::object::clear_beside;
use super::{Change, Linux, Object, RESOLV_CONF, Services};
use crate::os::dns::fault::Fault;
use crate::os::dns::system::System;
use crate::os::file;

const COPY: &str = "resolv.conf.before";

impl<S: Services> Linux<S> {
    /// Follows the journal. Nothing if the file is not ours to write.
    pub(super) fn keep_copy(&self, changes: &[&Change], fault: &Fault) -> io::Result<()> {
        let before = changes.iter().find_map(|change| match change {
            Change::File(change) if change.path == Path::new(RESOLV_CONF) => Some(change.to_put_back(&self.services)),
            _ => None,
        });
        before.map_or(Ok(()), |before| before.put(&self.copy_path(), fault))
    }

    /// What stood at `/etc/resolv.conf`, for whoever cannot read the journal, or finds none. None if nothing stood there, or if others than
    /// root could have put it here.
    pub(super) fn copy(&self) -> Option<Object> {
        file::is_of_this_user_alone(&self.folder()).ok()?;
        let copy = Object::at(&self.copy_path()).ok()?;
        (copy != Object::Nothing).then_some(copy)
    }

    pub(super) fn drop_copy(&self, fault: &Fault) -> io::Result<()> {
        clear_beside(&self.copy_path())?;
        Object::Nothing.put(&self.copy_path(), fault)
    }

    fn copy_path(&self) -> PathBuf {
        self.folder().join(COPY)
    }
}
