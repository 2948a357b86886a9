//! The questions in flight on one DoT connection: which ID belongs to whom, what a response must match, and when to
//! close. Sans-IO: octets and time are handed in, random IDs come from outside.
//!
//! A response must carry an ID in use and that query's question (RFC 7766 section 7), else it is dropped, counted,
//! and the wait goes on. An ID whose asker went away stays taken until its answer comes or the connection ends, so
//! that a late response can never meet a new question.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::wire::edns::keepalive_timeout;
use crate::wire::question::same_question;

/// The table of one connection. `W` is whatever waits for an answer.
#[derive(Debug)]
pub(super) struct Pipeline<W> {
    slots: HashMap<u16, Slot<W>>,
    waiting: usize,
    serial: u64,
    violations: u32,
    idle_limit: Duration,
    idle_since: Instant,
    draining: bool,
    outgoing: Vec<u8>,
}

#[derive(Debug)]
enum Slot<W> {
    Waiting { serial: u64, query: Box<[u8]>, waiter: W },
    Abandoned,
}

/// One started question. The serial tells it from a later one that drew the same ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    id: u16,
    serial: u64,
}

/// Why a question could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartError {
    /// The connection takes no more: ask on another one.
    Closing,
    /// [`MAX_IN_FLIGHT`] are waiting: ask when one is done.
    Full,
    /// The OS gave no random number, or the query is no message.
    Impossible,
}

/// What a message from the server was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<W> {
    /// The answer for this waiter; the message has ID 0 now.
    Answer(W),
    /// The answer to a question nobody waits for any more.
    Late,
    /// It answers no question of ours.
    Violation,
    /// One violation too many: close the connection.
    TooManyViolations,
}

impl<W> Pipeline<W> {
    /// An empty table on a connection opened at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            slots: HashMap::new(),
            waiting: 0,
            serial: 0,
            violations: 0,
            idle_limit: IDLE_LIMIT,
            idle_since: now,
            draining: false,
            outgoing: Vec::new(),
        }
    }

    /// Whether new questions may be started.
    pub(super) fn is_open(&self) -> bool {
        !self.draining && self.slots.len() - self.waiting < MAX_ABANDONED
    }

    /// Whether there is something to send, and several wait at once.
    pub(super) fn is_shared(&self) -> bool {
        self.waiting > 1 && !self.outgoing.is_empty()
    }

    /// Puts a question on the way under a fresh random ID, which `draw` provides; the ticket is for
    /// [`Pipeline::abandon`].
    ///
    /// # Errors
    /// See [`StartError`]; nothing was queued then.
    pub(super) fn start(
        &mut self,
        query: &[u8],
        waiter: W,
        draw: impl FnMut() -> Option<u16>,
    ) -> Result<Ticket, StartError> {
        if !self.is_open() {
            return Err(StartError::Closing);
        }
        if self.waiting >= MAX_IN_FLIGHT {
            return Err(StartError::Full);
        }
        let id = self.free_id(draw).ok_or(StartError::Impossible)?;
        let len = u16::try_from(query.len()).map_err(|_| StartError::Impossible)?;
        let rest = query.get(2..).ok_or(StartError::Impossible)?;
        self.outgoing.extend_from_slice(&len.to_be_bytes());
        self.outgoing.extend_from_slice(&id.to_be_bytes());
        self.outgoing.extend_from_slice(rest);
        self.serial += 1;
        let serial = self.serial;
        self.slots.insert(
            id,
            Slot::Waiting {
                serial,
                query: query.into(),
                waiter,
            },
        );
        self.waiting += 1;
        Ok(Ticket { id, serial })
    }

    /// The asker went away. Its place is free at once, its ID is not. Does nothing if it was answered.
    pub(super) fn abandon(&mut self, ticket: Ticket, now: Instant) {
        let Some(slot) = self.slots.get_mut(&ticket.id) else {
            return;
        };
        if matches!(slot, Slot::Waiting { serial, .. } if *serial == ticket.serial) {
            *slot = Slot::Abandoned;
            self.one_less(now);
        }
    }

    /// Swaps `out`, which must be empty, with all frames queued since the last call.
    pub(super) fn take_outgoing(&mut self, out: &mut Vec<u8>) {
        std::mem::swap(&mut self.outgoing, out);
    }

    /// Sorts a message from the server and sets its ID to 0 if it is an answer.
    pub(super) fn receive(&mut self, message: &mut [u8], now: Instant) -> Received<W> {
        let Some(id) = response_id(message) else {
            return self.violation();
        };
        match self.slots.remove(&id) {
            None => self.violation(),
            Some(Slot::Abandoned) => Received::Late,
            Some(Slot::Waiting { query, waiter, .. }) if same_question(&query, message) => {
                message[..2].fill(0);
                self.note_keepalive(message);
                self.one_less(now);
                Received::Answer(waiter)
            }
            Some(waiting) => {
                self.slots.insert(id, waiting);
                self.violation()
            }
        }
    }

    /// When to close for want of questions, `None` while somebody waits.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        let limit = if self.draining { Duration::ZERO } else { self.idle_limit };
        (self.waiting == 0 && self.outgoing.is_empty()).then(|| self.idle_since + limit)
    }

    /// Lets no new question start; those in flight may still be answered.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// The connection is over: forgets all waiters, which tells them.
    pub(super) fn close(&mut self) {
        self.draining = true;
        self.slots.clear();
        self.outgoing.clear();
        self.waiting = 0;
    }

    /// A zero keepalive time asks us to close as soon as we have our answers (RFC 7828 section 3); another one
    /// shortens our patience but never lengthens it.
    fn note_keepalive(&mut self, response: &[u8]) {
        let Some(timeout) = keepalive_timeout(response) else {
            return;
        };
        self.idle_limit = timeout.min(IDLE_LIMIT);
        self.draining |= timeout.is_zero();
    }

    fn one_less(&mut self, now: Instant) {
        self.waiting -= 1;
        self.idle_since = now;
    }

    fn violation(&mut self) -> Received<W> {
        self.violations += 1;
        if self.violations < MAX_VIOLATIONS {
            Received::Violation
        } else {
            Received::TooManyViolations
        }
    }

    fn free_id(&self, mut draw: impl FnMut() -> Option<u16>) -> Option<u16> {
        for _ in 0..MAX_DRAWS {
            let id = draw()?;
            if !self.slots.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }
}

/// The ID of a message that is a response (QR=1) with a whole header.
fn response_id(message: &[u8]) -> Option<u16> {
    let header = message.first_chunk::<12>()?;
    (header[2] & 0x80 != 0).then(|| u16::from_be_bytes([header[0], header[1]]))
}

/// Questions waiting at once on a connection. Unbound and dnsdist take 100 to 200 before they push back; at 20 ms a
/// round trip this is 10,000 queries a second.
pub(super) const MAX_IN_FLIGHT: usize = 200;

/// IDs kept for answers that may still come. With those in flight 1,200 of 65,536: a fresh draw is free 98 times in
/// 100.
const MAX_ABANDONED: usize = 1_000;

/// Draws of a free ID: at 98 in 100 each, sixteen in a row do not all miss (1 in 10^27).
const MAX_DRAWS: usize = 16;

/// Messages that answer nothing before the connection is closed: room for a confused server's duplicates, none for
/// guessing.
pub(super) const MAX_VIOLATIONS: u32 = 8;

/// How long a connection without questions is kept if the server names no shorter time: nobody has browsed for that long. While
/// people browse, the next name should not cost a handshake (RFC 7858 section 3.4). A server that has less patience closes, or
/// says so.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
