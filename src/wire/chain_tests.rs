use super::*;
use crate::wire::answer::Answer;
use crate::wire::testkit::{
    A, ADDRESS, CNAME, LIMITS, NSEC, RRSIG, check, key, key_with_do, lines, malformed, message, name, query, question,
    raw_record, record, response, soa, written,
};

/// Records in the answer and authority sections as kept.
fn counts(answer: &Answer) -> [u16; 2] {
    let octets = answer.message();
    [
        u16::from_be_bytes([octets[6], octets[7]]),
        u16::from_be_bytes([octets[8], octets[9]]),
    ]
}

#[test]
fn r1034_1_the_whole_chain_is_kept_in_order_whatever_order_it_came_in() {
    let chain = [
        record("c.example", A, 30, ADDRESS),
        record("b.example", CNAME, 20, &name("c.example")),
        record("a.example", CNAME, 10, &name("B.EXAMPLE")),
    ];
    let answer = check(&response("a.example", A, 0, &chain, &[]), "a.example", A).unwrap();
    assert_eq!(answer.facts().min_ttl, Some(10));
    assert_eq!(
        lines(&written(&answer, &query("a.example", A, None), 0, 512)),
        [
            "a.example. 10 IN CNAME B.example.",
            "B.example. 20 IN CNAME c.example.",
            "c.example. 30 IN A 192.0.2.1"
        ]
    );
}

#[test]
fn r1034_1_loops_and_endless_chains_are_refused() {
    let two = [
        record("a.example", CNAME, 1, &name("b.example")),
        record("b.example", CNAME, 1, &name("a.example")),
    ];
    assert_eq!(
        malformed(&response("a.example", A, 0, &two, &[]), "a.example"),
        ParseError::ChainLoop
    );
    let itself = [record("a.example", CNAME, 1, &name("a.example"))];
    assert_eq!(
        malformed(&response("a.example", A, 0, &itself, &[]), "a.example"),
        ParseError::ChainLoop
    );
    let chain = |steps: usize| -> Vec<Vec<u8>> {
        (0..steps)
            .map(|i| record(&format!("d{i}"), CNAME, 1, &name(&format!("d{}", i + 1))))
            .collect()
    };
    assert_eq!(
        malformed(&response("d0", A, 0, &chain(33), &[]), "d0"),
        ParseError::Chain
    );
    assert!(check(&response("d0", A, 0, &chain(32), &[]), "d0", A).is_ok());
    let fork = [
        record("a.example", CNAME, 1, &name("b")),
        record("a.example", CNAME, 1, &name("c")),
    ];
    assert_eq!(
        malformed(&response("a.example", A, 0, &fork, &[]), "a.example"),
        ParseError::Chain
    );
}

#[test]
fn t_poi_2_only_what_was_asked_is_kept() {
    let answers = [
        record("www.example", A, 300, ADDRESS),
        record("bank.example", A, 300, &[6, 6, 6, 6]),
        record("www.example", 16, 300, b"\x03txt"),
        raw_record(&name("www.example"), A, 3, 300, &[6, 6, 6, 6]),
    ];
    let extra = [record("example", 2, 300, &name("ns.evil"))];
    let octets = message([0x81, 0x80], &question("www.example", A), [&answers, &extra, &extra]);
    let answer = check(&octets, "www.example", A).unwrap();
    assert_eq!(
        lines(&written(&answer, &query("www.example", A, None), 0, 512)),
        ["www.example. 300 IN A 192.0.2.1"]
    );
    let unrelated = response("www.example", A, 0, &answers[1..2], &[]);
    assert_eq!(malformed(&unrelated, "www.example"), ParseError::UnrelatedAnswer);
}

#[test]
fn r6672_1_asked_for_dname_below_a_dname_both_are_kept() {
    let answers = [
        record("sub.example", 39, 60, &name("target.example")),
        record("www.sub.example", CNAME, 60, &name("www.target.example")),
    ];
    let octets = response("www.sub.example", 39, 0, &answers, &[soa("example", 60, 60)]);
    let answer = check(&octets, "www.sub.example", 39).unwrap();
    assert!(!answer.facts().is_positive, "the end of the chain has none");
    assert_eq!(counts(&answer), [2, 1]);
    let own = response("sub.example", 39, 0, &answers[..1], &[]);
    assert!(check(&own, "sub.example", 39).unwrap().facts().is_positive);
}

#[test]
fn signatures_of_an_alias_do_not_make_its_dangling_end_positive() {
    let signature = [&[0, 5][..], &[13, 2, 0, 0, 1, 44, 0, 0, 0, 0], &[0; 6], b"\0sig"].concat();
    let answers = [
        record("a.example", CNAME, 60, &name("gone.example")),
        record("a.example", RRSIG, 60, &signature),
    ];
    let octets = response("a.example", RRSIG, 3, &answers, &[soa("example", 60, 60)]);
    let answer = check(&octets, "a.example", RRSIG).unwrap();
    assert_eq!((answer.facts().is_positive, counts(&answer)), (false, [2, 1]));
}

