//! The network changes and the machine sleeps under a running daemon.

use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, tick};
use crate::daemon::{Daemon, over_dot};
use crate::script::normal;
use crate::upstream::Upstream;

fn signal(daemon: &Daemon, name: &str) {
    let status = Command::new("kill").args([name, &daemon.pid().to_string()]).status();
    assert!(status.unwrap().success(), "kill {name}");
}

#[test]
#[ignore = "long: a process stands still for 7 s"]
fn a_daemon_that_stood_still_notices_within_a_second() {
    let upstream = Upstream::start(normal);
    let daemon = over_dot(&upstream);
    let slept = || daemon.stderr().contains("slept");
    let changes = || daemon.stats()["network_changes"].as_u64().unwrap();
    assert!(!slept());
    let before = changes();
    signal(&daemon, "-STOP");
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(7) {
        tick();
    }
    signal(&daemon, "-CONT");
    let start = Instant::now();
    while !slept() {
        assert!(start.elapsed() < Duration::from_secs(2), "{}", daemon.stderr());
        tick();
    }
    assert!(changes() > before);
    let (_, metrics) = daemon.get("/metrics");
    assert!(metrics.contains("\ntacenda_network_changes_total "), "{metrics}");
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
}
