#[cfg(target_os = "linux")]
mod network;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::transport::ExchangeErrorKind::{Full, Network, Silent};
use crate::transport::testing::{
    Authority, Frames, Shown, answer, answer_with_keepalive, in_ms, query, serve, serve_tcp, soon, tapped,
};
use crate::transport::tls::Alpn;

struct Rig {
    dot: Arc<Dot>,
    stats: Arc<Stats>,
}

/// A client of a server that runs `script` on each connection.
async fn rig<F, R>(script: F) -> Rig
where
    F: Fn(usize, Frames) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::new();
    let config = authority.server(Shown::Good, &["dot"]);
    let address = serve(config, move |n, stream| script(n, Frames(stream))).await;
    let stats = Arc::new(Stats::default());
    let dot = Dot::new(authority.target(address, Alpn::Dot), Arc::clone(&stats));
    Rig {
        dot: Arc::new(dot),
        stats,
    }
}

impl Rig {
    async fn ask(&self, name: &str, deadline: Instant) -> Result<Response, ExchangeError> {
        self.dot.exchange(&query(name), deadline).await
    }

    /// Asks and expects this query's own answer, ID 0.
    async fn ask_well(&self, name: &str) {
        assert_eq!(
            self.ask(name, soon()).await.map(|response| response.octets),
            Ok(answer(&query(name)))
        );
    }

    /// Asks for all at once; gives the results in the order of the names.
    async fn ask_all(&self, names: &[String], deadline: Instant) -> Vec<Result<Response, ExchangeError>> {
        let tasks: Vec<_> = names
            .iter()
            .map(|name| (Arc::clone(&self.dot), query(name)))
            .map(|(dot, query)| tokio::spawn(async move { dot.exchange(&query, deadline).await }))
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}.example")).collect()
}

fn assert_own_answers(names: &[String], results: Vec<Result<Response, ExchangeError>>) {
    for (name, result) in names.iter().zip(results) {
        assert_eq!(result.map(|response| response.octets), Ok(answer(&query(name))));
    }
}

#[tokio::test]
async fn r7766_10_pipelined_queries_are_matched_whatever_their_order() {
    let rig = rig(|_, mut frames| async move {
        let mut queries = Vec::new();
        for _ in 0..50 {
            queries.push(frames.query().await.unwrap());
        }
        let mut ids: Vec<_> = queries.iter().map(|query| (query[0], query[1])).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50, "every query has an id of its own");
        for query in queries.iter().rev() {
            frames.send(&answer(query)).await;
        }
        frames.answer_all().await;
    })
    .await;
    let names = names(50);
    assert_own_answers(&names, rig.ask_all(&names, soon()).await);
    assert_eq!((rig.stats.handshakes_full.value(), rig.stats.queries.value()), (1, 50));
}

/// A burst goes out in one write, and each message in a record of its own: dnsdist 1.7 loses what follows in the same
/// one.
#[tokio::test]
async fn r7858_1_a_burst_is_one_write_with_a_record_for_each_message() {
    let authority = Authority::new();
    let config = authority.server(Shown::Good, &["dot"]);
    let server = serve(config, |_, stream| async move { Frames(stream).answer_all().await }).await;
    let (address, reads) = tapped(server).await;
    let stats = Arc::new(Stats::default());
    let dot = Arc::new(Dot::new(authority.target(address, Alpn::Dot), Arc::clone(&stats)));
    let rig = Rig { dot, stats };
    rig.ask_well("first.example").await;
    let before = (reads.lock().unwrap().len(), rig.stats.writes.value());
    let names = names(60);
    assert_own_answers(&names, rig.ask_all(&names, soon()).await);
    let burst = reads.lock().unwrap()[before.0..].to_vec();
    assert_eq!((burst.len(), rig.stats.writes.value() - before.1), (1, 1));
    let mut records = 0;
    let mut rest = &burst[0][..];
    while let [23, 3, 3, high, low, ..] = *rest {
        rest = &rest[5 + usize::from(u16::from_be_bytes([high, low]))..];
        records += 1;
    }
    assert_eq!((records, rest.len()), (60, 0));
}

