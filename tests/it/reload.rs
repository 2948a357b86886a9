//! A new configuration while the daemon serves: by SIGHUP, and when a file changes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, NXDOMAIN, SERVFAIL, tick};
use crate::daemon::{CA, Config, Daemon};
use crate::script::{Gate, Reply, normal};
use crate::upstream::Upstream;

fn until(daemon: &Daemon, what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}\n{}", daemon.stderr());
        tick();
    }
}

/// Writes the file as an editor does, beside and renamed, and waits until the daemon has taken it.
fn put(daemon: &Daemon, text: &str) {
    let before = reloads(daemon);
    write(daemon, text);
    until(daemon, "the new configuration is not taken", || {
        reloads(daemon) > before
    });
}

fn write(daemon: &Daemon, text: &str) {
    let path = daemon.config_path();
    let beside = format!("{path}.new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn reloads(daemon: &Daemon) -> u64 {
    daemon.stats()["config"]["reloads"].as_u64().unwrap()
}

fn rcode(daemon: &Daemon, name: &str) -> u16 {
    Ask::new(name, A).udp(daemon.dns).rcode()
}

#[test]
fn a_changed_file_is_in_force_within_a_moment_and_the_cache_and_connections_stay() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    assert_eq!(rcode(&daemon, "www.example"), 0);
    let handshakes = || daemon.stats()["upstreams"][0]["handshakes"]["full"].as_u64();
    let before = handshakes();
    put(
        &daemon,
        &config
            .clone()
            .table("[policy]\nrecords = [\"nas.example A 192.0.2.9\"]")
            .text(),
    );
    assert_eq!(
        Ask::new("nas.example", A).udp(daemon.dns).answers(),
        ["nas.example. A 192.0.2.9"]
    );
    assert_eq!(rcode(&daemon, "www.example"), 0);
    assert_eq!(upstream.count("www.example"), 1, "from the cache of before");
    assert_eq!(rcode(&daemon, "other.example"), 0);
    assert_eq!(handshakes(), before, "over the connection of before");
    assert_eq!(daemon.stats()["cache"]["hits"], 1);
    put(&daemon, &config.clone().text());
    assert_eq!(rcode(&daemon, "nas.example"), 0);
    assert_eq!(upstream.count("nas.example"), 1, "not ours any more");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_so_until_it_is_mended() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    for (text, words) in [
        (format!("{}\ncahce = 1\n", config.text()), "cahce"),
        (
            config.clone().table("[policy]\nrecords = [\"nas.example A x\"]").text(),
            "expected an IPv4 address",
        ),
        ("listen = [".to_owned(), "tacenda.toml:1:"),
    ] {
        write(&daemon, &text);
        until(&daemon, "the wrong file is not seen", || {
            daemon.stats()["config"]["problem"].to_string().contains(words)
        });
        assert_eq!(rcode(&daemon, "www.example"), 0);
        assert!(
            daemon.stderr().contains("the one before stays in force"),
            "{}",
            daemon.stderr()
        );
    }
    let metrics = daemon.metrics();
    assert!(metrics.contains("\ntacenda_config_refused 1\n"), "{metrics}");
    assert!(
        metrics.contains("tacenda_config_reloads_total{result=\"refused\"} 3\n"),
        "{metrics}"
    );
    put(&daemon, &config.text());
    assert!(daemon.stats()["config"]["problem"].is_null());
    assert!(daemon.metrics().contains("\ntacenda_config_refused 0\n"));
}

#[test]
fn sighup_reads_again_what_the_files_name() {
    let (upstream, folder) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let list = folder.path().join("list");
    fs::write(&list, "one.example\n").unwrap();
    let table = format!(
        "[policy]\nblock = [\"{}\"]\nblock-answer = \"nxdomain\"\n",
        list.display()
    );
    let daemon = Config::new().dot(&upstream).table(&table).start();
    until(&daemon, "no list", || rcode(&daemon, "one.example") == NXDOMAIN);
    fs::write(&list, "one.example\ntwo.example\n").unwrap();
    daemon.signal("HUP");
    until(&daemon, "the list is not read again", || {
        rcode(&daemon, "two.example") == NXDOMAIN
    });
    assert_eq!(reloads(&daemon), 1);
    assert_eq!(rcode(&daemon, "one.example"), NXDOMAIN);
}

/// Names of a new list must not pass for a moment, nor what is in the cache already.
#[test]
fn a_new_list_counts_from_the_first_query_on() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    let list = Path::new(&daemon.config_path()).with_file_name("list");
    fs::write(&list, "ads.example\n".repeat(200_000)).unwrap();
    assert_eq!(rcode(&daemon, "x.ads.example"), 0);
    let table = format!(
        "[policy]\nblock = [\"{}\"]\nblock-answer = \"nxdomain\"\n",
        list.display()
    );
    put(&daemon, &config.clone().table(&table).text());
    assert_eq!(rcode(&daemon, "x.ads.example"), NXDOMAIN);
    fs::write(&list, "<html>\n").unwrap();
    write(&daemon, &config.table(&table).line("strategy = \"fastest\"").text());
    tick();
    assert_eq!(
        rcode(&daemon, "x.ads.example"),
        NXDOMAIN,
        "a broken list never opens the way"
    );
}

