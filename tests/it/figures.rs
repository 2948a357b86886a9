//! The stats endpoint tells the truth.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{A, Ask, CHAOS, PATIENCE, TXT, assert_silence, tick};
use crate::daemon::{Daemon, over_doh, over_dot};
use crate::script::{Reply, normal};
use crate::upstream::Upstream;

/// Queries by outcome. The one place that knows where `/stats` keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    queries: u64,
    hits: u64,
    misses: u64,
    synthesized: u64,
    rejected: u64,
}

impl Tally {
    fn read(daemon: &Daemon) -> Self {
        let stats = daemon.stats();
        let queries = &stats["queries"];
        let outcome = |name: &str| number(&queries["udp"][name]) + number(&queries["tcp"][name]);
        Self {
            queries: number(&queries["total"]),
            hits: outcome("hit"),
            misses: outcome("miss"),
            synthesized: outcome("synthesized"),
            rejected: outcome("rejected"),
        }
    }

    /// Reads until nothing moves: the queries that found the daemon ready are counted a moment after their answers.
    fn at_rest(daemon: &Daemon) -> Self {
        let mut tally = Self::read_when(daemon, 1);
        loop {
            tick();
            let again = Self::read(daemon);
            if again == tally {
                return tally;
            }
            tally = again;
        }
    }

    /// Reads until everything sent is counted: a response may be on its way before its counter.
    fn read_when(daemon: &Daemon, queries: u64) -> Self {
        for _ in 0..100 {
            let tally = Self::read(daemon);
            if tally.queries >= queries {
                return tally;
            }
            tick();
        }
        panic!("{queries} queries were sent: {:?}", Self::read(daemon));
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[test]
fn hits_misses_synthesized_and_rejected_add_up_to_the_queries() {
    let upstream = Upstream::start(|heard| {
        if heard.name.starts_with("fails") {
            Reply::Close
        } else {
            normal(heard)
        }
    });
    let daemon = over_dot(&upstream);
    let before = Tally::at_rest(&daemon);
    let mut sent = 0;
    let mut send = |ask: Ask, times: u64| {
        for i in 0..times {
            if i % 2 == 0 {
                ask.udp(daemon.dns)
            } else {
                ask.tcp(daemon.dns)
            };
            sent += 1;
        }
    };
    send(Ask::new("www.example", A), 40); // 1 miss, 39 hits
    send(Ask::new("nx.example", A), 10); // 1 miss, 9 hits
    send(Ask::new("cold.example", A).flags(0), 6); // refused for want of RD: misses
    send(Ask::new("www.example", 252), 8); // transfers: synthesized
    send(Ask::new("www.example", A).flags(2 << 11), 6); // opcode: rejected
    send(Ask::new("www.example", A).opt(1232, 1 << 16, &[]), 4); // BADVERS: rejected
    send(Ask::new("version.bind", TXT).class(CHAOS), 4); // synthesized
    send(Ask::new("fails.example", A), 2); // 1 miss, 1 hit: the failure is cached
    let after = Tally::read_when(&daemon, before.queries + sent);
    assert_eq!(after.queries - before.queries, sent);
    assert_eq!(after.hits - before.hits, 39 + 9 + 1);
    assert_eq!(after.misses - before.misses, 1 + 1 + 6 + 1);
    assert_eq!(after.synthesized - before.synthesized, 8 + 4);
    assert_eq!(after.rejected - before.rejected, 6 + 4);
    assert_eq!(
        after.hits + after.misses + after.synthesized + after.rejected,
        after.queries
    );
}

#[test]
fn what_is_dropped_silently_is_not_lost_from_the_sum() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    assert_silence(daemon.dns, &Ask::new("www.example", A).flags(0x8180).octets());
    assert_silence(daemon.dns, b"short");
    let tally = Tally::read(&daemon);
    assert_eq!(
        tally.hits + tally.misses + tally.synthesized + tally.rejected,
        tally.queries,
        "{tally:?}"
    );
}

#[test]
fn the_cache_and_the_upstream_are_counted() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    for i in 0..20 {
        Ask::new(&format!("n{}.example", i % 5), A).udp(daemon.dns);
    }
    let stats = daemon.stats();
    assert_eq!(number(&stats["cache"]["hits"]), 15);
    assert_eq!(number(&stats["cache"]["misses"]), 5);
    assert_eq!(number(&stats["cache"]["insertions"]), 5);
    assert!(number(&stats["cache"]["bytes"]) <= number(&stats["cache"]["max_bytes"]));
    assert_eq!(upstream.heard().len(), 5);
}

