//! Streams and connections: how they end, how many there may be, who gives them up.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use h2::server::Builder;
use http::{HeaderValue, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Asked, NAME, ServerStream, answer_all, begin, each, reply, rig};
use crate::transport::Exchange;
use crate::transport::ExchangeErrorKind::{Network, Silent};
use crate::transport::testing::{answer, in_ms, query, soon};

#[tokio::test]
async fn a_thousand_queries_share_two_connections_at_most() {
    let rig = rig(|_, stream| answer_all(stream)).await;
    rig.ask_all_well(1_000).await;
    // A second one stands by as soon as the first is crowded; whether it is there before the last answer is chance.
    assert_eq!(rig.stats.handshakes_full.value(), 1);
    assert!(rig.stats.reconnects.value() <= 1 + rig.stats.doubted.value());
}

#[tokio::test]
async fn r9113_1_a_graceful_goaway_under_load_loses_nothing() {
    let rig = rig(|n, stream| async move {
        if n > 0 {
            return answer_all(stream).await;
        }
        let mut connection = begin(stream).await;
        let mut served = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            served += 1;
            if served == 3 {
                connection.graceful_shutdown();
            }
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let query = body.data().await.unwrap().unwrap().to_vec();
                Asked { head, query, respond }.answer();
            });
        }
    })
    .await;
    for _ in 0..4 {
        rig.ask_all_well(25).await;
    }
    rig.assert_reconnects(1);
}

#[tokio::test]
async fn r9113_1_what_an_abrupt_goaway_left_unanswered_is_sent_once_more() {
    let rig = rig(|n, stream| async move {
        if n > 0 {
            return answer_all(stream).await;
        }
        let mut connection = begin(stream).await;
        let mut held = Vec::new();
        while let Some(Ok(request)) = connection.accept().await {
            held.push(request);
            if held.len() == 20 {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
            }
        }
    })
    .await;
    rig.ask_all_well(30).await;
    // Those it had seen are sent a second time; those it says it never saw were not sent at all.
    assert!(
        (20..=30).contains(&rig.stats.resent.value()),
        "{}",
        rig.stats.resent.value()
    );
    rig.assert_reconnects(1);
}

#[tokio::test]
async fn r9113_1_a_closed_connection_is_replaced_once() {
    let rig = rig(|n, stream| async move {
        let mut connection = begin(stream).await;
        if n == 1 {
            return each(connection, |_, mut asked| async move { asked.answer() }).await;
        }
        connection.accept().await;
    })
    .await;
    rig.ask_well("a.example").await;
    assert_eq!(rig.stats.resent.value(), 1);
    rig.assert_reconnects(1);
}

#[tokio::test]
async fn r9113_1_the_second_close_is_a_network_error() {
    let rig = rig(|_, stream| async move {
        begin(stream).await.accept().await;
    })
    .await;
    let error = rig.ask("a.example", soon()).await.unwrap_err();
    assert_eq!((error.kind, rig.stats.queries.value()), (Network, 2), "{error}");
}

#[tokio::test]
async fn r9113_1_a_refused_stream_is_sent_once_more() {
    let rig = rig(|_, stream| async move {
        each(begin(stream).await, |n, mut asked| async move {
            if n == 0 {
                asked.respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                asked.answer();
            }
        })
        .await;
    })
    .await;
    rig.ask_well("a.example").await;
    assert_eq!(rig.stats.resent.value(), 1);
    rig.assert_reconnects(0);
}

/// The types of the frames that a client sent on streams, in order: 0 DATA, 1 HEADERS.
fn frame_types(octets: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    let mut rest = octets.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    while let [a, b, c, kind, ..] = *rest {
        let len = 9 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
        // The last one may have come in part so far.
        let Some(behind) = rest.get(len..) else { break };
        if kind < 2 {
            types.push(kind);
        }
        rest = behind;
    }
    types
}

/// The server's end of a connection whose reads are told to `seen`, decrypted.
fn tapped(stream: ServerStream, seen: mpsc::UnboundedSender<Vec<u8>>) -> DuplexStream {
    let (plain, server) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let (mut from_client, mut to_client) = tokio::io::split(stream);
        let (mut from_server, mut to_server) = tokio::io::split(plain);
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 65_536];
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            let _ = seen.send(buffer[..len].to_vec());
            to_server.write_all(&buffer[..len]).await.unwrap();
        }
    });
    server
}

