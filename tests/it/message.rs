//! Messages, names and echo: what a client sends and what it gets back.

use crate::client::{
    A, AAAA, Ask, CHAOS, CNAME, DNAME, FORMERR, IN, NOTIMP, NXDOMAIN, RD, REFUSED, Response, SERVFAIL, TXT,
    assert_silence, receive_udp, record, udp, udp_socket, wire_name,
};
use crate::daemon::{Daemon, over_dot};
use crate::script::Reply;
use crate::upstream::Upstream;

fn setup() -> (Upstream, Daemon) {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    (upstream, daemon)
}

/// Sends what nobody may serve: FORMERR or silence.
fn assert_malformed(daemon: &Daemon, octets: &[u8]) {
    let socket = udp_socket(daemon.dns);
    socket.send(octets).unwrap();
    socket
        .send(&Ask::new("version.bind", TXT).class(CHAOS).id(0xbeef).octets())
        .unwrap();
    let first = receive_udp(&socket);
    assert!(
        first.id() == 0xbeef || first.rcode() == FORMERR,
        "{octets:02x?} got RCODE {}",
        first.rcode()
    );
}

#[test]
fn r1035_1_id_opcode_rd_and_question_are_repeated() {
    let (_upstream, daemon) = setup();
    for id in [0, 1, 0x1234, 0xffff] {
        let ask = Ask::new("wWw.MiXeD.eXaMpLe", A).id(id);
        for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns)] {
            assert_eq!(response.id(), id);
            // QR, RD, RA; opcode, AA, TC, Z, AD, CD and RCODE zero.
            assert_eq!(response.flags(), 0x8180);
            assert_eq!(response.question(), ask.question());
            assert_eq!(response.message.answers.len(), 1);
        }
    }
}

#[test]
fn r1035_1_ra_is_set_on_failures_too() {
    let upstream = Upstream::start(|_| Reply::Close);
    let daemon = over_dot(&upstream);
    let ask = Ask::new("FaiLs.example", A);
    let response = ask.udp(daemon.dns);
    assert_eq!(response.flags(), 0x8182);
    assert_eq!(response.question(), ask.question());
}

#[test]
fn r1035_2_without_rd_only_the_cache_answers() {
    let (upstream, daemon) = setup();
    let ask = Ask::new("www.example", A).flags(0).edns();
    let refused = ask.udp(daemon.dns);
    assert_eq!(
        (refused.rcode(), refused.ede(), refused.flags() & RD),
        (REFUSED, Some(20), 0)
    );
    assert_eq!(upstream.heard().len(), 0);
    ask.clone().flags(RD).udp(daemon.dns);
    let cached = ask.udp(daemon.dns);
    assert_eq!(
        (cached.rcode(), cached.message.answers.len(), cached.flags() & RD),
        (0, 1, 0)
    );
    assert_eq!(upstream.heard().len(), 1);
}

#[test]
fn r1035_3_a_response_at_the_listener_is_dropped() {
    let (_upstream, daemon) = setup();
    assert_silence(daemon.dns, &Ask::new("www.example", A).flags(0x8180).octets());
    assert_silence(daemon.dns, &Ask::new("www.example", A).flags(0xa800).octets());
}

#[test]
fn r1035_4_less_than_a_header_is_dropped() {
    let (_upstream, daemon) = setup();
    let octets = Ask::new("www.example", A).octets();
    for len in 0..12 {
        assert_silence(daemon.dns, &octets[..len]);
    }
}

