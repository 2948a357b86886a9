//! Interfaces as Linux knows them: one question to rtnetlink (RTM_GETLINK), and SO_BINDTODEVICE.
//!
//! Not read from /sys: that shows the network namespace in which it was mounted, which need not be ours.

use std::io;
use std::os::fd::AsRawFd;

use super::linux::set_option;
use super::netlink::{Message, NLMSG_ERROR, ask, push_attribute, question, u32_at};
use super::outgoing::{Interface, LinkState};

pub(super) fn state(interface: &Interface) -> io::Result<LinkState> {
    ask(&request(interface.name()), read)
}

/// `struct nlmsghdr`, an empty `struct ifinfomsg`, and the name with its NUL.
fn request(name: &str) -> Vec<u8> {
    let mut body = vec![0; IFINFOMSG_LEN];
    push_attribute(&mut body, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    question(libc::RTM_GETLINK, &body)
}

/// `struct ifinfomsg`: family, padding, type, index at 4, flags at 8.
fn read(answer: Message<'_>) -> io::Result<LinkState> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read");
    match answer.kind {
        NLMSG_ERROR => match u32_at(answer.body, 0).map_or(0, u32::cast_signed).checked_neg() {
            Some(libc::ENODEV) => Ok(LinkState::Absent),
            Some(code) if code > 0 => Err(io::Error::from_raw_os_error(code)),
            _ => Err(malformed()),
        },
        libc::RTM_NEWLINK => {
            let index = u32_at(answer.body, 4).ok_or_else(malformed)?;
            let flags = u32_at(answer.body, 8).ok_or_else(malformed)?;
            Ok(if flags & UP == UP {
                LinkState::Up { index }
            } else {
                LinkState::Down
            })
        }
        _ => Err(malformed()),
    }
}

/// Binds a socket that is bound to no interface yet, which needs no right since Linux 5.7. From then on its packets leave and come by this
/// interface, whatever the routes say; when the interface goes, they do not leave at all.
pub(super) fn bind(socket: &socket2::Socket, interface: &Interface) -> io::Result<()> {
    let bound = socket.bind_device(Some(interface.name().as_bytes()));
    bound.map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => io::ErrorKind::NotFound.into(),
        _ => error,
    })
}

/// What the kernel has still to send on a socket goes to the loopback, where nobody takes it: it is addressed to somebody else. Needs
/// CAP_NET_RAW if the socket is bound to an interface.
pub(super) fn silence(socket: &socket2::Socket) -> io::Result<()> {
    socket.bind_device(Some(b"lo"))
}

/// DF is set, and forged "fragmentation needed" messages (Herzberg and Shulman 2013) neither make us fragment nor stop us: what we send fits
/// every link. Kernels without the option have nothing to set.
pub(super) fn forbid_fragments(socket: &socket2::Socket, is_v6: bool) {
    let (level, option, value) = if is_v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    };
    let _ = set_option(socket.as_raw_fd(), level, option, value);
}

/// Connecting takes a random port (`inet_autobind`), and after the address is known: binding first would take one that is free on all.
pub(super) const CONNECT_BINDS: bool = true;

/// Switched on, with a carrier. Not IFF_RUNNING, which follows the carrier up to a second later.
const UP: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;

/// `struct ifinfomsg`.
const IFINFOMSG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::netlink::{Messages, attribute};

    fn answer(kind: u16, body: &[u8]) -> io::Result<LinkState> {
        read(Message {
            kind,
            sequence: 1,
            body,
        })
    }

    fn link(index: u32, flags: u32) -> Vec<u8> {
        [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat()
    }

    #[test]
    fn flags_say_whether_it_is_up() {
        for (flags, expected) in [
            // A tunnel, a veth, the loopback.
            (0x110d1, LinkState::Up { index: 7 }),
            (0x11043, LinkState::Up { index: 7 }),
            (0x10049, LinkState::Up { index: 7 }),
            // Switched off; no carrier; a tunnel whose program is gone.
            (0x1002, LinkState::Down),
            (0x1003, LinkState::Down),
            (0x10d1 & !0x40, LinkState::Down),
            (0x10000, LinkState::Down),
        ] {
            let state = answer(libc::RTM_NEWLINK, &link(7, flags)).unwrap();
            assert_eq!(state, expected, "{flags:#x}");
        }
    }

    #[test]
    fn refusals_and_broken_answers() {
        let refusal = |code: i32| answer(NLMSG_ERROR, &code.to_ne_bytes());
        assert_eq!(refusal(-libc::ENODEV).unwrap(), LinkState::Absent);
        assert_eq!(refusal(-libc::EPERM).unwrap_err().raw_os_error(), Some(libc::EPERM));
        for code in [0, 5, i32::MIN] {
            assert_eq!(refusal(code).unwrap_err().kind(), io::ErrorKind::InvalidData, "{code}");
        }
        let whole = link(7, 0x11043);
        for cut in 0..12 {
            let cut = answer(libc::RTM_NEWLINK, &whole[..cut]).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::InvalidData);
        }
        assert!(answer(libc::RTM_NEWROUTE, &whole).is_err());
    }

    #[test]
    fn the_question_is_whole_for_every_length_of_name() {
        for len in 1..=15 {
            let request = request(&"x".repeat(len));
            assert_eq!(request.len() % 4, 0);
            let message = Messages::new(&request).next().unwrap();
            let name = attribute(&message.body[IFINFOMSG_LEN..], libc::IFLA_IFNAME);
            assert_eq!(name.map(<[u8]>::len), Some(len + 1));
        }
    }
}
