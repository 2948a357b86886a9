//! Routers of this network: to which one packets are given on their way to a server.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::{Transport, next_hops};

/// The address of a router, whether there is such a one or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gateway(IpAddr);

/// Why a text is not the address of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayError {
    /// Not an IP address, or one with `%` or a port.
    NotAnAddress,
    /// Unspecified, multicast or broadcast.
    NotARouter,
    /// This host itself.
    Loopback,
}

impl Gateway {
    /// Its address, never a mapped one.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// Whether the address names a router only together with its link: every link may have one with it.
    pub fn is_link_local(self) -> bool {
        match self.0 {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    /// Whether the kernel would give packets to `server` to this router now, those of a socket bound to the interface with this number if
    /// there is one. Not if it draws among several routers. Sends nothing; the routes may change behind its back.
    ///
    /// # Errors
    /// Whatever the kernel says: `NetworkUnreachable` or `HostUnreachable` without a route, `Unsupported` on systems that do not tell.
    pub fn leads_to(self, server: SocketAddr, transport: Transport, interface: Option<u32>) -> io::Result<bool> {
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        let hop = next_hops::next_hop(server, transport, interface)?;
        Ok(hop == Some(self.0))
    }
}

impl FromStr for Gateway {
    type Err = GatewayError;

    fn from_str(text: &str) -> Result<Self, GatewayError> {
        let address: IpAddr = text.parse().map_err(|_| GatewayError::NotAnAddress)?;
        let address = address.to_canonical();
        if address.is_loopback() {
            return Err(GatewayError::Loopback);
        }
        if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(GatewayError::NotARouter);
        }
        Ok(Self(address))
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnAddress => "the router is written as its IP address alone, as in `192.168.1.2`",
            Self::NotARouter => "no router can be at this address: it is unspecified, multicast or broadcast",
            Self::Loopback => "no router can be at this address: it is this host",
        })
    }
}

