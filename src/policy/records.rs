//! The user's own records, and the addresses of hosts files: answered here, before anybody is asked.
//!
//! A name that has a record of any type here is ours: for other types the answer is NODATA, because half a name from here and half
//! from the public would be a riddle. Its subdomains are not ours unless they are given too.
//!
//! An alias (CNAME) is followed as far as its targets are in the table. Where records and hosts files give the same name, the records
//! count and the hosts files' lines about it do not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, BufRead};
use std::net::IpAddr;

use super::list::{self, Skip, Tally};
use crate::wire::name::MAX_NAME_LEN;
use crate::wire::record::RecordType;
use crate::wire::synth::{Alias, Rrset};

mod parse;

use parse::Parsed;

/// Seconds for which a client may keep a record without a TTL: who edits one should not have to wait.
pub const DEFAULT_TTL: u32 = 300;

/// Records in all. Who has more has a zone, which belongs into an authoritative server, or a hosts file to block with, which belongs
/// into `block`.
pub const MAX_RECORDS: usize = 100_000;

/// Octets of RDATA of one name and type: with them and the names of a chain a message of 65,535 octets is never full.
pub const MAX_SET_LEN: usize = 16_384;

/// Aliases that follow each other. More are a mistake, and each is one more record in every response.
pub const MAX_CHAIN: usize = 8;

/// Mistakes that are shown at once: enough to see what is wrong with a file.
const MAX_ERRORS: usize = 10;

/// Records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// Their type.
    pub rtype: RecordType,
    /// The lowest of their TTLs (RFC 2181 section 5.2).
    pub ttl: u32,
    /// RDATA in wire form, names uncompressed and in lower case.
    pub rdatas: Vec<Box<[u8]>>,
    /// The source that the first of them is from, by the number that it was read under.
    pub source: u16,
    /// Its line there.
    pub line: u32,
}

impl RecordSet {
    /// As it is written.
    pub fn rrset(&self) -> Rrset<'_> {
        Rrset {
            rtype: self.rtype,
            ttl: self.ttl,
            rdatas: &self.rdatas,
        }
    }
}

/// A mistake in the user's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The source, by the number that it was read under.
    pub source: u16,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// What is wrong, and what should be there.
    pub what: &'static str,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for RecordError {}

type Owners = HashMap<Box<[u8]>, Vec<RecordSet>>;

/// Puts records together.
#[derive(Debug, Default)]
pub struct Builder {
    records: Owners,
    hosts: Owners,
    count: usize,
}

impl Builder {
    /// Without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads records, one a line: `name [ttl] [IN] type rdata`, as in a zone file. All names are whole, the last dot may be left out.
    /// `;` and `#` begin a comment. The owner of a PTR record may be an address.
    ///
    /// # Errors
    /// What is wrong with the first lines of which something is. The right ones were taken.
    pub fn read_records(&mut self, source: u16, text: &str) -> Result<(), Vec<RecordError>> {
        let mut errors = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, octets) in (1..).zip(text.lines()) {
            let taken = match parse::read_record(octets) {
                Ok(None) => Ok(()),
                Ok(Some(parsed)) => self.add_record(source, line, parsed).map_err(|what| (1, what)),
                Err(mistake) => Err((mistake.column, mistake.what)),
            };
            if let Err((column, what)) = taken {
                errors.push(RecordError {
                    source,
                    line,
                    column,
                    what,
                });
            }
            if errors.len() == MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Reads a hosts file: A and AAAA records of all names of a line, and of the first line of an address a PTR record that leads to
    /// its first name. The names that such files have for this host itself are left alone.
    ///
    /// # Errors
    /// Those of the reader, and one for more than [`MAX_RECORDS`].
    pub fn read_hosts(&mut self, source: u16, reader: impl BufRead) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut is_full = false;
        list::for_each_line(reader, |line, octets| {
            let read = octets.and_then(|octets| self.read_hosts_line(source, line, octets, &mut tally.rules));
            if let Err(skip) = read {
                tally.skip(line, skip);
            }
            is_full = self.count > MAX_RECORDS;
            !is_full
        })?;
        if is_full {
            return Err(io::Error::other(TOO_MANY));
        }
        Ok(tally)
    }

