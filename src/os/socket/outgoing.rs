//! Sockets of our own to one server, and the interface that they may be bound to.
//!
//! Port 0 asks the kernel for a source port. For UDP, Linux begins its search at a random place in `ip_local_port_range` (`udp_lib_get_port`;
//! some 28,000 ports unless the administrator gave more) and leaves out `ip_local_reserved_ports`; for TCP it takes a keyed hash that moves
//! on (RFC 6056 algorithm 4). Ports below that range are not taken: they are where services want to start.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::{device, new_socket};

/// The name of a network interface, whether there is such a one or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface(String);

/// Why a text is not the name of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceError {
    /// Nothing, or more than [`MAX_INTERFACE_LEN`] octets.
    Length,
    /// A character that no name has, or one of the names `.` and `..`.
    Character,
}

/// What became of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Switched on and with a carrier. The index is another when it was made anew under its old name.
    Up {
        /// Its number, as long as it lives.
        index: u32,
    },
    /// Switched off or without a carrier.
    Down,
    /// There is none of this name.
    Absent,
}

impl Interface {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is there and up now. Asks the kernel and no one else.
    ///
    /// # Errors
    /// Whatever the kernel says; `Unsupported` on systems where nothing can be bound to an interface.
    pub fn state(&self) -> io::Result<LinkState> {
        device::state(self)
    }
}

impl FromStr for Interface {
    type Err = InterfaceError;

    /// What Linux takes as a name (`dev_valid_name`), less control characters.
    fn from_str(name: &str) -> Result<Self, InterfaceError> {
        if name.is_empty() || name.len() > MAX_INTERFACE_LEN {
            return Err(InterfaceError::Length);
        }
        let is_wrong = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if name.contains(is_wrong) || [".", ".."].contains(&name) {
            return Err(InterfaceError::Character);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the name of an interface has 1 to 15 octets, as in `tun0`",
            Self::Character => "the name of an interface has no space, `/` or `:`, and is not `.` or `..`",
        })
    }
}

impl std::error::Error for InterfaceError {}

/// A UDP socket that hears nobody but `server`, from a fresh port; nothing is sent yet. Its datagrams are never fragmented, whatever path MTU
/// a stranger claims; bound to an interface, they leave by that one or not at all.
///
/// # Errors
/// `NetworkUnreachable` and the like without a way there; `NotFound` for an interface that is gone; `Unsupported` where nothing can be bound.
pub fn datagrams_to(server: SocketAddr, interface: Option<&Interface>) -> io::Result<UdpSocket> {
    let socket = outgoing(server, Type::DGRAM, Protocol::UDP, interface)?;
    device::forbid_fragments(&socket, server.is_ipv6());
    if !device::CONNECT_BINDS {
        socket.bind(&any(server).into())?;
    }
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

/// A connection to `server` from a fresh port; bound to an interface, it leaves by that one or not at all.
///
/// # Errors
/// As [`datagrams_to`], and what a handshake can end in.
pub async fn stream_to(server: SocketAddr, interface: Option<&Interface>) -> io::Result<TcpStream> {
    let socket = outgoing(server, Type::STREAM, Protocol::TCP, interface)?;
    TcpSocket::from_std_stream(socket.into()).connect(server).await
}

/// A second handle on a connection, by which it can be silenced whoever has the first. The connection is open as long as this lives.
#[derive(Debug)]
pub struct Silencer(Socket);

impl Silencer {
    /// For this connection.
    ///
    /// # Errors
    /// What the system says when it has no descriptor left.
    pub fn of(stream: &TcpStream) -> io::Result<Self> {
        SockRef::from(stream).try_clone().map(Self)
    }

    /// Nothing of the connection leaves this host any more: not what waits to be sent or repeated, and no goodbye. Where the system has no
    /// way for that (or wants a right for it), a bare reset takes the place of all of them when the connection is closed.
    pub fn silence(&self) {
        if device::silence(&self.0).is_err() {
            // A socket that cannot be told that is closed already.
            let _ = self.0.set_linger(Some(Duration::ZERO));
        }
    }
}

/// Bound to the interface before anything else, so that no packet and no choice of an address comes before.
fn outgoing(server: SocketAddr, kind: Type, protocol: Protocol, interface: Option<&Interface>) -> io::Result<Socket> {
    let socket = new_socket(server, kind, protocol)?;
    if let Some(interface) = interface {
        device::bind(&socket, interface)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn any(server: SocketAddr) -> SocketAddr {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, 0)
}

/// `IFNAMSIZ` less the NUL at the end.
pub const MAX_INTERFACE_LEN: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::portable;

    #[test]
    fn names_of_interfaces() {
        for name in [
            "lo",
            "tun0",
            "wg-office",
            "enp0s31f6",
            "eth0.42",
            "a23456789012345",
            "tün0",
        ] {
            assert_eq!(name.parse::<Interface>().unwrap().name(), name);
        }
        for (name, error) in [
            ("", InterfaceError::Length),
            ("a234567890123456", InterfaceError::Length),
            ("tün012345678901", InterfaceError::Length),
            ("tun 0", InterfaceError::Character),
            ("tun0\n", InterfaceError::Character),
            ("tun\0", InterfaceError::Character),
            ("../tun0", InterfaceError::Character),
            ("eth0:1", InterfaceError::Character),
            (".", InterfaceError::Character),
            ("..", InterfaceError::Character),
        ] {
            assert_eq!(name.parse::<Interface>(), Err(error), "{name:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_loopback_is_up_and_can_be_bound_to() {
        let lo: Interface = "lo".parse().unwrap();
        assert_eq!(lo.state().unwrap(), LinkState::Up { index: 1 });
        for server in ["127.0.0.1:53", "[::1]:53"] {
            let server: SocketAddr = server.parse().unwrap();
            let socket = datagrams_to(server, Some(&lo)).unwrap();
            assert_eq!(SockRef::from(&socket).device().unwrap().as_deref(), Some(&b"lo"[..]));
            assert_eq!(socket.peer_addr().unwrap(), server);
            let local = socket.local_addr().unwrap();
            assert!(local.ip().is_loopback() && local.port() != 0, "{local}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_interface_that_is_not_there_is_an_error_for_both_transports() {
        let gone: Interface = "tacenda-none".parse().unwrap();
        assert_eq!(gone.state().unwrap(), LinkState::Absent);
        let server: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let datagrams = datagrams_to(server, Some(&gone)).map(drop).unwrap_err();
        assert_eq!(datagrams.kind(), io::ErrorKind::NotFound, "{datagrams}");
        let stream = stream_to(server, Some(&gone)).await.map(drop).unwrap_err();
        assert_eq!(stream.kind(), io::ErrorKind::NotFound, "{stream}");
    }

    #[test]
    fn the_portable_twin_says_that_it_cannot() {
        let (lo, server): (Interface, SocketAddr) = ("lo".parse().unwrap(), "127.0.0.1:53".parse().unwrap());
        let twin = portable::state(&lo).unwrap_err();
        assert_eq!(twin.kind(), io::ErrorKind::Unsupported);
        let socket = new_socket(server, Type::DGRAM, Protocol::UDP).unwrap();
        let twin = portable::bind(&socket, &lo).unwrap_err();
        assert_eq!(twin.kind(), io::ErrorKind::Unsupported);
    }
}
