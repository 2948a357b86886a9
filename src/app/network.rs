//! Tells the resolver when the network changed or the machine slept.

use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::figures::Figures;
use crate::os::link::Watcher;
use crate::os::socket::{Interface, LinkState};
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;

/// Runs until the stop, for whichever resolver is the current one. `links` are those of its routes.
pub(super) async fn watch(
    resolver: Receiver<Arc<Resolver>>,
    mut links: RouteLinks,
    figures: Arc<Figures>,
    shutdown: Shutdown,
) {
    let mut watcher = Watcher::new().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system does not tell of network changes: looking every 2 s");
        Watcher::polling()
    });
    loop {
        let change = tokio::select! {
            () = shutdown.stopped() => return,
            change = watcher.changed() => change,
        };
        tracing::info!(cause = change.cause.as_str(), "the network may have changed");
        figures.network_changed();
        let current = Arc::clone(&resolver.borrow());
        current.network_changed();
        links.look(&current);
    }
}

/// The interfaces of the routes, by number, and which ones they were when they were last looked at.
pub(super) struct RouteLinks(Vec<Option<(Interface, Option<u32>)>>);

impl RouteLinks {
    pub(super) fn new(interfaces: impl Iterator<Item = Option<Interface>>) -> Self {
        let seen = |interface: Interface| {
            let at = index(&interface);
            (interface, at)
        };
        Self(interfaces.map(|interface| interface.map(seen)).collect())
    }

    /// What a company said while its link was there is no answer when it is gone, nor when another one has its name.
    fn look(&mut self, resolver: &Resolver) {
        for (number, link) in self.0.iter_mut().enumerate() {
            let Some((interface, before)) = link else { continue };
            let now = index(interface);
            if now.is_none() || now != *before {
                resolver.route_is_down(number);
            }
            *before = now;
        }
    }
}

/// The number of an interface that is up. A state that cannot be found out is none to rely on.
fn index(interface: &Interface) -> Option<u32> {
    match interface.state() {
        Ok(LinkState::Up { index }) => Some(index),
        Ok(LinkState::Down | LinkState::Absent) | Err(_) => None,
    }
}
