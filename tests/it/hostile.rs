//! A resolver that answers wrongly: every query of a client is answered in time all the same.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, AAAA, Ask, Response, SERVFAIL, TXT, opt, receive_udp, udp_socket, wire_name};
use crate::daemon::{Config, Daemon, over_doh, over_dot};
use crate::script::{Heard, Reply, normal};
use crate::upstream::Upstream;

/// Promise 4, and a little for a busy machine.
const DEADLINE: Duration = Duration::from_millis(5500);

/// Makes a wrong message.
type Wrong = fn(&Heard) -> Vec<u8>;

/// Wrong messages, by name. Each is made from what would be right.
const WRONG: [(&str, Wrong); 19] = [
    ("question-name", |heard| {
        with_question(heard, |question| question[1] ^= 1)
    }),
    ("question-type", |heard| {
        with_question(heard, |question| *question.iter_mut().rev().nth(2).unwrap() ^= 28)
    }),
    ("question-class", |heard| {
        with_question(heard, |question| *question.last_mut().unwrap() = 3)
    }),
    ("no-question", |heard| {
        let mut octets = heard.answer(300, &[&[192, 0, 2, 1]]).octets();
        octets[5] = 0;
        octets.drain(12..12 + heard.question().len());
        octets
    }),
    ("two-questions", |heard| {
        let mut octets = heard.response().octets();
        octets[5] = 2;
        octets.extend_from_slice(heard.question());
        octets
    }),
    ("query-instead-of-response", |heard| heard.octets.clone()),
    ("opcode", |heard| right(heard, |octets| octets[2] |= 0x28)),
    ("wrong-id", |heard| right(heard, |octets| octets[1] ^= 0x55)),
    ("cut-off", |heard| {
        right(heard, |octets| octets.truncate(octets.len() - 3))
    }),
    ("header-only", |heard| right(heard, |octets| octets.truncate(12))),
    ("one-octet", |_| vec![0]),
    ("empty", |_| Vec::new()),
    ("lying-answer-count", |heard| {
        right(heard, |octets| octets[6..8].fill(0xff))
    }),
    ("lying-additional-count", |heard| {
        right(heard, |octets| octets[10..12].fill(0xff))
    }),
    ("pointer-to-itself", |heard| owner_pointer(heard, |at| at)),
    ("pointer-forward", |heard| owner_pointer(heard, |at| at + 20)),
    ("pointer-chain", pointer_chain),
    ("bad-rdata-length", |heard| {
        right(heard, |octets| {
            let low_octet = octets.len() - 5;
            octets[low_octet] = 9;
        })
    }),
    ("two-opts", |heard| {
        let answer = heard.answer(300, &[&[192, 0, 2, 1]]);
        answer
            .additional(opt(1232, 0, &[]))
            .additional(opt(1232, 0, &[]))
            .octets()
    }),
];

fn right(heard: &Heard, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = heard.answer(300, &[&[192, 0, 2, 1]]).octets();
    change(&mut octets);
    octets
}

fn with_question(heard: &Heard, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut answer = heard.answer(300, &[&[192, 0, 2, 1]]);
    change(&mut answer.question);
    answer.octets()
}

