//! Data on stdout.

use std::io::{self, IsTerminal, Write};

use super::{Exit, Failure};

/// Where a command's data goes: stdout, or a buffer in tests.
pub(super) struct Output<'a> {
    out: Box<dyn Write + 'a>,
    is_terminal: bool,
    is_closed: bool,
}

impl<'a> Output<'a> {
    /// The program's stdout.
    pub(super) fn stdout() -> Self {
        let out = io::stdout().lock();
        Self {
            is_terminal: out.is_terminal(),
            is_closed: false,
            out: Box::new(out),
        }
    }

    #[cfg(test)]
    pub(super) fn buffer(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            out: Box::new(buffer),
            is_terminal: false,
            is_closed: false,
        }
    }

    /// Whether a person looks at it.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes text or octets and flushes. A reader that has gone away (`| head`) has seen enough: that is no failure.
    pub(super) fn write(&mut self, data: impl AsRef<[u8]>) -> Result<(), Failure> {
        match self.out.write_all(data.as_ref()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Io, format!("cannot write to stdout: {error}"))),
        }
    }

    /// Writes JSON, indented, with a line end.
    pub(super) fn write_json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.write(format!("{value:#}\n"))
    }
}
