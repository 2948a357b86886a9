//! From a response to an [`Answer`]: what answers the question is chosen, and written anew.

use super::ParseError;
use super::answer::{Answer, Facts, TtlLimits, Unusable};
use super::chain;
use super::compress::{Compression, Writer};
use super::edns::{Ede, Edns};
use super::header::{AD, HEADER_LEN, Header, Rcode, TC};
use super::name::{MAX_POINTERS, Name};
use super::question::{QuestionKey, is_same, read_question};
use super::rdata;
use super::record::{CLASS_IN, Record, RecordType};
use super::synth::Alias;

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
            ..self.facts()
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
        let mut at = self.question_end();
        for _ in self.ttl_offsets() {
            let record = Record::read(self.message(), at)?;
            at = record.rdata.end;
            composer.put(self.message(), &record, record.ttl, &mut pointers)?;
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
        let question_end = u16::try_from(HEADER_LEN + key.question().len()).map_err(|_| ParseError::NameTooLong)?;
        let facts = Facts {
            min_ttl: self.min_ttl,
            ..facts
        };
        Answer::new(self.out.octets, &self.ttl_offsets, question_end, facts)
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
