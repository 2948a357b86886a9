//! The host's DNS: that programs ask tacenda, and that everything can be put back as it was.
//!
//! [`facts`] are gathered by reading only; [`mod@plan`] decides, and is pure; the steps of a plan are written into the [`journal`] with what stood
//! there before any of them is done. Whatever is cut off, `restore` undoes what is still ours, and leaves what others wrote since.
//! Only [`services`] speaks to programs, and [`events`] listens to them; nothing here asks a name.

pub mod facts;
pub mod plan;

mod bus;
mod bus_events;
mod content;
pub mod drift;
pub mod events;
mod fault;
pub mod host;
pub mod journal;
pub mod object;
mod salvage;
pub mod services;
pub mod shield;
mod undo;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use drift::{is_cut_short, is_in_force};
use facts::{Facts, Program, inside};
use fault::Fault;
use journal::{Change, FileChange, Journal, Mark, Phase, Step, Store};
use object::{Object, Octets};
use plan::{BackEnd, Plan, Planned, Refusal, plan};
use services::{Service, Services};

/// A host: its file tree, its journal and its programs.
#[derive(Debug)]
pub struct Machine<S> {
    root: PathBuf,
    store: Store,
    services: S,
    fault: Fault,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// By whom programs are led to tacenda, or were. None without a journal that says what was there before.
    pub back_end: Option<BackEnd>,
    /// What the user should know, a line each.
    pub remarks: Vec<String>,
}

impl<S: Services> Machine<S> {
    /// The host whose file tree is at `root`.
    pub fn at(root: &Path, services: S) -> Self {
        Self {
            root: root.to_owned(),
            store: Store::at(root.join(journal::FOLDER)),
            services,
            fault: Fault::default(),
        }
    }

    /// What is known of the host now. Changes nothing.
    pub fn facts(&self) -> Facts {
        let journal = std::fs::symlink_metadata(self.store.path());
        let is_absent = matches!(&journal, Err(error) if error.kind() != io::ErrorKind::PermissionDenied);
        Facts {
            is_set: !is_absent,
            ..facts::gather(&self.root)
        }
    }

    /// What is set, or was begun. Root's to read.
    ///
    /// # Errors
    /// The system's own, and `InvalidData` for what is no journal.
    pub fn journal(&self) -> io::Result<Option<Journal>> {
        self.store.load()
    }

    /// Whether everything that was set stands as it was set.
    pub fn stands(&self, journal: &Journal) -> bool {
        let stands = |step: &Step| match &step.change {
            Change::File(change) => {
                Object::at(&inside(&self.root, &change.path)).is_ok_and(|there| is_in_force(change, &there))
            }
            Change::Links { .. } | Change::Openresolv { .. } => true,
        };
        journal.steps.iter().all(stands)
    }

