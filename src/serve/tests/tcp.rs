//! TCP: RFC 7766, RFC 9210 and clients that mean no good.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, sleep};

use super::support::{FakeUpstream, House, Query, TcpClient, UdpClient, framed};
use crate::os::socket::Transport;
use crate::resolve::Outcome;
use crate::serve::limits::{
    IDLE_TIMEOUT, MAX_CONNECTIONS_PER_CLIENT, MAX_IN_FLIGHT, MAX_OUTPUT, MESSAGE_DEADLINE, QUERY_DEADLINE,
    WRITE_DEADLINE,
};
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;

fn house() -> House {
    House::open(&["127.0.0.1:0"], FakeUpstream::new())
}

fn query(name: &str, id: u16) -> Vec<u8> {
    Query::new(name).octets(id)
}

#[tokio::test]
async fn r7766_1_answers_of_64_kib() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    for id in 0..2 {
        let response = client.ask(&query("big.example", id)).await;
        assert_eq!((response.id, response.answers, response.is_truncated), (id, 240, false));
    }
    house.close().await;
}

#[tokio::test]
async fn r7766_2_pipelined_queries_are_answered_as_they_are_ready() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    client
        .send(&[
            query("slow.example", 1),
            query("quick.example", 2),
            query("slow2.example", 3),
        ])
        .await;
    assert_eq!(client.receive().await.unwrap().id, 2);
    house.upstream.release();
    let mut rest = [client.receive().await.unwrap().id, client.receive().await.unwrap().id];
    rest.sort_unstable();
    assert_eq!(rest, [1, 3]);
    house.close().await;
}

#[tokio::test]
async fn r7766_3_queries_in_pieces() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    for octet in framed(&[query("one.example", 1), query("two.example", 2)]) {
        client.stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive().await.unwrap().id, 1);
    assert_eq!(client.receive().await.unwrap().id, 2);
    house.close().await;
}

#[tokio::test]
async fn r7766_4_half_closed_client_gets_its_answers() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    // More than may wait at once: some are still unread in our buffer when the end comes.
    let count = u16::try_from(MAX_IN_FLIGHT).unwrap() + 50;
    let queries: Vec<_> = (0..count).map(|id| query(&format!("slow{id}.example"), id)).collect();
    client.send(&queries).await;
    client.stream.shutdown().await.unwrap();
    house.until(|stats| stats.waiting.value() == MAX_IN_FLIGHT as u64).await;
    house.upstream.release();
    let mut seen = vec![false; usize::from(count)];
    while let Some(response) = client.receive().await {
        seen[usize::from(response.id)] = true;
    }
    assert!(seen.iter().all(|seen| *seen), "{seen:?}");
    house.close().await;
}

