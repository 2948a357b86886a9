//! Composition root: hands each room its settings, starts them in order, stops them in the opposite one.

pub mod explain;
mod figures;
mod house;
mod lists;
mod network;
mod records;
mod remembered;
mod state;
mod watched;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::admin::snapshot::Snapshot;
use crate::config::{ChosenBy, Config};
use crate::os::socket::{Transport, port_owner};
use crate::resolve::Resolver;
use crate::serve::{self, BindCause, BindError, Bound};
use crate::shutdown::Shutdown;
use crate::transport::tls;
use crate::upstream::connect::{ConnectError, RouteOnlyError};
use figures::Figures;
use house::House;
use network::RouteLinks;

pub use lists::{Surveyed, survey};

/// How long the stop waits for answers that are under way: a little more than a query's life.
const GRACE: Duration = Duration::from_secs(5);

/// A resolver that serves.
#[derive(Debug)]
pub struct App {
    addresses: Vec<SocketAddr>,
    stats_address: Option<SocketAddr>,
    figures: Arc<Figures>,
    shutdown: Shutdown,
    /// Publishes a new resolver on reload; who serves follows it.
    _publish: watch::Sender<Arc<Resolver>>,
}

impl App {
    /// Binds everything, then serves. Must be called inside a tokio runtime; nothing is left bound or running on an error.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        if tls::is_before_release() {
            tracing::warn!(
                "this host's clock is wrong: it shows a time before this tacenda was released, which certificates are judged by instead"
            );
        }
        let shutdown = Shutdown::new();
        let House { resolver, followers } = House::build(config)?;
        let bound = bind(config)?;
        let addresses = bound.addresses();
        let figures = Arc::new(Figures::new(Arc::clone(&resolver), bound.stats(), shutdown.clone()));
        let stats = bind_stats(config.stats, &figures).await?;
        let (publish, published) = watch::channel(resolver);
        bound
            .run(&published, &shutdown, &Handle::current())
            .map_err(StartError::Serve)?;
        let stats_address = stats.as_ref().and_then(|(_, listener)| listener.local_addr().ok());
        if let Some((admin, listener)) = stats {
            shutdown.spawn(admin.serve(listener, shutdown.clone()));
        }
        for follower in followers {
            let stop = shutdown.clone();
            shutdown.spawn(async move {
                tokio::select! {
                    () = stop.stopped() => {}
                    () = follower => {}
                }
            });
        }
        let links = RouteLinks::new(config.routes.iter().map(|route| route.interface.clone()));
        shutdown.spawn(network::watch(published, links, Arc::clone(&figures), shutdown.clone()));
        Ok(Self {
            addresses,
            stats_address,
            figures,
            shutdown,
            _publish: publish,
        })
    }

    /// Where it listens, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the stats endpoint listens.
    pub fn stats_address(&self) -> Option<SocketAddr> {
        self.stats_address
    }

    /// All figures of this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.figures.snapshot()
    }

    /// Stops: no new queries, those under way get their answers; says whether all of them did in time.
    pub async fn stop(self) -> bool {
        self.shutdown.stop();
        self.shutdown.drained(GRACE).await
    }
}

/// Binds the listen addresses. One of the built-in ones that this host lacks (no IPv6, say) is left out with a line.
fn bind(config: &Config) -> Result<Bound, StartError> {
    let mut settings = serve::Settings {
        listen: config.listen.addresses.clone(),
        allow: config.allow.clone(),
        rate_limit: config.rate_limit,
        ..serve::Settings::default()
    };
    loop {
        match serve::bind(&settings) {
            Err(BindError::Address {
                address,
                cause: BindCause::NoSuchAddress,
                ..
            }) if config.listen.chosen_by == ChosenBy::Default && settings.listen.len() > 1 => {
                tracing::warn!(%address, "this host has no such address: not listening there");
                settings.listen.retain(|listen| *listen != address);
            }
            bound => return bound.map_err(StartError::Bind),
        }
    }
}

/// The stats endpoint with its socket, if one is wanted.
async fn bind_stats(
    address: Option<SocketAddr>,
    figures: &Arc<Figures>,
) -> Result<Option<(Admin, TcpListener)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let figures = Arc::clone(figures);
    let admin = Admin::new(address, Arc::new(move || figures.snapshot()));
    match admin.bind().await {
        Ok(listener) => Ok(Some((admin, listener))),
        Err(error) => Err(StartError::Stats { address, error }),
    }
}

/// Why the resolver does not run.
#[derive(Debug)]
pub enum StartError {
    /// A listen address cannot be had.
    Bind(BindError),
    /// The stats endpoint's address cannot be had.
    Stats {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// An upstream cannot be used.
    Upstream {
        /// Its name.
        name: String,
        /// Why.
        error: ConnectError,
    },
    /// A route cannot be used.
    Route(RouteOnlyError),
    /// The user's records or hosts files cannot be used.
    Records(String),
    /// The system gave no thread or no socket.
    Serve(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Stats { address, error } => {
                write!(f, "cannot serve the stats at {address}: {error}")?;
                match port_owner(Transport::Tcp, *address) {
                    Some(owner) if error.kind() == io::ErrorKind::AddrInUse => write!(f, "; it is taken by {owner}"),
                    _ => Ok(()),
                }
            }
            Self::Upstream { name, error } => write!(f, "upstream {name:?}: {error}"),
            Self::Records(error) => f.write_str(error),
            Self::Route(error) => write!(f, "a route: {error}"),
            Self::Serve(error) => write!(f, "cannot begin to serve: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
