//! Sockets that the service manager has bound, and a daemon that is started anew behind them.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, PATIENCE};
use crate::daemon::{Config, Daemon, free_port};
use crate::upstream::Upstream;

/// Both sockets of an address, held open as a socket unit holds them.
struct Unit {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Unit {
    fn at(address: SocketAddr) -> Self {
        Self {
            udp: UdpSocket::bind(address).unwrap(),
            tcp: TcpListener::bind(address).unwrap(),
        }
    }

    fn sockets(&self) -> Vec<OwnedFd> {
        vec![
            self.udp.try_clone().unwrap().into(),
            self.tcp.try_clone().unwrap().into(),
        ]
    }

    fn start(&self, config: &Config) -> Daemon {
        let mut daemon = Daemon::spawn_with(self.sockets(), "dns:dns", config);
        daemon.wait_ready();
        daemon
    }
}

fn stop(daemon: Daemon) {
    daemon.signal("TERM");
    let (status, log) = daemon.wait_exit();
    assert!(status.success(), "{log}");
}

#[test]
fn given_sockets_are_served_by_a_thread_each_and_are_closed_at_an_exec() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let unit = Unit::at(config.dns);
    // As systemd makes them.
    unit.udp.set_nonblocking(true).unwrap();
    let daemon = unit.start(&config);
    let ask = Ask::new("www.example", A);
    assert_eq!((ask.udp(daemon.dns).rcode(), ask.tcp(daemon.dns).rcode()), (0, 0));
    let said = format!("taken over from the service manager address={}", daemon.dns);
    assert_eq!(daemon.stderr().matches(&said).count(), 2, "{}", daemon.stderr());
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    assert_eq!(names.filter(|name| name.starts_with("udp-")).count(), 1);
    // Another user may not look.
    for descriptor in [3, 4] {
        let Ok(info) = fs::read_to_string(format!("/proc/{}/fdinfo/{descriptor}", daemon.pid())) else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & 0o2_000_000, 0o2_000_000, "close-on-exec: {info}");
    }
    stop(daemon);
}

/// The promise of a socket unit: what comes while nobody runs waits.
#[test]
fn a_restart_under_a_thousand_queries_a_second_loses_none() {
    const COUNT: u16 = 4000;
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let unit = Unit::at(config.dns);
    let mut daemon = unit.start(&config);
    let client = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    client.connect(config.dns).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let receiver = std::thread::spawn({
        let (client, is_done) = (Arc::clone(&client), Arc::clone(&is_done));
        move || {
            let mut missing = vec![true; usize::from(COUNT)];
            let mut buffer = [0; 1500];
            while missing.contains(&true) && client.recv(&mut buffer).is_ok() {
                missing[usize::from(u16::from_be_bytes([buffer[0], buffer[1]]))] = false;
            }
            is_done.store(true, Ordering::Relaxed);
            missing.iter().filter(|missing| **missing).count()
        }
    });
    let sender = std::thread::spawn(move || {
        let begin = Instant::now();
        for id in 0..COUNT {
            while begin.elapsed() < Duration::from_millis(id.into()) {
                std::thread::park_timeout(Duration::from_micros(200));
            }
            client.send(&Ask::new("www.example", A).id(id).octets()).unwrap();
        }
    });
    let mut restarts = 0;
    while !is_done.load(Ordering::Relaxed) && restarts < 3 {
        stop(daemon);
        // Nobody runs: TCP waits as well.
        let waiting = TcpStream::connect(config.dns).unwrap();
        let octets = Ask::new("tcp.example", A).octets();
        let mut framed = u16::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(octets);
        (&waiting).write_all(&framed).unwrap();
        daemon = unit.start(&config);
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Read::read_exact(&mut &waiting, &mut [0; 12]).unwrap();
        restarts += 1;
        std::thread::park_timeout(Duration::from_millis(300));
    }
    sender.join().unwrap();
    assert_eq!(
        receiver.join().unwrap(),
        0,
        "lost over {restarts} restarts\n{}",
        daemon.stderr()
    );
    assert_eq!(restarts, 3, "the queries were over before the restarts were");
    // Nothing that a former life did to the socket has this one run in circles.
    let before = daemon.cpu_time();
    std::thread::park_timeout(Duration::from_millis(500));
    let idle = daemon.cpu_time() - before;
    assert!(idle < Duration::from_millis(200), "{idle:?} of half an idle second");
}