/// One answer whose owner is a compression pointer.
fn owner_pointer(heard: &Heard, target: fn(usize) -> usize) -> Vec<u8> {
    let mut octets = heard.response().octets();
    octets[7] = 1;
    let pointer = 0xc000 | u16::try_from(target(octets.len())).unwrap();
    octets.extend_from_slice(&pointer.to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
    octets
}

/// 2000 owners, each a pointer to the pointer before it: work grows with the square where it is not bounded (T-PTR).
fn pointer_chain(heard: &Heard) -> Vec<u8> {
    let mut octets = heard.response().octets();
    octets[6..8].copy_from_slice(&2000u16.to_be_bytes());
    let mut target = 12u16;
    for _ in 0..2000 {
        let at = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        octets.extend_from_slice(&(0xc000 | (target & 0x3fff)).to_be_bytes());
        octets.extend_from_slice(&[0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
        target = at;
    }
    octets
}

/// Asks `names` all at once and reads every response in time, in the order of the names.
fn ask_all(daemon: &Daemon, names: &[String]) -> Vec<Response> {
    let socket = udp_socket(daemon.dns);
    let begin = Instant::now();
    for (id, name) in (0u16..).zip(names) {
        socket.send(&Ask::new(name, A).id(id).edns().octets()).unwrap();
    }
    let mut responses: Vec<Response> = names.iter().map(|_| receive_udp(&socket)).collect();
    assert!(begin.elapsed() < DEADLINE, "answered after {:?}", begin.elapsed());
    responses.sort_by_key(Response::id);
    responses
}

fn check_wrong_messages(over: fn(&Upstream) -> Daemon, accepted: &[&str]) {
    let upstream = Upstream::start(|heard| {
        let first = heard.name.split('.').next().unwrap();
        match WRONG.iter().find(|(name, _)| *name == first) {
            Some((_, wrong)) => Reply::Dns(wrong(heard)),
            None => normal(heard),
        }
    });
    let daemon = over(&upstream);
    let names: Vec<String> = WRONG.iter().map(|(name, _)| format!("{name}.example")).collect();
    for (name, response) in names.iter().zip(ask_all(&daemon, &names)) {
        let short = name.strip_suffix(".example").unwrap();
        if accepted.contains(&short) && response.rcode() == 0 {
            continue;
        }
        assert_eq!(response.rcode(), SERVFAIL, "{name}");
        assert!(
            matches!(response.ede(), Some(22..=24)),
            "{name}: EDE {:?}",
            response.ede()
        );
    }
    assert_eq!(
        Ask::new("after.example", A).udp(daemon.dns).rcode(),
        0,
        "still answering"
    );
    for (name, count) in names.iter().map(|name| (name, upstream.count(name))) {
        assert!(count <= 3, "R9520-2: {name} was asked {count} times");
    }
}

#[test]
fn t_poi_1_wrong_messages_are_no_answers_over_dot() {
    check_wrong_messages(over_dot, &["pointer-chain"]);
}

#[test]
fn t_poi_1_wrong_messages_are_no_answers_over_doh() {
    // The stream says which question an HTTP response belongs to; its ID is of no use (RFC 8484 section 4.1).
    check_wrong_messages(over_doh, &["pointer-chain", "wrong-id"]);
}

#[test]
fn t_tc_a_truncated_answer_ends_after_one_retry() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = Upstream::start(|heard| heard.response().flags(0x0200).into());
        let daemon = over(&upstream);
        let begin = Instant::now();
        let response = Ask::new("www.example", A).udp(daemon.dns);
        assert!(begin.elapsed() < DEADLINE && response.rcode() == SERVFAIL);
        assert!(upstream.heard().len() <= 3);
    }
}

#[test]
fn t_silent_a_resolver_that_says_nothing() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = Upstream::start(|_| Reply::Silence);
        let daemon = over(&upstream);
        let response = &ask_all(&daemon, &["www.example".to_owned()])[0];
        assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(22)));
    }
}

#[test]
fn t_silent_half_an_answer() {
    let upstream = Upstream::start(|heard| {
        let octets = heard.answer(300, &[&[192, 0, 2, 1]]).octets();
        Reply::Raw([&[0xff, 0xff][..], &octets].concat())
    });
    let daemon = over_dot(&upstream);
    assert_eq!(ask_all(&daemon, &["www.example".to_owned()])[0].rcode(), SERVFAIL);
}

