//! By which way packets to an address would leave now. Sends none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A way out of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address on it.
    pub source: IpAddr,
    /// The index of its interface; 0 where the system does not say.
    pub interface: u32,
}

/// By which source address and interface packets to `address` would leave now. Asks the kernel and no one else.
///
/// # Errors
/// What a `connect` would say: `NetworkUnreachable` or `HostUnreachable` without a route.
pub fn path_to(address: SocketAddr) -> io::Result<Path> {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    #[cfg(target_os = "linux")]
    return super::route::path_to(address);
    #[cfg(not(target_os = "linux"))]
    portable(address)
}

/// The same by what every system has.
#[cfg(any(test, not(target_os = "linux")))]
fn portable(address: SocketAddr) -> io::Result<Path> {
    source_to(address).map(|source| Path { source, interface: 0 })
}

/// A connected UDP socket has the source that the kernel chose. Connecting one sends nothing.
pub(super) fn source_to(address: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.local_addr().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_leaves_by_loopback() {
        for address in ["127.0.0.1:853", "127.9.9.9:853", "[::ffff:127.0.0.1]:853"] {
            let address: SocketAddr = address.parse().unwrap();
            let path = path_to(address).unwrap();
            assert!(path.source.is_loopback(), "{address}: {path:?}");
            if cfg!(target_os = "linux") {
                assert_eq!(path.interface, 1, "lo is always the first interface");
            }
            let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
            assert_eq!(portable(canonical).unwrap().source, path.source, "the twin agrees");
        }
    }

    #[test]
    fn no_route_is_an_error() {
        // Class E's last address is the broadcast one: a plain socket may not send there.
        let broadcast: SocketAddr = "255.255.255.255:853".parse().unwrap();
        assert!(portable(broadcast).is_err());
    }
}
