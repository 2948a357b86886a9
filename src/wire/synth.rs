//! Responses of our own making: errors, the answer to ANY, what is known here without asking.

use super::edns::{Ede, Edns, ResponseOpt};
use super::header::{CD, HEADER_LEN, Header, OPCODE, QR, RA, RD, Rcode, TC};
use super::query::Query;
use super::record::{CLASS_IN, RecordType};

/// One alias (CNAME) of an answer of ours. The first one is QNAME's, each further one that of the target before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alias<'a> {
    /// Seconds for which a client may keep it.
    pub ttl: u32,
    /// The canonical name, uncompressed, that it leads to.
    pub target: &'a [u8],
}

/// Records of one name and type.
#[derive(Clone, Copy, Debug)]
pub struct Rrset<'a> {
    /// Their type.
    pub rtype: RecordType,
    /// Seconds for which a client may keep them.
    pub ttl: u32,
    /// RDATA in wire form, names uncompressed.
    pub rdatas: &'a [Box<[u8]>],
}

/// Seconds for which a client may keep our answer to ANY.
const ANY_TTL: u32 = 3600;

/// Seconds for which a client may keep what we say of our own zones (RFC 6303 section 3).
const LOCAL_TTL: u32 = 10_800;

/// HINFO as RFC 8482 section 4.2 proposes: CPU "RFC8482", OS empty.
const ANY_RDATA: &[u8] = b"\x07RFC8482\x00";

/// What a response repeats of its query.
#[derive(Clone, Copy)]
pub(super) struct Echo<'a> {
    pub(super) id: u16,
    /// The query's third octet: opcode and RD are copied.
    pub(super) high: u8,
    /// The query's fourth octet: CD is copied.
    pub(super) low: u8,
    pub(super) question: &'a [u8],
    pub(super) edns: Option<Edns>,
    pub(super) keepalive: Option<u16>,
}

impl Echo<'_> {
    /// The response's header: ID, opcode and RD repeated, QR and RA set, Z clear.
    pub(super) fn header(&self, rcode: Rcode, records: [u16; 2]) -> Header {
        Header {
            id: self.id,
            high: QR | self.high & (OPCODE | RD),
            low: RA | self.low & CD | rcode.header_bits(),
            counts: [
                u16::from(!self.question.is_empty()),
                records[0],
                records[1],
                u16::from(self.edns.is_some()),
            ],
        }
    }

    /// The response's OPT, if the query had one.
    pub(super) fn opt(&self, rcode: Rcode, ede: [Option<Ede>; 2]) -> Option<ResponseOpt> {
        self.edns.map(|edns| ResponseOpt {
            rcode,
            dnssec_ok: edns.dnssec_ok,
            ede,
            keepalive: self.keepalive,
        })
    }
}

/// Writes a response without records; returns its length. `out` of 512 octets always suffices.
pub fn write_error(query: &Query<'_>, rcode: Rcode, ede: Option<Ede>, out: &mut [u8]) -> usize {
    write_empty(&query.echo(), rcode, ede, out)
}

/// Like [`write_error`], with two reasons: `CACHED_ERROR` and the first one, say.
pub fn write_failure(query: &Query<'_>, rcode: Rcode, ede: [Option<Ede>; 2], out: &mut [u8]) -> usize {
    Draft::begin(query.echo(), rcode, ede, out).map_or(0, Draft::finish)
}

/// Writes an empty response with TC=1, which sends the client to TCP. Returns its length, which is never more than the query's: a
/// flood with a victim's address on it gains nothing (T-AMP).
pub fn write_truncated(query: &Query<'_>, out: &mut [u8]) -> usize {
    let len = write_empty(&query.echo(), Rcode::NOERROR, None, out);
    if let Some(high) = out[..len].get_mut(2) {
        *high |= TC;
    }
    len
}

/// Writes the answer to ANY: one HINFO record that nobody is served by (RFC 8482 section 4.2). Returns its length.
pub fn write_any(query: &Query<'_>, out: &mut [u8]) -> usize {
    let why = Reason { ttl: ANY_TTL, ..OURS };
    let about = About::new(query, &[]);
    about.write(Rcode::NOERROR, why, out, |draft| {
        draft.put(Section::Answer, HEADER_LEN, RecordType::HINFO, why.ttl, &[ANY_RDATA]);
    })
}

/// A question, and the name that it is about in the end.
#[derive(Clone, Copy)]
pub struct About<'a> {
    query: &'a Query<'a>,
    aliases: &'a [Alias<'a>],
}