    /// Makes the table.
    ///
    /// # Errors
    /// Aliases that go in a circle, or are more than [`MAX_CHAIN`] in a row.
    pub fn build(self) -> Result<Records, Vec<RecordError>> {
        let mut owners = self.records;
        for (owner, sets) in self.hosts {
            owners.entry(owner).or_insert(sets);
        }
        let records = Records { owners };
        let mut errors: Vec<_> = records
            .owners
            .keys()
            .filter_map(|owner| records.chain_error(owner))
            .collect();
        errors.sort_by_key(|error| (error.source, error.line));
        errors.truncate(MAX_ERRORS);
        if errors.is_empty() { Ok(records) } else { Err(errors) }
    }

    fn add_record(&mut self, source: u16, line: u32, parsed: Parsed) -> Result<(), &'static str> {
        if self.count >= MAX_RECORDS {
            return Err(TOO_MANY);
        }
        let sets = self.records.entry(parsed.owner).or_default();
        let is_alias = parsed.rtype == RecordType::CNAME;
        let is_odd = |set: &RecordSet| (set.rtype == RecordType::CNAME) != is_alias;
        if sets.iter().any(is_odd) {
            return Err("a name with a CNAME record has no other records");
        }
        if is_alias && sets.iter().any(|set| *set.rdatas[0] != *parsed.rdata) {
            return Err("this name has another CNAME record already");
        }
        self.count += 1;
        let set = set_of(sets, parsed.rtype, parsed.ttl, source, line);
        set.ttl = set.ttl.min(parsed.ttl);
        add_rdata(set, parsed.rdata)
    }

    /// A name that cannot be taken does not stop the others.
    fn read_hosts_line(&mut self, source: u16, line: u32, octets: &[u8], count: &mut u32) -> Result<(), Skip> {
        let octets = list::without_comment(octets);
        if octets.is_empty() || octets.starts_with(b"#") {
            return Ok(());
        }
        let mut words = octets.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let address = words.next().and_then(list::read_address).ok_or(Skip::Form)?;
        let (mut read, mut is_first) = (Ok(()), true);
        for word in words.filter(|word| !list::is_house_name(word)) {
            let mut name = [0; MAX_NAME_LEN];
            match list::write_name(word, &mut name) {
                Ok(len) => self.add_host(source, line, address, &name[..len], is_first),
                Err(skip) => {
                    read = read.and(Err(skip));
                    continue;
                }
            }
            is_first = false;
            *count = count.saturating_add(1);
        }
        read
    }

    fn add_host(&mut self, source: u16, line: u32, address: IpAddr, name: &[u8], is_first: bool) {
        self.count += 1;
        let (rtype, rdata): (_, Box<[u8]>) = match address {
            IpAddr::V4(v4) => (RecordType::A, v4.octets().into()),
            IpAddr::V6(v6) => (RecordType::AAAA, v6.octets().into()),
        };
        let sets = self.hosts.entry(name.into()).or_default();
        // Addresses beyond what an answer can hold are left out.
        let _ = add_rdata(set_of(sets, rtype, DEFAULT_TTL, source, line), rdata);
        // Nobody is at 0.0.0.0, and many names may be said to be.
        if is_first
            && !address.is_unspecified()
            && let Entry::Vacant(vacant) = self.hosts.entry(parse::reverse_name(address))
        {
            let sets = vacant.insert(Vec::new());
            let _ = add_rdata(set_of(sets, RecordType::PTR, DEFAULT_TTL, source, line), name.into());
        }
    }
}

const TOO_MANY: &str = "more than 100000 records; a hosts file to block with belongs into `block`";

/// The records of one type; none yet if there were none.
fn set_of(sets: &mut Vec<RecordSet>, rtype: RecordType, ttl: u32, source: u16, line: u32) -> &mut RecordSet {
    let at = sets.iter().position(|set| set.rtype == rtype).unwrap_or(sets.len());
    if at == sets.len() {
        sets.push(RecordSet {
            rtype,
            ttl,
            rdatas: Vec::new(),
            source,
            line,
        });
    }
    &mut sets[at]
}

