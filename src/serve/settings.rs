//! What an operator decides about serving: where to listen, for whom, with how many threads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::network::Network;

/// Where and for whom to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on, UDP and TCP on each.
    pub listen: Vec<SocketAddr>,
    /// Who may ask beside this host itself.
    pub allow: Vec<Network>,
    /// Queries a second that one client network may ask over UDP; `None` for as many as it likes.
    pub rate_limit: Option<NonZeroU32>,
    /// Receiving threads for each address, between 1 and [`MAX_UDP_THREADS`].
    pub udp_threads: usize,
    /// How long a receiving thread may wait at one go, if [`super::Pulse`] is to show that it lives.
    pub patience: Option<Duration>,
}

impl Settings {
    /// Whether these settings may be served.
    ///
    /// # Errors
    /// [`SettingsError`] says what is wrong; above all, an address that others can reach needs an `allow` list
    /// (T-AMP: an open resolver is a weapon).
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.listen.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        if !(1..=MAX_UDP_THREADS).contains(&self.udp_threads) {
            return Err(SettingsError::Threads(self.udp_threads));
        }
        for (index, address) in self.listen.iter().enumerate() {
            if address.ip().is_multicast() {
                return Err(SettingsError::Multicast(*address));
            }
            if address.port() != 0 && self.listen[..index].contains(address) {
                return Err(SettingsError::Repeated(*address));
            }
            if self.allow.is_empty() && !address.ip().to_canonical().is_loopback() {
                return Err(SettingsError::OpenResolver(*address));
            }
        }
        Ok(())
    }
}

impl Default for Settings {
    /// This host alone, on port 53.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: vec![
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), DNS_PORT),
            ],
            allow: Vec::new(),
            rate_limit: Some(DEFAULT_RATE_LIMIT),
            udp_threads: cores.clamp(1, MAX_UDP_THREADS),
            patience: None,
        }
    }
}

/// Why settings cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// No address to listen on.
    NoAddress,
    /// The number of threads is out of bounds.
    Threads(usize),
    /// A group's address is nobody's own.
    Multicast(SocketAddr),
    /// The address stands there twice.
    Repeated(SocketAddr),
    /// Others can reach the address, and no `allow` list says who of them may ask.
    OpenResolver(SocketAddr),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("no address to listen on"),
            Self::Threads(count) => write!(f, "{count} threads for each address: 1 to {MAX_UDP_THREADS} make sense"),
            Self::Multicast(address) => write!(f, "{address} is a multicast address"),
            Self::Repeated(address) => write!(f, "{address} is listed twice"),
            Self::OpenResolver(address) => write!(
                f,
                "others can reach {address}: without an `allow` list of who may ask this would be an open resolver"
            ),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Who may ask.
#[derive(Clone, Debug)]
pub(super) struct AccessList {
    allow: Box<[Network]>,
}

impl AccessList {
    pub(super) fn new(allow: &[Network]) -> Self {
        Self { allow: allow.into() }
    }

    /// Whether a client at this address may ask: this host always, others when listed.
    pub(super) fn allows(&self, client: IpAddr) -> bool {
        client.to_canonical().is_loopback() || self.allow.iter().any(|network| network.contains(client))
    }
}

/// Beyond some four cores the socket lock and not the answering is what takes the time (PERFORMANCE.md, "Recommended
/// UDP design").
pub const MAX_UDP_THREADS: usize = 4;

/// For one client network: ten rooms that each open a page of a hundred names, every second. A thirtieth of the misses that one
/// core takes.
pub const DEFAULT_RATE_LIMIT: NonZeroU32 = NonZeroU32::new(1000).expect("a thousand is not zero");

/// IANA's port for DNS.
const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn check(listen: &[&str], allow: &[&str], expected: Result<(), SettingsError>) {
        let settings = Settings {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            allow: allow.iter().map(|text| network(text)).collect(),
            ..Settings::default()
        };
        assert_eq!(settings.check(), expected, "{listen:?}");
    }

    #[test]
    fn r5625_2_the_default_is_this_host_alone() {
        let settings = Settings::default();
        assert!(
            settings
                .listen
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 53)
        );
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn t_amp_no_open_resolver() {
        for open in [
            "0.0.0.0:53",
            "[::]:53",
            "192.168.1.1:53",
            "[2001:db8::1]:53",
            "[::ffff:10.0.0.1]:53",
        ] {
            let address = open.parse().unwrap();
            check(&["127.0.0.1:53", open], &[], Err(SettingsError::OpenResolver(address)));
            check(&["127.0.0.1:53", open], &["192.168.0.0/16"], Ok(()));
        }
        check(&["127.0.0.53:53", "[::1]:5353"], &[], Ok(()));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        check(&[], &[], Err(SettingsError::NoAddress));
        check(
            &["127.0.0.1:53", "127.0.0.1:53"],
            &[],
            Err(SettingsError::Repeated("127.0.0.1:53".parse().unwrap())),
        );
        check(
            &["224.0.0.251:53"],
            &["10.0.0.0/8"],
            Err(SettingsError::Multicast("224.0.0.251:53".parse().unwrap())),
        );
        let settings = Settings {
            udp_threads: 0,
            ..Settings::default()
        };
        assert_eq!(settings.check(), Err(SettingsError::Threads(0)));
    }

    #[test]
    fn this_host_may_always_ask() {
        let list = AccessList::new(&[network("192.168.0.0/16")]);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "192.168.7.7"] {
            assert!(list.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["192.169.0.1", "10.0.0.1", "fe80::1"] {
            assert!(!list.allows(address.parse().unwrap()), "{address}");
        }
    }
}
