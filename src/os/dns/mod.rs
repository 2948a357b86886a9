//! The host's DNS: that programs ask tacenda, and that everything can be put back as it was.
//!
//! [`system`] is what differs between systems: facts are gathered by reading only, a plan is made of them, and that is pure. The steps of a
//! plan are written into the [`journal`] with what stood there before any of them is done. Whatever is cut off, `restore` undoes what is
//! still ours, and leaves what others wrote since. [`events`] tell when to look whether it stands. Nothing here asks a name.
//!
//! macOS and Windows keep their settings in tables ([`table`]), whose steps and undoing are one code; only the thinnest part of each, which
//! speaks to the system, is compiled for that system alone.

pub mod drift;
pub mod error;
pub mod events;
pub mod fault;
pub mod handed_out;
pub mod journal;
#[cfg(all(unix, not(target_os = "macos")))]
pub mod linux;
pub mod macos;
pub mod system;
pub mod table;
pub mod windows;

#[cfg(test)]
mod testing;
mod undo;

use std::io;
use std::net::IpAddr;
#[cfg(unix)]
use std::path::Path;

pub use error::Error;
use fault::Fault;
use journal::{Journal, Mark, Phase, Store};
use system::{BackEnd, Outline, System};

/// This host, with its journal.
#[derive(Debug)]
pub struct Machine<S> {
    store: Store,
    system: S,
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

/// The system that this program runs on.
#[cfg(windows)]
pub type Here = windows::Windows<windows::imp::LocalMachine>;
/// The system that this program runs on.
#[cfg(target_os = "macos")]
pub type Here = macos::Mac<macos::scutil::Tool>;
/// The system that this program runs on.
#[cfg(all(unix, not(target_os = "macos")))]
pub type Here = linux::Linux<linux::host::Host>;

/// This host.
///
/// # Errors
/// When the system gives no event queue.
pub fn here() -> io::Result<Machine<Here>> {
    #[cfg(windows)]
    let here = windows::Windows::of(windows::imp::LocalMachine);
    #[cfg(target_os = "macos")]
    let here = macos::Mac::at(Path::new("/"), macos::scutil::Tool::new()?);
    #[cfg(all(unix, not(target_os = "macos")))]
    let here = linux::Linux::at(Path::new("/"), linux::host::Host::new()?);
    Ok(Machine::of(here))
}

impl<S: System> Machine<S> {
    /// A host of this system.
    pub fn of(system: S) -> Self {
        Self {
            store: Store::of(&system),
            system,
            fault: Fault::default(),
        }
    }

    /// What is known of the host now. Changes nothing.
    pub fn facts(&self) -> S::Facts {
        self.system.facts(self.store.may_be_there())
    }

    /// What `set` would do. Changes nothing.
    ///
    /// # Errors
    /// Why it cannot be done here.
    pub fn plan(&self, facts: &S::Facts, listen: IpAddr) -> Result<Outline<S::Planned>, Error> {
        S::plan(facts, listen).map_err(Error::Refused)
    }

    /// What is set, or was begun. Root's to read.
    ///
    /// # Errors
    /// The system's own, and `InvalidData` for what is no journal.
    pub fn journal(&self) -> io::Result<Option<Journal<S::Change>>> {
        self.store.load()
    }

    /// The servers that stood where ours do now; none if nothing is set. Root's to read.
    ///
    /// # Errors
    /// As [`Machine::journal`].
    pub fn servers_of_others(&self) -> io::Result<Vec<IpAddr>> {
        let journal = self.journal()?;
        Ok(journal.map_or_else(Vec::new, |journal| journal.servers_of_others::<S>()))
    }

    /// What others wanted for names of their own, and did not get.
    pub fn offers(&self, journal: &Journal<S::Change>) -> Vec<system::Offer> {
        self.system.offers(&journal.changes())
    }

