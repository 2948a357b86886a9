//! What a step changes on Linux, and what is to be known to undo it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::object::{Object, Octets};
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
    /// The servers that stood there, as networks or users had put them.
    pub(super) fn servers_before(&self) -> Vec<IpAddr> {
        let parsed = |object: &Object| {
            let servers = object.servers().into_iter();
            servers.filter_map(|server| server.parse().ok()).collect::<Vec<_>>()
        };
        match self {
            Self::File(change) => std::iter::once(&change.before)
                .chain(&change.latest)
                .flat_map(parsed)
                .collect(),
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
    /// What somebody put there since, and we replaced again. Never ours.
    pub latest: Option<Object>,
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
    /// What is to stand there again. A link is somebody's decision and stays it; a file that was written over is out of date.
    pub fn to_put_back(&self) -> &Object {
        match (&self.before, &self.latest) {
            (Object::File { .. }, Some(latest)) => latest,
            (before, _) => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_comes_back_as_it_was_and_a_file_as_it_was_last() {
        let mut change = FileChange {
            path: "/etc/resolv.conf".into(),
            before: Object::Nothing,
            latest: None,
            ours: Octets(b"x".to_vec()),
            mode: 0o644,
            folders: Vec::new(),
            reader: Some(Service::Resolved),
        };
        let object = |octets: &[u8]| Object::ours(octets.to_vec(), 0o644);
        let link = Object::Link {
            target: Octets(b"t".to_vec()),
            owner: 0,
            group: 0,
        };
        for (before, latest, expected) in [
            (object(b"a"), None, object(b"a")),
            (object(b"a"), Some(object(b"b")), object(b"b")),
            (link.clone(), Some(object(b"b")), link),
            (Object::Nothing, Some(object(b"b")), Object::Nothing),
        ] {
            (change.before, change.latest) = (before, latest);
            assert_eq!(*change.to_put_back(), expected);
        }
    }
}
