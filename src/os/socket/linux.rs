//! Datagrams in batches by `recvmmsg` and `sendmmsg`, and the socket options that only Linux has.
//!
//! All `unsafe` of the room is here. Two rules make it sound: every pointer handed to the kernel comes from the one
//! raw pointer to the batch's [`Arena`], which never moves, or from a buffer that outlives the call; and every length
//! given back by the kernel is cut to the buffer before it is used.
#![allow(unsafe_code, reason = "std has neither recvmmsg nor IP_PKTINFO")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{NonNull, addr_of, addr_of_mut, null_mut};

use libc::{c_int, c_uint, c_void, socklen_t};
use socket2::{SockAddr, SockRef, Socket};

use super::sending::{Sent, send_all};
use super::{
    AcceptFailure, BATCH_LEN, Datagram, LocalAddress, MAX_DATAGRAM_LEN, MAX_REPLY_LEN, ReturnPath, UDP_RECEIVE_BUFFER,
    UdpListener,
};

/// Memory for [`BATCH_LEN`] datagrams and their replies, allocated once; pages that no datagram ever touched cost
/// nothing.
#[derive(Debug)]
pub struct UdpBatch {
    arena: NonNull<Arena>,
    received: usize,
    replies: usize,
}

/// Everything the kernel is given pointers into. All zeros is a valid value of it.
struct Arena {
    received: [libc::mmsghdr; BATCH_LEN],
    replies: [libc::mmsghdr; BATCH_LEN],
    received_slices: [libc::iovec; BATCH_LEN],
    reply_slices: [libc::iovec; BATCH_LEN],
    peers: [libc::sockaddr_storage; BATCH_LEN],
    received_control: [Control; BATCH_LEN],
    reply_control: [Control; BATCH_LEN],
    datagrams: [[u8; MAX_DATAGRAM_LEN]; BATCH_LEN],
    reply_octets: [[u8; MAX_REPLY_LEN]; BATCH_LEN],
}

/// Room for one packet info, aligned as control messages must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

// SAFETY: the arena is owned by this value alone, like a Box.
unsafe impl Send for UdpBatch {}

impl UdpBatch {
    /// Allocates the memory.
    pub fn new() -> Self {
        let layout = Layout::new::<Arena>();
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(arena) = NonNull::new(memory.cast::<Arena>()) else {
            handle_alloc_error(layout)
        };
        let batch = Self {
            arena,
            received: 0,
            replies: 0,
        };
        let arena = arena.as_ptr();
        for index in 0..BATCH_LEN {
            // SAFETY: the arena is allocated and zeroed, index is below BATCH_LEN, and no reference into it exists.
            // The pointers stored here stay valid until `drop`, because the arena never moves.
            unsafe {
                let slice = addr_of_mut!((*arena).received_slices[index]);
                (*slice).iov_base = addr_of_mut!((*arena).datagrams[index]).cast();
                (*slice).iov_len = MAX_DATAGRAM_LEN;
                let header = addr_of_mut!((*arena).received[index].msg_hdr);
                (*header).msg_iov = slice;
                (*header).msg_iovlen = 1;
                (*header).msg_name = addr_of_mut!((*arena).peers[index]).cast();
                (*header).msg_control = addr_of_mut!((*arena).received_control[index]).cast();
            }
            batch.arm(index);
        }
        batch
    }

    /// Sets back what the kernel overwrites in a header.
    fn arm(&self, index: usize) {
        let arena = self.arena.as_ptr();
        // SAFETY: the arena is alive, index is checked by the array, and no reference into it exists.
        unsafe {
            let header = addr_of_mut!((*arena).received[index].msg_hdr);
            (*header).msg_namelen = ADDRESS_LEN;
            (*header).msg_controllen = CONTROL_LEN as _;
            (*header).msg_flags = 0;
        }
    }

