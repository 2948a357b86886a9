//! What a server may answer, and what is made of it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{DNS, answer_all, begin, each, reply, rig};
use crate::transport::ExchangeErrorKind::{Busy, Garbage, Network, Silent};
use crate::transport::testing::{answer, in_ms, soon};
use crate::transport::{ExchangeError, Response};

/// Asks once a server that replies like this.
async fn ask_with_reply<F>(make: F) -> Result<Response, ExchangeError>
where
    F: Fn(&[u8]) -> (http::response::Builder, Vec<u8>) + Clone + Send + Sync + 'static,
{
    let rig = rig(move |_, stream| {
        let make = make.clone();
        async move {
            each(begin(stream).await, |_, mut asked| {
                let (response, body) = make(&asked.query);
                async move { asked.reply(response, body) }
            })
            .await;
        }
    })
    .await;
    rig.ask("a.example", soon()).await
}

async fn check_network(status: u16, headers: &'static [(&'static str, &'static str)], body_len: usize, words: &str) {
    let result = ask_with_reply(move |query| {
        let mut body = answer(query);
        body.resize(body_len, 0);
        (reply(status, headers), body)
    })
    .await;
    assert_eq!(
        result,
        Err(ExchangeError {
            kind: Network,
            detail: words.to_owned()
        })
    );
}

#[tokio::test]
async fn r8484_3_what_is_not_dns_is_a_transport_failure() {
    check_network(
        200,
        &[("content-type", "text/html")],
        500,
        "the server's answer is not application/dns-message",
    )
    .await;
    check_network(200, &[], 40, "the server's answer is not application/dns-message").await;
    check_network(404, &[DNS], 40, "the server answered http status 404").await;
    check_network(500, &[DNS], 40, "the server answered http status 500").await;
}

#[tokio::test]
async fn r8484_6_redirects_are_not_followed() {
    for status in [301, 302, 307, 308] {
        let words = format!("the server answered http status {status}");
        check_network(
            status,
            &[("location", "https://other.example/dns-query"), DNS],
            0,
            &words,
        )
        .await;
    }
}

#[tokio::test]
async fn r8484_5_encoded_bodies_and_long_ones_are_refused() {
    let long = "the server's answer is longer than a dns message can be";
    let encoded = "the server encoded its answer, which nobody asked for";
    check_network(200, &[DNS, ("content-encoding", "gzip")], 40, encoded).await;
    check_network(200, &[DNS], 65_536, long).await;
    check_network(200, &[DNS], 10_000_000, long).await;
    check_network(200, &[DNS, ("content-length", "10000000")], 10_000_000, long).await;
}

#[tokio::test]
async fn t_body_the_longest_answer_fits() {
    let response = ask_with_reply(|query| {
        let mut body = answer(query);
        body.resize(65_535, 7);
        (reply(200, &[DNS]), body)
    })
    .await
    .unwrap();
    assert_eq!((response.octets.len(), response.octets[65_534]), (65_535, 7));
}

#[tokio::test]
async fn t_body_a_length_that_lies_is_a_transport_failure() {
    for claimed in ["5", "4000"] {
        let result =
            ask_with_reply(move |query| (reply(200, &[DNS, ("content-length", claimed)]), answer(query))).await;
        assert_eq!(result.unwrap_err().kind, Network, "{claimed}");
    }
}

#[tokio::test]
async fn r8484_2_another_question_another_id_or_no_response_is_garbage() {
    for (at, mask) in [(0, 1), (1, 1), (2, 0x80), (13, 1), (5, 3)] {
        let result = ask_with_reply(move |query| {
            let mut body = answer(query);
            body[at] ^= mask;
            (reply(200, &[DNS]), body)
        })
        .await;
        assert_eq!(result.unwrap_err().kind, Garbage, "octet {at}");
    }
    let result = ask_with_reply(|_| (reply(200, &[DNS]), Vec::new())).await;
    assert_eq!(result.unwrap_err().kind, Garbage, "empty body");
}

