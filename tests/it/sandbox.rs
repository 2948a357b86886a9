//! What the daemon has given up while it serves. That it still does all that it should is what every other test here shows: they run in it.

use std::fs;

use crate::client::{A, Ask, tick};
use crate::daemon::{Config, Daemon};
use crate::upstream::Upstream;

/// Of every thread, the line of its status that begins so.
fn lines(daemon: &Daemon, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
    let line = |status: String| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key).map(str::to_owned))
    };
    status.map(|status| line(status).unwrap().trim().to_owned()).collect()
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nCapEff:\t000001ff")
}

#[test]
fn every_thread_has_given_up_its_rights() {
    let upstream = Upstream::honest();
    let daemon = Config::new().dot(&upstream).start();
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    if daemon.stderr().contains("as far as this kernel can") {
        return;
    }
    assert!(
        daemon.stderr().contains("sandboxed: no files but its own"),
        "{}",
        daemon.stderr()
    );
    for (key, expected) in [
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
        ("CapPrm:", "0000000000000000"),
        ("CapEff:", "0000000000000000"),
        ("CapInh:", "0000000000000000"),
        ("CapAmb:", "0000000000000000"),
    ] {
        let lines = lines(&daemon, key);
        assert!(
            lines.len() >= 3 && lines.iter().all(|line| line == expected),
            "{key} {lines:?}"
        );
    }
}

#[test]
fn a_route_that_is_bound_to_a_link_keeps_the_one_right_that_it_needs() {
    let upstream = Upstream::honest();
    let route = "[[route]]\nzones = [\"corp.example\"]\nupstream = [\"udp://127.0.0.1:9\"]\ninterface = \"lo\"\n";
    let daemon = Config::new().dot(&upstream).table(route).start();
    let expected = if is_root() {
        "0000000000002000"
    } else {
        "0000000000000000"
    };
    assert!(lines(&daemon, "CapEff:").iter().all(|line| line == expected));
}

#[test]
fn without_the_sandbox_nothing_is_given_up() {
    let upstream = Upstream::honest();
    let daemon = Config::new().dot(&upstream).without_sandbox().start();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    for key in ["Seccomp:", "CapEff:", "NoNewPrivs:"] {
        let own = own.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
        assert!(lines(&daemon, key).iter().all(|line| line == own), "{key}");
    }
    assert!(!daemon.stderr().contains("sandboxed"));
}

/// What it says of a new configuration that it refuses.
fn refusal(daemon: &Daemon, text: &str, words: &str) {
    fs::write(daemon.config_path(), text).unwrap();
    for _ in 0..500 {
        let problem = daemon.stats()["config"]["problem"].to_string();
        if problem.contains(words) && problem.contains("counts after a restart") {
            return;
        }
        tick();
    }
    panic!("nothing is said of {words}\n{}", daemon.stderr());
}

#[test]
fn a_configuration_that_needs_more_than_the_sandbox_gives_is_refused_with_the_reason() {
    let (upstream, other) = (Upstream::honest(), Upstream::honest());
    let config = Config::new().dot(&upstream);
    let daemon = config.start();
    if daemon.stderr().contains("as far as this kernel can") {
        return;
    }
    let port = format!("connecting to port {}", other.dot.port());
    refusal(&daemon, &config.clone().dot(&other).text(), &port);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "ads.example\n").unwrap();
    let table = format!("[policy]\nblock = [\"{}\"]\n", list.display());
    refusal(
        &daemon,
        &config.clone().table(&table).text(),
        &format!("reading {}", folder.path().display()),
    );
    assert_eq!(
        Ask::new("www.example", A).udp(daemon.dns).rcode(),
        0,
        "the one before is in force"
    );
    let near = std::path::Path::new(&daemon.config_path()).with_file_name("near");
    fs::write(&near, "ads.example\n").unwrap();
    let table = format!("[policy]\nblock = [\"{}\"]\n", near.display());
    fs::write(daemon.config_path(), config.table(&table).text()).unwrap();
    while !daemon.stats()["config"]["problem"].is_null() {
        tick();
    }
}