#[test]
fn r1035_5_bad_names_are_refused() {
    let (upstream, daemon) = setup();
    let too_long = [&[1, b'a'].repeat(128)[..], &[0]].concat();
    let bad: [&[u8]; 7] = [
        &[0xc0, 12],          // a pointer to itself
        &[0xc0, 0xff],        // a forward pointer
        &[1, b'a', 0xc0, 12], // a loop over a label
        &[0x41, b'a', 0],     // label type 01
        &[0x81, b'a', 0],     // label type 10
        &[63, b'a', 0],       // a label past the end
        &too_long,            // 257 octets
    ];
    for qname in bad {
        let mut ask = Ask::new(".", A);
        ask.qname = qname.to_vec();
        assert_malformed(&daemon, &ask.octets());
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r1035_6_trailing_octets_are_a_format_error_and_stay_here() {
    let (upstream, daemon) = setup();
    for tail in [&b"\0"[..], b"smuggled", &[0xff; 400]] {
        let octets = [&Ask::new("www.example", A).edns().octets()[..], tail].concat();
        assert_eq!(udp(daemon.dns, &octets).rcode(), FORMERR);
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r1035_7_lying_counts_are_a_format_error() {
    let (upstream, daemon) = setup();
    for (at, count) in [(6, 65_535), (8, 65_535), (10, 65_535), (10, 1), (6, 1)] {
        let mut octets = Ask::new("www.example", A).octets();
        octets[at..at + 2].copy_from_slice(&u16::to_be_bytes(count));
        assert_eq!(udp(daemon.dns, &octets).rcode(), FORMERR, "count {count} at {at}");
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r1035_8_labels_hold_any_octet_and_stay_apart() {
    let (upstream, daemon) = setup();
    let all: Vec<u8> = (1..=63).chain(128..=190).collect();
    let names: [&[&[u8]]; 7] = [
        &[b"\0nul", b"example"],
        &[b"nul", b"example"],
        &[b"dot.inlabel", b"example"],
        &[b"dot", b"inlabel", b"example"],
        &[b"\x80\xff", b"example"],
        &[&all[..63], b"example"],
        &[b" ", b"example"],
    ];
    for (count, labels) in names.into_iter().enumerate() {
        let ask = Ask::new(".", A).labels(labels);
        for response in [ask.udp(daemon.dns), ask.udp(daemon.dns)] {
            assert_eq!((response.rcode(), response.message.answers.len()), (0, 1), "{labels:?}");
            assert_eq!(response.question(), ask.question());
        }
        assert_eq!(upstream.heard().len(), count + 1, "a cache key of its own: {labels:?}");
    }
}

#[test]
fn r1035_9_the_root_and_the_longest_name_work() {
    let (upstream, daemon) = setup();
    let label = [b'a'; 63];
    let longest: [&[u8]; 4] = [&label, &label, &label, &label[..61]];
    for labels in [&[][..], &longest] {
        let ask = Ask::new(".", A).labels(labels);
        let response = ask.udp(daemon.dns);
        assert_eq!((response.rcode(), response.question()), (0, &ask.question()[..]));
    }
    assert_eq!(upstream.heard()[1].question().len(), 255 + 4);
}

#[test]
fn r1035_10_chaos_is_refused_here() {
    let (upstream, daemon) = setup();
    for name in ["version.bind", "id.server", "hostname.bind", "anything.example"] {
        let ask = Ask::new(name, TXT).class(CHAOS);
        assert_eq!(
            (ask.udp(daemon.dns).rcode(), ask.tcp(daemon.dns).rcode()),
            (REFUSED, REFUSED)
        );
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r1035_11_other_classes_get_no_internet_data() {
    let (_upstream, daemon) = setup();
    Ask::new("www.example", A).udp(daemon.dns);
    for class in [0, 2, 4, 254, 255, 65_535] {
        let response = Ask::new("www.example", A).class(class).udp(daemon.dns);
        // ANY may be answered with what there is.
        assert!(response.message.answers.is_empty() || class == 255, "class {class}");
        assert_eq!(response.question(), Ask::new("www.example", A).class(class).question());
    }
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0, "still answering");
}

#[test]
fn r1034_1_a_long_chain_comes_whole() {
    let upstream = Upstream::start(|heard| {
        let step = |i: usize| {
            if i == 0 {
                heard.name.clone()
            } else {
                format!("d{i}.example")
            }
        };
        let chain = (0..30).fold(heard.response(), |answer, i| {
            answer.answer(&step(i), CNAME, 300, &wire_name(&step(i + 1)))
        });
        chain.answer(&step(30), A, 300, &[192, 0, 2, 51]).into()
    });
    let daemon = over_dot(&upstream);
    let response = Ask::new("chain.example", A).tcp(daemon.dns);
    assert_eq!((response.rcode(), response.message.answers.len()), (0, 31));
    assert_eq!(response.answers()[30], "d30.example. A 192.0.2.51");
    assert_eq!(upstream.heard().len(), 1);
}

#[test]
fn r1034_1_a_loop_ends_in_servfail_at_once() {
    let upstream = Upstream::start(|heard| {
        let other = wire_name("loop2.example");
        let answer = heard.response().answer(&heard.name, CNAME, 300, &other);
        answer
            .answer("loop2.example", CNAME, 300, &wire_name(&heard.name))
            .into()
    });
    let daemon = over_dot(&upstream);
    let response = Ask::new("loop1.example", A).edns().udp(daemon.dns);
    assert_eq!((response.rcode(), response.message.answers.len()), (SERVFAIL, 0));
    assert!(upstream.heard().len() <= 3, "R9520-2");
}

#[test]
fn r3597_1_unknown_types_pass_unchanged() {
    let rdata: Vec<u8> = (0..=255).chain([0xc0, 12]).collect();
    let expected = rdata.clone();
    let upstream = Upstream::start(move |heard| heard.answer(300, &[&rdata]).into());
    let daemon = over_dot(&upstream);
    for qtype in [1000, 20_000, 65_280, 65_534] {
        for response in [
            Ask::new("unk.example", qtype).udp(daemon.dns),
            Ask::new("unk.example", qtype).tcp(daemon.dns),
        ] {
            assert!(
                response.octets.ends_with(&expected),
                "type {qtype}: {:02x?}",
                response.octets
            );
        }
    }
}

#[test]
fn r4343_1_ascii_case_is_ignored_and_nothing_else() {
    let (upstream, daemon) = setup();
    for name in ["www.example", "WWW.EXAMPLE", "wWw.ExAmPlE"] {
        assert_eq!(Ask::new(name, A).udp(daemon.dns).rcode(), 0);
    }
    assert_eq!(upstream.heard().len(), 1);
    // The neighbours of A-Z and a-z differ from each other by the same bit.
    for name in ["@x.example", "`x.example", "[x.example", "{x.example"] {
        Ask::new(name, A).udp(daemon.dns);
    }
    assert_eq!(upstream.heard().len(), 5);
}

#[test]
fn r6672_1_a_dname_is_kept_and_not_used_for_other_names() {
    let upstream = Upstream::start(|heard| {
        let prefix = heard.name.strip_suffix(".sub.example").unwrap_or("?").to_owned();
        let target = format!("{prefix}.target.example");
        heard
            .response()
            .answer("sub.example", DNAME, 300, &wire_name("target.example"))
            .answer(&heard.name, CNAME, 300, &wire_name(&target))
            .answer(&target, A, 300, &[192, 0, 2, 40])
            .into()
    });
    let daemon = over_dot(&upstream);
    let response = Ask::new("www.sub.example", A).udp(daemon.dns);
    assert!(
        response.answers()[0].starts_with("sub.example. DNAME "),
        "{:?}",
        response.answers()
    );
    assert_eq!((response.rcode(), response.message.answers.len()), (0, 3));
    Ask::new("other.sub.example", A).udp(daemon.dns);
    assert_eq!(upstream.heard().len(), 2);
}

#[test]
fn r8906_1_other_opcodes_are_not_implemented_nor_forwarded() {
    let (upstream, daemon) = setup();
    for opcode in 1..16u16 {
        let ask = Ask::new("www.example", A).flags(opcode << 11 | RD);
        let response = ask.udp(daemon.dns);
        assert!(
            [NOTIMP, REFUSED].contains(&response.rcode()),
            "opcode {opcode}: {}",
            response.rcode()
        );
        assert_eq!(response.flags() >> 11 & 15, opcode, "R1035-1: the opcode is repeated");
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r8906_3_meta_types_are_refused_with_their_reason() {
    let (upstream, daemon) = setup();
    for qtype in [0, 41, 128, 249, 250, 253] {
        let response = Ask::new("www.example", qtype).edns().udp(daemon.dns);
        assert!(
            [FORMERR, NOTIMP].contains(&response.rcode()),
            "type {qtype}: {}",
            response.rcode()
        );
        assert_eq!(response.ede(), Some(30), "type {qtype}");
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r9619_1_one_question_and_no_other_number() {
    let (upstream, daemon) = setup();
    let one = Ask::new("www.example", A);
    for count in [0u8, 2, 3] {
        let mut octets = one.octets()[..12].to_vec();
        octets[5] = count;
        octets.extend(one.question().repeat(usize::from(count)));
        assert_eq!(udp(daemon.dns, &octets).rcode(), FORMERR, "QDCOUNT {count}");
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r8482_1_any_stays_small() {
    let upstream = Upstream::start(|heard| {
        let many = (0..40).fold(heard.response(), |answer, i| {
            answer.answer(&heard.name, A, 300, &[192, 0, 2, i])
        });
        many.answer(&heard.name, TXT, 300, &crate::script::text(&"x".repeat(250)))
            .into()
    });
    let daemon = over_dot(&upstream);
    let response = Ask::new("www.example", 255).edns().udp(daemon.dns);
    assert!(response.octets.len() < 512, "{} octets", response.octets.len());
}

#[test]
fn r5936_1_transfers_are_refused_at_once() {
    let (upstream, daemon) = setup();
    for qtype in [251, 252] {
        let ask = Ask::new("example", qtype).edns();
        for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns)] {
            assert_eq!((response.rcode(), response.ede()), (REFUSED, Some(21)), "type {qtype}");
        }
    }
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r5625_1_unknown_flags_and_types_never_lose_a_question() {
    let (_upstream, daemon) = setup();
    for (flags, qtype) in [(0x0140, A), (0x0500, AAAA), (0x0170, TXT), (RD, 64_000)] {
        let response = Ask::new("www.example", qtype).flags(flags).edns().udp(daemon.dns);
        assert_eq!(response.rcode(), 0, "flags {flags:04x}, type {qtype}");
        assert_eq!(response.flags() & 0x0040, 0, "Z is zero");
    }
}

#[test]
fn r1035_1_an_nxdomain_is_echoed_in_the_clients_case() {
    let (_upstream, daemon) = setup();
    let ask = Ask::new("nX.ExAmple", A);
    let responses: [Response; 2] = [ask.udp(daemon.dns), ask.udp(daemon.dns)];
    for response in responses {
        assert_eq!((response.rcode(), response.question()), (NXDOMAIN, &ask.question()[..]));
    }
}

#[test]
fn r1035_7_records_in_a_query_are_never_believed() {
    let (upstream, daemon) = setup();
    let mut octets = Ask::new("www.example", A).octets();
    octets[7] = 1;
    octets.extend(record("www.example", A, IN, 3600, &[203, 0, 113, 66]));
    // Refused or ignored: both are right.
    udp(daemon.dns, &octets);
    assert_eq!(
        Ask::new("www.example", A).udp(daemon.dns).answers(),
        ["www.example. A 192.0.2.1"]
    );
    assert!(upstream.heard().len() <= 2);
}
