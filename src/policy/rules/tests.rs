use std::io::{BufReader, Read};

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;
use crate::wire::testkit::name;

fn rules(lists: &[(Action, &str)]) -> Rules {
    let mut builder = Builder::new();
    for (source, (action, text)) in (0..).zip(lists) {
        builder.read(source, *action, text.as_bytes()).unwrap();
    }
    builder.build()
}

fn decide(rules: &Rules, qname: &str) -> Option<(Action, u16, u8)> {
    let said = rules.decide(&name(qname));
    said.map(|said| (said.action, said.source, said.labels))
}

#[test]
fn the_longest_match_decides_and_allow_beats_block() {
    let rules = rules(&[
        (Action::Block, "example\n||example^\nads.example\n0.0.0.0 exact.net"),
        (Action::Allow, "good.ads.example\nads.example"),
        (Action::Block, "bad.good.ads.example\n*.wild.net\nads.example"),
    ]);
    for (qname, expected) in [
        ("example", Some((Action::Block, 0, 1))),
        ("x.example", Some((Action::Block, 0, 1))),
        ("ads.example", Some((Action::Allow, 1, 2))),
        ("good.ads.example", Some((Action::Allow, 1, 3))),
        ("a.bad.good.ads.example", Some((Action::Block, 2, 4))),
        ("exact.net", Some((Action::Block, 0, 2))),
        ("www.exact.net", None),
        ("wild.net", Some((Action::Block, 2, 2))),
        ("www.wild.net", Some((Action::Block, 2, 2))),
        ("notwild.net", None),
        ("net", None),
        ("", None),
    ] {
        assert_eq!(decide(&rules, qname), expected, "{qname}");
    }
    assert_eq!(rules.len(), 7, "doubles are no rules");
}

#[test]
fn what_is_no_name_is_not_decided_on() {
    let rules = rules(&[(Action::Block, "||a^")]);
    assert!(rules.decide(b"\x01a\0").is_some());
    for octets in [
        b"".as_slice(),
        b"\0",
        b"\x01",
        b"\x01a",
        b"\x01a\0x",
        b"\xffa\0",
        &[1; 300],
        &[63; 64],
    ] {
        assert_eq!(rules.decide(octets), None, "{octets:?}");
    }
    let mut longest = b"\x01a".repeat(127);
    longest.push(0);
    assert_eq!(rules.decide(&longest).map(|said| said.labels), Some(1));
    assert_eq!(Rules::default().decide(b"\x01a\0"), None);
    assert_eq!((Rules::default().memory(), Rules::default().is_empty()), (0, true));
}

/// Gives some lines and then fails, as a disk does.
struct Broken(&'static [u8]);

impl Read for Broken {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out) {
            Ok(0) => Err(io::ErrorKind::Other.into()),
            read => read,
        }
    }
}

#[test]
fn hashes_that_differ_in_a_bit_are_told_apart() {
    let hash = 0x0123_4567_89ab_cdef;
    let mut entry = Entry {
        hash,
        gate: 0,
        source: 7,
        kind: kind_of(Action::Block, Scope::Domain),
        labels: 2,
    };
    let mut builder = Builder::new();
    builder.entries.push(entry);
    // Others, so that there are rows enough for the upper bits.
    for n in 0..6_u64 << 18 {
        entry.hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        builder.entries.push(entry);
    }
    let rules = builder.build();
    assert!(rules.at(hash, true, 2).is_some());
    for bit in (0..45).chain(47..64) {
        assert_eq!(rules.at(hash ^ 1 << bit, true, 2), None, "bit {bit}");
    }
}

#[test]
fn of_a_list_that_breaks_off_nothing_is_kept() {
    let mut builder = Builder::new();
    builder.read(0, Action::Block, b"a.example".as_slice()).unwrap();
    let broken = BufReader::new(Broken(b"b.example\nc.example\n"));
    assert!(matches!(builder.read(1, Action::Block, broken), Err(ReadError::Io(_))));
    let late = builder.read(MAX_SOURCES, Action::Block, b"d.example".as_slice());
    assert!(matches!(late, Err(ReadError::TooManySources)));
    assert_eq!(builder.build().len(), 1);
}

