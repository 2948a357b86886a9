//! TCP to one of a resolver's addresses. Takes [`SocketAddr`]s only: there is no way to hand it a name.
//!
//! Several addresses are raced as RFC 8305 section 5 has it: the one that last worked first, then IPv6 and IPv4 in
//! turn, a new one every 250 ms or as soon as the one before failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ExchangeError;
use crate::os::socket::limit_unacknowledged;

/// A resolver's addresses and what became of them.
#[derive(Debug)]
pub(super) struct Dialer {
    addresses: Vec<SocketAddr>,
    memory: Mutex<Memory>,
}

/// Which address worked and which one did not, as far as the whole way to a TLS session.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    winner: Option<SocketAddr>,
    loser: Option<SocketAddr>,
}

impl Dialer {
    /// A dialer that has tried nothing yet.
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            memory: Mutex::default(),
        }
    }

    /// Connects to the first address that answers, with `TCP_NODELAY` set. No try lasts longer than [`CONNECT_LIMIT`].
    ///
    /// # Errors
    /// `Network`, with the last address's own error.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<(TcpStream, SocketAddr), ExchangeError> {
        let memory = *self.lock();
        let mut waiting = in_order(&self.addresses, memory).into_iter();
        let mut tries = JoinSet::new();
        let mut failure = ExchangeError::network("no address to connect to");
        let mut next_start = Instant::now();
        loop {
            let more = waiting.len() > 0;
            tokio::select! {
                () = sleep_until(next_start), if more => {
                    if let Some(address) = waiting.next() {
                        tries.spawn(connect_one(address, deadline));
                    }
                    next_start = Instant::now() + STAGGER;
                }
                Some(ended) = tries.join_next() => match ended {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => {
                        failure = error;
                        next_start = Instant::now();
                    }
                    Err(_) => failure = ExchangeError::network("connect was stopped"),
                },
                else => return Err(failure),
            }
        }
    }

    /// The way to this address worked as far as TLS: it goes first next time.
    pub(super) fn worked(&self, address: SocketAddr) {
        *self.lock() = Memory {
            winner: Some(address),
            loser: None,
        };
    }

    /// Something took the connection there and then failed: it goes last next time.
    pub(super) fn failed(&self, address: SocketAddr) {
        let mut memory = self.lock();
        memory.loser = Some(address);
        memory.winner = memory.winner.filter(|winner| *winner != address);
    }

    /// Nothing is known any more: another network.
    pub(super) fn forget(&self) {
        *self.lock() = Memory::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The order in which addresses are tried: IPv6 and IPv4 in turn (RFC 8305 section 4), each family in the configured
/// order.
fn in_order(addresses: &[SocketAddr], memory: Memory) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(SocketAddr::is_ipv6);
    let mut order: Vec<SocketAddr> = (0..v6.len().max(v4.len()))
        .flat_map(|i| [v6.get(i), v4.get(i)])
        .flatten()
        .copied()
        .collect();
    order.sort_by_key(|address| match Some(*address) {
        known if known == memory.winner => 0,
        known if known == memory.loser => 2,
        _ => 1,
    });
    order
}

async fn connect_one(address: SocketAddr, deadline: Instant) -> Result<(TcpStream, SocketAddr), ExchangeError> {
    let limit = deadline.min(Instant::now() + CONNECT_LIMIT);
    let connected = match timeout_at(limit, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    };
    connected
        .and_then(|stream| stream.set_nodelay(true).map(|()| (stream, address)))
        .inspect(|(stream, _)| limit_unacknowledged(stream, MAX_UNACKNOWLEDGED))
        .map_err(|error| ExchangeError::network(format!("connect to {address}: {}", plain(&error))))
}

/// An I/O error in lower case and without its number.
pub(super) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => {
            let text = error.to_string().to_lowercase();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

/// Time between the starts of two tries: the "connection attempt delay" of RFC 8305 section 5. A dead family costs
/// this.
const STAGGER: Duration = Duration::from_millis(250);

/// A SYN, and its first two repeats at 1 and 3 seconds minus what a client's patience of 5 seconds needs for the
/// rest: a second address still gets its turn within one query.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_millis(2_500);

/// A connection whose octets nobody acknowledges for this long is dead: the time of a query, rounded down.
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ExchangeErrorKind;
    use tokio::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn r8305_1_families_take_turns_and_ipv6_begins() {
        let configured = addresses(&["9.9.9.9:853", "149.112.112.112:853", "[2620:fe::fe]:853"]);
        let expected = addresses(&["[2620:fe::fe]:853", "9.9.9.9:853", "149.112.112.112:853"]);
        assert_eq!(in_order(&configured, Memory::default()), expected);
    }

    #[test]
    fn r8305_1_the_winner_goes_first_and_the_loser_last() {
        let configured = addresses(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let memory = Memory {
            winner: Some(configured[2]),
            loser: Some(configured[0]),
        };
        assert_eq!(
            in_order(&configured, memory),
            addresses(&["192.0.2.3:1", "192.0.2.2:1", "192.0.2.1:1"])
        );
    }

    #[tokio::test]
    async fn a_refusal_goes_on_to_the_next_address_without_waiting() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dialer = Dialer::new(vec![gone, alive]);
        let start = Instant::now();
        let (stream, address) = dialer.connect(soon()).await.unwrap();
        assert!(start.elapsed() < STAGGER);
        assert_eq!((address, stream.nodelay().unwrap()), (alive, true));
        dialer.worked(alive);
        assert_eq!(in_order(&dialer.addresses, *dialer.lock())[0], alive);
        dialer.failed(alive);
        assert_eq!(in_order(&dialer.addresses, *dialer.lock())[1], alive);
    }

    #[tokio::test]
    async fn r8305_1_a_silent_address_costs_one_stagger() {
        // A listener whose backlog is full drops further SYNs: the nearest thing to a black hole on loopback.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        let mut fillers = Vec::new();
        while let Ok(Ok(filler)) = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(silent)).await {
            fillers.push(filler);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let start = Instant::now();
        let (_, address) = Dialer::new(vec![silent, alive]).connect(soon()).await.unwrap();
        let spent = start.elapsed();
        assert_eq!(address, alive);
        assert!(
            spent >= STAGGER && spent < STAGGER + Duration::from_millis(200),
            "{spent:?}"
        );
        let error = Dialer::new(vec![silent])
            .connect(Instant::now() + Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(error.detail, format!("connect to {silent}: no answer"));
    }

    #[tokio::test]
    async fn all_refused_names_the_last_one() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Dialer::new(vec![gone]).connect(soon()).await.unwrap_err();
        assert_eq!(error.kind, ExchangeErrorKind::Network);
        assert_eq!(error.detail, format!("connect to {gone}: connection refused"));
        let error = Dialer::new(Vec::new()).connect(soon()).await.unwrap_err();
        assert_eq!(error.detail, "no address to connect to");
    }
}