    /// Waits for datagrams and takes up to [`BATCH_LEN`] that are there; says how many. 0 when interrupted or stopped.
    ///
    /// # Errors
    /// Whatever the system says; receiving again is right after each of them.
    pub fn receive(&mut self, listener: &UdpListener) -> io::Result<usize> {
        for index in 0..self.received {
            self.arm(index);
        }
        self.received = 0;
        self.replies = 0;
        // SAFETY: `arena.received` holds BATCH_LEN headers whose pointers lead into the arena; nobody else uses it
        // meanwhile.
        let taken = unsafe {
            let headers = addr_of_mut!((*self.arena.as_ptr()).received);
            libc::syscall(
                libc::SYS_recvmmsg,
                listener.socket.as_raw_fd(),
                headers,
                BATCH_COUNT,
                libc::MSG_WAITFORONE,
                null_mut::<libc::timespec>(),
            )
        };
        match usize::try_from(taken) {
            Ok(taken) => self.received = taken.min(BATCH_LEN),
            Err(_) => {
                let error = io::Error::last_os_error();
                let quiet = matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
                return if quiet { Ok(0) } else { Err(error) };
            }
        }
        Ok(self.received)
    }

    /// Hands each datagram to `handle`, which writes a reply of at most [`MAX_REPLY_LEN`] octets and says its length,
    /// 0 for none. Gives back how many datagrams were dropped as longer than [`MAX_DATAGRAM_LEN`].
    pub fn answer(&mut self, mut handle: impl FnMut(Datagram<'_>, &mut [u8]) -> usize) -> usize {
        let mut oversized = 0;
        self.replies = 0;
        for index in 0..self.received {
            // A stopped socket gives one message without a sender.
            let Some(path) = self.path(index) else { continue };
            let arena = self.arena.as_ptr();
            // SAFETY: the arena is alive and the kernel is done with it; the three parts are disjoint, and `self` is
            // borrowed mutably, so these are the only references into it.
            let (header, octets, reply) = unsafe {
                (
                    &*addr_of!((*arena).received[index]),
                    &*addr_of!((*arena).datagrams[index]),
                    &mut *addr_of_mut!((*arena).reply_octets[self.replies]),
                )
            };
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                oversized += 1;
                continue;
            }
            let len = (header.msg_len as usize).min(MAX_DATAGRAM_LEN);
            let reply_len = handle(
                Datagram {
                    octets: &octets[..len],
                    path,
                },
                reply,
            )
            .min(MAX_REPLY_LEN);
            if reply_len > 0 {
                self.queue(index, reply_len, path);
            }
        }
        oversized
    }

    /// Makes the next reply header: the octets are in place, the peer is that of datagram `index`.
    fn queue(&mut self, index: usize, len: usize, path: ReturnPath) {
        let arena = self.arena.as_ptr();
        let reply = self.replies;
        // SAFETY: the arena is alive, both indices are checked by the arrays, and no reference into it exists any more.
        unsafe {
            let slice = addr_of_mut!((*arena).reply_slices[reply]);
            (*slice).iov_base = addr_of_mut!((*arena).reply_octets[reply]).cast();
            (*slice).iov_len = len;
            let control = &mut *addr_of_mut!((*arena).reply_control[reply]);
            let control_len = control.write(path.local);
            let header = addr_of_mut!((*arena).replies[reply].msg_hdr);
            (*header).msg_name = addr_of_mut!((*arena).peers[index]).cast();
            (*header).msg_namelen = (*arena).received[index].msg_hdr.msg_namelen.min(ADDRESS_LEN);
            (*header).msg_iov = slice;
            (*header).msg_iovlen = 1;
            (*header).msg_control = if control_len > 0 {
                control.0.as_mut_ptr().cast()
            } else {
                null_mut()
            };
            (*header).msg_controllen = control_len as _;
            (*header).msg_flags = 0;
        }
        self.replies += 1;
    }

