//! What must hold for any octets at all: the fuzz targets look for octets that break it, and `cargo test` replays the corpora.
#![allow(dead_code, reason = "each fuzz target uses one of the checks")]

use std::io::BufReader;

use tacenda::app::portal::reply::{Reply, host_of, is_host_name, judge};
use tacenda::config::portal::{Expected, Probe};
use tacenda::policy::list::{self, Action};
use tacenda::policy::records;
use tacenda::policy::rules;
use tacenda::wire::answer::{Answer, TtlLimits};
use tacenda::wire::edns::keepalive_timeout;
use tacenda::wire::frame::{FrameReader, write_frame};
use tacenda::wire::header::{HEADER_LEN, Rcode};
use tacenda::wire::name::uncompressed_len;
use tacenda::wire::query::{Query, Reject};
use tacenda::wire::question::{Keepalive, MAX_QUERY_LEN, read_question, same_question};
use tacenda::wire::record::RecordType;
use tacenda::wire::synth::{write_error, write_truncated};

/// Octets from a client: a query is read, keyed, rewritten for upstream and refused without a panic, and what we write of
/// it is well-formed in the eyes of our own reader.
pub fn query(octets: &[u8]) {
    let mut out = [0; 512];
    match Query::parse(octets) {
        Err(Reject::Silent) => assert_eq!(Reject::Silent.write(octets, &mut out), 0),
        Err(reject) => {
            let len = reject.write(octets, &mut out);
            check_response(octets, &out[..len]);
        }
        Ok(query) => {
            let len = write_error(&query, Rcode::SERVFAIL, None, &mut out);
            check_response(octets, &out[..len]);
            let len = write_truncated(&query, &mut out);
            check_response(octets, &out[..len]);
            assert!(len <= octets.len());
            assert!((512..=1232).contains(&query.udp_payload_limit()));
            assert!(!query.key().qname().iter().any(u8::is_ascii_uppercase));
            for keepalive in [Keepalive::Ask, Keepalive::Omit] {
                check_upstream_query(octets, &query, keepalive);
            }
        }
    }
}

/// What a hotel answers to a probe: a host that a person is asked about is a plain one, and stands in the answer. The same for any text as a URL.
pub fn page(octets: &[u8]) {
    let probe = |expected| Probe {
        address: ([192, 0, 2, 1], 80).into(),
        host: "probe.example".into(),
        path: "/".into(),
        expected,
    };
    for expected in [Expected::Empty, Expected::Word("success".into())] {
        if let Reply::Another(Some(host)) = judge(&probe(expected), octets) {
            check_host(&host, &String::from_utf8_lossy(octets));
        }
    }
    let text = String::from_utf8_lossy(octets);
    if let Some(host) = host_of(&text) {
        check_host(&host, &text);
    }
}

fn check_host(host: &str, text: &str) {
    let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
    assert!(
        is_address || is_host_name(host) && text.to_ascii_lowercase().contains(host),
        "{host:?}"
    );
    assert!(
        host.len() <= 253 && host.bytes().all(|octet| octet.is_ascii_graphic()),
        "{host:?}"
    );
}

/// Octets from a resolver, taken as the answer to the very question that they carry. What is kept can be written at any
/// size and age, and is itself an answer of which nothing more is taken away.
pub fn answer(octets: &[u8]) {
    let _ = keepalive_timeout(octets);
    let Ok(question) = read_question(octets) else { return };
    // RD, one question, an OPT with DO: everything may be kept.
    let asked = [
        &[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1][..],
        question,
        &[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0],
    ]
    .concat();
    let Ok(query) = Query::parse(&asked) else { return };
    let key = query.key();
    let Ok(answer) = Answer::check(octets, &key, &LIMITS) else {
        return;
    };
    assert!(answer.max_len() <= usize::from(u16::MAX) + 64);
    let mut out = vec![0; answer.max_len()];
    for (age, room) in [(0, 0), (0, 12), (7, 512), (u32::MAX, 1232), (0, out.len())] {
        let room = room.min(out.len());
        let len = answer.write(&query, age, &mut out[..room]);
        assert!(len <= room && (len == 0 || len >= HEADER_LEN));
        let len = answer.write_stale(&query, &mut out[..room]);
        assert!(len <= room && (len == 0 || len >= HEADER_LEN));
    }
    let len = answer.write(&query, 0, &mut out);
    let again = Answer::check(&out[..len], &key, &LIMITS).expect("our own response is an answer");
    assert_eq!(again.message(), answer.message());
}

/// As the defaults.
const LIMITS: TtlLimits = TtlLimits {
    min: 0,
    max: 86_400,
    max_negative: 3600,
};

