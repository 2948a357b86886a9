//! The typed reader, off the hot path: a whole response as text, for `tacenda query`. Built on hickory-proto, which stays
//! inside this file.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::iana;
use super::presentation::{read_labels, show_name, show_text, show_unknown};

/// A question of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name's labels, in the user's letter case.
    pub labels: Vec<Vec<u8>>,
    /// The record type.
    pub qtype: u16,
}

/// A response, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message ID.
    pub id: u16,
    /// With its extended bits.
    pub rcode: u16,
    /// Those that are set, in header order: `qr aa tc rd ra ad cd`.
    pub flags: Vec<&'static str>,
    /// The question that is answered: name, type, class.
    pub question: Option<(String, String, String)>,
    /// Extended errors: code and text (RFC 8914).
    pub extended_errors: Vec<(u16, String)>,
    /// The answer section.
    pub answers: Vec<RecordText>,
    /// The authority section.
    pub authorities: Vec<RecordText>,
    /// The additional section, OPT taken out.
    pub additionals: Vec<RecordText>,
}

/// A record in presentation format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordText {
    /// Owner name, with its last dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// `IN` and its like.
    pub class: String,
    /// `A`, `TYPE65280`.
    pub rtype: String,
    /// RDATA; types we do not know in the form of RFC 3597.
    pub data: String,
}

/// How long a query may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As short as it is: it stays on this host.
    None,
    /// With zeros to a multiple of 128 octets (RFC 8467).
    Blocks,
}

impl Question {
    /// Writes the query: RD and AD set, EDNS with 1232 octets.
    pub fn write(&self, id: u16, padding: Padding) -> Vec<u8> {
        let name =
            Name::from_labels(self.labels.iter().map(Vec::as_slice)).expect("the parser keeps RFC 1035's limits");
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = true;
        message.add_query(Query::query(name, RecordType::from(self.qtype)));
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_PAYLOAD);
        message.set_edns(edns.clone());
        let encode = |message: &Message| message.to_vec().expect("one question of legal length");
        let plain = encode(&message);
        if padding == Padding::None {
            return plain;
        }
        let zeros = (plain.len() + OPTION_HEADER_LEN).next_multiple_of(PADDING_BLOCK) - plain.len() - OPTION_HEADER_LEN;
        edns.options_mut()
            .insert(EdnsOption::Unknown(EdnsCode::Padding.into(), vec![0; zeros]));
        message.set_edns(edns);
        encode(&message)
    }
}

impl Reply {
    /// The addresses in its answers.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.answers.iter().filter_map(|record| record.data.parse().ok())
    }

    /// Reads a response.
    ///
    /// # Errors
    /// Why it cannot be read, for the user.
    pub fn read(octets: &[u8]) -> Result<Self, String> {
        let message = Message::from_vec(&tolerant(octets)).map_err(|error| error.to_string())?;
        let metadata = &message.metadata;
        if metadata.message_type != MessageType::Response {
            return Err("it is a query, not a response".to_owned());
        }
        let flags = [
            ("qr", true),
            ("aa", metadata.authoritative),
            ("tc", metadata.truncation),
            ("rd", metadata.recursion_desired),
            ("ra", metadata.recursion_available),
            ("ad", metadata.authentic_data),
            ("cd", metadata.checking_disabled),
        ];
        let question = message.queries.first().map(|query| {
            let rtype = iana::type_name(query.query_type().into());
            (show_name(query.name().iter()), rtype, class_name(query.query_class()))
        });
        Ok(Self {
            id: metadata.id,
            rcode: metadata.response_code.into(),
            flags: flags
                .into_iter()
                .filter(|(_, set)| *set)
                .map(|(word, _)| word)
                .collect(),
            question,
            extended_errors: message.edns.as_ref().map(extended_errors).unwrap_or_default(),
            answers: message.answers.iter().map(RecordText::from).collect(),
            authorities: message.authorities.iter().map(RecordText::from).collect(),
            additionals: message.additionals.iter().map(RecordText::from).collect(),
        })
    }
}

impl From<&Record> for RecordText {
    fn from(record: &Record) -> Self {
        Self {
            name: show_name(record.name.iter()),
            ttl: record.ttl,
            class: class_name(record.dns_class),
            rtype: iana::type_name(record.record_type().into()),
            data: show_data(&record.data),
        }
    }
}

/// hickory refuses records without RDATA, which APL and private types may have, except in UPDATE messages: so it gets this
/// one as an UPDATE. The opcode changes nothing else in how it reads.
fn tolerant(octets: &[u8]) -> Vec<u8> {
    let mut copy = octets.to_vec();
    if let Some(flags) = copy.get_mut(2) {
        *flags = *flags & !OPCODE | UPDATE;
    }
    copy
}

