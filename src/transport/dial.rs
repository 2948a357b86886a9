//! TCP to one of a resolver's addresses. Takes [`SocketAddr`]s only: there is no way to hand it a name.
//!
//! Several addresses are raced as RFC 8305 section 5 has it: the one that last worked on this network first, then IPv6 and IPv4 in
//! turn, a new one when the one before has had its time or failed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ExchangeError;
use super::addresses::Addresses;
use super::hold::Hold;
use super::plain::Protocol;
use super::way::{Exit, Network};
use crate::os::socket::{limit_unacknowledged, stream_to};

/// A resolver's addresses and what became of them.
#[derive(Debug)]
pub(super) struct Dialer {
    addresses: Arc<Addresses>,
    exit: Exit,
    memories: Mutex<Memories>,
}

/// Which address worked and which one did not, as far as the whole way to a TLS session.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// The one that worked, and how long its TCP handshake took.
    winner: Option<(SocketAddr, Duration)>,
    loser: Option<SocketAddr>,
}

/// What is remembered of this network and of those before it, the latest first; at most [`MAX_NETWORKS`].
#[derive(Debug, Default)]
struct Memories {
    network: Network,
    current: Memory,
    others: VecDeque<(Network, Memory)>,
}

/// A connection that is not yet TLS.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    /// How long the handshake of TCP took: a round trip.
    pub(super) took: Duration,
    /// With the way as it was before the first packet, so that no change since is overlooked.
    pub(super) hold: Hold,
}

impl Dialer {
    /// A dialer that has tried nothing yet.
    pub(super) fn new(addresses: Arc<Addresses>, exit: Exit) -> Self {
        Self {
            addresses,
            exit,
            memories: Mutex::default(),
        }
    }

