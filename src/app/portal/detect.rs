//! Looks for a sign-in page without asking anybody a name: by what well-known web servers answer, at addresses that are known.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::reply::{Found, judge};
use crate::config::portal::Probe;
use crate::os::socket::stream_to;

/// Asks all probes at once. Cancel-safe.
pub(super) async fn detect(probes: &[Probe]) -> Found {
    let mut asking = JoinSet::new();
    for probe in probes {
        let probe = probe.clone();
        asking.spawn(async move {
            let mut heard = Vec::new();
            // What was heard in time counts, be it whole or not.
            let _ = timeout(PATIENCE, talk(&probe, &mut heard)).await;
            judge(&probe, &heard)
        });
    }
    let mut replies = Vec::new();
    while let Some(reply) = asking.join_next().await {
        replies.extend(reply.ok());
    }
    Found::of(&replies)
}

async fn talk(probe: &Probe, heard: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = stream_to(probe.address, None).await?;
    let Probe { host, path, .. } = probe;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.take(MAX_LEN).read_to_end(heard).await?;
    Ok(())
}

/// For one probe, from the first packet on. A sign-in page is in the next room; who takes longer is asked again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Octets of an answer: a head and the beginning of a page.
const MAX_LEN: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::config::portal::Expected;

    fn probe(address: SocketAddr) -> Probe {
        Probe {
            address,
            host: "probe.example".into(),
            path: "/x".into(),
            expected: Expected::Empty,
        }
    }

    /// A server that says this, again and again if it is to say much, and then holds its peace.
    async fn server(says: &'static str, times: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let len = stream.read(&mut request).await.unwrap();
            assert!(request[..len].starts_with(b"GET /x HTTP/1.1\r\nHost: probe.example\r\n"));
            for _ in 0..times {
                if stream.write_all(says.as_bytes()).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        });
        address
    }

    #[tokio::test]
    async fn what_was_said_in_time_counts_and_no_more_than_some_is_read() {
        let moved = server("HTTP/1.1 302 x\r\nLocation: http://login.example/\r\n\r\n", 1).await;
        let begin = Instant::now();
        assert_eq!(detect(&[probe(moved)]).await, Found::Page(Some("login.example".into())));
        assert!(begin.elapsed() < PATIENCE * 5);
        let endless = server("HTTP/1.1 200 x\r\n\r\n", 100_000).await;
        assert_eq!(detect(&[probe(endless)]).await, Found::Page(None));
    }

    #[tokio::test]
    async fn nobody_there_is_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(detect(&[probe(address)]).await, Found::Silence);
        assert_eq!(detect(&[]).await, Found::Silence);
    }
}
