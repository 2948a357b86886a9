//! What being asked costs: handshakes in an hour of light browsing, and queries lost to a resolver without patience.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::client::{A, Ask};
use crate::daemon::{Config, Daemon};
use crate::peers::{doh, dot};
use crate::upstream::Upstream;

/// The daemon's hour, in which everything takes as long as it does for a person.
const HOUR: Duration = Duration::from_secs(3600);

/// How much faster the daemon's clocks run.
const SPEED: u32 = 60;

pub(crate) const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Pauses between two names, in the daemon's seconds: a page, some reading, a call, another page.
const PAUSES: [u64; 12] = [2, 1, 45, 8, 180, 3, 1, 90, 290, 20, 240, 5];

fn pause(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Gives back the stats at the end of the hour.
fn hour_of_light_browsing(config: Config) -> Value {
    assert!(Path::new(LIBFAKETIME).exists(), "needs faketime");
    let daemon = config
        .variable("LD_PRELOAD", LIBFAKETIME)
        .variable("FAKETIME", &format!("+0 x{SPEED}"))
        .start();
    let begin = Instant::now();
    let (mut asked, mut pauses) = (0, PAUSES.into_iter().cycle());
    while begin.elapsed() < HOUR / SPEED {
        let name = format!("page{asked}.example");
        // 75 ms in which this machine looks elsewhere are all the time that a query has at this speed: then a person asks again.
        let is_answered = || Ask::new(&name, A).udp(daemon.dns).rcode() == 0;
        assert!((0..3).any(|_| is_answered()), "{name}");
        asked += 1;
        pause(Duration::from_secs(pauses.next().unwrap()) / SPEED);
    }
    assert!(asked >= 36, "{asked} names in an hour");
    daemon.stats()
}

#[test]
#[ignore = "needs faketime; a minute"]
fn an_hour_of_light_browsing_costs_one_handshake() {
    let upstream = Upstream::honest();
    let configs = [Config::new().dot(&upstream), Config::new().doh(&upstream)];
    let hours = configs.map(|config| std::thread::spawn(|| hour_of_light_browsing(config)));
    for hour in hours {
        let stats = hour.join().unwrap();
        let figures = &stats["upstreams"][0];
        let figure = |name: &str| figures[name].as_u64().unwrap();
        assert!(stats["uptime_seconds"].as_u64().unwrap() > 3_500, "{stats}");
        // 4 ms in which this machine looks elsewhere are a quarter of a second to the daemon, which then doubts the connection.
        assert!(figure("reconnects") <= figure("doubted"), "{figures}");
        assert!(figure("doubted") < 10, "{figures}");
    }
}

/// What nginx waits on its impatient ports.
const PATIENCE_OF_NGINX: Duration = Duration::from_secs(4);

/// Many daemons at once, each asking again close to the moment at which its connection is closed: before, after, and at it.
fn nobody_pays_for_impatience(start: impl Fn() -> Daemon) {
    let daemons: Vec<_> = (0..24).map(|_| start()).collect();
    let closed: u64 = std::thread::scope(|scope| {
        let browse = |(n, daemon)| scope.spawn(move || browse_late(n, &daemon));
        let browsing: Vec<_> = (0..).zip(daemons).map(browse).collect();
        browsing.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(closed > 30, "only {closed} connections were closed under the daemons");
}

/// Says how often the connection had to be opened anew.
fn browse_late(n: u64, daemon: &Daemon) -> u64 {
    // From 24 ms before the end to 22 ms after it, and one in four half a second later.
    let late = Duration::from_millis(if n.is_multiple_of(4) { 500 } else { 2 * n });
    for round in 0..4 {
        let name = format!("impatient{n}-{round}.wild.signed.example");
        let begin = Instant::now();
        let response = Ask::new(&name, A).edns().udp(daemon.dns);
        let stats = daemon.stats();
        assert_eq!(response.rcode(), 0, "EDE {:?}, {}", response.ede(), stats["upstreams"]);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        pause(PATIENCE_OF_NGINX + late - Duration::from_millis(24));
    }
    daemon.stats()["upstreams"][0]["reconnects"].as_u64().unwrap()
}

#[test]
#[ignore = "needs the lab; a quarter of a minute"]
fn r7858_2_a_resolver_that_closes_after_4_s_costs_no_query() {
    nobody_pays_for_impatience(|| dot(15259));
}

#[test]
#[ignore = "needs the lab; a quarter of a minute"]
fn r9113_1_a_resolver_that_closes_after_4_s_costs_no_query() {
    nobody_pays_for_impatience(|| doh(15449, "/dns-query"));
}
