//! The application: asks classic DNS on a real socket, as any program on the host does, and reads the answer with its own eyes.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::cli::demo::zone::{self, RecordType};

/// One question of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, with dots, as the user typed it.
    pub name: &'static str,
    /// The record type.
    pub qtype: RecordType,
    /// The road to the stub.
    pub road: Road,
}

/// How the application reaches the stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Classic DNS over UDP.
    Udp,
    /// Classic DNS over TCP.
    Tcp,
}

/// What an application made of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The RCODE.
    pub rcode: u8,
    /// The answer section's records in order, without owner and TTL.
    pub records: Vec<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rcode, self.records.last()) {
            (0, Some(last)) if self.records.len() > 1 => write!(f, "{last} (chain of {})", self.records.len()),
            (0, Some(only)) => f.write_str(only),
            (0, None) => f.write_str("no data"),
            (3, _) => f.write_str("NXDOMAIN"),
            (other, _) => write!(f, "RCODE {other}"),
        }
    }
}

/// Longer than a stub may take to say SERVFAIL would only hide that it says nothing: the whole demo has five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest response read.
const MAX_RESPONSE: usize = 4096;

/// Asks the stub once; returns the reply and the time it took.
///
/// # Errors
/// What went wrong: no answer, or one that is not a response to this question.
pub async fn ask(stub: SocketAddr, question: Question, id: u16) -> Result<(Reply, Duration), String> {
    let query = write_query(question, id);
    let begin = Instant::now();
    let exchange = async {
        match question.road {
            Road::Udp => ask_udp(stub, &query).await,
            Road::Tcp => ask_tcp(stub, &query).await,
        }
    };
    let response = tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| format!("the stub did not answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| format!("cannot ask the stub: {error}"))?;
    let elapsed = begin.elapsed();
    let reply =
        read_response(&response, &query).ok_or("the stub's response cannot be read or belongs to another question")?;
    Ok((reply, elapsed))
}

/// What a right answer says, straight from the zone.
pub fn expected(question: Question) -> Reply {
    let answer = zone::look_up(question.name, question.qtype as u16);
    let rcode = if question.name == zone::MISSING { 3 } else { 0 };
    Reply {
        rcode,
        records: answer.iter().map(|(_, rdata)| rdata.to_string()).collect(),
    }
}

async fn ask_udp(stub: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(stub).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_RESPONSE];
    let len = socket.recv(&mut buffer).await?;
    buffer.truncate(len);
    Ok(buffer)
}

async fn ask_tcp(stub: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(stub).await?;
    let mut framed = u16::try_from(query.len())
        .map_err(io::Error::other)?
        .to_be_bytes()
        .to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?).min(MAX_RESPONSE)];
    stream.read_exact(&mut buffer).await?;
    Ok(buffer)
}

/// The whole query as the stub gets it.
pub fn write_query(question: Question, id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    // RD, one question, one additional record: an OPT with 1232 octets of payload.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    zone::write_name(question.name, &mut out);
    out.extend_from_slice(&(question.qtype as u16).to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    out
}

/// Octets of OPT at the end of [`write_query`]'s queries.
const OPT_LEN: usize = 11;

/// Reads a response to `query`; `None` if it is anything else.
fn read_response(response: &[u8], query: &[u8]) -> Option<Reply> {
    let question = &query[12..query.len() - OPT_LEN];
    let same = response.get(..2)? == &query[..2] && response.get(12..12 + question.len())? == question;
    if !same || response[2] & 0xfa != 0x80 || response[4..6] != [0, 1] {
        return None;
    }
    let mut at = 12 + question.len();
    let count = u16::from_be_bytes([response[6], response[7]]);
    let records = (0..count)
        .map(|_| read_record(response, &mut at))
        .collect::<Option<_>>()?;
    Some(Reply {
        rcode: response[3] & 15,
        records,
    })
}

/// Reads one record at `at` and moves on behind it.
fn read_record(message: &[u8], at: &mut usize) -> Option<String> {
    let (_, owner_end) = read_name(message, *at)?;
    let head: &[u8; 10] = message.get(owner_end..)?.first_chunk()?;
    let begin = owner_end + head.len();
    *at = begin + usize::from(u16::from_be_bytes([head[8], head[9]]));
    let rdata = message.get(begin..*at)?;
    let text = match u16::from_be_bytes([head[0], head[1]]) {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?).to_string(),
        5 => format!("CNAME {}", read_name(message, begin)?.0),
        15 => format!(
            "{} {}",
            u16::from_be_bytes([*rdata.first()?, *rdata.get(1)?]),
            read_name(message, begin + 2)?.0
        ),
        16 => format!("\"{}\"", String::from_utf8_lossy(rdata.get(1..)?)),
        other => format!("TYPE{other}"),
    };
    Some(text)
}

/// Reads a name, compressed or not; returns it with dots, and where it ends in the message.
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut labels, mut at, mut end) = (Vec::new(), start, None);
    // No name has more than 127 labels; as many pointers are plenty.
    for _ in 0..256 {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            1..=63 => {
                labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?).into_owned());
                at += len + 1;
            }
            192..=255 => {
                end = end.or(Some(at + 2));
                at = (len & 63) << 8 | usize::from(*message.get(at + 1)?);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Question = Question {
        name: "divorce-lawyer.example",
        qtype: RecordType::A,
        road: Road::Udp,
    };

    #[test]
    fn reads_what_the_zone_writes() {
        for (name, rdata) in zone::RECORDS {
            let question = Question {
                name,
                qtype: rdata.record_type(),
                road: Road::Udp,
            };
            let query = write_query(question, 7);
            assert_eq!(
                read_response(&zone::respond(&query).unwrap(), &query),
                Some(expected(question))
            );
        }
        let question = Question {
            name: zone::MISSING,
            ..CHAIN
        };
        let query = write_query(question, 7);
        assert_eq!(
            read_response(&zone::respond(&query).unwrap(), &query),
            Some(expected(question))
        );
    }

    #[test]
    fn another_questions_response_is_refused() {
        let query = write_query(CHAIN, 7);
        let response = zone::respond(&query).unwrap();
        for other in [
            write_query(CHAIN, 8),
            write_query(
                Question {
                    qtype: RecordType::Aaaa,
                    ..CHAIN
                },
                7,
            ),
        ] {
            assert_eq!(read_response(&response, &other), None);
        }
        for len in 0..40 {
            assert_eq!(read_response(&response[..len], &query), None);
        }
    }

    #[test]
    fn a_pointer_loop_ends() {
        assert_eq!(read_name(&[192, 0], 0), None);
    }
}