#[tokio::test]
async fn t_poi_1_wrong_answers_are_dropped_and_the_wait_goes_on() {
    let rig = rig(|_, mut frames| async move {
        let query = frames.query().await.unwrap();
        let mut wrong_id = answer(&query);
        wrong_id[0] ^= 0xff;
        frames.send(&wrong_id).await;
        let mut wrong_question = answer(&query);
        wrong_question[13] ^= 1;
        frames.send(&wrong_question).await;
        frames.send(&[]).await;
        frames.send(&answer(&query)).await;
        frames.answer_all().await;
    })
    .await;
    rig.ask_well("a.example").await;
    assert_eq!((rig.stats.violations.value(), rig.stats.reconnects.value()), (3, 0));
}

#[tokio::test]
async fn too_many_wrong_answers_close_the_connection_and_the_query_goes_on_elsewhere() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |n, mut frames| {
        let closed = closed.clone();
        async move {
            if n > 0 {
                return frames.answer_all().await;
            }
            let query = frames.query().await.unwrap();
            for n in 0..9 {
                let mut wrong = answer(&query);
                wrong[1] = wrong[1].wrapping_add(n + 1);
                frames.send(&wrong).await;
            }
            closed.send(frames.query().await).unwrap();
        }
    })
    .await;
    rig.ask_well("a.example").await;
    assert_eq!(seen.recv().await, Some(None));
    assert_eq!((rig.stats.violations.value(), rig.stats.reconnects.value()), (8, 1));
}

#[tokio::test]
async fn r7766_10_what_a_closing_server_left_unanswered_is_sent_once_more() {
    let rig = rig(|n, mut frames| async move {
        if n == 0 {
            let mut queries = Vec::new();
            for _ in 0..20 {
                queries.push(frames.query().await.unwrap());
            }
            for query in &queries[..5] {
                frames.send(&answer(query)).await;
            }
            // The sixth answer breaks off in the middle.
            frames.0.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
            frames.0.shutdown().await.unwrap();
            return;
        }
        frames.answer_all().await;
    })
    .await;
    let names = names(20);
    assert_own_answers(&names, rig.ask_all(&names, soon()).await);
    assert_eq!(
        (
            rig.stats.resent.value(),
            rig.stats.reconnects.value(),
            rig.stats.queries.value()
        ),
        (15, 1, 35)
    );
}

#[tokio::test]
async fn a_reset_is_as_good_as_a_close() {
    let rig = rig(|n, mut frames| async move {
        if n > 0 {
            return frames.answer_all().await;
        }
        frames.query().await.unwrap();
        frames.0.get_ref().0.set_zero_linger().unwrap();
    })
    .await;
    rig.ask_well("a.example").await;
    assert_eq!(rig.stats.resent.value(), 1);
}

#[tokio::test]
async fn the_second_close_is_a_network_error_and_then_dialling_slows_down() {
    let rig = rig(|_, mut frames| async move {
        frames.query().await;
    })
    .await;
    let error = rig.ask("a.example", soon()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.contains("connection")),
        (Network, true),
        "{error}"
    );
    assert_eq!((rig.stats.queries.value(), rig.stats.resent.value()), (2, 1));
    // Two connections answered nothing: for 100 ms nobody dials. Who asks now waits for the next dial, and no longer.
    let start = Instant::now();
    assert_eq!(rig.ask("b.example", soon()).await.unwrap_err().kind, Network);
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(rig.stats.queries.value(), 3);
}

