//! A server of our own on loopback that misbehaves by script.

#[cfg(target_os = "linux")]
mod network;
mod stream;

use std::collections::HashSet;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::transport::ExchangeErrorKind::{self, Full, Network, Silent};
use crate::transport::testing::{answer, in_ms, query, soon};
use crate::wire::frame::write_frame;

/// Both sockets of a server, and who asks it.
struct Rig {
    udp: UdpSocket,
    tcp: TcpListener,
    server: SocketAddr,
    plain: Arc<Plain>,
    stats: Arc<Stats>,
}

type Asked = JoinHandle<Result<Response, ExchangeError>>;

async fn rig(protocol: Protocol) -> Rig {
    rig_by(protocol, None).await
}

async fn rig_by(protocol: Protocol, interface: Option<&str>) -> Rig {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        // Somebody else may have the same port on TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let server = udp.local_addr().unwrap();
    let (plain, stats) = plain_to(protocol, server, interface);
    Rig {
        udp,
        tcp,
        server,
        plain,
        stats,
    }
}

fn plain_to(protocol: Protocol, server: SocketAddr, interface: Option<&str>) -> (Arc<Plain>, Arc<Stats>) {
    let exit = Exit {
        interface: interface.map(|name| name.parse().unwrap()),
        via: None,
    };
    plain_by(protocol, server, exit)
}

fn plain_by(protocol: Protocol, server: SocketAddr, exit: Exit) -> (Arc<Plain>, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    let target = PlainTarget {
        protocol,
        server,
        exit,
        leave: Leave::Route(RouteOnly::for_zones(["corp.example"]).unwrap()),
        meter: Arc::default(),
    };
    (Arc::new(Plain::new(target, Arc::clone(&stats))), stats)
}

const NAME: &str = "www.corp.example";

fn ask(plain: &Arc<Plain>, query: Vec<u8>, deadline: Instant) -> Asked {
    let plain = Arc::clone(plain);
    tokio::spawn(async move { plain.exchange(&query, deadline).await })
}

/// The same question for AAAA.
fn aaaa(mut query: Vec<u8>) -> Vec<u8> {
    let at = query.len() - 3;
    query[at] = 28;
    query
}

fn kind(result: Result<Response, ExchangeError>) -> Option<ExchangeErrorKind> {
    result.err().map(|error| error.kind)
}

impl Rig {
    fn ask(&self, deadline: Instant) -> Asked {
        ask(&self.plain, query(NAME), deadline)
    }

    /// The next datagram, soon.
    async fn datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 512];
        let received = timeout(Duration::from_secs(4), self.udp.recv_from(&mut buffer)).await;
        let (len, client) = received.unwrap().unwrap();
        (buffer[..len].to_vec(), client)
    }

    async fn no_datagram(&self, ms: u64) {
        let received = timeout(Duration::from_millis(ms), self.udp.recv_from(&mut [0; 512])).await;
        assert!(received.is_err(), "{received:?}");
    }

    async fn send(&self, message: &[u8], client: SocketAddr) {
        // The client may be gone; the test finds out by what it got.
        let _ = self.udp.send_to(message, client).await;
    }

    async fn accept(&self) -> Client {
        Client(self.tcp.accept().await.unwrap().0)
    }

    fn clear_packets(&self) -> u64 {
        self.stats.clear_packets.value()
    }
}

/// The server's end of a connection.
struct Client(TcpStream);

impl Client {
    async fn query(&mut self) -> Option<Vec<u8>> {
        use tokio::io::AsyncReadExt;
        let len = self.0.read_u16().await.ok()?;
        let mut query = vec![0; len.into()];
        self.0.read_exact(&mut query).await.ok()?;
        Some(query)
    }

    async fn send(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        write_frame(message, &mut frame).unwrap();
        self.octets(&frame).await;
    }

    async fn octets(&mut self, octets: &[u8]) {
        use tokio::io::AsyncWriteExt;
        let _ = self.0.write_all(octets).await;
    }
}

/// The answer as the asker gets it: ID 0.
fn expected() -> Result<Vec<u8>, ExchangeError> {
    Ok(answer(&query(NAME)))
}