/// How long a response of our own may be kept, and why it is one.
#[derive(Clone, Copy)]
struct Reason {
    ttl: u32,
    ede: Ede,
}

const OURS: Reason = Reason {
    ttl: LOCAL_TTL,
    ede: Ede::SYNTHESIZED,
};

/// A minute: who takes a name off the list wants to see it.
const BLOCKED: Reason = Reason {
    ttl: 60,
    ede: Ede::BLOCKED,
};

/// True for this moment only.
const BRIEF: Reason = Reason { ttl: 1, ..OURS };

/// What is said of the last alias's target, of QNAME if there is none. Each writes a response, the aliases first, and returns its
/// length. What does not fit `out` is cut: whole records that fit, then TC=1, as [`super::answer::Answer::write`] does.
impl<'a> About<'a> {
    /// QNAME leads to it by `aliases`, at most 8.
    pub fn new(query: &'a Query<'a>, aliases: &'a [Alias<'a>]) -> Self {
        Self { query, aliases }
    }

    /// NXDOMAIN or NODATA with the SOA of a zone of our own, whose name begins at `zone_at` in it (RFC 2308 section 3).
    pub fn write_negative(self, rcode: Rcode, zone_at: usize, out: &mut [u8]) -> usize {
        self.negative(rcode, zone_at, OURS, out)
    }

    /// Records of the user's; NODATA for `ttl` seconds if there are none.
    pub fn write_records(self, records: Option<Rrset<'_>>, ttl: u32, out: &mut [u8]) -> usize {
        let why = Reason { ttl, ..OURS };
        let Some(set) = records else {
            return self.negative(Rcode::NOERROR, 0, why, out);
        };
        self.write(Rcode::NOERROR, why, out, |draft| {
            for rdata in set.rdatas {
                draft.put(Section::Answer, self.name_at(), set.rtype, set.ttl, &[rdata]);
            }
        })
    }

    /// What is said of a name that a list blocks: addresses that lead nowhere if `is_null`, else NXDOMAIN; EDE 15.
    pub fn write_blocked(self, qtype: RecordType, is_null: bool, out: &mut [u8]) -> usize {
        match qtype {
            _ if !is_null => self.negative(Rcode::NXDOMAIN, 0, BLOCKED, out),
            RecordType::A => self.positive(qtype, &[0; 4], BLOCKED, out),
            RecordType::AAAA => self.positive(qtype, &[0; 16], BLOCKED, out),
            _ => self.negative(Rcode::NOERROR, 0, BLOCKED, out),
        }
    }

    /// One record.
    pub fn write_record(self, rtype: RecordType, rdata: &[u8], out: &mut [u8]) -> usize {
        self.positive(rtype, rdata, OURS, out)
    }

    /// One record, or NODATA without one, that a client keeps for a second.
    pub fn write_brief(self, rtype: RecordType, rdata: Option<&[u8]>, out: &mut [u8]) -> usize {
        match rdata {
            Some(rdata) => self.positive(rtype, rdata, BRIEF, out),
            None => self.negative(Rcode::NOERROR, 0, BRIEF, out),
        }
    }

    /// Itself as its name server.
    pub fn write_ns(self, out: &mut [u8]) -> usize {
        self.positive(RecordType::NS, &pointer(self.name_at()), OURS, out)
    }

    /// Its SOA as the answer.
    pub fn write_soa(self, out: &mut [u8]) -> usize {
        self.write(Rcode::NOERROR, OURS, out, |draft| {
            draft.put_soa(Section::Answer, self.name_at(), OURS.ttl);
        })
    }

    fn positive(self, rtype: RecordType, rdata: &[u8], why: Reason, out: &mut [u8]) -> usize {
        self.write(Rcode::NOERROR, why, out, |draft| {
            draft.put(Section::Answer, self.name_at(), rtype, why.ttl, &[rdata]);
        })
    }

    fn negative(self, rcode: Rcode, zone_at: usize, why: Reason, out: &mut [u8]) -> usize {
        self.write(rcode, why, out, |draft| {
            draft.put_soa(Section::Authority, self.name_at() + zone_at, why.ttl);
        })
    }

    fn write(self, rcode: Rcode, why: Reason, out: &mut [u8], records: impl FnOnce(&mut Draft<'_, '_>)) -> usize {
        let Some(mut draft) = Draft::begin(self.query.echo(), rcode, [Some(why.ede), None], out) else {
            return 0;
        };
        let mut owner_at = HEADER_LEN;
        for Alias { ttl, target } in self.aliases {
            let begin = draft.at;
            draft.put(Section::Answer, owner_at, RecordType::CNAME, *ttl, &[target]);
            owner_at = begin + RECORD_LEN;
        }
        records(&mut draft);
        draft.finish()
    }

    /// Where in the message the name stands: at the question, or as the last alias's RDATA.
    fn name_at(self) -> usize {
        let Some(last) = self.aliases.last() else {
            return HEADER_LEN;
        };
        let records = self.aliases.iter().map(|alias| RECORD_LEN + alias.target.len());
        HEADER_LEN + self.query.question().len() + records.sum::<usize>() - last.target.len()
    }
}

