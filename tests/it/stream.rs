//! TCP and transport duties, towards clients and towards the resolver.

use std::io::{Read, Write};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, TXT, Tcp, framed, tick};
use crate::daemon::{Daemon, over_doh, over_dot};
use crate::script::{Gate, Reply, normal, text};
use crate::upstream::Upstream;

/// Holds back the answers for `slow.example`; everything else is answered at once.
fn with_gate() -> (Upstream, Daemon, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |heard| match normal(heard) {
        Reply::Dns(octets) if heard.name == "slow.example" => Reply::Held(held.clone(), octets),
        reply => reply,
    });
    let daemon = over_dot(&upstream);
    (upstream, daemon, gate)
}

#[test]
fn r7766_1_answers_of_64_kib() {
    let upstream = Upstream::start(|heard| {
        let strings: Vec<Vec<u8>> = (0..240).map(|i| text(&format!("{i:03}{}", "y".repeat(245)))).collect();
        let rdata: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        heard.answer(300, &rdata).into()
    });
    for daemon in [over_dot(&upstream), over_doh(&upstream)] {
        for _ in 0..2 {
            let response = Ask::new("h.example", TXT).tcp(daemon.dns);
            assert_eq!((response.rcode(), response.message.answers.len()), (0, 240));
        }
    }
}

#[test]
fn r7766_2_pipelined_queries_are_all_answered_out_of_order() {
    let (_upstream, daemon, gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    connection.send(&Ask::new("slow.example", A).id(1).octets());
    for id in 2..100 {
        connection.send(&Ask::new(&format!("n{id}.example"), A).id(id).octets());
    }
    let mut ids: Vec<u16> = (2..100).map(|_| connection.receive().unwrap().id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (2..100).collect::<Vec<u16>>());
    gate.open();
    assert_eq!(connection.receive().unwrap().id(), 1);
}

#[test]
fn r7766_3_queries_in_pieces() {
    let (_upstream, daemon, _gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    let two = [
        framed(&Ask::new("one.example", A).id(1).octets()),
        framed(&Ask::new("two.example", A).id(2).octets()),
    ];
    for octet in two.concat() {
        connection.stream.write_all(&[octet]).unwrap();
    }
    let mut ids = [connection.receive().unwrap().id(), connection.receive().unwrap().id()];
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn r7766_4_half_closed_client_gets_its_answers() {
    let (upstream, daemon, gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    connection.send(&Ask::new("slow.example", A).id(1).octets());
    connection.send(&Ask::new("fast.example", A).id(2).octets());
    connection.half_close();
    assert_eq!(connection.receive().unwrap().id(), 2);
    // The two questions are tasks of their own: the slow one may arrive after the fast one's answer.
    let begin = Instant::now();
    while upstream.count("slow.example") == 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "the slow query never arrived");
        tick();
    }
    gate.open();
    assert_eq!(connection.receive().unwrap().id(), 1);
    assert!(connection.receive().is_none(), "closed after the last answer");
}

#[test]
fn r7766_5_bad_framing_costs_only_its_own_connection() {
    let (_upstream, daemon, _gate) = with_gate();
    let mut good = Tcp::connect(daemon.dns);
    let bad: [&[u8]; 5] = [
        &[0, 0],
        &[0, 1, 0],
        &[0, 12, 0xff],
        &[0xff; 70_000],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for octets in bad {
        let mut connection = Tcp::connect(daemon.dns);
        // A connection that is closed under our hands is what we expect.
        let _ = connection.stream.write_all(octets);
        let _ = connection.stream.shutdown(std::net::Shutdown::Write);
        let _ = connection.stream.read_to_end(&mut Vec::new());
        good.send(&Ask::new("www.example", A).octets());
        assert_eq!(good.receive().unwrap().rcode(), 0);
    }
}

#[test]
fn r7766_6_a_connection_is_kept_for_the_next_query() {
    let (_upstream, daemon, _gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    for id in 0..50 {
        connection.send(&Ask::new("www.example", A).id(id).octets());
        assert_eq!(connection.receive().unwrap().id(), id);
    }
}

#[test]
#[ignore = "long: waits for the idle close, about 10 s"]
fn r7766_7_an_idle_connection_is_closed() {
    let (_upstream, daemon, _gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    connection.send(&Ask::new("www.example", A).octets());
    connection.receive().unwrap();
    connection
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let begin = Instant::now();
    assert_eq!(connection.stream.read(&mut [0]).unwrap(), 0, "closed, not reset");
    assert!(
        begin.elapsed() > Duration::from_secs(3),
        "closed after {:?}",
        begin.elapsed()
    );
}

#[test]
#[ignore = "long: waits for the deadline of a whole message, about 10 s"]
fn t_slow_half_a_query_does_not_hold_a_connection() {
    let (_upstream, daemon, _gate) = with_gate();
    let mut connection = Tcp::connect(daemon.dns);
    let octets = framed(&Ask::new("www.example", A).octets());
    connection.stream.write_all(&octets[..octets.len() - 1]).unwrap();
    connection
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(connection.stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn r7766_8_a_client_that_does_not_read_blocks_nobody() {
    let (_upstream, daemon, _gate) = with_gate();
    let big = framed(&Ask::new("big.example", TXT).octets());
    let mut deaf = Tcp::connect(daemon.dns);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // 15 KB of answer for each: sockets' buffers and our cap are full long before; then we are dropped or held up.
    for _ in 0..2000 {
        if deaf.stream.write_all(&big).is_err() {
            break;
        }
    }
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(Ask::new("www.example", A).tcp(daemon.dns).rcode(), 0);
        assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(daemon.resident() < 100 << 20, "{} octets resident", daemon.resident());
}

#[test]
fn r7766_10_a_closed_upstream_connection_loses_no_question() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = Upstream::start(|heard| if heard.nth == 0 { Reply::Close } else { normal(heard) });
        let daemon = over(&upstream);
        let response = Ask::new("www.example", A).udp(daemon.dns);
        assert_eq!(
            (response.rcode(), response.message.answers.len()),
            (0, 1),
            "{}",
            daemon.stats()["upstreams"]
        );
        assert_eq!(
            (upstream.count("www.example"), upstream.connections()),
            (2, 2),
            "re-sent once, on a new connection"
        );
    }
}

#[test]
fn r7858_2_connections_are_kept_and_shared() {
    for over in [over_dot as fn(&Upstream) -> Daemon, over_doh] {
        let upstream = Upstream::honest();
        let daemon = over(&upstream);
        for i in 0..50 {
            assert_eq!(Ask::new(&format!("n{i}.example"), A).udp(daemon.dns).rcode(), 0);
        }
        assert_eq!((upstream.heard().len(), upstream.connections()), (50, 1));
    }
}

#[test]
fn r9210_1_300_idle_connections_shut_nobody_out() {
    let (_upstream, daemon, _gate) = with_gate();
    let idle: Vec<Tcp> = (0..300).map(|_| Tcp::connect(daemon.dns)).collect();
    for _ in 0..10 {
        assert_eq!(Ask::new("www.example", A).tcp(daemon.dns).rcode(), 0);
        assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    }
    drop(idle);
}
