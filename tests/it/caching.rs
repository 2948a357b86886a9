//! Lifetimes, negatives, failures and coalescing.

use std::net::UdpSocket;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{
    A, AAAA, Ask, CHAOS, CNAME, NXDOMAIN, SERVFAIL, SOA, TXT, receive_udp, tick, udp_socket, wire_name,
};
use crate::daemon::{Daemon, over_doh, over_dot};
use crate::script::{Answer, Gate, Heard, Reply, normal};
use crate::upstream::Upstream;

/// A resolver whose answers come from `script`, and a daemon over it.
fn serving(script: fn(&Heard) -> Answer) -> (Upstream, Daemon) {
    let upstream = Upstream::start(move |heard| script(heard).into());
    let daemon = over_dot(&upstream);
    (upstream, daemon)
}

#[test]
fn r1035_12_ttls_count_down_and_never_up() {
    let (upstream, daemon) = serving(|heard| heard.answer(300, &[&[192, 0, 2, 1]]));
    let ttls: Vec<u32> = (0..50)
        .map(|_| Ask::new("www.example", A).udp(daemon.dns).ttls()[0])
        .collect();
    assert!(
        ttls.is_sorted_by(|a, b| a >= b) && ttls[0] <= 300 && ttls[49] >= 290,
        "{ttls:?}"
    );
    assert_eq!(upstream.heard().len(), 1);
}

#[test]
fn r1035_12_a_ttl_runs_out() {
    let (upstream, daemon) = serving(|heard| heard.answer(1, &[&[192, 0, 2, 1]]));
    let begin = Instant::now();
    let mut hits = 0;
    // T-POI-8: asking all the time does not keep it alive.
    while upstream.heard().len() < 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(4),
            "still cached after {:?}",
            begin.elapsed()
        );
        assert!(Ask::new("www.example", A).udp(daemon.dns).ttls()[0] <= 1);
        hits += 1;
        tick();
    }
    assert!(hits > 2, "it was cached in between");
}

#[test]
fn r2181_2_a_ttl_above_31_bits_counts_as_0() {
    let (upstream, daemon) = serving(|heard| heard.answer(0x8000_0000, &[&[192, 0, 2, 1]]));
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).ttls(), [0]);
    Ask::new("www.example", A).udp(daemon.dns);
    assert_eq!(upstream.heard().len(), 2);
}

#[test]
fn r2181_2_a_ttl_is_capped_at_one_day() {
    let (_upstream, daemon) = serving(|heard| heard.answer(0x7fff_ffff, &[&[192, 0, 2, 1]]));
    for _ in 0..2 {
        let ttl = Ask::new("www.example", A).udp(daemon.dns).ttls()[0];
        assert!((86_300..=86_400).contains(&ttl), "{ttl}");
    }
}

#[test]
fn r2181_3_all_records_of_a_set_share_the_lowest_ttl() {
    let (_upstream, daemon) = serving(|heard| {
        heard
            .response()
            .answer(&heard.name, A, 300, &[192, 0, 2, 1])
            .answer(&heard.name, A, 60, &[192, 0, 2, 2])
    });
    for _ in 0..2 {
        let ttls = Ask::new("www.example", A).udp(daemon.dns).ttls();
        assert!(ttls[0] == ttls[1] && ttls[0] <= 60, "{ttls:?}");
    }
}

#[test]
fn r2181_4_unasked_records_never_become_answers() {
    let upstream = Upstream::start(|heard| {
        if heard.name != "evil.example" {
            return normal(heard);
        }
        let poison = [203, 0, 113, 66];
        let answer = heard.answer(300, &[&[192, 0, 2, 1]]);
        let answer = answer.answer("victim.example", A, 300, &poison);
        let answer = answer.authority("victim.example", A, 300, &poison);
        let answer = answer.authority("example", crate::client::NS, 300, &wire_name("ns.evil.example"));
        answer
            .additional(crate::client::record("victim.example", A, 1, 300, &poison))
            .into()
    });
    for daemon in [over_dot(&upstream), over_doh(&upstream)] {
        let response = Ask::new("evil.example", A).udp(daemon.dns);
        assert!(
            response
                .answers()
                .iter()
                .all(|record| record.starts_with("evil.example.")),
            "T-POI-2"
        );
        assert!(
            response.message.authorities.is_empty() && response.message.additionals.is_empty(),
            "T-POI-2"
        );
        assert_eq!(
            Ask::new("victim.example", A).udp(daemon.dns).answers(),
            ["victim.example. A 192.0.2.1"]
        );
    }
    assert_eq!(upstream.count("victim.example"), 2);
}

#[test]
fn t_poi_5_the_end_of_a_chain_is_no_entry_of_its_own() {
    let upstream = Upstream::start(|heard| {
        let target = wire_name("bank.example");
        match heard.name.as_str() {
            "evil.example" => heard
                .response()
                .answer("evil.example", CNAME, 300, &target)
                .answer("bank.example", A, 300, &[203, 0, 113, 66])
                .into(),
            _ => normal(heard),
        }
    });
    let daemon = over_dot(&upstream);
    assert_eq!(
        Ask::new("evil.example", A).udp(daemon.dns).answers()[1],
        "bank.example. A 203.0.113.66"
    );
    assert_eq!(
        Ask::new("bank.example", A).udp(daemon.dns).answers(),
        ["bank.example. A 192.0.2.1"]
    );
}

