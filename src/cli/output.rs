//! Data on stdout.

use std::io::{self, Write};

use super::{Exit, Failure};

/// Where a command's data goes: stdout, or a buffer in tests.
pub(super) struct Output<'a>(Box<dyn Write + 'a>);

impl<'a> Output<'a> {
    /// The program's stdout.
    pub(super) fn stdout() -> Self {
        Self(Box::new(io::stdout().lock()))
    }

    #[cfg(test)]
    pub(super) fn buffer(buffer: &'a mut Vec<u8>) -> Self {
        Self(Box::new(buffer))
    }

    /// Writes text or octets and flushes. A reader that has gone away (`| head`) has seen enough: that is no failure.
    pub(super) fn write(&mut self, data: impl AsRef<[u8]>) -> Result<(), Failure> {
        match self.0.write_all(data.as_ref()).and_then(|()| self.0.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Io, format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes JSON, indented, with a line end.
    pub(super) fn write_json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.write(format!("{value:#}\n"))
    }
}
