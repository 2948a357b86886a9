//! Who writes to the files of a folder: nobody tells on this system.

use std::fmt;
use std::io;
use std::path::Path;

/// A process that wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody")
    }
}

/// Hears of nothing.
#[derive(Debug)]
pub struct Writers(());

impl Writers {
    /// Never.
    ///
    /// # Errors
    /// Always.
    pub fn of(_folder: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nobody.
    pub fn last_of(&mut self, _file: &str) -> Option<Writer> {
        None
    }
}
