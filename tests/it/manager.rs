//! What the service manager is told, and when it is not.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{A, Ask, PATIENCE};
use crate::daemon::{Config, Daemon, free_port};
use crate::upstream::{SERVER_NAME, Upstream};

/// Somebody who is told.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { socket, folder }
    }

    fn of(&self, config: Config) -> Config {
        config.variable("NOTIFY_SOCKET", self.folder.path().join("notify").to_str().unwrap())
    }

    /// What comes within this time.
    fn within(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    fn next(&self, daemon: &Daemon) -> String {
        let told = self.within(PATIENCE);
        told.unwrap_or_else(|| panic!("nothing is told\n{}", daemon.stderr()))
    }
}

#[test]
fn ready_is_told_when_it_serves_and_with_whom_it_asks() {
    let (manager, upstream) = (Manager::new(), Upstream::honest());
    let config = manager.of(Config::new().dot(&upstream));
    let daemon = Daemon::spawn(&config);
    let told = manager.next(&daemon);
    // The first datagram, with no second one.
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    let expected = format!(
        "READY=1\nSTATUS=listening at {}; asking {SERVER_NAME} (in-order)",
        daemon.dns
    );
    assert_eq!(told, expected);
    daemon.signal("TERM");
    assert!(manager.next(&daemon).starts_with("STOPPING=1\n"));
    let (status, log) = daemon.wait_exit();
    assert!(status.success(), "{log}");
    assert_eq!(
        manager.within(Duration::from_millis(1)),
        None,
        "no watchdog was asked for"
    );
}

#[test]
fn what_does_not_start_is_never_ready() {
    let manager = Manager::new();
    let config = Config::new().upstream(&format!("tls://{SERVER_NAME}:{}", free_port().port()), "/there/is/none");
    let (status, _) = Daemon::spawn(&manager.of(config.clone())).wait_exit();
    assert!(!status.success());
    let config = Config::new();
    let _owner = std::net::UdpSocket::bind(config.dns).unwrap();
    let (status, _) = Daemon::spawn(&manager.of(config)).wait_exit();
    assert!(!status.success());
    assert_eq!(manager.within(Duration::from_millis(1)), None);
}

#[test]
fn a_reload_begins_and_ends_also_when_it_is_refused() {
    let (manager, upstream) = (Manager::new(), Upstream::honest());
    let config = manager.of(Config::new().dot(&upstream));
    let daemon = Daemon::spawn(&config);
    let first = manager.next(&daemon);
    let mut last = 0;
    let mut reload = |expected: &dyn Fn(&str) -> bool| {
        let begins = manager.next(&daemon);
        let time = begins
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap_or_else(|| panic!("{begins}"));
        assert!(time.parse::<u64>().unwrap() > last, "{begins}");
        last = time.parse().unwrap();
        let ends = manager.next(&daemon);
        assert!(expected(&ends), "{ends}");
    };
    daemon.signal("HUP");
    reload(&|told| told == first);
    fs::write(daemon.config_path(), "version = 1\nsecret.example = 1\n").unwrap();
    reload(&|told| told.starts_with("READY=1\nSTATUS=the new configuration is refused") && !told.contains("secret"));
    fs::write(daemon.config_path(), config.line("strategy = \"fastest\"").text()).unwrap();
    reload(&|told| told == first.replace("in-order", "fastest"));
}

/// Long enough for a busy machine to give every thread a turn within half of it.
const WATCHDOG: Duration = Duration::from_secs(2);

fn watched(manager: &Manager, upstream: &Upstream) -> Daemon {
    let usec = WATCHDOG.as_micros().to_string();
    let config = manager.of(Config::new().dot(upstream)).variable("WATCHDOG_USEC", &usec);
    let daemon = Daemon::spawn(&config);
    assert!(manager.next(&daemon).starts_with("READY=1"));
    daemon
}

/// Signs of life come in time, although nobody asks anything.
fn lives(manager: &Manager, daemon: &Daemon) {
    for _ in 0..3 {
        assert_eq!(
            manager.within(WATCHDOG).as_deref(),
            Some("WATCHDOG=1"),
            "{}",
            daemon.stderr()
        );
    }
}

/// What was sent before is out of the way, and then nothing comes in time.
fn is_silent(manager: &Manager) {
    while manager.within(Duration::from_millis(1)).is_some() {}
    assert_eq!(manager.within(WATCHDOG + WATCHDOG / 4), None);
}

#[test]
fn the_watchdog_is_fed_while_it_lives_and_not_while_it_hangs() {
    let (manager, upstream) = (Manager::new(), Upstream::honest());
    let daemon = watched(&manager, &upstream);
    lives(&manager, &daemon);
    daemon.signal("STOP");
    is_silent(&manager);
    daemon.signal("CONT");
    lives(&manager, &daemon);
}

/// The others answer, and the runtime works: one thread is enough.
#[test]
#[ignore = "needs root and python3"]
fn the_watchdog_is_not_fed_while_a_single_receiving_thread_hangs() {
    let (manager, upstream) = (Manager::new(), Upstream::honest());
    let daemon = watched(&manager, &upstream);
    let mut holder = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/hang.py"))
        .args([&daemon.pid().to_string(), "udp-0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut said).unwrap();
    assert_eq!(said, "held\n");
    // It was well at the look before.
    let _ = manager.within(WATCHDOG);
    is_silent(&manager);
    assert!(
        daemon.stderr().contains("a receiving thread hangs"),
        "{}",
        daemon.stderr()
    );
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    while manager.within(WATCHDOG).is_none() {}
    lives(&manager, &daemon);
}

#[test]
fn what_a_manager_gets_wrong_is_said_and_it_serves_all_the_same() {
    let upstream = Upstream::honest();
    for (name, value) in [
        ("NOTIFY_SOCKET", "/there/is/none"),
        ("NOTIFY_SOCKET", "vsock:2:1234"),
        ("WATCHDOG_USEC", "soon"),
    ] {
        let daemon = Config::new().dot(&upstream).variable(name, value).start();
        let words = format!("{name}={value}: ");
        assert!(daemon.stderr().contains(&words), "{}", daemon.stderr());
    }
}
