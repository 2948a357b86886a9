//! A client network that asks too much over UDP is sent to TCP, and nobody else notices.
//!
//! This host is never limited, so the clients of the long test live in a network namespace of their own, and the daemon in another:
//! the test binary starts itself again in each of them. No packet leaves the two.
//!
//! ```text
//! first: upstream, daemon on 127.0.0.1 and 10.97.0.1  --- veth ---  second: clients on 10.97.1.2, 10.97.2.2, ...
//! ```

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};

use tokio::time::Instant;

use crate::client::{A, Ask, PATIENCE, Response, Tcp, receive_udp, tick, udp_socket};
use crate::daemon::{Config, Daemon};
use crate::upstream::Upstream;

/// Queries a second in these tests; twice as many at once.
const RATE: usize = 100;

/// The daemon's address on the link.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);

/// The host in each client network.
const CLIENTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 97, 1, 2),
    Ipv4Addr::new(10, 97, 2, 2),
    Ipv4Addr::new(10, 97, 3, 2),
    Ipv4Addr::new(10, 97, 4, 2),
];

/// Says to the test binary what it is: nothing, `server`, or the port of the daemon that it is a client of.
const ROLE: &str = "TACENDA_RATE_ROLE";

/// Before the number of queries that the client was sent to TCP with.
const TAG: &str = "LIMITED ";

fn ask() -> Ask {
    Ask::new("www.example", A).edns()
}

/// Asks so often, never more at once than a socket's queue holds.
fn flood(socket: &UdpSocket, queries: usize) -> Vec<Response> {
    let mut responses = Vec::new();
    while responses.len() < queries {
        for _ in 0..25 {
            socket.send(&ask().octets()).unwrap();
        }
        responses.extend((0..25).map(|_| receive_udp(socket)));
    }
    responses
}

