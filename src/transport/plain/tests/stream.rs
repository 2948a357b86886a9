//! Misbehaviour over TCP.

use super::*;
use crate::transport::ExchangeErrorKind::Garbage;

#[tokio::test]
async fn a_server_of_tcp_alone_gets_no_datagram() {
    let rig = rig(Protocol::Tcp).await;
    let asked = rig.ask(soon());
    let mut tcp = rig.accept().await;
    let sent = tcp.query().await.unwrap();
    assert_eq!(sent[2..], query(NAME)[2..]);
    tcp.send(&answer(&sent)).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!(tcp.query().await, None, "a connection carries one question");
    rig.no_datagram(20).await;
    assert_eq!((rig.clear_packets(), rig.stats.dial_failures.value()), (1, 0));
}

#[tokio::test]
async fn r7766_1_the_longest_answer_comes_whole() {
    let rig = rig(Protocol::Tcp).await;
    let asked = rig.ask(soon());
    let mut tcp = rig.accept().await;
    let mut longest = answer(&tcp.query().await.unwrap());
    longest.resize(65_535, 0xab);
    tcp.send(&longest).await;
    longest[..2].fill(0);
    assert!(octets(asked).await == Ok(longest));
}

#[tokio::test]
async fn t_slow_a_drip_ends_by_the_deadline() {
    let rig = rig(Protocol::Tcp).await;
    let begin = Instant::now();
    let asked = rig.ask(in_ms(400));
    let mut tcp = rig.accept().await;
    let sent = tcp.query().await.unwrap();
    let dripping = tokio::spawn(async move {
        tcp.octets(&60_000u16.to_be_bytes()).await;
        for octet in answer(&sent).iter().cycle() {
            tcp.octets(&[*octet]).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let result = asked.await.unwrap();
    let after = begin.elapsed();
    dripping.abort();
    assert_eq!(kind(result), Some(Silent));
    assert!(after < Duration::from_millis(1_000), "{after:?}");
}

#[tokio::test]
async fn r7766_10_a_connection_that_closes_early_is_tried_once_more() {
    let rig = rig(Protocol::Tcp).await;
    let asked = rig.ask(soon());
    let mut tcp = rig.accept().await;
    let sent = tcp.query().await.unwrap();
    // Half an answer and a close.
    tcp.octets(&[0, 200, sent[0], sent[1], 0x81]).await;
    drop(tcp);
    let mut tcp = rig.accept().await;
    let again = tcp.query().await.unwrap();
    tcp.send(&answer(&again)).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!((rig.stats.resent.value(), rig.clear_packets()), (1, 2));
}

#[tokio::test]
async fn a_connection_that_closes_twice_is_an_error() {
    let rig = rig(Protocol::Tcp).await;
    let asked = rig.ask(soon());
    for _ in 0..2 {
        let mut tcp = rig.accept().await;
        assert!(tcp.query().await.is_some());
    }
    assert_eq!(kind(asked.await.unwrap()), Some(Network));
    assert_eq!(rig.clear_packets(), 2);
}

#[tokio::test]
async fn t_poi_1_messages_that_do_not_match_end_the_conversation_in_the_end() {
    let rig = rig(Protocol::Tcp).await;
    let asked = rig.ask(soon());
    let mut tcp = rig.accept().await;
    let sent = tcp.query().await.unwrap();
    for stranger in &strangers(&sent)[..2] {
        tcp.send(stranger).await;
    }
    tcp.send(&answer(&sent)).await;
    assert_eq!(octets(asked).await, expected());

    let asked = rig.ask(soon());
    let mut tcp = rig.accept().await;
    let sent = tcp.query().await.unwrap();
    tcp.send(b"").await;
    tcp.send(b"\xff\xff\xff").await;
    tcp.send(&strangers(&sent)[0]).await;
    assert_eq!(kind(asked.await.unwrap()), Some(Garbage));
    assert_eq!(rig.stats.violations.value(), 5);
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_behind_it_is_a_failure() {
    let Rig {
        udp, tcp, plain, stats, ..
    } = rig(Protocol::Udp).await;
    drop(tcp);
    let asked = ask(&plain, query(NAME), soon());
    let mut buffer = [0; 512];
    let (len, client) = udp.recv_from(&mut buffer).await.unwrap();
    let mut cut = answer(&buffer[..len]);
    cut[2] |= 2;
    udp.send_to(&cut, client).await.unwrap();
    assert_eq!(kind(asked.await.unwrap()), Some(Network));
    assert_eq!((stats.clear_packets.value(), stats.dial_failures.value()), (1, 1));
}
