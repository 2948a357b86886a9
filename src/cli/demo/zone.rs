//! The small zone of the demo's resolver, and a writer of responses from it.
//!
//! Knows nothing of transports. Names carry no escapes and no label over 63 octets: they are all written here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A record type that the demo asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordType {
    /// IPv4 address.
    A = 1,
    /// Alias.
    Cname = 5,
    /// Start of authority: here it marks a negative answer.
    Soa = 6,
    /// Mail exchange.
    Mx = 15,
    /// Text.
    Txt = 16,
    /// IPv6 address.
    Aaaa = 28,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::Cname => "CNAME",
            Self::Soa => "SOA",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
        })
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rdata {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Alias of this name.
    Cname(&'static str),
    /// Preference and host.
    Mx(u16, &'static str),
    /// One string.
    Txt(&'static str),
}

impl Rdata {
    /// The type of a record with this content.
    pub fn record_type(self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Cname(_) => RecordType::Cname,
            Self::Mx(..) => RecordType::Mx,
            Self::Txt(_) => RecordType::Txt,
        }
    }

    /// Appends length and content.
    fn write(self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0, 0]);
        match self {
            Self::A(address) => out.extend_from_slice(&address.octets()),
            Self::Aaaa(address) => out.extend_from_slice(&address.octets()),
            Self::Cname(name) => write_name(name, out),
            Self::Mx(preference, host) => {
                out.extend_from_slice(&preference.to_be_bytes());
                write_name(host, out);
            }
            Self::Txt(text) => {
                out.push(length_octet(text));
                out.extend_from_slice(text.as_bytes());
            }
        }
        set_length(out, at);
    }
}

impl fmt::Display for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "{address}"),
            Self::Aaaa(address) => write!(f, "{address}"),
            Self::Cname(name) => write!(f, "CNAME {name}"),
            Self::Mx(preference, host) => write!(f, "{preference} {host}"),
            Self::Txt(text) => write!(f, "\"{text}\""),
        }
    }
}

/// Every record of the zone: owner and content.
pub const RECORDS: [(&str, Rdata); 9] = [
    ("anxiety-clinic.example", Rdata::A(Ipv4Addr::new(192, 0, 2, 10))),
    (
        "anxiety-clinic.example",
        Rdata::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
    ),
    (
        "anxiety-clinic.example",
        Rdata::Mx(10, "letterbox.anxiety-clinic.example"),
    ),
    (
        "letterbox.anxiety-clinic.example",
        Rdata::A(Ipv4Addr::new(192, 0, 2, 25)),
    ),
    (
        "divorce-lawyer.example",
        Rdata::Cname("appointments.divorce-lawyer.example"),
    ),
    (
        "appointments.divorce-lawyer.example",
        Rdata::Cname("frontdesk.hosting-company.example"),
    ),
    (
        "frontdesk.hosting-company.example",
        Rdata::A(Ipv4Addr::new(192, 0, 2, 80)),
    ),
    ("whistleblower.newspaper.example", Rdata::Txt("we protect our sources")),
    (
        "frontdesk.hosting-company.example",
        Rdata::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80)),
    ),
];

/// A name of the zone that does not exist, for the negative answer.
pub const MISSING: &str = "competitor-job-offer.example";

/// TTL of every record, and SOA MINIMUM, in seconds: long enough that nothing expires while the demo runs.
const TTL: u32 = 300;

/// Octets to whose multiple every response is padded (RFC 8467 section 4.2).
const RESPONSE_BLOCK: usize = 468;

/// The answer section for a question: the CNAME chain followed to its end. Empty means that the name or the type is missing.
pub fn look_up(name: &str, qtype: u16) -> Vec<(&'static str, Rdata)> {
    let mut answer = Vec::new();
    let mut wanted = name;
    // A chain cannot be longer than the zone.
    for _ in 0..RECORDS.len() {
        let owned = || {
            RECORDS
                .iter()
                .filter(|(owner, _)| owner.eq_ignore_ascii_case(wanted))
                .copied()
        };
        answer.extend(owned().filter(|(_, rdata)| rdata.record_type() as u16 == qtype));
        match owned().find_map(|record| Some(record).zip(alias(record.1))) {
            Some((record, target)) if qtype != RecordType::Cname as u16 => {
                answer.push(record);
                wanted = target;
            }
            _ => break,
        }
    }
    answer
}

/// The target, if this is an alias.
fn alias(rdata: Rdata) -> Option<&'static str> {
    if let Rdata::Cname(target) = rdata {
        Some(target)
    } else {
        None
    }
}

/// Whether the zone has anything at this name.
fn exists(name: &str) -> bool {
    RECORDS.iter().any(|(owner, _)| owner.eq_ignore_ascii_case(name))
}

