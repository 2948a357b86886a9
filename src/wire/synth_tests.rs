use super::*;
use crate::wire::ParseError;
use crate::wire::testkit::{A, CNAME, SOA, check, key, lines, name, opt, query, record, response, soa, written};
use hickory_proto::op::Message;

fn boxed(rdatas: &[&[u8]]) -> Vec<Box<[u8]>> {
    rdatas.iter().map(|rdata| (*rdata).into()).collect()
}

/// What `write` says to this question, in a buffer of `room` octets.
fn said(octets: &[u8], room: usize, write: impl FnOnce(&Query<'_>, &mut [u8]) -> usize) -> Message {
    let query = Query::parse(octets).unwrap();
    let mut out = vec![0xff; room];
    let len = write(&query, &mut out);
    Message::from_vec(&out[..len]).unwrap()
}

#[test]
fn aliases_come_first_and_lead_to_what_is_said() {
    let octets = query("WWW.Nas.Example", A, Some(opt(1232, 0, &[])));
    let (one, two) = (name("nas.example"), name("box.lan"));
    let aliases = [Alias { ttl: 60, target: &one }, Alias { ttl: 5, target: &two }];
    let rdatas = boxed(&[&[192, 0, 2, 1], &[192, 0, 2, 2]]);
    let set = Rrset {
        rtype: RecordType::A,
        ttl: 30,
        rdatas: &rdatas,
    };
    let chain = [
        "WWW.Nas.Example. 60 IN CNAME nas.example.",
        "nas.example. 5 IN CNAME box.lan.",
    ];
    let check = |message: Message, rest: &[&str]| {
        let expected: Vec<_> = chain.iter().chain(rest).map(|line| (*line).to_owned()).collect();
        assert_eq!(lines(&message), expected);
        assert!(!message.truncation && message.edns.is_some());
    };
    check(
        said(&octets, 512, |query, out| {
            About::new(query, &aliases).write_records(Some(set), 30, out)
        }),
        &["box.lan. 30 IN A 192.0.2.1", "box.lan. 30 IN A 192.0.2.2"],
    );
    check(
        said(&octets, 512, |query, out| {
            About::new(query, &aliases).write_records(None, 300, out)
        }),
        &["box.lan. 300 IN SOA box.lan. nobody.invalid. 1 3600 1200 604800 300"],
    );
    let negative = said(&octets, 512, |query, out| {
        About::new(query, &aliases).write_negative(Rcode::NXDOMAIN, 4, out)
    });
    assert_eq!(u16::from(negative.response_code), 3);
    check(
        negative,
        &["lan. 10800 IN SOA lan. nobody.invalid. 1 3600 1200 604800 10800"],
    );
    check(
        said(&octets, 512, |query, out| {
            About::new(query, &aliases).write_blocked(RecordType::A, true, out)
        }),
        &["box.lan. 60 IN A 0.0.0.0"],
    );
}

#[test]
fn r2181_1_records_that_do_not_fit_are_cut_whole_and_tc_says_so() {
    let octets = query("many.example", A, Some(opt(512, 0, &[])));
    let all: Vec<_> = (0..100).map(|n| [192, 0, 2, n]).collect();
    let rdatas = boxed(&all.iter().map(<[u8; 4]>::as_slice).collect::<Vec<_>>());
    let set = Rrset {
        rtype: RecordType::A,
        ttl: 30,
        rdatas: &rdatas,
    };
    let write = |query: &Query<'_>, out: &mut [u8]| About::new(query, &[]).write_records(Some(set), 30, out);
    let cut = said(&octets, 512, write);
    assert!(cut.truncation && cut.edns.is_some());
    assert_eq!(cut.answers.len(), (512 - 12 - 18 - 17) / 16);
    let whole = said(&octets, 4096, write);
    assert!(!whole.truncation);
    assert_eq!(whole.answers.len(), 100);
    for room in 0..600 {
        let query = Query::parse(&octets).unwrap();
        let mut out = vec![0; room];
        let len = write(&query, &mut out);
        assert!(
            len <= room && (len == 0 || Message::from_vec(&out[..len]).is_ok()),
            "{room}"
        );
    }
}

#[test]
fn aliases_of_any_length_are_written_or_cut_in_any_room() {
    let long = |len: usize| -> Vec<u8> {
        let mut octets = Vec::new();
        while octets.len() + 1 < len {
            let label = (len - octets.len() - 2).min(63);
            octets.push(u8::try_from(label).unwrap());
            octets.extend(std::iter::repeat_n(b'a', label));
        }
        octets.push(0);
        octets
    };
    for (qname_len, target_len, room) in [
        (40, 40, 512),
        (255, 255, 512),
        (230, 255, 512),
        (213, 255, 512),
        (255, 3, 512),
    ] {
        let qname = long(qname_len);
        let octets = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &qname, &[0, 1, 0, 1]].concat();
        let target = long(target_len);
        for count in 0..=8 {
            let aliases = vec![
                Alias {
                    ttl: 1,
                    target: &target
                };
                count
            ];
            for room in [room, 600, 1232, 4096] {
                let query = Query::parse(&octets).unwrap();
                let mut out = vec![0; room];
                let len = About::new(&query, &aliases).write_record(RecordType::A, &[192, 0, 2, 1], &mut out);
                let message = Message::from_vec(&out[..len]).unwrap();
                let is_whole = message.answers.len() == count + 1;
                assert_eq!(message.truncation, !is_whole, "{qname_len} {target_len} {count} {room}");
            }
        }
    }
}