#[test]
fn t_web_only_our_own_host_and_get() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    let own = daemon.stats_address();
    let status = |request: String| {
        let mut stream = TcpStream::connect(own).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that refuses early may close before it has read all.
        let _ = stream.write_all(request.as_bytes());
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(
            !text.to_ascii_lowercase().contains("access-control-"),
            "no CORS header: {text}"
        );
        text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok())
    };
    let get = |host: &str| {
        status(format!(
            "GET /stats HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
    };
    assert_eq!(get(&own.to_string()), Some(200));
    assert_eq!(get(&format!("localhost:{}", own.port())), Some(200));
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{}", own.port()),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ] {
        assert!(get(&host).is_none_or(|code| (400..500).contains(&code)), "Host: {host}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let code = status(format!(
            "{method} /stats HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"
        ));
        assert!(
            code.is_some_and(|code| (400..500).contains(&code)),
            "{method}: {code:?}"
        );
    }
    let endless = status(format!(
        "GET /stats HTTP/1.1\r\nHost: {own}\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    ));
    assert!(endless.is_none_or(|code| (400..500).contains(&code)), "{endless:?}");
    assert_eq!(daemon.get("/nothing-here").0, 404);
}

#[test]
fn healthz_and_metrics_answer() {
    let upstream = Upstream::honest();
    let daemon = over_doh(&upstream);
    Ask::new("www.example", A).udp(daemon.dns);
    assert_eq!(daemon.get("/healthz").0, 200);
    let (code, metrics) = daemon.get("/metrics");
    assert_eq!(code, 200);
    for line in metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let value = line.rsplit(' ').next().unwrap();
        let is_named = line.starts_with("tacenda_") || line.starts_with("process_");
        assert!(is_named && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_upstream_is_connected_to_before_anybody_asks() {
    let upstream = Upstream::honest();
    for daemon in [over_dot(&upstream), over_doh(&upstream)] {
        let begin = tokio::time::Instant::now();
        while number(&daemon.stats()["upstreams"][0]["handshakes"]["full"]) == 0 {
            assert!(begin.elapsed() < PATIENCE, "no connection: {}", daemon.stats());
            tick();
        }
        assert!(upstream.heard().is_empty(), "nobody has asked");
    }
}

/// What a file of `config/` names of tacenda's, less the ends of a histogram's parts.
fn metrics_named_in(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(format!("{}/config/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let is_part_of_it = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_part_of_it(c));
    let names = words.filter(|word| word.starts_with("tacenda_"));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn alerts_and_the_dashboard_name_metrics_that_there_are() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let metrics = daemon.metrics();
    for (file, least) in [("alerts.yml", 6), ("grafana.json", 15)] {
        let named = metrics_named_in(file);
        assert!(named.len() >= least, "{file}: {named:?}");
        for name in named {
            assert!(metrics.contains(&format!("\n# TYPE {name} ")), "{file} names {name}");
        }
    }
    let dashboard = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/config/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 8));
}

/// The folder where it stands is shut by the sandbox, as it should be.
#[test]
#[cfg(target_os = "linux")]
fn what_the_process_takes_is_told_from_inside_the_sandbox() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let stats = daemon.stats();
    let process = &stats["process"];
    assert!(process["resident_bytes"].as_u64().unwrap() > 1 << 20, "{process}");
    assert!(process["threads"].as_u64().unwrap() >= 2, "{process}");
    assert!(daemon.metrics().contains("\nprocess_resident_memory_bytes "));
}

#[test]
#[ignore = "needs promtool"]
fn promtool_likes_the_metrics_and_the_alerts() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    Ask::new("www.example", A).udp(daemon.dns);
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(daemon.metrics().as_bytes())
        .unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
    let rules = Command::new("promtool")
        .args([
            "check",
            "rules",
            concat!(env!("CARGO_MANIFEST_DIR"), "/config/alerts.yml"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rules.stdout);
    assert!(rules.status.success() && said.contains("9 rules found"), "{said}");
}