#[tokio::test]
async fn t_silent_silence_ends_at_the_deadline() {
    let rig = rig(|_, mut frames| async move {
        let first = frames.query().await.unwrap();
        frames.send(&answer(&first)).await;
        while frames.query().await.is_some() {}
    })
    .await;
    rig.ask_well("a.example").await;
    let start = Instant::now();
    let error = rig.ask("b.example", in_ms(200)).await.unwrap_err();
    assert_eq!(error.kind, Silent);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn t_silent_a_dripping_answer_ends_at_the_deadline() {
    let rig = rig(|_, mut frames| async move {
        frames.query().await.unwrap();
        loop {
            if frames.0.write_all(&[1]).await.is_err() || frames.0.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(rig.ask("a.example", in_ms(200)).await.unwrap_err().kind, Silent);
}

#[tokio::test]
async fn r7766_3_answers_in_pieces_and_of_any_length_come_whole() {
    let rig = rig(|_, mut frames| async move {
        let query = frames.query().await.unwrap();
        let mut long = answer(&query);
        long.resize(65_535, 7);
        let mut frame = 65_535_u16.to_be_bytes().to_vec();
        frame.extend_from_slice(&long);
        for piece in [
            &frame[..1],
            &frame[1..2],
            &frame[2..9],
            &frame[9..40_000],
            &frame[40_000..],
        ] {
            frames.0.write_all(piece).await.unwrap();
            frames.0.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        frames.answer_all().await;
    })
    .await;
    let response = rig.ask("a.example", soon()).await.unwrap();
    assert_eq!((response.octets.len(), response.age), (65_535, 0));
    assert_eq!(response.octets[..4], [0, 0, 0x81, 0]);
}

#[tokio::test]
async fn a_cancelled_asker_frees_its_place_and_its_late_answer_is_no_violation() {
    let (received, mut seen) = mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let rig = rig(move |_, mut frames| {
        let (received, mut released) = (received.clone(), released.clone());
        async move {
            let mut late = Vec::new();
            for _ in 0..200 {
                late.push(frames.query().await.unwrap());
            }
            received.send(()).unwrap();
            let next = frames.query().await.unwrap();
            frames.send(&answer(&next)).await;
            released.wait_for(|released| *released).await.unwrap();
            for query in late {
                frames.send(&answer(&query)).await;
            }
            frames.answer_all().await;
        }
    })
    .await;
    let mut askers = JoinSet::new();
    for name in names(200) {
        let dot = Arc::clone(&rig.dot);
        askers.spawn(async move { dot.exchange(&query(&name), soon()).await });
    }
    seen.recv().await.unwrap();
    askers.shutdown().await;
    rig.ask_well("next.example").await;
    release.send(true).unwrap();
    rig.ask_well("last.example").await;
    assert_eq!((rig.stats.violations.value(), rig.stats.reconnects.value()), (0, 0));
}

#[tokio::test]
async fn t_queue_more_than_fit_in_flight_wait_their_turn() {
    let rig = rig(|_, mut frames| async move { frames.answer_all().await }).await;
    let names = names(1_200);
    assert_own_answers(&names, rig.ask_all(&names, soon()).await);
    assert_eq!(rig.stats.handshakes_full.value(), 1);
}

#[tokio::test]
async fn t_queue_more_than_may_wait_are_turned_away_at_once() {
    let rig = rig(|_, mut frames| async move { while frames.query().await.is_some() {} }).await;
    let results = rig.ask_all(&names(1_250), in_ms(700)).await;
    let count = |kind| {
        results
            .iter()
            .filter(|result| result.as_ref().unwrap_err().kind == kind)
            .count()
    };
    assert_eq!((count(Full), count(Silent), count(Network)), (50, 200, 1_000));
}

#[tokio::test]
async fn r7828_2_keepalive_zero_closes_when_done() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |n, mut frames| {
        let closed = closed.clone();
        async move {
            if n > 0 {
                return frames.answer_all().await;
            }
            let first = frames.query().await.unwrap();
            let second = frames.query().await.unwrap();
            frames.send(&answer_with_keepalive(&first, 0)).await;
            tokio::task::yield_now().await;
            frames.send(&answer(&second)).await;
            closed.send(frames.query().await).unwrap();
        }
    })
    .await;
    let results = rig.ask_all(&names(2), soon()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(seen.recv().await, Some(None), "the client closes");
    rig.ask_well("c.example").await;
    assert_eq!((rig.stats.reconnects.value(), rig.stats.resent.value()), (1, 0));
}

#[tokio::test]
async fn r7858_2_an_idle_connection_is_closed_and_the_next_query_opens_another() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |n, mut frames| {
        let closed = closed.clone();
        async move {
            if n > 0 {
                return frames.answer_all().await;
            }
            let first = frames.query().await.unwrap();
            frames.send(&answer_with_keepalive(&first, 2)).await;
            closed.send(frames.query().await).unwrap();
        }
    })
    .await;
    assert!(rig.ask("a.example", soon()).await.is_ok());
    let start = Instant::now();
    assert_eq!(seen.recv().await, Some(None), "the client closes");
    assert!(start.elapsed() > Duration::from_millis(150), "{:?}", start.elapsed());
    rig.ask_well("b.example").await;
    assert_eq!((rig.stats.reconnects.value(), rig.stats.resent.value()), (1, 0));
}

#[tokio::test]
async fn r7858_2_a_server_that_closes_an_idle_connection_costs_no_query() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |n, mut frames| {
        let closed = closed.clone();
        async move {
            let first = frames.query().await.unwrap();
            frames.send(&answer(&first)).await;
            if n == 0 {
                frames.0.shutdown().await.unwrap();
                drop(frames);
                closed.send(()).unwrap();
                return;
            }
            frames.answer_all().await;
        }
    })
    .await;
    rig.ask_well("a.example").await;
    seen.recv().await.unwrap();
    rig.ask_well("b.example").await;
    assert_eq!(rig.stats.reconnects.value(), 1);
}

