//! Exit codes, and the failures that lead to them.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::logging::Color;
use crate::config::ConfigError;

/// How a command ends: 0 to 2 as everywhere, the rest as in sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage of the command line.
    Usage = 2,
    /// No upstream, or no tacenda, gave an answer (EX_UNAVAILABLE).
    Unavailable = 69,
    /// Reading or writing failed (EX_IOERR).
    Io = 74,
    /// No permission (EX_NOPERM).
    Permission = 77,
    /// The configuration is wrong (EX_CONFIG).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// With which code the program ends.
    pub exit: Exit,
    /// What went wrong and where: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            help: None,
        }
    }

    /// The same with advice.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// What failed, without what to do about it.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the failure on stderr and gives back its exit code.
    pub(super) fn report(&self, color: Color) -> Exit {
        let (red, reset) = if color.on_stderr() {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        // A terminal that has hung up hears nothing; what was done is done all the same.
        let _ = writeln!(io::stderr(), "{red}error{reset}: {self}");
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  = {help}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match &error {
            ConfigError::Unreadable {
                kind: io::ErrorKind::PermissionDenied,
                ..
            } => Exit::Permission,
            // Flags that cannot be read are wrong usage, whatever stands in the files.
            ConfigError::Invalid(problems) if problems.iter().all(|problem| problem.place.is_flag()) => Exit::Usage,
            // A file that the command line names and that is not there is a wrong configuration, not a broken disk.
            ConfigError::Unreadable {
                kind: io::ErrorKind::NotFound | io::ErrorKind::InvalidData,
                ..
            }
            | ConfigError::Invalid(_) => Exit::Config,
            ConfigError::Unreadable { .. } => Exit::Io,
        };
        match &error {
            ConfigError::Invalid(problems) if problems.len() > 1 => Self::new(
                exit,
                format!("{} mistakes in the configuration\n\n{error}", problems.len()),
            ),
            _ => Self::new(exit, error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::PermissionDenied {
            Exit::Permission
        } else {
            Exit::Io
        };
        Self::new(exit, error.to_string())
    }
}
