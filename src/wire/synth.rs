//! Responses of our own making: errors, and the answer to ANY.

use super::edns::{Ede, Edns, ResponseOpt};
use super::header::{CD, HEADER_LEN, Header, OPCODE, QR, RA, RD, Rcode};
use super::query::Query;
use super::record::{CLASS_IN, RecordType};

/// Seconds for which a client may keep our answer to ANY.
const ANY_TTL: u32 = 3600;

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

pub(super) fn write_empty(echo: &Echo<'_>, rcode: Rcode, ede: Option<Ede>, out: &mut [u8]) -> usize {
    write(echo, rcode, [ede, None], &[], out)
}

/// Header, question, at most one answer record, OPT; 0 if `out` is too small for that.
fn write(echo: &Echo<'_>, rcode: Rcode, ede: [Option<Ede>; 2], answer: &[u8], out: &mut [u8]) -> usize {
    let opt = echo.opt(rcode, ede);
    let question_end = HEADER_LEN + echo.question.len();
    let answer_end = question_end + answer.len();
    let end = answer_end + opt.map_or(0, |opt| opt.encoded_len());
    let Some(out) = out.get_mut(..end) else { return 0 };
    out[..HEADER_LEN].copy_from_slice(&echo.header(rcode, [u16::from(!answer.is_empty()), 0]).octets());
    out[HEADER_LEN..question_end].copy_from_slice(echo.question);
    out[question_end..answer_end].copy_from_slice(answer);
    if let Some(opt) = opt {
        opt.write(&mut out[answer_end..]);
    }
    end
}
