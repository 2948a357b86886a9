//! A checked response, ready to be written many times.
//!
//! [`Answer::check`] is the only way in: what it gives back answers the question and holds nothing else. The response is read
//! and written anew once, so that no octet layout of an upstream's making reaches a client; after that it is copied and patched.

use super::edns::{Ede, MAX_OPT_LEN};
use super::header::{AD, HEADER_LEN, Rcode, TC};
use super::query::Query;
use super::question::is_same;
use super::rdata::SoaTimes;
use super::record::RecordType;
use super::{ParseError, read_u16};

/// TTL of every record of a stale answer, in seconds (RFC 8767 section 4: 30 recommended, and more than 0).
pub const STALE_TTL: u32 = 30;

/// A response that answers its question: the chain from QNAME, or the SOA (and proofs) of a negative one. It is one run of octets, in a
/// `Box` or wherever its keeper has laid them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Answer<O = Box<[u8]>> {
    /// Header (ID 0, flags of no client), question, records, no OPT; then where each record's TTL stands, in order, two octets each.
    octets: O,
    outline: Outline,
}

/// What is known of an [`Answer`]'s octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    question_end: u16,
    message_len: u16,
    facts: Facts,
}

/// Not how long the name is.
impl std::fmt::Debug for Outline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outline")
            .field("len", &self.message_len)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// What the cache wants to know of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// NOERROR, NXDOMAIN or YXDOMAIN.
    pub rcode: Rcode,
    /// Whether records of the asked type are there.
    pub is_positive: bool,
    /// The lowest TTL of all records, in seconds, after the limits; `None` without records.
    pub min_ttl: Option<u32>,
    /// The SOA of a negative answer, as it came.
    pub soa: Option<SoaTimes>,
    /// The upstream says it validated the answer.
    pub authentic: bool,
    /// The upstream's first extended DNS error.
    pub ede: Option<Ede>,
    /// Aliases of the user's come before what the upstream said.
    pub is_behind_aliases: bool,
}

/// Bounds on the TTLs that clients see, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlLimits {
    /// Lower TTLs are raised to this.
    pub min: u32,
    /// Higher TTLs are cut to this.
    pub max: u32,
    /// Negative answers live no longer than this.
    pub max_negative: u32,
}

/// Why a response is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It cannot be read, or does not answer the question.
    Malformed(ParseError),
    /// The upstream says it failed: SERVFAIL, REFUSED and the like.
    Failed {
        /// The extended RCODE.
        rcode: Rcode,
        /// The upstream's first extended DNS error.
        ede: Option<Ede>,
    },
}

impl From<ParseError> for Unusable {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

impl Answer {
    /// Of a message that was written here, and where its TTLs stand.
    pub(super) fn new(
        message: Vec<u8>,
        ttl_offsets: &[u16],
        question_end: u16,
        facts: Facts,
    ) -> Result<Self, ParseError> {
        let outline = Outline {
            question_end,
            message_len: u16::try_from(message.len()).map_err(|_| ParseError::TooLong)?,
            facts,
        };
        let mut octets = message;
        octets.extend(ttl_offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        Ok(Self {
            octets: octets.into(),
            outline,
        })
    }
}

impl<'a> Answer<&'a [u8]> {
    /// An answer again, of what [`Answer::to_keep`] gave.
    pub fn of_kept(outline: Outline, octets: &'a [u8]) -> Self {
        debug_assert!(octets.len() >= usize::from(outline.message_len), "what was kept");
        Self { octets, outline }
    }
}

impl<O: AsRef<[u8]>> Answer<O> {
    /// What the cache wants to know.
    pub fn facts(&self) -> Facts {
        self.outline.facts
    }

    /// The same answer, its octets where they are.
    pub fn view(&self) -> Answer<&[u8]> {
        Answer {
            octets: self.octets.as_ref(),
            outline: self.outline,
        }
    }

    /// What to keep, so that [`Answer::of_kept`] is this answer again.
    pub fn to_keep(&self) -> (Outline, &[u8]) {
        (self.outline, self.octets.as_ref())
    }

    /// Octets that hold the whole answer with any OPT of ours, at most 65,535.
    pub fn max_len(&self) -> usize {
        self.message().len() + MAX_OPT_LEN
    }

    /// Whether it answers this very question, canonical as a key's.
    pub fn is_of(&self, question: &[u8]) -> bool {
        self.message().get(HEADER_LEN..self.question_end()) == Some(question)
    }

    /// Writes the response to `query`, aged by `age` seconds; returns its length.
    ///
    /// The client's ID, question octets (so its letter case), RD and CD are repeated; AD is shown only to who set AD or DO
    /// (RFC 6840 section 5.8). What does not fit `out` is cut: whole records that fit, then TC=1 (RFC 2181 section 9),
    /// because an old musl never asks again over TCP. 0 if not even header, question and OPT fit, or if `query` does not ask
    /// this answer's question.
    pub fn write(&self, query: &Query<'_>, age: u32, out: &mut [u8]) -> usize {
        let shown = Shown {
            ede: [self.outline.facts.ede, None],
            authentic: self.outline.facts.authentic,
        };
        // TTLs count down, never up and never below 0.
        self.write_as(query, shown, |ttl| ttl.saturating_sub(age), out)
    }

    /// Like [`Answer::write`] for an answer past its end: every TTL is [`STALE_TTL`], the reason is EDE 3, or 19 for NXDOMAIN
    /// (RFC 8767 section 4, RFC 8914). AD is not shown: nobody has validated it for the present, and signatures end too
    /// (RFC 4035 section 5.3.3).
    pub fn write_stale(&self, query: &Query<'_>, out: &mut [u8]) -> usize {
        let reason = match self.outline.facts.rcode {
            Rcode::NXDOMAIN => Ede::STALE_NXDOMAIN_ANSWER,
            _ => Ede::STALE_ANSWER,
        };
        let shown = Shown {
            ede: [Some(reason), self.outline.facts.ede.filter(|first| *first != reason)],
            authentic: false,
        };
        self.write_as(query, shown, |_| STALE_TTL, out)
    }

