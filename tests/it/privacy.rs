//! What reaches the resolver: nothing of the client but its question (promise 2).

use crate::client::{A, AD, Ask, CD, RD, edns_options, opt_record};
use crate::daemon::{Config, over_doh, over_dot};
use crate::script::Heard;
use crate::upstream::Upstream;

const ECS: (u16, &[u8]) = (8, &[0, 1, 24, 0, 198, 51, 100]);
const COOKIE: (u16, &[u8]) = (10, b"COOKIEJR");
const NSID: (u16, &[u8]) = (3, b"");
const KEEPALIVE: (u16, &[u8]) = (11, b"");
const PADDING: (u16, &[u8]) = (12, &[0xff; 7]);
const UNKNOWN: (u16, &[u8]) = (65_001, b"tracking-token");
const OPTION_OF_KEEPALIVE: u16 = 11;
const OPTION_OF_PADDING: u16 = 12;

/// A client that says all it can about itself.
fn chatty(name: &str) -> Ask {
    let undefined_flags = 0x1fff;
    Ask::new(name, A).id(0xdead).flags(RD | AD).opt(
        4096,
        undefined_flags,
        &[ECS, COOKIE, NSID, KEEPALIVE, PADDING, UNKNOWN],
    )
}

/// Answers with TTL 0, so that every query reaches the resolver.
fn forgetful() -> Upstream {
    Upstream::start(|heard| heard.answer(0, &[&[192, 0, 2, 7]]).into())
}

fn only(upstream: &Upstream) -> Heard {
    let heard = upstream.heard();
    assert_eq!(heard.len(), 1, "{heard:02x?}");
    heard.into_iter().next().unwrap()
}

fn check_bare(heard: &Heard, keepalive: bool) {
    assert_eq!(heard.name, "mixedcase.example");
    // RD and AD asked, one question, one additional record.
    assert_eq!(heard.octets[2..12], [0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]);
    let opt = opt_record(&heard.octets).unwrap();
    assert_eq!(opt[5..9], [0, 0, 0, 0], "extended RCODE, version and flags");
    let options = edns_options(&heard.octets);
    let mut expected = vec![OPTION_OF_PADDING];
    if keepalive {
        expected.insert(0, OPTION_OF_KEEPALIVE);
    }
    let mut codes: Vec<u16> = options.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, expected);
    for (code, data) in options {
        assert!(data.iter().all(|octet| *octet == 0), "padding bytes are zero");
        assert!(
            code == OPTION_OF_PADDING || data.is_empty(),
            "our keepalive option has length 0"
        );
    }
    assert_eq!(heard.octets.len(), 128, "padded to a multiple of 128 octets");
}

#[test]
fn r6891_13_nothing_of_the_client_reaches_the_upstream_over_doh() {
    let upstream = Upstream::honest();
    assert_eq!(chatty("MixedCase.Example").udp(over_doh(&upstream).dns).rcode(), 0);
    let heard = only(&upstream);
    check_bare(&heard, false);
    assert_eq!(heard.id(), 0, "R8484-2");
}

#[test]
fn r6891_13_nothing_of_the_client_reaches_the_upstream_over_dot() {
    let upstream = Upstream::honest();
    assert_eq!(chatty("MixedCase.Example").tcp(over_dot(&upstream).dns).rcode(), 0);
    check_bare(&only(&upstream), true);
}

#[test]
fn r6891_13_two_clients_cannot_be_told_apart() {
    let upstream = forgetful();
    let daemon = over_doh(&upstream);
    Ask::new("same.example", A).id(1).udp(daemon.dns);
    chatty("SAME.example").udp(daemon.dns);
    Ask::new("Same.Example", A).id(3).edns().tcp(daemon.dns);
    let heard = upstream.heard();
    assert_eq!(heard.len(), 3);
    assert!(
        heard
            .iter()
            .all(|one| one.octets == heard[0].octets && one.headers == heard[0].headers),
        "{heard:02x?}"
    );
}

#[test]
fn r7871_1_a_client_subnet_is_stripped_and_does_not_split_the_cache() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    for subnet in [[198, 51, 100], [203, 0, 113]] {
        let data = [&[0, 1, 24, 0][..], &subnet].concat();
        let response = Ask::new("www.example", A).opt(1232, 0, &[(8, &data)]).udp(daemon.dns);
        assert_eq!((response.rcode(), response.options(8)), (0, vec![]));
    }
    assert!(edns_options(&only(&upstream).octets).iter().all(|(code, _)| *code != 8));
}

#[test]
fn r8467_2_every_query_is_padded_to_a_multiple_of_128() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    let label = "a".repeat(63);
    for name in [
        "a.b".to_owned(),
        "x.example".to_owned(),
        format!("{label}.{label}"),
        format!("{label}.{label}.{label}.b"),
    ] {
        Ask::new(&name, A).udp(daemon.dns);
    }
    let lengths: Vec<usize> = upstream.heard().iter().map(|heard| heard.octets.len()).collect();
    assert_eq!(lengths, [128, 128, 256, 256]);
}

#[test]
fn r6840_1_do_and_cd_are_part_of_the_question() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    let plain = Ask::new("www.example", A);
    plain.udp(daemon.dns);
    plain.clone().opt(1232, 0x8000, &[]).udp(daemon.dns);
    plain.flags(RD | CD).udp(daemon.dns);
    let heard = upstream.heard();
    let flags: Vec<u8> = heard.iter().map(|one| one.octets[3] & 0x10).collect();
    let dnssec_ok: Vec<u8> = heard.iter().map(|one| opt_record(&one.octets).unwrap()[7]).collect();
    assert_eq!((flags, dnssec_ok), (vec![0, 0, 0x10], vec![0, 0x80, 0]));
}

#[test]
fn r8484_7_headers_are_minimal_and_constant() {
    let upstream = forgetful();
    let daemon = over_doh(&upstream);
    chatty("one.example").udp(daemon.dns);
    chatty("two.example").udp(daemon.dns);
    let heard = upstream.heard();
    assert_eq!(heard[0].headers, heard[1].headers);
    let allowed = [":method", "accept", "content-type", "content-length"];
    for (name, value) in &heard[0].headers {
        assert!(allowed.contains(&name.as_str()), "{name}: {value}");
    }
    let value = |name: &str| {
        heard[0]
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(value(":method"), Some("POST"));
    assert_eq!(value("content-type"), Some("application/dns-message"));
    assert_eq!(heard[0].path, "/dns-query");
}

#[test]
fn r8484_1_get_uses_base64url_without_padding() {
    let upstream = Upstream::honest();
    let daemon = Config::new().doh_get(&upstream).start();
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    let heard = only(&upstream);
    assert_eq!(heard.headers[0], (":method".to_owned(), "GET".to_owned()));
    let expected = data_encoding::BASE64URL_NOPAD.encode(&heard.octets);
    assert_eq!(heard.path, format!("/dns-query?dns={expected}"));
    assert_eq!((heard.id(), heard.octets.len()), (0, 128));
}

#[test]
fn r8932_1_no_query_name_is_logged() {
    let upstream = Upstream::start(|heard| heard.response().rcode(2).into());
    let daemon = over_dot(&upstream);
    Ask::new("very-secret-name.example", A).udp(daemon.dns);
    Ask::new("very-secret-name.example", A).flags(0).udp(daemon.dns);
    let seen = [daemon.stderr(), daemon.get("/stats").1, daemon.get("/metrics").1].concat();
    assert!(!seen.to_ascii_lowercase().contains("very-secret"), "{seen}");
}
