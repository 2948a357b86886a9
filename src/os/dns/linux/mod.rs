//! Linux, and other systems where `/etc/resolv.conf` says who is asked: its programs and its files.
//!
//! [`facts`] are gathered by reading only; [`mod@plan`] decides, and is pure. Only [`services`] speaks to programs.

pub mod change;
pub mod facts;
pub mod host;
pub mod object;
pub mod plan;
pub mod roads;
pub mod services;
pub mod shield;

mod bus;
pub(super) mod bus_events;
mod content;
mod copy;
mod offers;
mod salvage;
mod steps;
mod told;
mod undo;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::Fault;
use super::system::{Cut, Offer, Outline, Refused, System};
use change::{Change, FileChange};
use facts::{Facts, Program, inside};
use object::Object;
use plan::Planned;
use services::{Service, Services};

/// A host: its file tree and its programs.
#[derive(Debug)]
pub struct Linux<S> {
    root: PathBuf,
    services: S,
}

impl<S: Services> Linux<S> {
    /// The host whose file tree is at `root`.
    pub fn at(root: &Path, services: S) -> Self {
        Self {
            root: root.to_owned(),
            services,
        }
    }

    fn object(&self, path: &Path) -> io::Result<Object> {
        Object::at(&inside(&self.root, path))
    }

    fn shielded(&self) -> PathBuf {
        inside(&self.root, Path::new(RESOLV_CONF))
    }
}

impl<S: Services> System for Linux<S> {
    const NAME: &'static str = "linux";

    /// Nobody tells of a mount over a file.
    const LOOK_INTERVAL: Duration = Duration::from_secs(30);

    type Facts = Facts;
    type Planned = Planned;
    type Change = Change;

    fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    fn facts(&self, is_set: bool) -> Facts {
        Facts {
            is_set,
            ..facts::gather(&self.root)
        }
    }

    fn boot_id(&self) -> String {
        facts::boot_id(&self.root)
    }

    fn plan(facts: &Facts, listen: IpAddr) -> Result<Outline<Planned>, Refused> {
        let plan = plan::plan(facts, listen).map_err(|refusal| Refused {
            why: refusal.to_string(),
            help: refusal.help().to_owned(),
        })?;
        Ok(Outline {
            back_end: plan.back_end,
            steps: plan.steps,
            notes: plan.notes.iter().map(ToString::to_string).collect(),
        })
    }

    fn change(&self, step: Planned, listen: IpAddr) -> Result<Change, String> {
        self.look(step, listen)
    }

    fn planned(change: &Change) -> Option<Planned> {
        match change {
            Change::Links { .. } => Some(Planned::Links),
            Change::Openresolv { .. } => Some(Planned::Openresolv),
            Change::File(change) => {
                let mut paths = PATHS.iter();
                let found = paths.find(|(path, _)| Path::new(path) == change.path);
                found.map(|(_, planned)| *planned)
            }
        }
    }

    fn outlives_a_start(change: &Change) -> bool {
        matches!(change, Change::File(change) if !change.path.starts_with("/run"))
    }

    fn forget(change: &mut Change) {
        // Numbers of links from before the restart mean others now.
        if let Change::Links { before } = change {
            before.clear();
        }
    }

    fn stands(&self, change: &Change, _listen: IpAddr) -> Result<bool, String> {
        let text = |error: io::Error| error.to_string();
        match change {
            Change::File(change) => {
                let there = self.object(&change.path).map_err(text)?;
                Ok(steps::is_in_force(change, &there))
            }
            Change::Links { .. } => Ok(self.services.links()?.iter().all(|link| *link == link.stripped())),
            Change::Openresolv { octets, .. } => {
                let there = self.object(Path::new(RESOLV_CONF)).map_err(text)?;
                Ok(there
                    .octets()
                    .is_some_and(|there| steps::names_the_same(there, &octets.0)))
            }
        }
    }

    fn seems_to_stand(&self, change: &Change, _listen: IpAddr) -> bool {
        match change {
            Change::File(change) => {
                let there = self.object(&change.path);
                there.is_ok_and(|there| steps::is_in_force(change, &there))
            }
            Change::Links { .. } | Change::Openresolv { .. } => true,
        }
    }

    fn note_others(&self, change: &mut Change, _listen: IpAddr) -> Result<(), String> {
        match change {
            Change::File(change) => self.note_file(change),
            Change::Links { before } => self.note_links(before),
            Change::Openresolv { .. } => Ok(()),
        }
    }