impl std::error::Error for GatewayError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::portable;

    #[test]
    fn addresses_of_routers() {
        for (text, shown) in [
            ("192.168.1.2", "192.168.1.2"),
            ("FE80::1", "fe80::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(text.parse::<Gateway>().unwrap().to_string(), shown);
        }
        for (text, error) in [
            ("", GatewayError::NotAnAddress),
            ("router.lan", GatewayError::NotAnAddress),
            ("192.168.1", GatewayError::NotAnAddress),
            ("192.168.1.2:53", GatewayError::NotAnAddress),
            ("[fe80::1]", GatewayError::NotAnAddress),
            ("fe80::1%eth0", GatewayError::NotAnAddress),
            ("192.168.1.0/24", GatewayError::NotAnAddress),
            ("0.0.0.0", GatewayError::NotARouter),
            ("::", GatewayError::NotARouter),
            ("224.0.0.1", GatewayError::NotARouter),
            ("ff02::2", GatewayError::NotARouter),
            ("255.255.255.255", GatewayError::NotARouter),
            ("::ffff:0.0.0.0", GatewayError::NotARouter),
            ("127.0.0.1", GatewayError::Loopback),
            ("::1", GatewayError::Loopback),
            ("::ffff:127.0.0.1", GatewayError::Loopback),
        ] {
            assert_eq!(text.parse::<Gateway>(), Err(error), "{text:?}");
        }
        let is_link_local = |text: &str| text.parse::<Gateway>().unwrap().is_link_local();
        assert_eq!(
            ["fe80::1", "169.254.0.1", "10.0.0.1", "fd00::1"].map(is_link_local),
            [true, true, false, false]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_loopback_is_behind_no_router() {
        let router: Gateway = "192.0.2.1".parse().unwrap();
        for server in ["127.0.0.1:53", "[::1]:53", "[::ffff:127.0.0.1]:53"] {
            for interface in [None, Some(1)] {
                let leads = router.leads_to(server.parse().unwrap(), Transport::Udp, interface);
                assert!(!leads.unwrap_or_default(), "{server}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "needs root and network namespaces"]
    fn the_router_is_the_one_that_packets_are_given_to() {
        use crate::os::testing::{in_own_network, ip};
        in_own_network(async || {
            for (number, link) in ["one", "two"].iter().enumerate() {
                ip(&format!("link add {link} type veth peer name {link}-peer"));
                ip(&format!("link set {link}-peer up"));
                ip(&format!("link set {link} up"));
                ip(&format!("addr add 192.0.2.{}/25 dev {link}", number * 128 + 2));
                ip(&format!("addr add fd00:{number}::2/64 dev {link} nodad"));
            }
            let [one, two] = ["one", "two"].map(index);
            for route in [
                "default via 192.0.2.1",
                "default via fd00:0::1",
                "default via 192.0.2.129 metric 9",
                "default via fd00:1::1 metric 2000",
                "198.51.100.0/24 via 192.0.2.129",
                "203.0.113.0/24 via inet6 fd00:1::1",
                "198.18.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.129",
                "fd01::/64 nexthop via fd00:0::1 nexthop via fd00:1::1",
                "198.19.0.0/16 dev two",
                "unreachable 10.0.0.0/8",
                "default via 192.0.2.129 table 7",
            ] {
                ip(&format!("route add {route}"));
            }
            ip("rule add ipproto udp dport 5353 lookup 7");
            ip("rule add from 192.0.2.2 to 9.0.0.0/8 lookup 7");
            for (server, interface, router) in [
                ("8.8.8.8", None, Some("192.0.2.1")),
                ("8.8.8.8", Some(one), Some("192.0.2.1")),
                ("8.8.8.8", Some(two), Some("192.0.2.129")),
                ("2001:db8::1", None, Some("fd00::1")),
                ("2001:db8::1", Some(two), Some("fd00:1::1")),
                ("198.51.100.1", None, Some("192.0.2.129")),
                ("203.0.113.1", None, Some("fd00:1::1")),
                // The best by that one.
                ("198.51.100.1", Some(one), Some("192.0.2.1")),
                ("192.0.2.5", None, None),
                ("198.19.0.1", None, None),
                // Drawn among two.
                ("198.18.0.1", None, None),
                ("fd01::1", None, None),
                // What a socket would take as its source decides.
                ("9.9.9.9", None, Some("192.0.2.129")),
            ] {
                for candidate in ["192.0.2.1", "192.0.2.129", "fd00::1", "fd00:1::1", "192.0.2.7"] {
                    let server = SocketAddr::new(server.parse().unwrap(), 53);
                    let leads = candidate
                        .parse::<Gateway>()
                        .unwrap()
                        .leads_to(server, Transport::Udp, interface);
                    let expected = router == Some(candidate);
                    assert_eq!(leads.unwrap(), expected, "{server} by {interface:?} via {candidate}");
                }
            }
            let router: Gateway = "192.0.2.1".parse().unwrap();
            let leads = |server: &str, transport| router.leads_to(server.parse().unwrap(), transport, None);
            assert!(
                !leads("8.8.8.8:5353", Transport::Udp).unwrap(),
                "there is a rule for it"
            );
            assert!(leads("8.8.8.8:5353", Transport::Tcp).unwrap());
            assert_eq!(
                leads("10.8.0.1:53", Transport::Udp).unwrap_err().kind(),
                io::ErrorKind::HostUnreachable
            );
        });
    }

    #[cfg(target_os = "linux")]
    fn index(name: &str) -> u32 {
        match name.parse::<crate::os::socket::Interface>().unwrap().state() {
            Ok(crate::os::socket::LinkState::Up { index }) => index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_portable_twin_says_that_it_cannot() {
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        let twin = portable::next_hop(server, Transport::Udp, None).unwrap_err();
        assert_eq!(twin.kind(), io::ErrorKind::Unsupported);
    }
}
