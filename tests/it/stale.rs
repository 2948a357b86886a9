//! Answers past their end when upstreams fail (RFC 8767), and answers renewed before it.
//!
//! Nobody waits for a TTL: the scripted resolver says by `Age` how long its answer has lived (RFC 8484 section 5.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::client::{A, Ask, NXDOMAIN, Response, SERVFAIL, opt, tick};
use crate::daemon::{Config, Daemon};
use crate::script::{Answer, Heard, Reply};
use crate::upstream::Upstream;

/// The client response timer.
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// What the resolver does with the next queries.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Answers for 300 seconds, of which 300 are over.
    Old,
    Fresh,
    Silent,
    Closing,
    Servfail,
    Bogus,
}

const MODES: [Mode; 6] = [
    Mode::Old,
    Mode::Fresh,
    Mode::Silent,
    Mode::Closing,
    Mode::Servfail,
    Mode::Bogus,
];

/// A daemon over a resolver whose mode can be changed.
struct House {
    upstream: Upstream,
    daemon: Daemon,
    mode: Arc<AtomicU8>,
}

impl House {
    fn new(cache: &str) -> Self {
        let mode = Arc::new(AtomicU8::new(Mode::Old as u8));
        let scripted = Arc::clone(&mode);
        let upstream = Upstream::start(move |heard| match MODES[usize::from(scripted.load(Ordering::SeqCst))] {
            Mode::Old => aged(&content(heard), "300"),
            Mode::Fresh => content(heard).into(),
            Mode::Silent => Reply::Silence,
            Mode::Closing => Reply::Close,
            Mode::Servfail => heard.response().rcode(2).into(),
            Mode::Bogus => {
                let bogus = opt(1232, 0, &[(15, &[0, 6])]);
                heard.response().rcode(2).additional(bogus).into()
            }
        });
        let daemon = Config::new().doh(&upstream).table(cache).start();
        Self { upstream, daemon, mode }
    }

    /// A house that has old answers for `www.example` and `nx.example`, and whose resolver now does something else.
    fn with_old_answers(cache: &str, mode: Mode) -> Self {
        let house = Self::new(cache);
        for name in ["www.example", "nx.example"] {
            house.ask(name);
        }
        house.change(mode);
        house
    }

    fn change(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    fn ask(&self, name: &str) -> Response {
        Ask::new(name, A).edns().udp(self.daemon.dns)
    }

    /// Asks; must get the old answer. Gives back how long it took.
    fn ask_stale(&self, name: &str) -> Duration {
        let begin = Instant::now();
        assert_stale(&self.ask(name));
        begin.elapsed()
    }

    fn figure(&self, name: &str) -> u64 {
        self.daemon.stats()["cache"][name].as_u64().unwrap()
    }
}

/// One address; `nx` does not exist.
fn content(heard: &Heard) -> Answer {
    if heard.name.starts_with("nx") {
        heard.negative(3, "example", 300, 300)
    } else {
        heard.answer(300, &[&[192, 0, 2, 1]])
    }
}

fn aged(answer: &Answer, age: &'static str) -> Reply {
    Reply::Http {
        status: 200,
        headers: vec![("content-type", "application/dns-message"), ("age", age)],
        body: answer.octets(),
    }
}

fn assert_stale(response: &Response) {
    let records = response.message.answers.iter().chain(&response.message.authorities);
    let ttls: Vec<u32> = records.map(|record| record.ttl).collect();
    let expected = if response.rcode() == NXDOMAIN { 19 } else { 3 };
    assert_eq!((response.ede(), ttls), (Some(expected), vec![30]));
}

/// Asks until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        tick();
    }
}

