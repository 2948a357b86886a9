//! Giving back without a journal that can be read: everything of ours carries a mark.

use std::path::Path;

use super::object::{Octets, own_group, own_number};
use super::{Linux, Object, PATHS, Program, RESOLV_CONF, Service, Services, content, explained, inside, undo};
use crate::os::dns::fault::Fault;
use crate::os::dns::system::System;

/// What most hosts with systemd-resolved have.
const TO_RESOLVED: &str = "../run/systemd/resolve/stub-resolv.conf";
const RESOLVED_STUB: &str = "/run/systemd/resolve/stub-resolv.conf";

impl<S: Services> Linux<S> {
    /// Takes away every file of ours. `/etc/resolv.conf` gets systemd-resolved's again, where that is; else it stays, and what to do is said.
    pub(super) fn take_all_away(&self, fault: &Fault) -> Result<Vec<String>, Vec<String>> {
        let (mut remarks, mut failed) = (Vec::new(), Vec::new());
        for (path, _) in PATHS {
            match self.take_away(path, fault) {
                Ok(remark) => remarks.extend(remark),
                Err(error) => failed.push(format!("{path}: {}", explained(&error))),
            }
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        let facts = self.facts(true);
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
            remarks.push("which servers the links of systemd-resolved had is not known: connect them anew".to_owned());
        }
        Ok(remarks)
    }

    fn take_away(&self, path: &str, fault: &Fault) -> std::io::Result<Option<String>> {
        let there_at = inside(&self.root, Path::new(path));
        let there = Object::at(&there_at)?;
        if !there.octets().is_some_and(content::is_ours) {
            return Ok(None);
        }
        if path != RESOLV_CONF {
            let left = undo::without_ours(Path::new(path), &there).unwrap_or(Object::Nothing);
            left.put(&there_at, fault)?;
            return Ok(None);
        }
        if !inside(&self.root, Path::new(RESOLVED_STUB)).exists() {
            let remark = "/etc/resolv.conf still names tacenda, since what it said before is not known: ask for a new DHCP lease, or write \
                          your network's server into it";
            return Ok(Some(remark.to_owned()));
        }
        let link = Object::Link {
            target: Octets(TO_RESOLVED.into()),
            owner: own_number(),
            group: own_group(),
        };
        link.put(&there_at, fault)?;
        Ok(Some(
            "/etc/resolv.conf is a link to systemd-resolved's file now: what it was before is not known".to_owned(),
        ))
    }
}
