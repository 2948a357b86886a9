//! Tells the resolver when the network changed or the machine slept.

use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::figures::Figures;
use crate::os::link::Watcher;
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;

/// Runs until the stop, for whichever resolver is the current one.
pub(super) async fn watch(resolver: Receiver<Arc<Resolver>>, figures: Arc<Figures>, shutdown: Shutdown) {
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
    }
}