    fn write_as(&self, query: &Query<'_>, shown: Shown, ttl: impl Fn(u32) -> u32, out: &mut [u8]) -> usize {
        let echo = query.echo();
        let (message, question_end) = (self.message(), self.question_end());
        if !is_same(&message[HEADER_LEN..question_end], echo.question) {
            return 0;
        }
        let opt = echo.opt(self.outline.facts.rcode, shown.ede);
        let opt_len = opt.map_or(0, |opt| opt.encoded_len());
        let Some(room) = out.len().checked_sub(opt_len) else {
            return 0;
        };
        let [answers, authority] = self.counts();
        let whole = message.len() <= room;
        let (end, counts) = if whole {
            (message.len(), [answers, authority])
        } else {
            self.cut(answers, room)
        };
        if end > room || end < question_end {
            return 0;
        }
        let mut header = echo.header(self.outline.facts.rcode, counts);
        header.high |= if whole { 0 } else { TC };
        header.low |= if shown.authentic && query.understands_ad() {
            AD
        } else {
            0
        };
        out[..HEADER_LEN].copy_from_slice(&header.octets());
        out[HEADER_LEN..question_end].copy_from_slice(echo.question);
        out[question_end..end].copy_from_slice(&message[question_end..end]);
        self.set_ttls(ttl, &mut out[..end]);
        end + opt.map_or(0, |opt| opt.write(&mut out[end..]))
    }

    /// The records in wire form with their TTLs, for filters and tests: the message as kept, without OPT.
    pub fn message(&self) -> &[u8] {
        &self.octets.as_ref()[..usize::from(self.outline.message_len)]
    }

    /// Types and RDATA of the records, in their order.
    pub(super) fn records(&self) -> impl Iterator<Item = (RecordType, &[u8])> {
        self.records_at().filter_map(|(rtype, at)| {
            // RDLENGTH stands before RDATA; all was checked.
            let len = usize::from(read_u16(self.message(), at - 2).ok()?);
            Some((rtype, self.message().get(at..at + len)?))
        })
    }

    /// Types of the records, and where their RDATA begin, in their order.
    pub(super) fn records_at(&self) -> impl Iterator<Item = (RecordType, usize)> {
        self.ttl_offsets().filter_map(|ttl_at| {
            // TYPE and CLASS stand before the TTL, RDLENGTH behind it.
            let rtype = read_u16(self.message(), ttl_at.checked_sub(4)?).ok()?;
            Some((RecordType(rtype), ttl_at + 6))
        })
    }

    /// The same question without its records, withheld by a rule: NODATA with EDE 15, for `ttl` seconds at most.
    pub fn withheld(&self, ttl: u32) -> Answer {
        let mut octets: Box<[u8]> = self.message()[..self.question_end()].into();
        // NOERROR, one question and nothing else.
        octets[3] &= 0xf0;
        octets[6..HEADER_LEN].fill(0);
        let ttl = self.outline.facts.min_ttl.unwrap_or(ttl).min(ttl);
        let facts = Facts {
            rcode: Rcode::NOERROR,
            is_positive: false,
            min_ttl: Some(ttl),
            soa: Some(SoaTimes { ttl, minimum: ttl }),
            authentic: false,
            ede: Some(Ede::BLOCKED),
            is_behind_aliases: false,
        };
        let outline = Outline {
            message_len: self.outline.question_end,
            facts,
            ..self.outline
        };
        Answer { octets, outline }
    }

    /// Where the question ends.
    pub(super) fn question_end(&self) -> usize {
        usize::from(self.outline.question_end)
    }

    /// Where each record's TTL stands, in order.
    pub(super) fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let octets = &self.octets.as_ref()[usize::from(self.outline.message_len)..];
        let offsets = octets.as_chunks::<2>().0.iter();
        offsets.map(|offset| usize::from(u16::from_be_bytes(*offset)))
    }

    pub(super) fn counts(&self) -> [u16; 2] {
        let message = self.message();
        [
            u16::from_be_bytes([message[6], message[7]]),
            u16::from_be_bytes([message[8], message[9]]),
        ]
    }

    /// The end of the last answer record that fits `room`, and the section counts up to there.
    fn cut(&self, answers: u16, room: usize) -> (usize, [u16; 2]) {
        let message = self.message();
        let mut cut = (self.question_end(), [0, 0]);
        for (count, ttl_at) in (1..=answers).zip(self.ttl_offsets()) {
            let rdata_len = usize::from(u16::from_be_bytes([message[ttl_at + 4], message[ttl_at + 5]]));
            let end = ttl_at + 6 + rdata_len;
            if end > room {
                break;
            }
            cut = (end, [count, 0]);
        }
        cut
    }

    fn set_ttls(&self, ttl: impl Fn(u32) -> u32, out: &mut [u8]) {
        for ttl_at in self.ttl_offsets() {
            let Some(field) = out.get_mut(ttl_at..).and_then(<[u8]>::first_chunk_mut::<4>) else {
                break;
            };
            *field = ttl(u32::from_be_bytes(*field)).to_be_bytes();
        }
    }
}

/// What a response says of its answer.
#[derive(Clone, Copy)]
struct Shown {
    ede: [Option<Ede>; 2],
    authentic: bool,
}

/// An answer holds names, and debug output ends up in logs: only sizes and facts are shown.
impl<O> std::fmt::Debug for Answer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("outline", &self.outline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