#[test]
fn a_debug_output_says_how_many_and_no_more() {
    assert_eq!(
        format!("{:?}", rules(&[(Action::Block, "a.example")])),
        "Rules { count: 1, .. }"
    );
}

#[test]
fn a_thousand_rules_of_each_kind_are_told_apart() {
    let text: String = (0..1000)
        .map(|n| format!("0.0.0.0 n{n}.example\nd{n}.example\n*.s{n}.example\n@@||a{n}.example^\n"))
        .collect();
    let rules = rules(&[(Action::Block, &text)]);
    assert_eq!(rules.len(), 4000);
    assert!(rules.memory() <= 4000 * 16 + 300);
    for n in 0..1000 {
        for (label, at, below) in [
            ("n", Some(Action::Block), None),
            ("d", Some(Action::Block), Some(Action::Block)),
            ("s", Some(Action::Block), Some(Action::Block)),
            ("a", Some(Action::Allow), Some(Action::Allow)),
            ("x", None, None),
        ] {
            let action = |qname: String| decide(&rules, &qname).map(|(action, ..)| action);
            assert_eq!(action(format!("{label}{n}.example")), at);
            assert_eq!(action(format!("w.{label}{n}.example")), below);
        }
    }
}

/// Of few labels, so that names meet.
fn small_name() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "ab"]), 1..5).prop_map(|labels| labels.join("."))
}

/// A line and what it should mean.
type Line = (String, Action, Scope, String);

fn line() -> impl Strategy<Value = Line> {
    let forms = vec![
        ("||", "^", Action::Block, Scope::Domain),
        ("*.", "", Action::Block, Scope::Domain),
        ("0.0.0.0 ", "", Action::Block, Scope::Name),
        ("@@||", "^", Action::Allow, Scope::Domain),
    ];
    (select(forms), small_name())
        .prop_map(|((before, behind, action, scope), name)| (format!("{before}{name}{behind}\n"), action, scope, name))
}

/// The same by looking at every rule.
fn naive(lists: &[(Action, Vec<Line>)], qname: &str) -> Option<(Action, u16, u8)> {
    let mut best: Option<((usize, bool), u16)> = None;
    for (source, (list, lines)) in (0..).zip(lists) {
        for (_, action, scope, name) in lines {
            let is_below = qname.ends_with(&format!(".{name}"));
            let is_covered = match scope {
                Scope::Name => qname == name,
                Scope::Domain => qname == name || is_below,
            };
            let is_allowed = *action == Action::Allow || *list == Action::Allow;
            let rank = (name.split('.').count(), is_allowed);
            if is_covered && best.is_none_or(|(highest, _)| highest < rank) {
                best = Some((rank, source));
            }
        }
    }
    let ((labels, is_allowed), source) = best?;
    let action = if is_allowed { Action::Allow } else { Action::Block };
    Some((action, source, u8::try_from(labels).unwrap()))
}

proptest! {
    #[test]
    fn agrees_with_looking_at_every_rule(
        lists in vec((select(vec![Action::Block, Action::Block, Action::Allow]), vec(line(), 0..12)), 1..4),
        qnames in vec(small_name(), 1..30),
    ) {
        let text = |lines: &[Line]| lines.iter().map(|line| line.0.as_str()).collect::<String>();
        let texts: Vec<_> = lists.iter().map(|(action, lines)| (*action, text(lines))).collect();
        let borrowed: Vec<_> = texts.iter().map(|(action, text)| (*action, text.as_str())).collect();
        let rules = rules(&borrowed);
        for qname in qnames {
            let expected = naive(&lists, &qname);
            let found = decide(&rules, &qname);
            prop_assert_eq!(found, expected, "{}", qname);
            // The line that is shown says the same.
            if let Some((action, source, _)) = found {
                let (list, text) = &texts[usize::from(source)];
                let shown = list::find_line(text.as_bytes(), *list, &name(&qname)).unwrap();
                let shown = shown.expect("the source has a rule for it");
                prop_assert_eq!(shown.action, action);
            }
        }
    }
}
