//! `tacenda demo`: the whole road on loopback, offline, and an observer on the link who must not read a name.
//!
//! ```text
//! application --classic DNS--> stub --TLS--> observer --TLS--> resolver
//! ```
//! Application, observer and resolver are this module's own; the stub is the real one, started by the caller. Everything is
//! checked: the answers, the cache, and that no name is in the captured octets in any form that [`crate::cli::leak`] knows. The run is
//! void unless the observer finds a name that it is shown in clear.

pub mod application;
pub(super) mod command;
pub mod observer;
pub mod report;
pub mod resolver;
#[cfg(test)]
mod tests;
pub mod zone;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use application::{Question, Road};
use observer::{Direction, Observer};
use resolver::DemoResolver;
use zone::RecordType;

use crate::cli::leak::{self, Finding, Needle};

pub use report::{Leg, Report, Row, Style};

/// What the stub of one leg is started with. Everything else is as in the defaults; it listens on an ephemeral loopback port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubSettings {
    /// The one upstream, with port: `https://...` or `tls://...`.
    pub url: String,
    /// Its only address.
    pub address: Ipv4Addr,
    /// The only root it is trusted by, in PEM.
    pub ca_pem: &'static str,
}

/// A stub that the caller has started.
pub struct RunningStub {
    /// Where it takes classic DNS, over UDP and TCP.
    pub address: SocketAddr,
    /// Reads its figures.
    pub figures: Box<dyn Fn() -> Figures + Send + Sync>,
}

/// The stub's own account of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Queries from applications.
    pub queries: u64,
    /// Answered from the cache.
    pub hits: u64,
    /// Asked upstream.
    pub misses: u64,
    /// Answers in the cache.
    pub entries: u64,
    /// Octets they take.
    pub bytes: u64,
}

