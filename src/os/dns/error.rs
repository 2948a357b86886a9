//! Why the host's DNS was not set, or not given back.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::system::Refused;

/// Why it was not done.
#[derive(Debug)]
pub enum Error {
    /// It cannot be done here.
    Refused(Refused),
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
        /// See [`Done`](super::Done).
        remarks: Vec<String>,
    },
    /// Something could not be put back. The journal knows it still.
    NotUndone(Vec<String>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Busy => f.write_str("another tacenda is setting or restoring the system's DNS"),
            Self::Journal { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Failed(why) => write!(f, "nothing was changed: {why}"),
            Self::Undone { why, .. } => write!(f, "everything is as it was before: {why}"),
            Self::NotUndone(why) => write!(f, "not everything could be put back: {}", why.join("; ")),
        }
    }
}

impl std::error::Error for Error {}