#[tokio::test]
async fn r9325_2_the_second_handshake_is_resumed_from_a_ticket() {
    let rig = rig(|_, mut frames| async move {
        let query = frames.query().await.unwrap();
        frames.send(&answer_with_keepalive(&query, 0)).await;
        frames.query().await;
    })
    .await;
    assert!(rig.ask("a.example", soon()).await.is_ok());
    assert!(rig.ask("b.example", soon()).await.is_ok());
    assert_eq!(
        (rig.stats.handshakes_full.value(), rig.stats.handshakes_resumed.value()),
        (1, 1)
    );
}

/// Several threads, and a server that closes after every 60 answers: nothing is lost, nothing is mixed up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r7766_10_many_threads_and_many_closes_lose_nothing() {
    let rig = rig(|_, mut frames| async move {
        for _ in 0..60 {
            let Some(query) = frames.query().await else { return };
            frames.send(&answer(&query)).await;
        }
        let _ = frames.0.shutdown().await;
    })
    .await;
    for _ in 0..40 {
        let names = names(25);
        assert_own_answers(&names, rig.ask_all(&names, soon()).await);
    }
    assert!(rig.stats.reconnects.value() >= 15, "{}", rig.stats.reconnects.value());
    assert_eq!(rig.stats.violations.value(), 0);
}

#[tokio::test]
async fn dropping_the_transport_closes_its_connection() {
    let (closed, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |_, mut frames| {
        let closed = closed.clone();
        async move {
            frames.answer_all().await;
            closed.send(()).unwrap();
        }
    })
    .await;
    rig.ask_well("a.example").await;
    drop(rig);
    assert_eq!(seen.recv().await, Some(()));
}

#[tokio::test]
async fn r7858_1_no_octet_of_dns_before_the_handshake_is_done() {
    let (heard, mut seen) = mpsc::unbounded_channel();
    let address = serve_tcp(move |mut stream| {
        let heard = heard.clone();
        async move {
            let mut octets = Vec::new();
            let _ = tokio::time::timeout(Duration::from_millis(300), stream.read_to_end(&mut octets)).await;
            heard.send(octets).unwrap();
        }
    })
    .await;
    let target = Authority::new().target(address, Alpn::Dot);
    let dot = Dot::new(target, Arc::default());
    let error = dot
        .exchange(&query("secretname.example"), in_ms(200))
        .await
        .unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (Network, "not connected in time"));
    let octets = seen.recv().await.unwrap();
    // One record, type 22 (handshake): the client hello, and nothing behind it.
    assert_eq!(
        (octets[0], octets.len()),
        (22, 5 + usize::from(u16::from_be_bytes([octets[3], octets[4]])))
    );
    assert!(!octets.windows(10).any(|window| window == b"secretname"));
}
