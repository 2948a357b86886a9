//! The binary's exits: what it says and with which code.

use std::net::TcpListener;

use crate::daemon::{CA, Config, Daemon, free_port, run};
use crate::upstream::{SERVER_NAME, Upstream};

const USAGE: i32 = 2;
const CONFIG: i32 = 78;

fn config_over_nobody() -> Config {
    Config::new().upstream(&format!("tls://{SERVER_NAME}:{}", free_port().port()), CA)
}

#[test]
fn a_taken_port_names_its_owner() {
    let config = config_over_nobody();
    let _owner = TcpListener::bind(config.dns).unwrap();
    let _udp = std::net::UdpSocket::bind(config.dns).unwrap();
    let (status, log) = Daemon::spawn(&config).wait_exit();
    assert!(matches!(status.code(), Some(1 | 74)), "{status}: {log}");
    assert!(log.contains(&config.dns.port().to_string()), "{log}");
    let own_pid = std::process::id().to_string();
    assert!(log.contains(&own_pid), "the owner, process {own_pid}, is named: {log}");
}

#[test]
fn a_bad_config_exits_with_78_and_shows_the_place() {
    let cases = [
        ("cahce = 1", "cahce"),
        ("listen = [", ""),
        ("version = 2", "version"),
        ("allow = [\"nonsense\"]", "nonsense"),
    ];
    for (line, shown) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        let version = if line.starts_with("version") {
            ""
        } else {
            "version = 1\n"
        };
        std::fs::write(&path, format!("{version}{line}\n")).unwrap();
        for command in ["run", "check"] {
            let (code, _, stderr) = run(&[command, "--config", path.to_str().unwrap()]);
            assert_eq!(code, CONFIG, "{command} with {line}: {stderr}");
            assert!(stderr.contains("t.toml:") && stderr.contains(shown), "{stderr}");
        }
    }
}

#[test]
fn a_good_config_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    std::fs::write(&path, config_over_nobody().text()).unwrap();
    let (code, _, stderr) = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn t_amp_a_public_address_needs_an_allow_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    let text = config_over_nobody().text().replacen("127.0.0.1", "0.0.0.0", 1);
    std::fs::write(&path, text).unwrap();
    let (code, _, stderr) = run(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code, CONFIG, "{stderr}");
    assert!(stderr.contains("allow"), "{stderr}");
}

#[test]
fn an_unknown_command_exits_with_2() {
    assert_eq!(run(&["nonsense"]).0, USAGE);
    assert_eq!(run(&["run", "--nonsense"]).0, USAGE);
}

#[test]
fn the_demo_passes_and_is_quick() {
    let begin = tokio::time::Instant::now();
    let (code, stdout, stderr) = run(&["demo"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("proved:") && !stdout.contains('\x1b'), "{stdout}");
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn query_prints_the_answer() {
    let upstream = Upstream::honest();
    let url = format!("https://{SERVER_NAME}:{}/dns-query", upstream.doh.port());
    let (code, stdout, stderr) = run(&[
        "query",
        "www.example",
        "A",
        "--via",
        &url,
        "--address",
        "127.0.0.1",
        "--roots",
        CA,
    ]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("192.0.2.1"), "{stdout}");
}