fn class_name(class: DNSClass) -> String {
    iana::class_name(class.into())
}

fn extended_errors(edns: &Edns) -> Vec<(u16, String)> {
    let read = |option: &(EdnsCode, EdnsOption)| match &option.1 {
        EdnsOption::Unknown(EDE_OPTION, data) => {
            let (code, text) = data.split_first_chunk::<2>()?;
            // The text is a stranger's: what a terminal could take for a command is not printed.
            let text = String::from_utf8_lossy(text).replace(char::is_control, "\u{fffd}");
            Some((u16::from_be_bytes(*code), text.trim_end_matches('\u{fffd}').to_owned()))
        }
        _ => None,
    };
    edns.options().options.iter().filter_map(read).collect()
}

/// hickory's own `Display` loses octets in strings and names, so the types that have any are written here.
fn show_data(data: &RData) -> String {
    let name = |name: &Name| show_name(name.iter());
    let texts = |texts: &[&[u8]]| texts.iter().map(|text| show_text(text)).collect::<Vec<_>>().join(" ");
    match data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::CNAME(target) => name(target),
        RData::NS(target) => name(target),
        RData::PTR(target) => name(target),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => {
            let (mname, rname) = (name(&soa.mname), name(&soa.rname));
            let (refresh, retry, expire) = (soa.refresh, soa.retry, soa.expire);
            format!(
                "{mname} {rname} {} {refresh} {retry} {expire} {}",
                soa.serial, soa.minimum
            )
        }
        RData::TXT(txt) => texts(&txt.txt_data.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        RData::HINFO(hinfo) => texts(&[&hinfo.cpu, &hinfo.os]),
        RData::CAA(caa) => format!("{} {} {}", caa.flags(), caa.tag, show_text(&caa.value)),
        RData::NAPTR(naptr) => {
            let strings = texts(&[&naptr.flags, &naptr.services, &naptr.regexp]);
            format!(
                "{} {} {strings} {}",
                naptr.order,
                naptr.preference,
                name(&naptr.replacement)
            )
        }
        RData::SVCB(svcb) => show_service(svcb),
        RData::HTTPS(https) => show_service(&https.0),
        RData::TLSA(_) | RData::SMIMEA(_) | RData::SSHFP(_) => data.to_string(),
        // hickory has no DNAME; its target is never compressed (RFC 6672 section 2.5).
        RData::Unknown { code, rdata } if u16::from(*code) == DNAME => match read_labels(&rdata.anything) {
            Some(labels) => show_name(labels.into_iter()),
            None => show_unknown(&rdata.anything),
        },
        RData::Unknown { rdata, .. } => show_unknown(&rdata.anything),
        other => show_unknown(&encode(other)),
    }
}

fn encode(data: &RData) -> Vec<u8> {
    let mut octets = Vec::new();
    match data.emit(&mut BinEncoder::new(&mut octets)) {
        Ok(()) => octets,
        Err(_) => Vec::new(),
    }
}

/// SVCB and HTTPS (RFC 9460 section 2.1).
fn show_service(service: &SVCB) -> String {
    let mut text = format!("{} {}", service.svc_priority, show_name(service.target_name.iter()));
    for (key, value) in &service.svc_params {
        text.push(' ');
        text.push_str(&show_parameter(*key, value));
    }
    text
}

