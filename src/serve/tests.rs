//! Conversations over real sockets on loopback, with a fake upstream behind the real resolver.

use std::net::SocketAddr;

use super::*;
use crate::resolve::Outcome;
use crate::wire::header::Rcode;
use support::{FakeUpstream, House, PATIENCE, Query, TcpClient, UdpClient};

pub(super) mod support;
mod tcp;

#[tokio::test]
async fn r9210_1_served_over_both_transports_and_families() {
    let house = House::open(&["127.0.0.1:0", "[::1]:0"], FakeUpstream::new());
    for address in house.addresses() {
        let query = Query::new("quick.example").octets(0x1234);
        let response = UdpClient::connect(address).await.ask(&query).await;
        assert_eq!(
            (response.id, response.rcode, response.answers),
            (0x1234, Rcode::NOERROR, 1)
        );
        let response = TcpClient::connect(address).await.ask(&query).await;
        assert_eq!(
            (response.id, response.rcode, response.answers),
            (0x1234, Rcode::NOERROR, 1)
        );
    }
    house.close().await;
}

#[tokio::test]
async fn r1035_3_r1035_4_what_is_no_query_gets_silence() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    let mut response = Query::new("quick.example").octets(1);
    response[2] |= 0x80;
    for silent in [&response[..], &response[..11], &[], &[0; 5000]] {
        client.send(silent).await;
    }
    assert_eq!(
        client.ask(&Query::new("quick.example").octets(2)).await.id,
        2,
        "the first thing to come back"
    );
    // A batch is counted after it was sent.
    house
        .until(|stats| stats.queries(Transport::Udp, Outcome::Rejected) == 4)
        .await;
    assert_eq!(house.stats.oversized.value(), 1);
    house.close().await;
}

#[tokio::test]
async fn r6891_12_r2181_1_never_more_than_1232_octets_whatever_the_client_offers() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    for (query, limit) in [
        (Query::new("big.example"), 512),
        (Query::new("big.example").with_edns(0), 512),
        (Query::new("big.example").with_edns(1000), 1000),
        (Query::new("big.example").with_edns(4096), 1232),
        (Query::new("big.example").with_edns(65_535), 1232),
    ] {
        // Once late, then from the cache.
        for _ in 0..2 {
            let response = client.ask(&query.octets(9)).await;
            assert!(response.len <= limit, "{} octets for a limit of {limit}", response.len);
            assert!(response.is_truncated);
        }
    }
    house.close().await;
}

#[tokio::test]
async fn r7828_1_r8467_1_neither_keepalive_nor_padding_over_udp() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    let query = Query::new("quick.example")
        .with_option(11, &[])
        .with_option(12, &[0; 64]);
    for _ in 0..2 {
        let response = client.ask(&query.octets(9)).await;
        assert_eq!((response.keepalive, response.padding), (None, None));
    }
    house.close().await;
}

#[tokio::test]
async fn every_message_counts_once() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    for id in 0..40 {
        client
            .ask(&Query::new(&format!("quick{}.example", id % 4)).octets(id))
            .await;
    }
    for rcode in [Rcode::FORMERR, Rcode::NOTIMP] {
        let mut query = Query::new("quick.example").octets(1);
        match rcode {
            Rcode::FORMERR => query[5] = 2,
            _ => query[2] |= 0x20,
        }
        assert_eq!(client.ask(&query).await.rcode, rcode);
    }
    let mut tcp = TcpClient::connect(house.address()).await;
    for id in 0..10 {
        tcp.ask(&Query::new("quick0.example").octets(id)).await;
    }
    let counts = |transport| {
        [Outcome::Hit, Outcome::Miss, Outcome::Synthesized, Outcome::Rejected]
            .map(|outcome| house.queries(transport, outcome))
    };
    // A batch is counted after it was sent, its latencies last.
    house.until(|stats| stats.cached_latency.snapshot().count() == 48).await;
    assert_eq!(counts(Transport::Udp), [36, 4, 0, 2]);
    assert_eq!(counts(Transport::Tcp), [10, 0, 0, 0]);
    assert_eq!(house.stats.responses(Some(Rcode::NOERROR)), 50);
    assert_eq!(house.stats.upstream_latency.snapshot().count(), 4);
    assert_eq!(house.stats.waiting.value(), 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_clients_is_answered_to_the_last() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let mut clients = Vec::new();
    for id in 0..300 {
        let client = UdpClient::connect(house.address()).await;
        client.send(&Query::new("slow.example").octets(id)).await;
        clients.push((id, client));
    }
    house.until(|stats| stats.waiting.value() == 300).await;
    house.upstream.release();
    for (id, client) in clients {
        assert_eq!(client.receive().await.id, id);
    }
    house.close().await;
}