/// Writes the response to a query: ID, RD and question repeated, RA set, OPT with padding if the query had additional
/// records. `None` for what is not a query with one readable question.
pub fn respond(query: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = query.split_first_chunk::<12>()?;
    if header[2] & 0xf8 != 0 || header[4..6] != [0, 1] {
        return None;
    }
    let (name, name_len) = read_name(rest)?;
    let question = rest.get(..name_len + 4)?;
    let answer = look_up(&name, u16::from_be_bytes([question[name_len], question[name_len + 1]]));
    let rcode = if answer.is_empty() && !exists(&name) { 3 } else { 0 };
    let count = u8::try_from(answer.len()).ok()?;
    let (negative, edns) = (u8::from(answer.is_empty()), u8::from(header[11] > 0));

    let mut out = vec![
        header[0],
        header[1],
        0x80 | (header[2] & 1),
        0x80 | rcode,
        0,
        1,
        0,
        count,
        0,
        negative,
        0,
        edns,
    ];
    out.extend_from_slice(question);
    for (owner, rdata) in answer {
        write_record_head(owner, rdata.record_type(), &mut out);
        rdata.write(&mut out);
    }
    if negative == 1 {
        write_soa(&mut out);
    }
    if edns == 1 {
        write_padded_opt(&mut out);
    }
    Some(out)
}

/// Reads an uncompressed name; returns it with dots, and its length on the wire.
fn read_name(octets: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let len = usize::from(*octets.get(at)?);
        if len == 0 {
            return Some((labels.join("."), at + 1));
        }
        if len > 63 || at + len > 254 {
            return None;
        }
        labels.push(String::from_utf8_lossy(octets.get(at + 1..at + 1 + len)?).into_owned());
        at += len + 1;
    }
}

/// Writes a name given with dots, uncompressed.
pub fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(length_octet(label));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

fn write_record_head(owner: &str, record_type: RecordType, out: &mut Vec<u8>) {
    write_name(owner, out);
    out.extend_from_slice(&(record_type as u16).to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes());
    out.extend_from_slice(&TTL.to_be_bytes());
}

/// The SOA of `example`, for a negative answer (RFC 2308).
fn write_soa(out: &mut Vec<u8>) {
    write_record_head("example", RecordType::Soa, out);
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    write_name("ns.example", out);
    write_name("hostmaster.example", out);
    for number in [1, 7200, 900, 1_209_600, TTL] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    set_length(out, at);
}

/// An OPT whose padding fills the response to a multiple of [`RESPONSE_BLOCK`].
fn write_padded_opt(out: &mut Vec<u8>) {
    // Root owner, OPT, 1232 octets of payload, no extended RCODE, version 0, no flags.
    out.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    let at = out.len();
    let padding = RESPONSE_BLOCK - (at + 6) % RESPONSE_BLOCK;
    out.extend_from_slice(&[0, 0, 0, 12]);
    out.extend_from_slice(&u16::try_from(padding).unwrap_or(0).to_be_bytes());
    out.resize(out.len() + padding, 0);
    set_length(out, at);
}

/// Fills in the two octets of length at `at` with what was written after them.
fn set_length(out: &mut [u8], at: usize) {
    let len = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX).to_be_bytes();
    out[at..at + 2].copy_from_slice(&len);
}

fn length_octet(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, ResponseCode};

    fn query(name: &str, qtype: u16) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        write_name(name, &mut out);
        out.extend_from_slice(&qtype.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        out
    }

    #[test]
    fn hickory_reads_every_response() {
        for (owner, rdata) in RECORDS {
            let response = respond(&query(owner, rdata.record_type() as u16)).unwrap();
            assert_eq!(response.len() % RESPONSE_BLOCK, 0);
            let message = Message::from_vec(&response).unwrap();
            assert_eq!(
                (message.metadata.id, message.metadata.response_code),
                (0xabcd, ResponseCode::NoError)
            );
            assert!(!message.answers.is_empty(), "{owner} {rdata}");
        }
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let message = Message::from_vec(&respond(&query("DIVORCE-lawyer.example", 1)).unwrap()).unwrap();
        assert_eq!(message.answers.len(), 3);
        assert_eq!(message.answers[2].data.to_string(), "192.0.2.80");
    }

    #[test]
    fn negatives_carry_the_soa() {
        for (name, qtype, rcode) in [
            (MISSING, 1, ResponseCode::NXDomain),
            ("whistleblower.newspaper.example", 1, ResponseCode::NoError),
        ] {
            let message = Message::from_vec(&respond(&query(name, qtype)).unwrap()).unwrap();
            assert_eq!((message.metadata.response_code, message.answers.len()), (rcode, 0));
            assert_eq!(message.authorities.len(), 1);
        }
    }

    #[test]
    fn what_is_no_query_gets_nothing() {
        let whole = query(MISSING, 1);
        for len in 0..whole.len() - 11 {
            assert_eq!(respond(&whole[..len]), None);
        }
        let mut response = whole;
        response[2] |= 0x80;
        assert_eq!(respond(&response), None);
    }
}