#[test]
fn queries_under_way_are_answered_as_they_were_asked_and_other_upstreams_are_asked_from_then_on() {
    let gate = Gate::new();
    let held = gate.clone();
    let old = Upstream::start(move |heard| match normal(heard) {
        Reply::Dns(octets) if heard.name.starts_with("slow") => Reply::Held(held.clone(), octets),
        reply => reply,
    });
    let new = Upstream::honest();
    let config = Config::new().dot(&old).without_sandbox();
    let daemon = config.start();
    let asking = std::thread::spawn({
        let dns = daemon.dns;
        move || Ask::new("slow.example", A).udp(dns).rcode()
    });
    until(&daemon, "the question is not asked", || old.count("slow.example") == 1);
    let text = config
        .text()
        .replace(&old.dot.port().to_string(), &new.dot.port().to_string());
    put(&daemon, &text);
    assert_eq!(rcode(&daemon, "www.example"), 0);
    assert_eq!((old.count("www.example"), new.count("www.example")), (0, 1));
    gate.open();
    assert_eq!(asking.join().unwrap(), 0);
    assert_ne!(rcode(&daemon, "slow.example"), SERVFAIL);
    assert_eq!(new.count("slow.example"), 0, "its answer was kept");
}

#[test]
fn who_may_ask_and_what_needs_a_restart() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    let text = config.text();
    let other = text.replace("listen = [\"127.0.0.1:", "listen = [\"127.0.0.2:");
    assert_ne!(other, text);
    put(&daemon, &other);
    until(&daemon, "nothing is said", || {
        daemon.stderr().contains("counts after a restart only")
    });
    assert_eq!(rcode(&daemon, "www.example"), 0, "where it was");
}

/// The cache stays, but what a new configuration sends elsewhere is not answered from it.
#[test]
fn t_poi_3_a_name_that_has_a_route_from_now_on_is_not_answered_from_the_public_cache() {
    let (upstream, company) = (Upstream::honest(), Upstream::honest());
    let config = Config::new().dot(&upstream).without_sandbox();
    let daemon = config.start();
    for name in ["www.corp.example", "www.example", "x.lan.example"] {
        assert_eq!(rcode(&daemon, name), 0);
    }
    let route = format!(
        "[[route]]\nzones = [\"corp.example\"]\nupstream = [\"tls://127.0.0.1:{}\"]\nroots = \"{CA}\"\n",
        company.dot.port()
    );
    put(&daemon, &config.clone().table(&route).text());
    for name in ["www.corp.example", "www.example"] {
        assert_eq!(rcode(&daemon, name), 0);
    }
    assert_eq!((company.count("www.corp.example"), company.heard().len()), (1, 1));
    put(&daemon, &config.text());
    assert_eq!(rcode(&daemon, "www.corp.example"), 0);
    assert_eq!(
        upstream.count("www.corp.example"),
        1,
        "what the public said is good again"
    );
    assert_eq!(upstream.heard().len(), 3);
}

/// Nobody who asks meanwhile notices, and nothing is left behind of what others took the place of.
#[test]
fn thirty_reloads_under_load_lose_no_query_and_leave_nothing() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    let is_done = AtomicBool::new(false);
    let (dns, is_done) = (daemon.dns, &is_done);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                scope.spawn(move || {
                    let mut asked = 0_u32;
                    while !is_done.load(Ordering::Relaxed) || asked < 200 {
                        // Hits and misses in turn.
                        let name = format!("n{}.a{asker}.example", asked / 2);
                        assert_eq!(Ask::new(&name, A).udp(dns).rcode(), 0, "{name}");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..30 {
            let before = reloads(&daemon);
            let records = format!("[policy]\nrecords = [\"nas.example A 192.0.2.{round}\"]");
            write(&daemon, &config.clone().table(&records).text());
            daemon.signal("HUP");
            until(&daemon, "not taken", || reloads(&daemon) > before);
        }
        is_done.store(true, Ordering::Relaxed);
        let asked: u32 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(asked >= 800, "{asked}");
    });
    let stats = daemon.stats();
    assert_eq!(
        (stats["panics"].as_u64(), stats["responses"]["SERVFAIL"].as_u64()),
        (Some(0), Some(0))
    );
    assert_eq!(
        Ask::new("nas.example", A).udp(daemon.dns).answers(),
        ["nas.example. A 192.0.2.29"]
    );
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).map(Iterator::count);
    assert!(tasks.is_ok_and(|threads| threads < 40), "threads are left behind");
}
