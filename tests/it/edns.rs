//! EDNS and its options, and the bits that go with DNSSEC.

use crate::client::{A, AD, Ask, BADVERS, CD, FORMERR, OPT, RD, RRSIG, SERVFAIL, TXT, opt, record, udp};
use crate::daemon::{Daemon, over_dot};
use crate::script::Reply;
use crate::upstream::Upstream;

fn setup() -> (Upstream, Daemon) {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    (upstream, daemon)
}

/// Queries that end in every kind of answer: from upstream, from the cache, negative, refused, failed, malformed.
fn all_kinds() -> Vec<Ask> {
    vec![
        Ask::new("www.example", A),
        Ask::new("www.example", A),
        Ask::new("nx.example", A),
        Ask::new("www.example", 252),
        Ask::new("www.example", A).flags(2 << 11),
        Ask::new("cold.example", A).flags(0),
        Ask::new("fails.example", A),
        Ask::new("www.example", 41),
    ]
}

fn failing_for_one_name() -> Upstream {
    Upstream::start(|heard| {
        if heard.name == "fails.example" {
            Reply::Close
        } else {
            crate::script::normal(heard)
        }
    })
}

#[test]
fn r6891_1_no_opt_asked_none_given() {
    let upstream = failing_for_one_name();
    let daemon = over_dot(&upstream);
    for ask in all_kinds() {
        for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns)] {
            assert!(response.message.edns.is_none(), "{ask:?}");
        }
    }
    let mut trailing = Ask::new("www.example", A).octets();
    trailing.push(0);
    assert!(udp(daemon.dns, &trailing).message.edns.is_none());
}

#[test]
fn r6891_2_one_opt_of_version_0_in_every_answer() {
    let upstream = failing_for_one_name();
    let daemon = over_dot(&upstream);
    for ask in all_kinds() {
        let ask = ask.edns();
        for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns)] {
            let edns = response
                .message
                .edns
                .as_ref()
                .unwrap_or_else(|| panic!("no OPT for {ask:?}"));
            assert_eq!(edns.version(), 0);
            assert!(response.message.additionals.is_empty(), "one OPT and nothing else");
        }
    }
}

