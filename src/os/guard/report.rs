//! What whoever keeps the guard says of it, for those who may not look at packet rules themselves: the daemon's figures and `status`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ruleset::Mode;
use crate::os::{clock, file};

/// How the guard stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What it does; none while it is off.
    pub mode: Option<Mode>,
    /// Whether nobody else can take it away.
    pub is_held: bool,
    /// See [`super::listing::Listing`].
    pub redirected: u64,
    /// See [`super::listing::Listing`].
    pub rejected: u64,
    /// How often it was put in force again because somebody had changed it.
    pub repaired: u64,
    /// What keeps it from being as it is wanted.
    pub problem: Option<String>,
    /// Seconds since the machine's start when it was written.
    pub at: u64,
}

impl Report {
    /// The last one; none if nobody keeps the guard, or whoever did has said nothing for too long.
    ///
    /// # Errors
    /// The system's own, and `InvalidData`.
    pub fn read() -> io::Result<Option<Self>> {
        let octets = file::read(Path::new(PATH), MAX_LEN)?;
        let read = |octets: Vec<u8>| serde_json::from_slice(&octets).map_err(io::Error::from);
        let report = octets.map(read).transpose()?;
        Ok(report.filter(|report: &Self| clock::since_start().as_secs() <= report.at.saturating_add(MAX_AGE)))
    }

    /// In the place of the last one, for everybody to read.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&mut self) -> io::Result<()> {
        self.at = clock::since_start().as_secs();
        let path = Path::new(PATH);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        file::replace_public(path, &serde_json::to_vec(self)?)
    }

    /// Nobody keeps the guard any more.
    pub fn take_away() {
        // The folder is the service manager's.
        let _ = std::fs::remove_file(PATH);
    }
}

/// Its folder: the daemon's sandbox lets it read there.
pub const FOLDER: &str = "/run/tacenda-guard";
const PATH: &str = "/run/tacenda-guard/report.json";

/// It is written every fifteen seconds; whoever was killed does not take it away.
const MAX_AGE: u64 = 40;

/// Some numbers and a line of words.
const MAX_LEN: u64 = 16 << 10;
