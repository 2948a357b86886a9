//! What a step changes on Linux, and what is to be known to undo it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::object::{Object, Octets};
use super::roads::{self, Note, Roads};
use super::services::{Link, Service};

/// What a step changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A file of ours in the place of what stood there.
    File(FileChange),
    /// Links of systemd-resolved that lose their servers.
    Links {
        /// As they were.
        before: Vec<Link>,
    },
    /// Our entry in openresolv's table, which hides all others.
    Openresolv {
        /// What it is handed.
        octets: Octets,
        /// `/etc/resolv.conf`, should openresolv not write it anew.
        before: Object,
    },
}

impl Change {
    /// The servers that stood there, as networks or users had put them, the newest first.
    pub(super) fn servers_before(&self) -> Vec<IpAddr> {
        let parsed = |object: &Object| {
            let servers = object.servers().into_iter();
            servers.filter_map(|server| server.parse().ok()).collect::<Vec<_>>()
        };
        match self {
            Self::File(change) => {
                let objects: Vec<_> = change.of_others().collect();
                objects.into_iter().rev().flat_map(parsed).collect()
            }
            Self::Links { before } => before.iter().flat_map(Link::addresses).collect(),
            Self::Openresolv { before, .. } => parsed(before),
        }
    }
}

/// A file of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileChange {
    /// From the root of the file tree.
    pub path: PathBuf,
    /// What stood there first. Never ours.
    pub before: Object,
    /// What others put there since, and we replaced again: the newest last.
    #[serde(default, deserialize_with = "roads::read", skip_serializing_if = "Vec::is_empty")]
    pub latest: Vec<Note>,
    /// What we write.
    pub ours: Octets,
    /// Its permission bits.
    pub mode: u32,
    /// Folders that are made for it, from above.
    pub folders: Vec<PathBuf>,
    /// Who has to read it, before it counts and after it is gone.
    pub reader: Option<Service>,
}

impl FileChange {
    /// What is to stand there again.
    pub fn to_put_back(&self, roads: &impl Roads) -> &Object {
        roads::choose(&self.before, &self.latest, roads)
    }

    /// Everything of others that may be put back.
    pub(super) fn of_others(&self) -> impl Iterator<Item = &Object> {
        std::iter::once(&self.before).chain(self.latest.iter().map(|note| &note.object))
    }
}
