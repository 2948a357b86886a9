//! `tacenda explain` tells what becomes of a name in the running daemon.

use serde_json::Value;

use crate::daemon::{Config, Daemon, run};
use crate::upstream::Upstream;

fn explain(daemon: &Daemon, name: &str, more: &[&str]) -> (i32, String) {
    let path = daemon.config_path();
    let (code, stdout, stderr) = run(&[&["explain", name, "--config", &path], more].concat());
    assert_eq!(stderr, "");
    (code, stdout)
}

#[test]
fn a_name_is_followed_from_its_rule_to_its_answer() {
    let upstream = Upstream::honest();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("ads.txt");
    std::fs::write(&list, "||ads.example^\n").unwrap();
    let daemon = Config::new()
        .dot(&upstream)
        .table(&format!("[policy]\nblock = [\"{}\"]", list.display()))
        .start();
    let (code, text) = explain(&daemon, "www.example", &[]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "www.example. A\n",
        "rule      none",
        "cache     not held\n",
        "road      to an upstream over TLS",
        "asked     dns.tacenda.test over TLS",
        "answer    NOERROR, 1 record, ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, text) = explain(&daemon, "www.example", &[]);
    assert!(
        text.contains("cache     held, for ") && text.contains("nobody is asked"),
        "{text}"
    );
    let (_, json) = explain(&daemon, "t.ads.example", &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rules"][0]["kind"], "block", "{json}");
    assert_eq!((&json["road"]["kind"], &json["cache"]), (&"here".into(), &Value::Null));
    let path = daemon.config_path();
    let config = std::fs::read_to_string(&path).unwrap();
    let gone = folder.path().join("tacenda.toml");
    std::fs::write(&gone, config).unwrap();
    drop(daemon);
    let (code, _, stderr) = run(&["explain", "www.example", "--config", gone.to_str().unwrap()]);
    assert_eq!(code, 69, "{stderr}");
}
