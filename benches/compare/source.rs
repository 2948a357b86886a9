//! An upstream of our own, for the rows that count queries or break the road: DoT and DoH, answering every name, which can be told to reset
//! its connections, to fall silent on them, to say GOAWAY, to go away for a while.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::configs::Address;
use crate::{clock, source_doh, source_dot, tls, wire};

/// What is done to all connections that are open at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None yet.
    Nothing,
    /// RST.
    Reset,
    /// Nothing is read from them or written to them any more. New ones are served.
    Silence,
    /// GOAWAY (HTTP/2 alone); what was asked before is answered.
    GoAway,
}

/// What the connections share.
pub(crate) struct Shared {
    counts: Mutex<HashMap<Vec<u8>, u32>>,
    counting: bool,
    queries: AtomicU64,
    delay_ms: AtomicU32,
    /// When the names with the letter `x` end.
    end_of_x: Mutex<Option<Instant>>,
}

impl Shared {
    /// What is answered to this query, and after which time.
    pub(crate) fn answer(&self, query: &[u8]) -> Option<(Vec<u8>, Duration)> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        if self.counting
            && let Some(question) = wire::question(query)
        {
            *locked(&self.counts).entry(question.to_ascii_lowercase()).or_default() += 1;
        }
        let response = wire::respond(query, |letter| self.ttl(letter))?;
        Some((
            response,
            Duration::from_millis(self.delay_ms.load(Ordering::Relaxed).into()),
        ))
    }

    fn ttl(&self, letter: u8) -> u32 {
        match *locked(&self.end_of_x) {
            Some(end) if letter == b'x' => {
                let left = end.saturating_duration_since(clock::now());
                u32::try_from(left.as_secs()).unwrap_or(wire::TTL).max(1)
            }
            _ => wire::TTL,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The upstream; it ends with this value.
pub(crate) struct Source {
    runtime: Runtime,
    shared: Arc<Shared>,
    fault: watch::Sender<(u64, Fault)>,
    open: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    pub(crate) address: Address,
}

/// A listening socket for each protocol.
pub(crate) struct Doors {
    pub(crate) dot: StdListener,
    pub(crate) doh: StdListener,
}

impl Doors {
    /// Opens two, in the calling thread's namespace. Port 0 is any.
    pub(crate) fn open(ip: IpAddr, dot: u16, doh: u16) -> Result<Self, String> {
        Ok(Self {
            dot: listen(SocketAddr::new(ip, dot))?,
            doh: listen(SocketAddr::new(ip, doh))?,
        })
    }
}

fn listen(address: SocketAddr) -> Result<StdListener, String> {
    let open = || -> std::io::Result<StdListener> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|error| format!("cannot listen at {address}: {error}"))
}

impl Source {
    /// Serves at these doors; counts queries by name if `counting`.
    pub(crate) fn start(doors: Doors, counting: bool) -> Result<Self, String> {
        let port = |listener: &StdListener| listener.local_addr().map_err(|error| error.to_string());
        let (dot, doh) = (port(&doors.dot)?, port(&doors.doh)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        let source = Self {
            runtime,
            shared: Arc::new(Shared {
                counts: Mutex::default(),
                counting,
                queries: AtomicU64::new(0),
                delay_ms: AtomicU32::new(0),
                end_of_x: Mutex::default(),
            }),
            fault: watch::Sender::new((0, Fault::Nothing)),
            open: Mutex::default(),
            address: Address {
                ip: dot.ip(),
                plain: 0,
                dot: dot.port(),
                doh: doh.port(),
            },
        };
        source.serve(doors)?;
        Ok(source)
    }

    fn serve(&self, doors: Doors) -> Result<(), String> {
        let _inside = self.runtime.enter();
        let adopt = |listener| TcpListener::from_std(listener).map_err(|error| error.to_string());
        let (dot, doh) = (adopt(doors.dot)?, adopt(doors.doh)?);
        let over_tls = TlsAcceptor::from(Arc::new(tls::server_config(None)?));
        let over_http = TlsAcceptor::from(Arc::new(tls::server_config(Some(b"h2"))?));
        let (shared, faults) = (Arc::clone(&self.shared), self.fault.subscribe());
        let first = self.runtime.spawn(accept(dot, over_tls, shared, faults, Protocol::Dot));
        let (shared, faults) = (Arc::clone(&self.shared), self.fault.subscribe());
        let second = self
            .runtime
            .spawn(accept(doh, over_http, shared, faults, Protocol::Doh));
        locked(&self.open).extend([first, second]);
        Ok(())
    }

    /// On loopback, at any ports.
    pub(crate) fn on_loopback(counting: bool) -> Result<Self, String> {
        Self::start(Doors::open(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0, 0)?, counting)
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.fault.send_modify(|(number, now)| {
            *number += 1;
            *now = fault;
        });
    }

    /// Is not there for this long: connections reset, connecting refused.
    pub(crate) fn be_away(&self, time: Duration) -> Result<(), String> {
        for task in locked(&self.open).drain(..) {
            task.abort();
            // Closed when it has ended, not when it was told to.
            let _ = self.runtime.block_on(task);
        }
        self.fail(Fault::Reset);
        clock::rest(time);
        self.serve(Doors::open(self.address.ip, self.address.dot, self.address.doh)?)
    }

    pub(crate) fn set_delay_ms(&self, delay: u32) {
        self.shared.delay_ms.store(delay, Ordering::Relaxed);
    }

    /// Names with the letter `x` end then, all together.
    pub(crate) fn end_x_at(&self, end: Instant) {
        *locked(&self.shared.end_of_x) = Some(end);
    }

    /// All queries so far.
    pub(crate) fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// How often each of the questions with this first letter was asked.
    pub(crate) fn take_counts(&self, letter: u8) -> Vec<u32> {
        let mut counts = locked(&self.shared.counts);
        let taken = std::mem::take(&mut *counts);
        taken
            .into_iter()
            .filter(|(question, _)| question.get(1) == Some(&letter))
            .map(|(_, count)| count)
            .collect()
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Dot,
    Doh,
}

/// A connection's way to learn of faults: those that come after it was accepted.
pub(crate) type Faults = watch::Receiver<(u64, Fault)>;

async fn accept(door: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, faults: Faults, protocol: Protocol) {
    loop {
        let Ok((tcp, _)) = door.accept().await else { continue };
        let (acceptor, shared, mut faults) = (acceptor.clone(), Arc::clone(&shared), faults.clone());
        faults.mark_unchanged();
        tokio::spawn(async move {
            let Some(breaker) = Breaker::of(&tcp) else { return };
            let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(tcp)).await else {
                return;
            };
            match protocol {
                Protocol::Dot => source_dot::serve(stream, shared, faults, breaker).await,
                Protocol::Doh => source_doh::serve(stream, shared, faults, breaker).await,
            }
        });
    }
}

/// A second handle of a connection's socket, to have its end be a RST.
pub(crate) struct Breaker {
    socket: socket2::Socket,
}

impl Breaker {
    fn of(tcp: &TcpStream) -> Option<Self> {
        tcp.set_nodelay(true).ok()?;
        let socket = socket2::SockRef::from(tcp).try_clone().ok()?;
        Some(Self { socket })
    }

    /// From now on closing the connection resets it.
    pub(crate) fn arm(&self) {
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }
}
