//! A host whose clock is wrong (T-TIME): it gets the names of time servers and nothing else, and all names when the clock is set.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::date_time_ymd;
use tokio::time::Instant;

use crate::client::{A, Ask, SERVFAIL, tick};
use crate::daemon::{Config, Daemon};
use crate::economy::LIBFAKETIME;
use crate::script::normal;
use crate::tls::Authority;
use crate::upstream::{SERVER_NAME, Upstream};

/// Years in which a certificate is good.
type Years = (i32, i32);

fn upstream(authority: &Authority, (from, to): Years) -> Upstream {
    let identity = authority.identity(|params| {
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
    });
    Upstream::with_identity(identity, normal)
}

fn over(upstream: &Upstream, authority: &Authority) -> [Config; 2] {
    let dot = format!("tls://{SERVER_NAME}:{}", upstream.dot.port());
    let doh = format!("https://{SERVER_NAME}:{}/dns-query", upstream.doh.port());
    [dot, doh].map(|url| Config::new().upstream(&url, &authority.roots()))
}

fn ask(daemon: &Daemon, name: &str) -> (u16, Option<u16>) {
    let response = Ask::new(name, A).edns().udp(daemon.dns);
    (response.rcode(), response.ede())
}

/// Only time servers are asked for, and each name is heard once.
fn check_only_time_servers(daemon: &Daemon, upstream: &Upstream) {
    let begin = Instant::now();
    assert_eq!(ask(daemon, "www.example"), (SERVFAIL, Some(23)));
    assert_eq!(ask(daemon, "0.debian.pool.ntp.org"), (0, None), "{}", daemon.stderr());
    assert_eq!(ask(daemon, "mail.example"), (SERVFAIL, Some(23)));
    assert_eq!(ask(daemon, "time.cloudflare.com"), (0, None));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let heard: Vec<_> = upstream.heard().into_iter().map(|heard| heard.name).collect();
    assert_eq!(heard, ["0.debian.pool.ntp.org", "time.cloudflare.com"]);
    let log = daemon.stderr();
    assert!(
        log.contains("this host's clock may be wrong") && !log.contains("ntp.org"),
        "{log}"
    );
}

#[test]
fn t_time_with_certificates_out_of_date_only_time_servers_are_asked_for() {
    for years in [(2020, 2021), (2090, 2091)] {
        let authority = Authority::new();
        let first = upstream(&authority, years);
        check_only_time_servers(&over(&first, &authority)[0].start(), &first);
        let second = upstream(&authority, years);
        check_only_time_servers(&over(&second, &authority)[1].start(), &second);
    }
}

#[test]
fn t_time_nobody_else_may_be_believed_for_that() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let upstream = upstream(&stranger, (2020, 2021));
    for config in over(&upstream, &authority) {
        assert_eq!(ask(&config.start(), "pool.ntp.org"), (SERVFAIL, Some(23)));
    }
    assert!(upstream.heard().is_empty());
}

#[test]
fn t_time_an_empty_list_is_no_way_out() {
    let authority = Authority::new();
    let upstream = upstream(&authority, (2020, 2021));
    for config in over(&upstream, &authority) {
        let daemon = config.line("time-servers = []").start();
        assert_eq!(ask(&daemon, "pool.ntp.org"), (SERVFAIL, Some(23)));
    }
    assert!(upstream.heard().is_empty());
}

/// A daemon whose clock is off by as much as a file says; the file may be changed while it runs.
fn with_clock(config: Config, file: &Path, offset: &str) -> Daemon {
    assert!(Path::new(LIBFAKETIME).exists(), "needs faketime");
    fs::write(file, offset).unwrap();
    config
        .variable("LD_PRELOAD", LIBFAKETIME)
        .variable("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        // What fakes the time reads its file from within the daemon.
        .without_sandbox()
        .start()
}

#[test]
#[ignore = "needs faketime"]
fn t_time_ten_years_off_and_then_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offset");
    // Issued after tacenda's release, as every certificate is some months later; and one that a clock in the future finds expired.
    for (years, offset) in [((2020, 2030), "+10y"), ((2020, 2120), "-10y")] {
        let authority = Authority::new();
        let identity = authority.identity(|params| {
            params.not_before = if offset == "-10y" {
                date_time_ymd(2026, 11, 20)
            } else {
                date_time_ymd(years.0, 1, 1)
            };
            params.not_after = date_time_ymd(years.1, 1, 1);
        });
        let upstream = Upstream::with_identity(identity, normal);
        let [dot, _] = over(&upstream, &authority);
        let daemon = with_clock(dot, &file, offset);
        check_only_time_servers(&daemon, &upstream);
        let state = daemon.stats()["clock"].to_string();
        assert_eq!(
            state,
            if offset == "-10y" {
                "\"before-release\""
            } else {
                "\"ok\""
            }
        );
        // The time server did its work.
        fs::write(&file, "+0").unwrap();
        let begin = Instant::now();
        while ask(&daemon, "www.example.com").0 != 0 {
            assert!(
                begin.elapsed() < Duration::from_secs(2),
                "{}",
                daemon.stats()["upstreams"]
            );
            tick();
        }
    }
}

#[test]
#[ignore = "needs faketime"]
fn t_time_a_clock_before_the_release_counts_as_the_release() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let upstream = upstream(&authority, (2020, 2120));
    for config in over(&upstream, &authority) {
        let daemon = with_clock(config, &folder.path().join("offset"), "-10y");
        assert_eq!(ask(&daemon, "www.example"), (0, None));
    }
}