#[test]
fn r2308_1_negatives_are_cached_with_their_soa() {
    let (upstream, daemon) = serving(|heard| heard.negative(if heard.qtype == A { 3 } else { 0 }, "example", 300, 60));
    for (qtype, rcode) in [(A, NXDOMAIN), (AAAA, 0)] {
        for _ in 0..3 {
            let response = Ask::new("no.example", qtype).udp(daemon.dns);
            assert_eq!((response.rcode(), response.message.answers.len()), (rcode, 0));
            let soa = &response.message.authorities[0];
            assert_eq!(u16::from(soa.record_type()), SOA);
            assert!(soa.ttl <= 60, "min(TTL, MINIMUM), counted down: {}", soa.ttl);
        }
    }
    assert_eq!(upstream.heard().len(), 2);
}

#[test]
fn r2308_3_a_negative_lives_an_hour_at_the_most() {
    let (_upstream, daemon) = serving(|heard| heard.negative(0, "example", 0x7fff_ffff, 0x7fff_ffff));
    let soa_ttl = Ask::new("no.example", A).udp(daemon.dns).message.authorities[0].ttl;
    assert!((3500..=3600).contains(&soa_ttl), "{soa_ttl}");
}

#[test]
fn r2308_2_a_negative_without_soa_lives_5_seconds_at_the_most() {
    let (upstream, daemon) = serving(|heard| heard.response().rcode(3));
    let begin = Instant::now();
    assert_eq!(Ask::new("no.example", A).udp(daemon.dns).rcode(), NXDOMAIN);
    while upstream.heard().len() < 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(7),
            "still cached after {:?}",
            begin.elapsed()
        );
        tick();
        Ask::new("no.example", A).udp(daemon.dns);
    }
}

#[test]
fn r2308_5_a_foreign_soa_makes_an_answer_malformed() {
    for zone in ["other.example", "com", "x.no.example"] {
        let upstream = Upstream::start(move |heard| heard.negative(3, zone, 300, 300).into());
        let daemon = over_doh(&upstream);
        let response = Ask::new("no.example", A).edns().udp(daemon.dns);
        assert_eq!(
            (response.rcode(), response.ede()),
            (SERVFAIL, Some(24)),
            "SOA of {zone}"
        );
    }
}

#[test]
fn r9520_1_failures_are_cached_for_a_moment() {
    let upstream = Upstream::start(|heard| heard.response().rcode(2).into());
    let daemon = over_dot(&upstream);
    let ask = Ask::new("fails.example", A).edns();
    assert_eq!(ask.udp(daemon.dns).rcode(), SERVFAIL);
    let tries = upstream.heard().len();
    assert!(tries <= 3, "R9520-2: {tries}");
    for _ in 0..20 {
        assert_eq!(ask.udp(daemon.dns).rcode(), SERVFAIL);
    }
    assert_eq!(upstream.heard().len(), tries, "answered from the failure cache");
    assert_eq!(ask.udp(daemon.dns).ede(), Some(13));
}

#[test]
fn r9520_1_a_failure_is_not_for_ever() {
    let upstream = Upstream::start(|heard| {
        if heard.nth < 3 {
            heard.response().rcode(2).into()
        } else {
            normal(heard)
        }
    });
    let daemon = over_dot(&upstream);
    let begin = Instant::now();
    while Ask::new("fails.example", A).udp(daemon.dns).rcode() != 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "still failing after {:?}",
            begin.elapsed()
        );
        tick();
    }
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "RFC 9520 section 3.2: at least one second"
    );
}

#[test]
fn r1035_13_10000_askers_of_one_cold_name_cost_one_upstream_query() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |heard| match normal(heard) {
        Reply::Dns(octets) => Reply::Held(held.clone(), octets),
        other => other,
    });
    let daemon = over_dot(&upstream);
    let sockets: Vec<UdpSocket> = (0..100).map(|_| udp_socket(daemon.dns)).collect();
    let barrier = Ask::new("version.bind", TXT).class(CHAOS).id(0xffff).octets();
    for (i, socket) in sockets.iter().enumerate() {
        for id in 0..100 {
            // Every second asker writes the name its own way.
            let name = if id % 2 == 0 { "Cold.Example" } else { "cold.example" };
            socket.send(&Ask::new(name, A).id(id).octets()).unwrap();
        }
        // Refused at once: by then the hundred before it were read, and no queue of the kernel's runs over.
        socket.send(&barrier).unwrap();
        assert_eq!(receive_udp(socket).id(), 0xffff, "socket {i}");
    }
    gate.open();
    for socket in &sockets {
        let mut ids: Vec<u16> = (0..100)
            .map(|_| {
                let response = receive_udp(socket);
                assert_eq!((response.rcode(), response.message.answers.len()), (0, 1));
                let name = if response.id().is_multiple_of(2) {
                    "Cold.Example"
                } else {
                    "cold.example"
                };
                assert_eq!(response.question(), Ask::new(name, A).question(), "its own letter case");
                response.id()
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..100).collect::<Vec<u16>>());
    }
    // Where 10,000 askers took longer than a silent connection is borne with, the one question was asked on others too.
    let asked = upstream.heard().len();
    assert!((1..=3).contains(&asked), "{asked}");
}

#[test]
fn r1035_13_an_asker_who_goes_away_cancels_nobody() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |heard| match normal(heard) {
        Reply::Dns(octets) => Reply::Held(held.clone(), octets),
        other => other,
    });
    let daemon = over_dot(&upstream);
    let mut leader = crate::client::Tcp::connect(daemon.dns);
    leader.send(&Ask::new("cold.example", A).octets());
    let begin = Instant::now();
    while upstream.heard().is_empty() {
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "the leader's query never arrived"
        );
        tick();
    }
    let follower = udp_socket(daemon.dns);
    follower.send(&Ask::new("cold.example", A).octets()).unwrap();
    drop(leader);
    gate.open();
    assert_eq!(receive_udp(&follower).rcode(), 0);
    assert_eq!(upstream.heard().len(), 1);
}
