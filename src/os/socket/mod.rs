//! Listening sockets: binding them, moving datagrams in batches, waking a thread that waits in one, saying who
//! holds a port that we did not get, and by which way and router packets would leave. Sockets to one server, bound to an interface if
//! need be.
//!
//! Knows nothing of DNS but the size of its datagrams. Never resolves a name and never sends anything but replies.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

#[cfg(target_os = "linux")]
mod device;
mod gateway;
mod inherited;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(super) mod netlink;
mod outgoing;
mod owner;
mod path;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
#[cfg(target_os = "linux")]
mod route;
mod sending;
mod tcp;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as device;
#[cfg(not(target_os = "linux"))]
use portable as next_hops;
#[cfg(not(target_os = "linux"))]
use portable as system;
#[cfg(target_os = "linux")]
use route as next_hops;

pub use gateway::{Gateway, GatewayError};
pub use inherited::{Given, Inherited, InheritedError, Unusable};
pub use next_hops::KNOWS_NEXT_HOPS;
pub use outgoing::{Interface, InterfaceError, LinkState, MAX_INTERFACE_LEN, Silencer, datagrams_to, stream_to};
pub use owner::PortOwner;
pub use path::{Path, path_to};
pub use sending::Sent;
pub use system::UdpBatch;
pub use tcp::{acknowledge_at_once, limit_unacknowledged};

/// How a client's octets come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
}

impl Transport {
    /// `udp` or `tcp`, as metrics and messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The sockets of one listen address.
#[derive(Debug)]
pub struct Sockets {
    /// One for each receiving thread; all have the same address.
    pub udp: Vec<Arc<UdpListener>>,
    /// Listening and non-blocking, on the same port.
    pub tcp: TcpListener,
    /// The address with its real port.
    pub local: SocketAddr,
}

/// Which of an address's sockets could not be had.
#[derive(Debug)]
pub struct BindFailure {
    /// The transport.
    pub transport: Transport,
    /// The system's word. A host without the address or its whole family gives `AddrNotAvailable`.
    pub cause: io::Error,
}

/// How an address is to be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// UDP sockets; one where the system cannot spread datagrams over several.
    pub udp_count: usize,
    /// How long a receiver may wait at one go without a datagram, if it has to show that it lives.
    pub patience: Option<Duration>,
}

/// Takes the sockets that are given for `address`, and binds the UDP sockets or the TCP listener that are not.
///
/// # Errors
/// [`BindFailure`]; nothing of ours stays bound then.
pub fn bind(address: SocketAddr, wish: Wish, given: Given) -> Result<Sockets, BindFailure> {
    let Given { udp, tcp } = given;
    if udp.is_empty() && tcp.is_none() {
        return bind_both(address, wish);
    }
    let udp = if udp.is_empty() {
        bind_udp(address, wish)
    } else {
        share_udp(udp, address, wish)
    };
    let udp = udp.map_err(|cause| failure(Transport::Udp, cause))?;
    let tcp = tcp.map_or_else(
        || bind_tcp(address),
        |socket| {
            keep_to_loopback(&socket, address);
            listen(socket)
        },
    );
    let tcp = tcp.map_err(|cause| failure(Transport::Tcp, cause))?;
    Ok(Sockets {
        udp,
        tcp,
        local: address,
    })
}

/// Port 0 takes a port that is free on both transports.
fn bind_both(address: SocketAddr, wish: Wish) -> Result<Sockets, BindFailure> {
    let mut attempts = if address.port() == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let udp = bind_udp(address, wish).map_err(|cause| failure(Transport::Udp, cause))?;
        let local = udp[0].local();
        match bind_tcp(local) {
            Ok(tcp) => return Ok(Sockets { udp, tcp, local }),
            Err(error) if attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(cause) => return Err(failure(Transport::Tcp, cause)),
        }
    }
}

fn failure(transport: Transport, cause: io::Error) -> BindFailure {
    let cause = if system::lacks_family(&cause) {
        io::ErrorKind::AddrNotAvailable.into()
    } else {
        cause
    };
    BindFailure { transport, cause }
}