#[test]
fn r6891_3_a_version_above_0_is_badvers() {
    let (upstream, daemon) = setup();
    for version in [1u32, 2, 255] {
        let response = Ask::new("www.example", A).opt(1232, version << 16, &[]).udp(daemon.dns);
        assert_eq!(response.rcode(), BADVERS);
        assert_eq!(response.message.edns.as_ref().unwrap().version(), 0);
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r6891_4_unknown_options_and_flags_are_ignored_and_not_echoed() {
    let (_upstream, daemon) = setup();
    let options: [(u16, &[u8]); 4] = [(65_001, b"x"), (3, b""), (20_000, &[0; 100]), (65_001, b"again")];
    for response in [
        Ask::new("www.example", A).opt(1232, 0x7fff, &options).udp(daemon.dns),
        Ask::new("www.example", A).opt(1232, 0x7fff, &options).tcp(daemon.dns),
    ] {
        assert_eq!((response.rcode(), response.all_options()), (0, vec![]));
        let flags = response.message.edns.as_ref().unwrap().flags();
        assert_eq!((flags.dnssec_ok, flags.z), (false, 0));
    }
}

#[test]
fn r6891_6_two_opts_are_a_format_error() {
    let (upstream, daemon) = setup();
    assert_eq!(
        Ask::new("www.example", A).edns().edns().udp(daemon.dns).rcode(),
        FORMERR
    );
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r6891_7_an_opt_with_an_owner_is_a_format_error() {
    let (upstream, daemon) = setup();
    let mut ask = Ask::new("www.example", A);
    ask.additional.push(record("owner.example", OPT, 1232, 0, &[]));
    assert_eq!(ask.udp(daemon.dns).rcode(), FORMERR);
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r6891_8_an_option_past_the_end_is_a_format_error() {
    let (upstream, daemon) = setup();
    for rdata in [&[0, 12, 0, 1][..], &[0, 12, 0xff, 0xff, 0, 0], &[0, 12, 0], &[0]] {
        let mut ask = Ask::new("www.example", A);
        ask.additional.push(record(".", OPT, 1232, 0, rdata));
        assert_eq!(ask.udp(daemon.dns).rcode(), FORMERR, "{rdata:?}");
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r6891_9_an_opt_in_another_section_is_a_format_error() {
    let (upstream, daemon) = setup();
    for count_at in [7, 9] {
        let mut octets = Ask::new("www.example", A).octets();
        octets[count_at] = 1;
        octets.extend(opt(1232, 0, &[]));
        assert_eq!(udp(daemon.dns, &octets).rcode(), FORMERR);
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r6891_10_a_size_under_512_means_512() {
    let upstream = Upstream::start(|heard| heard.answer(300, &[&crate::script::text(&"x".repeat(200))]).into());
    let daemon = over_dot(&upstream);
    for payload in [0, 100, 511] {
        let response = Ask::new("www.example", TXT).opt(payload, 0, &[]).udp(daemon.dns);
        assert_eq!(
            (response.is_truncated(), response.message.answers.len()),
            (false, 1),
            "payload {payload}"
        );
    }
}

#[test]
fn r6891_11_many_options_do_no_harm() {
    let (_upstream, daemon) = setup();
    let options: Vec<(u16, &[u8])> = (0..200).map(|i| (20_000 + i, &b""[..])).collect();
    assert_eq!(
        Ask::new("www.example", A)
            .opt(1232, 0, &options)
            .udp(daemon.dns)
            .rcode(),
        0
    );
}

#[test]
fn r6891_12_never_over_1232_octets_on_udp() {
    let (_upstream, daemon) = setup();
    for (payload, limit) in [(512, 512), (700, 700), (1232, 1232), (4096, 1232), (65_535, 1232)] {
        let response = Ask::new("big.example", TXT).opt(payload, 0, &[]).udp(daemon.dns);
        assert!(
            response.is_truncated() && response.octets.len() <= limit,
            "{} octets",
            response.octets.len()
        );
        assert!(response.message.edns.is_some(), "R2181-1: the OPT is kept");
    }
}

#[test]
fn r2181_1_too_big_for_udp_is_truncated_and_whole_over_tcp() {
    let (upstream, daemon) = setup();
    let ask = Ask::new("Big.example", TXT);
    let short = ask.udp(daemon.dns);
    assert!(short.is_truncated() && short.octets.len() <= 512);
    assert_eq!(short.question(), ask.question());
    let whole = ask.tcp(daemon.dns);
    assert_eq!((whole.is_truncated(), whole.message.answers.len()), (false, 60));
    assert_eq!(upstream.heard().len(), 1, "both from one upstream query");
}

#[test]
fn r6840_1_do_is_copied_and_signatures_come_only_then() {
    let upstream = Upstream::start(|heard| {
        let mut signature = vec![0, 1, 13, 2, 0, 0, 1, 44, 0x7f, 0, 0, 0, 0x60, 0, 0, 0, 0x30, 0x39];
        signature.extend(crate::client::wire_name("example"));
        signature.extend([7; 64]);
        heard
            .answer(300, &[&[192, 0, 2, 1]])
            .answer(&heard.name, RRSIG, 300, &signature)
            .into()
    });
    let daemon = over_dot(&upstream);
    let ask = Ask::new("www.example", A);
    for _ in 0..2 {
        let plain = ask.clone().edns().udp(daemon.dns);
        let signed = ask.clone().opt(1232, 0x8000, &[]).udp(daemon.dns);
        assert_eq!((plain.message.answers.len(), signed.message.answers.len()), (1, 2));
        assert!(!plain.message.edns.unwrap().flags().dnssec_ok && signed.message.edns.unwrap().flags().dnssec_ok);
    }
}

#[test]
fn r6840_2_ad_is_shown_only_to_who_asked() {
    let upstream = Upstream::start(|heard| heard.answer(300, &[&[192, 0, 2, 1]]).flags(AD).into());
    let daemon = over_dot(&upstream);
    let ask = Ask::new("www.example", A);
    for _ in 0..2 {
        assert_eq!(ask.udp(daemon.dns).flags() & AD, 0);
        assert_eq!(ask.clone().flags(RD | AD).udp(daemon.dns).flags() & AD, AD);
        assert_eq!(ask.clone().opt(1232, 0x8000, &[]).udp(daemon.dns).flags() & AD, AD);
        assert_eq!(
            ask.clone().flags(RD | CD).udp(daemon.dns).flags() & CD,
            CD,
            "CD is copied (RFC 4035 section 3.2.2)"
        );
    }
}

#[test]
fn r7828_1_keepalive_is_offered_over_tcp_to_who_asked() {
    let (_upstream, daemon) = setup();
    let asking = Ask::new("www.example", A).opt(1232, 0, &[(11, b"")]);
    assert_eq!(asking.udp(daemon.dns).options(11), Vec::<Vec<u8>>::new());
    assert_eq!(asking.tcp(daemon.dns).options(11).len(), 1);
    assert_eq!(
        Ask::new("www.example", A).edns().tcp(daemon.dns).options(11),
        Vec::<Vec<u8>>::new()
    );
}

#[test]
fn r8467_1_no_padding_in_clear_text() {
    let upstream = Upstream::start(|heard| {
        heard
            .answer(300, &[&[192, 0, 2, 1]])
            .additional(opt(1232, 0, &[(12, &[0; 300]), (11, &[0, 50])]))
            .into()
    });
    let daemon = over_dot(&upstream);
    let ask = Ask::new("www.example", A).opt(1232, 0, &[(12, &[0; 20])]);
    for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns), ask.udp(daemon.dns)] {
        assert_eq!(
            response.all_options(),
            vec![],
            "R7828-1: nor is the upstream's keepalive passed on"
        );
    }
}

#[test]
fn r8914_3_the_upstreams_error_text_is_capped() {
    let data = [&[0, 6][..], &[b'x'; 500]].concat();
    let upstream = Upstream::start(move |heard| {
        heard
            .response()
            .rcode(2)
            .additional(opt(1232, 0, &[(15, &data)]))
            .into()
    });
    let daemon = over_dot(&upstream);
    let response = Ask::new("www.example", A).edns().udp(daemon.dns);
    assert_eq!(response.rcode(), SERVFAIL);
    assert!(response.ede().is_some() && response.options(15).iter().all(|data| data.len() <= 2 + 64));
}
