//! What whoever keeps the guard says of it, for those who may not look at packet rules themselves: the daemon's figures and `status`.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ruleset::Mode;
use crate::os::report;

/// How the guard stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What it does; none while it is off.
    pub mode: Option<Mode>,
    /// Whether nobody else can take it away.
    pub is_held: bool,
    /// Whether rules of ours are in force as they were put, though there may be a problem.
    #[serde(default)]
    pub stands: bool,
    /// See [`super::listing::Listing`].
    pub redirected: u64,
    /// See [`super::listing::Listing`].
    pub rejected: u64,
    /// How often it was put in force again because somebody had changed it.
    pub repaired: u64,
    /// What keeps it from being as it is wanted.
    pub problem: Option<String>,
}

impl Report {
    /// The last one; none if nobody keeps the guard, or whoever did has said nothing for too long.
    ///
    /// # Errors
    /// The system's own, and `InvalidData`.
    pub fn read() -> io::Result<Option<Self>> {
        report::read(FILE, MAX_AGE)
    }

    /// In the place of the last one, for everybody to read.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&self) -> io::Result<()> {
        report::write(FILE, self)
    }

    /// Nobody keeps the guard any more.
    pub fn take_away() {
        report::take_away(FILE);
    }
}

const FILE: &str = "report.json";

/// It is written every fifteen seconds.
const MAX_AGE: Duration = Duration::from_secs(40);
