use std::net::Ipv4Addr;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::wire::testkit::name;

const A: RecordType = RecordType::A;
const MX: RecordType = RecordType(15);
const TXT: RecordType = RecordType(16);
const SRV: RecordType = RecordType(33);

fn records(text: &str) -> Records {
    let mut builder = Builder::new();
    builder.read_records(0, text).unwrap();
    builder.build().unwrap()
}

fn hosts(text: &str) -> Records {
    let mut builder = Builder::new();
    builder.read_hosts(0, text.as_bytes()).unwrap();
    builder.build().unwrap()
}

/// Owner, type, TTL and RDATA of each record, and how it ends.
type Answer = (Vec<(Vec<u8>, u16, u32, Vec<u8>)>, String);

fn find(records: &Records, qname: &str, qtype: RecordType) -> Option<Answer> {
    let qname = name(qname);
    let found = records.find(&qname, qtype)?;
    let mut all = Vec::new();
    let mut owner = qname.clone();
    for alias in found.aliases() {
        all.push((owner, RecordType::CNAME.0, alias.ttl, alias.target.to_vec()));
        owner = alias.target.to_vec();
    }
    let end = match found.end {
        End::Data(set) => {
            all.extend(
                set.rdatas
                    .iter()
                    .map(|rdata| (owner.clone(), set.rtype.0, set.ttl, rdata.to_vec())),
            );
            "data".to_owned()
        }
        End::NoData => "no data".to_owned(),
        End::Outside(target) => format!("outside {}", target.escape_ascii()),
    };
    Some((all, end))
}

#[test]
fn every_type_is_read() {
    let long_text = "x".repeat(255);
    for (line, rtype, ttl, rdata) in [
        ("n.example A 192.0.2.1".to_owned(), A, 300, vec![192, 0, 2, 1]),
        (
            "N.Example. 60 IN a 192.0.2.1 ; why".to_owned(),
            A,
            60,
            vec![192, 0, 2, 1],
        ),
        (
            "\tn.example\tIN 60 A 192.0.2.1 # why".to_owned(),
            A,
            60,
            vec![192, 0, 2, 1],
        ),
        (
            "n.example 0 AAAA 2001:db8::1".to_owned(),
            RecordType::AAAA,
            0,
            vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ),
        (
            "n.example CNAME Other.example".to_owned(),
            RecordType::CNAME,
            300,
            name("other.example"),
        ),
        (
            "n.example PTR x.example.".to_owned(),
            RecordType::PTR,
            300,
            name("x.example"),
        ),
        (
            "n.example MX 10 m.example".to_owned(),
            MX,
            300,
            [&[0, 10][..], &name("m.example")].concat(),
        ),
        ("n.example MX 0 .".to_owned(), MX, 300, vec![0, 0, 0]),
        (
            "n.example SRV 1 2 5060 s.example".to_owned(),
            SRV,
            300,
            [&[0, 1, 0, 2, 0x13, 0xc4][..], &name("s.example")].concat(),
        ),
        (
            r#"n.example TXT "a b; #c" d\;e "\"\\\007" """#.to_owned(),
            TXT,
            300,
            b"\x07a b; #c\x03d;e\x03\"\\\x07\x00".to_vec(),
        ),
        ("n.example TXT ü".to_owned(), TXT, 300, vec![2, 0xc3, 0xbc]),
        (
            format!("n.example TXT {long_text}"),
            TXT,
            300,
            [&[255][..], long_text.as_bytes()].concat(),
        ),
    ] {
        let expected = (vec![(name("n.example"), rtype.0, ttl, rdata)], "data".to_owned());
        assert_eq!(find(&records(&line), "n.example", rtype), Some(expected), "{line}");
    }
    let escaped = records(r"a\.b\032\255.example A 192.0.2.1");
    assert!(escaped.find(b"\x05a.b \xff\x07example\0", A).is_some());
    assert!(records("\u{feff}; nothing\n\n  # nothing\r\n").is_empty());
}