    /// Sends the replies.
    pub fn send(&mut self, listener: &UdpListener) -> Sent {
        let socket = listener.socket.as_raw_fd();
        let count = std::mem::take(&mut self.replies);
        let arena = self.arena.as_ptr();
        let send = |from: usize| {
            let left = c_uint::try_from(count - from).unwrap_or(BATCH_COUNT);
            // SAFETY: headers `from..count` were made by `queue`; their pointers lead into the arena.
            let taken = unsafe {
                let headers = addr_of_mut!((*arena).replies[from]);
                libc::syscall(libc::SYS_sendmmsg, socket, headers, left, libc::MSG_DONTWAIT)
            };
            usize::try_from(taken).map_err(|_| io::Error::last_os_error())
        };
        send_all(count, send, || wait_for_room(socket))
    }

    /// Who sent datagram `index`, and to which of our addresses.
    fn path(&self, index: usize) -> Option<ReturnPath> {
        let arena = self.arena.as_ptr();
        // SAFETY: the arena is alive; these are shared references while nothing writes to it.
        let (header, peer) = unsafe {
            (
                &(*addr_of!((*arena).received[index])).msg_hdr,
                &*addr_of!((*arena).peers[index]),
            )
        };
        let peer = socket_address(peer, header.msg_namelen)?;
        Some(ReturnPath {
            peer,
            local: read_control(header),
        })
    }
}

impl Default for UdpBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for UdpBatch {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the arena has nothing to drop itself.
        unsafe { std::alloc::dealloc(self.arena.as_ptr().cast(), Layout::new::<Arena>()) };
    }
}

impl Control {
    /// Writes our address as packet info; gives back the octets used.
    fn write(&mut self, local: Option<LocalAddress>) -> usize {
        match local {
            None => 0,
            Some(LocalAddress {
                address: IpAddr::V4(address),
                interface,
            }) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: c_int::try_from(interface).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                self.write_message(libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            Some(LocalAddress {
                address: IpAddr::V6(address),
                interface,
            }) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: address.octets(),
                    },
                    ipi6_ifindex: interface,
                };
                self.write_message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }

    fn write_message<T: Copy>(&mut self, level: c_int, kind: c_int, info: T) -> usize {
        let size = c_uint::try_from(size_of::<T>()).expect("packet info is some 20 octets");
        // SAFETY: CMSG_* compute sizes and places inside one control message; the assertion keeps it within the
        // buffer, whose alignment is that of cmsghdr. The data is written unaligned.
        unsafe {
            let space = libc::CMSG_SPACE(size) as usize;
            assert!(space <= CONTROL_LEN, "packet info fits by construction");
            self.0[..space].fill(0);
            let header = self.0.as_mut_ptr().cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(info);
            space
        }
    }
}

/// Our address out of the packet info that the kernel put beside a datagram.
fn read_control(header: &libc::msghdr) -> Option<LocalAddress> {
    // SAFETY: msg_control and msg_controllen describe what the kernel wrote into the arena; CMSG_NXTHDR stays inside
    // it, and the kernel writes whole messages only (MSG_CTRUNC leaves out the ones that do not fit).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    return Some(LocalAddress {
                        address: address.into(),
                        interface: 0,
                    });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    let interface = if address.is_unicast_link_local() {
                        info.ipi6_ifindex
                    } else {
                        0
                    };
                    return Some(LocalAddress {
                        address: address.into(),
                        interface,
                    });
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

