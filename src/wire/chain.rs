//! Which records of a response answer its question: the chain from QNAME, and the proof of a negative end.

use super::ParseError;
use super::answer::TtlLimits;
use super::check::Sections;
use super::name::Name;
use super::question::QuestionKey;
use super::rdata::{SoaTimes, soa_minimum};
use super::record::{Record, RecordType};

/// CNAME steps followed in one response. Resolvers give up long before (Unbound 11, BIND 16), authoritative chains of 30 are
/// seen in tests; each step costs one pass over the records, so there must be an end.
const MAX_CHAIN: usize = 32;

/// What is kept.
pub(super) struct Chosen<'a> {
    /// In the order of the chain.
    pub(super) answers: Vec<&'a Record>,
    pub(super) authority: Vec<&'a Record>,
    pub(super) is_positive: bool,
    pub(super) soa: Option<SoaTimes>,
}

/// Chooses the records that answer `key`.
///
/// # Errors
/// [`ParseError::UnrelatedAnswer`], [`ParseError::ChainLoop`], [`ParseError::Chain`], [`ParseError::ForeignSoa`], and those of
/// names.
pub(super) fn choose<'a>(
    message: &[u8],
    key: &QuestionKey,
    sections: &'a Sections,
    pointers: &mut u32,
) -> Result<Chosen<'a>, ParseError> {
    let mut walk = Walk::new(message, key, &sections.answers, pointers)?;
    while let Some(target) = walk.step(pointers)? {
        walk.follow(target)?;
    }
    if walk.kept.is_empty() && !sections.answers.is_empty() {
        return Err(ParseError::UnrelatedAnswer);
    }
    let end = walk.current;
    let mut chosen = Chosen {
        answers: walk.kept,
        authority: vec![],
        is_positive: walk.is_positive,
        soa: None,
    };
    chosen.choose_authority(message, key, &end, &sections.authority, pointers)?;
    Ok(chosen)
}

/// The walk along the chain.
struct Walk<'a, 'm> {
    message: &'m [u8],
    qtype: RecordType,
    dnssec_ok: bool,
    /// Owner and record of what was not kept yet.
    rest: Vec<(Name, &'a Record)>,
    kept: Vec<&'a Record>,
    current: Name,
    seen: Vec<Name>,
    is_positive: bool,
}

impl<'a, 'm> Walk<'a, 'm> {
    fn new(
        message: &'m [u8],
        key: &QuestionKey,
        answers: &'a [Record],
        pointers: &mut u32,
    ) -> Result<Self, ParseError> {
        let current = Name::from_checked(key.qname()).ok_or(ParseError::NameTooLong)?;
        let mut rest = Vec::with_capacity(answers.len());
        for record in answers {
            rest.push((Name::read(message, record.owner_at, pointers)?.0, record));
        }
        Ok(Self {
            message,
            qtype: key.qtype(),
            dnssec_ok: key.dnssec_ok(),
            rest,
            kept: Vec::with_capacity(answers.len()),
            current,
            seen: vec![current],
            is_positive: false,
        })
    }

    /// Keeps what belongs to the current name; gives the name that a CNAME leads to.
    fn step(&mut self, pointers: &mut u32) -> Result<Option<Name>, ParseError> {
        let mut target: Option<Name> = None;
        let mut rest = Vec::new();
        let mut found = false;
        for (owner, record) in std::mem::take(&mut self.rest) {
            if !self.belongs(&owner, record) {
                rest.push((owner, record));
                continue;
            }
            self.kept.push(record);
            if record.rtype == self.qtype {
                // A DNAME above the name that was asked for leads on, even if DNAME was asked for.
                found |= self.current.is(&owner);
            } else if record.rtype == RecordType::CNAME {
                let (next, _) = Name::read(self.message, record.rdata.start, pointers)?;
                if target.is_some_and(|target| !target.is(&next)) {
                    return Err(ParseError::Chain);
                }
                target = Some(next);
            }
        }
        self.rest = rest;
        // At an alias there may be signatures, and these may be what was asked for: the end of the chain decides.
        self.is_positive = found && target.is_none();
        Ok(target)
    }

