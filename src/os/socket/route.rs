//! One question to the kernel's routing tables (rtnetlink(7), RTM_GETROUTE), rules of policy routing among them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::netlink::{Message, NLMSG_ERROR, ask, attribute, push_attribute, question, u32_at};
use super::path::{Path, source_to};

pub(super) fn path_to(address: SocketAddr) -> io::Result<Path> {
    let route = ask(&request(address), read)?;
    let source = route.source.map_or_else(|| source_to(address), Ok)?;
    Ok(Path {
        source,
        interface: route.interface,
    })
}

/// What the answer says.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: u32,
    source: Option<IpAddr>,
}

/// `struct nlmsghdr`, `struct rtmsg`, the destination, and the interface where the address names one.
fn request(address: SocketAddr) -> Vec<u8> {
    let (family, bits, octets) = match address.ip() {
        IpAddr::V4(ip) => (AF_INET, 32, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, 128, ip.octets().to_vec()),
    };
    let mut body = vec![family, bits];
    body.resize(RTMSG_LEN, 0);
    push_attribute(&mut body, libc::RTA_DST, &octets);
    if let SocketAddr::V6(v6) = address
        && v6.scope_id() != 0
    {
        push_attribute(&mut body, libc::RTA_OIF, &v6.scope_id().to_ne_bytes());
    }
    question(libc::RTM_GETROUTE, &body)
}

fn read(answer: Message<'_>) -> io::Result<Route> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read");
    match answer.kind {
        NLMSG_ERROR => {
            let code = u32_at(answer.body, 0).map_or(0, u32::cast_signed);
            Err(io::Error::from_raw_os_error(
                code.checked_neg().filter(|code| *code > 0).unwrap_or(libc::EIO),
            ))
        }
        libc::RTM_NEWROUTE => {
            let attributes = answer.body.get(RTMSG_LEN..).ok_or_else(malformed)?;
            let interface = attribute(attributes, libc::RTA_OIF).and_then(|value| u32_at(value, 0));
            Ok(Route {
                interface: interface.ok_or_else(malformed)?,
                source: attribute(attributes, libc::RTA_PREFSRC).and_then(ip),
            })
        }
        _ => Err(malformed()),
    }
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
        assert_eq!(route(&body).unwrap(), Route { interface: 7, source });
        for cut in 0..body.len() {
            match route(&body[..cut]) {
                Ok(found) => assert_eq!(
                    found,
                    Route {
                        interface: 7,
                        source: None
                    },
                    "cut to {cut}"
                ),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "cut to {cut}"),
            }
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
