use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::samples::{fresh, snapshot};
use super::snapshot::UpstreamState;
use super::*;

/// An endpoint that gives out this snapshot.
async fn start(snapshot: Snapshot) -> (SocketAddr, Shutdown) {
    let listener = TcpListener::from_std(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let admin = Admin::new(address, Arc::new(move || snapshot.clone()));
    let shutdown = Shutdown::new();
    shutdown.spawn(admin.serve(listener, shutdown.clone()));
    (address, shutdown)
}

/// Sends octets, then reads until the server closes.
async fn talk(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before all is written: that is its answer.
    let _ = stream.write_all(octets).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(len) = stream.read(&mut buffer).await {
        if len == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8(answer).unwrap()
}

/// One request with a good Host and these lines, on a connection of its own.
async fn request(address: SocketAddr, line: &str, headers: &str) -> String {
    talk(
        address,
        format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n").as_bytes(),
    )
    .await
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn the_pages() {
    let (address, _shutdown) = start(snapshot()).await;
    for (path, expected) in [
        ("/", "200"),
        ("/page.js", "200"),
        ("/page.css", "200"),
        ("/icon.svg", "200"),
        ("/stats", "200"),
        ("/history", "200"),
        ("/metrics", "200"),
        ("/healthz", "200"),
        ("/x", "404"),
    ] {
        let answer = request(address, &format!("GET {path}"), "").await;
        assert_eq!(status(&answer), expected, "{path}");
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'self'",
        ] {
            assert!(answer.contains(header), "{path}: {answer}");
        }
        assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
    }
    assert_eq!(body(&request(address, "GET /healthz?x=1", "").await), "ok\n");
}

#[tokio::test]
async fn a_browser_gets_the_page_and_others_what_there_is() {
    let (address, _shutdown) = start(snapshot()).await;
    let accept = "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let page = request(address, "GET /", accept).await;
    assert!(
        page.contains("content-type: text/html; charset=utf-8\r\n") && page.contains("vary: accept\r\n"),
        "{page}"
    );
    assert!(body(&page).starts_with("<!doctype html>"), "{page}");
    let list = request(address, "GET /", "accept: */*\r\n").await;
    assert!(
        list.contains("content-type: text/plain") && body(&list).contains("/history"),
        "{list}"
    );
    let foreign = request(address, "GET /", &format!("{accept}sec-fetch-site: cross-site\r\n")).await;
    assert_eq!(status(&foreign), "403");
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_is_taken_every_ten_seconds() {
    let (address, _shutdown) = start(snapshot()).await;
    sleep(history::INTERVAL * 3 + Duration::from_secs(1)).await;
    let answer = request(address, "GET /history", "").await;
    let history: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(history["points"].as_array().map(Vec::len), Some(3), "{history}");
    assert_eq!(
        history["points"][0],
        serde_json::json!({"at": 0, "hits": 0, "misses": 0, "synthesized": 0, "failed": 0})
    );
    assert_eq!(history["events"], serde_json::json!([]));
}

#[tokio::test]
async fn stats_are_design_1() {
    let (address, _shutdown) = start(snapshot()).await;
    let answer = request(address, "GET /stats", "").await;
    assert!(answer.contains("content-type: application/json\r\n"));
    let stats: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    for key in [
        "hits",
        "misses",
        "entries",
        "bytes",
        "max_bytes",
        "insertions",
        "evictions",
        "stale_hits",
        "prefetches",
        "hit_ratio",
    ] {
        assert!(stats["cache"][key].is_number(), "cache.{key}");
    }
    assert_eq!(
        (stats["cache"]["hit_ratio"].as_f64(), stats["queries"]["total"].as_u64()),
        (Some(0.75), Some(36))
    );
    assert_eq!(stats["queries"]["udp"]["total"], 10);
    assert_eq!(stats["protection"]["state"], "bad", "{stats}");
    assert_eq!(stats["protection"]["parts"][0]["name"], "system-dns");
    assert_eq!(stats["queries"]["limited"], 2);
    assert_eq!(
        stats["latency"]["cached"]["buckets"][0],
        serde_json::json!({ "le": 0.0001, "count": 1 })
    );
    assert_eq!(
        stats["latency"]["cached"]["buckets"][15],
        serde_json::json!({ "le": null, "count": 3 })
    );
    let upstream = &stats["upstreams"][0];
    assert_eq!((&upstream["state"], &upstream["rtt_ms"]), (&"up".into(), &12.5.into()));
    assert_eq!(upstream["handshakes"], serde_json::json!({ "full": 4, "resumed": 5 }));
    assert_eq!(stats["upstreams"][1]["last_error"], serde_json::Value::Null);
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (address, _shutdown) = start(snapshot()).await;
    let plain = request(address, "GET /metrics", "").await;
    assert!(plain.contains("content-type: text/plain; version=0.0.4"), "{plain}");
    let open = request(
        address,
        "GET /metrics",
        "accept: application/openmetrics-text;version=1.0.0\r\n",
    )
    .await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn health_is_503_when_every_upstream_is_down() {
    let mut down = fresh();
    let (address, _shutdown) = start(down.clone()).await;
    assert_eq!(
        status(&request(address, "GET /healthz", "").await),
        "200",
        "before the first query"
    );
    down.upstreams[0].state = UpstreamState::Down;
    let (address, _shutdown) = start(down).await;
    assert_eq!(status(&request(address, "GET /healthz", "").await), "503");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let (address, _shutdown) = start(snapshot()).await;
    let get = request(address, "GET /stats", "").await;
    let head = request(address, "HEAD /stats", "").await;
    assert_eq!(body(&head), "");
    assert!(
        head.contains(&format!("content-length: {}\r\n", body(&get).len())),
        "{head}"
    );
}

#[tokio::test]
async fn t_web_nothing_but_get_and_head() {
    let (address, _shutdown) = start(snapshot()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        let answer = request(address, &format!("{method} /stats"), "content-length: 0\r\n").await;
        assert_eq!(status(&answer), "405", "{method}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
    // A tunnel would be the worst of all: it is refused before any method is looked at, for its foreign authority.
    assert_ne!(status(&request(address, "CONNECT evil.example:443", "").await), "200");
}

#[tokio::test]
async fn t_web_rebinding_and_foreign_pages() {
    let (address, _shutdown) = start(snapshot()).await;
    for (head, expected) in [
        ("GET /stats HTTP/1.1\r\nhost: evil.example:8053\r\n".to_owned(), "421"),
        (
            format!("GET /stats HTTP/1.1\r\nhost: evil.example:{}\r\n", address.port()),
            "421",
        ),
        (
            format!("GET http://evil.example/stats HTTP/1.1\r\nhost: {address}\r\n"),
            "421",
        ),
        ("GET /stats HTTP/1.1\r\n".to_owned(), "400"),
        ("GET /stats HTTP/1.0\r\n".to_owned(), "400"),
        (
            format!("GET /stats HTTP/1.1\r\nhost: {address}\r\nhost: {address}\r\n"),
            "400",
        ),
        (
            format!("GET /stats HTTP/1.1\r\nhost: {address}\r\norigin: https://evil.example\r\n"),
            "403",
        ),
        (
            format!("GET /stats HTTP/1.1\r\nhost: {address}\r\norigin: null\r\n"),
            "403",
        ),
        (
            format!("GET /stats HTTP/1.1\r\nhost: {address}\r\nsec-fetch-site: cross-site\r\n"),
            "403",
        ),
        (
            format!("GET /stats HTTP/1.1\r\nhost: localhost:{}\r\n", address.port()),
            "200",
        ),
        (
            format!("GET /stats HTTP/1.1\r\nhost: {address}\r\nsec-fetch-site: none\r\n"),
            "200",
        ),
    ] {
        let answer = talk(address, format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), expected, "{head}");
        assert!(
            expected == "200" || !answer.contains("tacenda_") && !answer.contains("hit_ratio"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn t_web_no_upgrade_to_h2c() {
    let (address, _shutdown) = start(snapshot()).await;
    let upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let answer = talk(
        address,
        format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n{upgrade}connection: close\r\n\r\n").as_bytes(),
    )
    .await;
    assert_eq!(status(&answer), "200");
    let preface = talk(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(
        preface.is_empty() || status(&preface).starts_with('4') || status(&preface).starts_with('5'),
        "{preface}"
    );
}

#[tokio::test]
async fn t_web_the_head_is_capped() {
    let (address, _shutdown) = start(snapshot()).await;
    let long = request(address, "GET /stats", &format!("x: {}\r\n", "a".repeat(9 * 1024))).await;
    assert_eq!(status(&long), "431");
    let line = request(address, &format!("GET /{}", "a".repeat(9 * 1024)), "").await;
    assert!(["414", "431"].contains(&status(&line)), "{line}");
    let many = request(address, "GET /stats", &"x: y\r\n".repeat(70)).await;
    assert_eq!(status(&many), "431");
    assert_eq!(
        status(&request(address, "GET /stats", &"x: y\r\n".repeat(60)).await),
        "200"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (address, _shutdown) = start(snapshot()).await;
    let one = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{last}\r\n");
    let both = one("/healthz", "") + &one("/x", "") + &one("/healthz", "connection: close\r\n");
    let answer = talk(address, both.as_bytes()).await;
    let statuses: Vec<_> = answer
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answer[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "404", "200"]);
}

#[tokio::test]
async fn a_request_smuggled_in_a_body_is_not_answered_with_figures() {
    let (address, _shutdown) = start(snapshot()).await;
    let inner = format!("GET /stats HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let outer = format!(
        "POST / HTTP/1.1\r\nhost: evil.example\r\ncontent-length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let last = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = talk(address, (outer + &last).as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 421") && !answer.contains("hit_ratio"),
        "{answer}"
    );
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn t_slow_a_head_has_five_seconds_and_so_has_an_idle_connection() {
    let (address, _shutdown) = start(snapshot()).await;
    for octets in [b"".as_slice(), b"GET /stats HTT", b"GET /stats HTTP/1.1\r\nhost: "] {
        let started = Instant::now();
        talk(address, octets).await;
        assert!(
            (4..=6).contains(&started.elapsed().as_secs()),
            "{octets:?} {:?}",
            started.elapsed()
        );
    }
    let started = Instant::now();
    let answer = talk(
        address,
        format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes(),
    )
    .await;
    assert_eq!(status(&answer), "200");
    assert!(
        (4..=6).contains(&started.elapsed().as_secs()),
        "idle for {:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn t_slow_who_asks_and_never_reads_loses_its_place() {
    let (address, _shutdown) = start(snapshot()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = format!("GET /stats HTTP/1.1\r\nhost: {address}\r\n\r\n").repeat(100);
    let started = Instant::now();
    // Both directions fill up, then the clock runs until the server has had enough.
    while stream.write_all(requests.as_bytes()).await.is_ok() {}
    assert!(
        (59..=61).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn t_web_the_seventeenth_connection_is_closed_and_a_place_comes_back() {
    let (address, _shutdown) = start(snapshot()).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        held.push(stream);
    }
    assert_eq!(request(address, "GET /healthz", "").await, "");
    held.pop();
    let mut answer = String::new();
    for _ in 0..1000 {
        answer = request(address, "GET /healthz", "").await;
        if !answer.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&answer), "200");
}

#[tokio::test]
async fn stop_ends_it_and_its_idle_connections() {
    let (address, shutdown) = start(snapshot()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut buffer = [0; 1024];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    shutdown.stop();
    assert!(shutdown.drained(Duration::from_secs(3)).await);
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
}

#[test]
fn only_loopback_is_bound() {
    let refused = bind("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}