/// The first socket is bound alone and shares its port only afterwards, so a port that anybody else holds, even with
/// SO_REUSEPORT, is an error and not silently shared.
fn bind_udp(address: SocketAddr, wish: Wish) -> io::Result<Vec<Arc<UdpListener>>> {
    let count = if system::SPREADS_DATAGRAMS {
        wish.udp_count.max(1)
    } else {
        1
    };
    let first = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    keep_to_loopback(&first, address);
    first.bind(&address.into())?;
    if count > 1 {
        system::share_port(&first)?;
    }
    let first = UdpListener::new(first, wish.patience)?;
    let local = first.local();
    let mut listeners = vec![Arc::new(first)];
    while listeners.len() < count {
        let socket = new_socket(local, Type::DGRAM, Protocol::UDP)?;
        system::share_port(&socket)?;
        keep_to_loopback(&socket, local);
        socket.bind(&local.into())?;
        listeners.push(Arc::new(UdpListener::new(socket, wish.patience)?));
    }
    Ok(listeners)
}

/// One receiver for each socket. No others can be bound beside it but by its owner, and what waits in those would be lost with us. Several
/// receivers on one socket work too, but they cost more than they bring: 2.4 microseconds an answer instead of 1.6, and 177,000 answers a
/// second instead of 307,000, on two cores of which the clients have their share.
fn share_udp(given: Vec<Socket>, address: SocketAddr, wish: Wish) -> io::Result<Vec<Arc<UdpListener>>> {
    let share = |socket: Socket| {
        keep_to_loopback(&socket, address);
        UdpListener::shared(socket, wish.patience).map(Arc::new)
    };
    given.into_iter().map(share).collect()
}

/// Whether packets to this address would be given to no router. Sends none; not, where the system does not say.
pub fn is_near(server: IpAddr) -> bool {
    let hop = next_hops::next_hop(SocketAddr::new(server, 9), Transport::Udp, None);
    hop.is_ok_and(|hop| hop.is_none())
}

/// What comes to a loopback address comes from this host, also where the kernel is told to let neighbours in (`route_localnet`, which IPv6 does
/// not have; and there a socket that is bound so cannot answer this host's other addresses). Before it is bound if it shares a port: all that do
/// must be alike. Best effort: kernels before 5.7 want a right for it.
fn keep_to_loopback(socket: &Socket, address: SocketAddr) {
    if address.is_ipv4() && address.ip().is_loopback() {
        let _ = system::bind_to_loopback(socket);
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
    // Connections of a former life in TIME_WAIT must not keep us from starting. On Windows the option would let two
    // programs share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    keep_to_loopback(&socket, address);
    socket.bind(&address.into())?;
    listen(socket)
}

/// One that listens already only gets the backlog.
fn listen(socket: Socket) -> io::Result<TcpListener> {
    // Best effort: accepted sockets inherit it, and without it the kernel grows each to several megabytes.
    let _ = socket.set_send_buffer_size(TCP_SEND_BUFFER);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// A bound UDP socket that one thread receives from and anybody may send from.
#[derive(Debug)]
pub struct UdpListener {
    socket: UdpSocket,
    local: SocketAddr,
    stopping: AtomicBool,
    /// Others have it too, and go on with it after us.
    is_shared: bool,
}

impl UdpListener {
    fn new(socket: Socket, patience: Option<Duration>) -> io::Result<Self> {
        Self::prepare(socket, patience, false)
    }

    /// A socket that was bound for us. It cannot be shut down to wake its receivers: whoever gets it after us could not wait
    /// at it any more, and would run in circles. So they come back by themselves, often enough.
    fn shared(socket: Socket, patience: Option<Duration>) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        let patience = patience.map_or(SHARED_PATIENCE, |patience| patience.min(SHARED_PATIENCE));
        Self::prepare(socket, Some(patience), true)
    }

    fn prepare(socket: Socket, patience: Option<Duration>, is_shared: bool) -> io::Result<Self> {
        // Best effort, all three: the kernel caps the sizes, and no option here changes what is answered.
        let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(UDP_SEND_BUFFER);
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr()?;
        socket.set_read_timeout(patience)?;
        system::prepare(&socket, local)?;
        Ok(Self {
            socket,
            local,
            stopping: AtomicBool::new(false),
            is_shared,
        })
    }

    /// The address with its real port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ends receiving: a thread that is blocked in [`UdpBatch::receive`] comes back, at once on Linux, and within a
    /// quarter of a second elsewhere or if the socket was given. Sending still works, for late answers.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if !self.is_shared {
            system::wake(&self.socket);
        }
    }

    /// Whether [`UdpListener::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sends one datagram back along `path` without waiting.
    ///
    /// # Errors
    /// Whatever the system says, `WouldBlock` when its send buffer is full: the datagram is lost then.
    pub fn send(&self, octets: &[u8], path: ReturnPath) -> io::Result<()> {
        system::send(&self.socket, octets, path)
    }
}

