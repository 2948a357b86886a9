use hickory_proto::op::Message;
use proptest::prelude::*;

use super::*;
use crate::wire::testkit::{self, A, message, opt, query, question, raw_record, record};

/// The RCODE and EDE that a message is refused with, after a look at what would be sent.
fn refused(octets: &[u8]) -> (Rcode, Option<Ede>) {
    let reject = Query::parse(octets).expect_err("refused");
    let mut out = [0; 512];
    let len = reject.write(octets, &mut out);
    let Reject::Error { rcode, ede, .. } = reject else {
        panic!("silent")
    };
    let sent = Message::from_vec(&out[..len]).expect("hickory reads our errors");
    assert_eq!(u16::from(sent.metadata.response_code), rcode.0);
    assert_eq!(out[..2], octets[..2], "ID");
    (rcode, ede)
}

fn counts(mut octets: Vec<u8>, index: usize, count: u16) -> Vec<u8> {
    octets[4 + 2 * index..6 + 2 * index].copy_from_slice(&count.to_be_bytes());
    octets
}

const FORMERR: (Rcode, Option<Ede>) = (Rcode::FORMERR, None);

#[test]
fn r1035_3_responses_and_r1035_4_stumps_get_silence() {
    assert_eq!(
        Query::parse(&message([0x81, 0], &question("a.example", A), [&[], &[], &[]])).unwrap_err(),
        Reject::Silent
    );
    assert_eq!(
        Query::parse(&query("a.example", A, None)[..11]).unwrap_err(),
        Reject::Silent
    );
    assert_eq!(Reject::Silent.write(b"", &mut [0; 512]), 0);
}

#[test]
fn r1035_5_bad_names_are_formerr() {
    for bad in [
        b"\xc0\x0c".as_slice(),
        b"\x40a\x00",
        b"\x80a\x00",
        &[&b"\x01a".repeat(128), &[0][..]].concat(),
    ] {
        let question = [bad, &[0, 1, 0, 1]].concat();
        assert_eq!(refused(&message([1, 0], &question, [&[], &[], &[]])), FORMERR);
    }
}

#[test]
fn r1035_6_trailing_octets_are_formerr() {
    let mut octets = query("a.example", A, None);
    octets.push(0);
    assert_eq!(refused(&octets), FORMERR);
}

#[test]
fn r1035_7_lying_counts_are_formerr() {
    for index in 1..4 {
        assert_eq!(refused(&counts(query("a.example", A, None), index, 0xffff)), FORMERR);
    }
    let answers = [record("a.example", A, 1, &[1, 2, 3, 4])];
    assert_eq!(
        refused(&message([1, 0], &question("a.example", A), [&answers, &[], &[]])),
        FORMERR
    );
}

#[test]
fn r9619_1_and_2_one_question_or_formerr() {
    assert_eq!(refused(&message([1, 0], &[], [&[], &[], &[]])), FORMERR);
    let two = [question("a.example", A), question("b.example", A)].concat();
    assert_eq!(refused(&counts(message([1, 0], &two, [&[], &[], &[]]), 0, 2)), FORMERR);
}

#[test]
fn r8906_1_and_2_other_opcodes_are_notimp() {
    for opcode in 1..16 {
        let octets = message(
            [opcode << 3 | 1, 0],
            &question("a.example", A),
            [&[], &[], &[opt(1232, 0, &[])]],
        );
        assert_eq!(refused(&octets), (Rcode::NOTIMP, Some(Ede::NOT_SUPPORTED)));
        let mut out = [0; 512];
        let len = Query::parse(&octets).unwrap_err().write(&octets, &mut out);
        assert_eq!(out[2], 0x80 | opcode << 3 | 1, "opcode and RD are repeated");
        assert!(Message::from_vec(&out[..len]).unwrap().edns.is_some(), "r6891_2");
    }
}

#[test]
fn r6891_3_other_versions_are_badvers() {
    let octets = query("a.example", A, Some(opt(1232, 1 << 16, &[])));
    assert_eq!(refused(&octets), (Rcode::BADVERS, None));
    let mut out = [0; 512];
    let len = Query::parse(&octets).unwrap_err().write(&octets, &mut out);
    let sent = Message::from_vec(&out[..len]).unwrap();
    assert_eq!(
        (u16::from(sent.metadata.response_code), sent.edns.unwrap().version()),
        (16, 0)
    );
}

