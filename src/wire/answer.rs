//! A checked response, ready to be written many times.
//!
//! [`Answer::check`] is the only way in: what it gives back answers the question and holds nothing else. The response is read
//! and written anew once, so that no octet layout of an upstream's making reaches a client; after that it is copied and patched.

use super::chain;
use super::compress::{Compression, Writer};
use super::edns::{Ede, Edns, MAX_OPT_LEN};
use super::header::{AD, HEADER_LEN, Header, Rcode, TC};
use super::name::{MAX_POINTERS, Name};
use super::query::Query;
use super::question::{QuestionKey, is_same, read_question};
use super::rdata::{self, SoaTimes};
use super::record::{CLASS_IN, Record, RecordType};
use super::synth::Alias;
use super::{ParseError, read_u16};

/// TTL of every record of a stale answer, in seconds (RFC 8767 section 4: 30 recommended, and more than 0).
pub const STALE_TTL: u32 = 30;

/// A response that answers its question: the chain from QNAME, or the SOA (and proofs) of a negative one.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Header (ID 0, flags of no client), question, records; no OPT.
    octets: Box<[u8]>,
    /// Where each record's TTL stands, in order.
    ttl_offsets: Box<[u16]>,
    question_len: u16,
    facts: Facts,
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
    /// Checks a response to `key`, keeps what answers it, applies the TTL limits.
    ///
    /// Kept are the CNAME/DNAME chain from QNAME with the records asked for; of a negative response the SOA of an ancestor;
    /// signatures and denials only with DO. The additional section and everything else is left behind.
    ///
    /// # Errors
    /// [`Unusable`], with the reason.
    pub fn check(response: &[u8], key: &QuestionKey, ttls: &TtlLimits) -> Result<Self, Unusable> {
        let sections = Sections::read(response, key)?;
        let rcode = sections.rcode();
        if !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN) {
            return Err(Unusable::Failed {
                rcode,
                ede: sections.ede(),
            });
        }
        let mut pointers = MAX_POINTERS;
        let chosen = chain::choose(response, key, &sections, &mut pointers)?;
        if chosen.is_positive && rcode == Rcode::NXDOMAIN {
            return Err(ParseError::Contradiction.into());
        }
        let facts = Facts {
            rcode,
            is_positive: chosen.is_positive,
            min_ttl: None,
            soa: chosen.soa,
            authentic: sections.header.low & AD != 0,
            ede: sections.ede(),
            is_behind_aliases: false,
        };
        Ok(Self::compose(response, key, &chosen, facts, ttls, &mut pointers)?)
    }

    /// What the cache wants to know.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Octets on the heap.
    pub fn heap_len(&self) -> usize {
        self.octets.len() + size_of_val(&*self.ttl_offsets)
    }

    /// Octets that hold the whole answer with any OPT of ours, at most 65,535.
    pub fn max_len(&self) -> usize {
        self.octets.len() + MAX_OPT_LEN
    }

    /// Writes the response to `query`, aged by `age` seconds; returns its length.
    ///
    /// The client's ID, question octets (so its letter case), RD and CD are repeated; AD is shown only to who set AD or DO
    /// (RFC 6840 section 5.8). What does not fit `out` is cut: whole records that fit, then TC=1 (RFC 2181 section 9),
    /// because an old musl never asks again over TCP. 0 if not even header, question and OPT fit, or if `query` does not ask
    /// this answer's question.
    pub fn write(&self, query: &Query<'_>, age: u32, out: &mut [u8]) -> usize {
        let shown = Shown {
            ede: [self.facts.ede, None],
            authentic: self.facts.authentic,
        };
        // TTLs count down, never up and never below 0.
        self.write_as(query, shown, |ttl| ttl.saturating_sub(age), out)
    }

    /// Like [`Answer::write`] for an answer past its end: every TTL is [`STALE_TTL`], the reason is EDE 3, or 19 for NXDOMAIN
    /// (RFC 8767 section 4, RFC 8914). AD is not shown: nobody has validated it for the present, and signatures end too
    /// (RFC 4035 section 5.3.3).
    pub fn write_stale(&self, query: &Query<'_>, out: &mut [u8]) -> usize {
        let reason = match self.facts.rcode {
            Rcode::NXDOMAIN => Ede::STALE_NXDOMAIN_ANSWER,
            _ => Ede::STALE_ANSWER,
        };
        let shown = Shown {
            ede: [Some(reason), self.facts.ede.filter(|first| *first != reason)],
            authentic: false,
        };
        self.write_as(query, shown, |_| STALE_TTL, out)
    }

    fn write_as(&self, query: &Query<'_>, shown: Shown, ttl: impl Fn(u32) -> u32, out: &mut [u8]) -> usize {
        let echo = query.echo();
        let question_end = HEADER_LEN + usize::from(self.question_len);
        if !is_same(&self.octets[HEADER_LEN..question_end], echo.question) {
            return 0;
        }
        let opt = echo.opt(self.facts.rcode, shown.ede);
        let opt_len = opt.map_or(0, |opt| opt.encoded_len());
        let Some(room) = out.len().checked_sub(opt_len) else {
            return 0;
        };
        let [answers, authority] = self.counts();
        let whole = self.octets.len() <= room;
        let (end, counts) = if whole {
            (self.octets.len(), [answers, authority])
        } else {
            self.cut(answers, room)
        };
        if end > room || end < question_end {
            return 0;
        }
        let mut header = echo.header(self.facts.rcode, counts);
        header.high |= if whole { 0 } else { TC };
        header.low |= if shown.authentic && query.understands_ad() {
            AD
        } else {
            0
        };
        out[..HEADER_LEN].copy_from_slice(&header.octets());
        out[HEADER_LEN..question_end].copy_from_slice(echo.question);
        out[question_end..end].copy_from_slice(&self.octets[question_end..end]);
        self.set_ttls(ttl, &mut out[..end]);
        end + opt.map_or(0, |opt| opt.write(&mut out[end..]))
    }

    /// The records in wire form with their TTLs, for filters and tests: the message as kept, without OPT.
    pub fn message(&self) -> &[u8] {
        &self.octets
    }

    /// Types and RDATA of the records, in their order.
    pub(super) fn records(&self) -> impl Iterator<Item = (RecordType, &[u8])> {
        self.records_at().filter_map(|(rtype, at)| {
            // RDLENGTH stands before RDATA; all was checked.
            let len = usize::from(read_u16(&self.octets, at - 2).ok()?);
            Some((rtype, self.octets.get(at..at + len)?))
        })
    }

    /// Types of the records, and where their RDATA begin, in their order.
    pub(super) fn records_at(&self) -> impl Iterator<Item = (RecordType, usize)> {
        self.ttl_offsets.iter().filter_map(|ttl_at| {
            // TYPE and CLASS stand before the TTL, RDLENGTH behind it.
            let ttl_at = usize::from(*ttl_at);
            let rtype = read_u16(&self.octets, ttl_at.checked_sub(4)?).ok()?;
            Some((RecordType(rtype), ttl_at + 6))
        })
    }

    /// The same question without its records, withheld by a rule: NODATA with EDE 15, for `ttl` seconds at most.
    pub fn withheld(&self, ttl: u32) -> Self {
        let end = HEADER_LEN + usize::from(self.question_len);
        let mut octets: Box<[u8]> = self.octets[..end].into();
        // NOERROR, one question and nothing else.
        octets[3] &= 0xf0;
        octets[6..HEADER_LEN].fill(0);
        let ttl = self.facts.min_ttl.unwrap_or(ttl).min(ttl);
        Self {
            octets,
            ttl_offsets: Box::default(),
            question_len: self.question_len,
            facts: Facts {
                rcode: Rcode::NOERROR,
                is_positive: false,
                min_ttl: Some(ttl),
                soa: Some(SoaTimes { ttl, minimum: ttl }),
                authentic: false,
                ede: Some(Ede::BLOCKED),
                is_behind_aliases: false,
            },
        }
    }

    fn counts(&self) -> [u16; 2] {
        [
            u16::from_be_bytes([self.octets[6], self.octets[7]]),
            u16::from_be_bytes([self.octets[8], self.octets[9]]),
        ]
    }

    /// The end of the last answer record that fits `room`, and the section counts up to there.
    fn cut(&self, answers: u16, room: usize) -> (usize, [u16; 2]) {
        let mut cut = (HEADER_LEN + usize::from(self.question_len), [0, 0]);
        for (count, ttl_at) in (1..=answers).zip(&self.ttl_offsets) {
            let ttl_at = usize::from(*ttl_at);
            let rdata_len = usize::from(u16::from_be_bytes([self.octets[ttl_at + 4], self.octets[ttl_at + 5]]));
            let end = ttl_at + 6 + rdata_len;
            if end > room {
                break;
            }
            cut = (end, [count, 0]);
        }
        cut
    }

    fn set_ttls(&self, ttl: impl Fn(u32) -> u32, out: &mut [u8]) {
        for ttl_at in &self.ttl_offsets {
            let Some(field) = out
                .get_mut(usize::from(*ttl_at)..)
                .and_then(<[u8]>::first_chunk_mut::<4>)
            else {
                break;
            };
            *field = ttl(u32::from_be_bytes(*field)).to_be_bytes();
        }
    }

    fn compose(
        response: &[u8],
        key: &QuestionKey,
        chosen: &chain::Chosen<'_>,
        facts: Facts,
        limits: &TtlLimits,
        pointers: &mut u32,
    ) -> Result<Self, ParseError> {
        let counts = [count(chosen.answers.len())?, count(chosen.authority.len())?];
        let mut composer = Composer::new(key, counts, &facts);
        let ttls = chosen.ttls(response, limits, pointers)?;
        for (record, ttl) in chosen.answers.iter().chain(&chosen.authority).zip(ttls) {
            composer.put(response, record, ttl, pointers)?;
        }
        composer.finish(key, facts)
    }

    /// The answer to `key`, whose QNAME leads by `aliases` of the user's to the name that this is about: they come first. Nobody
    /// has validated them, so AD is off.
    ///
    /// # Errors
    /// [`ParseError::TooLong`] if not all of it fits a message, [`ParseError::ChainLoop`] if it leads back to one of them (R1034-1).
    pub fn behind(&self, key: &QuestionKey, aliases: &[Alias<'_>]) -> Result<Self, ParseError> {
        let [answers, authority] = self.counts();
        let counts = [answers.saturating_add(count(aliases.len())?), authority];
        let facts = Facts {
            authentic: false,
            is_behind_aliases: true,
            ..self.facts
        };
        let mut composer = Composer::new(key, counts, &facts);
        let mut pointers = MAX_POINTERS;
        let mut owner = key.qname();
        for Alias { ttl, target } in aliases {
            composer.put_alias(owner, *ttl, target)?;
            owner = target;
        }
        let is_before = |name: &Vec<u8>| *name == key.qname() || aliases.iter().any(|alias| alias.target == name);
        if self.aliases().iter().any(is_before) {
            return Err(ParseError::ChainLoop);
        }
        let mut at = HEADER_LEN + usize::from(self.question_len);
        for _ in &self.ttl_offsets {
            let record = Record::read(&self.octets, at)?;
            at = record.rdata.end;
            composer.put(&self.octets, &record, record.ttl, &mut pointers)?;
        }
        composer.finish(key, facts)
    }
}

