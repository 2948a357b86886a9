//! A TCP relay between the stub and the scripted resolver, with a fault that a case can set at any moment.
//!
//! What happens to connections that exist when a fault begins is part of the fault and said at each [`Fault`].

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::random::Random;

/// What the network does to every connection through the relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nobody listens; what exists is reset.
    Refuse,
    /// SYNs are dropped (a full backlog); what exists never moves another octet, not even when the fault is over.
    Blackhole,
    /// Connections are accepted and stand still, old and new ones; they move on when the fault is over.
    Freeze,
    /// Every connection is reset, new ones right after the accept.
    Reset,
    /// A connection is reset after this many octets to the stub.
    ResetAfter(u64),
    /// A connection is closed in order after this many octets to the stub.
    CloseAfter(u64),
    /// Octets to the stub are lost while its own still arrive; a connection that lost one stays so for ever.
    HalfOpen,
    /// This much later to the stub.
    Delay(Duration),
    /// Octets a second, each way.
    Rate(u64),
    /// One bit is wrong in every so many octets to the stub.
    Flip(u64),
    /// A captive portal: what exists is reset, every new connection gets a page in plain HTTP.
    Portal,
}

/// What `Rate` and slow stubs may leave in the relay, a direction.
const QUEUE_LIMIT: usize = 256 << 10;

/// How the lab makes connections stall by chance (the tail measurement).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    /// In every second in which it carried something a connection begins a stall with the chance of one in this many.
    pub(crate) one_in: usize,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
    /// Each way, always.
    pub(crate) delay: Duration,
}

/// A running relay; its tasks end with the runtime.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    fault: watch::Sender<Fault>,
    target: watch::Sender<SocketAddr>,
    connections: AtomicUsize,
    stalls: Option<Stalls>,
    begun: AtomicU64,
}

impl Relay {
    /// Listens on `address` and carries to `target`. Fails if somebody else has the port.
    pub(crate) async fn start(address: SocketAddr, target: SocketAddr, stalls: Option<Stalls>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Arc::new(Shared {
            fault: watch::Sender::new(Fault::None),
            target: watch::Sender::new(target),
            connections: AtomicUsize::new(0),
            stalls,
            begun: AtomicU64::new(0),
        });
        tokio::spawn(listen(listener, address, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// New connections go there.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.shared.target.send_replace(target);
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Stalls begun so far.
    pub(crate) fn stalls(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }
}

/// Keeps the port in the state that the fault wants.
async fn listen(first: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut fault = shared.fault.subscribe();
    let mut listener = Some(first);
    loop {
        let now = *fault.borrow_and_update();
        match now {
            Fault::Refuse => {
                listener = None;
                let _ = fault.changed().await;
            }
            Fault::Blackhole => {
                drop(listener.take());
                let _full = full_backlog(address).await;
                let _ = fault.changed().await;
            }
            _ => {
                let open = match listener.take() {
                    Some(open) => open,
                    None => bind(address).await,
                };
                tokio::select! {
                    accepted = open.accept() => if let Ok((stub, _)) = accepted {
                        shared.connections.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(carry(stub, Arc::clone(&shared)));
                    },
                    _ = fault.changed() => {}
                }
                listener = Some(open);
            }
        }
    }
}

/// The port was ours a moment ago and is outside the ephemeral range: a few tries are enough.
async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("the relay lost its port {address}");
}

/// A listener whose backlog is full, so that the kernel drops every further SYN, and what fills it.
async fn full_backlog(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = || {
        if address.is_ipv6() {
            TcpSocket::new_v6()
        } else {
            TcpSocket::new_v4()
        }
    };
    let mut tries = 0;
    let listener = loop {
        let socket = socket().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok()
            && let Ok(listener) = socket.listen(0)
        {
            break listener;
        }
        tries += 1;
        assert!(tries < 200, "the relay lost its port {address}");
        sleep(Duration::from_millis(5)).await;
    };
    let mut fillers = Vec::new();
    // A backlog of 0 holds one; the second try proves that it is full.
    while let Ok(Ok(filler)) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        fillers.push(filler);
        assert!(fillers.len() < 16, "the backlog never fills");
    }
    (listener, fillers)
}

/// How a direction came to its end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Closed,
    Reset,
    /// It moves nothing any more and says nothing of it.
    Dead,
}

