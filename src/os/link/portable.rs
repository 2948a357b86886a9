//! Looks every two seconds where packets would leave: for systems without a watcher of ours, and for when it fails.
//!
//! Sees a change of the default route's address, not one of a route to a single network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::os::socket::{Path, path_to};

/// The addresses of this host's interfaces: none that are known.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    Ok(Vec::new())
}

/// The name of the interface with this number: not known.
#[cfg(not(unix))]
pub fn name_of(_: u32) -> Option<String> {
    None
}

/// The number of the interface with this name: not known.
#[cfg(not(unix))]
pub fn index_of(_: &str) -> Option<u32> {
    None
}

/// Notices a change by comparing.
#[derive(Debug)]
pub(super) struct Source {
    tick: Interval,
    look: fn() -> Paths,
    last: Paths,
}

/// Where packets to the two [`TARGETS`] would leave; none without a route.
pub(super) type Paths = [Option<Path>; 2];

impl Source {
    #[cfg(any(test, not(target_os = "linux")))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self::polling())
    }

    pub(super) fn polling() -> Self {
        Self::looking(paths)
    }

    pub(super) fn looking(look: fn() -> Paths) -> Self {
        let mut tick = interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            tick,
            look,
            last: look(),
        }
    }

    /// Waits until packets would leave elsewhere. Never an error. Cancel-safe.
    pub(super) async fn event(&mut self) -> io::Result<()> {
        loop {
            self.tick.tick().await;
            let now = (self.look)();
            if std::mem::replace(&mut self.last, now) != now {
                return Ok(());
            }
        }
    }
}

fn paths() -> Paths {
    TARGETS.map(|target| path_to(SocketAddr::new(target, TARGET_PORT)).ok())
}

/// The wall clock is the one that goes on in every system's sleep. Somebody setting it is a false alarm.
#[cfg(any(test, not(target_os = "linux")))]
#[allow(
    clippy::disallowed_methods,
    reason = "a jump of the wall clock is what is looked for"
)]
pub(super) fn clocks() -> super::Clocks {
    let all = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    super::Clocks { awake: all, all }
}

/// Addresses that belong to nobody (RFC 5737, RFC 3849), so only the default route leads there. Nothing is sent to them.
const TARGETS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Any but 0, which some systems refuse.
const TARGET_PORT: u16 = 853;

/// Soon enough for a person who changed networks; two look-ups in a table cost nothing notable.
const POLL: Duration = Duration::from_secs(2);
