//! A client's query, checked where it came in and read in place.

use super::edns::{Ede, Edns, UDP_PAYLOAD_SIZE};
use super::header::{AD, CD, HEADER_LEN, Header, RD, Rcode};
use super::question::{QuestionKey, read_question};
use super::record::{Record, RecordType};
use super::synth::{self, Echo};
use super::{ParseError, read_u16};

/// A well-formed query, still in the receive buffer: opcode QUERY, one question with an uncompressed name, at most one OPT of
/// version 0, nothing behind it.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    message: &'a [u8],
    question_len: u16,
    edns: Option<Edns>,
    keepalive: Option<u16>,
}

/// Holds a name, and debug output ends up in logs.
impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query")
            .field("len", &self.message.len())
            .field("edns", &self.edns)
            .finish_non_exhaustive()
    }
}

impl<'a> Query<'a> {
    /// Checks a message from a client.
    ///
    /// # Errors
    /// [`Reject`] says whether to stay silent or which error to send.
    pub fn parse(message: &'a [u8]) -> Result<Self, Reject> {
        let header = Header::read(message).map_err(|_| Reject::Silent)?;
        if header.is_response() {
            return Err(Reject::Silent);
        }
        let (question_len, edns) = match read_sections(message, &header) {
            Ok((question_len, edns)) => (question_len, edns),
            Err(_) if !header.is_query_opcode() => return Err(Reject::unread(message, Rcode::NOTIMP)),
            Err(_) => return Err(Reject::unread(message, Rcode::FORMERR)),
        };
        let refuse = |rcode, ede| {
            Err(Reject::Error {
                rcode,
                ede,
                question_len,
                edns,
            })
        };
        if !header.is_query_opcode() {
            return refuse(Rcode::NOTIMP, Some(Ede::NOT_SUPPORTED));
        }
        if edns.is_some_and(|edns| edns.version > 0) {
            return refuse(Rcode::BADVERS, None);
        }
        Ok(Self {
            message,
            question_len,
            edns,
            keepalive: None,
        })
    }

    /// The message ID.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.message[0], self.message[1]])
    }

    /// RD: the client wants us to ask for what we do not have.
    pub fn recursion_desired(&self) -> bool {
        self.message[2] & RD != 0
    }

    /// The question as the client wrote it: QNAME in its own letter case, QTYPE, QCLASS.
    pub fn question(&self) -> &'a [u8] {
        &self.message[HEADER_LEN..HEADER_LEN + usize::from(self.question_len)]
    }

    /// The OPT record, if there is one.
    pub fn edns(&self) -> Option<Edns> {
        self.edns
    }

    /// Whether the client understands the AD bit: it set AD or DO (RFC 6840 section 5.8).
    pub fn understands_ad(&self) -> bool {
        self.message[3] & AD != 0 || self.dnssec_ok()
    }

    /// The largest UDP answer: the client's EDNS size between 512 and 1232 octets, 512 without EDNS.
    pub fn udp_payload_limit(&self) -> usize {
        udp_payload_limit(self.edns)
    }

    /// Lets the answer carry a keepalive option (RFC 7828) if the client asked for one: TCP only.
    /// `timeout` in units of 100 milliseconds.
    pub fn offer_keepalive(&mut self, timeout: u16) {
        self.keepalive = self.edns.filter(|edns| edns.asks_keepalive).map(|_| timeout);
    }

    /// The question key.
    pub fn key(&self) -> QuestionKey {
        QuestionKey::new(self.question(), self.dnssec_ok(), self.message[3] & CD != 0)
            .expect("parse() took only questions that fit a key")
    }

    /// What a response repeats of this query.
    pub(super) fn echo(&self) -> Echo<'a> {
        Echo {
            id: self.id(),
            high: self.message[2],
            low: self.message[3],
            question: self.question(),
            edns: self.edns,
            keepalive: self.keepalive,
        }
    }

    fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }
}

fn udp_payload_limit(edns: Option<Edns>) -> usize {
    usize::from(edns.map_or(512, |edns| edns.udp_payload_size.clamp(512, UDP_PAYLOAD_SIZE)))
}

/// Walks the whole message: the question's length and the OPT.
fn read_sections(message: &[u8], header: &Header) -> Result<(u16, Option<Edns>), ParseError> {
    let question = read_question(message)?;
    let question_len = u16::try_from(question.len()).map_err(|_| ParseError::NameTooLong)?;
    let [_, answers, authority, additional] = header.counts.map(usize::from);
    // Only IXFR has something to say before the additional section (RFC 1995 section 3).
    let is_ixfr = read_u16(question, question.len() - 4)? == RecordType::IXFR.0;
    if header.is_query_opcode() && (answers > 0 || authority > 0 && !is_ixfr) {
        return Err(ParseError::QuestionCount);
    }
    let mut at = HEADER_LEN + question.len();
    let mut edns = None;
    for index in 0..answers + authority + additional {
        let record = Record::read(message, at)?;
        at = record.rdata.end;
        if record.rtype == RecordType::OPT {
            if index < answers + authority || edns.is_some() {
                return Err(ParseError::MisplacedOpt);
            }
            edns = Some(Edns::read(message, &record)?);
        }
    }
    if at != message.len() {
        return Err(ParseError::TrailingOctets);
    }
    Ok((question_len, edns))
}

/// A message that is not a query we serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Say nothing: too short to answer, or itself a response (answering could loop).
    Silent,
    /// Send this error.
    Error {
        /// The response code.
        rcode: Rcode,
        /// The reason, sent only if the client spoke EDNS.
        ede: Option<Ede>,
        /// Octets of question that could be read and are echoed.
        question_len: u16,
        /// The client's OPT, if it was readable.
        edns: Option<Edns>,
    },
}

impl Reject {
    /// Writes the error response to `message`; 0 octets mean silence. `out` of 512 octets always suffices.
    pub fn write(&self, message: &[u8], out: &mut [u8]) -> usize {
        let Self::Error {
            rcode,
            ede,
            question_len,
            edns,
        } = *self
        else {
            return 0;
        };
        let Ok(header) = Header::read(message) else { return 0 };
        let question = message
            .get(HEADER_LEN..HEADER_LEN + usize::from(question_len))
            .unwrap_or(&[]);
        let echo = Echo {
            id: header.id,
            high: header.high,
            low: header.low,
            question,
            edns,
            keepalive: None,
        };
        synth::write_empty(&echo, rcode, ede, out)
    }

    /// The code that [`Reject::write`] sends; `None` for silence.
    pub fn rcode(&self) -> Option<Rcode> {
        match self {
            Self::Silent => None,
            Self::Error { rcode, .. } => Some(*rcode),
        }
    }

    /// An error for a message that could not be read to its end; the question is echoed if that much was readable, and no
    /// OPT is sent, because none can be trusted.
    fn unread(message: &[u8], rcode: Rcode) -> Self {
        let question = read_question(message).ok();
        let question_len = question
            .and_then(|question| u16::try_from(question.len()).ok())
            .unwrap_or(0);
        Self::Error {
            rcode,
            ede: None,
            question_len,
            edns: None,
        }
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
