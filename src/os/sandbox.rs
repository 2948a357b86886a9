//! What the program gives up once everything is bound and read, so that whoever takes it over gains little: files but its own, programs, other
//! ports, rights.
//!
//! Each layer stands alone, and an old kernel gives what it can: no new privileges, no capabilities, Landlock for files and TCP ports, seccomp
//! for calls. They hold for threads that begin afterwards: it is entered while there is one.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod rights;
#[cfg(all(test, target_os = "linux"))]
mod tests;

/// What stays allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files, and folders with all below, that are read.
    pub read: BTreeSet<PathBuf>,
    /// Folders in which files are written too.
    pub write: BTreeSet<PathBuf>,
    /// TCP ports that are connected to.
    pub connect: BTreeSet<u16>,
    /// Whether connections are silenced whose link is gone (CAP_NET_RAW).
    pub silences: bool,
}

impl Needs {
    /// The first of these needs that is not among those which `given` meets, in words.
    pub fn beyond(&self, given: &Self) -> Option<String> {
        let is_read = |path: &&PathBuf| {
            let mut folders = given.read.iter().chain(&given.write);
            !folders.any(|folder| path.starts_with(folder))
        };
        if let Some(path) = self.read.iter().find(is_read) {
            return Some(format!("reading {}", path.display()));
        }
        if let Some(port) = self.connect.difference(&given.connect).next() {
            return Some(format!("connecting to port {port}"));
        }
        (self.silences && !given.silences).then(|| "a route that is bound to a link".to_owned())
    }
}

/// How much of a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// All of it.
    Whole,
    /// What this kernel knows of it.
    Part,
    /// Nothing.
    Missing,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Part => "in part",
            Self::Missing => "missing",
        })
    }
}

/// What holds from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Landlock: files and, since Linux 6.7, TCP ports.
    pub files: Layer,
    /// seccomp: no programs, no mounts, no looking into other processes, no kernel modules.
    pub calls: Layer,
    /// No capabilities but what is needed, and none to be gained.
    pub rights: Layer,
}

impl Held {
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        [self.files, self.calls, self.rights] == [Layer::Whole; 3]
    }
}

/// Gives up everything but `needs`, for this thread and all that it starts, for good. Paths that are not there are left out.
#[cfg(target_os = "linux")]
pub fn enter(needs: &Needs) -> Held {
    // In this order: what comes later needs what the one before it gave, or takes its means away.
    Held {
        rights: rights::give_up(needs.silences),
        files: files::confine(needs),
        calls: calls::forbid(),
    }
}

/// Nobody makes filters for 32 bits.
#[cfg(all(target_os = "linux", not(target_pointer_width = "64")))]
mod calls {
    pub(super) fn forbid() -> super::Layer {
        super::Layer::Missing
    }
}

/// Nothing is given up on this system yet.
#[cfg(not(target_os = "linux"))]
pub fn enter(_needs: &Needs) -> Held {
    Held {
        rights: Layer::Missing,
        files: Layer::Missing,
        calls: Layer::Missing,
    }
}

/// Where a path that is read again and again leads: the folder that it stands in, because a file is changed by putting another one in its
/// place, and the folders to which links lead from there. A file in the root folder stands alone.
pub fn read_again(path: &Path) -> BTreeSet<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut found = BTreeSet::new();
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    found.extend([folder_of(&path), folder_of(&real)]);
    // A folder of lists may be a folder of links.
    let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    for link in links.take(MAX_LINKS) {
        found.extend(link.path().canonicalize().ok().map(|real| folder_of(&real)));
    }
    found
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        _ if path.is_dir() => path.to_owned(),
        Some(parent) if parent != Path::new("/") => parent.to_owned(),
        _ => path.to_owned(),
    }
}

/// Of one folder: nobody has more lists, and each costs a rule.
const MAX_LINKS: usize = 256;