async fn octets(asked: Asked) -> Result<Vec<u8>, ExchangeError> {
    asked.await.unwrap().map(|response| response.octets)
}

/// Three responses that are none: another ID, another question, a query.
fn strangers(query: &[u8]) -> [Vec<u8>; 3] {
    let mut other_id = answer(query);
    other_id[1] ^= 1;
    [other_id, answer(&aaaa(query.to_vec())), query.to_vec()]
}

#[tokio::test]
async fn a_question_goes_out_and_its_answer_comes_back() {
    let rig = rig(Protocol::Udp).await;
    let asked = rig.ask(soon());
    let (sent, client) = rig.datagram().await;
    assert_eq!(sent[2..], query(NAME)[2..]);
    rig.send(&answer(&sent), client).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!((rig.clear_packets(), rig.stats.queries.value()), (1, 1));
    assert_eq!(rig.stats.violations.value(), 0);
}

#[tokio::test]
async fn p1_a_name_outside_the_route_never_leaves() {
    let rig = rig(Protocol::Udp).await;
    for name in ["www.example.com", "corp.example.com", "xcorp.example", "example"] {
        let result = rig.plain.exchange(&query(name), soon()).await;
        assert_eq!(kind(result), Some(Network), "{name}");
    }
    for broken in [&[][..], &[0; 12], &query(NAME)[..20]] {
        assert_eq!(kind(rig.plain.exchange(broken, soon()).await), Some(Network));
    }
    rig.no_datagram(50).await;
    assert_eq!(rig.clear_packets(), 0);
}

#[tokio::test]
async fn t_poi_1_what_does_not_match_is_dropped_and_the_wait_goes_on() {
    let rig = rig(Protocol::Udp).await;
    let asked = rig.ask(soon());
    let (sent, client) = rig.datagram().await;
    for stranger in &strangers(&sent)[..2] {
        rig.send(stranger, client).await;
    }
    rig.send(&answer(&sent), client).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!((rig.stats.violations.value(), rig.clear_packets()), (2, 1));
}

#[tokio::test]
async fn t_poi_4_a_flood_of_guesses_moves_the_question_to_tcp() {
    let rig = rig(Protocol::Udp).await;
    let asked = rig.ask(soon());
    let (sent, client) = rig.datagram().await;
    for _ in 0..100 {
        for stranger in strangers(&sent) {
            rig.send(&stranger, client).await;
        }
        rig.send(&[0xff; 40], client).await;
    }
    // Too late: the question has moved.
    rig.send(&answer(&sent), client).await;
    let mut tcp = rig.accept().await;
    let over_tcp = tcp.query().await.unwrap();
    assert_ne!(over_tcp[..2], sent[..2]);
    tcp.send(&answer(&over_tcp)).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!((rig.stats.violations.value(), rig.clear_packets()), (3, 2));
}

#[tokio::test]
async fn wrong_responses_are_counted_over_all_sendings() {
    let rig = rig(Protocol::Udp).await;
    let asked = rig.ask(soon());
    for count in [2, 1] {
        let (sent, client) = rig.datagram().await;
        for stranger in &strangers(&sent)[..count] {
            rig.send(stranger, client).await;
        }
    }
    let mut tcp = rig.accept().await;
    let over_tcp = tcp.query().await.unwrap();
    tcp.send(&answer(&over_tcp)).await;
    assert_eq!(octets(asked).await, expected());
}

