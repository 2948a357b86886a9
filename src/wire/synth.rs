//! Responses of our own making: errors, and the answer to ANY.

use super::edns::{Ede, Edns, ResponseOpt};
use super::header::{CD, HEADER_LEN, Header, OPCODE, QR, RA, RD, Rcode};
use super::query::Query;
use super::record::{CLASS_IN, RecordType};

/// Seconds for which a client may keep our answer to ANY.
const ANY_TTL: u32 = 3600;

/// Seconds for which a client may keep what we say of our own zones (RFC 6303 section 3).
const LOCAL_TTL: u32 = 10_800;

/// An IPv6 address.
const MAX_OWN_RDATA: usize = 16;

/// HINFO as RFC 8482 section 4.2 proposes: CPU "RFC8482", OS empty.
const ANY_RDATA: &[u8] = b"\x07RFC8482\x00";

const ANY_RDLENGTH: u16 = 9;
const _: () = assert!(ANY_RDATA.len() == ANY_RDLENGTH as usize);

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
    write(&query.echo(), rcode, ede, &[], out)
}

/// Writes the answer to ANY: one HINFO record that nobody is served by (RFC 8482 section 4.2). Returns its length.
pub fn write_any(query: &Query<'_>, out: &mut [u8]) -> usize {
    let mut record = [0; 12 + ANY_RDATA.len()];
    record[..2].copy_from_slice(&[0xc0, 12]);
    record[2..4].copy_from_slice(&RecordType::HINFO.0.to_be_bytes());
    record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    record[6..10].copy_from_slice(&ANY_TTL.to_be_bytes());
    record[10..12].copy_from_slice(&ANY_RDLENGTH.to_be_bytes());
    record[12..].copy_from_slice(ANY_RDATA);
    write(
        &query.echo(),
        Rcode::NOERROR,
        [Some(Ede::SYNTHESIZED), None],
        &record,
        out,
    )
}

/// Writes NXDOMAIN or NODATA with the SOA of a zone of our own, whose name begins at `zone_at` in QNAME (RFC 2308 section 3).
/// Returns its length.
pub fn write_negative(query: &Query<'_>, rcode: Rcode, zone_at: usize, out: &mut [u8]) -> usize {
    negative(query, rcode, zone_at, OURS, out)
}

/// Writes the answer for a name that a list blocks: addresses that lead nowhere if `is_null`, else NXDOMAIN; EDE 15. Returns its length.
pub fn write_blocked(query: &Query<'_>, qtype: RecordType, is_null: bool, out: &mut [u8]) -> usize {
    match qtype {
        _ if !is_null => negative(query, Rcode::NXDOMAIN, 0, BLOCKED, out),
        RecordType::A => positive(query, qtype, &[0; 4], BLOCKED, out),
        RecordType::AAAA => positive(query, qtype, &[0; 16], BLOCKED, out),
        _ => negative(query, Rcode::NOERROR, 0, BLOCKED, out),
    }
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

fn negative(query: &Query<'_>, rcode: Rcode, zone_at: usize, why: Reason, out: &mut [u8]) -> usize {
    let records = Records {
        authority: &soa(zone_at, why.ttl),
        ..Records::default()
    };
    write_records(&query.echo(), rcode, [Some(why.ede), None], records, out)
}

/// Writes an answer of one record of QNAME's, with at most 16 octets of RDATA. Returns its length; 0 if it is longer.
pub fn write_record(query: &Query<'_>, rtype: RecordType, rdata: &[u8], out: &mut [u8]) -> usize {
    positive(query, rtype, rdata, OURS, out)
}

fn positive(query: &Query<'_>, rtype: RecordType, rdata: &[u8], why: Reason, out: &mut [u8]) -> usize {
    let mut record = [0; 12 + MAX_OWN_RDATA];
    let Some(room) = record.get_mut(12..12 + rdata.len()) else {
        return 0;
    };
    room.copy_from_slice(rdata);
    record[..2].copy_from_slice(&owner(0));
    record[2..4].copy_from_slice(&rtype.0.to_be_bytes());
    record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    record[6..10].copy_from_slice(&why.ttl.to_be_bytes());
    record[10..12].copy_from_slice(&u16::try_from(rdata.len()).unwrap_or(0).to_be_bytes());
    let records = Records {
        answer: &record[..12 + rdata.len()],
        ..Records::default()
    };
    write_records(&query.echo(), Rcode::NOERROR, [Some(why.ede), None], records, out)
}

/// Writes the SOA of QNAME as its answer. Returns its length.
pub fn write_soa(query: &Query<'_>, out: &mut [u8]) -> usize {
    let records = Records {
        answer: &soa(0, LOCAL_TTL),
        ..Records::default()
    };
    write_records(
        &query.echo(),
        Rcode::NOERROR,
        [Some(Ede::SYNTHESIZED), None],
        records,
        out,
    )
}

/// The SOA of an empty zone (RFC 6303 section 3).
fn soa(zone_at: usize, ttl: u32) -> [u8; 50] {
    let mut record = [0; 50];
    record[..2].copy_from_slice(&owner(zone_at));
    record[2..4].copy_from_slice(&RecordType::SOA.0.to_be_bytes());
    record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    record[6..10].copy_from_slice(&ttl.to_be_bytes());
    record[10..12].copy_from_slice(&38_u16.to_be_bytes());
    record[12..14].copy_from_slice(&owner(zone_at));
    record[14..30].copy_from_slice(b"\x06nobody\x07invalid\0");
    for (field, value) in record[30..]
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .zip([1, 3600, 1200, 604_800, ttl])
    {
        *field = value.to_be_bytes();
    }
    record
}

/// A pointer into the question's name, which stands behind the header.
fn owner(at: usize) -> [u8; 2] {
    let at = u16::try_from(HEADER_LEN + at).unwrap_or(0);
    (0xc000 | at).to_be_bytes()
}

pub(super) fn write_empty(echo: &Echo<'_>, rcode: Rcode, ede: Option<Ede>, out: &mut [u8]) -> usize {
    write(echo, rcode, [ede, None], &[], out)
}

fn write(echo: &Echo<'_>, rcode: Rcode, ede: [Option<Ede>; 2], answer: &[u8], out: &mut [u8]) -> usize {
    let records = Records {
        answer,
        ..Records::default()
    };
    write_records(echo, rcode, ede, records, out)
}

/// At most one record in either section; an empty one is none.
#[derive(Clone, Copy, Default)]
struct Records<'a> {
    answer: &'a [u8],
    authority: &'a [u8],
}

/// Header, question, records, OPT; 0 if `out` is too small for that.
fn write_records(echo: &Echo<'_>, rcode: Rcode, ede: [Option<Ede>; 2], records: Records<'_>, out: &mut [u8]) -> usize {
    let Records { answer, authority } = records;
    let opt = echo.opt(rcode, ede);
    let question_end = HEADER_LEN + echo.question.len();
    let answer_end = question_end + answer.len();
    let records_end = answer_end + authority.len();
    let end = records_end + opt.map_or(0, |opt| opt.encoded_len());
    let Some(out) = out.get_mut(..end) else { return 0 };
    let counts = [answer, authority].map(|section| u16::from(!section.is_empty()));
    out[..HEADER_LEN].copy_from_slice(&echo.header(rcode, counts).octets());
    out[HEADER_LEN..question_end].copy_from_slice(echo.question);
    out[question_end..answer_end].copy_from_slice(answer);
    out[answer_end..records_end].copy_from_slice(authority);
    if let Some(opt) = opt {
        opt.write(&mut out[records_end..]);
    }
    end
}
