//! The leak guard: a question in clear text is led to tacenda or refused, whoever asks it, in the kernel. Setting the system's DNS steers;
//! this holds, also while tacenda is stopped, killed or being started anew.
//!
//! [`mod@ruleset`] is pure; nft puts it in force in one transaction. A [`Guard`] holds the table, so that `nft flush ruleset` of others passes it by.

pub mod changes;
#[cfg(target_os = "linux")]
mod flows;
pub mod listing;
#[cfg(not(target_os = "linux"))]
mod portable;
pub mod report;
pub mod ruleset;
#[cfg(target_os = "linux")]
mod table;
pub mod window;
pub mod wish;

#[cfg(not(target_os = "linux"))]
use portable::{changes as system_changes, flows, table};

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::os::command::{self, run_within};
use listing::Listing;
use ruleset::{Ruleset, TABLE, Ways};
use table::Owner;

/// Puts rules in force, and takes them away.
#[derive(Debug)]
pub struct Guard {
    runtime: Runtime,
    owner: Option<Owner>,
    may_hold: bool,
    /// What nft said after the rules were put in force.
    as_put: Option<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The table is held: others cannot take it away.
    Held,
    /// This kernel (before 6.9) knows no table that outlives its holder. Whoever flushes takes it away.
    Loose,
}

/// Why the rules are not in force, or still are.
#[derive(Debug)]
pub enum Error {
    /// No right to it (`CAP_NET_ADMIN`).
    Permission(io::Error),
    /// Another process holds the table: the one that keeps it.
    Held,
    /// In words: nft is not there, or refuses.
    Failed(String),
}

impl Guard {
    /// Changes nothing.
    ///
    /// # Errors
    /// When the system gives no event queue.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            owner: None,
            may_hold: true,
            as_put: None,
        })
    }

    /// Whether nft is installed: without it nothing is put in force, and there is nothing to take away.
    pub fn can_be() -> bool {
        command::is_there("nft")
    }

    /// The same, but as on a kernel before 6.9: the table is never held, and others can change it.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn loose() -> io::Result<Self> {
        Ok(Self {
            may_hold: false,
            ..Self::new()?
        })
    }

    /// Puts these rules, with the ways of a window, in the place of those that stand, in one moment. What fails leaves those.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn put(&mut self, rules: &Ruleset, ways: &Ways) -> Result<(), Error> {
        let text = rules.text.clone() + &ways.text();
        let before = self.look()?;
        self.nft(&["--check", "-f", "-"], &rules.trial).map_err(Error::Failed)?;
        // Whoever holds it cannot have nft change it. What is without a holder still stands.
        self.owner = None;
        table::make(self.may_hold).map_err(|error| refused(error, before.as_ref()))?;
        if self.nft(&["-f", "-"], &text).is_err() {
            // The rules are good, so it is the table: somebody else's of that name, or an older tacenda's with other sorts of chains. Anew, with
            // a gap of milliseconds.
            self.delete()?;
            table::make(self.may_hold).map_err(|error| refused(error, None))?;
            let filled = self.nft(&["-f", "-"], &text);
            if let Err(why) = filled {
                self.delete()?;
                return Err(Error::Failed(why));
            }
        }
        if before.and_then(|before| before.mark).as_ref() != Some(&rules.mark) {
            self.forget_flows();
        }
        self.as_put = self.without_state().ok();
        Ok(())
    }

    /// Puts the ways of a window in the place of those that are open in the rules that stand. Held or not, it is afterwards as it was before.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(&mut self, ways: &Ways) -> Result<(), Error> {
        let was_held = self.owner.take().is_some();
        let opened = self.nft(&["-f", "-"], &ways.text()).map_err(Error::Failed);
        self.as_put = self.without_state().ok();
        if was_held {
            self.hold()?;
        }
        opened.map(drop)
    }

    /// A flow goes on where it was led to, also when it would be led elsewhere now. Where the kernel remembers none there is nothing to forget;
    /// else what is left is refused.
    fn forget_flows(&self) {
        let _ = flows::forget();
    }

    /// Holds the table that stands, until this is dropped.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn hold(&mut self) -> Result<Kept, Error> {
        if self.owner.is_some() {
            return Ok(Kept::Held);
        }
        if !self.may_hold {
            return Ok(Kept::Loose);
        }
        match Owner::of_table() {
            Ok(owner) => {
                self.owner = Some(owner);
                Ok(Kept::Held)
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Kept::Loose),
            Err(error) => Err(refused(error, self.look()?.as_ref())),
        }
    }

    /// Whether the rules are what this one has put in force. Others can change a table that nobody holds.
    pub fn stands(&self) -> bool {
        self.owner.is_some() || self.as_put.is_some() && self.as_put == self.without_state().ok()
    }

    /// What the kernel changes by itself is not looked at: counters, and the ways of a window, which end.
    fn without_state(&self) -> Result<String, String> {
        let text = self.nft(&["--stateless", "list", "table", "inet", TABLE], "")?;
        Ok(text.lines().filter(|line| !line.contains(" timeout ")).collect())
    }

    /// Whether this one holds the table.
    pub fn holds(&self) -> bool {
        self.owner.is_some()
    }

    /// Takes the rules away; false if there were none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn lift(&mut self) -> Result<bool, Error> {
        let before = self.look()?;
        self.owner = None;
        if before.is_some() {
            self.delete()?;
            self.forget_flows();
        }
        Ok(before.is_some())
    }

    /// What stands; none if there is no table.
    ///
    /// # Errors
    /// See [`Error`]. Root's alone to see.
    pub fn look(&self) -> Result<Option<Listing>, Error> {
        match self.nft(&["list", "table", "inet", TABLE], "") {
            Ok(text) => Ok(Some(Listing::read(&text))),
            Err(why) if why.contains(NO_SUCH_TABLE) => Ok(None),
            Err(why) if why.contains("Operation not permitted") => {
                Err(Error::Permission(io::ErrorKind::PermissionDenied.into()))
            }
            Err(why) => Err(Error::Failed(why)),
        }
    }

    fn delete(&self) -> Result<(), Error> {
        let deleted = self.nft(&["delete", "table", "inet", TABLE], "");
        deleted.map(drop).map_err(|why| match why {
            why if why.contains("Operation not permitted") => Error::Held,
            why => Error::Failed(why),
        })
    }

    fn nft(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let words = [&["nft"], arguments].concat();
        let output = self
            .runtime
            .block_on(run_within(NFT_PATIENCE, &words, input.as_bytes()))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// nft's own words, and not those of a loader that misses a library.
const NO_SUCH_TABLE: &str = "(exit status: 1): Error: No such file or directory";

/// It waits for nobody but the kernel.
const NFT_PATIENCE: Duration = Duration::from_secs(5);

/// The kernel has one number for two reasons.
fn refused(error: io::Error, there: Option<&Listing>) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied if there.is_some_and(|there| there.is_owned) => Error::Held,
        io::ErrorKind::PermissionDenied => Error::Permission(error),
        _ => Error::Failed(format!("the kernel refuses the table: {error}")),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission(_) => f.write_str("packet rules are root's (CAP_NET_ADMIN)"),
            Self::Held => f.write_str("another process keeps the guard"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
