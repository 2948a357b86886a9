//! The ways that the guard opens for a sign-in page: those of root's consent, as long as it holds and the network is the same.

use std::net::SocketAddr;
use std::time::Duration;

use crate::app::portal::is_there;
use crate::os::clock::since_start;
use crate::os::guard::ruleset::Ways;
use crate::os::guard::window::{Store, Window};

/// The consent that holds now; none if there is none, or it cannot be read: then nothing is open.
pub(super) fn window(store: &Store) -> Option<Window> {
    let window = store.load().unwrap_or_else(|error| {
        tracing::warn!(%error, "the consent for a sign-in page cannot be used: nothing is open");
        None
    })?;
    (is_there(&window) && !window.left(since_start()).is_zero()).then_some(window)
}

/// For the kernel.
pub(super) fn ways(window: Option<&Window>) -> Ways {
    let Some(window) = window else { return Ways::default() };
    let servers = window.servers.iter().filter(|server| server.port() == DNS_PORT);
    // The kernel is a moment later than the daemon, not earlier: the daemon's packets are not to be refused while it still asks.
    let left = window.left(since_start()) + Duration::from_secs(1);
    Ways {
        interface: window.interface.clone(),
        servers: servers.map(SocketAddr::ip).collect(),
        left,
    }
}

/// The rules let nothing else out.
const DNS_PORT: u16 = 53;
