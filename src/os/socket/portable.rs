//! Datagrams one at a time with what `std` offers: systems without `recvmmsg`, and the twin that the batching code is
//! tested against.
//!
//! A reply from a wildcard socket leaves from the address that the routing table picks: listen on single addresses
//! there.

#![cfg_attr(
    target_os = "linux",
    allow(dead_code, unreachable_pub, reason = "in tests alone: the Linux twin is in use")
)]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{SockRef, Socket};

use super::outgoing::{Interface, LinkState};
use super::sending::{Sent, send_all};
use super::{AcceptFailure, Datagram, MAX_DATAGRAM_LEN, MAX_REPLY_LEN, ReturnPath, Transport, UdpListener};

/// One datagram and its reply.
#[derive(Debug)]
pub struct UdpBatch {
    message: Box<[u8]>,
    reply: Box<[u8]>,
    received: Option<(usize, SocketAddr)>,
    reply_len: usize,
}

impl UdpBatch {
    /// Memory for one datagram and one reply.
    pub fn new() -> Self {
        // One octet more than we take shows a datagram that is too long.
        let message = vec![0; MAX_DATAGRAM_LEN + 1].into_boxed_slice();
        Self {
            message,
            reply: vec![0; MAX_REPLY_LEN].into_boxed_slice(),
            received: None,
            reply_len: 0,
        }
    }

    /// Waits for a datagram; 0 after a quarter of a second without one.
    ///
    /// # Errors
    /// Whatever the system says; receiving again is right after each of them.
    pub fn receive(&mut self, listener: &UdpListener) -> io::Result<usize> {
        self.reply_len = 0;
        self.received = None;
        match listener.socket.recv_from(&mut self.message) {
            Ok(received) => self.received = Some(received),
            Err(error) if is_too_long(&error) => {
                self.received = Some((self.message.len(), listener.local));
            }
            Err(error) => {
                return if is_quiet(&error) || listener.is_stopping() {
                    Ok(0)
                } else {
                    Err(error)
                };
            }
        }
        Ok(1)
    }

    /// Hands the datagram to `handle`, which writes a reply of at most [`MAX_REPLY_LEN`] octets and says its length,
    /// 0 for none. Gives back how many datagrams were dropped as longer than [`MAX_DATAGRAM_LEN`].
    pub fn answer(&mut self, mut handle: impl FnMut(Datagram<'_>, &mut [u8]) -> usize) -> usize {
        let Some((len, peer)) = self.received.take() else {
            return 0;
        };
        if len > MAX_DATAGRAM_LEN {
            return 1;
        }
        let datagram = Datagram {
            octets: &self.message[..len],
            path: ReturnPath { peer, local: None },
        };
        self.reply_len = handle(datagram, &mut self.reply).min(MAX_REPLY_LEN);
        if self.reply_len > 0 {
            self.received = Some((0, peer));
        }
        0
    }

    /// Sends the reply.
    pub fn send(&mut self, listener: &UdpListener) -> Sent {
        let Some((_, peer)) = self.received.take() else {
            return Sent::default();
        };
        let path = ReturnPath { peer, local: None };
        let reply = &self.reply[..self.reply_len];
        send_all(1, |_| send(&listener.socket, reply, path).map(|()| 1), || false)
    }
}

impl Default for UdpBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Several sockets on one port get no even share of datagrams, or are not allowed at all.
pub(super) const SPREADS_DATAGRAMS: bool = false;

pub(super) fn share_port(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Nobody lets neighbours in there.
pub(super) fn bind_to_loopback(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

pub(super) fn prepare(socket: &UdpSocket, _local: SocketAddr) -> io::Result<()> {
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))
}

/// Nothing: the receive timeout looks after it. (Shutting the socket is no way here: where it wakes the receiver it
/// does so with a datagram from nobody, at which `std` panics.)
pub(super) fn wake(_socket: &UdpSocket) {}

pub(super) fn send(socket: &UdpSocket, octets: &[u8], path: ReturnPath) -> io::Result<()> {
    #[cfg(unix)]
    let flags = libc::MSG_DONTWAIT;
    // Windows has no such flag and hardly ever lets a datagram wait.
    #[cfg(not(unix))]
    let flags = 0;
    SockRef::from(socket)
        .send_to_with_flags(octets, &path.peer.into(), flags)
        .map(|_| ())
}

pub(super) fn lacks_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    #[cfg(not(unix))]
    return error.raw_os_error() == Some(10_047);
}

pub(super) fn sort_accept_error(error: &io::Error) -> AcceptFailure {
    #[cfg(unix)]
    const EXHAUSTED: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    // WSAEMFILE, WSAENOBUFS
    #[cfg(not(unix))]
    const EXHAUSTED: [i32; 2] = [10_024, 10_055];
    match error.raw_os_error() {
        Some(code) if EXHAUSTED.contains(&code) => AcceptFailure::Exhausted,
        _ => AcceptFailure::Listener,
    }
}

/// IP_BOUND_IF and IP_UNICAST_IF would do it on macOS and Windows; nobody has tried them here, and a socket that only seems to be bound
/// shows names to another network.
pub(super) fn bind(_socket: &Socket, _interface: &Interface) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn state(_interface: &Interface) -> io::Result<LinkState> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Other systems say it in other ways, and nobody has tried those here.
pub const KNOWS_NEXT_HOPS: bool = false;

pub(super) fn next_hop(
    _server: SocketAddr,
    _transport: Transport,
    _interface: Option<u32>,
) -> io::Result<Option<IpAddr>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn silence(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not every system can; a question fits every link.
pub(super) fn forbid_fragments(_socket: &Socket, _is_v6: bool) {}

/// Not every system takes a port at a UDP `connect`.
pub(super) const CONNECT_BINDS: bool = false;

fn is_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Windows reports a datagram longer than the buffer as an error (WSAEMSGSIZE).
fn is_too_long(error: &io::Error) -> bool {
    cfg!(windows) && error.raw_os_error() == Some(10_040)
}

/// How long a blocked receive lasts where nothing can wake it.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(250);
