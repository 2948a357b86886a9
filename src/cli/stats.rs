//! What the running tacenda says of itself: its stats endpoint, on loopback.

pub(super) mod portal;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// One of `upstreams`. A newer tacenda may say more.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) transport: String,
    pub(super) state: String,
    pub(super) rtt_ms: Option<f64>,
    pub(super) queries: u64,
    pub(super) failures: u64,
    pub(super) last_error: Option<String>,
}

/// [`Upstream::over`] of a route's server that is not asked over TLS.
pub(super) const CLEAR_TEXT: &str = "clear text";

impl Upstream {
    /// What it is asked over.
    pub(super) fn over(&self) -> &'static str {
        match self.transport.as_str() {
            "doh" => "HTTPS",
            "dot" => "TLS",
            _ => CLEAR_TEXT,
        }
    }
}

/// Asks the tacenda whose stats endpoint is there for its figures.
///
/// # Errors
/// The system's own: nobody is there; and `InvalidData` for an answer that is none.
pub(super) fn read<T: DeserializeOwned>(address: SocketAddr) -> io::Result<T> {
    read_within(address, PATIENCE)
}

fn read_within<T: DeserializeOwned>(address: SocketAddr, patience: Duration) -> io::Result<T> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!("GET /stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut octets = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        // One time for all of it: who gives an octet a second would else hold us for days.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            len if octets.len() + len > MAX_LEN => return Err(io::ErrorKind::InvalidData.into()),
            len => octets.extend_from_slice(&buffer[..len]),
        }
    }
    parse(&octets).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The body of a response that says 200.
pub(super) fn parse<T: DeserializeOwned>(octets: &[u8]) -> Option<T> {
    if !octets.starts_with(b"HTTP/1.1 200 ") {
        return None;
    }
    let at = octets.windows(4).position(|window| window == b"\r\n\r\n")?;
    serde_json::from_slice(&octets[at + 4..]).ok()
}

/// It answers from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Octets of the figures: some KiB, and one more for each upstream.
const MAX_LEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is read of a server that says this, and then an octet each 20 ms.
    fn read_from(says: &'static str) -> io::Result<serde_json::Value> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut len) = ([0; 1024], 0);
            // Whole: what is left unread at the end would reset the connection.
            while !request[..len].ends_with(b"\r\n\r\n") {
                len += stream.read(&mut request[len..]).unwrap();
            }
            let _ = stream.write_all(says.as_bytes());
            if says.ends_with('{') {
                // Until the reader has had enough.
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                while stream.write_all(b" ").is_ok() {
                    let _ = stream.read(&mut request);
                }
            }
        });
        read_within(address, Duration::from_millis(300))
    }

    #[test]
    fn only_a_whole_answer_with_200_counts_and_it_has_one_time_for_all_of_it() {
        let said = read_from("HTTP/1.1 200 OK\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!(said["a"], 1);
        for says in [
            "HTTP/1.1 500 x\r\n\r\n{\"a\":1}",
            "HTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0-x\r\n",
        ] {
            assert_eq!(
                read_from(says).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{says}"
            );
        }
        let kind = read_from("HTTP/1.1 200 OK\r\n\r\n{").unwrap_err().kind();
        assert!(
            matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock),
            "{kind:?}"
        );
    }
}