pub(super) fn write_empty(echo: &Echo<'_>, rcode: Rcode, ede: Option<Ede>, out: &mut [u8]) -> usize {
    Draft::begin(*echo, rcode, [ede, None], out).map_or(0, Draft::finish)
}

#[derive(Clone, Copy)]
enum Section {
    Answer,
    Authority,
}

/// Octets of a record without its RDATA, its owner a pointer.
const RECORD_LEN: usize = 12;

/// A response under construction: the question stands, the header is written last.
struct Draft<'a, 'q> {
    echo: Echo<'q>,
    rcode: Rcode,
    opt: Option<ResponseOpt>,
    out: &'a mut [u8],
    /// Octets of `out` before the OPT.
    room: usize,
    at: usize,
    counts: [u16; 2],
    is_cut: bool,
}

impl<'a, 'q> Draft<'a, 'q> {
    /// `None` if `out` is too small for header, question and OPT.
    fn begin(echo: Echo<'q>, rcode: Rcode, ede: [Option<Ede>; 2], out: &'a mut [u8]) -> Option<Self> {
        let opt = echo.opt(rcode, ede);
        let room = out.len().checked_sub(opt.map_or(0, |opt| opt.encoded_len()))?;
        let at = HEADER_LEN + echo.question.len();
        out.get_mut(..room)?
            .get_mut(HEADER_LEN..at)?
            .copy_from_slice(echo.question);
        Some(Self {
            echo,
            rcode,
            opt,
            out,
            room,
            at,
            counts: [0; 2],
            is_cut: false,
        })
    }

    /// Appends a record. `owner_at` is where its name stands in the message already. After one that does not fit come no more.
    fn put(&mut self, section: Section, owner_at: usize, rtype: RecordType, ttl: u32, rdata: &[&[u8]]) {
        let rdata_len: usize = rdata.iter().map(|part| part.len()).sum();
        let end = self.at + RECORD_LEN + rdata_len;
        self.is_cut |= end > self.room;
        if self.is_cut {
            return;
        }
        let rdlength = u16::try_from(rdata_len).unwrap_or(0).to_be_bytes();
        let fixed: [&[u8]; 5] = [
            &pointer(owner_at),
            &rtype.0.to_be_bytes(),
            &CLASS_IN.to_be_bytes(),
            &ttl.to_be_bytes(),
            &rdlength,
        ];
        for part in fixed.iter().chain(rdata) {
            self.out[self.at..self.at + part.len()].copy_from_slice(part);
            self.at += part.len();
        }
        self.counts[section as usize] += 1;
    }

    /// Appends the SOA of an empty zone (RFC 6303 section 3).
    fn put_soa(&mut self, section: Section, zone_at: usize, ttl: u32) {
        let mut numbers = [0; 20];
        let fields = numbers.as_chunks_mut::<4>().0;
        for (field, value) in fields.iter_mut().zip([1, 3600, 1200, 604_800, ttl]) {
            *field = value.to_be_bytes();
        }
        let rdata: [&[u8]; 3] = [&pointer(zone_at), b"\x06nobody\x07invalid\0", &numbers];
        self.put(section, zone_at, RecordType::SOA, ttl, &rdata);
    }

    /// Writes OPT and header; gives back the response's length.
    fn finish(self) -> usize {
        let mut header = self.echo.header(self.rcode, self.counts);
        header.high |= if self.is_cut { TC } else { 0 };
        self.out[..HEADER_LEN].copy_from_slice(&header.octets());
        self.at + self.opt.map_or(0, |opt| opt.write(&mut self.out[self.at..]))
    }
}

/// A pointer to a name that stands in the first 16 KiB: all names here do.
fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(at).unwrap_or(0)).to_be_bytes()
}

#[cfg(test)]
#[path = "synth_tests.rs"]
mod tests;