#[tokio::test]
async fn r7766_5_bad_framing_closes_that_connection_alone() {
    let house = house();
    let mut good = TcpClient::connect(house.address()).await;
    for (count, bad) in [
        &[0, 0][..],
        &[0, 5, 1, 2, 3, 4, 5],
        &[0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .iter()
    .enumerate()
    {
        let mut client = TcpClient::connect(house.address()).await;
        let mut octets = framed(&[query("slow.example", 1)]);
        octets.extend(*bad);
        octets.extend(framed(&[query("never.example", 2)]));
        client.stream.write_all(&octets).await.unwrap();
        house
            .until(|stats| stats.queries(Transport::Tcp, Outcome::Rejected) == count as u64 + 1)
            .await;
        house.upstream.release();
        assert_eq!(
            client.receive().await.unwrap().id,
            1,
            "what was asked before is still answered"
        );
        assert!(client.receive().await.is_none());
        assert_eq!(good.ask(&query("quick.example", 3)).await.id, 3);
        house
            .until(|stats| stats.connections.closed_faulty.value() == count as u64 + 1)
            .await;
    }
    house.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn t_stack_100_000_queries_on_one_connection_and_others_get_their_turn() {
    let house = house();
    let mut greedy = TcpClient::connect(house.address()).await;
    greedy.ask(&query("quick.example", 0)).await;
    let (mut hears, mut speaks) = greedy.stream.into_split();
    let count = 100_000_u64;
    let speaker = tokio::spawn(async move {
        let burst: Vec<_> = (0..1000).map(|id| query("quick.example", id)).collect();
        for _ in 0..count / 1000 {
            speaks.write_all(&framed(&burst)).await.unwrap();
        }
        speaks
    });
    let hearer = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while hears.read(&mut buffer).await.unwrap() > 0 {}
    });
    let mut other = TcpClient::connect(house.address()).await;
    for id in 0..20 {
        assert_eq!(other.ask(&query("quick.example", id)).await.id, id);
    }
    drop(speaker.await.unwrap());
    hearer.await.unwrap();
    assert!(house.stats.queries(Transport::Tcp, Outcome::Hit) >= count);
    house.close().await;
}

#[tokio::test]
async fn r1035_3_a_response_over_tcp_is_passed_over() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let mut response = query("quick.example", 1);
    response[2] |= 0x80;
    client.send(&[response, query("quick.example", 2)]).await;
    assert_eq!(client.receive().await.unwrap().id, 2);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn r7766_6_r7766_7_kept_for_reuse_and_closed_when_idle() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    for id in 0..3 {
        assert_eq!(client.ask(&query("quick.example", id)).await.id, id);
        advance(IDLE_TIMEOUT - Duration::from_secs(1)).await;
    }
    client.ask(&query("quick.example", 9)).await;
    let start = Instant::now();
    assert!(client.receive().await.is_none());
    check_about(start.elapsed(), IDLE_TIMEOUT);
    house.until(|stats| stats.connections.closed_idle.value() == 1).await;
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_at_all_is_closed() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let start = Instant::now();
    assert!(client.receive().await.is_none());
    check_about(start.elapsed(), IDLE_TIMEOUT);
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn t_slow_a_whole_message_has_ten_seconds() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let octets = framed(&[query("quick.example", 1)]);
    let start = Instant::now();
    let mut sent = 0;
    // An octet every two seconds never lets it be idle.
    loop {
        if sent < octets.len() && client.stream.write_all(&octets[sent..=sent]).await.is_err() {
            break;
        }
        sent += 1;
        let mut buffer = [0; 16];
        match tokio::time::timeout(Duration::from_secs(2), client.stream.read(&mut buffer)).await {
            Ok(end) => {
                assert_eq!(end.unwrap_or(0), 0);
                break;
            }
            Err(_) => assert!(start.elapsed() < 2 * MESSAGE_DEADLINE, "still open"),
        }
    }
    check_about(start.elapsed(), MESSAGE_DEADLINE);
    house.until(|stats| stats.connections.closed_faulty.value() == 1).await;
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn r7766_8_a_client_that_does_not_read_holds_up_nobody_and_is_dropped() {
    let house = house();
    let mut deaf = TcpClient::connect(house.address()).await;
    deaf.ask(&query("big.example", 0)).await;
    let asked = house.stats.queries(Transport::Tcp, Outcome::Hit);
    // 1,000 answers of 64 KB: what the kernel takes, what we queue, and the rest is never made.
    let queries: Vec<_> = (0..1000).map(|id| query("big.example", id)).collect();
    deaf.send(&queries).await;
    let mut good = TcpClient::connect(house.address()).await;
    for id in 0..20 {
        assert_eq!(good.ask(&query("quick.example", id)).await.id, id);
    }
    let start = Instant::now();
    while house.stats.connections.closed_faulty.value() == 0 {
        // Time is paused: this lets it jump to whatever happens next.
        sleep(Duration::from_millis(10)).await;
    }
    check_about(start.elapsed(), WRITE_DEADLINE);
    let made = house.stats.queries(Transport::Tcp, Outcome::Hit) - asked;
    assert!(made < 200, "{made} answers were made for a client that read none");
    assert!(made >= MAX_OUTPUT as u64 / 65_536);
    house.close().await;
}

#[tokio::test]
async fn r7828_1_keepalive_only_when_asked_and_as_long_as_we_mean() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let asks = Query::new("quick.example").with_option(11, &[]);
    for _ in 0..2 {
        assert_eq!(client.ask(&asks.octets(1)).await.keepalive, Some(100));
        assert_eq!(
            client
                .ask(&Query::new("quick.example").with_edns(1232).octets(2))
                .await
                .keepalive,
            None
        );
    }
    house.close().await;
}