#[test]
fn r6891_6_7_8_9_odd_opts_are_formerr() {
    let one = opt(1232, 0, &[]);
    let named = raw_record(&testkit::name("a"), testkit::OPT, 1232, 0, &[]);
    let overrun = opt(1232, 0, &[0, 10, 0, 9, 1, 2, 3]);
    let stump = opt(1232, 0, &[0, 10, 0]);
    let question = question("a.example", A);
    for additional in [vec![one.clone(), one.clone()], vec![named], vec![overrun], vec![stump]] {
        assert_eq!(refused(&message([1, 0], &question, [&[], &[], &additional])), FORMERR);
    }
    assert_eq!(
        refused(&message([1, 0], &question, [std::slice::from_ref(&one), &[], &[]])),
        FORMERR
    );
    assert_eq!(refused(&message([1, 0], &question, [&[], &[one], &[]])), FORMERR);
}

#[test]
fn r6891_4_5_10_unknown_options_and_small_sizes_are_taken() {
    let octets = query("a.example", A, Some(opt(100, 0x7fff, &[0xff, 0xfe, 0, 2, 1, 2])));
    let parsed = Query::parse(&octets).unwrap();
    assert_eq!(parsed.udp_payload_limit(), 512);
    assert!(!parsed.edns().unwrap().dnssec_ok);
    let limit =
        |size| Query::parse(&query("a.example", A, Some(opt(size, 0, &[])))).map(|query| query.udp_payload_limit());
    assert_eq!((limit(900), limit(1232)), (Ok(900), Ok(1232)));
    assert_eq!(limit(65_535), Ok(1232), "r6891_12");
    assert_eq!(
        Query::parse(&query("a.example", A, None)).unwrap().udp_payload_limit(),
        512
    );
}

#[test]
fn r6891_11_the_33rd_option_is_not_looked_at() {
    let mut options = [0xff, 0xfe, 0, 0].repeat(32);
    options.extend_from_slice(&[0, 11, 0, 0]);
    assert!(
        !Query::parse(&query("a.example", A, Some(opt(1232, 0, &options))))
            .unwrap()
            .edns()
            .unwrap()
            .asks_keepalive
    );
    options.drain(..4);
    assert!(
        Query::parse(&query("a.example", A, Some(opt(1232, 0, &options))))
            .unwrap()
            .edns()
            .unwrap()
            .asks_keepalive
    );
}

#[test]
fn r1035_1_an_error_repeats_id_opcode_rd_and_the_question() {
    let octets = query("MiXeD.Example", A, Some(opt(1232, 0x8000, &[])));
    let parsed = Query::parse(&octets).unwrap();
    let mut out = [0xff; 512];
    let len = synth::write_error(&parsed, Rcode::SERVFAIL, Some(Ede::NETWORK_ERROR), &mut out);
    assert_eq!(
        &out[..12],
        b"\x12\x34\x81\x82\0\x01\0\0\0\0\0\x01",
        "QR RD, RA, one question, one OPT"
    );
    assert_eq!(out[12..12 + parsed.question().len()], *parsed.question());
    assert!(parsed.question().windows(5).any(|octets| octets == b"MiXeD"));
    assert_eq!(
        out[len - 17..len],
        *b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x06\x00\x0f\x00\x02\x00\x17",
        "r6840_1, r8914"
    );
}

#[test]
fn t_amp_a_truncated_response_repeats_the_query_and_is_no_longer() {
    let check = |opt: Option<Vec<u8>>, expected_opt: &[u8]| {
        let octets = query("MiXeD.Example", A, opt);
        let parsed = Query::parse(&octets).unwrap();
        let mut out = [0xff; 512];
        let len = synth::write_truncated(&parsed, &mut out);
        let counts = [0, 1, 0, 0, 0, 0, 0, u8::from(!expected_opt.is_empty())];
        let expected = [b"\x12\x34\x83\x80", &counts[..], parsed.question(), expected_opt].concat();
        assert_eq!(out[..len], expected, "QR TC RD, RA");
        assert!(len <= octets.len() && Message::from_vec(&out[..len]).unwrap().metadata.truncation);
    };
    check(None, b"");
    check(
        Some(opt(4096, 0x8000, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])),
        b"\0\0\x29\x04\xd0\0\0\x80\0\0\0",
    );
    let octets = query("a.example", A, None);
    let small = &mut [0; 26];
    assert_eq!(
        synth::write_truncated(&Query::parse(&octets).unwrap(), small),
        0,
        "no room, nothing written"
    );
}