#[tokio::test]
async fn a_truncated_or_too_long_answer_is_fetched_over_tcp() {
    for is_cut in [true, false] {
        let rig = rig(Protocol::Udp).await;
        let asked = rig.ask(soon());
        let (sent, client) = rig.datagram().await;
        let mut short = answer(&sent);
        if is_cut {
            short[2] |= 2;
        } else {
            short.resize(1233, 0);
        }
        rig.send(&short, client).await;
        let mut tcp = rig.accept().await;
        let over_tcp = tcp.query().await.unwrap();
        tcp.send(&answer(&over_tcp)).await;
        assert_eq!(octets(asked).await, expected(), "{is_cut}");
        assert_eq!((rig.stats.violations.value(), rig.clear_packets()), (0, 2));
    }
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_as_another() {
    let rig = rig(Protocol::Udp).await;
    let begin = Instant::now();
    let asked = rig.ask(soon());
    let (first, first_client) = rig.datagram().await;
    let (second, client) = rig.datagram().await;
    let after = begin.elapsed();
    assert!(
        after >= Duration::from_millis(990) && after < Duration::from_millis(1900),
        "{after:?}"
    );
    assert_ne!((&first[..2], first_client.port()), (&second[..2], client.port()));
    // The first one's socket is closed: its answer would be a second chance for a forger.
    rig.send(&answer(&first), first_client).await;
    rig.send(&answer(&first), client).await;
    rig.send(&answer(&second), client).await;
    assert_eq!(octets(asked).await, expected());
    let resent = rig.stats.resent.value();
    assert_eq!((resent, rig.clear_packets(), rig.stats.violations.value()), (1, 2, 1));
}

#[tokio::test]
async fn t_slow_a_silent_server_costs_three_datagrams_and_no_more_than_the_deadline() {
    let rig = rig(Protocol::Udp).await;
    let begin = Instant::now();
    let result = rig.ask(in_ms(3_300)).await.unwrap();
    let after = begin.elapsed();
    assert_eq!(kind(result), Some(Silent));
    assert!(
        after >= Duration::from_millis(3_290) && after < Duration::from_millis(3_900),
        "{after:?}"
    );
    for _ in 0..3 {
        rig.datagram().await;
    }
    rig.no_datagram(20).await;
    assert_eq!(rig.clear_packets(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_known_at_once() {
    let gone = rig(Protocol::Udp).await.server;
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let (plain, stats) = plain_to(protocol, gone, None);
        let begin = Instant::now();
        let error = ask(&plain, query(NAME), soon()).await.unwrap().unwrap_err();
        assert_eq!(error.kind, Network, "{error}");
        assert!(error.detail.ends_with(": connection refused"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(1));
        let counted = (stats.clear_packets.value(), stats.dial_failures.value());
        assert_eq!(counted, if protocol == Protocol::Udp { (1, 0) } else { (0, 1) });
    }
}

#[tokio::test]
async fn t_poi_1_another_address_is_not_heard() {
    let rig = rig(Protocol::Udp).await;
    let asked = rig.ask(soon());
    let (sent, client) = rig.datagram().await;
    let other = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut forged = answer(&sent);
    forged[3] |= 3;
    for _ in 0..10 {
        // The system may say that nobody listens there for us.
        let _ = other.send_to(&forged, client).await;
    }
    rig.send(&answer(&sent), client).await;
    assert_eq!(octets(asked).await, expected());
    assert_eq!(rig.stats.violations.value(), 0);
}

#[tokio::test]
async fn r5625_3_ids_and_ports_are_fresh_for_each_question() {
    let rig = rig(Protocol::Udp).await;
    let (mut ids, mut ports, mut steps) = (HashSet::new(), Vec::new(), HashSet::new());
    for _ in 0..200 {
        let asked = rig.ask(soon());
        let (sent, client) = rig.datagram().await;
        rig.send(&answer(&sent), client).await;
        assert_eq!(octets(asked).await, expected());
        ids.insert([sent[0], sent[1]]);
        ports.push(client.port());
    }
    steps.extend(ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    let distinct: HashSet<_> = ports.iter().collect();
    // 200 of 65,536: 0.3 collisions are expected. Of 28,000 ports: 0.7; and no two steps are much alike.
    assert!(ids.len() > 190, "{} ids", ids.len());
    assert!(distinct.len() > 180, "{} ports", distinct.len());
    assert!(steps.len() > 180, "{} steps", steps.len());
    let (low, high) = (ports.iter().min().unwrap(), ports.iter().max().unwrap());
    assert!(high - low > 10_000, "{low} to {high}");
}

#[tokio::test]
async fn t_poi_4_one_question_for_a_name_is_in_flight() {
    let rig = rig(Protocol::Udp).await;
    let first = rig.ask(soon());
    let (sent, client) = rig.datagram().await;
    // Case is no difference; another name does not wait.
    let second = ask(&rig.plain, aaaa(query("WWW.corp.example")), soon());
    let other = ask(&rig.plain, query("mail.corp.example"), soon());
    let (other_sent, other_client) = rig.datagram().await;
    assert_eq!(other_sent[12..], query("mail.corp.example")[12..]);
    rig.no_datagram(100).await;
    rig.send(&answer(&sent), client).await;
    assert_eq!(octets(first).await, expected());
    let (sent, client) = rig.datagram().await;
    assert_eq!(sent[12..], aaaa(query("WWW.corp.example"))[12..]);
    rig.send(&answer(&sent), client).await;
    rig.send(&answer(&other_sent), other_client).await;
    assert!(second.await.unwrap().is_ok() && other.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_asker_that_goes_away_makes_room_for_the_next() {
    let rig = rig(Protocol::Udp).await;
    let first = rig.ask(soon());
    let _ = rig.datagram().await;
    let second = rig.ask(soon());
    first.abort();
    let (sent, client) = rig.datagram().await;
    rig.send(&answer(&sent), client).await;
    assert_eq!(octets(second).await, expected());
}

#[tokio::test]
async fn sockets_at_one_server_have_a_limit() {
    let rig = rig(Protocol::Udp).await;
    let asked: Vec<_> = (0..MAX_SOCKETS)
        .map(|number| ask(&rig.plain, query(&format!("host{number}.corp.example")), soon()))
        .collect();
    let mut sent = Vec::new();
    for _ in 0..MAX_SOCKETS {
        sent.push(rig.datagram().await);
    }
    let result = rig.plain.exchange(&query("more.corp.example"), in_ms(50)).await;
    assert_eq!(kind(result), Some(Full));
    let waiting = ask(&rig.plain, query("more.corp.example"), soon());
    let (first, client) = sent.pop().unwrap();
    rig.send(&answer(&first), client).await;
    let more = loop {
        let (datagram, client) = rig.datagram().await;
        // On a slow machine some of the first ones are sent again.
        if datagram[12..] == query("more.corp.example")[12..] {
            break (datagram, client);
        }
    };
    rig.send(&answer(&more.0), more.1).await;
    assert!(waiting.await.unwrap().is_ok());
    asked.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_change_of_network_that_changes_nothing_here_sends_nothing() {
    for interface in [None, Some("lo")] {
        let rig = rig_by(Protocol::Udp, interface).await;
        let asked = rig.ask(soon());
        let (sent, client) = rig.datagram().await;
        rig.plain.warm_up();
        rig.plain.network_changed();
        rig.no_datagram(100).await;
        rig.send(&answer(&sent), client).await;
        assert_eq!(octets(asked).await, expected());
        assert_eq!(rig.clear_packets(), 1);
        assert!(!rig.plain.is_in_doubt());
    }
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_known_at_once() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let rig = rig_by(protocol, Some("tacenda-none")).await;
        assert!(rig.plain.is_in_doubt());
        let error = rig.plain.exchange(&query(NAME), soon()).await.unwrap_err();
        assert_eq!(error.kind, Network);
        if cfg!(target_os = "linux") {
            assert_eq!(error.detail, "the interface tacenda-none is not there");
        }
        rig.no_datagram(20).await;
        assert_eq!((rig.clear_packets(), rig.stats.dial_failures.value()), (0, 0));
    }
}

#[tokio::test]
async fn a_router_that_the_way_does_not_lead_through_is_known_at_once() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let rig = rig(protocol).await;
        let via = Some("192.0.2.1".parse().unwrap());
        let exit = Exit { interface: None, via };
        let (plain, stats) = plain_by(protocol, rig.server, exit);
        assert!(plain.is_in_doubt());
        let error = plain.exchange(&query(NAME), soon()).await.unwrap_err();
        assert_eq!(error.kind, Network);
        if cfg!(target_os = "linux") {
            assert_eq!(error.detail, "the way to 127.0.0.1 does not lead through 192.0.2.1");
        }
        rig.no_datagram(20).await;
        assert_eq!((stats.clear_packets.value(), stats.dial_failures.value()), (0, 0));
    }
}
