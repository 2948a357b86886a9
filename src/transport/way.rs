//! The way on which a connection was opened: by which interface and source address packets to its peer leave.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::os::socket::{Path, path_to};

/// The path as it was when the connection was opened.
#[derive(Debug)]
pub(super) struct Way {
    peer: Option<SocketAddr>,
    path: Option<Path>,
}

impl Way {
    /// The way to `peer` now.
    pub(super) fn of(peer: Option<SocketAddr>) -> Self {
        Self {
            peer,
            path: peer.and_then(|peer| path_to(peer).ok()),
        }
    }

    /// Whether packets would leave by another way now, or not at all. A way that was never known, or cannot be found out now, is not
    /// lost.
    pub(super) fn is_lost(&self) -> bool {
        let (Some(peer), Some(path)) = (self.peer, &self.path) else {
            return false;
        };
        match path_to(peer) {
            Ok(now) => now != *path,
            Err(error) => matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable),
        }
    }
}

/// The network this host is on, as far as it matters to one resolver: the ways to its first address of either family. Two networks
/// that look alike (every home has 192.168.1.0/24) count as one; then only the order of tries is another's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network(pub(super) [Option<Path>; 2]);

impl Network {
    /// The one that this host is on now.
    pub(super) fn of(addresses: &[SocketAddr]) -> Self {
        let is_v6 = [true, false];
        Self(is_v6.map(|is_v6| {
            let first = addresses.iter().find(|address| address.is_ipv6() == is_v6);
            first.and_then(|address| path_to(*address).ok())
        }))
    }
}