#[test]
fn mistakes_are_named_with_their_place() {
    let long_label = format!("{}.example A 192.0.2.1", "a".repeat(64));
    let long_name = format!("{}example A 192.0.2.1", "a.".repeat(130));
    let long_text = format!("a.example TXT {}", "x".repeat(256));
    for (line, column, what) in [
        ("localhost A 203.0.113.5", 1, "localhost"),
        ("www.LOCALHOST. A 203.0.113.5", 1, "localhost"),
        ("a.example", 10, "expected a type"),
        ("a.example NS b.example", 11, "expected a type"),
        ("a.example CH A 192.0.2.1", 11, "expected a type"),
        ("a.example IN IN A 192.0.2.1", 14, "expected a type"),
        ("a.example 2147483648 A 192.0.2.1", 11, "TTL"),
        ("a.example 1h A 192.0.2.1", 11, "TTL"),
        ("a.example A", 12, "IPv4"),
        ("a.example A ; nothing", 13, "IPv4"),
        ("a.example A 192.0.2.256", 13, "IPv4"),
        ("a.example A 2001:db8::1", 13, "IPv4"),
        ("a.example AAAA 192.0.2.1", 16, "IPv6"),
        ("a.example A 192.0.2.1 192.0.2.2", 23, "nothing"),
        ("a.example MX m.example", 14, "preference"),
        ("a.example SRV 1 2 65536 m.example", 19, "port"),
        ("a.example SRV 1 2 3", 20, "domain name"),
        ("a.example CNAME", 16, "domain name"),
        ("a.example CNAME @", 17, "whole domain name"),
        ("@ A 192.0.2.1", 1, "whole domain name"),
        ("*.example A 192.0.2.1", 1, "wildcards"),
        (". A 192.0.2.1", 1, "root"),
        ("a..example A 192.0.2.1", 1, "empty label"),
        (".example A 192.0.2.1", 1, "empty label"),
        (r"a\300.example A 192.0.2.1", 1, "backslash"),
        ("bücher.example A 192.0.2.1", 1, "punycode"),
        ("a.example CNAME bücher.example", 17, "punycode"),
        (&long_label, 1, "63 octets"),
        (&long_name, 1, "255 octets"),
        (&long_text, 15, "255 octets"),
        ("a.example TXT \"ü\" \"open", 19, "not closed"),
        (r"a.example TXT x\", 15, "backslash"),
        ("a.example TXT", 14, "expected text"),
        ("$ORIGIN example.", 1, "directives"),
        ("a.example ( A 192.0.2.1 )", 11, "brackets"),
    ] {
        let text = format!("; first\n{line}\n");
        let errors = Builder::new().read_records(7, &text).unwrap_err();
        assert_eq!(errors.len(), 1, "{line}");
        let error = &errors[0];
        assert_eq!(
            (error.source, error.line, error.column),
            (7, 2, column),
            "{line}: {error}"
        );
        assert!(error.what.contains(what), "{line}: {error}");
    }
    let many = Builder::new().read_records(0, &"a.example\n".repeat(50)).unwrap_err();
    assert_eq!(many.len(), MAX_ERRORS);
}

#[test]
fn records_of_one_name_are_a_set_with_the_lowest_ttl() {
    let text = "a.example 60 A 192.0.2.1\na.example 30 A 192.0.2.2\nA.example A 192.0.2.1\na.example TXT x";
    let (all, _) = find(&records(text), "a.example", A).unwrap();
    assert_eq!(all.len(), 2, "the same twice is once");
    assert!(all.iter().all(|(_, _, ttl, _)| *ttl == 30));
    assert_eq!(
        find(&records(text), "a.example", MX),
        Some((vec![], "no data".to_owned()))
    );
    for other in ["example", "x.a.example", "b.example"] {
        assert_eq!(find(&records(text), other, A), None, "{other}");
    }
    let many: String = (0..2000).map(|n| format!("a.example AAAA 2001:db8::{n:x}\n")).collect();
    assert!(
        Builder::new().read_records(0, &many).unwrap_err()[0]
            .what
            .contains("fit an answer")
    );
}

#[test]
fn aliases_are_followed_as_far_as_they_are_known() {
    let text =
        "a.example CNAME b.example\nb.example CNAME c.example\nc.example A 192.0.2.1\no.example CNAME www.other\n";
    let records = records(text);
    let alias = |owner: &str, target: &str| (name(owner), 5, 300, name(target));
    let chain = vec![alias("a.example", "b.example"), alias("b.example", "c.example")];
    let whole = [chain.clone(), vec![(name("c.example"), 1, 300, vec![192, 0, 2, 1])]].concat();
    assert_eq!(find(&records, "a.example", A), Some((whole, "data".to_owned())));
    assert_eq!(find(&records, "a.example", TXT), Some((chain, "no data".to_owned())));
    let outside = vec![alias("o.example", "www.other")];
    assert_eq!(
        find(&records, "o.example", A),
        Some((outside.clone(), r"outside \x03www\x05other\x00".to_owned()))
    );
    assert_eq!(
        find(&records, "o.example", RecordType::CNAME),
        Some((outside, "data".to_owned()))
    );
}

#[test]
fn aliases_that_cannot_be_are_refused() {
    for text in [
        "a.example A 192.0.2.1\na.example CNAME b.example",
        "a.example CNAME b.example\na.example A 192.0.2.1",
        "a.example CNAME b.example\na.example CNAME c.example",
    ] {
        let errors = Builder::new().read_records(0, text).unwrap_err();
        assert_eq!((errors.len(), errors[0].line), (1, 2), "{text}");
    }
    let build = |text: &str| {
        let mut builder = Builder::new();
        builder.read_records(3, text).unwrap();
        builder
            .build()
            .map_err(|errors| errors.iter().map(|error| error.line).collect::<Vec<_>>())
            .err()
    };
    assert_eq!(build("a.example CNAME a.example"), Some(vec![1]));
    assert_eq!(
        build("\na.example CNAME b.example\nb.example CNAME a.example\nx.example A 192.0.2.1"),
        Some(vec![2, 3])
    );
    let chain = |len: usize| {
        (0..len)
            .map(|n| format!("n{n}.example CNAME n{}.example\n", n + 1))
            .collect::<String>()
    };
    assert_eq!(build(&chain(MAX_CHAIN)), None);
    assert_eq!(build(&chain(MAX_CHAIN + 1)), Some(vec![1]));
    // Into a circle without being part of it.
    assert_eq!(
        build("x.example CNAME a.example\na.example CNAME b.example\nb.example CNAME a.example"),
        Some(vec![1, 2, 3])
    );
}

#[test]
fn a_chain_of_full_length_is_found_whole() {
    let mut text: String = (0..MAX_CHAIN)
        .map(|n| format!("n{n}.example CNAME n{}.example\n", n + 1))
        .collect();
    text.push_str(&format!("n{MAX_CHAIN}.example A 192.0.2.1\n"));
    let (all, end) = find(&records(&text), "n0.example", A).unwrap();
    assert_eq!((all.len(), end.as_str()), (MAX_CHAIN + 1, "data"));
}

#[test]
fn hosts_files_give_addresses_and_their_names() {
    let text = "# hosts\n127.0.0.1 localhost\n192.0.2.1 NAS.example nas # both\n2001:db8::1\tnas\n192.0.2.1 late\n0.0.0.0 ads.example\nfe80::1%eth0 router.lan\n";
    let hosts = hosts(text);
    let host = |qname: &str, qtype: RecordType| {
        let (all, end) = find(&hosts, qname, qtype)?;
        Some((all.into_iter().map(|(.., rdata)| rdata).collect::<Vec<_>>(), end))
    };
    let data = |rdata: &[u8]| Some((vec![rdata.to_vec()], "data".to_owned()));
    for qname in ["nas.example", "nas", "late"] {
        assert_eq!(host(qname, A), data(&[192, 0, 2, 1]), "{qname}");
    }
    assert_eq!(host("nas", RecordType::AAAA).unwrap().1, "data");
    assert_eq!(host("late", RecordType::AAAA).unwrap().1, "no data");
    assert_eq!(
        host("1.2.0.192.in-addr.arpa", RecordType::PTR),
        data(&name("nas.example"))
    );
    let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(host(nibbles, RecordType::PTR), data(&name("nas")));
    assert_eq!(host("ads.example", A), data(&[0, 0, 0, 0]));
    for qname in ["localhost", "1.0.0.127.in-addr.arpa", "0.0.0.0.in-addr.arpa"] {
        assert_eq!(host(qname, RecordType::PTR), None, "{qname}");
    }
    let mut builder = Builder::new();
    let tally = builder
        .read_hosts(0, "x y\n192.0.2.1 a b bücher\nads.example\n192.0.2.2 c".as_bytes())
        .unwrap();
    let forms = vec![(1, Skip::Form), (2, Skip::Unicode), (3, Skip::Form)];
    assert_eq!((tally.rules, tally.skipped, tally.first_skipped), (3, 3, forms));
    assert_eq!(builder.build().unwrap().len(), 5, "a, b, c and two addresses");
}

#[test]
fn records_count_more_than_hosts_files() {
    let mut builder = Builder::new();
    builder
        .read_hosts(0, b"192.0.2.1 nas.example other.example".as_slice())
        .unwrap();
    let text = "nas.example A 192.0.2.9\n192.0.2.1 PTR mine.example\n";
    builder.read_records(1, text).unwrap();
    let records = builder.build().unwrap();
    let first = |qname: &str, qtype| find(&records, qname, qtype).unwrap().0.remove(0).3;
    assert_eq!(first("nas.example", A), Ipv4Addr::new(192, 0, 2, 9).octets());
    assert_eq!(first("other.example", A), Ipv4Addr::new(192, 0, 2, 1).octets());
    assert_eq!(first("1.2.0.192.in-addr.arpa", RecordType::PTR), name("mine.example"));
    let found = records.find(b"\x03nas\x07example\0", A).unwrap();
    assert!(matches!(found.end, End::Data(set) if (set.source, set.line) == (1, 1)));
    assert_eq!(format!("{records:?}"), "Records { owners: 3, .. }");
}

#[test]
fn a_hosts_file_that_should_block_is_refused() {
    let text: String = (0..=MAX_RECORDS).map(|n| format!("0.0.0.0 n{n}.example\n")).collect();
    let error = Builder::new().read_hosts(0, text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`block`"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), line in "[a-c.@*$\\\\ ]{0,9} ([0-9]{1,3} )?(IN )?(A|MX|TXT|CNAME|PTR) [ -~]{0,20}") {
        for text in [text, line] {
            let mut builder = Builder::new();
            let read = builder.read_records(0, &text);
            prop_assert!(read.is_ok() || builder.build().is_ok(), "{:?}", read);
        }
    }
}
