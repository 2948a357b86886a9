//! A house on loopback, clients for it, and a fake upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::in_time;
use crate::cache::{self, Cache};
use crate::os::socket::Transport;
use crate::policy::Policy;
use crate::resolve::{Outcome, Resolver};
use crate::serve::{Settings, Stats, bind};
use crate::shutdown::Shutdown;
use crate::stats::Counter;
use crate::transport::{self, BoxFuture, Exchange, ExchangeError, ExchangeErrorKind};
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;
use crate::upstream::select::Strategy;
use crate::wire::edns::Ede;
use crate::wire::frame::{FrameReader, write_frame};
use crate::wire::header::Rcode;
use crate::wire::question::Keepalive;

/// Longer than any deadline of the room, so that what is late shows as what it is.
pub(in crate::serve) const PATIENCE: Duration = Duration::from_secs(30);

/// Turns given to others before a test gives up: seconds, and no clock, which tests may have paused.
const TURNS: u32 = 2_000_000;

/// The real resolver in front of a fake upstream: the one place where tests of this room make one.
pub(in crate::serve) fn test_resolver(upstream: &Arc<FakeUpstream>) -> Arc<Resolver> {
    let exchange = Arc::clone(upstream) as Arc<dyn Exchange>;
    let settings = cache::Settings::default();
    let pool = Pool::new(
        vec![Arc::new(Upstream::new("fake".to_owned(), exchange, Keepalive::Omit))],
        &Strategy::InOrder,
        settings.ttls,
    );
    Arc::new(Resolver::new(Policy::default(), Arc::new(Cache::new(settings)), pool))
}

/// A served room.
pub(in crate::serve) struct House {
    addresses: Vec<SocketAddr>,
    pub(in crate::serve) stats: Arc<Stats>,
    pub(in crate::serve) shutdown: Shutdown,
    pub(in crate::serve) upstream: Arc<FakeUpstream>,
    resolver: watch::Sender<Arc<Resolver>>,
}

impl House {
    pub(in crate::serve) fn open(listen: &[&str], upstream: Arc<FakeUpstream>) -> Self {
        let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
        let bound = bind(&Settings {
            listen,
            udp_threads: 2,
            ..Settings::default()
        })
        .unwrap();
        let (addresses, stats, shutdown) = (bound.addresses(), bound.stats(), Shutdown::new());
        let (resolver, published) = watch::channel(test_resolver(&upstream));
        bound.run(&published, &shutdown, &Handle::current()).unwrap();
        Self {
            addresses,
            stats,
            shutdown,
            upstream,
            resolver,
        }
    }

    pub(in crate::serve) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    pub(in crate::serve) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(in crate::serve) fn queries(&self, transport: Transport, outcome: Outcome) -> u64 {
        self.stats.queries(transport, outcome)
    }

    pub(in crate::serve) fn publish(&self, upstream: &Arc<FakeUpstream>) {
        self.resolver.send_replace(test_resolver(upstream));
    }

    /// Lets everybody else run until the figures say so.
    pub(in crate::serve) async fn until(&self, is_so: impl Fn(&Stats) -> bool) {
        for _ in 0..TURNS {
            if is_so(&self.stats) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the figures never said so: {:?}", self.stats);
    }

    /// Stops and sees that nothing is left running.
    pub(in crate::serve) async fn close(self) {
        self.shutdown.stop();
        self.upstream.release();
        let mut turns = 0;
        while !self.shutdown.drained(Duration::ZERO).await {
            turns += 1;
            assert!(turns < TURNS, "something did not end");
            tokio::task::yield_now().await;
        }
        assert_eq!(self.stats.connections.open.value(), 0);
        assert_eq!(self.stats.waiting.value(), 0);
    }
}

/// Answers by the first label: `slow...` after [`FakeUpstream::release`], `hang...` never, `big...` at length,
/// `panic...` with a panic, all others at once.
pub(in crate::serve) struct FakeUpstream {
    released: watch::Sender<bool>,
    asked: Counter,
}

impl FakeUpstream {
    pub(in crate::serve) fn new() -> Arc<Self> {
        Arc::new(Self {
            released: watch::Sender::new(false),
            asked: Counter::default(),
        })
    }

    pub(in crate::serve) fn release(&self) {
        self.released.send_replace(true);
    }

    /// How many questions came here.
    pub(in crate::serve) fn asked(&self) -> u64 {
        self.asked.value()
    }
}

impl Exchange for FakeUpstream {
    fn exchange<'a>(
        &'a self,
        query: &'a [u8],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<transport::Response, ExchangeError>> {
        Box::pin(async move {
            self.asked.increment();
            let label = &query[13..13 + usize::from(query[12])];
            let mut released = self.released.subscribe();
            if label.starts_with(b"slow") {
                released.wait_for(|released| *released).await.unwrap();
            } else if label.starts_with(b"hang") {
                tokio::time::sleep_until(deadline).await;
                return Err(ExchangeError {
                    kind: ExchangeErrorKind::Silent,
                    detail: String::from("silent"),
                });
            } else if label.starts_with(b"panic") {
                panic!("a bug that a test has asked for");
            }
            let octets = answer(query, if label.starts_with(b"big") { BIG_RECORDS } else { 1 });
            Ok(transport::Response { octets, age: 0 })
        })
    }
}

/// The response to a query with that many TXT records, or A records if it asks for them.
fn answer(query: &[u8], records: u16) -> Vec<u8> {
    let end = question_end(query);
    let mut response = vec![query[0], query[1], 0x81, 0x80, 0, 1];
    response.extend(records.to_be_bytes());
    response.extend([0; 4]);
    response.extend(&query[12..end]);
    for record in 0..records {
        response.extend([0xc0, 12]);
        response.extend(&query[end - 4..end]);
        response.extend([0, 0, 1, 44]);
        if query[end - 3] == 1 {
            response.extend([0, 4, 192, 0, 2, record.to_be_bytes()[1]]);
        } else {
            response.extend([1, 0, 255]);
            response.extend([record.to_be_bytes()[1]; 255]);
        }
    }
    response
}

