//! Hosts files and records of the user's own.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, AAAA, Ask, CNAME, NXDOMAIN, TXT, tick};
use crate::daemon::{Config, Daemon, run};
use crate::upstream::Upstream;

const PTR: u16 = 12;
const MX: u16 = 15;
const SRV: u16 = 33;

const RECORDS: &str = r#"[policy]
hosts = ["HOSTS"]
records = [
    "nas.example A 192.168.1.5",
    "nas.example 60 AAAA fd00::5",
    "192.168.1.5 PTR nas.example",
    "_smb._tcp.nas.example SRV 0 5 445 nas.example",
    'nas.example TXT "two  words" more',
    "nas.example MX 10 mail.example",
    "files.example CNAME nas.example",
    "away.example CNAME www.real.example",
    "ZONE",
]
"#;

struct Home {
    daemon: Daemon,
    upstream: Upstream,
    v6: SocketAddr,
    folder: tempfile::TempDir,
}

fn home(over: fn(Config, &Upstream) -> Config) -> Home {
    let (upstream, folder) = (Upstream::honest(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
        at("hosts"),
        "127.0.0.1 localhost\n192.168.1.1 router.lan router\n0.0.0.0 ads.example\n",
    )
    .unwrap();
    fs::write(at("zone"), "; mine\nprinter.local A 192.168.1.9\n").unwrap();
    let table = RECORDS.replace("HOSTS", &at("hosts")).replace("ZONE", &at("zone"));
    let mut config = over(Config::new(), &upstream);
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, config.dns.port()));
    config = config.also_at(v6);
    let daemon = config.table(&table).start();
    Home {
        daemon,
        upstream,
        v6,
        folder,
    }
}

#[test]
fn records_and_hosts_are_answered_here_over_udp_tcp_and_ipv6_in_any_letter_case() {
    let home = home(Config::dot);
    for (name, qtype, expected) in [
        ("nas.example", A, "nas.example. A 192.168.1.5"),
        ("nas.example", AAAA, "nas.example. AAAA fd00::5"),
        (
            "5.1.168.192.in-addr.arpa",
            PTR,
            "5.1.168.192.in-addr.arpa. PTR nas.example.",
        ),
        (
            "_smb._tcp.nas.example",
            SRV,
            "_smb._tcp.nas.example. SRV 0 5 445 nas.example.",
        ),
        ("nas.example", MX, "nas.example. MX 10 mail.example."),
        ("router.lan", A, "router.lan. A 192.168.1.1"),
        ("router", A, "router. A 192.168.1.1"),
        (
            "1.1.168.192.in-addr.arpa",
            PTR,
            "1.1.168.192.in-addr.arpa. PTR router.lan.",
        ),
        ("ads.example", A, "ads.example. A 0.0.0.0"),
        ("printer.local", A, "printer.local. A 192.168.1.9"),
    ] {
        for spelled in [name.to_owned(), name.to_ascii_uppercase()] {
            let ask = Ask::new(&spelled, qtype).edns();
            for response in [ask.udp(home.daemon.dns), ask.tcp(home.daemon.dns), ask.udp(home.v6)] {
                let answers: Vec<_> = response
                    .answers()
                    .iter()
                    .map(|line| line.to_ascii_lowercase())
                    .collect();
                assert_eq!(answers, [expected.to_ascii_lowercase()], "{spelled}");
                assert_eq!(response.rcode(), 0);
            }
        }
    }
    let texts = Ask::new("nas.example", TXT).udp(home.daemon.dns).answers();
    assert!(
        texts.len() == 1 && texts[0].contains("two  words") && texts[0].contains("more"),
        "{texts:?}"
    );
    let nothing = Ask::new("router.lan", AAAA).udp(home.daemon.dns);
    assert_eq!(
        (
            nothing.rcode(),
            nothing.answers().len(),
            nothing.message.authorities.len()
        ),
        (0, 0, 1)
    );
    assert_eq!(Ask::new("other.lan", A).udp(home.daemon.dns).rcode(), NXDOMAIN);
    assert!(home.upstream.heard().is_empty());
}

#[test]
fn aliases_are_followed_here_and_out_there() {
    for over in [Config::dot, Config::doh] {
        let home = home(over);
        let ask = Ask::new("Files.Example", A).edns();
        for response in [ask.udp(home.daemon.dns), ask.tcp(home.daemon.dns)] {
            assert_eq!(
                response.answers(),
                ["Files.Example. CNAME nas.example.", "nas.example. A 192.168.1.5"]
            );
        }
        assert!(home.upstream.heard().is_empty());
        for _ in 0..2 {
            let answers = Ask::new("away.example", A).udp(home.daemon.dns).answers();
            assert_eq!(answers.len(), 2, "{answers:?}");
            assert_eq!(answers[0], "away.example. CNAME www.real.example.");
            assert!(answers[1].starts_with("www.real.example. A "), "{answers:?}");
        }
        assert_eq!(
            (home.upstream.count("www.real.example"), home.upstream.heard().len()),
            (1, 1)
        );
        assert_eq!(Ask::new("away.example", CNAME).udp(home.daemon.dns).answers().len(), 1);
    }
}

#[test]
fn a_changed_file_counts_within_seconds_and_a_broken_one_keeps_the_old_records() {
    let home = home(Config::dot);
    let zone = home.folder.path().join("zone");
    let address = |name: &str| Ask::new(name, A).udp(home.daemon.dns).answers();
    let until = |done: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(40), "{}", home.daemon.stderr());
            tick();
        }
    };
    fs::write(&zone, "printer.local A nowhere\n").unwrap();
    until(&|| home.daemon.stderr().contains("what was read before stays in force"));
    assert!(home.daemon.stderr().contains("zone:1:17: expected an IPv4 address"));
    assert_eq!(address("printer.local"), ["printer.local. A 192.168.1.9"]);
    fs::write(&zone, "printer.local A 192.168.1.10\nscanner.local A 192.168.1.11\n").unwrap();
    until(&|| address("printer.local") == ["printer.local. A 192.168.1.10"]);
    assert_eq!(address("scanner.local"), ["scanner.local. A 192.168.1.11"]);
    assert_eq!(address("nas.example"), ["nas.example. A 192.168.1.5"]);
    let log = home.daemon.stderr();
    assert!(!log.contains("printer") && !log.contains("nas.example"), "{log}");
}

#[test]
fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
    let upstream = Upstream::honest();
    let records: String = (0..250).map(|n| format!("\"many.example A 192.0.2.{n}\", ")).collect();
    let daemon = Config::new()
        .dot(&upstream)
        .table(&format!("[policy]\nrecords = [{records}]"))
        .start();
    let ask = Ask::new("many.example", A).edns();
    let cut = ask.udp(daemon.dns);
    assert!(
        cut.message.truncation && cut.answers().len() > 50,
        "{}",
        cut.answers().len()
    );
    assert_eq!(ask.tcp(daemon.dns).answers().len(), 250);
}

#[test]
fn mistakes_are_shown_by_check_and_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    fs::write(folder.path().join("zone"), "a.example A 192.0.2.1\nb.example CNAME\n").unwrap();
    fs::write(&path, "version = 1\n[policy]\nrecords = [\"zone\"]\n").unwrap();
    for command in ["check", "run"] {
        let (code, _, stderr) = run(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.contains("zone:2:16: expected a domain name"), "{stderr}");
    }
}
