//! The stats endpoint: figures over HTTP/1.1 on loopback, to read and never to change anything.
//!
//! Knows no room: a closure made in `app` gives it one [`Snapshot`], which feeds the JSON, the metrics, the health check and the page's
//! last hour alike. No query name and no client address is in it.
//!
//! Whoever can open a socket on this host may read it, and so could any web page the user visits, if we let it: see
//! `guard` for what a browser is refused.

mod guard;
mod history;
pub mod metrics;
mod page;
pub mod protection;
mod routes;
pub mod snapshot;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::shutdown::Shutdown;
use history::History;
use snapshot::Snapshot;

/// Makes the figures of this moment.
pub type SnapshotSource = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Takes an address for the stats endpoint; non-blocking, as tokio wants it.
///
/// # Errors
/// `InvalidInput` for an address that is not loopback: there is no password. Else what the system says.
pub fn bind(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    if !listen.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the stats endpoint only listens on loopback",
        ));
    }
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The stats endpoint.
#[derive(Clone)]
pub struct Admin {
    listen: SocketAddr,
    snapshot: SnapshotSource,
    history: Arc<Mutex<History>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// An endpoint at this address, with its real port. The snapshot is taken once a request.
    pub fn new(listen: SocketAddr, snapshot: SnapshotSource) -> Self {
        Self {
            listen,
            snapshot,
            history: Arc::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Serves until the program stops. Nothing a client does ends it.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut looks = interval(history::INTERVAL);
        // A machine that slept has nothing to catch up on.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                () = shutdown.stopped() => return,
                _ = looks.tick() => {
                    self.look();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // Without a place the stream is dropped, which closes it: a browser or a scraper comes again.
                Ok((stream, _)) => {
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        shutdown.spawn(connection(stream, place, self.clone(), shutdown.clone()));
                    }
                }
                // Out of descriptors or memory: trying again at once would spin. Everything else is the peer's own fault.
                Err(error) if is_ours(&error) => sleep(ACCEPT_PAUSE).await,
                Err(_) => {}
            }
        }
    }

    /// Takes this moment into the last hour.
    fn look(&self) {
        let now = (self.snapshot)();
        self.history().take(now);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, its requests one after the other, ended at the latest when its time is over.
async fn connection(stream: TcpStream, place: OwnedSemaphorePermit, admin: Admin, shutdown: Shutdown) {
    let service = service_fn(move |request| {
        let response = routes::answer(&request, &admin);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also the idle limit: the wait for the next request's head counts.
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_LEN)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client's fault (reset, a bad head) ends its connection and is nobody else's news.
    let _ended = tokio::select! {
        ended = timeout(CONNECTION_LIFETIME, connection.as_mut()) => ended.is_ok(),
        () = shutdown.stopped() => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_GRACE, connection).await.is_ok()
        }
    };
    drop(place);
}

/// Whether `accept` failed for want of something of ours. What the peer did (ECONNABORTED) passes by itself.
fn is_ours(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A dashboard, a scraper, `tacenda status --watch` and a few more; each costs a descriptor and two buffers of 8 KiB.
const MAX_CONNECTIONS: usize = 16;

/// Octets of request line and headers. A browser sends about 1 KiB; hyper takes no less than this.
const MAX_HEAD_LEN: usize = 8 * 1024;

/// A browser sends about fifteen.
const MAX_HEADERS: usize = 64;

/// A head on loopback comes in one piece; Prometheus asks anew or opens anew after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Whoever reads slower than this gets a new connection or none: a place is not held by never reading.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// For the answer that is under way when the program stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long descriptors get to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
