//! `tacenda status` says what the daemon says, and what the host does.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{A, Ask};
use crate::daemon::{Daemon, over_dot, run};
use crate::upstream::Upstream;

fn status(daemon: &Daemon, more: &[&str]) -> (i32, String) {
    let path = daemon.config_path();
    let (code, stdout, stderr) = run(&[&["status", "--config", &path], more].concat());
    assert_eq!(stderr, "");
    (code, stdout)
}

#[test]
fn it_says_first_whether_the_promise_holds_and_no_name() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    for _ in 0..3 {
        Ask::new("secret-name.example", A).udp(daemon.dns);
    }
    let (code, text) = status(&daemon, &[]);
    let (json_code, json) = status(&daemon, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let protection = &json["protection"];
    // Whether this machine's programs ask tacenda is the machine's affair.
    let expected = i32::from(protection["state"] == "bad");
    assert_eq!((code, json_code), (expected, expected), "{text}");
    assert!(text.starts_with(protection["text"].as_str().unwrap()), "{text}");
    let names: Vec<_> = protection["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["name"])
        .collect();
    assert_eq!(names, ["system-dns", "guard", "upstream", "clear-text"]);
    assert_eq!(protection["parts"][2]["state"], "good", "{protection}");
    assert!(json["stats"]["queries"]["total"].as_u64() >= Some(3), "{json}");
    assert!(!text.contains("secret-name") && !json.to_string().contains("secret-name"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn without_a_daemon_it_ends_with_69() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacenda.toml");
    std::fs::copy(daemon.config_path(), &path).unwrap();
    drop(daemon);
    let (code, stdout, _) = run(&["status", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 69, "{stdout}");
    assert!(
        stdout.starts_with("NOT protected\n") && stdout.contains("no tacenda answers at http://127.0.0.1:"),
        "{stdout}"
    );
    std::fs::write(&path, "version = 1\n[stats]\nlisten = \"off\"\n").unwrap();
    let (code, _, stderr) = run(&["status", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("tacenda system status"), "{stderr}");
}

#[test]
fn watch_goes_on_until_nobody_reads() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_tacenda"))
        .args(["status", "--watch", "--json", "--config", &daemon.config_path()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = watch.stdout.take().unwrap();
    let mut text = Vec::new();
    while text.iter().filter(|octet| **octet == b'\n').count() < 2 {
        let mut some = [0; 4096];
        let len = stdout.read(&mut some).unwrap();
        assert_ne!(len, 0, "it ended by itself");
        text.extend_from_slice(&some[..len]);
    }
    let text = String::from_utf8(text).unwrap();
    for line in text.lines().take(2) {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["format"], 1);
    }
    drop(stdout);
    // At its next line.
    assert!(watch.wait().unwrap().success());
}