#[test]
fn t_amp_this_host_is_never_limited() {
    let upstream = Upstream::honest();
    let daemon = Config::new().dot(&upstream).line("rate-limit = 1").start();
    let responses = flood(&udp_socket(daemon.dns), 200);
    assert!(
        responses
            .iter()
            .all(|response| !response.is_truncated() && response.answers().len() == 1)
    );
    assert_eq!(daemon.stats()["queries"]["limited"], 0);
    let (_, metrics) = daemon.get("/metrics");
    assert!(metrics.contains("\ntacenda_queries_limited_total 0\n"), "{metrics}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn t_amp_t_spoof_a_network_that_floods_is_sent_to_tcp_and_others_are_served() {
    match std::env::var(ROLE) {
        Err(_) => drop(again(&["unshare", "-n"], "server")),
        Ok(role) if role == "server" => serve(),
        Ok(port) => be_clients(SocketAddr::new(SERVER.into(), port.parse().unwrap())),
    }
}

/// Runs this test once more, behind these words and in this role; it must pass.
fn again(wrap: &[&str], role: &str) -> String {
    let output = Command::new(wrap[0])
        .args(&wrap[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("rate::t_amp_t_spoof_a_network_that_floods_is_sent_to_tcp_and_others_are_served")
        .env(ROLE, role)
        .output()
        .unwrap();
    let text = said(&output);
    assert!(text.contains("1 passed"), "{text}");
    text
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn ip(line: &str) -> String {
    said(&Command::new("ip").args(line.split(' ')).output().unwrap())
}

/// Waits until the kernel has taken note of the carrier: before that it drops what is sent.
fn carries(interface: &str) {
    let begin = Instant::now();
    while !ip(&format!("-br link show {interface}")).contains(" UP ") {
        assert!(begin.elapsed() < PATIENCE, "{interface} is not up");
        tick();
    }
}

/// The clients' namespace; taken away when dropped.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let namespace = Self(format!("tacenda-rate-{}", std::process::id()));
        let name = &namespace.0;
        ip(&format!("netns add {name}"));
        ip("link set lo up");
        ip(&format!("link add server0 type veth peer name client0 netns {name}"));
        ip(&format!("addr add {SERVER}/16 dev server0"));
        ip("link set server0 up");
        ip(&format!("-n {name} link set client0 up"));
        for client in CLIENTS {
            ip(&format!("-n {name} addr add {client}/16 dev client0"));
        }
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn serve() {
    let namespace = Namespace::new();
    carries("server0");
    let upstream = Upstream::honest();
    let config = Config::new()
        .dot(&upstream)
        .line("allow = [\"10.97.0.0/16\"]")
        .line(&format!("rate-limit = {RATE}"));
    let port = config.dns.port();
    let daemon = config.also_at(SocketAddr::new(SERVER.into(), port)).start();
    let clients = again(&["ip", "netns", "exec", &namespace.0], &port.to_string());
    let limited = clients.split(TAG).nth(1).and_then(|rest| rest.lines().next()).unwrap();
    check_figures(&daemon, limited.parse().unwrap());
    let responses = flood(&udp_socket(daemon.dns), 10 * RATE);
    assert!(
        !responses.iter().any(Response::is_truncated),
        "this host is never limited"
    );
    check_figures(&daemon, limited.parse().unwrap());
}

/// So many were limited, and everything adds up; waits until all is counted, which is a moment after it was sent.
fn check_figures(daemon: &Daemon, limited: u64) {
    let begin = Instant::now();
    while daemon.stats()["queries"]["limited"] != limited {
        let stats = daemon.stats();
        assert!(begin.elapsed() < PATIENCE, "{limited} were limited: {stats}");
        tick();
    }
    let queries = &daemon.stats()["queries"];
    assert_eq!(queries["udp"]["rejected"], limited, "nothing else was rejected");
    assert_eq!(queries["tcp"]["rejected"], 0);
    let (_, metrics) = daemon.get("/metrics");
    assert!(
        metrics.contains(&format!("\ntacenda_queries_limited_total {limited}\n")),
        "{metrics}"
    );
}

/// A client over UDP at this address.
fn client(address: Ipv4Addr, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn be_clients(server: SocketAddr) {
    carries("client0");
    // The answer is cached from here on, so that responses keep the order of the queries.
    assert!(is_answer(&over_tcp(server)));
    let begin = Instant::now();
    let responses = flood(&client(CLIENTS[0], server), 5000);
    let seconds = begin.elapsed().as_secs_f64();
    let limited: Vec<_> = responses
        .iter()
        .filter(|response| {
            assert_eq!(is_answer(response), !is_sent_to_tcp(response));
            is_sent_to_tcp(response)
        })
        .collect();
    assert!(responses[..2 * RATE].iter().all(is_answer), "the burst");
    let most = 2.0 * RATE as f64 + seconds * RATE as f64 + 1.0;
    let answered = responses.len() - limited.len();
    assert!(answered as f64 <= most, "{answered} answers in {seconds} s");
    assert!(is_answer(&over_tcp(server)), "over TCP it gets its answer");
    // Two networks share a bucket by chance, once in 8,192 starts: hence more than one other.
    let served = CLIENTS[1..].iter().filter(|address| {
        let socket = client(**address, server);
        socket.send(&ask().octets()).unwrap();
        is_answer(&receive_udp(&socket))
    });
    let served = served.count();
    assert!(served >= 2, "{served} of 3 other networks are served");
    let _ = writeln!(std::io::stdout().lock(), "{TAG}{}", limited.len() + 3 - served);
}

/// From the network that floods: its address is the first one, which the kernel takes.
fn over_tcp(server: SocketAddr) -> Response {
    let mut connection = Tcp::connect(server);
    assert_eq!(connection.stream.local_addr().unwrap().ip(), IpAddr::from(CLIENTS[0]));
    connection.send(&ask().octets());
    connection.receive().expect("an answer over TCP")
}

fn is_answer(response: &Response) -> bool {
    !response.is_truncated() && response.rcode() == 0 && response.answers() == ["www.example. A 192.0.2.1"]
}

/// Empty, and no longer than the query.
fn is_sent_to_tcp(response: &Response) -> bool {
    response.is_truncated()
        && response.rcode() == 0
        && response.octets.len() == ask().octets().len()
        && response.answers().is_empty()
}