#[test]
fn r2181_2_and_3_odd_ttls() {
    let ttl = |records: &[Vec<u8>]| {
        check(&response("a.example", A, 0, records, &[]), "a.example", A)
            .unwrap()
            .facts()
            .min_ttl
    };
    assert_eq!(ttl(&[record("a.example", A, 0x8000_0000, ADDRESS)]), Some(0));
    assert_eq!(ttl(&[record("a.example", A, 0x7fff_ffff, ADDRESS)]), Some(86_400));
    let mixed = [
        record("a.example", A, 60, ADDRESS),
        raw_record(&[0xc0, 12], A, 1, 30, &[192, 0, 2, 2]),
    ];
    let answer = check(&response("a.example", A, 0, &mixed, &[]), "a.example", A).unwrap();
    let sent = written(&answer, &query("a.example", A, None), 0, 512);
    assert_eq!(
        sent.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(),
        [30, 30]
    );
}

#[test]
fn r2308_1_negatives_carry_their_soa_with_the_lower_of_its_times() {
    for (ttl, minimum, expected) in [(60, 30, 30), (30, 60, 30), (9999, 9999, 3600)] {
        let octets = response("nx.example", A, 3, &[], &[soa("example", ttl, minimum)]);
        let answer = check(&octets, "nx.example", A).unwrap();
        assert_eq!(answer.facts().soa, Some(SoaTimes { ttl, minimum }));
        let sent = written(&answer, &query("nx.example", A, None), 0, 512);
        assert_eq!(sent.metadata.response_code, hickory_proto::op::ResponseCode::NXDomain);
        assert_eq!((sent.authorities.len(), sent.authorities[0].ttl), (1, expected));
    }
}

#[test]
fn r2308_5_a_foreign_soa_is_refused() {
    for owner in ["evil", "x.nx.example", "other.example"] {
        let octets = response("nx.example", A, 3, &[], &[soa(owner, 60, 60)]);
        assert_eq!(malformed(&octets, "nx.example"), ParseError::ForeignSoa, "{owner}");
    }
    assert!(check(&response("nx.example", A, 3, &[], &[soa("", 60, 60)]), "nx.example", A).is_ok());
    let both = [soa("evil", 60, 60), soa("example", 50, 50)];
    let answer = check(&response("nx.example", A, 3, &[], &both), "nx.example", A).unwrap();
    assert_eq!(lines(&written(&answer, &query("nx.example", A, None), 0, 512)).len(), 1);
}

#[test]
fn r2308_4_after_a_chain_the_negative_belongs_to_its_last_name() {
    let chain = [record("a.example", CNAME, 60, &name("b.other"))];
    let answer = check(
        &response("a.example", A, 3, &chain, &[soa("other", 60, 60)]),
        "a.example",
        A,
    )
    .unwrap();
    assert!(!answer.facts().is_positive && answer.facts().soa.is_some());
    assert_eq!(
        malformed(
            &response("a.example", A, 3, &chain, &[soa("example", 60, 60)]),
            "a.example"
        ),
        ParseError::ForeignSoa
    );
}

#[test]
fn nxdomain_with_an_answer_is_refused() {
    let records = [record("a.example", A, 60, ADDRESS)];
    assert_eq!(
        malformed(&response("a.example", A, 3, &records, &[]), "a.example"),
        ParseError::Contradiction
    );
}

#[test]
fn r6840_1_signatures_and_denials_only_with_do() {
    let signature = |covers: u16| {
        [
            &covers.to_be_bytes()[..],
            &[13, 2, 0, 0, 1, 44, 0, 0, 0, 0],
            &[0; 6],
            b"\0sig",
        ]
        .concat()
    };
    let answers = [
        record("a.example", A, 60, ADDRESS),
        record("a.example", RRSIG, 60, &signature(A)),
    ];
    let proofs = [
        record("b.example", NSEC, 60, &[name("c.example"), vec![0, 1, 0x40]].concat()),
        record("b.example", RRSIG, 60, &signature(NSEC)),
        record("example", RRSIG, 60, &signature(2)),
    ];
    let octets = response("a.example", A, 0, &answers, &proofs);
    let kept = |key: &QuestionKey| counts(&Answer::check(&octets, key, &LIMITS).unwrap());
    assert_eq!(kept(&key("a.example", A)), [1, 0]);
    assert_eq!(kept(&key_with_do("a.example", A)), [2, 2]);
}

#[test]
fn r6672_1_a_dname_comes_with_its_cname() {
    let answers = [
        record("sub.example", 39, 60, &name("target.example")),
        record("www.sub.example", CNAME, 60, &name("www.target.example")),
        record("www.target.example", A, 60, ADDRESS),
    ];
    let answer = check(&response("www.sub.example", A, 0, &answers, &[]), "www.sub.example", A).unwrap();
    assert_eq!(
        lines(&written(&answer, &query("www.sub.example", A, None), 0, 512)).len(),
        3
    );
}
