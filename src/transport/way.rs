//! By which way packets to a server may leave this host, and by which they do.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use super::ExchangeError;
use super::dial::plain;
use super::plain::Protocol;
use crate::os::socket::{LinkState, Path, path_to};

pub use crate::os::socket::{Gateway, GatewayError, Interface, InterfaceError};

/// What a route's user wants of the way to its servers. Nothing of it: packets leave as the kernel's routes have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The only interface by which packets may leave.
    pub interface: Option<Interface>,
    /// The only router to which packets may be given.
    pub via: Option<Gateway>,
}

/// What packets to a server follow.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Track {
    /// The interface with this number, to which their socket is bound.
    Bound(u32),
    /// The kernel's routes.
    Routed(Path),
    /// No route leads there.
    Nowhere,
    /// Nobody knows.
    Unknown,
}

impl Exit {
    /// The way to `server` now. Asks the kernel and no one else.
    ///
    /// # Errors
    /// `Network` if it is not what the user wants: nothing may leave then, and no other way takes its place.
    pub(super) fn look(&self, server: SocketAddr, protocol: Protocol) -> Result<Way, ExchangeError> {
        Ok(Way {
            exit: self.clone(),
            server,
            protocol,
            track: self.track(server, protocol)?,
        })
    }

    /// Whether nothing is wanted: then there is always a way, if only one that ends at once.
    pub(super) fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// The number of the interface by which packets to `server` leave now, if this is where they may leave.
    pub fn link_to(&self, server: SocketAddr, protocol: Protocol) -> Option<u32> {
        match self.track(server, protocol) {
            Ok(Track::Bound(index)) => Some(index),
            Ok(Track::Routed(path)) => Some(path.interface),
            Ok(Track::Nowhere | Track::Unknown) | Err(_) => None,
        }
    }

    /// What came of a socket to `server`, in words.
    pub(super) fn failure(&self, what: &str, server: SocketAddr, error: &io::Error) -> ExchangeError {
        match (&self.interface, error.kind()) {
            // It went between the look at it and the socket.
            (Some(interface), ErrorKind::NotFound) => gone(interface),
            _ => ExchangeError::network(format!("{what} {server}: {}", plain(error))),
        }
    }

    fn track(&self, server: SocketAddr, protocol: Protocol) -> Result<Track, ExchangeError> {
        let index = self.interface.as_ref().map(index).transpose()?;
        if let Some(via) = self.via {
            lead_through(via, server, protocol, index)?;
        }
        Ok(index.map_or_else(|| Track::routed(server), Track::Bound))
    }
}

fn lead_through(via: Gateway, server: SocketAddr, protocol: Protocol, index: Option<u32>) -> Result<(), ExchangeError> {
    let ip = server.ip();
    let words = match via.leads_to(server, protocol.into(), index) {
        Ok(true) => return Ok(()),
        Err(error) if !is_unreachable(&error) => {
            format!(
                "whether the way to {ip} leads through {via} cannot be found out: {}",
                plain(&error)
            )
        }
        _ => format!("the way to {ip} does not lead through {via}"),
    };
    Err(ExchangeError::network(words))
}

/// The number of an interface that is up.
fn index(interface: &Interface) -> Result<u32, ExchangeError> {
    match interface.state() {
        Ok(LinkState::Up { index }) => Ok(index),
        Ok(LinkState::Down) => Err(ExchangeError::network(format!("the interface {interface} is down"))),
        Ok(LinkState::Absent) => Err(gone(interface)),
        Err(error) => Err(ExchangeError::network(format!(
            "the interface {interface} cannot be used: {}",
            plain(&error)
        ))),
    }
}

fn gone(interface: &Interface) -> ExchangeError {
    ExchangeError::network(format!("the interface {interface} is not there"))
}

impl Track {
    fn routed(server: SocketAddr) -> Self {
        match path_to(server) {
            Ok(path) => Self::Routed(path),
            Err(error) if is_unreachable(&error) => Self::Nowhere,
            Err(_) => Self::Unknown,
        }
    }

    fn leads_there(self) -> Option<Self> {
        matches!(self, Self::Bound(_) | Self::Routed(_)).then_some(self)
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable)
}

/// The way to a server as it was when a connection was opened or a question sent.
#[derive(Clone, Debug)]
pub(super) struct Way {
    exit: Exit,
    server: SocketAddr,
    protocol: Protocol,
    track: Track,
}

impl Way {
    /// The number of the interface that it is bound to; none if it is bound to none.
    pub(super) fn bound_to(&self) -> Option<u32> {
        match self.track {
            Track::Bound(index) => Some(index),
            _ => None,
        }
    }