#[tokio::test]
async fn t_poi_1_the_eighth_wrong_answer_ends_the_connection() {
    let rig = rig(|n, stream| async move {
        if n > 0 {
            return answer_all(stream).await;
        }
        each(begin(stream).await, |_, mut asked| async move {
            asked.query[13] ^= 1;
            asked.answer();
        })
        .await;
    })
    .await;
    for n in 0..8 {
        let error = rig.ask(&format!("n{n}.example"), soon()).await.unwrap_err();
        assert_eq!(error.kind, Garbage);
    }
    rig.ask_well("after.example").await;
    assert_eq!((rig.stats.violations.value(), rig.stats.reconnects.value()), (8, 1));
}

#[tokio::test]
async fn r8484_4_age_is_handed_on() {
    let result = ask_with_reply(|query| (reply(200, &[DNS, ("age", "250")]), answer(query))).await;
    assert_eq!(result.map(|response| response.age), Ok(250));
}

#[tokio::test]
async fn r8484_8_busy_servers_are_left_alone_for_a_while() {
    let result = ask_with_reply(|_| (reply(429, &[("retry-after", "30")]), Vec::new())).await;
    assert_eq!(
        result.unwrap_err().kind,
        Busy {
            retry_after: Some(Duration::from_secs(30))
        }
    );
    let result = ask_with_reply(|_| (reply(503, &[]), Vec::new())).await;
    assert_eq!(result.unwrap_err().kind, Busy { retry_after: None });
}

#[tokio::test]
async fn t_body_an_endless_body_is_cut_off() {
    let (reset, mut seen) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let reset = reset.clone();
        async move {
            each(begin(stream).await, move |_, mut asked| {
                let reset = reset.clone();
                async move {
                    let mut body = asked
                        .respond
                        .send_response(reply(200, &[DNS]).body(()).unwrap(), false)
                        .unwrap();
                    let mut sent = 0;
                    loop {
                        body.reserve_capacity(1_000);
                        match poll_fn(|context| body.poll_capacity(context)).await {
                            Some(Ok(len)) => {
                                sent += len;
                                body.send_data(Bytes::from(vec![0; len]), false).unwrap();
                            }
                            _ => break,
                        }
                    }
                    reset.send(sent).unwrap();
                }
            })
            .await;
        }
    })
    .await;
    let error = rig.ask("a.example", soon()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.contains("longer")),
        (Network, true),
        "{error}"
    );
    assert!(seen.recv().await.unwrap() < 300_000);
}

#[tokio::test]
async fn t_silent_nothing_is_silence_and_half_an_answer_a_broken_network() {
    let rig = rig(|_, stream| async move {
        each(begin(stream).await, |n, mut asked| async move {
            if n == 0 {
                return std::future::pending().await;
            }
            let mut body = asked
                .respond
                .send_response(reply(200, &[DNS]).body(()).unwrap(), false)
                .unwrap();
            body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            std::future::pending::<()>().await;
        })
        .await;
    })
    .await;
    assert_eq!(rig.ask("a.example", in_ms(200)).await.unwrap_err().kind, Silent);
    let error = rig.ask("b.example", in_ms(200)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.detail.as_str()),
        (Network, "the answer stalled half-way")
    );
}

#[tokio::test]
async fn t_h2_too_many_headers_fail_one_query_only() {
    let rig = rig(|_, stream| async move {
        each(begin(stream).await, |n, mut asked| async move {
            if n > 0 {
                return asked.answer();
            }
            let bomb = (0..20).fold(reply(200, &[DNS]), |response, n| {
                response.header(format!("x-{n}"), "y".repeat(1_000))
            });
            asked.reply(bomb, Vec::new());
        })
        .await;
    })
    .await;
    assert_eq!(rig.ask("a.example", soon()).await.unwrap_err().kind, Network);
    rig.ask_well("b.example").await;
}
