use hickory_proto::op::Message;
use proptest::prelude::*;

use super::*;
use crate::wire::name::{MAX_POINTERS, Name};
use crate::wire::testkit::{
    A, ADDRESS, CNAME, check, key, lines, malformed, message, name, opt, query, question, raw_record, record, response,
    soa, written,
};

#[test]
fn r1035_1_the_client_gets_its_own_id_and_case_back() {
    let answer = check(
        &response("www.example", A, 0, &[record("www.example", A, 300, ADDRESS)], &[]),
        "www.example",
        A,
    );
    let asked = query("wWw.eXample", A, None);
    let mut out = [0; 512];
    let len = answer.unwrap().write(&Query::parse(&asked).unwrap(), 0, &mut out);
    assert_eq!(&out[..12], b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0");
    assert_eq!(out[12..asked.len()], asked[12..]);
    assert_eq!(out[asked.len()..len], raw_record(&[0xc0, 12], A, 1, 300, ADDRESS)[..]);
}

#[test]
fn r1035_12_ttls_count_down_and_end_at_0() {
    let records = [record("www.example", A, 300, ADDRESS)];
    let answer = check(&response("www.example", A, 0, &records, &[]), "www.example", A).unwrap();
    let ttl = |age| written(&answer, &query("www.example", A, None), age, 512).answers[0].ttl;
    assert_eq!((ttl(0), ttl(1), ttl(300), ttl(u32::MAX)), (300, 299, 0, 0));
}

#[test]
fn t_poi_1_and_r9619_3_another_question_is_refused() {
    let records = [record("www.example", A, 300, ADDRESS)];
    let good = response("www.example", A, 0, &records, &[]);
    assert_eq!(malformed(&good, "wwx.example"), ParseError::WrongQuestion);
    assert!(matches!(
        check(&good, "www.example", 28),
        Err(Unusable::Malformed(ParseError::WrongQuestion))
    ));
    let mut none = good.clone();
    none[5] = 0;
    assert_eq!(malformed(&none, "www.example"), ParseError::QuestionCount);
    let mut is_query = good.clone();
    is_query[2] &= 0x7f;
    assert_eq!(malformed(&is_query, "www.example"), ParseError::NotAResponse);
    let mut notify = good.clone();
    notify[2] |= 4 << 3;
    assert_eq!(malformed(&notify, "www.example"), ParseError::NotAResponse);
    let mut truncated = good;
    truncated[2] |= 2;
    assert_eq!(malformed(&truncated, "www.example"), ParseError::Truncated, "t_tc");
}

#[test]
fn r1035_7_lying_counts_and_trailing_octets_are_refused() {
    let mut octets = response("a.example", A, 0, &[record("a.example", A, 1, ADDRESS)], &[]);
    octets.push(0);
    assert_eq!(malformed(&octets, "a.example"), ParseError::TrailingOctets);
    octets.pop();
    octets[7] = 0xff;
    assert_eq!(malformed(&octets, "a.example"), ParseError::Short);
    octets[6] = 0xff;
    assert_eq!(malformed(&octets, "a.example"), ParseError::Short, "t_cnt");
}

#[test]
fn rdata_that_does_not_fit_its_type_is_refused() {
    for (rtype, rdata) in [
        (A, &[1, 2, 3][..]),
        (A, &[1, 2, 3, 4, 5]),
        (28, &[0; 15]),
        (15, &[0, 1]),
        (33, &[0; 6]),
    ] {
        let records = [record("a.example", rtype, 1, rdata)];
        assert!(
            matches!(
                check(&response("a.example", rtype, 0, &records, &[]), "a.example", rtype),
                Err(Unusable::Malformed(ParseError::Rdata | ParseError::Short))
            ),
            "type {rtype}"
        );
    }
}

#[test]
fn a_name_in_rdata_that_runs_past_its_record_is_refused() {
    // SIG and NXT have octets behind a name; the name's labels reach beyond RDLENGTH.
    for (rtype, before) in [(24, 18), (30, 0)] {
        let rdata = [vec![0; before], vec![5, b'a', b'b']].concat();
        let mut octets = response("a.example", rtype, 0, &[record("a.example", rtype, 1, &rdata)], &[]);
        octets.extend_from_slice(b"cde\0");
        octets[9] = 0;
        let next = record("b.example", A, 1, ADDRESS);
        octets.extend_from_slice(&next);
        let result = check(&octets, "a.example", rtype);
        assert!(
            matches!(result, Err(Unusable::Malformed(_))),
            "type {rtype}: {result:?}"
        );
    }
}

#[test]
fn names_do_not_show_in_debug_output() {
    let octets = query("bank.example", A, None);
    let answer = check(
        &response("bank.example", A, 0, &[record("bank.example", A, 1, ADDRESS)], &[]),
        "bank.example",
        A,
    );
    let mut reader = crate::wire::frame::FrameReader::new();
    reader.push(&octets);
    let name = Name::read(&octets, 12, &mut MAX_POINTERS.clone()).unwrap().0;
    let shown = format!(
        "{:?} {:?} {answer:?} {reader:?} {name:?}",
        Query::parse(&octets),
        key("bank.example", A)
    );
    assert!(
        !shown.contains("bank") && !shown.contains("98, 97, 110, 107"),
        "{shown}"
    );
}

#[test]
fn failures_keep_their_rcode_and_ede() {
    let additional = [opt(1232, 0, &[0, 15, 0, 5, 0, 6, b't', b'x', b't'])];
    let octets = message([0x81, 0x82], &question("a.example", A), [&[], &[], &additional]);
    assert_eq!(
        check(&octets, "a.example", A),
        Err(Unusable::Failed {
            rcode: Rcode::SERVFAIL,
            ede: Some(Ede(6))
        })
    );
    let badvers = message(
        [0x81, 0x80],
        &question("a.example", A),
        [&[], &[], &[opt(1232, 1 << 24, &[])]],
    );
    assert_eq!(
        check(&badvers, "a.example", A),
        Err(Unusable::Failed {
            rcode: Rcode::BADVERS,
            ede: None
        })
    );
}

#[test]
fn r6840_2_ad_only_for_who_asked() {
    let octets = message(
        [0x81, 0xa0],
        &question("a.example", A),
        [&[record("a.example", A, 60, ADDRESS)], &[], &[]],
    );
    let answer = check(&octets, "a.example", A).unwrap();
    let ad = |query: &[u8]| written(&answer, query, 0, 512).metadata.authentic_data;
    assert!(!ad(&query("a.example", A, None)));
    assert!(ad(&message([1, AD], &question("a.example", A), [&[], &[], &[]])));
    assert!(ad(&query("a.example", A, Some(opt(1232, 0x8000, &[])))));
}

#[test]
fn r3597_1_unknown_types_pass_unchanged() {
    let rdata = [0xc0, 0x0c, 0, 0xff, 0xc0];
    let octets = response("a.example", 65_280, 0, &[record("a.example", 65_280, 60, &rdata)], &[]);
    let answer = check(&octets, "a.example", 65_280).unwrap();
    assert!(
        answer
            .message()
            .ends_with(&raw_record(&[0xc0, 12], 65_280, 1, 60, &rdata))
    );
}

#[test]
fn compressed_names_in_rdata_are_written_out_or_compressed_anew() {
    // MX and SRV with targets that point into the question, which stands elsewhere for our client's other names.
    let mx = response(
        "a.example",
        15,
        0,
        &[raw_record(&[0xc0, 12], 15, 1, 60, b"\0\x0a\x04mail\xc0\x0c")],
        &[],
    );
    let answer = check(&mx, "a.example", 15).unwrap();
    assert_eq!(
        lines(&written(&answer, &query("a.example", 15, None), 0, 512)),
        ["a.example. 60 IN MX 10 mail.a.example."]
    );
    let srv = response(
        "a.example",
        33,
        0,
        &[raw_record(&[0xc0, 12], 33, 1, 60, b"\0\0\0\x05\x13\xc4\xc0\x0c")],
        &[],
    );
    let answer = check(&srv, "a.example", 33).unwrap();
    assert!(
        answer
            .message()
            .ends_with(b"\x00\x11\0\0\0\x05\x13\xc4\x01a\x07example\x00"),
        "uncompressed"
    );
}

#[test]
fn r2181_1_too_big_is_cut_at_a_record_with_tc() {
    let records: Vec<Vec<u8>> = (0..100)
        .map(|i| raw_record(&[0xc0, 12], A, 1, 60, &[192, 0, 2, i]))
        .collect();
    let answer = check(&response("a.example", A, 0, &records, &[]), "a.example", A).unwrap();
    let plain = written(&answer, &query("a.example", A, None), 0, 512);
    assert!(plain.metadata.truncation);
    assert_eq!(plain.answers.len(), (512 - 27) / 16, "as many whole records as fit");
    let with_opt = written(&answer, &query("a.example", A, Some(opt(1232, 0, &[]))), 5, 512);
    assert_eq!(
        (with_opt.answers.len(), with_opt.answers[28].ttl),
        ((512 - 27 - 11) / 16, 55)
    );
    assert!(with_opt.edns.is_some(), "the OPT stays");
    assert!(
        !written(&answer, &query("a.example", A, None), 0, 4096)
            .metadata
            .truncation
    );
    let asked = query("a.example", A, None);
    let asked = Query::parse(&asked).unwrap();
    assert_eq!(answer.write(&asked, 0, &mut [0; 27]), 27, "no record fits");
    assert_eq!(answer.write(&asked, 0, &mut [0; 26]), 0);
}

/// What a client with an OPT gets of an answer past its end, and its reasons.
fn written_stale(answer: &Answer, room: usize) -> (Message, Vec<u8>) {
    let asked = query("a.example", A, Some(opt(1232, 0x8000, &[])));
    let mut out = vec![0xee; room];
    let len = answer.write_stale(&Query::parse(&asked).unwrap(), &mut out);
    let read = Message::from_vec(&out[..len]).unwrap();
    (read, out[len - 6..len].to_vec())
}

#[test]
fn r8767_1_a_stale_answer_has_ttl_30_and_its_reason_and_no_ad() {
    let records = [1, 86_400].map(|ttl| record("a.example", A, ttl, ADDRESS));
    let mut octets = response("a.example", A, 0, &records, &[]);
    octets[3] |= 0x20;
    let answer = check(&octets, "a.example", A).unwrap();
    let asked = query("a.example", A, Some(opt(1232, 0x8000, &[])));
    assert!(
        written(&answer, &asked, 0, 512).metadata.authentic_data,
        "while it is fresh"
    );
    let (stale, reason) = written_stale(&answer, 512);
    assert_eq!([stale.answers[0].ttl, stale.answers[1].ttl], [30, 30]);
    assert!(!stale.metadata.authentic_data);
    assert_eq!(reason, [0, 15, 0, 2, 0, 3]);
    let octets = response("a.example", A, 3, &[], &[soa("example", 300, 300)]);
    let (stale, reason) = written_stale(&check(&octets, "a.example", A).unwrap(), 512);
    assert_eq!((stale.authorities[0].ttl, reason[5]), (30, 19));
}

#[test]
fn r8767_1_a_stale_answer_fits_with_its_reason_or_is_cut() {
    let records: Vec<Vec<u8>> = (0..20)
        .map(|i| raw_record(&[0xc0, 12], A, 1, 60, &[192, 0, 2, i]))
        .collect();
    let answer = check(&response("a.example", A, 0, &records, &[]), "a.example", A).unwrap();
    let whole = 27 + 20 * 16 + 11;
    for (room, count) in [(whole + 6, 20), (whole + 5, 19), (whole, 19)] {
        let (stale, reason) = written_stale(&answer, room);
        assert_eq!((stale.answers.len(), stale.metadata.truncation), (count, count < 20));
        assert_eq!(reason, [0, 15, 0, 2, 0, 3]);
    }
}

#[test]
fn r7766_1_a_64_kib_answer_passes() {
    let rdata = [&[255][..], &[b'x'; 255]].concat();
    let records: Vec<Vec<u8>> = (0..244).map(|_| raw_record(&[0xc0, 12], 16, 1, 60, &rdata)).collect();
    let octets = response("a.example", 16, 0, &records, &[]);
    assert!(octets.len() > 65_000);
    let answer = check(&octets, "a.example", 16).unwrap();
    let sent = written(&answer, &query("a.example", 16, None), 0, 65_535);
    assert_eq!((sent.answers.len(), sent.metadata.truncation), (244, false));
}

#[test]
fn an_answer_that_grows_over_64_kib_is_refused() {
    let target = name(&"a".repeat(60));
    let mut octets = response("a.example", 33, 0, &[], &[]);
    octets.extend_from_slice(&raw_record(&[0xc0, 12], 33, 1, 60, &[&[0; 6][..], &target].concat()));
    let target_at = octets.len() - target.len();
    let pointer = (0xc000 | u16::try_from(target_at).unwrap()).to_be_bytes();
    for _ in 0..1500 {
        octets.extend_from_slice(&raw_record(&[0xc0, 12], 33, 1, 60, &[&[0; 6][..], &pointer].concat()));
    }
    octets[6..8].copy_from_slice(&1501u16.to_be_bytes());
    assert_eq!(
        check(&octets, "a.example", 33).unwrap_err(),
        Unusable::Malformed(ParseError::TooLong)
    );
}

#[test]
fn an_answer_writes_nothing_for_another_question() {
    let octets = response("a.example", A, 0, &[record("a.example", A, 60, ADDRESS)], &[]);
    let answer = check(&octets, "a.example", A).unwrap();
    assert_eq!(
        answer.write(&Query::parse(&query("aa.example", A, None)).unwrap(), 0, &mut [0; 512]),
        0
    );
}

proptest! {
    #[test]
    fn any_octets_end_in_an_answer_or_an_error(tail in prop::collection::vec(any::<u8>(), 0..400), counts: [u8; 3]) {
        let mut octets = response("a.example", A, 0, &[], &[]);
        for (index, count) in counts.iter().enumerate() {
            octets[7 + 2 * index] = count % 8;
        }
        octets.extend_from_slice(&tail);
        if let Ok(answer) = check(&octets, "a.example", A) {
            let _ = written(&answer, &query("a.example", A, None), 1, 65_535);
        }
    }

    #[test]
    fn a_flipped_octet_never_panics_and_never_smuggles(at in 0usize..200, value: u8) {
        let answers = [record("a.example", CNAME, 60, &name("b.example")), record("b.example", A, 60, ADDRESS)];
        let mut octets = message([0x81, 0x80], &question("a.example", A), [&answers, &[soa("example", 9, 9)], &[opt(1232, 0, &[])]]);
        let at = at % octets.len();
        octets[at] = value;
        if let Ok(answer) = check(&octets, "a.example", A) {
            let sent = written(&answer, &query("A.Example", A, None), 1, 512);
            prop_assert!(sent.answers.len() <= 2 && sent.authorities.len() <= 1);
        }
    }
}
