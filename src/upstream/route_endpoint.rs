//! Upstream URLs as a `[[route]]` may have them: those of everybody, and classic DNS besides. Pure; never resolves a name.
//!
//! `udp://IP[:53]` is UDP, and TCP for what does not fit; `tcp://IP[:53]` is TCP alone. Address literals only: whoever asked somebody for the
//! address of a host name would have to trust him with the route's names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::endpoint::{Endpoint, EndpointError, Host, parse_port};

pub use crate::transport::plain::Protocol;

/// Where an upstream of a route is, as its URL says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteEndpoint {
    /// As any upstream may be.
    Encrypted(Endpoint),
    /// As only a route's may be.
    Plain(PlainEndpoint),
}

/// A server of classic DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlainEndpoint {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Where it is; the port is never 0.
    pub server: SocketAddr,
}

impl RouteEndpoint {
    /// Where questions to it go, as far as that is written down, and how.
    pub fn servers(&self) -> Vec<(SocketAddr, Protocol)> {
        match self {
            Self::Encrypted(endpoint) => {
                let addresses = endpoint.built_in_addresses().into_iter();
                addresses
                    .map(|ip| (SocketAddr::new(ip, endpoint.port), Protocol::Tcp))
                    .collect()
            }
            Self::Plain(endpoint) => vec![(endpoint.server, endpoint.protocol)],
        }
    }
}

impl FromStr for RouteEndpoint {
    type Err = RouteEndpointError;

    fn from_str(url: &str) -> Result<Self, RouteEndpointError> {
        let (scheme, rest) = url.split_once("://").ok_or(RouteEndpointError::NoScheme)?;
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            _ => {
                return url.parse().map(Self::Encrypted).map_err(RouteEndpointError::Encrypted);
            }
        };
        let server = parse_server(rest)?;
        Ok(Self::Plain(PlainEndpoint { protocol, server }))
    }
}

/// The URL, which parses to the same endpoint again.
impl fmt::Display for PlainEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, server) = (self.protocol.word(), self.server);
        if server.port() == DNS_PORT {
            write!(f, "{word}://{}", Host::Address(server.ip()))
        } else {
            write!(f, "{word}://{server}")
        }
    }
}

/// The URL, which parses to the same endpoint again.
impl fmt::Display for RouteEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted(endpoint) => endpoint.fmt(f),
            Self::Plain(endpoint) => endpoint.fmt(f),
        }
    }
}

/// Why a text is not the URL of a route's upstream. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteEndpointError {
    /// No `://`.
    NoScheme,
    /// Not `udp://` or `tcp://`, and not what anybody may have.
    Encrypted(EndpointError),
    /// Nothing behind `://`.
    NoAddress,
    /// A host name, or a wrong address.
    NotAnAddress,
    /// An IPv6 address without brackets.
    BareIpv6,
    /// An address with `%` and the name of an interface.
    ScopedAddress,
    /// An address at which there is no server: unspecified, multicast or broadcast.
    NotAServer,
    /// Not a number from 1 to 65535.
    BadPort,
    /// A path, a query string or a fragment.
    Path,
}

impl fmt::Display for RouteEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted(error) => return error.fmt(f),
            Self::NoScheme => {
                "no scheme: write `https://host/dns-query` for DoH, `tls://host` for DoT, or `udp://10.8.0.1` for a server of classic DNS"
            }
            Self::NoAddress => "no address behind `://`: write `udp://10.8.0.1` or `tcp://[fd00::1]:53`",
            Self::NotAnAddress => {
                "neither an IPv4 address nor an IPv6 address in square brackets: `udp://` and `tcp://` take no host name, because nobody may be asked in clear text where the server is"
            }
            Self::BareIpv6 => "put an IPv6 address in square brackets, as in `udp://[fd00::1]`",
            Self::ScopedAddress => "write the address without `%` and the interface as `interface = \"tun0\"`",
            Self::NotAServer => "no server can be at this address: it is unspecified, multicast or broadcast",
            Self::BadPort => "the port must be a number from 1 to 65535",
            Self::Path => "`udp://` and `tcp://` take no path: write `udp://10.8.0.1` or `udp://10.8.0.1:53`",
        })
    }
}

impl std::error::Error for RouteEndpointError {}

