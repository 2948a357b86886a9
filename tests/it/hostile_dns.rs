//! A resolver whose DNS is an attack (T-POI, T-TC, T-CNT, T-PTR, T-NXNS): messages of every wrong kind over both
//! transports, and what only a stream of messages can do.

use std::io;

use crate::client::{A, AAAA, Ask, CNAME, IN, NS, SERVFAIL, SOA, framed, record, wire_name};
use crate::daemon::{Daemon, over_doh, over_dot};
use crate::ordeal::{Case, POISON, check_all, poison, right};
use crate::raw::{Asked, Protocol};
use crate::script::{Answer, Heard, normal, soa};
use crate::upstream::Upstream;

/// An answer with this many aliases in a row before the poison at their end.
fn chain(asked: &Asked, len: usize) -> Vec<u8> {
    let mut answer = asked.heard.response();
    let mut owner = asked.heard.name.clone();
    for step in 0..len {
        let target = format!("c{step}.example");
        answer = answer.answer(&owner, CNAME, 300, &wire_name(&target));
        owner = target;
    }
    answer.answer(&owner, A, 300, &POISON).octets()
}

/// As many owners as fit, each a pointer to the pointer before it (T-PTR).
fn pointers(asked: &Asked) -> Vec<u8> {
    let mut octets = asked.heard.response().octets();
    let mut target: u16 = 12;
    let mut count: u16 = 0;
    while octets.len() < 16_300 {
        let at = u16::try_from(octets.len()).unwrap();
        octets.extend_from_slice(&(0xc000 | target).to_be_bytes());
        octets.extend_from_slice(&[0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        octets.extend_from_slice(&POISON);
        (target, count) = (at, count + 1);
    }
    // The last one starts a loop.
    let at = u16::try_from(octets.len()).unwrap();
    octets.extend_from_slice(&(0xc000 | at).to_be_bytes());
    octets[6..8].copy_from_slice(&(count + 1).to_be_bytes());
    octets
}

/// Messages that are no answers, whatever they come over.
const MESSAGES: [Case; 14] = [
    Case::fails("another-name", |peer, asked| {
        let mut message = poison(asked);
        message[13] ^= 1;
        peer.answer(asked, &message)
    }),
    Case::fails("truncated-for-ever", |peer, asked| {
        peer.answer(asked, &asked.heard.answer(300, &[&POISON]).flags(0x0200).octets())
    }),
    Case::fails("counts-of-65535", |peer, asked| {
        let mut message = poison(asked);
        message[6..12].fill(0xff);
        peer.answer(asked, &message)
    }),
    Case::fails("pointers-to-pointers", |peer, asked| {
        peer.answer(asked, &pointers(asked))
    }),
    Case::fails("endless-alias", |peer, asked| peer.answer(asked, &chain(asked, 1500))),
    Case::fails("alias-in-a-circle", |peer, asked| {
        let (name, other) = (&asked.heard.name, "other.example");
        let message = asked.heard.response();
        let message = message.answer(name, CNAME, 300, &wire_name(other));
        peer.answer(asked, &message.answer(other, CNAME, 300, &wire_name(name)).octets())
    }),
    Case::fails("foreign-records-alone", |peer, asked| {
        let message = asked.heard.response().answer("other.example", A, 300, &POISON);
        peer.answer(asked, &message.octets())
    }),
    Case::fails("foreign-soa", |peer, asked| {
        peer.answer(asked, &asked.heard.negative(3, "other.test", 300, 300).octets())
    }),
    Case::fails("foreign-soa-without-data", |peer, asked| {
        peer.answer(
            asked,
            &asked.heard.negative(0, "sub.a.attacked.example", 300, 300).octets(),
        )
    }),
    Case::fails("there-and-not-there", |peer, asked| {
        let message = asked.heard.answer(300, &[&POISON]).rcode(3);
        peer.answer(asked, &message.authority("example", SOA, 300, &soa(300)).octets())
    }),
    Case::fails("servfail", |peer, asked| {
        peer.answer(asked, &asked.heard.answer(300, &[&POISON]).rcode(2).octets())
    }),
    Case::fails("octets-behind-the-end", |peer, asked| {
        peer.answer(asked, &[poison(asked), vec![0; 60_000]].concat())
    }),
    Case::works("smuggled-records", |peer, asked| {
        let mut message = right(asked).answer("victim.example", A, 300, &POISON);
        message = message.authority("example", NS, 300, &wire_name("ns.attacker.test"));
        message.sections[2].push(record("ns.attacker.test", A, IN, 300, &POISON));
        peer.answer(asked, &message.octets())
    }),
    Case::works("an-alias-nobody-asked-for", |peer, asked| {
        let message = right(asked).answer("victim.example", CNAME, 300, &wire_name("attacker.test"));
        peer.answer(asked, &message.answer("attacker.test", A, 300, &POISON).octets())
    }),
];

#[test]
fn t_poi_messages_that_are_no_answers_over_dot() {
    check_all(Protocol::Dot, &MESSAGES);
}

#[test]
fn t_poi_messages_that_are_no_answers_over_doh() {
    check_all(Protocol::Doh, &MESSAGES);
}

#[test]
fn t_poi_1_what_only_a_stream_of_messages_can_do() {
    check_all(
        Protocol::Dot,
        &[
            // The wait goes on at the first wrong message (TuDoor), and the right one counts.
            Case::works("wrong-name-then-right", |peer, asked| {
                let mut wrong = poison(asked);
                wrong[13] ^= 1;
                peer.answer(asked, &wrong)?;
                peer.answer(asked, &right(asked).octets())
            }),
            Case::fails("every-id", |peer, asked| {
                for id in 0..=u16::MAX {
                    let mut guess = poison(asked);
                    guess[..2].copy_from_slice(&id.to_be_bytes());
                    guess[13] ^= 1;
                    peer.answer(asked, &guess)?;
                }
                peer.hold()
            }),
            Case::fails("unsolicited", |peer, asked| {
                let mut message = poison(asked);
                message[0] ^= 0xff;
                peer.flood(&framed(&message))?;
                peer.hold()
            }),
            Case::settles("right-again-and-again", |peer, asked| {
                peer.flood(&framed(&right(asked).octets()))
            }),
            Case::fails("length-0", |peer, _| {
                peer.flood(&[0, 0])?;
                peer.hold()
            }),
            Case::fails("length-1", |peer, _| {
                peer.flood(&[0, 1, 0])?;
                peer.hold()
            }),
            Case::fails("length-65535-of-nothing", |peer, _| {
                peer.send(&[0xff, 0xff])?;
                peer.flood(&[0; 1024])?;
                peer.hold()
            }),
            Case::fails("no-tls-any-more", |peer, _| {
                peer.send_bare(&[0x5a; 4096])?;
                peer.hold()
            }),
        ],
    );
}

#[test]
fn r7766_10_resolvers_that_close_or_answer_nobody() {
    check_all(
        Protocol::Dot,
        &[
            Case::fails("close-with-each-query", |_, _| {
                Err(io::Error::other("the attack is to hang up"))
            }),
            Case::fails_at_once("close-at-once", |_| Ok(())),
            Case::fails_at_once("answers-before-questions", |peer| {
                let query = Ask::new("a.attacked.example", A).octets();
                let heard = Heard::read(query, Vec::new(), String::new());
                peer.flood(&framed(&heard.answer(300, &[&POISON]).octets()))?;
                peer.hold()
            }),
        ],
    );
}

/// A place for records that nobody asked for, by name.
type Smuggled = (&'static str, fn(&Heard) -> Answer);

/// A resolver that puts `smuggle` beside its answer for `bait.example`, and answers all else well.
fn smuggler(smuggle: fn(&Heard) -> Answer) -> Upstream {
    Upstream::start(move |heard| match heard.name.as_str() {
        "bait.example" => smuggle(heard).into(),
        _ => normal(heard),
    })
}

#[test]
fn t_poi_2_smuggled_records_are_not_cached() {
    let smuggled: [Smuggled; 4] = [
        ("in the answer section", |heard| {
            heard
                .answer(300, &[&[192, 0, 2, 1]])
                .answer("victim.example", A, 300, &POISON)
        }),
        ("in the authority section", |heard| {
            heard
                .answer(300, &[&[192, 0, 2, 1]])
                .authority("victim.example", A, 300, &POISON)
        }),
        ("in the additional section", |heard| {
            let record = record("victim.example", A, IN, 300, &POISON);
            heard.answer(300, &[&[192, 0, 2, 1]]).additional(record)
        }),
        // T-POI-5: what a chain ends in is no entry of its own.
        ("as an alias's end", |heard| {
            let alias = heard
                .response()
                .answer(&heard.name, CNAME, 300, &wire_name("victim.example"));
            alias.answer("victim.example", A, 300, &POISON)
        }),
    ];
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        for (place, smuggle) in smuggled {
            let upstream = smuggler(smuggle);
            let daemon = over(&upstream);
            assert_eq!(Ask::new("bait.example", A).udp(daemon.dns).rcode(), 0, "{place}");
            let victim = Ask::new("victim.example", A).udp(daemon.dns);
            assert_eq!(victim.answers(), ["victim.example. A 192.0.2.1"], "{place}");
            assert_eq!(upstream.count("victim.example"), 1, "{place}");
        }
    }
}

#[test]
fn t_poi_6_a_foreign_soa_denies_nothing() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = smuggler(|heard| heard.negative(3, "victim.example", 300, 300));
        let daemon = over(&upstream);
        let bait = Ask::new("bait.example", A).edns().udp(daemon.dns);
        assert_eq!((bait.rcode(), bait.ede()), (SERVFAIL, Some(24)));
        for name in ["victim.example", "www.victim.example"] {
            assert_eq!(Ask::new(name, A).udp(daemon.dns).rcode(), 0, "{name}");
            assert_eq!(upstream.count(name), 1, "{name}");
        }
    }
}

#[test]
fn t_nxns_an_alias_without_its_end_is_not_chased() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = smuggler(|heard| {
            let alias = heard
                .response()
                .answer(&heard.name, CNAME, 300, &wire_name("far.example"));
            alias.authority("example", NS, 300, &wire_name("ns1.far.example"))
        });
        let daemon = over(&upstream);
        for qtype in [A, AAAA] {
            Ask::new("bait.example", qtype).udp(daemon.dns);
        }
        assert!(upstream.heard().iter().all(|heard| heard.name == "bait.example"));
    }
}