/// A byte stream: however it is cut into reads, the same messages come out, and written again they give the same stream.
pub fn frame(octets: &[u8]) {
    let Some((step, stream)) = octets.split_first() else {
        return;
    };
    let whole = messages(stream, stream.len().max(1));
    assert_eq!(messages(stream, usize::from(*step).max(1)), whole);
    let mut written = Vec::new();
    for message in &whole {
        write_frame(message, &mut written).expect("a message that was read fits a frame");
    }
    assert!(stream.starts_with(&written));
}

/// A list of a stranger: however it is cut into reads, the same is found; every rule is about a name that a query can have, the
/// table decides on that name, and the line that decided is found again.
pub fn list(octets: &[u8]) {
    for action in [Action::Block, Action::Allow] {
        let mut names = Vec::new();
        let tally = list::read(octets, action, |line, rule| {
            assert_eq!(uncompressed_len(rule.name, 0), Ok(rule.name.len()));
            assert!(!rule.name.iter().any(u8::is_ascii_uppercase));
            names.push((line, rule.name.to_vec()));
            true
        })
        .expect("memory can be read");
        assert_eq!(tally.rules as usize, names.len());
        let mut builder = rules::Builder::new();
        let pieces = BufReader::with_capacity(7, octets);
        assert_eq!(builder.read(0, action, pieces).expect("memory can be read"), tally);
        let table = builder.build();
        assert!(table.len() <= names.len());
        // The first rules only: each is looked for in the whole list.
        for (line, name) in names.iter().take(8) {
            let decision = table.decide(name).expect("the name of a rule is decided on");
            let found = list::find_line(octets, action, name).expect("memory can be read");
            let found = found.expect("what decided is there");
            assert!(found.text.is_ascii() && !found.text.contains(|c: char| c.is_ascii_control()));
            assert_eq!(found.action, decision.action);
            assert!(found.number <= *line || usize::from(decision.labels) >= labels(name));
        }
    }
}

/// Labels of a name that was checked before.
fn labels(name: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while name[at] != 0 {
        at += 1 + usize::from(name[at]);
        count += 1;
    }
    count
}

/// A user's records, and the same octets as a hosts file: read or refused with a place that exists, and what is in the table can be
/// found.
pub fn records(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut builder = records::Builder::new();
    if let Err(errors) = builder.read_records(0, &text) {
        for error in &errors {
            let line = text.lines().nth(error.line as usize - 1).expect("a line of the text");
            assert!((1..=line.chars().count() + 1).contains(&(error.column as usize)));
        }
    }
    let _ = builder.read_hosts(1, octets);
    let Ok(table) = builder.build() else { return };
    for qname in [&b"\x01a\x07example\0"[..], b"\x03www\x07example\0", b"\0", b"", octets] {
        for qtype in [1, 5, 12, 15, 16, 28, 33, 65] {
            let Some(found) = table.find(qname, RecordType(qtype)) else {
                continue;
            };
            assert!(found.aliases().len() <= records::MAX_CHAIN);
            for alias in found.aliases() {
                assert_eq!(uncompressed_len(alias.target, 0), Ok(alias.target.len()));
            }
            if let records::End::Data(set) = found.end {
                let len: usize = set.rdatas.iter().map(|rdata| rdata.len()).sum();
                assert!(!set.rdatas.is_empty() && len <= records::MAX_SET_LEN);
            }
        }
    }
}

/// Pushes a stream in pieces and collects what comes out.
fn messages(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
    let (mut reader, mut all) = (FrameReader::new(), Vec::new());
    for piece in stream.chunks(step) {
        reader.push(piece);
        while let Some(message) = reader.next_message() {
            all.push(message.to_vec());
        }
    }
    all
}

/// A response repeats the ID, is marked as one, and is no longer than it may be.
fn check_response(query: &[u8], response: &[u8]) {
    assert!((HEADER_LEN..=512).contains(&response.len()));
    assert_eq!(response[..2], query[..2]);
    assert_eq!(response[2] & 0x80, 0x80);
    assert!(Query::parse(response).is_err(), "a response is never served as a query");
}

/// What goes upstream is a query that our own reader takes, for the same question, padded.
fn check_upstream_query(octets: &[u8], query: &Query<'_>, keepalive: Keepalive) {
    let mut out = [0; MAX_QUERY_LEN];
    let len = query.key().write_query(keepalive, &mut out);
    assert!(len.is_multiple_of(128) && len <= MAX_QUERY_LEN);
    assert_eq!(out[..2], [0, 0]);
    let again = Query::parse(&out[..len]).expect("our own query is well-formed");
    assert_eq!(again.key(), query.key());
    assert!(same_question(octets, &out[..len]));
}
