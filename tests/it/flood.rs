//! Random and mutated packets at both ports: no crash, no growth, still answering.

use std::io::Write;
use std::net::{Shutdown, TcpStream, UdpSocket};

use crate::client::{A, Ask, CHAOS, Response, TXT, Tcp, framed, receive_udp, udp_socket};
use crate::daemon::{Config, Daemon, over_dot};
use crate::upstream::Upstream;

/// A generator of its own, so that a failure can be repeated (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Nothing but noise, or one of the seeds with some octets changed, removed, repeated or cut off.
    fn packet(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(4) == 0 {
            let len = self.below(600);
            return (0..len).map(|_| self.octet()).collect();
        }
        let mut packet = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(packet.len().max(1));
            match self.below(5) {
                _ if packet.is_empty() => packet.push(self.octet()),
                0 => packet[at] = self.octet(),
                1 => packet[at] ^= 1 << self.below(8),
                2 => drop(packet.remove(at)),
                3 => packet.insert(at, self.octet()),
                _ => packet.truncate(at),
            }
        }
        packet
    }
}

/// Well-formed queries of every sort. All names are few, so that most mutants are answered without the resolver.
fn seeds() -> Vec<Vec<u8>> {
    let cookie: (u16, &[u8]) = (10, b"COOKIEJR");
    vec![
        Ask::new("www.example", A).octets(),
        Ask::new("www.example", A).edns().octets(),
        Ask::new("nx.example", TXT)
            .opt(4096, 0x8000, &[cookie, (8, &[0, 1, 24, 0, 1, 2, 3]), (12, &[0; 60])])
            .octets(),
        Ask::new("version.bind", TXT).class(CHAOS).octets(),
        Ask::new("big.example", TXT).edns().octets(),
        Ask::new(".", 255).octets(),
        Ask::new(&["abcdefg"; 28].join("."), A).octets(),
    ]
}

/// Waits for the refusal that comes behind everything sent before on this socket, so that no kernel queue runs over.
fn barrier(socket: &UdpSocket) {
    let probe = Ask::new("version.bind", TXT).class(CHAOS).id(0xfeed).octets();
    socket.send(&probe).unwrap();
    let mut buffer = [0; 1232];
    while socket.recv(&mut buffer).expect("still answering") < 2 || buffer[..2] != [0xfe, 0xed] {}
}

fn flood_udp(daemon: &Daemon, packets: usize, seed: u64) {
    let (mut random, seeds) = (Random(seed), seeds());
    let mut socket = udp_socket(daemon.dns);
    for i in 0..packets {
        socket.send(&random.packet(&seeds)).unwrap();
        if i % 32 == 31 {
            barrier(&socket);
        }
        if i % 4096 == 4095 {
            socket = udp_socket(daemon.dns);
        }
    }
    barrier(&socket);
}

/// Connections with a few framed mutants, framed wrongly now and then.
fn flood_tcp(daemon: &Daemon, connections: usize, seed: u64) {
    let (mut random, seeds) = (Random(seed), seeds());
    for _ in 0..connections {
        let mut stream = TcpStream::connect(daemon.dns).unwrap();
        for _ in 0..=random.below(8) {
            let mut octets = framed(&random.packet(&seeds));
            if random.below(8) == 0 {
                octets[random.below(2)] ^= random.octet();
            }
            // Closed under our hands is what bad framing earns.
            if stream.write_all(&octets).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// More than this between the first tenth of a flood and its end is growth: caches and pools are warm by then, and what
/// the allocator keeps back varies by a few megabytes.
const MAX_GROWTH: usize = 24 << 20;

fn flood(udp_packets: usize, tcp_connections: usize) {
    let upstream = Upstream::honest();
    // A cache that is soon full: what grows after that is a leak.
    let config = Config::new().dot(&upstream).table("[cache]\nmax-bytes = \"1 MiB\"\n");
    let mut daemon = config.start();
    flood_udp(&daemon, udp_packets / 10, 1);
    flood_tcp(&daemon, tcp_connections / 10, 2);
    let before = daemon.resident();
    flood_udp(&daemon, udp_packets, 3);
    flood_tcp(&daemon, tcp_connections, 4);
    assert!(daemon.is_running(), "{}", daemon.stderr());
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} octets more than {before}");
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
    let after = Ask::new("after.example", A).edns();
    for response in [after.udp(daemon.dns), after.tcp(daemon.dns)] {
        let stats = daemon.stats();
        assert_eq!(response.rcode(), 0, "EDE {:?}, {}", response.ede(), stats["upstreams"]);
    }
}

#[test]
fn t_stack_20000_random_and_mutated_packets() {
    flood(20_000, 500);
}

#[test]
#[ignore = "long: 1,000,000 packets"]
fn t_stack_1000000_random_and_mutated_packets() {
    flood(1_000_000, 20_000);
}

#[test]
fn t_stack_10000_queries_on_one_connection() {
    let upstream = Upstream::honest();
    let daemon = over_dot(&upstream);
    let mut connection = Tcp::connect(daemon.dns);
    let query = framed(&Ask::new("www.example", A).octets());
    for _ in 0..200 {
        connection.stream.write_all(&query.repeat(50)).unwrap();
        for _ in 0..50 {
            assert_eq!(connection.receive().map(|response| response.rcode()), Some(0));
        }
    }
}

#[test]
fn t_mem_random_subdomains_do_not_fill_the_memory() {
    let upstream = Upstream::honest();
    let daemon = Config::new()
        .dot(&upstream)
        .table("[cache]\nmax-bytes = \"1 MiB\"")
        .start();
    let socket = udp_socket(daemon.dns);
    let before = daemon.resident();
    for round in 0..400 {
        for id in 0..25 {
            socket
                .send(&Ask::new(&format!("r{round}x{id}.big.example"), A).id(id).octets())
                .unwrap();
        }
        let responses: Vec<Response> = (0..25).map(|_| receive_udp(&socket)).collect();
        assert!(responses.iter().all(|response| response.rcode() == 0));
    }
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} octets more than {before}");
}
