//! A hit touches no heap (promise 6): 100,000 queries answered from the cache, and not one allocation by the server.
//!
//! A binary of its own, with one test: the allocator counts for the whole process, and a neighbour's test would be counted too.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tacenda::cache::{self, Cache};
use tacenda::policy::blocking::{BlockAnswer, Blocking};
use tacenda::policy::list::Action;
use tacenda::policy::local::LocalNames;
use tacenda::policy::rebind::Rebind;
use tacenda::policy::swap::Swap;
use tacenda::policy::{Policy, records, rules};
use tacenda::resolve::Resolver;
use tacenda::serve;
use tacenda::shutdown::Shutdown;
use tacenda::transport::{BoxFuture, Exchange, ExchangeError, Response};
use tacenda::upstream::Upstream;
use tacenda::upstream::pool::Pool;
use tacenda::upstream::select::Strategy;
use tacenda::wire::question::{Keepalive, read_question};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

/// Counts what every thread but the client's allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is the client's. Const-initialized and without a destructor: reading it allocates nothing.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !IS_CLIENT.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts cannot be written without; it hands everything to the system's"
)]
// SAFETY: every call goes unchanged to `System`, which keeps the contract of `GlobalAlloc`; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, len) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Hits in a row.
const HITS: u16 = 50_000;

/// Names of every sort that is answered at once: from the cache, also behind an alias of the user's; his records, with and without
/// an alias; a name on a list, one that stays home, and one that has none of this type.
const NAMES: [&[u8]; 8] = [
    b"\x03www\x07example\0",
    b"\x03far\x07example\0",
    b"\x03nas\x07example\0",
    b"\x04also\x07example\0",
    b"\x01x\x03ads\x07example\0",
    b"\x07printer\x05local\0",
    b"\x06router\x03lan\0",
    b"\x02v6\x07example\0",
];

/// Sends queries for [`NAMES`] in turn and waits for each answer; returns what other threads allocated.
fn allocations_of_hits(server: SocketAddr, hits: u16) -> u64 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let queries = NAMES.map(|name| [b"\0\0\x01\0\0\x01\0\0\0\0\0\0".as_slice(), name, b"\0\x01\0\x01"].concat());
    let mut response = [0; 1232];
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for id in 0..hits {
        let mut buffer = [0; 64];
        let query = &queries[usize::from(id) % NAMES.len()];
        let query = {
            let room = &mut buffer[..query.len()];
            room.copy_from_slice(query);
            room[..2].copy_from_slice(&id.to_be_bytes());
            &*room
        };
        socket.send(query).unwrap();
        let len = socket.recv(&mut response).unwrap();
        assert!(len >= query.len() && response[..2] == query[..2]);
    }
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// A server that gives every packet back, and forgets a box of `waste` octets over each.
fn start_echo(waste: usize) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1232];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            std::hint::black_box(vec![0u8; waste]);
            socket.send_to(&buffer[..len], from).unwrap();
        }
    });
    address
}

/// An upstream that answers every question with one A record for an hour.
#[derive(Debug)]
struct Upstream192;

impl Exchange for Upstream192 {
    fn exchange<'a>(&'a self, query: &'a [u8], _: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        let question = read_question(query).unwrap();
        let header = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0";
        let answer = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01";
        let octets = [header.as_slice(), question, answer].concat();
        Box::pin(async move { Ok(Response { octets, age: 0 }) })
    }
}

/// Every sort of rule.
fn policy() -> Policy {
    let records = Swap::default();
    let mut builder = records::Builder::new();
    let text = "nas.example A 192.168.1.5\nalso.example CNAME nas.example\nfar.example CNAME www.far.example\nv6.example AAAA ::2\n";
    builder.read_records(0, text).unwrap();
    builder.read_hosts(1, b"192.168.1.1 router.lan\n".as_slice()).unwrap();
    records.publish(builder.build().unwrap());
    let blocking = Blocking::new(BlockAnswer::Null);
    let mut rules = rules::Builder::new();
    rules.read(0, Action::Block, b"ads.example\n".as_slice()).unwrap();
    blocking.publish(rules.build(), vec!["list".to_owned()]);
    Policy::new(
        LocalNames::new(&[], ["host"].into_iter()),
        Rebind::on(std::iter::empty()),
    )
    .with_records(records)
    .with_blocking(blocking)
}

/// The rooms of the daemon in this process, on an ephemeral loopback port. The runtime must live on.
fn start_daemon(runtime: &Runtime) -> SocketAddr {
    let settings = cache::Settings::default();
    let upstream = Upstream::new("test".to_owned(), Arc::new(Upstream192), Keepalive::Omit);
    let pool = Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls);
    let resolver = Resolver::new(policy(), Arc::new(Cache::new(settings)), pool);
    let bound = serve::bind(&serve::Settings {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        ..serve::Settings::default()
    })
    .unwrap();
    let address = bound.addresses()[0];
    let (publish, resolver) = watch::channel(Arc::new(resolver));
    bound.run(&resolver, &Shutdown::new(), runtime.handle()).unwrap();
    // A resolver that nobody could replace any more would be no different; the daemon keeps its sender too.
    std::mem::forget(publish);
    address
}

#[test]
fn p6_100000_udp_hits_allocate_nothing() {
    IS_CLIENT.set(true);
    // The counter sees what it must, and nothing else.
    let (wasteful, frugal) = (start_echo(64), start_echo(0));
    assert!(allocations_of_hits(wasteful, 1000) >= 1000);
    allocations_of_hits(frugal, 10);
    assert_eq!(allocations_of_hits(frugal, 1000), 0);

    let runtime = Runtime::new().unwrap();
    let daemon = start_daemon(&runtime);
    // The first is a miss. A thread's first look-up registers it with the cache's memory reclamation, which allocates once;
    // the kernel spreads sockets over threads, so this many reach every one of them.
    for _ in 0..64 {
        allocations_of_hits(daemon, 20);
    }
    assert_eq!(allocations_of_hits(daemon, HITS) + allocations_of_hits(daemon, HITS), 0);
}