#[tokio::test]
async fn stop_ends_the_threads_and_still_answers_what_was_received() {
    let house = House::open(&["127.0.0.1:0", "[::1]:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    client.send(&Query::new("slow.example").octets(3)).await;
    house.until(|stats| stats.waiting.value() == 1).await;
    house.shutdown.stop();
    house.upstream.release();
    assert_eq!(client.receive().await.id, 3);
    house.close().await;
}

#[tokio::test]
async fn a_published_resolver_takes_over_without_a_restart() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    let mut tcp = TcpClient::connect(house.address()).await;
    client.ask(&Query::new("one.example").octets(1)).await;
    let second = FakeUpstream::new();
    house.publish(&second);
    client.ask(&Query::new("two.example").octets(2)).await;
    tcp.ask(&Query::new("three.example").octets(3)).await;
    assert_eq!((house.upstream.asked(), second.asked()), (1, 2));
    house.close().await;
}

#[tokio::test]
async fn a_panic_costs_one_query() {
    let house = House::open(&["127.0.0.1:0"], FakeUpstream::new());
    let client = UdpClient::connect(house.address()).await;
    let mut tcp = TcpClient::connect(house.address()).await;
    client.send(&Query::new("panic.example").octets(1)).await;
    tcp.send(&[Query::new("panic.example").octets(1)]).await;
    house.until(|_| house.upstream.asked() >= 1).await;
    let ours = Query::new("quick.example").octets(2);
    while client.ask(&ours).await.id != 2 {}
    while tcp.ask(&ours).await.id != 2 {}
    house.close().await;
}

#[test]
fn t_amp_a_public_address_is_not_bound_without_an_allow_list() {
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let mut settings = Settings {
        listen: vec![listen],
        ..Settings::default()
    };
    let error = bind(&settings).unwrap_err();
    assert_eq!(error, BindError::Settings(SettingsError::OpenResolver(listen)));
    assert!(error.to_string().contains("allow"), "{error}");
    settings.allow = vec!["10.0.0.0/8".parse().unwrap()];
    assert_ne!(bind(&settings).unwrap().addresses()[0].port(), 0);
}

#[test]
fn what_cannot_be_bound_says_why() {
    let first = bind(&Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Settings::default()
    })
    .unwrap();
    let address = first.addresses()[0];
    let error = bind(&Settings {
        listen: vec![address],
        ..Settings::default()
    })
    .unwrap_err();
    let BindError::Address {
        cause: BindCause::Taken(owner),
        transport: Transport::Udp,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(
        error.to_string().starts_with(&format!("{address}/udp is taken")),
        "{error}"
    );
    if cfg!(target_os = "linux") {
        assert_eq!(owner.as_ref().unwrap().pid, std::process::id());
    }
    let lacking: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let settings = Settings {
        listen: vec![lacking],
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        udp_threads: 1,
        ..Settings::default()
    };
    let expected = BindError::Address {
        address: lacking,
        transport: Transport::Udp,
        cause: BindCause::NoSuchAddress,
    };
    assert_eq!(bind(&settings).unwrap_err(), expected);
}

/// A test that waits for ever tells nothing.
async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing came in time")
}