    /// Whether everything that was set stands as it was set, as far as it is seen without asking any program.
    pub fn stands(&self, journal: &Journal<S::Change>) -> bool {
        let mut changes = journal.changes().into_iter();
        changes.all(|change| self.system.seems_to_stand(change, journal.listen))
    }

    /// Has programs ask `listen`, and nobody else. `verify` says whether they do; if it does not, or a step fails, everything is put back.
    /// Set again, what others changed since is changed back.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set(&self, listen: IpAddr, verify: impl FnOnce(&S::Facts) -> Result<(), String>) -> Result<Done, Error> {
        let _lock = self.lock()?;
        self.lower_shield()?;
        let facts = self.facts();
        let plan = self.plan(&facts, listen)?;
        let mut journal = match self.load()? {
            Some(journal) if self.fits(&journal, &plan, listen) => journal,
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
            remarks: plan.notes,
        })
    }

    fn lock(&self) -> Result<std::fs::File, Error> {
        self.store.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy,
            _ => self.journal_error(error),
        })
    }

    fn load(&self) -> Result<Option<Journal<S::Change>>, Error> {
        self.store.load().map_err(|error| self.journal_error(error))
    }

    fn journal_error(&self, error: io::Error) -> Error {
        Error::Journal {
            path: self.store.path(),
            error,
        }
    }

    /// Looks at everything that will be changed, and writes it down. Nothing is changed.
    fn begin(&self, facts: &S::Facts, listen: IpAddr) -> Result<Journal<S::Change>, Error> {
        let plan = self.plan(facts, listen)?;
        let mut changes = Vec::new();
        for step in &plan.steps {
            let change = self.system.change(*step, listen);
            changes.push(change.map_err(|why| Error::Failed(format!("cannot {step}: {why}")))?);
        }
        let journal = Journal::of_intent::<S>(self.system.boot_id(), plan.back_end, listen, changes);
        let saved = self.save(&journal);
        saved.map(|()| journal).map_err(|error| self.journal_error(error))
    }

    /// Does every step that is not done, each after it is written down.
    fn apply(&self, journal: &mut Journal<S::Change>) -> Result<(), String> {
        let is_repeated = journal.phase.is_known_to_work();
        for at in 0..journal.steps.len() {
            if is_repeated && self.system.stands(&journal.steps[at].change, journal.listen)? {
                continue;
            }
            self.apply_step(journal, at, Phase::Steps)?;
        }
        self.enter(journal, Phase::Verify)
    }

    fn apply_step(&self, journal: &mut Journal<S::Change>, at: usize, phase: Phase) -> Result<(), String> {
        let step = &mut journal.steps[at];
        self.system.note_others(&mut step.change, journal.listen)?;
        step.mark = Mark::Begun;
        self.enter(journal, phase)?;
        self.system.make(&journal.steps[at].change, &self.fault)?;
        self.fault.point().map_err(|error| error.to_string())
    }

    /// Writes down how far it went.
    fn enter(&self, journal: &mut Journal<S::Change>, phase: Phase) -> Result<(), String> {
        journal.phase = phase;
        let saved = self.save(journal);
        saved.map_err(|error| format!("cannot write {}: {error}", self.store.path().display()))
    }

    fn save(&self, journal: &Journal<S::Change>) -> io::Result<()> {
        self.store.save(journal, &self.fault)?;
        // Before anything is changed that the journal only announces.
        self.system.keep_beside(&journal.changes(), &self.fault)
    }

    /// Whether a journal says what a plan would do.
    fn fits(&self, journal: &Journal<S::Change>, plan: &Outline<S::Planned>, listen: IpAddr) -> bool {
        let changes = journal.changes();
        let same_start =
            journal.boot_id == self.system.boot_id() || changes.iter().all(|change| S::outlives_a_start(change));
        journal.phase.is_known_to_work()
            && same_start
            && journal.listen == listen
            && changes
                .iter()
                .map(|change| S::planned(change))
                .eq(plan.steps.iter().map(|step| Some(*step)))
    }
}