    /// Has programs ask `listen`, and nobody else. `verify` says whether they do; if it does not, or a step fails, everything is put back.
    /// Set again, what others changed since is changed back.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set(&self, listen: IpAddr, verify: impl FnOnce(&Facts) -> Result<(), String>) -> Result<Done, Error> {
        let _lock = self.lock()?;
        self.lower_shield()?;
        let facts = self.facts();
        let plan = plan(&facts, listen).map_err(Error::Refused)?;
        let mut journal = match self.load()? {
            Some(journal) if fits(&journal, &plan, listen, &facts) => journal,
            Some(mut unfit) => {
                self.undo(&mut unfit)?;
                // What others find now is what `restore` is to find later.
                self.begin(&self.facts(), listen)?
            }
            None => self.begin(&facts, listen)?,
        };
        let applied = self
            .apply(&mut journal)
            .and_then(|()| verify(&self.facts()))
            .and_then(|()| self.enter(&mut journal, Phase::Applied));
        if let Err(why) = applied {
            // A power cut does not undo anything either.
            if self.fault.has_stopped() {
                return Err(Error::Failed(why));
            }
            return Err(match self.undo(&mut journal) {
                Ok(Done { remarks, .. }) => Error::Undone { why, remarks },
                Err(Error::NotUndone(mut more)) => {
                    more.insert(0, why);
                    Error::NotUndone(more)
                }
                Err(error) => error,
            });
        }
        Ok(Done {
            back_end: Some(journal.back_end),
            remarks: plan.notes.iter().map(ToString::to_string).collect(),
        })
    }

    fn lock(&self) -> Result<std::fs::File, Error> {
        self.store.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy,
            _ => self.journal_error(error),
        })
    }

    fn load(&self) -> Result<Option<Journal>, Error> {
        self.store.load().map_err(|error| self.journal_error(error))
    }

    fn journal_error(&self, error: io::Error) -> Error {
        Error::Journal {
            path: self.store.path(),
            error,
        }
    }

    /// Looks at everything that will be changed, and writes it down. Nothing is changed.
    fn begin(&self, facts: &Facts, listen: IpAddr) -> Result<Journal, Error> {
        let plan = plan(facts, listen).map_err(Error::Refused)?;
        let mut changes = Vec::new();
        for step in &plan.steps {
            let change = self.change(*step, listen);
            changes.push(change.map_err(|why| Error::Failed(format!("cannot {}: {why}", step.words())))?);
        }
        let journal = Journal::of_intent(&facts.boot_id, plan.back_end, listen, changes);
        let saved = self.store.save(&journal, &self.fault);
        saved.map(|()| journal).map_err(|error| self.journal_error(error))
    }

    fn change(&self, step: Planned, listen: IpAddr) -> Result<Change, String> {
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
                let there = Object::at(&inside(&self.root, Path::new(DHCPCD_HOOK))).map_err(text)?;
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
                before: Object::at(&inside(&self.root, Path::new(RESOLV_CONF))).map_err(text)?,
            },
        })
    }

    fn file(&self, path: &str, ours: Vec<u8>, reader: Option<Service>) -> Result<Change, String> {
        let there = inside(&self.root, Path::new(path));
        let before = Object::at(&there).map_err(|error| format!("{path}: {error}"))?;
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
            latest: None,
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

    /// Does every step that is not done, each after it is written down.
    fn apply(&self, journal: &mut Journal) -> Result<(), String> {
        let is_repeated = journal.phase.is_known_to_work();
        for at in 0..journal.steps.len() {
            if is_repeated && self.stands_still(&journal.steps[at].change)? {
                continue;
            }
            self.apply_step(journal, at, Phase::Steps)?;
        }
        self.enter(journal, Phase::Verify)
    }

    fn apply_step(&self, journal: &mut Journal, at: usize, phase: Phase) -> Result<(), String> {
        let step = &mut journal.steps[at];
        self.note_others(&mut step.change)?;
        step.mark = Mark::Begun;
        self.enter(journal, phase)?;
        self.do_step(&journal.steps[at].change)?;
        self.fault.point().map_err(|error| error.to_string())
    }

    /// Writes down how far it went.
    fn enter(&self, journal: &mut Journal, phase: Phase) -> Result<(), String> {
        journal.phase = phase;
        let saved = self.store.save(journal, &self.fault);
        saved.map_err(|error| format!("cannot write {}: {error}", self.store.path().display()))
    }

    /// Whether a step that was done once needs nothing.
    fn stands_still(&self, change: &Change) -> Result<bool, String> {
        match change {
            Change::File(change) => {
                let there = Object::at(&inside(&self.root, &change.path)).map_err(|error| error.to_string())?;
                Ok(is_in_force(change, &there))
            }
            Change::Links { .. } => Ok(self.services.links()?.iter().all(|link| *link == link.stripped())),
            Change::Openresolv { octets, .. } => {
                let there =
                    Object::at(&inside(&self.root, Path::new(RESOLV_CONF))).map_err(|error| error.to_string())?;
                Ok(there.octets().is_some_and(|there| names_the_same(there, &octets.0)))
            }
        }
    }

    /// Keeps what others put there since it was looked at; never what is ours.
    fn note_others(&self, change: &mut Change) -> Result<(), String> {
        match change {
            Change::File(change) => {
                // At the start of the machine some in `/run` are not there yet.
                change.folders.extend(self.missing_folders(&change.path));
                change.folders.sort();
                change.folders.dedup();
                let path = inside(&self.root, &change.path);
                let there = Object::at(&path).map_err(|error| format!("{}: {error}", change.path.display()))?;
                if there != Object::Nothing
                    && !there.octets().is_some_and(content::is_ours)
                    && !is_cut_short(change, &there)
                {
                    let theirs = there.written_over(&Object::ours(Vec::new(), change.mode), &change.before);
                    change.latest = (theirs != change.before).then_some(theirs);
                }
            }
            Change::Links { before } => {
                for link in self.services.links()? {
                    if link != link.stripped() {
                        before.retain(|known| known.index != link.index);
                        before.push(link);
                    }
                }
            }
            Change::Openresolv { .. } => {}
        }
        Ok(())
    }

    fn do_step(&self, change: &Change) -> Result<(), String> {
        match change {
            Change::File(change) => {
                let shown = change.path.display();
                for folder in &change.folders {
                    make_folder(&inside(&self.root, folder))
                        .map_err(|error| format!("{}: {error}", folder.display()))?;
                }
                let ours = Object::ours(change.ours.0.clone(), change.mode);
                let put = ours.put(&inside(&self.root, &change.path), &self.fault);
                put.map_err(|error| format!("cannot write {shown}: {}", explained(&error)))?;
                change.reader.map_or(Ok(()), |reader| self.services.reload(reader))
            }
            Change::Links { before } => before.iter().try_for_each(|link| self.services.strip_link(link)),
            Change::Openresolv { octets, .. } => {
                self.services.openresolv_add(&octets.0)?;
                let path = inside(&self.root, Path::new(RESOLV_CONF));
                let there = Object::at(&path).map_err(|error| error.to_string())?;
                if there.octets().is_some_and(|there| names_the_same(there, &octets.0)) {
                    return Ok(());
                }
                Err("openresolv took the entry, but /etc/resolv.conf names other servers: does its resolvconf.conf name them?".to_owned())
            }
        }
    }
}