/// Why the demo failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The demo's own resolver or observer could not be started.
    Setup(String),
    /// The stub could not be started.
    Stub(String),
    /// The observer did not see what it was shown, or not all that went by: nothing is proven.
    Void(&'static str),
    /// An application got no answer.
    NoAnswer(String),
    /// An application got a wrong answer.
    WrongAnswer(String),
    /// Answers came that the resolver was never asked for over the observed link.
    Bypassed,
    /// The second round reached the resolver though the cache had the answers.
    NotCached,
    /// The observer read names.
    Leak(Vec<Finding>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(why) => write!(f, "cannot set the demo up: {why}"),
            Self::Stub(why) => write!(f, "cannot start the stub: {why}"),
            Self::Void(why) => write!(f, "the run is void: {why}"),
            Self::NoAnswer(what) => write!(f, "no answer: {what}"),
            Self::WrongAnswer(what) => write!(f, "wrong answer: {what}"),
            Self::Bypassed => f.write_str("answers came by another road than the observed link"),
            Self::NotCached => f.write_str("the second round was asked upstream again, not answered from the cache"),
            Self::Leak(findings) => {
                f.write_str("LEAK: the observer between stub and resolver read")?;
                findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// What the application asks, twice.
const QUESTIONS: [Question; 7] = [
    Question {
        name: "anxiety-clinic.example",
        qtype: RecordType::A,
        road: Road::Udp,
    },
    Question {
        name: "anxiety-clinic.example",
        qtype: RecordType::Aaaa,
        road: Road::Udp,
    },
    Question {
        name: "anxiety-clinic.example",
        qtype: RecordType::Mx,
        road: Road::Udp,
    },
    Question {
        name: "divorce-lawyer.example",
        qtype: RecordType::A,
        road: Road::Udp,
    },
    Question {
        name: "whistleblower.newspaper.example",
        qtype: RecordType::Txt,
        road: Road::Udp,
    },
    Question {
        name: "appointments.divorce-lawyer.example",
        qtype: RecordType::Aaaa,
        road: Road::Tcp,
    },
    Question {
        name: zone::MISSING,
        qtype: RecordType::A,
        road: Road::Udp,
    },
];

/// Runs the demo with stubs from `start_stub`: once over DoH, once over DoT.
///
/// # Errors
/// See [`Failure`].
pub async fn run<S, F>(start_stub: S) -> Result<Report, Failure>
where
    S: Fn(StubSettings) -> F,
    F: Future<Output = Result<RunningStub, String>>,
{
    let needles = needles();
    let control = shown_in_clear(&application::write_query(QUESTIONS[0], 0), &needles).await?;
    let resolver = DemoResolver::start().await?;
    let mut legs = Vec::new();
    for (transport, address) in [("DNS over HTTPS", resolver.doh), ("DNS over TLS", resolver.dot)] {
        let observer = Observer::start(address).await?;
        let port = observer.address().port();
        let name = resolver::SERVER_NAME;
        let url = if address == resolver.doh {
            format!("https://{name}:{port}/dns-query")
        } else {
            format!("tls://{name}:{port}")
        };
        let settings = StubSettings {
            url,
            address: Ipv4Addr::LOCALHOST,
            ca_pem: resolver::CA_PEM,
        };
        let stub = start_stub(settings.clone()).await.map_err(Failure::Stub)?;
        let mut leg = walk(&stub, &observer, &resolver, &needles).await?;
        leg.transport = transport;
        leg.url = settings.url;
        legs.push(leg);
    }
    Ok(Report {
        control,
        names: needles.len(),
        legs,
    })
}

/// Every name of the zone, asked or answered.
fn needles() -> Vec<Needle> {
    let owners = zone::RECORDS.iter().map(|(owner, _)| *owner).chain([zone::MISSING]);
    let mut needles: Vec<Needle> = Vec::new();
    for needle in owners.map(Needle::new) {
        if !needles.contains(&needle) {
            needles.push(needle);
        }
    }
    needles
}

/// The positive control: a clear-text packet goes through an observer, which must find the name in it.
async fn shown_in_clear(packet: &[u8], needles: &[Needle]) -> Result<Vec<Finding>, Failure> {
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let observer = Observer::start(sink.local_addr()?).await?;
    let mut sender = TcpStream::connect(observer.address()).await?;
    sender.write_all(packet).await?;
    sender.shutdown().await?;
    let (mut receiver, _) = sink.accept().await?;
    let mut received = Vec::new();
    receiver.read_to_end(&mut received).await?;
    let findings = search_record(&observer, needles)?;
    if findings.is_empty() || received != packet {
        return Err(Failure::Void(
            "the observer did not find a name that it was shown in clear",
        ));
    }
    Ok(findings)
}

/// Both rounds over one transport, then the judgement of what the observer saw.
async fn walk(
    stub: &RunningStub,
    observer: &Observer,
    resolver: &DemoResolver,
    needles: &[Needle],
) -> Result<Leg, Failure> {
    let before = resolver.queries();
    let mut rows = Vec::new();
    for (question, id) in QUESTIONS.into_iter().zip(0x7ace..) {
        rows.push(ask(stub.address, question, id, observer).await?);
    }
    let first_round = resolver.queries() - before;
    let octets_then = observer.record().total();
    for (question, id) in QUESTIONS.into_iter().zip(0x9ace..) {
        ask(stub.address, question, id, observer).await?;
    }
    let second_round = resolver.queries() - before - first_round;

    let findings = search_record(observer, needles)?;
    let record = observer.record();
    if !findings.is_empty() {
        return Err(Failure::Leak(findings));
    }
    if first_round < QUESTIONS.len() as u64 {
        return Err(Failure::Bypassed);
    }
    if second_round > 0 {
        return Err(Failure::NotCached);
    }
    Ok(Leg {
        transport: "",
        url: String::new(),
        stub: stub.address,
        rows,
        asked_upstream: [first_round, second_round],
        octets: [octets_then, record.total() - octets_then],
        server_name_seen: record.streams().any(holds_server_name),
        figures: (stub.figures)(),
    })
}

/// Asks one question and takes down what the observer saw meanwhile.
async fn ask(stub: SocketAddr, question: Question, id: u16, observer: &Observer) -> Result<Row, Failure> {
    let mark = observer.record().mark();
    let what = || format!("{} {}", question.name, question.qtype);
    let (reply, elapsed) = application::ask(stub, question, id)
        .await
        .map_err(|why| Failure::NoAnswer(format!("{}: {why}", what())))?;
    let expected = application::expected(question);
    if reply != expected {
        return Err(Failure::WrongAnswer(format!(
            "{}: got {reply:?}, the zone says {expected:?}",
            what()
        )));
    }
    let record = observer.record();
    let (up, down) = (record.since(&mark, Direction::Up), record.since(&mark, Direction::Down));
    Ok(Row {
        question,
        reply,
        elapsed,
        up,
        down,
    })
}

fn search_record(observer: &Observer, needles: &[Needle]) -> Result<Vec<Finding>, Failure> {
    let record = observer.record();
    if record.is_incomplete() {
        return Err(Failure::Void("more went over the link than the observer can keep"));
    }
    Ok(record
        .streams()
        .flat_map(|octets| leak::search(octets, needles))
        .collect())
}

/// What TLS does not hide: the resolver's own name, in the first handshake message.
fn holds_server_name(octets: &[u8]) -> bool {
    octets
        .windows(resolver::SERVER_NAME.len())
        .any(|window| window == resolver::SERVER_NAME.as_bytes())
}
