//! What the user wants blocked.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, AAAA, Ask, CNAME, NXDOMAIN, TXT, tick, wire_name};
use crate::daemon::{Config, Daemon, run};
use crate::script::{Heard, Reply, normal};
use crate::upstream::Upstream;

/// `cdn.site.example` hides a tracker behind the site's own name.
fn disguised(heard: &Heard) -> Reply {
    if heard.name == "cdn.site.example" {
        let alias = heard
            .response()
            .answer(&heard.name, CNAME, 300, &wire_name("Track.Ads.Example"));
        return alias.answer("Track.Ads.Example", A, 300, &[192, 0, 2, 9]).into();
    }
    normal(heard)
}

fn start(upstream: &Upstream, table: &str) -> Daemon {
    let daemon = Config::new().dot(upstream).table(&format!("[policy]\n{table}")).start();
    until(&daemon, "lists are in force");
    daemon
}

fn until(daemon: &Daemon, words: &str) {
    let begin = Instant::now();
    while !daemon.stderr().contains(words) {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{words}\n{}",
            daemon.stderr()
        );
        tick();
    }
}

#[test]
fn names_on_a_list_are_answered_here_over_udp_and_tcp() {
    let (upstream, folder) = (Upstream::start(disguised), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let ads = file(
        "ads",
        "# comment\nads.example\n*.star.example\n||adblock.example^\n0.0.0.0 host.example\n/banner[0-9]+/\n",
    );
    let good = file("good", "good.ads.example\n");
    let daemon = start(&upstream, &format!("block = [\"{ads}\"]\nallow = [\"{good}\"]\n"));
    for name in [
        "ads.example",
        "x.Ads.Example",
        "a.star.example",
        "x.adblock.example",
        "host.example",
        "cdn.site.example",
    ] {
        let ask = Ask::new(name, A).edns();
        for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns)] {
            assert_eq!((response.rcode(), response.ede()), (0, Some(15)), "{name}");
            let answers = response.answers();
            assert!(
                answers.iter().all(|answer| answer.ends_with(" A 0.0.0.0")),
                "{answers:?}"
            );
            assert_eq!(answers.len(), usize::from(name != "cdn.site.example"), "{name}");
        }
    }
    // Five names of its own, twice each; the alias' target was withheld and not asked for.
    let metrics = daemon.metrics();
    for (list, blocked) in [(&ads, 10), (&good, 0)] {
        let line = format!("\ntacenda_blocked_total{{list=\"{list}\"}} {blocked}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    let v6 = Ask::new("ads.example", AAAA).udp(daemon.dns).answers();
    assert!(v6.len() == 1 && v6[0].ends_with(" AAAA ::"), "{v6:?}");
    assert!(Ask::new("ads.example", TXT).udp(daemon.dns).answers().is_empty());
    for name in [
        "good.ads.example",
        "x.good.ads.example",
        "xstar.example",
        "x.host.example",
        "www.example",
    ] {
        assert_eq!(Ask::new(name, A).udp(daemon.dns).answers().len(), 1, "{name}");
        assert_eq!(upstream.count(name), 1, "{name}");
    }
    assert_eq!(
        upstream.heard().len(),
        6,
        "five that are not blocked, and one whose alias is"
    );
    until(&daemon, "lines that are no rules here");
    assert!(!daemon.stderr().contains("ads.example"), "{}", daemon.stderr());
}

#[test]
fn nxdomain_may_be_said_and_a_changed_list_is_taken_within_seconds() {
    let (upstream, folder) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let path = folder.path().join("list.txt");
    fs::write(&path, "one.example\n").unwrap();
    let table = format!(
        "block = [\"{}\"]\nblock-answer = \"nxdomain\"\n",
        folder.path().display()
    );
    let daemon = start(&upstream, &table);
    let rcode = |name: &str| Ask::new(name, A).udp(daemon.dns).rcode();
    assert_eq!((rcode("one.example"), rcode("two.example")), (NXDOMAIN, 0));
    fs::write(&path, "<html>\nthe list has moved\n</html>\n").unwrap();
    until(&daemon, "what was read before stays in force");
    assert_eq!(rcode("one.example"), NXDOMAIN);
    fs::write(&path, "two.example\n").unwrap();
    let begin = Instant::now();
    while rcode("two.example") != NXDOMAIN {
        assert!(begin.elapsed() < Duration::from_secs(40));
        tick();
    }
    assert_eq!(rcode("one.example"), 0);
}

/// A daemon that answered before its list was there looks at its cache with the list's eyes.
#[test]
fn an_alias_that_is_in_the_cache_already_is_blocked_when_its_list_comes() {
    let (upstream, folder) = (Upstream::start(disguised), tempfile::tempdir().unwrap());
    let path = folder.path().join("list");
    fs::write(&path, "other.example\n").unwrap();
    let daemon = start(&upstream, &format!("block = [\"{}\"]\n", path.display()));
    let ask = || Ask::new("cdn.site.example", A).edns().udp(daemon.dns);
    assert_eq!(ask().answers().len(), 2);
    fs::write(&path, "ads.example\n").unwrap();
    let begin = Instant::now();
    while ask().ede() != Some(15) {
        assert!(begin.elapsed() < Duration::from_secs(40));
        tick();
    }
    assert!(ask().answers().is_empty());
    assert_eq!(upstream.count("cdn.site.example"), 2, "asked anew once");
}

#[test]
fn query_says_which_line_of_which_file_decided() {
    let (upstream, folder) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("ads"), "# list\n||ads.example^\n").unwrap();
    fs::write(at("good"), "good.ads.example\n").unwrap();
    fs::write(at("hosts"), "192.0.2.7 nas.example\n").unwrap();
    let table = format!(
        "block = [\"{}\"]\nallow = [\"{}\"]\nhosts = [\"{}\"]\n",
        at("ads"),
        at("good"),
        at("hosts")
    );
    let daemon = start(&upstream, &table);
    let query = |name: &str, more: &[&str]| {
        let config = daemon.config_path();
        let (code, stdout, stderr) = run(&[&["query", name, "--config", &config], more].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    for (name, line) in [
        (
            "t.ads.example",
            format!(";; blocked by {}:2: ||ads.example^", at("ads")),
        ),
        (
            "good.ads.example",
            format!(";; allowed by {}:1: good.ads.example", at("good")),
        ),
        ("nas.example", format!(";; your own record: {}:1", at("hosts"))),
        ("printer.local", ";; a name that stays home (local-names)".to_owned()),
    ] {
        assert!(
            query(name, &[]).lines().any(|told| told == line),
            "{}",
            query(name, &[])
        );
    }
    assert!(!query("www.example", &[]).contains(" by "));
    let json: serde_json::Value = serde_json::from_str(&query("t.ads.example", &["--json"])).unwrap();
    assert_eq!(json["rules"][0]["kind"], "block");
    assert_eq!(json["rules"][0]["place"], format!("{}:2", at("ads")));
}