/// Whether a journal says what a plan would do.
fn fits(journal: &Journal, plan: &Plan, listen: IpAddr, facts: &Facts) -> bool {
    let outlives_a_start =
        |step: &Step| matches!(&step.change, Change::File(change) if !change.path.starts_with("/run"));
    let same_start = journal.boot_id == facts.boot_id || journal.steps.iter().all(outlives_a_start);
    let kinds = |step: &Step| match &step.change {
        Change::Links { .. } => Some(Planned::Links),
        Change::Openresolv { .. } => Some(Planned::Openresolv),
        Change::File(change) => PATHS
            .iter()
            .find(|(path, _)| Path::new(path) == change.path)
            .map(|(_, planned)| *planned),
    };
    journal.phase.is_known_to_work()
        && same_start
        && journal.listen == listen
        && journal
            .steps
            .iter()
            .map(kinds)
            .eq(plan.steps.iter().map(|step| Some(*step)))
}

/// Whether one file has the servers of another, and no search list of others.
fn names_the_same(there: &[u8], ours: &[u8]) -> bool {
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

/// The program that a service is.
fn program(service: Service) -> Program {
    match service {
        Service::Resolved => Program::Resolved,
        Service::NetworkManager => Program::NetworkManager,
    }
}

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

/// Everybody reads them: programs of every user look for their server.
const OUR_MODE: u32 = 0o644;

/// Why it was not done.
#[derive(Debug)]
pub enum Error {
    /// It cannot be done here.
    Refused(Refusal),
    /// Another tacenda is at it.
    Busy,
    /// The journal cannot be read or written.
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing was changed.
    Failed(String),
    /// It was begun and undone.
    Undone {
        /// Why.
        why: String,
        /// See [`Done`].
        remarks: Vec<String>,
    },
    /// Something could not be put back. The journal knows it still.
    NotUndone(Vec<String>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Busy => f.write_str("another tacenda is setting or restoring the system's DNS"),
            Self::Journal { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Failed(why) => write!(f, "nothing was changed: {why}"),
            Self::Undone { why, .. } => write!(f, "everything is as it was before: {why}"),
            Self::NotUndone(why) => write!(f, "not everything could be put back: {}", why.join("; ")),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
