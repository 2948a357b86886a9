use std::io::{self, BufReader, Read};

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::wire::testkit::name;

/// Every rule of a text as `line: action scope name`, and what was skipped.
fn read_all(text: &[u8], action: Action) -> (Vec<String>, Vec<(u32, Skip)>) {
    let mut rules = Vec::new();
    let tally = read(text, action, |line, rule| {
        rules.push(format!("{line}: {}", show(&rule)));
        true
    })
    .unwrap();
    assert_eq!(tally.rules as usize, rules.len());
    (rules, tally.first_skipped)
}

fn show(rule: &Rule<'_>) -> String {
    let mut shown = String::new();
    let mut rest = rule.name;
    while let Some((len @ 1.., tail)) = rest.split_first() {
        let (label, tail) = tail.split_at(usize::from(*len));
        shown.push_str(std::str::from_utf8(label).unwrap());
        shown.push('.');
        rest = tail;
    }
    assert_eq!(rest, [0]);
    let action = if rule.action == Action::Block { "" } else { "allow " };
    let scope = match rule.scope {
        Scope::Name => "=",
        Scope::Domain => "",
    };
    format!("{action}{scope}{shown}")
}

/// What one line of a block list gives.
fn check(line: &[u8], rules: &[&str], skip: Option<Skip>) {
    let shown = line.escape_ascii();
    let (found, skipped) = read_all(line, Action::Block);
    let expected: Vec<_> = rules.iter().map(|rule| format!("1: {rule}")).collect();
    assert_eq!(found, expected, "{shown}");
    assert_eq!(skipped.first().map(|(_, why)| *why), skip, "{shown}");
}

#[test]
fn comments_and_blanks() {
    for line in [
        b"".as_slice(),
        b"\n",
        b"  \t\r\n",
        b"# ads.example",
        b"  # ads.example",
        b"#ads.example",
        b"! Title: ads",
        b"[Adblock Plus 2.0]",
        b"##.banner",
        b"\xef\xbb\xbf# with a mark",
        b"\xef\xbb\xbf",
    ] {
        check(line, &[], None);
    }
}

#[test]
fn domains() {
    check(b"ads.example", &["ads.example."], None);
    check(b"ADS.Example.\r\n", &["ads.example."], None);
    check(b" \tads.example \t\n", &["ads.example."], None);
    check(b"\xef\xbb\xbfads.example", &["ads.example."], None);
    check(b"ads.example # why", &["ads.example."], None);
    check(b"ads.example\t#why", &["ads.example."], None);
    check(b".ads.example", &["ads.example."], None);
    check(b"*.ads.example", &["ads.example."], None);
    check(b"*.zip", &["zip."], None);
    check(b".zip", &["zip."], None);
    check(b"_dmarc.a-b.example", &["_dmarc.a-b.example."], None);
    check(b"xn--bcher-kva.example", &["xn--bcher-kva.example."], None);
    check(b"1.2.3.example", &["1.2.3.example."], None);
}

#[test]
fn hosts_lines() {
    for address in ["0.0.0.0", "127.0.0.1", "127.9.9.9", "::", "::1", "0:0:0:0:0:0:0:0"] {
        check(format!("{address} ads.example").as_bytes(), &["=ads.example."], None);
    }
    check(
        b"0.0.0.0\ta.example  B.example # both",
        &["=a.example.", "=b.example."],
        None,
    );
    check(b"0.0.0.0 tracker", &["=tracker."], None);
    for line in [
        "127.0.0.1 localhost localhost.localdomain local",
        "255.255.255.255 broadcasthost",
        "fe80::1%lo0 LocalHost",
        "ff02::1 ip6-allnodes",
        "0.0.0.0 0.0.0.0",
    ] {
        check(line.as_bytes(), &[], None);
    }
    check(b"192.0.2.1 www.example", &[], Some(Skip::Elsewhere));
    check(b"0.0.0.0", &[], Some(Skip::Address));
    check(b"0.0.0.0 # nothing", &[], Some(Skip::Address));
    check(b"0.0.0.0 192.0.2.1", &[], Some(Skip::Address));
    check(
        "0.0.0.0 bücher.example a.example".as_bytes(),
        &["=a.example."],
        Some(Skip::Unicode),
    );
}