    /// Goes on at a CNAME's target. A direct loop ends here, at once (RFC 1034 section 3.6.2).
    fn follow(&mut self, target: Name) -> Result<(), ParseError> {
        if self.seen.iter().any(|seen| seen.is(&target)) {
            return Err(ParseError::ChainLoop);
        }
        if self.seen.len() > MAX_CHAIN {
            return Err(ParseError::Chain);
        }
        self.seen.push(target);
        self.current = target;
        Ok(())
    }

    fn belongs(&self, owner: &Name, record: &Record) -> bool {
        let wanted = |rtype| rtype == self.qtype || rtype == RecordType::CNAME;
        let redirects =
            || self.current.is_at_or_below(owner) && (self.qtype == RecordType::DNAME || !self.current.is(owner));
        match record.rtype {
            RecordType::DNAME => redirects(),
            RecordType::RRSIG => {
                let is_asked = self.qtype == RecordType::RRSIG;
                match record.covered(self.message) {
                    Some(RecordType::DNAME) if redirects() => is_asked || self.dnssec_ok,
                    Some(covered) => (is_asked || self.dnssec_ok && wanted(covered)) && self.current.is(owner),
                    None => is_asked && self.current.is(owner),
                }
            }
            rtype => wanted(rtype) && self.current.is(owner),
        }
    }
}

impl<'a> Chosen<'a> {
    /// The SOA of a negative answer; with DO the denials and signatures that prove it (or a wildcard).
    fn choose_authority(
        &mut self,
        message: &[u8],
        key: &QuestionKey,
        end: &Name,
        authority: &'a [Record],
        pointers: &mut u32,
    ) -> Result<(), ParseError> {
        let mut foreign = false;
        let mut zone: Option<Name> = None;
        for record in authority
            .iter()
            .filter(|record| !self.is_positive && record.rtype == RecordType::SOA)
        {
            let (owner, _) = Name::read(message, record.owner_at, pointers)?;
            if zone.is_some() || !end.is_at_or_below(&owner) {
                foreign = true;
                continue;
            }
            self.soa = Some(SoaTimes {
                ttl: sane(record.ttl),
                minimum: soa_minimum(&message[record.rdata.clone()])?,
            });
            self.authority.push(record);
            zone = Some(owner);
        }
        if foreign && zone.is_none() {
            return Err(ParseError::ForeignSoa);
        }
        if key.dnssec_ok() {
            let keeps_soa = zone.is_some();
            let proves = |rtype| match rtype {
                RecordType::NSEC | RecordType::NSEC3 => true,
                RecordType::SOA => keeps_soa,
                _ => false,
            };
            self.authority
                .extend(authority.iter().filter(|record| match record.covered(message) {
                    Some(covered) => proves(covered),
                    None => record.rtype != RecordType::SOA && proves(record.rtype),
                }));
        }
        Ok(())
    }

    /// Each record's TTL after the limits, in order. All records of an RRset get its lowest (RFC 2181 section 5.2); a negative
    /// answer lives no longer than its SOA says (RFC 2308 section 5).
    ///
    /// # Errors
    /// Those of names.
    pub(super) fn ttls(&self, message: &[u8], limits: &TtlLimits, pointers: &mut u32) -> Result<Vec<u32>, ParseError> {
        let max = if self.is_positive {
            limits.max
        } else {
            let soa = self.soa.map_or(u32::MAX, |soa| soa.ttl.min(soa.minimum));
            limits.max.min(limits.max_negative).min(soa)
        };
        let mut sorted = Vec::with_capacity(self.answers.len() + self.authority.len());
        for (index, record) in self.answers.iter().chain(&self.authority).enumerate() {
            let owner = Name::read(message, record.owner_at, pointers)?
                .0
                .octets()
                .to_ascii_lowercase();
            sorted.push(((record.rtype, record.covered(message), owner), sane(record.ttl), index));
        }
        sorted.sort_unstable();
        let mut ttls = vec![0; sorted.len()];
        for rrset in sorted.chunk_by(|a, b| a.0 == b.0) {
            // Sorted by TTL within the RRset: the first is the lowest.
            let ttl = rrset[0].1.max(limits.min).min(max);
            for (_, _, index) in rrset {
                ttls[*index] = ttl;
            }
        }
        Ok(ttls)
    }
}

/// A TTL with the top bit set counts as 0 (RFC 2181 section 8).
fn sane(ttl: u32) -> u32 {
    if ttl > 0x7fff_ffff { 0 } else { ttl }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