#[tokio::test]
async fn a_burst_is_one_write_and_one_read() {
    let (seen, mut reads) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let seen = seen.clone();
        async move {
            let connection = h2::server::handshake(tapped(stream, seen)).await.unwrap();
            each(connection, |_, mut asked| async move { asked.answer() }).await;
        }
    })
    .await;
    rig.ask_well("first.example").await;
    while reads.try_recv().is_ok() {}
    rig.ask_all_well(60).await;
    let requests: Vec<usize> = std::iter::from_fn(|| reads.try_recv().ok())
        .map(|read| read.len())
        .collect();
    assert_eq!(requests.iter().filter(|len| **len > 100).count(), 1, "{requests:?}");
}

/// Knot Resolver 5 refuses a stream that opens between the headers and the body of another one.
#[tokio::test]
async fn r9113_1_after_a_refusal_each_request_goes_out_whole() {
    let (seen, mut octets) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let seen = seen.clone();
        async move {
            let connection = h2::server::handshake(tapped(stream, seen)).await.unwrap();
            each(connection, |n, mut asked| async move {
                if n == 7 {
                    asked.respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    asked.answer();
                }
            })
            .await;
        }
    })
    .await;
    rig.ask_all_well(50).await;
    let mut sent = Vec::new();
    while let Ok(read) = octets.try_recv() {
        sent.extend(read);
    }
    let burst = frame_types(&sent);
    assert!(
        burst.starts_with(&[1, 1]),
        "h2 sends the headers of a burst first: {burst:?}"
    );
    rig.ask_all_well(50).await;
    while let Ok(read) = octets.try_recv() {
        sent.extend(read);
    }
    // What a doubted connection had not answered yet went out on another one.
    if rig.stats.doubted.value() == 0 {
        assert_eq!(frame_types(&sent)[burst.len()..], [1, 0].repeat(50));
    }
    assert_eq!(rig.stats.resent.value(), 1);
    rig.assert_reconnects(0);
}

#[tokio::test]
async fn r9113_1_after_any_reset_a_query_is_sent_again_and_only_once() {
    let rig = rig(|_, stream| async move {
        each(begin(stream).await, |_, mut asked| async move {
            asked.respond.send_reset(h2::Reason::INTERNAL_ERROR);
        })
        .await;
    })
    .await;
    let error = rig.ask("a.example", soon()).await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (Network, "http/2: internal_error"));
    assert_eq!(rig.stats.queries.value(), 2);
}

#[tokio::test]
async fn r9113_1_one_stream_at_a_time_works_by_waiting() {
    let rig = rig(|_, stream| async move {
        let connection = Builder::new()
            .max_concurrent_streams(1)
            .handshake(stream)
            .await
            .unwrap();
        each(connection, |_, mut asked| async move { asked.answer() }).await;
    })
    .await;
    rig.ask_well("first.example").await;
    rig.ask_all_well(50).await;
    // One stream is soon crowded: a second connection may stand by.
    assert_eq!(rig.stats.resent.value(), 0);
    assert!(rig.stats.reconnects.value() <= 1 + rig.stats.doubted.value());
}

#[tokio::test]
async fn r9113_1_a_cold_burst_at_a_server_that_takes_one_stream_loses_nothing() {
    let rig = rig(|_, stream| async move {
        let connection = Builder::new()
            .max_concurrent_streams(1)
            .handshake(stream)
            .await
            .unwrap();
        each(connection, |_, mut asked| async move { asked.answer() }).await;
    })
    .await;
    rig.ask_all_well(30).await;
    assert!(rig.stats.reconnects.value() <= 1 + rig.stats.doubted.value());
}

#[tokio::test]
async fn t_queue_a_turn_that_comes_with_the_deadline_is_not_taken() {
    let rig = rig(|_, stream| async move {
        let connection = Builder::new()
            .max_concurrent_streams(1)
            .handshake(stream)
            .await
            .unwrap();
        each(connection, |n, mut asked| async move {
            if n == 0 {
                return asked.answer();
            }
            std::future::pending::<()>().await;
        })
        .await;
    })
    .await;
    rig.ask_well("first.example").await;
    let mut askers = JoinSet::new();
    let deadline = in_ms(300);
    for n in 0..30 {
        let (doh, query) = (Arc::clone(&rig.doh), query(&format!("n{n}.example")));
        askers.spawn(async move { doh.exchange(&query, deadline).await });
    }
    let results = askers.join_all().await;
    let silent = results
        .iter()
        .filter(|result| result.as_ref().is_err_and(|error| error.kind == Silent))
        .count();
    // On each connection one was sent, one was next in line inside h2; most of the others never left.
    assert!(silent <= 6, "{silent} were sent");
    assert!(rig.stats.queries.value() < 15, "{}", rig.stats.queries.value());
}

