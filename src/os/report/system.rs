//! What whoever keeps this host's DNS as it was set says of it, for those who may not read the journal: the daemon's figures and `status`.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{read, take_away, write};

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Who was told that programs ask tacenda, by name; none if nobody was.
    pub by: Option<String>,
    /// The address at which programs ask then.
    pub listen: Option<IpAddr>,
    /// Whether nobody was told, and yet the settings name this host.
    pub is_by_hand: bool,
    /// Whether it is as it was set.
    pub stands: bool,
    /// Whether a program is kept from rewriting it.
    pub is_shielded: bool,
    /// What keeps it from being as it was set.
    pub problem: Option<String>,
}

impl Report {
    /// The last one; none if nobody keeps it, or whoever did has said nothing for too long.
    ///
    /// # Errors
    /// The system's own, and `InvalidData`.
    pub fn read() -> io::Result<Option<Self>> {
        read(FILE, MAX_AGE)
    }

    /// In the place of the last one, for everybody to read.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&self) -> io::Result<()> {
        write(FILE, self)
    }

    /// Nobody keeps it any more.
    pub fn take_away() {
        take_away(FILE);
    }
}

const FILE: &str = "system.json";

/// It is written at least every thirty seconds.
const MAX_AGE: Duration = Duration::from_secs(75);