    /// Whether packets would leave by another way now. A way that was never known, or cannot be found out now, is not another, unless
    /// somebody wants a certain one.
    ///
    /// # Errors
    /// Why none may leave at all.
    pub(super) fn has_moved(&self) -> Result<bool, ExchangeError> {
        let now = self.exit.track(self.server, self.protocol)?;
        let was_known = matches!(self.track, Track::Bound(_) | Track::Routed(_));
        Ok(was_known && now != Track::Unknown && now != self.track)
    }

    /// Whether packets would leave by another way now, or may not leave at all.
    pub(super) fn is_lost(&self) -> bool {
        self.has_moved().unwrap_or(true)
    }

    /// Whether the user wants a certain way.
    pub(super) fn is_wanted(&self) -> bool {
        !self.exit.is_any()
    }

    /// Whether the user wants a certain router on it.
    pub(super) fn is_by_router(&self) -> bool {
        self.exit.via.is_some()
    }
}

/// The network this host is on, as far as it matters to one resolver: the ways to its first address of either family. Two networks
/// that look alike (every home has 192.168.1.0/24) count as one; then only the order of tries is another's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network([Option<Track>; 2]);

impl Network {
    /// The one that this host is on now.
    pub(super) fn of(addresses: &[SocketAddr], exit: &Exit) -> Self {
        let is_v6 = [true, false];
        Self(is_v6.map(|is_v6| {
            let first = addresses.iter().find(|address| address.is_ipv6() == is_v6);
            first.and_then(|address| exit.track(*address, Protocol::Tcp).ok()?.leads_there())
        }))
    }
}

#[cfg(test)]
impl Network {
    /// One in which packets leave by this interface.
    pub(super) fn behind(index: u32) -> Self {
        Self([None, Some(Track::Bound(index))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 853))
    }

    fn bound(name: &str) -> Exit {
        Exit {
            interface: Some(name.parse().unwrap()),
            ..Exit::default()
        }
    }

    fn way(exit: Exit, track: Track) -> Way {
        Way {
            exit,
            server: here(),
            protocol: Protocol::Tcp,
            track,
        }
    }

    #[test]
    fn a_way_that_nobody_wants_is_lost_only_if_it_is_another_now() {
        let now = Exit::default().look(here(), Protocol::Tcp).unwrap();
        assert!(!now.is_lost() && !now.is_wanted());
        let other = Path {
            source: [192, 0, 2, 1].into(),
            interface: 7,
        };
        for (track, expected) in [
            (Track::Routed(other), true),
            (Track::Unknown, false),
            (Track::Nowhere, false),
        ] {
            let way = way(Exit::default(), track.clone());
            assert_eq!(way.has_moved(), Ok(expected), "{track:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_bound_way_is_its_interface_and_not_the_route() {
        let lo = bound("lo");
        let now = lo.look(here(), Protocol::Tcp).unwrap();
        assert_eq!(
            (&now.track, lo.link_to(here(), Protocol::Tcp)),
            (&Track::Bound(1), Some(1))
        );
        assert!(!now.is_lost() && now.is_wanted());
        assert!(
            way(lo.clone(), Track::Bound(2)).is_lost(),
            "made anew under its old name"
        );
        // The route does not count: there is none at all to this one.
        let nowhere = SocketAddr::from(([255, 255, 255, 255], 853));
        assert_eq!(lo.link_to(nowhere, Protocol::Tcp), Some(1));
        assert_eq!(Network::of(&[here()], &lo), Network::behind(1));
        assert_ne!(Network::of(&[here()], &lo), Network::of(&[here()], &Exit::default()));
    }

    #[test]
    fn a_bound_way_without_its_interface_is_lost_and_no_other_is_found() {
        let gone = bound("tacenda-none");
        let error = gone.look(here(), Protocol::Tcp).unwrap_err();
        assert!(
            error.detail.starts_with("the interface tacenda-none "),
            "{}",
            error.detail
        );
        assert!(way(gone.clone(), Track::Bound(7)).is_lost());
        assert_eq!(
            (gone.link_to(here(), Protocol::Tcp), Network::of(&[here()], &gone)),
            (None, Network::default())
        );
    }

    #[test]
    fn a_way_that_leads_through_another_router_or_none_is_not_taken() {
        let through = Exit {
            via: Some("192.0.2.1".parse().unwrap()),
            ..Exit::default()
        };
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let error = through.look(here(), protocol).unwrap_err();
            if cfg!(target_os = "linux") {
                assert_eq!(error.detail, "the way to 127.0.0.1 does not lead through 192.0.2.1");
            }
            assert_eq!(through.link_to(here(), protocol), None);
        }
        assert!(
            way(through.clone(), Track::Unknown).is_lost(),
            "what is not known is not wanted"
        );
        assert_eq!(Network::of(&[here()], &through), Network::default());
    }
}
