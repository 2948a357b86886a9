//! The observer on the link: a TCP relay between stub and resolver that records every octet of both directions.
//!
//! It changes nothing and decides nothing; [`super::leak`] judges what it recorded.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A running relay and its record.
#[derive(Debug)]
pub struct Observer {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

/// What was seen on the link.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// One per connection and direction, in order of appearance: up, then down.
    streams: Vec<Vec<u8>>,
    total: usize,
    overflow: bool,
}

/// Which way octets went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the stub to the resolver.
    Up,
    /// From the resolver to the stub.
    Down,
}

/// A moment in the record; octets after it are what was seen since.
#[derive(Clone, Debug, Default)]
pub struct Mark(Vec<usize>);

/// More than this on the link makes the run void: octets would go by unseen. The demo moves some 30 KB.
const MAX_RECORD: usize = 4 << 20;

/// Octets taken from a socket at once.
const READ_LEN: usize = 16 << 10;

impl Observer {
    /// Starts relaying to `resolver` from an ephemeral loopback port.
    ///
    /// # Errors
    /// The listener cannot be opened.
    pub async fn start(resolver: SocketAddr) -> io::Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1".parse::<std::net::IpAddr>().map_err(io::Error::other)?, 0)).await?;
        let address = listener.local_addr()?;
        let record = Arc::new(Mutex::new(Record::default()));
        tokio::spawn(relay(listener, resolver, Arc::clone(&record)));
        Ok(Self { address, record })
    }

    /// Where the stub believes the resolver to be.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A copy of everything seen so far.
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }
}

impl Record {
    /// Octets seen, both directions together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether more went by than is kept.
    pub fn is_incomplete(&self) -> bool {
        self.overflow
    }

    /// Every connection's octets, each direction by itself.
    pub fn streams(&self) -> impl Iterator<Item = &[u8]> {
        self.streams.iter().map(Vec::as_slice)
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        Mark(self.streams.iter().map(Vec::len).collect())
    }

    /// What went one way since `mark`, connection after connection.
    pub fn since(&self, mark: &Mark, direction: Direction) -> Vec<u8> {
        let first = if direction == Direction::Up { 0 } else { 1 };
        let streams = self.streams.iter().enumerate().skip(first).step_by(2);
        streams
            .flat_map(|(i, octets)| &octets[mark.0.get(i).copied().unwrap_or(0)..])
            .copied()
            .collect()
    }

    fn add(&mut self, stream: usize, octets: &[u8]) {
        self.total += octets.len();
        if self.total > MAX_RECORD {
            self.overflow = true;
        } else {
            self.streams[stream].extend_from_slice(octets);
        }
    }
}

async fn relay(listener: TcpListener, resolver: SocketAddr, record: Arc<Mutex<Record>>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(resolver).await else {
            continue;
        };
        // A router passes packets on as they come. If this fails, the relay is slower, and no less watchful.
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        let up = {
            let mut record = lock(&record);
            record.streams.extend([Vec::new(), Vec::new()]);
            record.streams.len() - 2
        };
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        tokio::spawn(pump(near_in, far_out, Arc::clone(&record), up));
        tokio::spawn(pump(far_in, near_out, Arc::clone(&record), up + 1));
    }
}

/// Records, then passes on: nothing arrives that was not seen. Ends with either side.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, record: Arc<Mutex<Record>>, stream: usize) {
    let mut buffer = vec![0; READ_LEN];
    while let Ok(len) = from.read(&mut buffer).await {
        lock(&record).add(stream, &buffer[..len]);
        if len == 0 || to.write_all(&buffer[..len]).await.is_err() {
            break;
        }
    }
    // The other side learns that nothing more comes; if it is gone already there is nobody to tell.
    let _ = to.shutdown().await;
}

/// A poisoned lock holds octets all the same.
fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_are_recorded_and_passed_on() {
        let resolver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let observer = Observer::start(resolver.local_addr().unwrap()).await.unwrap();
        let mut stub = TcpStream::connect(observer.address()).await.unwrap();
        let (mut server, _) = resolver.accept().await.unwrap();
        let mut buffer = [0; 4];

        stub.write_all(b"up 1").await.unwrap();
        server.read_exact(&mut buffer).await.unwrap();
        let mark = observer.record().mark();
        server.write_all(b"down").await.unwrap();
        stub.read_exact(&mut buffer).await.unwrap();

        let record = observer.record();
        assert_eq!(record.since(&Mark::default(), Direction::Up), b"up 1");
        assert_eq!(record.since(&mark, Direction::Up), b"");
        assert_eq!(record.since(&mark, Direction::Down), b"down");
        assert_eq!(
            (record.total(), record.streams().count(), record.is_incomplete()),
            (8, 2, false)
        );
    }

    #[test]
    fn what_is_not_kept_is_confessed() {
        let mut record = Record {
            streams: vec![Vec::new(), Vec::new()],
            ..Record::default()
        };
        record.add(0, &vec![0; MAX_RECORD]);
        assert!(!record.is_incomplete());
        record.add(1, b"x");
        assert!(record.is_incomplete());
    }
}
