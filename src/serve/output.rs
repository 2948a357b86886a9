//! What one TCP connection still has to be sent.
//!
//! Bounded in octets and in time: a client that does not read costs [`MAX_OUTPUT`] and no more, for
//! [`WRITE_DEADLINE`] and no longer.

use std::io;

use tokio::time::Instant;

use super::limits::{MAX_OUTPUT, WRITE_DEADLINE};
use crate::wire::frame::{MAX_MESSAGE_LEN, write_frame};

/// Answers with their lengths in front, waiting to be written.
#[derive(Default)]
pub(super) struct Output {
    octets: Vec<u8>,
    /// Written already.
    start: usize,
    /// What stands before this place must be written by the deadline.
    mark: usize,
    deadline: Option<Instant>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// When to give the client up: set as long as something is left after a write.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the longest answer still fits into [`MAX_OUTPUT`].
    pub(super) fn has_room(&self) -> bool {
        self.octets.len() - self.start + 2 + MAX_MESSAGE_LEN <= MAX_OUTPUT
    }

    /// Adds an answer; an empty one is silence.
    pub(super) fn push(&mut self, message: &[u8]) {
        if message.is_empty() {
            return;
        }
        if self.start > 0 {
            self.octets.drain(..self.start);
            self.mark = self.mark.saturating_sub(self.start);
            self.start = 0;
        }
        let framed = write_frame(message, &mut self.octets);
        debug_assert!(framed.is_some(), "no buffer is longer than the longest message");
    }

    /// Writes what the system takes: all that is there in one call if it can (R7766-9).
    /// `write` says `WouldBlock` when there is no room.
    ///
    /// # Errors
    /// Those of `write`, and `WriteZero` when it takes nothing: the client is gone.
    pub(super) fn write_to(
        &mut self,
        now: Instant,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.octets.is_empty() {
            match write(&self.octets[self.start..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                // An idle connection holds no buffer.
                Ok(written) if written >= self.octets.len() - self.start => *self = Self::default(),
                Ok(written) => self.start += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.note_rest(now);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Something is left: all of it has until [`WRITE_DEADLINE`] from now, unless a deadline runs for a part that is
    /// left still.
    fn note_rest(&mut self, now: Instant) {
        if self.deadline.is_none() || self.start >= self.mark {
            self.deadline = Some(now + WRITE_DEADLINE);
            self.mark = self.octets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BLOCKED: io::ErrorKind = io::ErrorKind::WouldBlock;

    /// Writes with a system that takes `script`, one call after the other; gives back what it was offered.
    fn write(
        output: &mut Output,
        now: Instant,
        script: &[Result<usize, io::ErrorKind>],
    ) -> (io::Result<()>, Vec<Vec<u8>>) {
        let mut script = script.iter();
        let mut offered = Vec::new();
        let result = output.write_to(now, |octets| {
            offered.push(octets.to_vec());
            script
                .next()
                .expect("written more often than foreseen")
                .map_err(io::Error::from)
        });
        (result, offered)
    }

    #[test]
    fn r7766_9_answers_and_their_lengths_go_out_in_one_write() {
        let (mut output, now) = (Output::default(), Instant::now());
        output.push(b"one");
        output.push(b"");
        output.push(b"three");
        let (result, offered) = write(&mut output, now, &[Ok(12)]);
        assert!(result.is_ok());
        assert_eq!(offered, [b"\x00\x03one\x00\x05three"]);
        assert!(output.is_empty() && output.deadline().is_none());
        assert_eq!(output.octets.capacity(), 0, "an idle connection holds no buffer");
    }

    #[test]
    fn what_is_left_follows_in_order() {
        let (mut output, now) = (Output::default(), Instant::now());
        output.push(b"one");
        let (_, _) = write(&mut output, now, &[Ok(3), Err(BLOCKED)]);
        output.push(b"two");
        let (_, offered) = write(&mut output, now, &[Ok(1), Err(io::ErrorKind::Interrupted), Ok(6)]);
        assert_eq!(offered, [&b"ne\x00\x03two"[..], b"e\x00\x03two", b"e\x00\x03two"]);
        assert!(output.is_empty());
    }

    #[test]
    fn r7766_8_the_oldest_octets_set_the_deadline() {
        let (mut output, start) = (Output::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        output.push(b"one");
        write(&mut output, at(0), &[Err(BLOCKED)]).0.unwrap();
        assert_eq!(output.deadline(), Some(at(0) + WRITE_DEADLINE));
        // A little progress buys no time, and what comes later has not begun its own.
        output.push(b"two");
        write(&mut output, at(5), &[Ok(4), Err(BLOCKED)]).0.unwrap();
        assert_eq!(output.deadline(), Some(at(0) + WRITE_DEADLINE));
        // All of the first is gone: now the rest has its time.
        write(&mut output, at(9), &[Ok(1), Err(BLOCKED)]).0.unwrap();
        assert_eq!(output.deadline(), Some(at(9) + WRITE_DEADLINE));
        write(&mut output, at(10), &[Ok(5)]).0.unwrap();
        assert_eq!(output.deadline(), None);
    }

    #[test]
    fn r7766_8_never_more_than_the_limit() {
        let mut output = Output::default();
        let mut answers = 0;
        while output.has_room() {
            output.push(&[0; MAX_MESSAGE_LEN]);
            answers += 1;
        }
        assert_eq!(answers, 3);
        assert!(output.octets.len() <= MAX_OUTPUT);
        // What the client has taken makes room.
        let (_, _) = write(&mut output, Instant::now(), &[Ok(100_000), Err(BLOCKED)]);
        assert!(output.has_room());
    }

    #[test]
    fn a_client_that_is_gone_is_an_error() {
        let mut output = Output::default();
        output.push(b"one");
        let (result, _) = write(&mut output, Instant::now(), &[Ok(0)]);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WriteZero);
        let (result, _) = write(&mut output, Instant::now(), &[Err(io::ErrorKind::BrokenPipe)]);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
