//! Giving back without a journal that can be read: everything of ours carries a mark, and what `/etc/resolv.conf` was is kept beside it.

use std::io;
use std::path::Path;

use super::object::{Octets, own_group, own_number};
use super::services::OPENRESOLV_NAME;
use super::{Facts, Linux, Object, PATHS, Program, RESOLV_CONF, Service, Services, content, explained, inside, undo};
use crate::os::dns::fault::Fault;
use crate::os::dns::system::System;

/// What most hosts with systemd-resolved have.
const TO_RESOLVED: &str = "../run/systemd/resolve/stub-resolv.conf";
const RESOLVED_STUB: &str = "/run/systemd/resolve/stub-resolv.conf";

/// Where openresolv keeps what it was handed; the second since 3.14.
const OPENRESOLV_TABLES: [&str; 2] = ["/run/resolvconf/interfaces", "/run/resolvconf/keys"];

impl<S: Services> Linux<S> {
    /// Whether something of ours is there, journal or not.
    pub(super) fn has_any_of_ours(&self) -> bool {
        let is_ours = |path: &str| self.is_ours(path).unwrap_or(false);
        PATHS.iter().any(|(path, _)| is_ours(path)) || self.is_in_openresolv()
    }

    /// Takes away every file of ours. `/etc/resolv.conf` gets what stood there, or systemd-resolved's, where that is; else it stays, and what to
    /// do is said.
    pub(super) fn take_all_away(&self, fault: &Fault) -> Result<Vec<String>, Vec<String>> {
        let (mut remarks, mut failed) = (Vec::new(), Vec::new());
        for (path, _) in PATHS {
            match self.take_away(path, fault) {
                Ok(remark) => remarks.extend(remark),
                Err(error) => failed.push(format!("{path}: {}", explained(&error))),
            }
        }
        if self.is_in_openresolv() {
            failed.extend(self.services.openresolv_delete().err());
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        remarks.extend(self.have_files_read(&self.facts(true)));
        Ok(remarks)
    }

    fn have_files_read(&self, facts: &Facts) -> Vec<String> {
        let mut remarks = Vec::new();
        for (program, service) in [
            (Program::Resolved, Service::Resolved),
            (Program::NetworkManager, Service::NetworkManager),
        ] {
            if facts.runs(program)
                && let Err(why) = self.services.reload(service)
            {
                remarks.push(format!(
                    "{} goes on as before until it is restarted: {why}",
                    service.name()
                ));
            }
        }
        if facts.runs(Program::Resolved) {
            // systemd-networkd gives its links what it knows for them; of others nobody knows.
            let links = self.services.links().unwrap_or_default();
            for link in links.iter().filter(|link| **link == link.stripped()) {
                remarks.extend(self.services.put_back_link(link).err());
            }
            remarks.push("which servers the links of systemd-resolved had is not known: connect them anew".to_owned());
        }
        remarks
    }

    fn is_ours(&self, path: &str) -> io::Result<bool> {
        let there = self.object(Path::new(path))?;
        Ok(there.octets().is_some_and(content::is_ours))
    }

    fn is_in_openresolv(&self) -> bool {
        let has_entry = |table: &str| inside(&self.root, &Path::new(table).join(OPENRESOLV_NAME)).exists();
        OPENRESOLV_TABLES.iter().any(|table| has_entry(table))
    }

    fn take_away(&self, path: &str, fault: &Fault) -> io::Result<Option<String>> {
        if !self.is_ours(path)? {
            return Ok(None);
        }
        if path == RESOLV_CONF {
            return self.put_back_resolv_conf(fault).map(Some);
        }
        let there_at = inside(&self.root, Path::new(path));
        let left = undo::without_ours(Path::new(path), &Object::at(&there_at)?).unwrap_or(Object::Nothing);
        left.put(&there_at, fault).map(|()| None)
    }

    fn put_back_resolv_conf(&self, fault: &Fault) -> io::Result<String> {
        let path = inside(&self.root, Path::new(RESOLV_CONF));
        let copy = self.copy().filter(|copy| !copy.octets().is_some_and(content::is_ours));
        if let Some(copy) = copy {
            copy.put(&path, fault)?;
            return Ok(
                "/etc/resolv.conf is what it was before: in another network ask for a new DHCP lease".to_owned(),
            );
        }
        if !inside(&self.root, Path::new(RESOLVED_STUB)).exists() {
            let remark = "/etc/resolv.conf still names tacenda, since what it said before is not known: ask for a new DHCP lease, or write \
                          your network's server into it";
            return Ok(remark.to_owned());
        }
        let link = Object::Link {
            target: Octets(TO_RESOLVED.into()),
            owner: own_number(),
            group: own_group(),
        };
        link.put(&path, fault)?;
        Ok("/etc/resolv.conf is a link to systemd-resolved's file now: what it was before is not known".to_owned())
    }
}