async fn carry(mut stub: TcpStream, shared: Arc<Shared>) {
    let fault = *shared.fault.subscribe().borrow();
    let end = match fault {
        Fault::Reset | Fault::Refuse => End::Reset,
        Fault::Portal => {
            let _ = portal(&mut stub).await;
            return;
        }
        _ => {
            let target = *shared.target.borrow();
            match TcpStream::connect(target).await {
                Ok(mut server) => {
                    let end = both(&mut stub, &mut server, &shared).await;
                    if end == End::Dead {
                        // Holds both sockets: a close would say something.
                        pending::<()>().await;
                    }
                    let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
                    end
                }
                Err(_) => End::Reset,
            }
        }
    };
    if end == End::Reset {
        let _ = SockRef::from(&stub).set_linger(Some(Duration::ZERO));
    } else {
        let _ = stub.shutdown().await;
    }
}

/// What a hotel's gateway says to whatever comes.
async fn portal(stub: &mut TcpStream) -> io::Result<()> {
    let mut seen = [0; 2048];
    let _ = stub.read(&mut seen).await?;
    let page = "<html><body>Please sign in</body></html>";
    let head = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    stub.write_all(head.as_bytes()).await?;
    stub.write_all(page.as_bytes()).await?;
    stub.shutdown().await
}

async fn both(stub: &mut TcpStream, server: &mut TcpStream, shared: &Shared) -> End {
    let _ = (stub.set_nodelay(true), server.set_nodelay(true));
    let (stub_reader, stub_writer) = stub.split();
    let (server_reader, server_writer) = server.split();
    let stalled = watch::Sender::new(false);
    let carried = Arc::new(AtomicBool::new(false));
    let delay = shared.stalls.map_or(Duration::ZERO, |stalls| stalls.delay);
    let pump = |down: bool| Pump {
        down,
        delay,
        fault: shared.fault.subscribe(),
        stalled: stalled.subscribe(),
        queue: VecDeque::new(),
        queued: 0,
        passed: 0,
        free_at: Instant::now(),
        deaf: false,
        carried: Arc::clone(&carried),
    };
    tokio::select! {
        end = pump(false).run(stub_reader, server_writer) => end,
        end = pump(true).run(server_reader, stub_writer) => end,
        end = chance(shared, &stalled, &carried) => end,
    }
}