    /// Connects to the first address that answers, with `TCP_NODELAY` set. No try lasts longer than [`CONNECT_LIMIT`].
    ///
    /// # Errors
    /// `Network`, with the last address's own error; at once if packets may not leave for any.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, ExchangeError> {
        let memory = self.lock().current;
        let mut waiting = in_order(&self.addresses.current(), memory).into_iter();
        let mut tries = JoinSet::new();
        let mut failure = ExchangeError::network("no address to connect to");
        let mut next_start = Instant::now();
        loop {
            let more = waiting.len() > 0;
            tokio::select! {
                () = sleep_until(next_start), if more => {
                    if let Some(address) = waiting.next() {
                        tries.spawn(connect_one(address, self.exit.clone(), deadline));
                    }
                    next_start = Instant::now() + stagger(memory);
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
    pub(super) fn worked(&self, address: SocketAddr, took: Duration) {
        let network = Network::of(&self.addresses.current(), &self.exit);
        let mut memories = self.lock();
        memories.network = network;
        memories.current = Memory {
            winner: Some((address, took)),
            loser: None,
        };
    }

    /// Something took the connection there and then failed: it goes last next time.
    pub(super) fn failed(&self, address: SocketAddr) {
        let memory = &mut self.lock().current;
        memory.loser = Some(address);
        memory.winner = memory.winner.filter(|(winner, _)| *winner != address);
    }

    /// If this is another network, what is known of it counts from now on, and what was known of the old one is kept for later.
    pub(super) fn network_changed(&self) {
        let network = Network::of(&self.addresses.current(), &self.exit);
        self.lock().move_to(network);
    }

    /// Whether packets may leave for any of the addresses now.
    ///
    /// # Errors
    /// `Network`, with what is in the way.
    pub(super) fn may_leave(&self) -> Result<(), ExchangeError> {
        if self.exit.is_any() {
            return Ok(());
        }
        let mut failure = ExchangeError::network("no address to connect to");
        for address in self.addresses.current() {
            match self.exit.look(address, Protocol::Tcp) {
                Ok(_) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn lock(&self) -> MutexGuard<'_, Memories> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memories {
    fn move_to(&mut self, network: Network) {
        if network == self.network {
            return;
        }
        let at = self.others.iter().position(|(other, _)| *other == network);
        let known = at.and_then(|at| self.others.remove(at));
        let memory = known.map(|(_, memory)| memory).unwrap_or_default();
        let old = std::mem::replace(&mut self.network, network);
        self.others
            .push_front((old, std::mem::replace(&mut self.current, memory)));
        self.others.truncate(MAX_NETWORKS);
    }
}

/// Time between the starts of two tries (RFC 8305 section 5, "connection attempt delay"). The winner gets half a round trip more
/// than it last took: a dead one then costs little on a fast road, and a slow road is not asked twice.
fn stagger(memory: Memory) -> Duration {
    match memory.winner {
        Some((_, took)) => (took + took / 2).clamp(MIN_STAGGER, MAX_STAGGER),
        None => STAGGER,
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
    let winner = memory.winner.map(|(winner, _)| winner);
    order.sort_by_key(|address| match Some(*address) {
        known if known == winner => 0,
        known if known == memory.loser => 2,
        _ => 1,
    });
    order
}

async fn connect_one(address: SocketAddr, exit: Exit, deadline: Instant) -> Result<Connected, ExchangeError> {
    let way = exit.look(address, Protocol::Tcp)?;
    let begin = Instant::now();
    let limit = deadline.min(begin + CONNECT_LIMIT);
    let connected = match timeout_at(limit, stream_to(address, exit.interface.as_ref())).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    };
    connected
        .and_then(|stream| {
            stream.set_nodelay(true)?;
            limit_unacknowledged(&stream, MAX_UNACKNOWLEDGED);
            Ok(Connected {
                hold: Hold::new(way, &stream)?,
                stream,
                address,
                took: begin.elapsed(),
            })
        })
        .map_err(|error| exit.failure("connect to", address, &error))
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

/// The stagger while nothing is known of this network: what RFC 8305 section 5 recommends.
const STAGGER: Duration = Duration::from_millis(250);

/// The recommended minimum of RFC 8305 section 5.
const MIN_STAGGER: Duration = Duration::from_millis(100);

/// A winner that died costs this; with two handshakes after it, names are answered within the second.
const MAX_STAGGER: Duration = Duration::from_millis(500);

/// Networks remembered beside this one: home, work, the telephone, some hotels.
const MAX_NETWORKS: usize = 8;

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

    fn dialer(addresses: Vec<SocketAddr>) -> Dialer {
        Dialer::new(Arc::new(Addresses::new(addresses)), Exit::default())
    }

    #[test]
    fn r8305_1_a_winner_gets_half_a_round_trip_more_than_it_took() {
        let after = |millis| {
            let winner = Some((addresses(&["192.0.2.1:1"])[0], Duration::from_millis(millis)));
            stagger(Memory { winner, loser: None }).as_millis()
        };
        assert_eq!(stagger(Memory::default()), STAGGER);
        assert_eq!([1, 100, 200, 900].map(after), [100, 150, 300, 500]);
    }

    #[test]
    fn r8305_1_the_winner_is_remembered_for_each_network() {
        let dialer = dialer(addresses(&["192.0.2.1:1", "192.0.2.2:1"]));
        let winner = |dialer: &Dialer| dialer.lock().current.winner.map(|(winner, _)| winner);
        let wins = |address| dialer.lock().current.winner = Some((address, Duration::ZERO));
        let [one, other] = [0, 1].map(|at| dialer.addresses.current()[at]);
        let network = Network::behind;
        dialer.lock().move_to(network(1));
        wins(one);
        dialer.lock().move_to(network(2));
        assert_eq!(winner(&dialer), None, "a stranger");
        wins(other);
        for (n, expected) in [(1, one), (2, other), (1, one)] {
            dialer.lock().move_to(network(n));
            assert_eq!(winner(&dialer), Some(expected));
        }
        (3..30).for_each(|n| dialer.lock().move_to(network(n)));
        assert_eq!(dialer.lock().others.len(), MAX_NETWORKS);
        dialer.lock().move_to(network(1));
        assert_eq!(winner(&dialer), None, "forgotten in favour of newer ones");
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
            winner: Some((configured[2], Duration::ZERO)),
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
        let dialer = dialer(vec![gone, alive]);
        let start = Instant::now();
        let connected = dialer.connect(soon()).await.unwrap();
        assert!(start.elapsed() < STAGGER);
        let nodelay = connected.stream.nodelay().unwrap();
        assert_eq!((connected.address, nodelay), (alive, true));
        let order = || in_order(&dialer.addresses.current(), dialer.lock().current);
        dialer.worked(alive, connected.took);
        assert_eq!(order()[0], alive);
        dialer.failed(alive);
        assert_eq!(order()[1], alive);
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
        let dialer = dialer(vec![silent, alive]);
        assert_eq!(dialer.connect(soon()).await.unwrap().address, alive);
        let spent = start.elapsed();
        assert!(
            spent >= STAGGER && spent < STAGGER + Duration::from_millis(200),
            "{spent:?}"
        );
        let error = self::dialer(vec![silent])
            .connect(Instant::now() + Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(error.detail, format!("connect to {silent}: no answer"));
    }

    #[tokio::test]
    async fn all_refused_names_the_last_one() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = dialer(vec![gone]).connect(soon()).await.unwrap_err();
        assert_eq!(error.kind, ExchangeErrorKind::Network);
        assert_eq!(error.detail, format!("connect to {gone}: connection refused"));
        let error = dialer(Vec::new()).connect(soon()).await.unwrap_err();
        assert_eq!(error.detail, "no address to connect to");
    }
}