#[tokio::test]
async fn r9113_1_a_server_that_takes_no_streams_gets_none() {
    let rig = rig(|_, stream| async move {
        let connection = Builder::new()
            .max_concurrent_streams(0)
            .handshake(stream)
            .await
            .unwrap();
        each(connection, |_, mut asked| async move { asked.answer() }).await;
    })
    .await;
    let mut askers = JoinSet::new();
    for n in 0..20 {
        let (doh, query) = (Arc::clone(&rig.doh), query(&format!("n{n}.example")));
        askers.spawn(async move { doh.exchange(&query, in_ms(300)).await });
    }
    let results = askers.join_all().await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result.as_ref().unwrap_err().kind, Network | Silent)),
        "{results:?}"
    );
}

/// Several threads, and a server that gives each connection up after 60 requests: nothing is lost, nothing is mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r9113_1_many_threads_and_many_goaways_lose_nothing() {
    let rig = rig(|_, stream| async move {
        let mut connection = begin(stream).await;
        let mut served = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            served += 1;
            if served == 60 {
                connection.graceful_shutdown();
            }
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                // A stream above the last one of the GOAWAY never gets its body.
                if let Some(Ok(query)) = body.data().await {
                    Asked {
                        head,
                        query: query.to_vec(),
                        respond,
                    }
                    .answer();
                }
            });
        }
    })
    .await;
    for _ in 0..40 {
        rig.ask_all_well(25).await;
    }
    assert!(rig.stats.reconnects.value() >= 8, "{}", rig.stats.reconnects.value());
}

#[tokio::test]
async fn a_cancelled_asker_resets_its_stream() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let events = events.clone();
        async move {
            each(begin(stream).await, move |_, mut asked| {
                let events = events.clone();
                async move {
                    events.send(None).unwrap();
                    let reason = poll_fn(|context| asked.respond.poll_reset(context)).await;
                    events.send(reason.ok()).unwrap();
                }
            })
            .await;
        }
    })
    .await;
    let doh = Arc::clone(&rig.doh);
    let asker = tokio::spawn(async move { doh.exchange(&query("a.example"), soon()).await });
    assert_eq!(seen.recv().await, Some(None));
    asker.abort();
    assert_eq!(seen.recv().await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test]
async fn t_h2_a_flood_of_interim_responses_ends_the_connection() {
    let rig = rig(|n, stream| async move {
        if n > 0 {
            return answer_all(stream).await;
        }
        each(begin(stream).await, |_, mut asked| async move {
            // Never indexed, so that each is as long on the wire as it looks.
            let mut link = HeaderValue::try_from("x".repeat(500)).unwrap();
            link.set_sensitive(true);
            let interim = || reply(103, &[]).header("link", link.clone()).body(()).unwrap();
            while asked.respond.send_informational(interim()).is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    })
    .await;
    let start = Instant::now();
    let response = rig
        .doh
        .exchange(&query("a.example"), Instant::now() + Duration::from_secs(60))
        .await;
    assert_eq!(
        response.map(|response| response.octets),
        Ok(answer(&query("a.example"))),
        "{:?}",
        start.elapsed()
    );
    rig.assert_reconnects(1);
    // On a slow machine the flood answers nobody for long enough to be doubted before its octets are too many.
    assert_eq!(rig.stats.resent.value() + rig.stats.hedged.value(), 1);
}

#[tokio::test]
async fn t_h2_pushed_responses_are_an_error_of_the_server() {
    let rig = rig(|_, stream| async move {
        each(begin(stream).await, |_, mut asked| async move {
            let push = Request::get(format!("https://{NAME}/other")).body(()).unwrap();
            assert!(
                asked.respond.push_request(push).is_err(),
                "the client's settings forbid it"
            );
            asked.answer();
        })
        .await;
    })
    .await;
    rig.ask_well("a.example").await;
}

#[tokio::test]
async fn dropping_the_transport_closes_its_connection() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let closed = closed.clone();
        async move {
            answer_all(stream).await;
            closed.send(()).unwrap();
        }
    })
    .await;
    rig.ask_well("a.example").await;
    drop(rig);
    assert_eq!(seen.recv().await, Some(()));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_five_minutes() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let closed = closed.clone();
        async move {
            answer_all(stream).await;
            closed.send(()).unwrap();
        }
    })
    .await;
    rig.ask_well("a.example").await;
    tokio::time::pause();
    let start = Instant::now();
    assert_eq!(seen.recv().await, Some(()));
    assert!(start.elapsed() > Duration::from_secs(299), "{:?}", start.elapsed());
    tokio::time::resume();
    rig.ask_well("b.example").await;
    assert_eq!(rig.stats.resent.value(), 0);
    rig.assert_reconnects(1);
}