/// The same twice is once.
fn add_rdata(set: &mut RecordSet, rdata: Box<[u8]>) -> Result<(), &'static str> {
    if set.rdatas.contains(&rdata) {
        return Ok(());
    }
    let len: usize = set.rdatas.iter().map(|rdata| rdata.len() + RECORD_OVERHEAD).sum();
    if len + rdata.len() + RECORD_OVERHEAD > MAX_SET_LEN {
        return Err("more records of this name and type than fit an answer");
    }
    set.rdatas.push(rdata);
    Ok(())
}

/// Octets of a record beside its RDATA, its name compressed.
const RECORD_OVERHEAD: usize = 12;

/// The table.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Records {
    owners: Owners,
}

/// What is in there is nobody's business.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("owners", &self.owners.len())
            .finish_non_exhaustive()
    }
}

/// What the table says to a question.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    aliases: [Alias<'a>; MAX_CHAIN],
    alias_count: usize,
    /// How it ends.
    pub end: End<'a>,
}

/// How an answer ends, after the aliases if there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// With records of the type that was asked for.
    Data(&'a RecordSet),
    /// The name has none of that type.
    NoData,
    /// With an alias whose target is not in the table, a canonical name in wire form: others may know it.
    Outside(&'a [u8]),
}

impl<'a> Found<'a> {
    /// Where the aliases lead, if that is not in the table.
    pub fn target(&self) -> Option<&'a [u8]> {
        match self.end {
            End::Outside(target) => Some(target),
            End::Data(_) | End::NoData => None,
        }
    }

    /// Those that lead to the end, in order.
    pub fn aliases(&self) -> &[Alias<'a>] {
        &self.aliases[..self.alias_count]
    }
}

impl Records {
    /// Names that have records.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// What is here for a canonical name in wire form; `None` if the name is not ours. Allocates nothing.
    pub fn find(&self, qname: &[u8], qtype: RecordType) -> Option<Found<'_>> {
        let mut found = Found {
            aliases: [Alias::default(); MAX_CHAIN],
            alias_count: 0,
            end: End::NoData,
        };
        let mut sets = self.owners.get(qname)?;
        loop {
            let of_type = |rtype| sets.iter().find(|set| set.rtype == rtype);
            if let Some(set) = of_type(qtype) {
                found.end = End::Data(set);
                return Some(found);
            }
            let Some(alias) = of_type(RecordType::CNAME) else {
                return Some(found);
            };
            let target: &[u8] = &alias.rdatas[0];
            // A chain is no longer than this, as `Builder::build` has seen.
            let place = found.aliases.get_mut(found.alias_count)?;
            *place = Alias { ttl: alias.ttl, target };
            found.alias_count += 1;
            match self.owners.get(target) {
                Some(next) => sets = next,
                None => {
                    found.end = End::Outside(target);
                    return Some(found);
                }
            }
        }
    }

    /// Where the first record of a name stands that counts for this type, source and line: of the type, an alias, or any.
    pub fn origin(&self, qname: &[u8], qtype: RecordType) -> Option<(u16, u32)> {
        let sets = self.owners.get(qname)?;
        let of_type = |rtype| sets.iter().find(|set| set.rtype == rtype);
        let counts = of_type(qtype).or_else(|| of_type(RecordType::CNAME));
        let set = counts.or_else(|| sets.first())?;
        Some((set.source, set.line))
    }

    /// What is wrong with the aliases that begin here.
    fn chain_error(&self, owner: &[u8]) -> Option<RecordError> {
        let alias = |owner: &[u8]| {
            let sets = self.owners.get(owner)?;
            sets.iter().find(|set| set.rtype == RecordType::CNAME)
        };
        let first = alias(owner)?;
        let mut last = first;
        for _ in 0..MAX_CHAIN {
            if *last.rdatas[0] == *owner {
                return Some(at(first, "CNAME records lead back to this name"));
            }
            last = alias(&last.rdatas[0])?;
        }
        Some(at(first, "more than 8 CNAME records in a row"))
    }
}

fn at(set: &RecordSet, what: &'static str) -> RecordError {
    RecordError {
        source: set.source,
        line: set.line,
        column: 1,
        what,
    }
}

#[cfg(test)]
mod tests;
