//! A raw client of classic DNS: writes any octets, reads with hickory-proto, waits with a limit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::Message;

/// Our promise is an answer within 5 s; more is given only so that a late answer is told from none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const DNAME: u16 = 39;
pub(crate) const OPT: u16 = 41;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const IN: u16 = 1;
pub(crate) const CHAOS: u16 = 3;

pub(crate) const RD: u16 = 0x0100;
pub(crate) const CD: u16 = 0x0010;
pub(crate) const AD: u16 = 0x0020;

pub(crate) const FORMERR: u16 = 1;
pub(crate) const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
pub(crate) const NOTIMP: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
pub(crate) const BADVERS: u16 = 16;

/// A moment, for a loop that waits for something outside and has its own limit.
pub(crate) fn tick() {
    std::thread::park_timeout(Duration::from_millis(20));
}

/// A query in the making. Every field goes onto the wire as it is, right or wrong.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) qname: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    /// Whole records for the additional section.
    pub(crate) additional: Vec<Vec<u8>>,
}

impl Ask {
    /// A query with RD and without EDNS.
    pub(crate) fn new(name: &str, qtype: u16) -> Self {
        Self {
            id: 0x5a5a,
            flags: RD,
            qname: wire_name(name),
            qtype,
            qclass: IN,
            additional: Vec::new(),
        }
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn class(mut self, class: u16) -> Self {
        self.qclass = class;
        self
    }

    pub(crate) fn labels(mut self, labels: &[&[u8]]) -> Self {
        self.qname = wire_labels(labels);
        self
    }

    /// Plain EDNS.
    pub(crate) fn edns(self) -> Self {
        self.opt(1232, 0, &[])
    }

    /// EDNS with this payload size, TTL field (extended RCODE, version, flags) and options.
    pub(crate) fn opt(mut self, payload: u16, ttl: u32, options: &[(u16, &[u8])]) -> Self {
        self.additional.push(opt(payload, ttl, options));
        self
    }

    pub(crate) fn question(&self) -> Vec<u8> {
        [&self.qname[..], &self.qtype.to_be_bytes(), &self.qclass.to_be_bytes()].concat()
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let additional = u16::try_from(self.additional.len()).unwrap();
        let mut out = Vec::new();
        for field in [self.id, self.flags, 1, 0, 0, additional] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.question());
        out.extend(self.additional.iter().flatten());
        out
    }

    /// Asks over UDP.
    pub(crate) fn udp(&self, server: SocketAddr) -> Response {
        udp(server, &self.octets())
    }

    /// Asks over TCP.
    pub(crate) fn tcp(&self, server: SocketAddr) -> Response {
        let mut connection = Tcp::connect(server);
        connection.send(&self.octets());
        connection.receive().expect("an answer over TCP")
    }
}

/// An OPT record.
pub(crate) fn opt(payload: u16, ttl: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut rdata = Vec::new();
    for (code, data) in options {
        rdata.extend_from_slice(&code.to_be_bytes());
        rdata.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        rdata.extend_from_slice(data);
    }
    record(".", OPT, payload, ttl, &rdata)
}

/// Any record.
pub(crate) fn record(owner: &str, rtype: u16, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    record_at(&wire_name(owner), rtype, class, ttl, rdata)
}

/// Any record; the owner in wire form.
pub(crate) fn record_at(owner: &[u8], rtype: u16, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
    out.extend_from_slice(rdata);
    out
}

/// A name given with dots, without escapes.
pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let labels: Vec<&[u8]> = name
        .split('.')
        .filter(|label| !label.is_empty())
        .map(str::as_bytes)
        .collect();
    wire_labels(&labels)
}

pub(crate) fn wire_labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for label in labels {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label);
    }
    out.push(0);
    out
}

/// A response, raw and read.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) octets: Vec<u8>,
    pub(crate) message: Message,
}

