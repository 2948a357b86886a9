//! Netlink sockets, and the framing of its messages (netlink(7)): 32-bit lengths in the host's order, padded to four
//! octets. The framing is pure and trusts no length in it.
#![allow(unsafe_code, reason = "std has no netlink")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};

/// A netlink socket.
#[derive(Debug)]
pub(in crate::os) struct Socket(OwnedFd);

impl Socket {
    /// Opens one for routes; it belongs to no group and blocks.
    pub(in crate::os) fn new() -> io::Result<Self> {
        Self::of(libc::NETLINK_ROUTE)
    }

    /// Opens one of this protocol.
    pub(in crate::os) fn of(protocol: c_int) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is used.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(in crate::os) fn set_nonblocking(&self) -> io::Result<()> {
        let on: c_int = 1;
        // SAFETY: FIONBIO reads one int, which outlives the call.
        check(unsafe { libc::ioctl(self.as_raw_fd(), libc::FIONBIO, &raw const on) }).map(drop)
    }

    /// Takes a port id of the kernel's choice. A socket without one has id 0, the kernel's own, and is passed over when the
    /// kernel tells a group.
    pub(in crate::os) fn bind(&self) -> io::Result<()> {
        // SAFETY: all zeros is a valid address of this kind: any port id, no groups.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = NETLINK_FAMILY;
        // SAFETY: the kernel reads the address with its length; it outlives the call.
        check(unsafe {
            libc::bind(
                self.as_raw_fd(),
                (&raw const address).cast(),
                length_of::<libc::sockaddr_nl>(),
            )
        })
        .map(drop)
    }

    /// Receives what the kernel tells this group. Needs [`Socket::bind`].
    pub(in crate::os) fn join(&self, group: u32) -> io::Result<()> {
        self.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &group)
    }

    /// Reads no longer than this.
    pub(in crate::os) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        socket2::SockRef::from(&self.0).set_read_timeout(Some(timeout))
    }

    fn set_option<T: Copy>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        // SAFETY: the kernel reads `size_of::<T>` octets from `value`, which outlives the call.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast::<c_void>(),
                length_of::<T>(),
            )
        })
        .map(drop)
    }

    /// Sends one datagram to the kernel: an unconnected netlink socket has no other peer.
    pub(in crate::os) fn send(&self, octets: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads `octets.len()` octets from `octets`, which outlives the call.
        let sent = unsafe { libc::send(self.as_raw_fd(), octets.as_ptr().cast(), octets.len(), 0) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Takes one datagram and says its length; what does not fit is cut off.
    pub(in crate::os) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `buffer.len()` octets into `buffer`, which is ours for the call.
        let len = unsafe { libc::recv(self.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        match usize::try_from(len) {
            Ok(len) => Ok(len.min(buffer.len())),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}

/// Asks the kernel one question on a socket of its own, and reads the answer with `read`.
///
/// # Errors
/// `Other` if no answer comes that is ours; else the system's own, and what `read` says.
pub(super) fn ask<T>(question: &[u8], read: impl FnOnce(Message<'_>) -> io::Result<T>) -> io::Result<T> {
    let socket = Socket::new()?;
    socket.set_read_timeout(TIMEOUT)?;
    socket.send(question)?;
    let mut buffer = vec![0; BUFFER_LEN];
    for _ in 0..MAX_DATAGRAMS {
        let len = socket.receive(&mut buffer)?;
        let mut messages = Messages::new(&buffer[..len]);
        if let Some(answer) = messages.find(|message| message.sequence == SEQUENCE) {
            return read(answer);
        }
    }
    Err(io::Error::other("the kernel did not answer"))
}

/// A question for [`ask`]: `struct nlmsghdr`, and what follows it.
pub(super) fn question(kind: u16, body: &[u8]) -> Vec<u8> {
    message(kind, NLM_F_REQUEST, SEQUENCE, body)
}

/// `struct nlmsghdr`, and what follows it.
pub(in crate::os) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER_LEN + body.len()).unwrap_or(0);
    let header = [
        &len.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &[0; 4],
    ];
    [&header.concat()[..], body].concat()
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "options are a few octets long")]
fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// One netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::os) struct Message<'a> {
    /// `nlmsg_type`.
    pub(in crate::os) kind: u16,
    /// `nlmsg_seq`.
    pub(in crate::os) sequence: u32,
    /// What follows the header.
    pub(in crate::os) body: &'a [u8],
}

/// The messages of one datagram. Ends at the first broken one.
#[derive(Debug)]
pub(in crate::os) struct Messages<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Messages<'a> {
    pub(in crate::os) fn new(datagram: &'a [u8]) -> Self {
        Self {
            rest: datagram,
            broken: false,
        }
    }

    /// Whether the messages ended before the datagram did.
    pub(in crate::os) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Each message takes at least its header off the rest, so this ends.
    fn take(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.rest, 0)?).ok()?;
        let message = self.rest.get(..len)?;
        let body = message.get(HEADER_LEN..)?;
        let (kind, sequence) = (u16_at(message, 4)?, u32_at(message, 8)?);
        self.rest = self.rest.get(padded(len)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.take();
        if message.is_none() {
            self.broken = true;
            self.rest = &[];
        }
        message
    }
}