/// An answer under construction.
struct Composer {
    out: Writer,
    ttl_offsets: Vec<u16>,
    min_ttl: Option<u32>,
}

impl Composer {
    fn new(key: &QuestionKey, [answers, authority]: [u16; 2], facts: &Facts) -> Self {
        let header = Header {
            id: 0,
            high: 0,
            low: facts.rcode.header_bits(),
            counts: [1, answers, authority, 0],
        };
        Self {
            out: Writer::new(&header.octets(), key.question()),
            ttl_offsets: Vec::new(),
            min_ttl: facts.min_ttl,
        }
    }

    /// Appends a record of `message`'s, with this TTL.
    fn put(&mut self, message: &[u8], record: &Record, ttl: u32, pointers: &mut u32) -> Result<(), ParseError> {
        let (owner, _) = Name::read(message, record.owner_at, pointers)?;
        self.put_head(&owner, record.rtype, record.class, ttl)?;
        rdata::copy(message, record.rtype, &record.rdata, pointers, &mut self.out)
    }

    fn put_alias(&mut self, owner: &[u8], ttl: u32, target: &[u8]) -> Result<(), ParseError> {
        let owner = Name::from_checked(owner).ok_or(ParseError::NameTooLong)?;
        self.put_head(&owner, RecordType::CNAME, CLASS_IN, ttl)?;
        rdata::copy(target, RecordType::CNAME, &(0..target.len()), &mut 0, &mut self.out)
    }