#[tokio::test]
async fn r9210_1_300_idle_connections_shut_nobody_out() {
    let house = house();
    let mut idle = Vec::new();
    for id in 0..300 {
        let mut client = TcpClient::connect(house.address()).await;
        if id % 2 == 0 {
            client.ask(&query("quick.example", id)).await;
        } else {
            // A message that never ends is no way to stay.
            client.stream.write_all(&[0]).await.unwrap();
        }
        idle.push(client);
    }
    let mut late = TcpClient::connect(house.address()).await;
    assert_eq!(late.ask(&query("quick.example", 7)).await.id, 7);
    let connections = &house.stats.connections;
    assert_eq!((connections.accepted.value(), connections.refused.value()), (301, 0));
    assert_eq!(connections.closed_idle.value(), 301 - MAX_CONNECTIONS_PER_CLIENT as u64);
    assert!(idle[0].receive().await.is_none(), "the oldest went first");
    house
        .until(|stats| stats.connections.open.value() == MAX_CONNECTIONS_PER_CLIENT as u64)
        .await;
    drop(idle);
    house.close().await;
}

#[tokio::test]
async fn a_connection_that_is_owed_an_answer_is_not_closed_for_another() {
    let house = house();
    let mut asking = TcpClient::connect(house.address()).await;
    asking.send(&[query("slow.example", 1)]).await;
    house.until(|stats| stats.waiting.value() == 1).await;
    let mut others = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_CLIENT + 10 {
        others.push(TcpClient::connect(house.address()).await);
    }
    house.until(|stats| stats.connections.closed_idle.value() == 11).await;
    house.upstream.release();
    assert_eq!(asking.receive().await.unwrap().id, 1);
    drop(others);
    house.close().await;
}

#[tokio::test]
async fn one_connection_has_a_hundred_queries_waiting_at_most() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let count = u16::try_from(MAX_IN_FLIGHT).unwrap() * 3;
    client
        .send(
            &(0..count)
                .map(|id| query(&format!("slow{id}.example"), id))
                .collect::<Vec<_>>(),
        )
        .await;
    house.until(|stats| stats.waiting.value() == MAX_IN_FLIGHT as u64).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(house.stats.waiting.value() <= MAX_IN_FLIGHT as u64);
    }
    // The others have room.
    let response = UdpClient::connect(house.address())
        .await
        .ask(&query("quick.example", 1))
        .await;
    assert_eq!(response.rcode, Rcode::NOERROR);
    house.upstream.release();
    for _ in 0..count {
        client.receive().await.unwrap();
    }
    house.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_costs_one_deadline() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    let start = Instant::now();
    let response = client.ask(&Query::new("hang.example").with_edns(1232).octets(1)).await;
    assert_eq!(
        (response.rcode, response.ede),
        (Rcode::SERVFAIL, Some(Ede::NO_REACHABLE_AUTHORITY))
    );
    // The question ends a little before its asker gives up.
    check_about(start.elapsed() + Duration::from_millis(100), QUERY_DEADLINE);
    house.close().await;
}

#[tokio::test]
async fn stop_answers_what_was_asked_and_closes() {
    let house = house();
    let mut asking = TcpClient::connect(house.address()).await;
    let mut idle = TcpClient::connect(house.address()).await;
    asking.send(&[query("slow.example", 1)]).await;
    house.until(|stats| stats.waiting.value() == 1).await;
    house.shutdown.stop();
    assert!(idle.receive().await.is_none());
    house.upstream.release();
    assert_eq!(asking.receive().await.unwrap().id, 1);
    assert!(asking.receive().await.is_none());
    house.close().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let house = house();
    let mut client = TcpClient::connect(house.address()).await;
    client.send(&[query("slow.example", 1)]).await;
    house.until(|stats| stats.waiting.value() == 1).await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    house
        .until(|stats| stats.waiting.value() == 0 && stats.connections.open.value() == 0)
        .await;
    house.close().await;
}

#[track_caller]
fn check_about(elapsed: Duration, expected: Duration) {
    let slack = Duration::from_millis(50);
    assert!(
        elapsed + slack >= expected && elapsed <= expected + slack,
        "{elapsed:?} and not {expected:?}"
    );
}
