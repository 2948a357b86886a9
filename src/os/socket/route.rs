//! Questions to the kernel's routing tables (rtnetlink(7), RTM_GETROUTE), rules of policy routing among them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Transport;
use super::netlink::{Message, NLMSG_ERROR, ask, attribute, push_attribute, question, u32_at};
use super::path::{Path, source_to};

pub(super) fn path_to(address: SocketAddr) -> io::Result<Path> {
    let route = ask(&Flow::to(address).request(0), read)?;
    let source = route.source.map_or_else(|| source_to(address), Ok)?;
    Ok(Path {
        source,
        interface: route.interface,
    })
}

/// The kernel tells to which router packets go.
pub const KNOWS_NEXT_HOPS: bool = true;

/// The router to which packets to `server` are given. `None` if they need none, or if it is drawn among several: a connection may get another
/// one than this question. What an ICMP redirect changed counts too.
pub(super) fn next_hop(server: SocketAddr, transport: Transport, interface: Option<u32>) -> io::Result<Option<IpAddr>> {
    let mut flow = Flow {
        transport: Some(transport),
        interface,
        ..Flow::to(server)
    };
    // A socket takes a source address first, and there may be rules for that. But asked with one, IPv6 keeps to the interface no more
    // (`ip6_route_output_flags`), as a bound socket would.
    if server.is_ipv4() || interface.is_none() {
        flow.source = ask(&flow.request(0), read)?.source;
    }
    let is_shared = ask(&flow.request(RTM_F_FIB_MATCH), |answer| {
        Ok(attribute(attributes(answer)?, libc::RTA_MULTIPATH).is_some())
    })?;
    if is_shared {
        return Ok(None);
    }
    let route = ask(&flow.request(0), read)?;
    let is_there = interface.is_none_or(|interface| interface == route.interface);
    Ok(route.router.filter(|_| is_there))
}

/// What the answer says.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: u32,
    source: Option<IpAddr>,
    router: Option<IpAddr>,
}

/// What the rules and routes look at.
struct Flow {
    to: SocketAddr,
    source: Option<IpAddr>,
    transport: Option<Transport>,
    interface: Option<u32>,
}

