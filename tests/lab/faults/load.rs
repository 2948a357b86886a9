//! The client: fresh names at a steady rate over UDP, every one of them taken down; and the control that asks the resolver itself.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client::{A, Ask};

/// Every query must be answered within this (promise 4).
pub(crate) const PROMISE: Duration = Duration::from_secs(5);

/// How long the book keeps a query when it is asked to give back: longer than a recovery is waited for.
const KEPT: Duration = Duration::from_secs(15);

/// Queries of one load, at the most: ids are 16 bits and must be unique among those under way.
const IDS: usize = 1 << 16;

/// A query and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) sent: Instant,
    pub(crate) hot: bool,
    /// When, and the RCODE.
    pub(crate) answered: Option<(Instant, u16)>,
}

impl Asked {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.answered, Some((_, 0)))
    }

    /// Answered within the promise.
    pub(crate) fn is_in_time(&self) -> bool {
        self.latency().is_some_and(|latency| latency <= PROMISE)
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.answered.map(|(at, _)| at.saturating_duration_since(self.sent))
    }
}

/// A load under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    book: Mutex<Book>,
    stop: AtomicBool,
    server: SocketAddr,
}

/// Every query, in order; a long run gives back what is old.
#[derive(Default)]
struct Book {
    /// How many were given back.
    retired: usize,
    asked: VecDeque<Asked>,
}

/// How names are chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Queries a second.
    pub(crate) rate: u32,
    /// Of a hundred queries, so many are for one of a hundred names that come again and again.
    pub(crate) hot: usize,
}

impl Load {
    pub(crate) async fn start(server: SocketAddr, mix: Mix) -> Self {
        let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
        let any = if server.ip().is_loopback() {
            (Ipv4Addr::LOCALHOST, 0).into()
        } else {
            any
        };
        let socket = Arc::new(UdpSocket::bind(any).await.unwrap());
        let _ = socket2::SockRef::from(&*socket).set_recv_buffer_size(4 << 20);
        socket.connect(server).await.unwrap();
        let shared = Arc::new(Shared {
            book: Mutex::default(),
            stop: AtomicBool::new(false),
            server,
        });
        let sender = tokio::spawn(send(Arc::clone(&socket), Arc::clone(&shared), mix));
        let receiver = tokio::spawn(receive(socket, Arc::clone(&shared)));
        Self {
            shared,
            tasks: vec![sender, receiver],
        }
    }

    /// The first fresh name sent at or after `since` that got a good answer: when it came.
    pub(crate) fn first_good(&self, since: Instant) -> Option<Instant> {
        let book = self.shared.book.lock().unwrap();
        // The newest are at the end: from there back to `since`.
        let after = book.asked.iter().rev().take_while(|asked| asked.sent >= since);
        after
            .filter(|asked| asked.is_good() && !asked.hot)
            .filter_map(|asked| asked.answered.map(|(at, _)| at))
            .min()
    }

    /// Stops asking, waits until everything is answered or its time is over, and hands over the book.
    pub(crate) async fn finish(self) -> Vec<Asked> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        while begin.elapsed() < PROMISE + Duration::from_millis(200) && self.is_waiting() {
            sleep(Duration::from_millis(20)).await;
        }
        for task in &self.tasks {
            task.abort();
        }
        std::mem::take(&mut self.shared.book.lock().unwrap().asked).into()
    }

    fn is_waiting(&self) -> bool {
        let now = Instant::now();
        let book = self.shared.book.lock().unwrap();
        book.asked
            .iter()
            .rev()
            .take_while(|asked| asked.sent + PROMISE > now)
            .any(|asked| asked.answered.is_none())
    }

    /// Takes everything out of the book that was sent over 15 s ago: how many, and how many of them were not answered in time.
    pub(crate) fn retire(&self) -> (usize, usize) {
        let now = Instant::now();
        let mut book = self.shared.book.lock().unwrap();
        let old = book.asked.partition_point(|asked| asked.sent + KEPT < now);
        let lost = book.asked.drain(..old).filter(|asked| !asked.is_in_time()).count();
        book.retired += old;
        (old, lost)
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.shared.server
    }
}

/// A label that no other load of this process has used.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn send(socket: Arc<UdpSocket>, shared: Arc<Shared>, mix: Mix) {
    let load = unique();
    let process = std::process::id();
    // More than 200 wake-ups a second say nothing more.
    let batch = mix.rate.div_ceil(200);
    let mut clock = interval(Duration::from_secs(1) * batch / mix.rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0_usize;
    while !shared.stop.load(Ordering::Relaxed) {
        clock.tick().await;
        for _ in 0..batch {
            let hot = number * 37 % 100 < mix.hot;
            let name = if hot {
                format!("hot{}.{load}.{process}.example", number % 100)
            } else {
                format!("n{number}.{load}.{process}.example")
            };
            let id = u16::try_from(number % IDS).unwrap();
            shared.book.lock().unwrap().asked.push_back(Asked {
                sent: Instant::now(),
                hot,
                answered: None,
            });
            number += 1;
            // A stub that is down answers with ICMP; that is one more query without a response.
            let _ = socket.send(&Ask::new(&name, A).id(id).edns().octets()).await;
        }
    }
}

async fn receive(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok(len) = socket.recv(&mut buffer).await else {
            continue;
        };
        if len < 12 {
            continue;
        }
        let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
        let rcode = u16::from(buffer[3] & 15);
        let mut book = shared.book.lock().unwrap();
        // The newest query with this id: the last round of ids that has reached it.
        let retired = book.retired;
        let Some(last) = (retired + book.asked.len()).checked_sub(1) else {
            continue;
        };
        let round = last / IDS * IDS + id;
        let index = if round > last {
            round.checked_sub(IDS)
        } else {
            Some(round)
        };
        if let Some(entry) = index.and_then(|index| book.asked.get_mut(index.checked_sub(retired)?)) {
            entry.answered.get_or_insert_with(|| (Instant::now(), rcode));
        }
    }
}

/// Asks one name over UDP; the RCODE, if an answer comes in time.
pub(crate) async fn ask(server: SocketAddr, name: &str, patience: Duration) -> Option<u16> {
    let any = if server.ip().is_loopback() {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let socket = UdpSocket::bind((any, 0)).await.unwrap();
    socket.connect(server).await.ok()?;
    socket.send(&Ask::new(name, A).edns().octets()).await.ok()?;
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(patience, socket.recv(&mut buffer)).await;
    matches!(received, Ok(Ok(12..))).then(|| u16::from(buffer[3] & 15))
}

/// A fresh name, for [`ask`].
pub(crate) fn fresh() -> String {
    format!("f{}.{}.example", unique(), std::process::id())
}
