//! Replays the fuzz corpora: what a fuzzer found once stays found (tests/fuzz/).

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use crate::client::{A, AAAA, Ask, CHAOS, CNAME, DNAME, SOA, TXT, framed, opt, wire_name};
use crate::script::Heard;

#[path = "../fuzz/checks.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets share this file")]
mod checks;

/// Every file of one target's corpus.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let all: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!(all.len() >= 5, "{} has {} files", folder.display(), all.len());
    all
}

#[test]
fn the_query_corpus_is_replayed() {
    for (path, octets) in corpus("query") {
        eprintln!("{}", path.display());
        checks::query(&octets);
    }
}

#[test]
fn the_frame_corpus_is_replayed() {
    for (path, octets) in corpus("frame") {
        eprintln!("{}", path.display());
        checks::frame(&octets);
    }
}

#[test]
fn the_answer_corpus_is_replayed() {
    for (path, octets) in corpus("answer") {
        eprintln!("{}", path.display());
        checks::answer(&octets);
    }
}

#[test]
fn the_list_corpus_is_replayed() {
    for (path, octets) in corpus("list") {
        eprintln!("{}", path.display());
        checks::list(&octets);
    }
}

#[test]
fn the_records_corpus_is_replayed() {
    for (path, octets) in corpus("records") {
        eprintln!("{}", path.display());
        checks::records(&octets);
    }
}

#[test]
fn the_page_corpus_is_replayed() {
    for (path, octets) in corpus("page") {
        eprintln!("{}", path.display());
        checks::page(&octets);
    }
}

/// Seeds, one file each, named for what they are.
#[test]
#[ignore = "writes: makes the seed corpora anew in tests/fuzz/corpus"]
fn write_the_seed_corpora() {
    let write = |target: &str, name: &str, octets: &[u8]| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), octets).unwrap();
    };
    for (name, ask) in queries() {
        let octets = ask.octets();
        write("query", name, &octets);
        let framed = framed(&octets);
        write(
            "frame",
            name,
            &[&[7][..], &framed, &framed, &framed[..framed.len() / 2]].concat(),
        );
        write(
            "answer",
            name,
            &Message::from_vec(&octets).map_or(octets, |query| hickory_response(&query)),
        );
    }
    for (name, octets) in responses() {
        write("answer", name, &octets);
    }
    for (name, octets) in LISTS {
        write("list", name, octets);
    }
    for (name, octets) in RECORDS {
        write("records", name, octets);
    }
    for (name, octets) in PAGES {
        write("page", name, octets);
    }
    write("frame", "empty-frames", &[1, 0, 0, 0, 0, 0, 1, 9]);
    write("frame", "longest", &[&[255, 0xff, 0xff][..], &[7; 300]].concat());
}

/// Lists in the formats that strangers write.
const LISTS: &[(&str, &[u8])] = &[
    (
        "hosts",
        b"# hosts\r\n127.0.0.1 localhost\r\n0.0.0.0 a.example b.example # both\r\n::1 c.example\r\n192.0.2.1 d.example\r\n",
    ),
    (
        "domains",
        b"\xef\xbb\xbfads.example\n.b.example\n*.c.example\nA.Example.\nexample\n1.2.3.4\n",
    ),
    (
        "adblock",
        b"[Adblock Plus 2.0]\n! Title\n||ads.example^\n||b.example^$important\n||c.example^$popup\n@@||ok.ads.example^|\n##.x\n",
    ),
    ("page", b"<!DOCTYPE html>\n<html><h1>Not found</h1>\n</html>"),
    ("unicode", b"b\xc3\xbccher.example\n\xff\xfea\0.\0b\0\n0.0.0.0 \xe4.example x.example #\x1b[1m\n"),
    ("twice", b"||a.example^\n@@||a.example^\n*.a.example\n0.0.0.0 a.example\n||a.example^\n"),
];

/// What hotels answer to a probe, and URLs.
const PAGES: &[(&str, &[u8])] = &[
    (
        "sign-in",
        b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/?from=x\r\nContent-Length: 0\r\n\r\n",
    ),
    ("bare", b"HTTP/1.0 302 Moved\nlocation:HTTPS://[2001:db8::1]:8443/\n\n"),
    (
        "user",
        b"HTTP/1.1 307 X\r\nLocation: http://apple.com@evil.example/\r\n\r\n",
    ),
    (
        "odd",
        b"HTTP/1.1 302 \xff\r\nLocation: http://a_b.\xc3\xa4.example:99999/\r\n",
    ),
    (
        "required",
        b"HTTP/1.1 511 Network Authentication Required\r\n\r\n<html>",
    ),
    ("fine", b"HTTP/1.1 200 OK\r\n\r\nsuccess\n"),
    ("url", b"http://login.hotel.example.:80\\@other.example/#x"),
    ("cut", b"HTTP/1.1 30"),
];

