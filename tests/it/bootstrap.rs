//! A resolver that is known by its name only, and what is remembered of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::{A, AAAA, Ask, tick};
use crate::daemon::{CA, Config, Daemon};
use crate::script::{Heard, Reply, normal};
use crate::upstream::{SERVER_NAME, Upstream};

/// A resolver that knows where the other one is.
fn directory() -> Upstream {
    Upstream::start(says(&[127, 0, 0, 1]))
}

fn says(address: &'static [u8; 4]) -> impl Fn(&Heard) -> Reply {
    move |heard| match (heard.name.as_str(), heard.qtype) {
        (SERVER_NAME, A) => heard.answer(300, &[address]).into(),
        (SERVER_NAME, AAAA) => heard.negative(0, "tacenda.test", 300, 300).into(),
        _ => normal(heard),
    }
}

/// A daemon that asks `nameless` first, which it knows by name only.
fn start(nameless: &Upstream, directory: &Upstream, state: &Path) -> Daemon {
    let config = Config::new()
        .nameless(&format!("tls://{SERVER_NAME}:{}", nameless.dot.port()))
        .doh(directory);
    config.variable("STATE_DIRECTORY", state.to_str().unwrap()).start()
}

fn ask(daemon: &Daemon, name: &str) {
    let begin = Instant::now();
    let response = Ask::new(name, A).edns().udp(daemon.dns);
    assert_eq!(response.rcode(), 0, "EDE {:?}\n{}", response.ede(), daemon.stderr());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// What the state folder says about the resolver, as soon as it says so.
fn remembered(state: &TempDir, text: &str) -> String {
    let begin = Instant::now();
    loop {
        let file = fs::read_to_string(state.path().join("resolvers")).unwrap_or_default();
        if file.contains(text) {
            return file;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{text} is not remembered: {file:?}"
        );
        tick();
    }
}

#[test]
fn r8484_10_a_resolver_known_by_name_is_found_over_one_that_is_reached_by_address() {
    let (nameless, directory, state) = (Upstream::honest(), directory(), tempfile::tempdir().unwrap());
    let daemon = start(&nameless, &directory, state.path());
    (0..20).for_each(|n| ask(&daemon, &format!("n{n}.example")));
    assert_eq!(nameless.heard().len(), 20);
    let asked: Vec<_> = directory
        .heard()
        .into_iter()
        .map(|heard| (heard.name, heard.qtype))
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|(name, _)| name == SERVER_NAME), "{asked:?}");
    let file = remembered(&state, "127.0.0.1");
    assert!(
        file.starts_with(&format!("{SERVER_NAME} ")) && file.lines().count() == 1,
        "{file}"
    );
    assert!(!file.contains("n0.example"), "{file}");
}

#[test]
fn r8484_10_what_was_remembered_needs_nobody_at_the_next_start() {
    let (nameless, state) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let directory_before = directory();
    let before = start(&nameless, &directory_before, state.path());
    ask(&before, "first.example");
    remembered(&state, "127.0.0.1");
    drop((before, directory_before));
    let silent = Upstream::start(|_| Reply::Silence);
    let daemon = start(&nameless, &silent, state.path());
    ask(&daemon, "second.example");
    assert_eq!((nameless.count("second.example"), silent.heard().len()), (1, 0));
}

#[test]
fn r8484_10_a_resolver_that_moved_is_followed_and_one_that_nobody_knows_is_an_error_in_time() {
    let (nameless, directory, state) = (Upstream::honest(), directory(), tempfile::tempdir().unwrap());
    // Nobody listens there any more.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    fs::write(
        state.path().join("resolvers"),
        format!("{SERVER_NAME} {now} 127.0.0.9\n"),
    )
    .unwrap();
    let daemon = start(&nameless, &directory, state.path());
    ask(&daemon, "first.example");
    remembered(&state, "127.0.0.1");
    let begin = Instant::now();
    for n in 0.. {
        ask(&daemon, &format!("n{n}.example"));
        if nameless.count(&format!("n{n}.example")) > 0 {
            break;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{}",
            daemon.stats()["upstreams"]
        );
        tick();
    }
    let ignorant = Upstream::start(|heard| heard.negative(3, "", 300, 300).into());
    let other_state = tempfile::tempdir().unwrap();
    let daemon = start(&nameless, &ignorant, other_state.path());
    let begin = Instant::now();
    assert_eq!(
        Ask::new("x.example", A).udp(daemon.dns).rcode(),
        3,
        "the second is asked"
    );
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let error = daemon.stats()["upstreams"][0]["last_error"].to_string();
    assert!(error.contains(&format!("{SERVER_NAME} does not exist")), "{error}");
}

#[test]
fn a_state_folder_that_cannot_be_written_costs_no_answer() {
    let (nameless, directory) = (Upstream::honest(), directory());
    let daemon = start(&nameless, &directory, Path::new("/proc/self/no"));
    ask(&daemon, "www.example");
    assert_eq!(nameless.count("www.example"), 1);
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
}

#[test]
fn nothing_is_written_where_nothing_needs_to_be_remembered() {
    let (upstream, folder) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let config = Config::new().upstream(&format!("tls://{SERVER_NAME}:{}", upstream.dot.port()), CA);
    let daemon = config.variable("STATE_DIRECTORY", state.to_str().unwrap()).start();
    ask(&daemon, "www.example");
    assert!(!state.exists());
}