fn question_end(message: &[u8]) -> usize {
    let mut end = 12;
    while message[end] != 0 {
        end += 1 + usize::from(message[end]);
    }
    end + 5
}

/// 240 TXT records of 268 octets: some 64,400, close to the most that a message can be.
const BIG_RECORDS: u16 = 240;

/// A query, as some client would write it.
#[derive(Clone)]
pub(in crate::serve) struct Query {
    question: Vec<u8>,
    edns: Option<(u16, u8, Vec<u8>)>,
}

impl Query {
    /// For A records, or TXT if the name begins with `big`.
    pub(in crate::serve) fn new(name: &str) -> Self {
        let mut question = Vec::new();
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.extend([0, 0, if name.starts_with("big") { 16 } else { 1 }, 0, 1]);
        Self { question, edns: None }
    }

    pub(in crate::serve) fn with_edns(mut self, size: u16) -> Self {
        self.edns = Some((size, 0, Vec::new()));
        self
    }

    pub(in crate::serve) fn with_edns_version(mut self, version: u8) -> Self {
        self.edns = Some((1232, version, Vec::new()));
        self
    }

    pub(in crate::serve) fn with_option(mut self, code: u16, data: &[u8]) -> Self {
        let (_, _, options) = self.edns.get_or_insert((1232, 0, Vec::new()));
        options.extend(code.to_be_bytes());
        options.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        options.extend(data);
        self
    }

    pub(in crate::serve) fn octets(&self, id: u16) -> Vec<u8> {
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        octets.extend(&self.question);
        if let Some((size, version, options)) = &self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(size.to_be_bytes());
            octets.extend([0, *version, 0, 0]);
            octets.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
            octets.extend(options);
        }
        octets
    }
}

/// What a client sees of a response. Read by hickory-proto, which did not write it.
#[derive(Debug)]
pub(in crate::serve) struct Response {
    pub(in crate::serve) len: usize,
    pub(in crate::serve) id: u16,
    pub(in crate::serve) rcode: Rcode,
    pub(in crate::serve) is_truncated: bool,
    pub(in crate::serve) answers: usize,
    pub(in crate::serve) ede: Option<Ede>,
    /// In units of 100 milliseconds.
    pub(in crate::serve) keepalive: Option<u16>,
    pub(in crate::serve) padding: Option<usize>,
}

impl Response {
    pub(in crate::serve) fn read(octets: &[u8]) -> Self {
        let message = Message::from_vec(octets).unwrap();
        let option = |code: u16| match message.edns.as_ref()?.option(EdnsCode::from(code))? {
            EdnsOption::Unknown(_, data) => Some(data.clone()),
            other => panic!("{other:?}"),
        };
        let number = |data: Vec<u8>| u16::from_be_bytes([data[0], data[1]]);
        Self {
            len: octets.len(),
            id: message.metadata.id,
            rcode: Rcode(message.metadata.response_code.into()),
            is_truncated: message.metadata.truncation,
            answers: message.answers.len(),
            ede: option(15).map(|data| Ede(number(data))),
            keepalive: option(11).map(number),
            padding: option(12).map(|data| data.len()),
        }
    }
}

/// A client over UDP.
pub(in crate::serve) struct UdpClient(UdpSocket);

impl UdpClient {
    pub(in crate::serve) async fn connect(server: SocketAddr) -> Self {
        let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(local.parse::<SocketAddr>().unwrap()).await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    pub(in crate::serve) async fn send(&self, octets: &[u8]) {
        self.0.send(octets).await.unwrap();
    }

    pub(in crate::serve) async fn receive(&self) -> Response {
        let mut octets = vec![0; 65_535];
        let len = in_time(self.0.recv(&mut octets)).await.unwrap();
        Response::read(&octets[..len])
    }

    pub(in crate::serve) async fn ask(&self, octets: &[u8]) -> Response {
        self.send(octets).await;
        self.receive().await
    }
}

/// A client over TCP.
pub(in crate::serve) struct TcpClient {
    pub(in crate::serve) stream: TcpStream,
    reader: FrameReader,
}

impl TcpClient {
    pub(in crate::serve) async fn connect(server: SocketAddr) -> Self {
        let stream = in_time(TcpStream::connect(server)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            reader: FrameReader::new(),
        }
    }

    /// All in one segment.
    pub(in crate::serve) async fn send(&mut self, messages: &[Vec<u8>]) {
        in_time(self.stream.write_all(&framed(messages))).await.unwrap();
    }

    /// The next response, or `None` at the end of the stream.
    pub(in crate::serve) async fn receive(&mut self) -> Option<Response> {
        loop {
            if let Some(octets) = self.reader.next_message() {
                return Some(Response::read(octets));
            }
            let mut buffer = vec![0; 65_536];
            let len = in_time(self.stream.read(&mut buffer)).await.unwrap();
            if len == 0 {
                assert!(!self.reader.is_mid_message(), "cut off within an answer");
                return None;
            }
            self.reader.push(&buffer[..len]);
        }
    }

    pub(in crate::serve) async fn ask(&mut self, octets: &[u8]) -> Response {
        self.send(&[octets.to_vec()]).await;
        self.receive().await.expect("an answer and not the end")
    }
}

/// Messages with their lengths in front.
pub(in crate::serve) fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = Vec::new();
    for message in messages {
        write_frame(message, &mut octets).unwrap();
    }
    octets
}
