//! What differs between systems: facts, a plan, and how one change is made and taken back. In which order, and what is written down before,
//! is [`Machine`](super::Machine)'s alone, and the same everywhere.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;
use super::journal::{Mark, Phase};

/// Who is told that programs ask tacenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackEnd {
    /// systemd-resolved, which programs go on to ask, and which asks tacenda alone.
    Resolved,
    /// openresolv, which writes `/etc/resolv.conf`.
    Openresolv,
    /// Nobody: `/etc/resolv.conf` itself.
    File,
    /// macOS: what its network services have in the dynamic store.
    DynamicStore,
    /// Windows: a rule for all names, and the adapters' own settings.
    Registry,
}

impl BackEnd {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolved => "systemd-resolved",
            Self::Openresolv => "openresolv",
            Self::File => "/etc/resolv.conf",
            Self::DynamicStore => "the network services of macOS",
            Self::Registry => "the name resolution policy of Windows",
        }
    }
}

/// What would be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline<P> {
    /// Whom most of it is told.
    pub back_end: BackEnd,
    /// The steps.
    pub steps: Vec<P>,
    /// What it does not do, for the user to know.
    pub notes: Vec<String>,
}

/// Why it cannot be done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// The way out.
    pub help: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What is known of a host, for its user.
pub trait Picture {
    /// Whether programs' questions stay on this host, as far as the settings say.
    fn stays_here(&self) -> bool;

    /// Where they go else.
    fn elsewhere(&self) -> String;

    /// Our own address, if it stands where everybody may look.
    fn named(&self) -> Option<IpAddr>;

    /// Where that is.
    fn place(&self) -> &'static str;

    /// The servers that the settings name, in their order, ours too.
    fn servers(&self) -> Vec<IpAddr>;

    /// Whether systemd-resolved has a listener of its own.
    fn has_resolved(&self) -> bool {
        false
    }

    /// The settings in one line.
    fn headline(&self) -> String;

    /// Every other fact, a line each.
    fn explained(&self) -> String;

    /// The same for programs.
    fn to_json(&self) -> Value;
}

/// How far a journal went, for what a cut may have left.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The step.
    pub mark: Mark,
    /// The journal.
    pub phase: Phase,
    /// Whether the machine was not started anew since.
    pub same_start: bool,
}

/// A system, as far as its DNS is set. Errors are words for the user.
pub trait System {
    /// Its name in the journal: that of another system is refused.
    const NAME: &'static str;

    /// Between two looks at what is set, if nothing tells of a change.
    const LOOK_INTERVAL: Duration;

    /// What is known of it.
    type Facts: Picture;

    /// One step of a plan.
    type Planned: Copy + PartialEq + fmt::Debug + fmt::Display;

    /// The same with everything that is to be known to undo it.
    type Change: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned;

    /// Where the journal is kept: nobody but an administrator may write there.
    fn folder(&self) -> PathBuf;

    /// Looks. Changes nothing; what cannot be read is not there.
    fn facts(&self, is_set: bool) -> Self::Facts;

    /// Which start of the machine this is.
    fn boot_id(&self) -> String;

    /// Decides. Pure.
    ///
    /// # Errors
    /// Why it cannot be done.
    fn plan(facts: &Self::Facts, listen: IpAddr) -> Result<Outline<Self::Planned>, Refused>;

    /// A step with what stands there now.
    ///
    /// # Errors
    /// What cannot be looked at.
    fn change(&self, step: Self::Planned, listen: IpAddr) -> Result<Self::Change, String>;

    /// The step that a change is.
    fn planned(change: &Self::Change) -> Option<Self::Planned>;

    /// Whether it is still there after the next start of the machine.
    fn outlives_a_start(change: &Self::Change) -> bool;

    /// Forgets what meant something until the machine was started anew.
    fn forget(change: &mut Self::Change);

    /// Whether it stands as it was set.
    ///
    /// # Errors
    /// What cannot be looked at.
    fn stands(&self, change: &Self::Change, listen: IpAddr) -> Result<bool, String>;

    /// The same, as far as it is seen without asking any program.
    fn seems_to_stand(&self, change: &Self::Change, listen: IpAddr) -> bool {
        self.stands(change, listen).unwrap_or(true)
    }

    /// Keeps what others put there since it was looked at; never what is ours.
    ///
    /// # Errors
    /// What cannot be looked at.
    fn note_others(&self, change: &mut Self::Change, listen: IpAddr) -> Result<(), String>;

    /// Makes a change that is written down. Again and again it does the same.
    ///
    /// # Errors
    /// What could not be done; half of it may be.
    fn make(&self, change: &Self::Change, fault: &Fault) -> Result<(), String>;

    /// Takes it back as far as it is ours still. Says what the user should know.
    ///
    /// # Errors
    /// What could not be put back.
    fn take_back(&self, change: &Self::Change, cut: Cut, fault: &Fault) -> Result<Option<String>, String>;

    /// Keeps beside the journal what [`System::salvage`] and people need, should it be lost.
    ///
    /// # Errors
    /// The system's own.
    fn keep_beside(&self, changes: &[&Self::Change], fault: &Fault) -> io::Result<()> {
        let _ = (changes, fault);
        Ok(())
    }

    /// Takes that away, if it is there.
    ///
    /// # Errors
    /// The system's own.
    fn drop_beside(&self, fault: &Fault) -> io::Result<()> {
        let _ = fault;
        Ok(())
    }

    /// Whether something is there that is known as ours without a journal.
    fn has_left_something(&self) -> bool {
        false
    }

    /// Takes away everything that is known as ours without a journal. Says what is left to do.
    ///
    /// # Errors
    /// What could not be taken away.
    fn salvage(&self, fault: &Fault) -> Result<Vec<String>, Vec<String>>;

    /// The servers that others had put where ours are.
    fn servers_before(change: &Self::Change) -> Vec<IpAddr>;

    /// What others wanted for names of their own, and did not get.
    fn offers(&self, changes: &[&Self::Change]) -> Vec<Offer> {
        let _ = changes;
        Vec::new()
    }

    /// What others changed, in words: a path, or whose settings.
    fn name_of(change: &Self::Change) -> String;

    /// The folders in which a change may be one of what is set.
    fn folders(&self, changes: &[&Self::Change]) -> Vec<PathBuf> {
        let _ = changes;
        Vec::new()
    }

    /// Keeps everybody from changing it again, until [`System::lower_shield`].
    ///
    /// # Errors
    /// `Unsupported` where there is no way.
    fn raise_shield(&self, changes: &[&Self::Change]) -> io::Result<()> {
        let _ = changes;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether that is so.
    fn is_shielded(&self) -> bool {
        false
    }

    /// No more.
    ///
    /// # Errors
    /// The system's own.
    fn lower_shield(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Names of its own that a VPN would have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its interface.
    pub link: String,
    /// Its servers there.
    pub servers: Vec<IpAddr>,
    /// Whatever it said: any text.
    pub domains: Vec<String>,
}
