//! `tacenda doctor` finds what is wrong, and nothing where nothing is.

use std::net::UdpSocket;

use serde_json::Value;

use crate::daemon::{Config, over_dot, run};
use crate::upstream::Upstream;

fn doctor(config: &str) -> (i32, Value) {
    let (code, stdout, stderr) = run(&["doctor", "--json", "--config", config]);
    assert_eq!(stderr, "");
    (code, serde_json::from_str(&stdout).unwrap())
}

/// The part of this name.
fn part<'a>(findings: &'a Value, name: &str) -> &'a Value {
    let parts = findings["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {findings}"))
}

#[test]
fn it_looks_at_everything_and_says_what_an_upstream_does_not_do() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let (_, findings) = doctor(&daemon.config_path());
    let names: Vec<_> = findings["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["name"])
        .collect();
    let expected = [
        "configuration",
        "clock",
        "listens",
        "system-dns",
        "settings",
        "guard",
        "network",
        "sign-in",
        "upstream",
    ];
    assert_eq!(names, expected);
    for (name, words) in [
        ("configuration", "tacenda.toml"),
        ("clock", "not before the day"),
        ("listens", "tacenda answers over UDP and TCP"),
    ] {
        let part = part(&findings, name);
        assert_eq!(part["state"], "good", "{part}");
        assert!(part["text"].as_str().unwrap().contains(words), "{part}");
    }
    // It answers everything, a bogus name too, and signs nothing.
    let upstream = part(&findings, "upstream");
    let text = upstream["text"].as_str().unwrap();
    assert_eq!(upstream["state"], "gap", "{upstream}");
    assert!(
        text.contains("certificate and handshake are good") && text.contains("does not check DNSSEC"),
        "{text}"
    );
}

#[test]
fn a_port_that_is_taken_and_an_upstream_that_is_not_there_are_bad() {
    let upstream = Upstream::honest();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacenda.toml");
    let config = Config::new().dot(&upstream).text();
    let (before, after) = config.split_once("listen = [\"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    std::fs::write(&path, format!("{before}listen = [\"{address}\"{after}")).unwrap();
    drop(upstream);
    let (code, findings) = doctor(path.to_str().unwrap());
    assert_eq!((code, &findings["state"]), (1, &"bad".into()), "{findings}");
    let listens = part(&findings, "listens");
    assert!(
        listens["text"]
            .as_str()
            .unwrap()
            .contains(&format!("{address} is taken by")),
        "{listens}"
    );
    assert_eq!(part(&findings, "upstream")["state"], "bad", "{findings}");
    assert_eq!(part(&findings, "sign-in")["state"], "unknown");
    std::fs::write(&path, "version = 1\ncahce = 3\n").unwrap();
    let (code, findings) = doctor(path.to_str().unwrap());
    assert_eq!(
        (code, &part(&findings, "configuration")["help"]),
        (78, &"tacenda check".into())
    );
}