#[test]
fn adblock_rules() {
    check(b"||ads.example^", &["ads.example."], None);
    check(b"||ads.example^|", &["ads.example."], None);
    check(b"||*.ads.example^", &["ads.example."], None);
    check(b"||zip^", &["zip."], None);
    check(b"||ads.example^$important", &["ads.example."], None);
    check(b"||ads.example^$all,important", &["ads.example."], None);
    check(b"@@||ads.example^", &["allow ads.example."], None);
    check(b"@@||ads.example^|$important", &["allow ads.example."], None);
    for option in [
        "third-party",
        "popup",
        "client=1",
        "important,third-party",
        "badfilter",
        "",
    ] {
        check(format!("||ads.example^${option}").as_bytes(), &[], Some(Skip::Option));
    }
    for line in [
        "||ads.example",
        "|ads.example^",
        "||ads.example/x",
        "||ads.example^x",
        "@@ads.example",
        "@@",
        "||",
    ] {
        check(line.as_bytes(), &[], Some(Skip::Form));
    }
    for line in ["||^", "||ad*.example^", "||.ads.example^"] {
        check(line.as_bytes(), &[], Some(Skip::Name));
    }
    check(b"||192.0.2.1^", &[], Some(Skip::Address));
}

#[test]
fn what_is_no_rule_is_counted_by_its_reason() {
    let long_label = format!("{}.example", "a".repeat(64));
    let longest = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
    assert_eq!(name(&longest).len(), MAX_NAME_LEN);
    check(longest.as_bytes(), &[&format!("{longest}.")], None);
    check(&[longest.as_bytes(), b"d"].concat(), &[], Some(Skip::Name));
    let longest_line = usize::try_from(MAX_LINE_LEN).unwrap();
    check(&vec![b'a'; longest_line], &[], Some(Skip::Name));
    check(&vec![b'a'; longest_line + 1], &[], Some(Skip::TooLong));
    for (line, why) in [
        ("example", Skip::OneLabel),
        ("<!DOCTYPE", Skip::Name),
        ("<html lang=en>", Skip::Form),
        (".", Skip::Name),
        ("*", Skip::Name),
        ("*.", Skip::Name),
        ("a..example", Skip::Name),
        ("..example", Skip::Name),
        ("ads.example..", Skip::Name),
        (&long_label, Skip::Name),
        ("ads.example##.banner", Skip::Name),
        ("ads.example;x", Skip::Name),
        ("; ads.example", Skip::Form),
        ("ads.example x.example", Skip::Form),
        ("address=/ads.example/", Skip::Name),
        ("/ads[0-9]/", Skip::Name),
        ("https://ads.example/", Skip::Name),
        ("a.*.example", Skip::Name),
        ("ads.example\0", Skip::Name),
        ("1.2.3.4.5", Skip::Address),
        ("bücher.example", Skip::Unicode),
        ("*.bücher.example", Skip::Unicode),
        ("||bücher.example^", Skip::Unicode),
    ] {
        check(line.as_bytes(), &[], Some(why));
        assert!(!why.to_string().is_empty());
    }
    check(b"\xff\xfea\0d\0s\0", &[], Some(Skip::Unicode));
    check(&[b"ads.".as_slice(), &[0xff; 300]].concat(), &[], Some(Skip::Unicode));
}

#[test]
fn line_numbers_count_every_line_and_ten_are_remembered() {
    let text = [
        b"# list\r\n\r\na.example\r\n".as_slice(),
        &vec![b'x'; 10_000],
        b"\nb.example\n",
        &b"?\n".repeat(20),
    ]
    .concat();
    let mut rules = Vec::new();
    let tally = read(text.as_slice(), Action::Block, |line, rule| {
        rules.push(format!("{line} {}", show(&rule)));
        true
    })
    .unwrap();
    assert_eq!(rules, ["3 a.example.", "5 b.example."]);
    assert_eq!((tally.rules, tally.skipped), (2, 21));
    assert_eq!(tally.first_skipped.len(), MAX_REMEMBERED);
    assert_eq!(tally.first_skipped[..2], [(4, Skip::TooLong), (6, Skip::Name)]);
    assert!(!tally.is_no_list());
    let page = read(b"<html>\n<h1>Not found</h1>".as_slice(), Action::Block, |_, _| true).unwrap();
    assert!(page.is_no_list());
    assert!(
        !read(b"# empty".as_slice(), Action::Block, |_, _| true)
            .unwrap()
            .is_no_list()
    );
}