#[test]
fn r6891_1_and_r8914_2_no_opt_asked_none_given() {
    let octets = query("a.example", A, None);
    let mut out = [0; 512];
    let len = synth::write_error(
        &Query::parse(&octets).unwrap(),
        Rcode::SERVFAIL,
        Some(Ede::OTHER),
        &mut out,
    );
    assert!(Message::from_vec(&out[..len]).unwrap().edns.is_none());
    assert_eq!(len, octets.len());
}

#[test]
fn r7828_1_keepalive_only_where_offered_and_asked() {
    let answer = |options: &[u8], offer: bool| {
        let octets = query("a.example", A, Some(opt(1232, 0, options)));
        let mut parsed = Query::parse(&octets).unwrap();
        if offer {
            parsed.offer_keepalive(100);
        }
        let mut out = [0; 512];
        let len = synth::write_error(&parsed, Rcode::NOERROR, None, &mut out);
        crate::wire::edns::keepalive_timeout(&out[..len])
    };
    assert_eq!(answer(&[0, 11, 0, 0], true), Some(std::time::Duration::from_secs(10)));
    assert_eq!(answer(&[0, 11, 0, 0], false), None);
    assert_eq!(answer(&[], true), None);
}

#[test]
fn r8482_1_any_gets_hinfo() {
    let octets = query("a.example", 255, Some(opt(1232, 0, &[])));
    let mut out = [0; 512];
    let len = synth::write_any(&Query::parse(&octets).unwrap(), &mut out);
    let sent = Message::from_vec(&out[..len]).unwrap();
    assert_eq!(sent.answers.len(), 1);
    assert_eq!(sent.answers[0].to_string(), "a.example. 3600 IN HINFO RFC8482 ");
}

proptest! {
    /// What hickory's writer makes of a question, we take; the key is the lower-cased question.
    #[test]
    fn what_hickory_writes_we_read(labels in prop::collection::vec("[a-zA-Z0-9][a-zA-Z0-9-]{0,19}[a-z0-9]", 0..6), qtype in 1u16..40, dnssec_ok: bool) {
        let name = hickory_proto::rr::Name::from_ascii(labels.join(".") + ".").unwrap();
        let mut message = Message::query();
        message.add_query(hickory_proto::op::Query::query(name.clone(), qtype.into()));
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_dnssec_ok(dnssec_ok);
        message.set_edns(edns);
        let octets = message.to_vec().unwrap();
        let parsed = Query::parse(&octets).unwrap();
        prop_assert_eq!(parsed.key().dnssec_ok(), dnssec_ok);
        prop_assert_eq!(parsed.key().qtype().0, qtype);
        let canonical = testkit::name(&labels.join(".").to_lowercase());
        let key = parsed.key();
        prop_assert_eq!(key.qname(), &canonical[..]);
        // And what we write upstream, hickory reads.
        let mut out = [0; crate::wire::question::MAX_QUERY_LEN];
        let len = parsed.key().write_query(crate::wire::question::Keepalive::Ask, &mut out);
        let ours = Message::from_vec(&out[..len]).unwrap();
        prop_assert_eq!(ours.queries[0].name(), &name);
    }

    /// Total on any input, and what it takes, hickory takes or refuses for a reason we know: it is stricter only on
    /// names in RDATA of records that we skip.
    #[test]
    fn any_octets_end_in_a_query_or_a_reject(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut out = [0; 512];
        if let Err(reject) = Query::parse(&octets) {
            let len = reject.write(&octets, &mut out);
            prop_assert!(len == 0 || Message::from_vec(&out[..len]).is_ok());
        }
    }

    /// One octet changed anywhere in a good query.
    #[test]
    fn a_flipped_octet_never_panics(at in 0usize..60, value: u8) {
        let mut octets = query("www.example.com", A, Some(opt(1232, 0x8000, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])));
        let at = at % octets.len();
        octets[at] = value;
        let mut out = [0; 512];
        match Query::parse(&octets) {
            Ok(parsed) => {
                let len = synth::write_error(&parsed, Rcode::SERVFAIL, Some(Ede::OTHER), &mut out);
                prop_assert!(Message::from_vec(&out[..len]).is_ok());
                let _ = parsed.key();
            }
            Err(reject) => {
                let _ = reject.write(&octets, &mut out);
            }
        }
    }
}