    fn put_head(&mut self, owner: &Name, rtype: RecordType, class: u16, ttl: u32) -> Result<(), ParseError> {
        self.out.put_name(owner, Compression::Allowed)?;
        self.out.put(&rtype.0.to_be_bytes())?;
        self.out.put(&class.to_be_bytes())?;
        let ttl_at = u16::try_from(self.out.octets.len()).map_err(|_| ParseError::TooLong)?;
        self.ttl_offsets.push(ttl_at);
        self.out.put(&ttl.to_be_bytes())?;
        self.min_ttl = Some(self.min_ttl.map_or(ttl, |min| min.min(ttl)));
        Ok(())
    }

    fn finish(self, key: &QuestionKey, facts: Facts) -> Result<Answer, ParseError> {
        let min_ttl = self.min_ttl;
        Ok(Answer {
            octets: self.out.octets.into(),
            ttl_offsets: self.ttl_offsets.into(),
            question_len: u16::try_from(key.question().len()).map_err(|_| ParseError::NameTooLong)?,
            facts: Facts { min_ttl, ..facts },
        })
    }
}

/// What a response says of its answer.
#[derive(Clone, Copy)]
struct Shown {
    ede: [Option<Ede>; 2],
    authentic: bool,
}

/// An answer holds names, and debug output ends up in logs: only sizes and facts are shown.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("len", &self.octets.len())
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

