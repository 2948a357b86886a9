//! What the running tacenda says of itself: its stats endpoint, on loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::DeserializeOwned;

/// Asks the tacenda whose stats endpoint is there for its figures.
///
/// # Errors
/// The system's own: nobody is there; and `InvalidData` for an answer that is none.
pub(super) fn read<T: DeserializeOwned>(address: SocketAddr) -> io::Result<T> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut octets = Vec::new();
    stream.take(MAX_LEN).read_to_end(&mut octets)?;
    parse(&octets).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The body of a response.
pub(super) fn parse<T: DeserializeOwned>(octets: &[u8]) -> Option<T> {
    let at = octets.windows(4).position(|window| window == b"\r\n\r\n")?;
    serde_json::from_slice(&octets[at + 4..]).ok()
}

/// It answers from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Octets of the figures: some KiB, and one more for each upstream.
const MAX_LEN: u64 = 1 << 20;