/// Records and hosts files of users.
const RECORDS: &[(&str, &[u8])] = &[
    (
        "types",
        b"a.example 60 IN A 192.0.2.1\na.example AAAA 2001:db8::1\na.example MX 10 m.example\n_s._tcp.example SRV 1 2 3 a.example\n",
    ),
    ("text", b"a.example TXT \"a b\" c\\;d \"\\\"\\007\" ; why\nwww.example TXT \"\"\n"),
    (
        "aliases",
        b"www.example CNAME a.example\na.example CNAME b.example.\nb.example A 192.0.2.1\nx.example CNAME outside.test\n",
    ),
    ("circle", b"a.example CNAME www.example\nwww.example CNAME a.example\n"),
    ("reverse", b"192.0.2.1 PTR a.example\n2001:db8::1 PTR a.example\n"),
    ("hosts", b"127.0.0.1 localhost\n192.0.2.1 a.example www.example # both\nfe80::1%eth0 a.example\n"),
    (
        "mistakes",
        b"a.example\n@ A 192.0.2.1\n*.a A 1.2.3\n$TTL 3\na..b A 1.2.3.4\nb\xc3\xbc A 1.2.3.4\na TXT \"open\na ( A 1.2.3.4 )\n",
    ),
];

/// Queries of every sort.
fn queries() -> Vec<(&'static str, Ask)> {
    let every_option: [(u16, &[u8]); 6] = [
        (3, b""),
        (8, &[0, 1, 24, 0, 198, 51, 100]),
        (10, b"COOKIEJR"),
        (11, b""),
        (12, &[0; 9]),
        (15, &[0, 22, b'x']),
    ];
    vec![
        ("plain", Ask::new("www.example", A)),
        ("mixed-case", Ask::new("wWw.ExAmPlE", A).flags(0x0130)),
        ("root", Ask::new(".", 2)),
        (
            "longest-name",
            Ask::new(
                &[&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join("."),
                A,
            ),
        ),
        (
            "odd-labels",
            Ask::new(".", A).labels(&[b"\0nul", b"dot.inlabel", b"\xff"]),
        ),
        ("edns", Ask::new("www.example", TXT).edns()),
        (
            "edns-options",
            Ask::new("www.example", A).opt(4096, 0x8000, &every_option),
        ),
        ("edns-version-1", Ask::new("www.example", A).opt(512, 1 << 16, &[])),
        ("two-opts", Ask::new("www.example", A).edns().edns()),
        ("chaos", Ask::new("version.bind", TXT).class(CHAOS)),
        ("transfer", Ask::new("example", 252)),
        ("update", Ask::new("example", SOA).flags(5 << 11)),
    ]
}

/// What hickory-proto writes in answer to a query: compressed, as resolvers do.
fn hickory_response(query: &Message) -> Vec<u8> {
    let mut response = query.clone().into_response();
    response.metadata.recursion_available = true;
    for question in query.queries.clone() {
        let name = question.name().clone();
        response.add_answer(Record::from_rdata(
            name.clone(),
            300,
            RData::A(Ipv4Addr::new(192, 0, 2, 1).into()),
        ));
        response.add_answer(Record::from_rdata(
            name,
            300,
            RData::A(Ipv4Addr::new(192, 0, 2, 2).into()),
        ));
    }
    response.to_vec().unwrap()
}

/// Responses that take other paths through the reader.
fn responses() -> Vec<(&'static str, Vec<u8>)> {
    let heard = |name: &str, qtype| Heard::read(Ask::new(name, qtype).octets(), Vec::new(), String::new());
    let www = heard("www.example", A);
    let chain = www.response().answer("www.example", CNAME, 60, &wire_name("a.example"));
    let dname = heard("x.sub.example", A)
        .response()
        .answer("sub.example", DNAME, 300, &wire_name("target.example"));
    let ede = www.response().rcode(2).additional(opt(1232, 0, &[(15, b"\0\x16text")]));
    let mut pointer_loop = www.response().octets();
    pointer_loop[7] = 1;
    pointer_loop.extend([0xc0, 29, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
    let mut lying_counts = www.response().octets();
    lying_counts[6..12].fill(0xff);
    vec![
        ("chain", chain.answer("a.example", A, 30, &[192, 0, 2, 1]).octets()),
        (
            "dname",
            dname
                .answer("x.sub.example", CNAME, 300, &wire_name("x.target.example"))
                .octets(),
        ),
        ("nxdomain", www.negative(3, "example", 300, 60).octets()),
        (
            "nodata",
            heard("www.example", AAAA).negative(0, "example", 300, 60).octets(),
        ),
        ("foreign-soa", www.negative(3, "other", 300, 60).octets()),
        ("ttl-overflow", www.answer(0xffff_ffff, &[&[192, 0, 2, 1]]).octets()),
        (
            "unknown-type",
            heard("unk.example", 65_280).answer(1, &[&[0xc0, 12, 1]]).octets(),
        ),
        ("servfail-ede", ede.octets()),
        ("pointer-loop", pointer_loop),
        ("lying-counts", lying_counts),
    ]
}