/// A datagram in the batch's own memory.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// At most [`MAX_DATAGRAM_LEN`] octets.
    pub octets: &'a [u8],
    /// Where a reply goes.
    pub path: ReturnPath,
}

/// Where a datagram came from and which of our addresses it was sent to: a reply must leave from that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnPath {
    /// The client.
    pub peer: SocketAddr,
    /// Our address, known and needed only on a wildcard socket.
    local: Option<LocalAddress>,
}

/// One of this host's addresses. The interface matters for link-local ones alone and is 0 for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalAddress {
    address: IpAddr,
    interface: u32,
}

/// The way back for an answer that comes later than its batch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplyHandle {
    listener: Arc<UdpListener>,
    path: ReturnPath,
}

impl ReplyHandle {
    /// A handle for the client behind `path`.
    pub fn new(listener: &Arc<UdpListener>, path: ReturnPath) -> Self {
        Self {
            listener: Arc::clone(listener),
            path,
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// As [`UdpListener::send`]: the datagram is lost, and all there is to do is to count it.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.listener.send(octets, self.path)
    }
}

/// What a failed `accept` means for the accept loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// The one connection that was about to be accepted is gone: go on.
    Connection,
    /// Out of descriptors or memory: free something or wait, then go on.
    Exhausted,
    /// Anything else: not a client's doing, say so once; going on is still better than a dead listener.
    Listener,
}

impl AcceptFailure {
    /// Sorts an error of `accept` (accept(2): on Linux it also reports errors already pending on the new connection).
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
            OutOfMemory, PermissionDenied, WouldBlock,
        };
        match error.kind() {
            ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
            | PermissionDenied | WouldBlock => Self::Connection,
            OutOfMemory => Self::Exhausted,
            _ => system::sort_accept_error(error),
        }
    }
}

/// Who holds the port that `bind` found taken, if this system and our rights let us see it.
pub fn port_owner(transport: Transport, address: SocketAddr) -> Option<PortOwner> {
    owner::find(transport, address)
}

/// Datagrams taken in one call; more than 64 gain nothing (PERFORMANCE.md, "Kernel limits").
pub const BATCH_LEN: usize = 32;

/// The longest datagram taken in. A question with its OPT and padding needs some 512 octets; 4096 is the largest size
/// that EDNS implementations ever offered by default (RFC 6891 section 6.2.5).
pub const MAX_DATAGRAM_LEN: usize = 4096;

/// The longest datagram sent: what fits into IPv6's smallest MTU, so that no answer is ever fragmented (DNS flag day
/// 2020).
pub const MAX_REPLY_LEN: usize = 1232;

/// The default of 208 KiB holds some 250 small datagrams (each counts with its kernel overhead); 4 MiB hold a burst
/// of 5,000.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// How long a receiver of a shared socket waits at one go, and so how long a stop may take: shorter than anybody waits for an answer. It wakes
/// a thread four times a second.
const SHARED_PATIENCE: Duration = Duration::from_millis(250);

/// 32 replies of 1232 octets are 40 KiB; this is a score of batches.
const UDP_SEND_BUFFER: usize = 1 << 20;

/// Two of the longest messages. The kernel doubles it: with 512 connections at most 128 MiB, and only for clients
/// that do not read.
const TCP_SEND_BUFFER: usize = 128 << 10;

/// Connections that wait to be accepted. The kernel cuts it to `somaxconn`.
const BACKLOG: i32 = 1024;

/// A free UDP port is taken on TCP once in a while (outgoing connections use the same range); 16 in a row is no chance.
const FREE_PORT_ATTEMPTS: u32 = 16;