impl Response {
    pub(crate) fn read(octets: Vec<u8>) -> Self {
        let message =
            Message::from_vec(&octets).unwrap_or_else(|error| panic!("hickory cannot read {octets:02x?}: {error}"));
        Self { octets, message }
    }

    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.octets[0], self.octets[1]])
    }

    pub(crate) fn flags(&self) -> u16 {
        u16::from_be_bytes([self.octets[2], self.octets[3]])
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags() & 0x0200 != 0
    }

    /// Extended RCODE.
    pub(crate) fn rcode(&self) -> u16 {
        let high = self
            .message
            .edns
            .as_ref()
            .map_or(0, |edns| u16::from(edns.rcode_high()));
        high << 4 | (self.flags() & 15)
    }

    /// The data of every EDNS option with this code.
    pub(crate) fn options(&self, code: u16) -> Vec<Vec<u8>> {
        self.all_options()
            .into_iter()
            .filter(|(found, _)| *found == code)
            .map(|(_, data)| data)
            .collect()
    }

    /// Every EDNS option, in order.
    pub(crate) fn all_options(&self) -> Vec<(u16, Vec<u8>)> {
        edns_options(&self.octets)
    }

    /// The extended DNS error's code.
    pub(crate) fn ede(&self) -> Option<u16> {
        self.options(15)
            .first()
            .map(|data| u16::from_be_bytes([data[0], data[1]]))
    }

    /// The answer section as text, without TTLs.
    pub(crate) fn answers(&self) -> Vec<String> {
        let text = |r: &hickory_proto::rr::Record| format!("{} {} {}", r.name, r.record_type(), r.data);
        self.message.answers.iter().map(text).collect()
    }

    pub(crate) fn ttls(&self) -> Vec<u32> {
        self.message.answers.iter().map(|record| record.ttl).collect()
    }

    /// The octets of the question section as they came.
    pub(crate) fn question(&self) -> &[u8] {
        &self.octets[12..skip_name(&self.octets, 12) + 4]
    }
}

/// Every EDNS option of a message, found by walking its octets: what a later test compares must not pass through a reader
/// that drops what it does not know.
pub(crate) fn edns_options(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let Some(mut rest) = opt_record(message).map(|opt| &opt[11..]) else {
        return Vec::new();
    };
    let mut options = Vec::new();
    while let [c0, c1, l0, l1, tail @ ..] = rest {
        let (data, after) = tail.split_at(usize::from(u16::from_be_bytes([*l0, *l1])));
        options.push((u16::from_be_bytes([*c0, *c1]), data.to_vec()));
        rest = after;
    }
    options
}

/// The OPT record's octets, from its root owner to its end.
pub(crate) fn opt_record(message: &[u8]) -> Option<&[u8]> {
    let count = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    let mut at = 12;
    for _ in 0..count(4) {
        at = skip_name(message, at) + 4;
    }
    for _ in 0..count(6) + count(8) + count(10) {
        let head = skip_name(message, at);
        let end = head + 10 + count(head + 8);
        if count(head) == usize::from(OPT) {
            return Some(&message[at..end]);
        }
        at = end;
    }
    None
}

/// Where the name at `at` ends.
pub(crate) fn skip_name(message: &[u8], mut at: usize) -> usize {
    loop {
        match message[at] {
            0 => return at + 1,
            192..=255 => return at + 2,
            len => at += usize::from(len) + 1,
        }
    }
}

/// A socket for one client of UDP.
pub(crate) fn udp_socket(server: SocketAddr) -> UdpSocket {
    let any: SocketAddr = if server.is_ipv6() {
        "[::1]:0".parse().unwrap()
    } else {
        (Ipv4Addr::LOCALHOST, 0).into()
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn receive_udp(socket: &UdpSocket) -> Response {
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).expect("an answer over UDP");
    buffer.truncate(len);
    Response::read(buffer)
}

/// Sends octets over UDP and reads one response.
pub(crate) fn udp(server: SocketAddr, octets: &[u8]) -> Response {
    let socket = udp_socket(server);
    socket.send(octets).unwrap();
    receive_udp(&socket)
}

/// Sends octets that nobody may answer, then a query that is refused at once: the first response must be the refusal.
pub(crate) fn assert_silence(server: SocketAddr, octets: &[u8]) {
    let socket = udp_socket(server);
    socket.send(octets).unwrap();
    let probe = Ask::new("version.bind", TXT).class(CHAOS).id(0xbeef);
    socket.send(&probe.octets()).unwrap();
    let first = receive_udp(&socket);
    assert_eq!(
        (first.id(), first.rcode()),
        (0xbeef, REFUSED),
        "{octets:02x?} was answered"
    );
}

/// A connection over TCP.
pub(crate) struct Tcp {
    pub(crate) stream: TcpStream,
}

impl Tcp {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&framed(message)).unwrap();
    }

    /// No more queries from us; answers may still come.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next message, `None` at the end of the stream.
    pub(crate) fn receive(&mut self) -> Option<Response> {
        let mut prefix = [0; 2];
        self.stream.read_exact(&mut prefix).ok()?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(prefix))];
        self.stream.read_exact(&mut octets).expect("a whole message");
        Some(Response::read(octets))
    }
}

/// A message with its length in front.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}