fn count(records: usize) -> Result<u16, ParseError> {
    u16::try_from(records).map_err(|_| ParseError::TooLong)
}

/// A response's records, by section; the OPT apart.
pub(super) struct Sections {
    header: Header,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    edns: Option<Edns>,
}

impl Sections {
    fn read(response: &[u8], key: &QuestionKey) -> Result<Self, ParseError> {
        let header = Header::read(response)?;
        if !header.is_response() || !header.is_query_opcode() {
            return Err(ParseError::NotAResponse);
        }
        let question = read_question(response)?;
        if !is_same(key.question(), question) {
            return Err(ParseError::WrongQuestion);
        }
        if header.high & TC != 0 {
            return Err(ParseError::Truncated);
        }
        let mut sections = Self {
            header,
            answers: vec![],
            authority: vec![],
            edns: None,
        };
        let end = sections.read_records(response, HEADER_LEN + question.len())?;
        if end == response.len() {
            Ok(sections)
        } else {
            Err(ParseError::TrailingOctets)
        }
    }

    /// Vectors grow with the records that are there, not with the counts in the header (CVE-2026-123570).
    fn read_records(&mut self, response: &[u8], mut at: usize) -> Result<usize, ParseError> {
        let [_, answers, authority, additional] = self.header.counts.map(usize::from);
        for index in 0..answers + authority + additional {
            let record = Record::read(response, at)?;
            at = record.rdata.end;
            if record.rtype == RecordType::OPT {
                if index < answers + authority || self.edns.is_some() {
                    return Err(ParseError::MisplacedOpt);
                }
                self.edns = Some(Edns::read(response, &record)?);
            } else if record.class == CLASS_IN && index < answers {
                self.answers.push(record);
            } else if record.class == CLASS_IN && index < answers + authority {
                self.authority.push(record);
            }
        }
        Ok(at)
    }

    fn rcode(&self) -> Rcode {
        let high = u16::from(self.edns.map_or(0, |edns| edns.rcode_bits));
        Rcode(high << 4 | u16::from(self.header.low & 0x0f))
    }

    fn ede(&self) -> Option<Ede> {
        self.edns.and_then(|edns| edns.ede)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