    fn make(&self, change: &Change, fault: &Fault) -> Result<(), String> {
        self.do_step(change, fault)
    }

    fn take_back(&self, change: &Change, cut: Cut, fault: &Fault) -> Result<Option<String>, String> {
        self.undo_step(change, cut, fault)
    }

    fn keep_beside(&self, changes: &[&Change], fault: &Fault) -> io::Result<()> {
        self.keep_copy(changes, fault)
    }

    fn drop_beside(&self, fault: &Fault) -> io::Result<()> {
        self.drop_copy(fault)
    }

    fn has_left_something(&self) -> bool {
        self.has_any_of_ours()
    }

    fn salvage(&self, fault: &Fault) -> Result<Vec<String>, Vec<String>> {
        self.take_all_away(fault)
    }

    fn servers_before(change: &Change) -> Vec<IpAddr> {
        change.servers_before()
    }

    fn offers(&self, changes: &[&Change]) -> Vec<Offer> {
        offers::of(&self.root, changes, &self.services)
    }

    fn name_of(change: &Change) -> String {
        match change {
            Change::File(change) => change.path.display().to_string(),
            Change::Links { .. } => "the links of systemd-resolved".to_owned(),
            Change::Openresolv { .. } => "the servers of openresolv".to_owned(),
        }
    }

    fn folders(&self, changes: &[&Change]) -> Vec<PathBuf> {
        let of = |path: &Path| path.parent().map(|folder| inside(&self.root, folder));
        let mut folders: Vec<_> = of(Path::new(RESOLV_CONF)).into_iter().collect();
        for change in changes {
            match change {
                Change::File(change) => folders.extend(of(&change.path)),
                Change::Links { .. } => folders.extend(OF_LINKS.iter().filter_map(|file| of(Path::new(file)))),
                Change::Openresolv { .. } => {}
            }
        }
        // What `/etc/resolv.conf` leads to is written where it lies.
        let end = self.facts(false).resolv_conf.leads_to;
        folders.extend(end.as_deref().and_then(of));
        folders
    }

    fn raise_shield(&self, changes: &[&Change]) -> io::Result<()> {
        let mut ours = changes.iter().filter_map(|change| match change {
            Change::File(change) if change.path == Path::new(RESOLV_CONF) => Some(&change.ours.0),
            _ => None,
        });
        let Some(ours) = ours.next() else {
            return Err(io::Error::other("another program writes /etc/resolv.conf for us"));
        };
        shield::raise(&self.shielded(), ours)
    }

    fn is_shielded(&self) -> bool {
        shield::is_up(&self.shielded())
    }

    fn lower_shield(&self) -> io::Result<()> {
        shield::lower(&self.shielded())
    }
}

/// Where root keeps the journal (FHS 3.0 section 5.8).
const FOLDER: &str = "var/lib/tacenda-system";

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The last of its folder: it empties the lists of all before it, those that dhclient's hooks write among them.
const RESOLVED_DROP_IN: &str = "/run/systemd/resolved.conf.d/zz-tacenda.conf";
const NM_DROP_IN: &str = "/run/NetworkManager/conf.d/zz-tacenda.conf";
const NM_DROP_IN_ETC: &str = "/etc/NetworkManager/conf.d/zz-tacenda.conf";
const DHCLIENT_HOOK: &str = "/etc/dhcp/dhclient-enter-hooks.d/zz-tacenda";
const DHCPCD_HOOK: &str = "/etc/dhcpcd.enter-hook";

const PATHS: [(&str, Planned); 6] = [
    (RESOLV_CONF, Planned::ResolvConf),
    (RESOLVED_DROP_IN, Planned::Resolved),
    (NM_DROP_IN, Planned::NetworkManager),
    (NM_DROP_IN_ETC, Planned::NetworkManagerInEtc),
    (DHCLIENT_HOOK, Planned::DhclientHook),
    (DHCPCD_HOOK, Planned::DhcpcdHook),
];

/// Files in the folders to which systemd-resolved and systemd-networkd write whenever a link gets other servers: no signal tells of that.
const OF_LINKS: [&str; 3] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/systemd/resolve/netif/1",
    "/run/systemd/netif/links/1",
];

/// The program that a service is.
fn program(service: Service) -> Program {
    match service {
        Service::Resolved => Program::Resolved,
        Service::NetworkManager => Program::NetworkManager,
    }
}

/// The usual reasons why root may not.
fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error} (is it immutable? see `lsattr`, undo with `chattr -i`)"),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{error} (make it writable, or set it on the machine that it comes from)")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