#[test]
fn an_allow_list_allows_in_every_form() {
    let (rules, _) = read_all(
        b"a.example\n||b.example^\n@@||c.example^\n0.0.0.0 d.example",
        Action::Allow,
    );
    assert_eq!(
        rules,
        [
            "1: allow a.example.",
            "2: allow b.example.",
            "3: allow c.example.",
            "4: allow =d.example."
        ]
    );
}

#[test]
fn the_deciding_line_is_found() {
    let list = b"# list\nexample\n*.example\nads.example\n||ads.example^ # twice\n0.0.0.0 x.example\tads.example #\x1b[1m\n@@||ok.ads.example^";
    let find = |qname: &str| find_line(list.as_slice(), Action::Block, &name(qname)).unwrap();
    for (qname, expected) in [
        ("example", Some((3, "*.example"))),
        ("other", None),
        ("notads.example", Some((3, "*.example"))),
        ("ads.example", Some((4, "ads.example"))),
        ("a.b.ads.example", Some((4, "ads.example"))),
        ("x.example", Some((6, r"0.0.0.0 x.example\tads.example"))),
        ("ok.ads.example", Some((7, "@@||ok.ads.example^"))),
    ] {
        let found = find(qname);
        assert_eq!(
            found.as_ref().map(|found| (found.number, found.text.as_str())),
            expected,
            "{qname}"
        );
    }
    let tie = b"ads.example\n@@||ads.example^\n";
    let found = find_line(tie.as_slice(), Action::Block, &name("ads.example"))
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.number, found.text.as_str(), found.action, found.name_len),
        (2, "@@||ads.example^", Action::Allow, 13)
    );
    assert_eq!(find_line(tie.as_slice(), Action::Block, b"").unwrap(), None);
    assert_eq!(find_line(tie.as_slice(), Action::Block, b"\x3fx").unwrap(), None);
}

#[test]
fn reading_ends_when_enough_is_seen() {
    let mut seen = 0;
    let tally = read(b"a.example\nb.example\nc.example".as_slice(), Action::Block, |_, _| {
        seen += 1;
        seen < 2
    });
    assert_eq!((seen, tally.unwrap().rules), (2, 2));
}

#[test]
fn t_list_an_endless_file_ends() {
    let endless = BufReader::with_capacity(1 << 16, io::repeat(b'a'));
    let error = read(endless, Action::Block, |_, _| true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    let longest = BufReader::with_capacity(1 << 16, io::repeat(b'a').take(MAX_FILE_LEN));
    assert_eq!(read(longest, Action::Block, |_, _| true).unwrap().skipped, 1);
}

proptest! {
    #[test]
    fn any_octets_give_names_and_counts(text in vec(any::<u8>(), 0..400), step in 1_usize..9) {
        let mut count = 0;
        let tally = read(text.as_slice(), Action::Block, |_, rule| {
            count += 1;
            assert_eq!(crate::wire::name::uncompressed_len(rule.name, 0), Ok(rule.name.len()));
            true
        }).unwrap();
        prop_assert_eq!(tally.rules, count);
        prop_assert!(tally.rules + tally.skipped <= 400);
        // However the octets come, the same is read.
        let pieces = BufReader::with_capacity(step, text.as_slice());
        prop_assert_eq!(read(pieces, Action::Block, |_, _| true).unwrap(), tally);
    }

    #[test]
    fn any_host_name_is_taken(labels in vec("[A-Za-z0-9_-]{1,63}", 1..4)) {
        let text = format!("{}.x", labels.join("."));
        let (rules, _) = read_all(text.as_bytes(), Action::Block);
        let expected = format!("1: {}.", text.to_ascii_lowercase());
        prop_assert!(text.len() > 253 || rules == [expected]);
    }
}
