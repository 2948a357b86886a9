//! Which resolver sees which name.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask};
use crate::daemon::{Config, Daemon};
use crate::script::{Gate, Reply, normal};
use crate::upstream::Upstream;

fn three() -> [Upstream; 3] {
    [Upstream::honest(), Upstream::honest(), Upstream::honest()]
}

fn start(strategy: &str, upstreams: &[Upstream], state: &Path) -> Daemon {
    let mut config = Config::new().line(&format!("strategy = \"{strategy}\""));
    for (n, upstream) in upstreams.iter().enumerate() {
        config = config.dot(upstream).key(&format!("name = \"r{n}\""));
    }
    config.variable("STATE_DIRECTORY", state.to_str().unwrap()).start()
}

fn ask(daemon: &Daemon, name: &str) {
    assert_eq!(Ask::new(name, A).udp(daemon.dns).rcode(), 0, "{name}");
}

/// The domains that an upstream heard of.
fn domains(upstream: &Upstream) -> BTreeSet<String> {
    let domain = |name: String| name.split_once('.').map(|(_, domain)| domain.to_owned()).unwrap();
    upstream.heard().into_iter().map(|heard| domain(heard.name)).collect()
}

#[test]
fn spread_shows_no_resolver_the_whole_of_a_person_and_stays_so() {
    let state = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let upstreams = three();
        let daemon = start("spread", &upstreams, state.path());
        for n in 0..60 {
            for host in ["www", "mail", "static"] {
                ask(&daemon, &format!("{host}.site{n}.co.uk"));
            }
        }
        let each: Vec<_> = upstreams.iter().map(domains).collect();
        assert_eq!(
            each.iter().map(BTreeSet::len).sum::<usize>(),
            60,
            "a domain is whole at one: {each:?}"
        );
        assert!(each.iter().all(|domains| (8..35).contains(&domains.len())), "{each:?}");
        seen.push(each);
    }
    assert_eq!(seen[0], seen[1], "the same after a restart");
    let elsewhere = tempfile::tempdir().unwrap();
    let upstreams = three();
    let daemon = start("spread", &upstreams, elsewhere.path());
    (0..60).for_each(|n| ask(&daemon, &format!("www.site{n}.co.uk")));
    let each: Vec<_> = upstreams.iter().map(domains).collect();
    assert_ne!(each, seen[0], "another installation has another secret");
    let secret = std::fs::read_to_string(state.path().join("secret")).unwrap();
    assert_eq!(secret.trim_end().len(), 64);
}

#[test]
fn spread_goes_on_while_one_resolver_is_down_and_the_others_keep_their_domains() {
    let state = tempfile::tempdir().unwrap();
    let upstreams = three();
    let daemon = start("spread", &upstreams, state.path());
    (0..40).for_each(|n| ask(&daemon, &format!("www.site{n}.example")));
    let before: Vec<_> = upstreams.iter().map(domains).collect();
    let [gone, second, third] = upstreams;
    drop(gone);
    let begin = Instant::now();
    (0..40).for_each(|n| ask(&daemon, &format!("mail.site{n}.example")));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    for (upstream, before) in [(&second, &before[1]), (&third, &before[2])] {
        assert!(domains(upstream).is_superset(before));
    }
    assert_eq!(domains(&second).len() + domains(&third).len(), 40);
}

#[test]
fn fastest_asks_the_one_that_answers_soonest() {
    let late = Upstream::start(|heard| match normal(heard) {
        Reply::Dns(octets) => {
            let gate = Gate::new();
            let opening = gate.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(60)).await;
                opening.open();
            });
            Reply::Held(gate, octets)
        }
        other => other,
    });
    let upstreams = [late, Upstream::honest()];
    let state = tempfile::tempdir().unwrap();
    let daemon = start("fastest", &upstreams, state.path());
    (0..100).for_each(|n| ask(&daemon, &format!("n{n}.example")));
    let heard = upstreams.map(|upstream| upstream.heard().len());
    assert!(heard[0] <= 10 && heard[1] >= 90, "{heard:?}");
    assert!(!state.path().join("secret").exists(), "only spread needs one");
}
