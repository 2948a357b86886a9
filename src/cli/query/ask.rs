//! Asks the tacenda on this host in classic DNS: over UDP, over TCP when the answer is cut short. Loopback only.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::Response;
use crate::cli::{Exit, Failure};
use crate::upstream::records::{Padding, Question};
use crate::wire::frame::{FrameReader, write_frame};
use crate::wire::question::same_question;

/// Asks and waits for the answer.
///
/// # Errors
/// [`Exit::Unavailable`] when none comes.
pub(super) async fn ask(server: SocketAddr, question: &Question, tcp_only: bool) -> Result<Response, Failure> {
    let started = Instant::now();
    let (octets, transport) = exchange(server, question, tcp_only).await;
    let octets = octets.map_err(|error| refused_or_silent(server, transport, &error))?;
    Ok(Response {
        octets,
        transport,
        server: server.to_string(),
        took: started.elapsed(),
    })
}

/// The answer's octets, or why there are none; and the transport that was used last.
pub(in crate::cli) async fn exchange(
    server: SocketAddr,
    question: &Question,
    tcp_only: bool,
) -> (io::Result<Vec<u8>>, &'static str) {
    exchange_octets(server, &question.write(random_id(), Padding::None), tcp_only).await
}

/// Guards against a stray answer on loopback, not against an attacker: the hasher's seed is random enough.
pub(in crate::cli) fn random_id() -> u16 {
    let [a, b, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

/// The same for a query that is written already.
pub(in crate::cli) async fn exchange_octets(
    server: SocketAddr,
    query: &[u8],
    tcp_only: bool,
) -> (io::Result<Vec<u8>>, &'static str) {
    // Promise 1 once more, beside the socket: the flag and the configuration were checked where they came in.
    assert!(server.ip().is_loopback(), "classic DNS stays on this host");
    let deadline = Instant::now() + PATIENCE;
    if tcp_only {
        return (over_tcp(server, query, deadline).await, "tcp");
    }
    match over_udp(server, query, deadline).await {
        Ok(octets) if is_truncated(&octets) => (over_tcp(server, query, deadline).await, "tcp"),
        other => (other, "udp"),
    }
}

async fn over_udp(server: SocketAddr, query: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let local: IpAddr = if server.is_ipv4() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).await?;
    // Connected: the kernel drops what others send, and tells us when nobody listens.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = [0; UDP_BUFFER];
    loop {
        let len = timeout_at(deadline, socket.recv(&mut buffer)).await??;
        if is_answer(query, &buffer[..len]) {
            return Ok(buffer[..len].to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = timeout_at(deadline, TcpStream::connect(server)).await??;
    let mut framed = Vec::with_capacity(query.len() + 2);
    write_frame(query, &mut framed).ok_or(io::ErrorKind::InvalidInput)?;
    timeout_at(deadline, stream.write_all(&framed)).await??;
    let mut reader = FrameReader::new();
    let mut buffer = [0; UDP_BUFFER];
    loop {
        let len = timeout_at(deadline, stream.read(&mut buffer)).await??;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.push(&buffer[..len]);
        while let Some(message) = reader.next_message() {
            if is_answer(query, message) {
                return Ok(message.to_vec());
            }
        }
    }
}

/// A response with our ID. An error may leave the question out (RFC 1035 section 4.1.1 for FORMERR).
fn is_answer(query: &[u8], message: &[u8]) -> bool {
    let Some(header) = message.first_chunk::<12>() else {
        return false;
    };
    let carries_none = header[4..6] == [0, 0];
    header[..2] == query[..2] && header[2] & 0x80 != 0 && (carries_none || same_question(query, message))
}

fn is_truncated(message: &[u8]) -> bool {
    message[2] & 0x02 != 0
}

/// Why there was no answer, and what to do.
pub(in crate::cli) fn refused_or_silent(server: SocketAddr, transport: &str, error: &io::Error) -> Failure {
    let failure = |text: String| Failure::new(Exit::Unavailable, text);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => failure(format!("nobody listens on {server} ({transport})")).with_help(
            "start it with `sudo tacenda run`, say where it is with --server, or ask an upstream with --via URL",
        ),
        io::ErrorKind::TimedOut => failure(format!(
            "no answer from {server} ({transport}) within {} s",
            PATIENCE.as_secs()
        ))
        .with_help("is it tacenda that listens there? it answers every query within 5 s"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => failure(format!(
            "{server} ({transport}) closed the connection without an answer"
        )),
        _ => failure(format!("cannot ask {server} ({transport}): {error}")),
    }
}

/// Promise 4 is an answer within 5 s; one more for the way.
const PATIENCE: Duration = Duration::from_secs(6);

/// We ask for 1232 octets at most; more would be a fault worth seeing.
const UDP_BUFFER: usize = 4096;
