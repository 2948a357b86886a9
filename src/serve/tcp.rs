//! The accept loop of each address, and the places that all connections share.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::intake::{Client, Intake};
use super::limits::{
    Admission, ConnectionId, ConnectionTable, ERROR_PAUSE, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT,
};
use super::stats::Stats;
use crate::os::socket::AcceptFailure;
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;

/// Accepts connections on one address until the stop. No error ends it.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) places: Arc<Places>,
    pub(super) intake: Arc<Intake>,
    pub(super) resolver: watch::Receiver<Arc<Resolver>>,
    pub(super) shutdown: Shutdown,
}

impl Acceptor {
    pub(super) async fn run(self) {
        let mut has_warned = false;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.shutdown.stopped() => return,
            };
            let error = match accepted {
                Ok((stream, client)) => {
                    self.admit(stream, client);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptFailure::of(&error) {
                AcceptFailure::Connection => continue,
                AcceptFailure::Exhausted => {
                    self.intake.stats.connections.exhausted.increment();
                    self.places.shed_oldest_idle();
                }
                AcceptFailure::Listener if has_warned => {}
                AcceptFailure::Listener => {
                    has_warned = true;
                    tracing::error!(%error, "cannot accept TCP connections, trying on");
                }
            }
            // Whatever it is, the next call would fail at once as well.
            tokio::select! {
                () = self.places.freed.notified() => {}
                () = sleep(ERROR_PAUSE) => {}
                () = self.shutdown.stopped() => return,
            }
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        // Answers are written whole; waiting for more to send could only delay them. A connection that is gone
        // already fails here, and again, noticed, at its first read.
        let _ = stream.set_nodelay(true);
        // Known as long as it is open.
        let Ok(asked_at) = self.listener.local_addr() else {
            return;
        };
        let client = Client {
            address: client.ip(),
            asked_at: asked_at.ip(),
        };
        let is_welcome = self.intake.admits(client);
        let Some(seat) = Places::admit(&self.places, client.address, is_welcome) else {
            return;
        };
        let connection = Connection::new(stream, client, seat, Arc::clone(&self.intake), self.resolver.clone());
        let shutdown = self.shutdown.clone();
        self.shutdown.spawn(async move { connection.run(shutdown).await });
    }
}

/// The places of all TCP connections.
#[derive(Debug)]
pub(super) struct Places {
    table: Mutex<ConnectionTable<Arc<Notify>>>,
    /// A connection has ended.
    freed: Notify,
    stats: Arc<Stats>,
}

impl Places {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        let table = ConnectionTable::new(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT);
        Self {
            table: Mutex::new(table),
            freed: Notify::new(),
            stats,
        }
    }

    /// A place for a new connection, if need be that of an idle one. Who may not ask gets one, to be told so, only
    /// while there are plenty.
    fn admit(places: &Arc<Self>, client: IpAddr, is_welcome: bool) -> Option<Seat> {
        let end = Arc::new(Notify::new());
        let admission = {
            let mut table = places.table();
            if is_welcome || !table.is_under_pressure() {
                table.admit(client, Instant::now(), Arc::clone(&end))
            } else {
                Admission::Refused
            }
        };
        let Admission::Admitted { id, instead_of } = admission else {
            places.stats.connections.refused.increment();
            return None;
        };
        if let Some(end) = instead_of {
            places.evict(&end);
        }
        places.stats.connections.accepted.increment();
        Some(Seat {
            places: Arc::clone(places),
            id,
            end,
        })
    }

    fn shed_oldest_idle(&self) {
        // A statement of its own: the lock is not held any longer.
        let oldest = self.table().take_oldest_idle();
        if let Some(end) = oldest {
            self.evict(&end);
        }
    }

    fn evict(&self, end: &Notify) {
        end.notify_one();
        self.stats.connections.closed_idle.increment();
    }

    /// Held for some table operations, never over an await. They leave no half-done state, so a panic elsewhere does
    /// not spoil it.
    fn table(&self) -> MutexGuard<'_, ConnectionTable<Arc<Notify>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Seat {
    places: Arc<Places>,
    id: ConnectionId,
    end: Arc<Notify>,
}

impl Seat {
    /// Ends when the connection has to make room for another. Cancel-safe.
    pub(super) async fn evicted(&self) {
        self.end.notified().await;
    }

    /// How long a connection may be idle at this moment.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.places.table().idle_timeout()
    }

    /// Since when the connection is owed nothing.
    pub(super) fn set_idle_since(&self, idle_since: Option<Instant>) {
        self.places.table().set_idle_since(self.id, idle_since);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.table().remove(self.id);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_ask_gets_no_place_that_others_may_need() {
        let places = Arc::new(Places::new(Arc::default()));
        let mut seats = Vec::new();
        for last in 1..=150 {
            for subnet in 0..2 {
                let client = IpAddr::from([203, 0, subnet, last]);
                seats.extend(Places::admit(&places, client, false));
            }
        }
        assert_eq!(seats.len(), MAX_CONNECTIONS / 2 + 1);
        assert_eq!(places.stats.connections.refused.value(), 300 - seats.len() as u64);
        assert!(Places::admit(&places, IpAddr::from([127, 0, 0, 1]), true).is_some());
    }

    #[tokio::test]
    async fn out_of_descriptors_the_oldest_idle_connection_goes_and_its_place_is_free_again() {
        let places = Arc::new(Places::new(Arc::default()));
        let client = IpAddr::from([127, 0, 0, 1]);
        let busy = Places::admit(&places, client, true).unwrap();
        let idle = Places::admit(&places, client, true).unwrap();
        busy.set_idle_since(None);
        places.shed_oldest_idle();
        idle.evicted().await;
        drop(idle);
        places.freed.notified().await;
        places.shed_oldest_idle();
        assert_eq!(places.stats.connections.closed_idle.value(), 1, "nobody else may go");
    }
}