#[test]
fn r8767_1_a_silent_upstream_costs_1_8_s_once() {
    let house = House::with_old_answers("", Mode::Silent);
    let waited = house.ask_stale("www.example");
    assert!(waited >= STALE_AFTER && waited < Duration::from_secs(4), "{waited:?}");
    let again = house.ask_stale("www.example");
    assert!(again < Duration::from_secs(1), "{again:?}");
    // Once to fill the cache, once more, and that again on one or two other connections because the first was silent: three tries at
    // most (R9520-2).
    let heard = house.upstream.count("www.example");
    assert!((3..=4).contains(&heard), "{heard}");
    assert_eq!(house.figure("stale_hits"), 2);
}

#[test]
fn r8767_1_a_dead_upstream_costs_nothing_and_one_that_is_back_is_believed() {
    for fault in [Mode::Closing, Mode::Servfail] {
        let house = House::with_old_answers("", fault);
        for name in ["www.example", "nx.example", "www.example"] {
            let waited = house.ask_stale(name);
            assert!(waited < Duration::from_millis(1500), "{fault:?} {name} {waited:?}");
        }
        assert_stale(&Ask::new("www.example", A).edns().tcp(house.daemon.dns));
        let without_edns = Ask::new("www.example", A).udp(house.daemon.dns);
        assert_eq!((without_edns.ttls(), without_edns.message.edns), (vec![30], None));
        if matches!(fault, Mode::Closing) {
            house.change(Mode::Fresh);
            eventually("fresh again", || {
                house.ask("other.example");
                house.ask("www.example").ede().is_none()
            });
        }
    }
}

#[test]
fn r8767_1_off_is_off() {
    for off in ["\"0s\"", "false"] {
        let house = House::with_old_answers(&format!("[cache]\nserve-stale = {off}"), Mode::Closing);
        let response = house.ask("www.example");
        assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(23)));
        assert_eq!(house.figure("stale_hits"), 0);
    }
}

#[test]
fn r8767_1_bogus_is_never_papered_over() {
    let house = House::with_old_answers("", Mode::Bogus);
    let response = house.ask("www.example");
    assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(6)));
    house.change(Mode::Closing);
    assert_eq!(house.ask("www.example").rcode(), SERVFAIL);
    house.ask_stale("nx.example");
}

/// A daemon whose one answer has a tenth of its lifetime left, and what came after it is new.
fn near_the_end(cache: &str) -> (Upstream, Daemon) {
    let upstream = Upstream::start(|heard| match heard.nth {
        0 => aged(&content(heard), "275"),
        _ => content(heard).into(),
    });
    let daemon = Config::new().doh(&upstream).table(cache).start();
    let ttl = Ask::new("www.example", A).udp(daemon.dns).ttls()[0];
    assert!((20..=25).contains(&ttl), "{ttl}");
    (upstream, daemon)
}

#[test]
fn many_hits_near_the_end_are_one_question() {
    for transport in [Ask::udp, Ask::tcp] {
        let (upstream, daemon) = near_the_end("");
        let ttl = || transport(&Ask::new("www.example", A), daemon.dns).ttls()[0];
        for _ in 0..20 {
            ttl();
        }
        eventually("renewed", || ttl() > 25);
        assert_eq!(upstream.count("www.example"), 2);
        let stats = daemon.stats();
        let figure = |name: &str| stats["cache"][name].as_u64();
        assert_eq!(
            (figure("prefetches"), figure("misses")),
            (Some(1), Some(1)),
            "no client asked it"
        );
    }
}

#[test]
fn one_hit_near_the_end_or_none_allowed_is_no_question() {
    for (cache, hits) in [("", 1), ("[cache]\nprefetch = false", 20)] {
        let (upstream, daemon) = near_the_end(cache);
        for _ in 0..hits {
            assert!(Ask::new("www.example", A).udp(daemon.dns).ttls()[0] <= 25);
        }
        // What would have been asked was asked before this.
        Ask::new("other.example", A).udp(daemon.dns);
        assert_eq!(upstream.count("www.example"), 1);
        assert_eq!(daemon.stats()["cache"]["prefetches"], Value::from(0));
    }
}