/// The value of the first attribute of this type; `None` too where the attributes before it are broken.
pub(in crate::os) fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    // Each turn takes at least an attribute's header off, so this ends.
    loop {
        let len = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE_HEADER_LEN..len)?;
        // The two upper bits are flags.
        if u16_at(attributes, 2)? & 0x3fff == kind {
            return Some(value);
        }
        attributes = attributes.get(padded(len)..)?;
    }
}

/// Appends an attribute with its padding.
pub(in crate::os) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(0);
    body.extend(len.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(padded(body.len()), 0);
}

/// A number of the host's order.
pub(in crate::os) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// `struct nlmsghdr`: length, type, flags, sequence, sender.
const HEADER_LEN: usize = 16;

/// A question.
pub(in crate::os) const NLM_F_REQUEST: u16 = 1;

/// Any number: the socket carries one question.
const SEQUENCE: u32 = 1;

/// The kernel answers within the call that asks; this is for the day it does not.
const TIMEOUT: Duration = Duration::from_secs(1);

/// An interface's description is some two kibibytes, a route some hundred octets; what netlink(7) asks readers to have is eight.
const BUFFER_LEN: usize = 16 * 1024;

/// One is the answer; a stranger's before it would be a kernel's fault.
const MAX_DATAGRAMS: usize = 4;

/// `struct rtattr`: length with this header, type.
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// `AF_NETLINK` in the width of `nl_family`.
const NETLINK_FAMILY: libc::sa_family_t = 16;

/// The control messages of netlink(7), in the width of `nlmsg_type`.
pub(in crate::os) const NLMSG_NOOP: u16 = 1;
/// An error, or with 0 no error.
pub(in crate::os) const NLMSG_ERROR: u16 = 2;
/// The end of a list.
pub(in crate::os) const NLMSG_DONE: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(len: u32, kind: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = len.to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0, 0]);
        octets.extend(7u32.to_ne_bytes());
        octets.extend([0; 4]);
        octets.extend(body);
        octets
    }

    #[test]
    fn messages_are_taken_apart_with_their_padding() {
        let mut datagram = raw(18, 24, &[1, 2, 0, 0]);
        datagram.extend(raw(16, 25, &[]));
        let mut messages = Messages::new(&datagram);
        let (first, second) = (messages.next().unwrap(), messages.next().unwrap());
        assert_eq!((first.kind, first.sequence, first.body), (24, 7, &[1, 2][..]));
        assert_eq!((second.kind, second.body), (25, &[][..]));
        assert!(messages.next().is_none() && !messages.is_broken());
    }

    #[test]
    fn hostile_lengths_end_the_messages() {
        for len in [0, 1, 15, 17, 4096, u32::MAX - 1, u32::MAX] {
            let datagram = raw(len, 24, &[]);
            let mut messages = Messages::new(&datagram);
            assert_eq!(messages.by_ref().count(), 0, "nlmsg_len {len}");
            assert!(messages.is_broken(), "nlmsg_len {len}");
        }
        let whole = raw(20, 24, &[1, 2, 3, 4]);
        for cut in 1..whole.len() {
            let mut messages = Messages::new(&whole[..cut]);
            assert_eq!(messages.by_ref().count(), 0, "cut to {cut}");
            assert!(messages.is_broken(), "cut to {cut}");
        }
    }

    #[test]
    fn hostile_attributes_give_nothing() {
        let attributes = |len: u16| [&len.to_ne_bytes()[..], &3u16.to_ne_bytes()[..], &[9, 9, 9, 9][..]].concat();
        assert_eq!(attribute(&attributes(8), 3), Some(&[9, 9, 9, 9][..]));
        assert_eq!(attribute(&attributes(8), 4), None);
        for len in [0, 1, 3, 9, u16::MAX] {
            assert_eq!(attribute(&attributes(len), 3), None, "rta_len {len}");
            assert_eq!(attribute(&attributes(len), 4), None, "rta_len {len}");
        }
        for cut in 0..8 {
            assert_eq!(attribute(&attributes(8)[..cut], 3), None, "cut to {cut}");
        }
    }
}