/// Without IP_PKTINFO the reply would leave from 127.0.0.1, and a client that asked at 127.0.0.2 would not take it.
#[test]
fn a_given_wildcard_answers_from_the_address_that_was_asked() {
    let upstream = Upstream::honest();
    let mut config = Config::new().dot(&upstream).line("allow = [\"127.0.0.0/8\"]");
    let port = config.dns.port();
    config.dns = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let unit = Unit::at(config.dns);
    let daemon = unit.start(&config);
    let asked = SocketAddr::from(([127, 0, 0, 2], port));
    assert_eq!(Ask::new("www.example", A).udp(asked).rcode(), 0);
    stop(daemon);
}

#[test]
fn what_is_not_given_is_bound_and_said() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let udp = UdpSocket::bind(config.dns).unwrap();
    let mut daemon = Daemon::spawn_with(vec![udp.into()], "dns", &config);
    daemon.wait_ready();
    assert_eq!(Ask::new("www.example", A).tcp(daemon.dns).rcode(), 0);
    let said = format!(
        "bound here: the service manager passes no socket for it address={} transport=\"tcp\"",
        daemon.dns
    );
    assert!(daemon.stderr().contains(&said), "{}", daemon.stderr());
}

/// The daemon's last words when it is given these.
fn refused(sockets: Vec<OwnedFd>, names: &str, config: &Config) -> String {
    let (status, log) = Daemon::spawn_with(sockets, names, config).wait_exit();
    assert_eq!(status.code(), Some(78), "{log}");
    log
}

#[test]
fn a_socket_that_contradicts_the_configuration_is_an_error_that_names_both() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let other = free_port();
    let log = refused(vec![UdpSocket::bind(other).unwrap().into()], "old", &config);
    let words = format!(
        "`listen` does not have: \"old\" (descriptor 3, {other}/udp); `listen` has {}",
        config.dns
    );
    assert!(log.contains(&words) && log.contains("ListenDatagram="), "{log}");
}

#[test]
fn what_cannot_be_listened_on_is_an_error_that_says_why() {
    let config = Config::new().dot(&Upstream::honest());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    connected.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
    let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = std::os::unix::net::UnixListener::bind(folder.path().join("x")).unwrap();
    let cases: [(OwnedFd, &str); 5] = [
        (
            connection.into(),
            "is a connection and no listener: the socket unit needs Accept=no",
        ),
        (connected.into(), "is connected to one client"),
        (both.into(), "BindIPv6Only=ipv6-only"),
        (local.into(), "is neither UDP nor TCP"),
        (File::open("/dev/null").unwrap().into(), "is no socket"),
    ];
    for (socket, words) in cases {
        let log = refused(vec![socket], "dns", &config);
        assert!(
            log.contains("\"dns\" (descriptor 3)") && log.contains(words),
            "{words}: {log}"
        );
    }
    let log = refused(vec![listener.into()], "a:b", &config);
    assert!(log.contains("LISTEN_FDNAMES has 2 names for the 1 sockets"), "{log}");
}

#[test]
fn what_is_announced_to_another_process_is_left_alone() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let config = config.variable("LISTEN_PID", "1").variable("LISTEN_FDS", "7");
    assert_eq!(Ask::new("www.example", A).udp(config.start().dns).rcode(), 0);
}

/// `ReusePort=yes`, and the address twice.
#[test]
fn two_given_sockets_of_one_address_are_both_served() {
    let upstream = Upstream::honest();
    let config = Config::new().dot(&upstream);
    let group = [0, 1].map(|_| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&config.dns.into()).unwrap();
        socket
    });
    let mut daemon = Daemon::spawn_with(group.into_iter().map(OwnedFd::from).collect(), "dns:dns", &config);
    daemon.wait_ready();
    // From so many ports that the kernel chooses either.
    for _ in 0..32 {
        assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
    }
    stop(daemon);
}