#[test]
fn r8484_3_only_2xx_with_the_content_type_is_dns() {
    let upstream = Upstream::start(|heard| {
        let dns = vec![("content-type", "application/dns-message")];
        let right = || heard.answer(300, &[&[192, 0, 2, 1]]).octets();
        let http = |status, headers, body| Reply::Http { status, headers, body };
        match heard.name.split('.').next().unwrap() {
            "html" => http(
                200,
                vec![("content-type", "text/html")],
                b"<html>sign in</html>".to_vec(),
            ),
            "portal" => http(200, dns, b"<html>sign in</html>".to_vec()),
            "untyped" => http(200, vec![], right()),
            "json" => http(200, vec![("content-type", "application/dns-json")], right()),
            "gzip" => http(200, [dns, vec![("content-encoding", "gzip")]].concat(), right()),
            "empty" => http(200, dns, vec![]),
            "huge" => http(200, dns, vec![0; 10 << 20]),
            "redirect" => http(307, [dns, vec![("location", "/elsewhere")]].concat(), right()),
            status if status.starts_with('s') => http(status[1..].parse().unwrap(), dns, right()),
            _ => normal(heard),
        }
    });
    let daemon = over_doh(&upstream);
    let bad = ["html", "portal", "untyped", "json", "gzip", "empty", "huge", "redirect"];
    let statuses = ["s301", "s400", "s403", "s404", "s413", "s415", "s500", "s502"];
    let names: Vec<String> = bad
        .iter()
        .chain(&statuses)
        .map(|name| format!("{name}.example"))
        .collect();
    for (name, response) in names.iter().zip(ask_all(&daemon, &names)) {
        assert_eq!(response.rcode(), SERVFAIL, "{name}");
        assert!(
            matches!(response.ede(), Some(23 | 24)),
            "{name}: EDE {:?}",
            response.ede()
        );
    }
    assert_eq!(Ask::new("after.example", A).udp(daemon.dns).rcode(), 0);
    assert!(
        upstream.heard().iter().all(|heard| heard.path == "/dns-query"),
        "R8484-6: no redirect is followed"
    );
    assert!(
        daemon.resident() < 100 << 20,
        "R8484-5: {} octets resident",
        daemon.resident()
    );
}

#[test]
fn r8484_4_an_age_comes_off_the_ttl() {
    let upstream = Upstream::start(|heard| Reply::Http {
        status: 200,
        headers: vec![
            ("content-type", "application/dns-message"),
            ("age", "250"),
            ("cache-control", "max-age=99999"),
        ],
        body: heard.answer(300, &[&[192, 0, 2, 1]]).octets(),
    });
    let daemon = over_doh(&upstream);
    let ttl = Ask::new("www.example", A).udp(daemon.dns).ttls()[0];
    assert!(ttl <= 50, "{ttl}");
}

#[test]
fn r8484_8_a_busy_resolver_is_left_alone_and_another_one_asked() {
    for status in [429, 503] {
        let busy = Upstream::start(move |_| Reply::Http {
            status,
            headers: vec![("retry-after", "30")],
            body: vec![],
        });
        let other = Upstream::honest();
        let daemon = Config::new().doh(&busy).doh(&other).start();
        for i in 0..10 {
            assert_eq!(Ask::new(&format!("n{i}.example"), A).udp(daemon.dns).rcode(), 0);
        }
        assert_eq!((busy.heard().len(), other.heard().len()), (1, 10), "status {status}");
    }
}

#[test]
fn r8484_3_refusals_of_the_resolver_are_answers_of_their_own_kind() {
    let upstream = Upstream::start(|heard| {
        let rcode = if heard.qtype == A { 5 } else { 2 };
        heard
            .response()
            .rcode(rcode)
            .additional(opt(1232, 0, &[(15, &[0, 18])]))
            .into()
    });
    let daemon = over_dot(&upstream);
    for qtype in [A, AAAA] {
        let response = Ask::new("www.example", qtype).edns().udp(daemon.dns);
        assert!(matches!(response.rcode(), SERVFAIL | 5), "RCODE {}", response.rcode());
        assert!(response.ede().is_some());
    }
}

#[test]
fn t_cnt_counts_of_the_resolver_cost_no_memory() {
    let upstream = Upstream::start(|heard| {
        let mut octets = heard.response().octets();
        octets[6..12].fill(0xff);
        Reply::Dns(octets)
    });
    let daemon = over_doh(&upstream);
    let before = daemon.resident();
    for i in 0..500 {
        assert_eq!(
            Ask::new(&format!("n{i}.example"), TXT).udp(daemon.dns).rcode(),
            SERVFAIL
        );
    }
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} octets more");
}

#[test]
fn t_poi_2_a_foreign_chain_is_cut() {
    let upstream = Upstream::start(|heard| {
        let target = wire_name("other.example");
        let answer = heard.answer(300, &[&[192, 0, 2, 1]]);
        answer
            .answer("unrelated.example", 5, 300, &target)
            .answer("other.example", A, 300, &[203, 0, 113, 9])
            .into()
    });
    let daemon = over_doh(&upstream);
    assert_eq!(
        Ask::new("www.example", A).udp(daemon.dns).answers(),
        ["www.example. A 192.0.2.1"]
    );
}
