//! Address prefixes, as an `allow` list has them.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that share a prefix: `192.168.0.0/16`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_prefix(own.to_bits().into(), other.to_bits().into(), 32, self.prefix_len)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same_prefix(own.to_bits(), other.to_bits(), 128, self.prefix_len),
            _ => false,
        }
    }

    /// The zones that the reverse names of its addresses are in, cut where reverse names have labels (RFC 1035 section 3.5, RFC
    /// 3596 section 2.5): at most 256, because a prefix may end within a label.
    pub fn reverse_zones(&self) -> Vec<String> {
        let (digits, width, top) = match self.address {
            IpAddr::V4(own) => (own.octets().map(u32::from).to_vec(), 8, "in-addr.arpa"),
            IpAddr::V6(own) => {
                let nibbles = own.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
                (nibbles.map(u32::from).collect(), 4, "ip6.arpa")
            }
        };
        let (whole, rest) = (
            usize::from(self.prefix_len) / width,
            usize::from(self.prefix_len) % width,
        );
        let label = |digit: u32| {
            if width == 8 {
                digit.to_string()
            } else {
                format!("{digit:x}")
            }
        };
        let zone = |last: Option<u32>| {
            let labels = last.into_iter().chain(digits[..whole].iter().rev().copied()).map(label);
            labels.chain([top.to_owned()]).collect::<Vec<_>>().join(".")
        };
        match digits.get(whole) {
            Some(first) if rest > 0 => (0..1 << (width - rest)).map(|more| zone(Some(first + more))).collect(),
            _ => vec![zone(None)],
        }
    }

    /// The address with all bits behind the prefix cleared.
    fn first(&self) -> IpAddr {
        let prefix_len = u32::from(self.prefix_len);
        match self.address {
            IpAddr::V4(own) => {
                let mask = u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0);
                Ipv4Addr::from_bits(own.to_bits() & mask).into()
            }
            IpAddr::V6(own) => {
                let mask = u128::MAX.checked_shl(128 - prefix_len).unwrap_or(0);
                Ipv6Addr::from_bits(own.to_bits() & mask).into()
            }
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match prefix {
            None => width,
            // Digits alone: Rust's own parser would take "+8".
            Some(digits) if !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|len| *len <= width)
                .ok_or(NetworkError::PrefixLen { max: width })?,
            Some(_) => return Err(NetworkError::PrefixLen { max: width }),
        };
        if address.to_canonical() != address {
            return Err(NetworkError::Mapped);
        }
        let network = Self { address, prefix_len };
        let first = network.first();
        if first != address {
            return Err(NetworkError::HostBits {
                network: Self {
                    address: first,
                    prefix_len,
                },
            });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    Address,
    /// What stands after the slash is no prefix length.
    PrefixLen {
        /// The longest for this kind of address.
        max: u8,
    },
    /// An IPv4 address in IPv6 clothes would never match: clients are compared as IPv4.
    Mapped,
    /// Bits behind the prefix are set: probably the wrong length or the wrong address, and we do not guess which.
    HostBits {
        /// The network that has this prefix.
        network: Network,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("not an IP address or network, such as \"192.168.0.0/16\" or \"fd00::/8\""),
            Self::PrefixLen { max } => write!(f, "the prefix length must be a number from 0 to {max}"),
            Self::Mapped => f.write_str("an IPv4-mapped address: write it as IPv4"),
            Self::HostBits { network } => {
                write!(f, "address bits after the prefix are set: did you mean \"{network}\"?")
            }
        }
    }
}

impl Error for NetworkError {}

/// Whether the first `prefix_len` of `width` bits are the same.
fn same_prefix(one: u128, other: u128, width: u8, prefix_len: u8) -> bool {
    // A shift by all 128 bits is no shift in Rust: it means that nothing is compared.
    (one ^ other).checked_shr(u32::from(width - prefix_len)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_zones_end_where_labels_do() {
        let zones = |network: &str| network.parse::<Network>().unwrap().reverse_zones();
        assert_eq!(zones("10.0.0.0/8"), ["10.in-addr.arpa"]);
        assert_eq!(zones("10.8.3.0/24"), ["3.8.10.in-addr.arpa"]);
        assert_eq!(zones("10.8.3.7"), ["7.3.8.10.in-addr.arpa"]);
        let cut = zones("172.16.0.0/12");
        assert_eq!(
            (cut.len(), cut[0].as_str(), cut[15].as_str()),
            (16, "16.172.in-addr.arpa", "31.172.in-addr.arpa")
        );
        assert_eq!(zones("fd00::/8"), ["d.f.ip6.arpa"]);
        assert_eq!(
            zones("fe80::/10"),
            ["8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa"]
        );
        assert_eq!(zones("0.0.0.0/1").len(), 128);
        assert_eq!(zones("0.0.0.0/0"), ["in-addr.arpa"]);
    }

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let check = |text: &str, inside: &[&str], outside: &[&str]| {
            for address in inside {
                assert!(network(text).contains(address.parse().unwrap()), "{address} in {text}");
            }
            for address in outside {
                assert!(
                    !network(text).contains(address.parse().unwrap()),
                    "{address} not in {text}"
                );
            }
        };
        check(
            "192.168.0.0/16",
            &["192.168.0.0", "192.168.255.255", "::ffff:192.168.3.4"],
            &["192.169.0.0", "::c0a8:1"],
        );
        check("10.0.0.7", &["10.0.0.7"], &["10.0.0.6", "10.0.0.8"]);
        check("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1", "2001:db8::1"]);
        check("fd00::/8", &["fd00::1", "fdff::"], &["fc00::1", "fe80::1", "253.0.0.1"]);
        check("::/0", &["::1", "2001:db8::1"], &["1.2.3.4", "::ffff:1.2.3.4"]);
        check("2001:db8::1", &["2001:db8::1"], &["2001:db8::2"]);
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["192.168.0.0/16", "fd00::/8", "0.0.0.0/0", "::/0", "10.1.2.3/32"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.1.2.3"), network("10.1.2.3/32"));
    }

    #[test]
    fn a_text_that_is_no_network_says_why() {
        let check = |text: &str, expected: NetworkError| {
            assert_eq!(text.parse::<Network>(), Err(expected), "{text:?}");
        };
        for text in [
            "",
            "/",
            "localhost",
            "192.168.0/16",
            "192.168.0.0.0/16",
            " 10.0.0.1",
            "fe80::1%eth0",
        ] {
            check(text, NetworkError::Address);
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
        ] {
            check(text, NetworkError::PrefixLen { max: 32 });
        }
        check("fd00::/129", NetworkError::PrefixLen { max: 128 });
        check("::ffff:10.0.0.0/104", NetworkError::Mapped);
        check(
            "192.168.1.1/16",
            NetworkError::HostBits {
                network: network("192.168.0.0/16"),
            },
        );
        check(
            "fd00::1/8",
            NetworkError::HostBits {
                network: network("fd00::/8"),
            },
        );
    }
}
