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