fn parse_server(rest: &str) -> Result<SocketAddr, RouteEndpointError> {
    if rest.is_empty() {
        return Err(RouteEndpointError::NoAddress);
    }
    if rest.contains(['/', '?', '#', '{']) {
        return Err(RouteEndpointError::Path);
    }
    if rest.contains('%') {
        return Err(RouteEndpointError::ScopedAddress);
    }
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Err(RouteEndpointError::BareIpv6);
    }
    let (ip, port): (IpAddr, _) = if let Some(inner) = rest.strip_prefix('[') {
        let (ip, port) = inner.split_once(']').ok_or(RouteEndpointError::NotAnAddress)?;
        let ip = ip.parse::<Ipv6Addr>().map_err(|_| RouteEndpointError::NotAnAddress)?;
        // A mapped one is spoken to by IPv4, and a socket that takes IPv6 alone refuses it.
        (IpAddr::from(ip).to_canonical(), port)
    } else {
        let (ip, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
        let ip = ip.parse::<Ipv4Addr>().map_err(|_| RouteEndpointError::NotAnAddress)?;
        (ip.into(), port)
    };
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(RouteEndpointError::NotAServer);
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => parse_port(digits).ok_or(RouteEndpointError::BadPort)?,
        None if port.is_empty() => DNS_PORT,
        None => return Err(RouteEndpointError::NotAnAddress),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Of classic DNS (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn addresses_with_and_without_ports() {
        for (url, protocol, server, shown) in [
            ("udp://10.8.0.1", Protocol::Udp, "10.8.0.1:53", "udp://10.8.0.1"),
            ("UDP://10.8.0.1:53", Protocol::Udp, "10.8.0.1:53", "udp://10.8.0.1"),
            (
                "tcp://10.8.0.1:5353",
                Protocol::Tcp,
                "10.8.0.1:5353",
                "tcp://10.8.0.1:5353",
            ),
            ("udp://[fd00::1]", Protocol::Udp, "[fd00::1]:53", "udp://[fd00::1]"),
            (
                "tcp://[FD00::1]:54",
                Protocol::Tcp,
                "[fd00::1]:54",
                "tcp://[fd00::1]:54",
            ),
            ("udp://[fe80::1]", Protocol::Udp, "[fe80::1]:53", "udp://[fe80::1]"),
            (
                "udp://[::ffff:10.8.0.1]",
                Protocol::Udp,
                "10.8.0.1:53",
                "udp://10.8.0.1",
            ),
        ] {
            let server = server.parse().unwrap();
            let expected = RouteEndpoint::Plain(PlainEndpoint { protocol, server });
            assert_eq!(url.parse(), Ok(expected.clone()), "{url}");
            assert_eq!(
                (expected.to_string().as_str(), expected.servers()),
                (shown, vec![(server, protocol)])
            );
        }
    }

    #[test]
    fn encrypted_ones_are_the_same_as_elsewhere() {
        for url in ["tls://dns.quad9.net", "https://9.9.9.9/dns-query"] {
            let endpoint: Endpoint = url.parse().unwrap();
            let parsed: RouteEndpoint = url.parse().unwrap();
            let servers = parsed.servers();
            assert!(!servers.is_empty() && servers.iter().all(|(server, _)| server.port() == endpoint.port));
            assert_eq!(parsed, RouteEndpoint::Encrypted(endpoint), "{url}");
        }
    }

    #[test]
    fn p1_each_wrong_url_has_its_own_reason() {
        for (url, reason) in [
            ("10.8.0.1", RouteEndpointError::NoScheme),
            ("udp://", RouteEndpointError::NoAddress),
            ("udp://dns.corp.example", RouteEndpointError::NotAnAddress),
            ("tcp://localhost:53", RouteEndpointError::NotAnAddress),
            ("udp://10.8.0.256", RouteEndpointError::NotAnAddress),
            ("udp://10.8.1", RouteEndpointError::NotAnAddress),
            ("udp://me@10.8.0.1", RouteEndpointError::NotAnAddress),
            ("udp://[fd00::1", RouteEndpointError::NotAnAddress),
            ("udp://[10.8.0.1]", RouteEndpointError::NotAnAddress),
            ("udp://[fd00::1]x", RouteEndpointError::NotAnAddress),
            ("udp://fd00::1", RouteEndpointError::BareIpv6),
            ("udp://[fe80::1%tun0]", RouteEndpointError::ScopedAddress),
            ("udp://0.0.0.0", RouteEndpointError::NotAServer),
            ("udp://[::]", RouteEndpointError::NotAServer),
            ("udp://224.0.0.251:5353", RouteEndpointError::NotAServer),
            ("udp://[ff02::fb]", RouteEndpointError::NotAServer),
            ("udp://255.255.255.255", RouteEndpointError::NotAServer),
            ("udp://10.8.0.1:", RouteEndpointError::BadPort),
            ("udp://10.8.0.1:0", RouteEndpointError::BadPort),
            ("udp://10.8.0.1:+53", RouteEndpointError::BadPort),
            ("udp://10.8.0.1:65536", RouteEndpointError::BadPort),
            ("udp://10.8.0.1/", RouteEndpointError::Path),
            ("tcp://10.8.0.1?x", RouteEndpointError::Path),
            (
                "http://10.8.0.1/dns-query",
                RouteEndpointError::Encrypted(EndpointError::ClearText),
            ),
            (
                "dns://10.8.0.1",
                RouteEndpointError::Encrypted(EndpointError::UnknownScheme),
            ),
        ] {
            assert_eq!(url.parse::<RouteEndpoint>(), Err(reason), "{url}");
        }
    }

    #[test]
    fn p1_everybody_elses_urls_stay_encrypted() {
        for url in ["udp://10.8.0.1", "tcp://10.8.0.1"] {
            assert_eq!(url.parse::<Endpoint>(), Err(EndpointError::OnlyInRoute), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_an_error_and_endpoints_survive(
            scheme in "(udp|tcp)://",
            rest in "[0-9a-f.:/?%\\[\\]]{0,24}|[0-9]{1,3}\\.[0-9]\\.[0-9]\\.[0-9](:[0-9]{0,6})?|\\PC{0,20}",
        ) {
            if let Ok(endpoint) = format!("{scheme}{rest}").parse::<RouteEndpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