/// Rolls the dice once a second and stalls the connection.
async fn chance(shared: &Shared, stalled: &watch::Sender<bool>, carried: &AtomicBool) -> End {
    let Some(stalls) = shared.stalls else {
        return pending().await;
    };
    let number = shared.connections.load(Ordering::Relaxed) as u64;
    let mut random = Random::new(stalls.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    loop {
        let moment = Duration::from_millis(random.below(1000) as u64);
        sleep(moment).await;
        let busy = carried.swap(false, Ordering::Relaxed);
        if random.below(stalls.one_in) == 0 && busy {
            shared.begun.fetch_add(1, Ordering::Relaxed);
            stalled.send_replace(true);
            sleep(stalls.length).await;
            stalled.send_replace(false);
        }
        sleep(Duration::from_secs(1).saturating_sub(moment)).await;
    }
}

/// One direction of one connection: a line of chunks, each with the moment at which it is due.
struct Pump {
    /// To the stub.
    down: bool,
    delay: Duration,
    fault: watch::Receiver<Fault>,
    stalled: watch::Receiver<bool>,
    queue: VecDeque<(Instant, Vec<u8>)>,
    queued: usize,
    /// Octets written since the fault began (or the connection, if later).
    passed: u64,
    /// `Rate`: when the line is free again.
    free_at: Instant,
    /// `HalfOpen` took something: nothing after it can be of use.
    deaf: bool,
    /// Something moved since the dice were rolled.
    carried: Arc<AtomicBool>,
}

impl Pump {
    async fn run(mut self, mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> End {
        let mut buffer = vec![0; 16 << 10];
        let mut at_end = false;
        loop {
            let fault = *self.fault.borrow_and_update();
            match fault {
                Fault::Refuse | Fault::Reset | Fault::Portal => return End::Reset,
                Fault::Blackhole => return End::Dead,
                _ => {}
            }
            let frozen = fault == Fault::Freeze || *self.stalled.borrow_and_update();
            let due = self.queue.front().map(|(due, _)| *due);
            if at_end && due.is_none() {
                return End::Closed;
            }
            let (room, limit) = self.room(fault);
            tokio::select! {
                changed = self.fault.changed() => {
                    if changed.is_err() { return End::Reset; }
                    self.passed = 0;
                    if !matches!(*self.fault.borrow(), Fault::Rate(_)) { self.hurry(); }
                }
                _ = self.stalled.changed() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !frozen => {
                    let Some((_, chunk)) = self.queue.pop_front() else { continue };
                    self.queued -= chunk.len();
                    if let Some(end) = self.write(chunk, fault, &mut writer).await { return end; }
                }
                read = reader.read(&mut buffer[..limit]), if room && !frozen && !at_end => match read {
                    Ok(0) => at_end = true,
                    Ok(len) => self.enqueue(buffer[..len].to_vec(), fault),
                    Err(_) => return End::Reset,
                },
            }
        }
    }

    /// Whether there is room to read, and how much at a time.
    fn room(&self, fault: Fault) -> (bool, usize) {
        match fault {
            // A twentieth of a second at a time, and a second of it in the line.
            Fault::Rate(rate) => {
                let rate = usize::try_from(rate).unwrap();
                (self.queued < rate, (rate / 20).max(1))
            }
            _ => (self.queued < QUEUE_LIMIT, 16 << 10),
        }
    }

    fn enqueue(&mut self, chunk: Vec<u8>, fault: Fault) {
        let now = Instant::now();
        self.carried.store(true, Ordering::Relaxed);
        let due = match fault {
            Fault::HalfOpen if self.down => {
                self.deaf = true;
                return;
            }
            _ if self.deaf => return,
            Fault::Delay(extra) if self.down => now + self.delay + extra,
            Fault::Rate(rate) => {
                let time = Duration::from_micros(chunk.len() as u64 * 1_000_000 / rate);
                self.free_at = self.free_at.max(now) + time;
                self.free_at
            }
            _ => now + self.delay,
        };
        self.queued += chunk.len();
        self.queue.push_back((due, chunk));
    }

    /// The fault is over: what waits in the line goes out at the line's own pace.
    fn hurry(&mut self) {
        let latest = Instant::now() + self.delay;
        for (due, _) in &mut self.queue {
            *due = latest.min(*due);
        }
        self.free_at = Instant::now();
    }

    async fn write(&mut self, mut chunk: Vec<u8>, fault: Fault, writer: &mut WriteHalf<'_>) -> Option<End> {
        let before = self.passed;
        self.passed += chunk.len() as u64;
        let crossing = |every: u64| before / every != self.passed / every;
        let mut end = None;
        if self.down {
            match fault {
                Fault::ResetAfter(limit) | Fault::CloseAfter(limit) if self.passed >= limit => {
                    chunk.truncate(usize::try_from(limit.saturating_sub(before)).unwrap());
                    let reset = matches!(fault, Fault::ResetAfter(_));
                    end = Some(if reset { End::Reset } else { End::Closed });
                }
                Fault::Flip(every) if crossing(every) => {
                    let middle = chunk.len() / 2;
                    chunk[middle] ^= 0x10;
                }
                _ => {}
            }
        }
        match writer.write_all(&chunk).await {
            Ok(()) => end,
            Err(_) => Some(End::Reset),
        }
    }
}
