//! Messages written octet by octet, for tests: the honest and the other kind.

use hickory_proto::op::Message;

use super::ParseError;
use super::answer::{Answer, TtlLimits, Unusable};
use super::header::{Header, QR, RA, RD};
use super::query::Query;
use super::question::QuestionKey;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const OPT: u16 = 41;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;

/// `www.example` in wire form, one octet of length before each label.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut octets = vec![];
    for label in text.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

pub(crate) fn question(qname: &str, qtype: u16) -> Vec<u8> {
    [name(qname).as_slice(), &qtype.to_be_bytes(), &[0, 1]].concat()
}

/// A record of class IN.
pub(crate) fn record(owner: &str, rtype: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    raw_record(&name(owner), rtype, 1, ttl, rdata)
}

pub(crate) fn raw_record(owner: &[u8], rtype: u16, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rdata.len()).unwrap();
    [
        owner,
        &rtype.to_be_bytes(),
        &class.to_be_bytes(),
        &ttl.to_be_bytes(),
        &len.to_be_bytes(),
        rdata,
    ]
    .concat()
}

pub(crate) fn soa(owner: &str, ttl: u32, minimum: u32) -> Vec<u8> {
    let numbers = [1, 7200, 900, 1_209_600, minimum].map(u32::to_be_bytes).concat();
    record(
        owner,
        SOA,
        ttl,
        &[name("ns.example"), name("admin.example"), numbers].concat(),
    )
}

/// An OPT of version 0 with a payload size, flags (the whole TTL field) and options.
pub(crate) fn opt(size: u16, flags: u32, options: &[u8]) -> Vec<u8> {
    raw_record(&[0], OPT, size, flags, options)
}

/// A message with header bits as given and counts as they are.
pub(crate) fn message(bits: [u8; 2], question: &[u8], sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let count = |records: &[Vec<u8>]| u16::try_from(records.len()).unwrap();
    let counts = [
        u16::from(!question.is_empty()),
        count(sections[0]),
        count(sections[1]),
        count(sections[2]),
    ];
    let header = Header {
        id: 0x1234,
        high: bits[0],
        low: bits[1],
        counts,
    }
    .octets();
    [header.as_slice(), question, &sections.map(<[Vec<u8>]>::concat).concat()].concat()
}

/// A query with RD and, if given, an OPT.
pub(crate) fn query(qname: &str, qtype: u16, opt: Option<Vec<u8>>) -> Vec<u8> {
    message(
        [RD, 0],
        &question(qname, qtype),
        [&[], &[], &opt.map_or(vec![], |opt| vec![opt])],
    )
}

/// A response with the RCODE given.
pub(crate) fn response(qname: &str, qtype: u16, rcode: u8, answers: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
    message(
        [QR | RD, RA | rcode],
        &question(qname, qtype),
        [answers, authority, &[]],
    )
}

pub(crate) fn key(qname: &str, qtype: u16) -> QuestionKey {
    Query::parse(&query(qname, qtype, None)).unwrap().key()
}

/// The key of a query with DO.
pub(crate) fn key_with_do(qname: &str, qtype: u16) -> QuestionKey {
    Query::parse(&query(qname, qtype, Some(opt(1232, 0x8000, &[]))))
        .unwrap()
        .key()
}

pub(crate) const LIMITS: TtlLimits = TtlLimits {
    min: 0,
    max: 86_400,
    max_negative: 3600,
};
pub(crate) const ADDRESS: &[u8] = &[192, 0, 2, 1];

/// The check with [`LIMITS`], without DO.
pub(crate) fn check(response: &[u8], qname: &str, qtype: u16) -> Result<Answer, Unusable> {
    Answer::check(response, &key(qname, qtype), &LIMITS)
}

/// Why an answer to an A query is malformed.
pub(crate) fn malformed(response: &[u8], qname: &str) -> ParseError {
    match check(response, qname, A) {
        Err(Unusable::Malformed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// What a client with this query gets, as hickory reads it.
pub(crate) fn written(answer: &Answer, query: &[u8], age: u32, room: usize) -> Message {
    let mut out = vec![0xee; room];
    let len = answer.write(&Query::parse(query).unwrap(), age, &mut out);
    assert!(len > 0, "fits");
    Message::from_vec(&out[..len]).expect("hickory reads what we write")
}

/// Answer and authority records as text.
pub(crate) fn lines(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .chain(&message.authorities)
        .map(ToString::to_string)
        .collect()
}