fn socket_address(storage: &libc::sockaddr_storage, len: socklen_t) -> Option<SocketAddr> {
    let start: *const libc::sockaddr_storage = storage;
    match c_int::from(storage.ss_family) {
        libc::AF_INET if len as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: sockaddr_storage is large enough and aligned for every address; the family says which it is.
            let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if len as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

pub(super) fn send(socket: &UdpSocket, octets: &[u8], path: ReturnPath) -> io::Result<()> {
    let peer = SockAddr::from(path.peer);
    let mut slice = libc::iovec {
        iov_base: octets.as_ptr().cast::<c_void>().cast_mut(),
        iov_len: octets.len(),
    };
    let mut control = Control([0; CONTROL_LEN]);
    let control_len = control.write(path.local);
    // SAFETY: all zeros is a valid msghdr; every pointer put in leads to a local of this function, which outlives the
    // call, and sendmsg only reads through them.
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = peer.as_ptr().cast::<c_void>().cast_mut();
        header.msg_namelen = peer.len();
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        header.msg_control = if control_len > 0 {
            control.0.as_mut_ptr().cast()
        } else {
            null_mut()
        };
        header.msg_controllen = control_len as _;
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT)
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether there was room to send again within [`SEND_PATIENCE_MS`].
fn wait_for_room(socket: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd: socket,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&raw mut poll, 1, SEND_PATIENCE_MS) > 0 }
}

/// SO_REUSEPORT spreads clients over the sockets of a port.
pub(super) const SPREADS_DATAGRAMS: bool = true;

pub(super) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// What comes by another interface never gets to the socket.
pub(super) fn bind_to_loopback(socket: &Socket) -> io::Result<()> {
    socket.bind_device(Some(b"lo"))
}

pub(super) fn prepare(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    let descriptor = socket.as_raw_fd();
    let granted = SockRef::from(socket).recv_buffer_size().unwrap_or(0);
    if granted < UDP_RECEIVE_BUFFER {
        // Over the limit of net.core.rmem_max only with CAP_NET_ADMIN; without it we live with the smaller one.
        let wanted = c_int::try_from(UDP_RECEIVE_BUFFER).unwrap_or(c_int::MAX);
        let _ = set_option(descriptor, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted);
    }
    // Forged "fragmentation needed" messages must not make us fragment (Herzberg and Shulman 2013): path MTU is
    // ignored, which our 1232 octets allow. Kernels without the option have nothing to set.
    let wildcard = local.ip().is_unspecified();
    if local.is_ipv4() {
        let _ = set_option(
            descriptor,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        );
        if wildcard {
            set_option(descriptor, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
    } else {
        let _ = set_option(
            descriptor,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        );
        if wildcard {
            set_option(descriptor, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
    }
    Ok(())
}

pub(super) fn set_option(socket: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = socklen_t::try_from(size_of::<c_int>()).expect("four octets");
    // SAFETY: the value is alive during the call and has the length given.
    let failed = unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), len) } != 0;
    if failed {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Shutting an unconnected UDP socket reports ENOTCONN, and still ends every receive on it, present and future: the
/// kernel keeps that behavior for just this use (net/ipv4/af_inet.c, `inet_shutdown`). A test holds us to it.
pub(super) fn wake(socket: &UdpSocket) {
    let _ = SockRef::from(socket).shutdown(Shutdown::Read);
}

pub(super) fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

pub(super) fn sort_accept_error(error: &io::Error) -> AcceptFailure {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptFailure::Exhausted,
        // accept(2): pending errors of the new connection, to be treated like EAGAIN.
        Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::ENONET | libc::EOPNOTSUPP) => {
            AcceptFailure::Connection
        }
        _ => AcceptFailure::Listener,
    }
}

/// One `in6_pktinfo` in its control message takes 40 octets; a v4 one 32.
const CONTROL_LEN: usize = 64;

#[expect(clippy::cast_possible_truncation, reason = "constants: 32 and 128")]
const BATCH_COUNT: c_uint = BATCH_LEN as c_uint;

#[expect(clippy::cast_possible_truncation, reason = "constants: 32 and 128")]
const ADDRESS_LEN: socklen_t = size_of::<libc::sockaddr_storage>() as socklen_t;

/// How long a full send buffer may hold up receiving. On loopback it drains in microseconds; a link that takes longer
/// than this for one datagram has lost the clients' patience anyway.
const SEND_PATIENCE_MS: c_int = 10;
