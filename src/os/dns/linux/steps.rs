//! One step: what stands there, what others put there since, and doing it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::object::Octets;
use super::roads::{self, Note};
use super::services::Link;
use super::{
    Change, DHCLIENT_HOOK, DHCPCD_HOOK, FileChange, Linux, NM_DROP_IN, NM_DROP_IN_ETC, Object, Planned, RESOLV_CONF,
    RESOLVED_DROP_IN, Service, Services, content, explained, facts, inside, undo,
};
use crate::os::dns::fault::Fault;

impl<S: Services> Linux<S> {
    /// A step with what stands there now.
    pub(super) fn look(&self, step: Planned, listen: IpAddr) -> Result<Change, String> {
        let text = |error: io::Error| error.to_string();
        Ok(match step {
            Planned::NetworkManager => {
                self.file(NM_DROP_IN, content::network_manager(), Some(Service::NetworkManager))?
            }
            Planned::NetworkManagerInEtc => self.file(
                NM_DROP_IN_ETC,
                content::network_manager(),
                Some(Service::NetworkManager),
            )?,
            Planned::Resolved => self.file(RESOLVED_DROP_IN, content::resolved(listen), Some(Service::Resolved))?,
            Planned::DhclientHook => self.file(DHCLIENT_HOOK, content::dhclient_hook(), None)?,
            Planned::DhcpcdHook => {
                // Others may have a hook there already: ours follows theirs.
                let there = self.object(Path::new(DHCPCD_HOOK)).map_err(text)?;
                let there = undo::without_ours(Path::new(DHCPCD_HOOK), &there).unwrap_or(there);
                let mut octets = there.octets().unwrap_or_default().to_vec();
                octets.extend(content::dhcpcd_hook());
                self.file(DHCPCD_HOOK, octets, None)?
            }
            Planned::ResolvConf => self.file(RESOLV_CONF, content::resolv_conf(listen), None)?,
            Planned::Links => {
                let links = self.services.links()?;
                let before = links.into_iter().filter(|link| *link != link.stripped()).collect();
                Change::Links { before }
            }
            Planned::Openresolv => Change::Openresolv {
                octets: Octets(content::openresolv(listen)),
                before: self.object(Path::new(RESOLV_CONF)).map_err(text)?,
            },
        })
    }

    fn file(&self, path: &str, ours: Vec<u8>, reader: Option<Service>) -> Result<Change, String> {
        let before = self
            .object(Path::new(path))
            .map_err(|error| format!("{path}: {error}"))?;
        // A hook of others that ours follows keeps its mode: it may have to be executable.
        let mode = match &before {
            Object::File { mode, .. } if path == DHCPCD_HOOK => *mode,
            _ => OUR_MODE,
        };
        // What a lost journal has left of ours is not to come back.
        let before = match undo::without_ours(Path::new(path), &before) {
            Some(others) => others,
            None if before.octets().is_some_and(content::is_ours) => Object::Nothing,
            None => before,
        };
        Ok(Change::File(FileChange {
            path: path.into(),
            before,
            latest: Vec::new(),
            ours: Octets(ours),
            mode,
            folders: self.missing_folders(Path::new(path)),
            reader,
        }))
    }

    /// What is to be made first, from above.
    fn missing_folders(&self, path: &Path) -> Vec<PathBuf> {
        let is_missing = |folder: &&Path| !inside(&self.root, folder).exists();
        let folders = path.ancestors().skip(1).filter(is_missing);
        let mut folders: Vec<_> = folders.map(Path::to_owned).collect();
        folders.reverse();
        folders
    }

    /// Keeps what others wrote into a file; never what is ours.
    pub(super) fn note_file(&self, change: &mut FileChange) -> Result<(), String> {
        // At the start of the machine some in `/run` are not there yet.
        change.folders.extend(self.missing_folders(&change.path));
        change.folders.sort();
        change.folders.dedup();
        let there = self.object(&change.path);
        let there = there.map_err(|error| format!("{}: {error}", change.path.display()))?;
        if there != Object::Nothing && !there.octets().is_some_and(content::is_ours) && !is_cut_short(change, &there) {
            let theirs = there.written_over(&Object::ours(Vec::new(), change.mode), &change.before);
            if theirs == change.before {
                change.latest.clear();
            } else {
                roads::add(&mut change.latest, Note::of(theirs, &self.services));
            }
        }
        Ok(())
    }

    /// Keeps the servers that links got since.
    pub(super) fn note_links(&self, before: &mut Vec<Link>) -> Result<(), String> {
        for link in self.services.links()? {
            if link != link.stripped() {
                before.retain(|known| known.index != link.index);
                before.push(link);
            }
        }
        Ok(())
    }

    pub(super) fn do_step(&self, change: &Change, fault: &Fault) -> Result<(), String> {
        match change {
            Change::File(change) => {
                let shown = change.path.display();
                for folder in &change.folders {
                    make_folder(&inside(&self.root, folder))
                        .map_err(|error| format!("{}: {error}", folder.display()))?;
                }
                let ours = Object::ours(change.ours.0.clone(), change.mode);
                let put = ours.put(&inside(&self.root, &change.path), fault);
                put.map_err(|error| format!("cannot write {shown}: {}", explained(&error)))?;
                change.reader.map_or(Ok(()), |reader| self.services.reload(reader))
            }
            Change::Links { before } => before.iter().try_for_each(|link| self.services.strip_link(link)),
            Change::Openresolv { octets, .. } => {
                self.services.openresolv_add(&octets.0)?;
                let there = self.object(Path::new(RESOLV_CONF)).map_err(|error| error.to_string())?;
                if there.octets().is_some_and(|there| names_the_same(there, &octets.0)) {
                    return Ok(());
                }
                Err("openresolv took the entry, but /etc/resolv.conf names other servers: does its resolvconf.conf name them?".to_owned())
            }
        }
    }
}

/// Whether a file does what it was written for. Around our lines in a hook others may write what they like.
pub(super) fn is_in_force(change: &FileChange, there: &Object) -> bool {
    let Some(octets) = there.octets() else { return false };
    let block = content::dhcpcd_hook();
    let is_hook = change.path == Path::new(DHCPCD_HOOK);
    octets == change.ours.0 || is_hook && octets.windows(block.len()).any(|window| window == block)
}

/// Whether somebody has only begun to write `/etc/resolv.conf`: a file without a server is nothing to be put back where there was one.
pub(super) fn is_cut_short(change: &FileChange, there: &Object) -> bool {
    let names_one = |object: &Object| !object.servers().is_empty();
    change.path == Path::new(RESOLV_CONF)
        && matches!(there, Object::File { .. })
        && !names_one(there)
        && change.of_others().any(names_one)
}

/// Whether one file has the servers of another, and no search list of others.
pub(super) fn names_the_same(there: &[u8], ours: &[u8]) -> bool {
    let servers = |octets: &[u8]| facts::servers(&String::from_utf8_lossy(octets));
    let searches = |octets: &[u8]| {
        let text = String::from_utf8_lossy(octets).into_owned();
        let is_other = |line: &str| line.starts_with("search") && line.trim() != "search .";
        text.lines().any(|line| is_other(line) || line.starts_with("domain"))
    };
    servers(there) == servers(ours) && !searches(there)
}

fn make_folder(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Everybody reads them: programs of every user look for their server.
const OUR_MODE: u32 = 0o644;