impl Flow {
    /// Anything to this address, by the interface that it names if it does.
    fn to(to: SocketAddr) -> Self {
        let scope = match to {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Self {
            to,
            source: None,
            transport: None,
            interface: (scope != 0).then_some(scope),
        }
    }

    /// `struct nlmsghdr`, `struct rtmsg`, and the attributes.
    fn request(&self, flags: u32) -> Vec<u8> {
        let (family, bits) = if self.to.is_ipv6() {
            (AF_INET6, 128)
        } else {
            (AF_INET, 32)
        };
        let source_bits = if self.source.is_some() { bits } else { 0 };
        let mut body = vec![family, bits, source_bits];
        body.resize(RTMSG_LEN - size_of::<u32>(), 0);
        body.extend(flags.to_ne_bytes());
        push_attribute(&mut body, libc::RTA_DST, &octets(self.to.ip()));
        if let Some(source) = self.source {
            push_attribute(&mut body, libc::RTA_SRC, &octets(source));
        }
        if let Some(interface) = self.interface {
            push_attribute(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
        }
        if let Some(transport) = self.transport {
            let protocol = match transport {
                Transport::Udp => IPPROTO_UDP,
                Transport::Tcp => IPPROTO_TCP,
            };
            push_attribute(&mut body, RTA_IP_PROTO, &[protocol]);
            push_attribute(&mut body, RTA_DPORT, &self.to.port().to_be_bytes());
        }
        question(libc::RTM_GETROUTE, &body)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn read(answer: Message<'_>) -> io::Result<Route> {
    let attributes = attributes(answer)?;
    let interface = attribute(attributes, libc::RTA_OIF).and_then(|value| u32_at(value, 0));
    // `struct rtvia`: a family in two octets, and the address. For a router of the other family.
    let other = || attribute(attributes, RTA_VIA).and_then(|value| ip(value.get(2..)?));
    Ok(Route {
        interface: interface.ok_or_else(malformed)?,
        source: attribute(attributes, libc::RTA_PREFSRC).and_then(ip),
        router: attribute(attributes, libc::RTA_GATEWAY).and_then(ip).or_else(other),
    })
}

/// Those of a route; the kernel's refusal is the error.
fn attributes(answer: Message<'_>) -> io::Result<&[u8]> {
    match answer.kind {
        NLMSG_ERROR => {
            let code = u32_at(answer.body, 0).map_or(0, u32::cast_signed);
            Err(io::Error::from_raw_os_error(
                code.checked_neg().filter(|code| *code > 0).unwrap_or(libc::EIO),
            ))
        }
        libc::RTM_NEWROUTE => answer.body.get(RTMSG_LEN..).ok_or_else(malformed),
        _ => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read")
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// `struct rtmsg`: family, destination and source lengths, TOS, table, protocol, scope, type, flags.
const RTMSG_LEN: usize = 12;

/// The families in the width of `rtm_family`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The protocols in the width of their attribute.
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Says the route in the table instead of what came of it for this flow (Linux 4.13).
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// A next hop of another family (Linux 4.1; with IPv4 routes 5.2).
const RTA_VIA: u16 = 18;

/// What rules may look at since Linux 4.17; older ones pass over both.
const RTA_IP_PROTO: u16 = 27;
const RTA_DPORT: u16 = 29;

#[cfg(test)]
mod tests {
    use super::*;

    fn route(body: &[u8]) -> io::Result<Route> {
        read(Message {
            kind: libc::RTM_NEWROUTE,
            sequence: 1,
            body,
        })
    }

    #[test]
    fn answers_are_read_and_broken_ones_are_errors() {
        let mut body = vec![0; RTMSG_LEN];
        push_attribute(&mut body, libc::RTA_OIF, &7u32.to_ne_bytes());
        push_attribute(&mut body, libc::RTA_PREFSRC, &[192, 0, 2, 9]);
        let source = Some(IpAddr::from([192, 0, 2, 9]));
        let router = None;
        let whole = Route {
            interface: 7,
            source,
            router,
        };
        assert_eq!(route(&body).unwrap(), whole);
        for cut in 0..body.len() {
            match route(&body[..cut]) {
                Ok(found) => assert_eq!(
                    found,
                    Route {
                        interface: 7,
                        source: None,
                        router
                    },
                    "cut to {cut}"
                ),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "cut to {cut}"),
            }
        }
    }

    #[test]
    fn a_router_may_be_of_the_other_family_and_a_broken_one_is_none() {
        let router = |kind, value: &[u8]| {
            let mut body = vec![0; RTMSG_LEN];
            push_attribute(&mut body, libc::RTA_OIF, &7u32.to_ne_bytes());
            push_attribute(&mut body, kind, value);
            route(&body).unwrap().router.map(|router| router.to_string())
        };
        let v6 = [&[0xfe, 0x80][..], &[0; 13], &[1]].concat();
        let said = |router: &str| Some(router.to_owned());
        assert_eq!(router(libc::RTA_GATEWAY, &[192, 0, 2, 1]), said("192.0.2.1"));
        assert_eq!(router(libc::RTA_GATEWAY, &v6), said("fe80::1"));
        let family = u16::from(AF_INET6).to_ne_bytes();
        assert_eq!(router(RTA_VIA, &[&family[..], &v6].concat()), said("fe80::1"));
        for len in [0, 1, 2, 3, 17] {
            assert_eq!(router(RTA_VIA, &vec![0; len]), None, "{len}");
        }
    }

    #[test]
    fn the_kernels_refusal_is_the_error() {
        for (code, expected) in [
            (-libc::ENETUNREACH, libc::ENETUNREACH),
            (0, libc::EIO),
            (5, libc::EIO),
            (i32::MIN, libc::EIO),
        ] {
            let refusal = Message {
                kind: NLMSG_ERROR,
                sequence: 1,
                body: &code.to_ne_bytes(),
            };
            assert_eq!(read(refusal).unwrap_err().raw_os_error(), Some(expected));
        }
    }
}
