//! Tells the resolver when the network changed or the machine slept.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::figures::Figures;
use crate::config::RouteConfig;
use crate::os::link::Watcher;
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;
use crate::upstream::connect::Exit;
use crate::upstream::route_endpoint::{Protocol, RouteEndpoint};

/// Runs until the stop, for whichever resolver is the current one. `links` are those that its routes want.
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
    links.forget(&resolver.borrow());
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

/// The ways that routes want, by number, and by which interfaces they led when they were last looked at.
pub(super) struct RouteLinks(Vec<Option<RouteLink>>);

struct RouteLink {
    exit: Exit,
    servers: Vec<(SocketAddr, Protocol)>,
    before: Vec<Option<u32>>,
}

impl RouteLinks {
    pub(super) fn new(routes: &[RouteConfig]) -> Self {
        let link = |route: &RouteConfig| {
            let servers: Vec<_> = route.upstreams.iter().flat_map(RouteEndpoint::servers).collect();
            let exit = route.exit.clone();
            let before = links(&exit, &servers);
            (exit != Exit::default()).then_some(RouteLink { exit, servers, before })
        };
        Self(routes.iter().map(link).collect())
    }

    /// What a cache has of a route that wants a way may be from before anybody looked at it: from a configuration before, say.
    fn forget(&self, resolver: &Resolver) {
        for (number, _) in self.0.iter().enumerate().filter(|(_, link)| link.is_some()) {
            resolver.route_is_down(number);
        }
    }

    /// What a company said while its link was there is no answer when it is gone, nor when another one has its name.
    fn look(&mut self, resolver: &Resolver) {
        for (number, link) in self.0.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let now = links(&link.exit, &link.servers);
            if now != link.before || now.iter().all(Option::is_none) {
                resolver.route_is_down(number);
            }
            link.before = now;
        }
    }
}

fn links(exit: &Exit, servers: &[(SocketAddr, Protocol)]) -> Vec<Option<u32>> {
    let link = |(server, protocol): &(SocketAddr, Protocol)| exit.link_to(*server, *protocol);
    servers.iter().map(link).collect()
}