/// An upstream's answer to `www.real.example` behind two aliases of the user's.
fn behind(upstream: &[u8]) -> crate::wire::answer::Answer {
    let answer = check(upstream, "www.real.example", A).unwrap();
    let (one, two) = (name("mine.example"), name("www.real.example"));
    let aliases = [Alias { ttl: 60, target: &one }, Alias { ttl: 500, target: &two }];
    answer.behind(&key("my.example", A), &aliases).unwrap()
}

#[test]
fn an_upstreams_answer_may_stand_behind_aliases() {
    let positive = response(
        "www.real.example",
        A,
        0,
        &[
            record("www.real.example", CNAME, 100, &name("a.real.example")),
            record("a.real.example", A, 90, &[192, 0, 2, 1]),
        ],
        &[],
    );
    let mut positive = positive;
    positive[3] |= crate::wire::header::AD;
    let answer = behind(&positive);
    let facts = answer.facts();
    assert_eq!(
        (
            facts.min_ttl,
            facts.is_positive,
            facts.is_behind_aliases,
            facts.authentic
        ),
        (Some(60), true, true, false)
    );
    // Compressed to the client's own question, so its letter case shows.
    let message = written(&answer, &query("My.Example", A, None), 10, 1232);
    assert_eq!(
        lines(&message),
        [
            "My.Example. 50 IN CNAME mine.Example.",
            "mine.Example. 490 IN CNAME www.real.Example.",
            "www.real.Example. 90 IN CNAME a.real.Example.",
            "a.real.Example. 80 IN A 192.0.2.1",
        ]
    );
}

#[test]
fn r2308_4_a_negative_answer_behind_aliases_keeps_its_soa() {
    let negative = response("www.real.example", A, 3, &[], &[soa("real.example", 40, 30)]);
    let answer = behind(&negative);
    assert_eq!(
        (answer.facts().rcode, answer.facts().min_ttl),
        (Rcode::NXDOMAIN, Some(30))
    );
    let message = written(&answer, &query("my.example", A, None), 0, 1232);
    assert_eq!((message.answers.len(), message.authorities.len()), (2, 1));
    assert_eq!(message.authorities[0].record_type(), SOA.into());
    let withheld = check(
        &response(
            "www.real.example",
            A,
            0,
            &[record("www.real.example", A, 9, &[10, 0, 0, 1])],
            &[],
        ),
        "www.real.example",
        A,
    );
    let one = name("www.real.example");
    let alias = [Alias { ttl: 60, target: &one }];
    let withheld = withheld
        .unwrap()
        .withheld(60)
        .behind(&key("my.example", A), &alias)
        .unwrap();
    assert_eq!(withheld.facts().min_ttl, Some(9));
    let message = written(&withheld, &query("my.example", A, None), 0, 1232);
    assert_eq!(lines(&message), ["my.example. 60 IN CNAME www.real.example."]);
}

#[test]
fn r1034_1_an_answer_that_leads_back_to_the_aliases_is_refused() {
    let (mine, real) = (name("my.example"), name("www.real.example"));
    let aliases = [Alias { ttl: 60, target: &real }];
    for back in [&mine, &name("MY.example")] {
        let octets = response(
            "www.real.example",
            A,
            0,
            &[
                record("www.real.example", CNAME, 60, back),
                record("my.example", A, 60, &[192, 0, 2, 1]),
            ],
            &[],
        );
        let answer = check(&octets, "www.real.example", A).unwrap();
        assert_eq!(
            answer.behind(&key("my.example", A), &aliases),
            Err(ParseError::ChainLoop)
        );
    }
}