fn show_parameter(key: SvcParamKey, value: &SvcParamValue) -> String {
    let key = match u16::from(key) {
        number @ 7.. => format!("key{number}"),
        _ => key.to_string(),
    };
    match value {
        SvcParamValue::Mandatory(keys) => format!("{key}={}", joined(keys.0.iter())),
        SvcParamValue::Alpn(alpn) => format!("{key}={}", show_text(joined(alpn.0.iter()).as_bytes())),
        SvcParamValue::NoDefaultAlpn => key,
        SvcParamValue::Port(port) => format!("{key}={port}"),
        SvcParamValue::Ipv4Hint(hint) => format!("{key}={}", joined(hint.0.iter())),
        SvcParamValue::Ipv6Hint(hint) => format!("{key}={}", joined(hint.0.iter())),
        SvcParamValue::EchConfigList(list) => format!("{key}={}", data_encoding::BASE64.encode(&list.0)),
        SvcParamValue::Unknown(octets) => format!("{key}={}", show_text(&octets.0)),
    }
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// What passes everywhere without fragments (DNS flag day 2020).
const MAX_UDP_PAYLOAD: u16 = 1232;

/// Block length for queries (RFC 8467 section 4.1).
const PADDING_BLOCK: usize = 128;

/// Code and length in front of an EDNS option.
const OPTION_HEADER_LEN: usize = 4;

/// Redirects everything below a name (RFC 6672).
const DNAME: u16 = 39;

/// The opcode's bits in the third octet, and UPDATE in them (RFC 2136 section 2.2).
const OPCODE: u8 = 0x78;
const UPDATE: u8 = 5 << 3;

/// Extended DNS error (RFC 8914 section 2).
const EDE_OPTION: u16 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::presentation::parse_name;

    fn question(name: &str, rtype: &str) -> Question {
        Question {
            labels: parse_name(name).unwrap(),
            qtype: iana::type_number(rtype).unwrap(),
        }
    }

    /// A response with one record of RDATA as given.
    fn reply(rtype: u16, rdata: &[u8]) -> Reply {
        let mut message = vec![0, 7, 0x81, 0xa0, 0, 0, 0, 1, 0, 0, 0, 0];
        message.extend_from_slice(b"\x03a b\0");
        message.extend_from_slice(&rtype.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
        message.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        message.extend_from_slice(rdata);
        Reply::read(&message).unwrap()
    }

    fn data(rtype: &str, rdata: &[u8]) -> String {
        reply(iana::type_number(rtype).unwrap(), rdata).answers[0].data.clone()
    }

    #[test]
    fn r8467_a_query_that_leaves_is_padded_and_has_id_0() {
        for name in [
            ".",
            "example.com",
            &["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join("."),
        ] {
            let query = question(name, "HTTPS").write(0, Padding::Blocks);
            assert_eq!(
                (query.len() % 128, &query[..4]),
                (0, [0, 0, 0x01, 0x20].as_slice()),
                "{name}"
            );
            assert!(query.len() <= 384);
        }
    }

    #[test]
    fn a_query_that_stays_here_is_short() {
        let query = question(r"A\.b.Example", "TYPE65280").write(0x1234, Padding::None);
        assert_eq!(query[..2], [0x12, 0x34]);
        assert!(
            query
                .windows(16)
                .any(|octets| octets == b"\x03A.b\x07Example\0\xff\x00\x00"),
            "{query:x?}"
        );
        assert_eq!(query.len(), 12 + 13 + 4 + 11);
    }

    #[test]
    fn header_and_owner() {
        let reply = reply(1, &[192, 0, 2, 1]);
        assert_eq!(
            (reply.id, reply.rcode, reply.flags.join(" ").as_str()),
            (7, 0, "qr rd ra ad")
        );
        let record = &reply.answers[0];
        assert_eq!(
            (
                record.name.as_str(),
                record.ttl,
                record.class.as_str(),
                record.rtype.as_str()
            ),
            (r"a\032b.", 300, "IN", "A")
        );
        assert_eq!(record.data, "192.0.2.1");
    }

    #[test]
    fn data_in_presentation_format() {
        assert_eq!(data("TXT", b"\x03a\"\xff\x00"), r#""a\"\255" """#);
        assert_eq!(data("MX", b"\x00\x0a\x04ma.x\x00"), r"10 ma\.x.");
        assert_eq!(data("CAA", b"\x80\x05issueca.example"), r#"128 issue "ca.example""#);
        assert_eq!(
            data(
                "HTTPS",
                b"\x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3\x00\x04\x00\x04\xc0\x00\x02\x01"
            ),
            r#"1 . alpn="h2,h3" ipv4hint=192.0.2.1"#
        );
        assert_eq!(
            data("HTTPS", b"\x00\x01\x00\x02\x6b\x00\x02\x01\""),
            r#"1 . key619="\001\"""#
        );
        assert_eq!(data("DNAME", b"\x01x\x00"), "x.");
        assert_eq!(data("DNAME", b"\x01x"), r"\# 2 0178");
        assert_eq!(data("TYPE65280", &[]), r"\# 0");
    }

    #[test]
    fn r8914_extended_errors_are_read_and_harmless_to_a_terminal() {
        let mut message = vec![
            0, 7, 0x81, 0x82, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 14,
        ];
        message.extend_from_slice(b"\0\x0f\0\x0a\0\x17no\x1b[2Jx\0");
        let reply = Reply::read(&message).unwrap();
        assert_eq!(
            (reply.rcode, reply.extended_errors),
            (2, vec![(23, "no\u{fffd}[2Jx".to_owned())])
        );
    }

    #[test]
    fn what_is_no_response() {
        assert!(Reply::read(&[]).is_err());
        assert!(Reply::read(&question("x", "A").write(1, Padding::None)).is_err());
    }
}
