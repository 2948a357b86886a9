//! Composition root: hands each room its settings, starts them in order, stops them in the opposite one.

mod before;
mod confines;
pub mod doors;
pub mod explain;
mod figures;
mod house;
mod life;
mod lists;
mod network;
pub mod portal;
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
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::admin::snapshot::Snapshot;
use crate::config::Config;
use crate::os::notify::Notifier;
use crate::os::sandbox::Needs;
use crate::os::socket::{Transport, port_owner};
use crate::resolve::Resolver;
use crate::serve::{BindError, Serving};
use crate::shutdown::Shutdown;
use crate::transport::tls;
use crate::upstream::connect::{ConnectError, RouteOnlyError};
use before::Before;
use doors::Doors;
use figures::Figures;
use house::{Follower, House};
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
    /// Who serves follows it.
    publish: watch::Sender<Arc<Resolver>>,
    serving: Serving,
    known: Before,
    /// What the sandbox gives, if it is on.
    confined: Option<Needs>,
    /// What runs for the configuration in force alone.
    tasks: Vec<JoinHandle<()>>,
}

impl App {
    /// Serves behind doors that were opened for this configuration. Must be called inside a tokio runtime; nothing is left bound or running
    /// on an error.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config, doors: Doors) -> Result<Self, StartError> {
        if tls::is_before_release() {
            tracing::warn!(
                "this host's clock is wrong: it shows a time before this tacenda was released, which certificates are judged by instead"
            );
        }
        let shutdown = Shutdown::new();
        let House { followers, known } = House::build(config, None)?;
        let Doors {
            dns: bound,
            stats,
            confined,
            usage,
        } = doors;
        let addresses = bound.addresses();
        let (publish, published) = watch::channel(Arc::clone(&known.resolver));
        let figures = Arc::new(Figures::new(
            published.clone(),
            Arc::clone(&known.meter),
            Arc::clone(&known.portal),
            addresses.clone(),
            bound.stats(),
            shutdown.clone(),
            usage,
        ));
        let stats = stats.map(|listener| admin(listener, &figures)).transpose()?;
        let serving = bound
            .run(&published, &shutdown, &Handle::current())
            .map_err(StartError::Serve)?;
        let stats_address = stats.as_ref().map(|(admin, _)| admin.address());
        if let Some((admin, listener)) = stats {
            shutdown.spawn(admin.serve(listener, shutdown.clone()));
        }
        let mut app = Self {
            addresses,
            stats_address,
            figures,
            shutdown,
            publish,
            serving,
            known,
            confined,
            tasks: Vec::new(),
        };
        app.tasks = app.tend(followers);
        // Three round trips that the first query need not wait for.
        app.known.resolver.warm_up();
        Ok(app)
    }

    /// Puts another configuration in force. What it says the same about goes on undisturbed: connections, caches, lists; queries under way
    /// get their answers as they were asked. On an error nothing has changed.
    ///
    /// Gives back what counts only after the next start.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn reload(&mut self, config: &Config) -> Result<Vec<&'static str>, StartError> {
        let beyond = |given: &Needs| confines::needs(config, &[]).beyond(given);
        if let Some(need) = self.confined.as_ref().and_then(beyond) {
            return Err(StartError::Confined(need));
        }
        let house = House::build(config, Some(&self.known))?;
        house.read_lists().await?;
        let House { followers, known } = house;
        let old = std::mem::replace(&mut self.known, known);
        self.serving.set_clients(&config.allow, config.rate_limit);
        self.publish.send_replace(Arc::clone(&self.known.resolver));
        self.figures.reloaded(&old.resolver);
        let tasks = self.tend(followers);
        for task in std::mem::replace(&mut self.tasks, tasks) {
            task.abort();
        }
        let for_later = [
            ("listen", old.config.listen != config.listen),
            ("stats", old.config.stats != config.stats),
        ];
        let for_later = for_later.into_iter().filter(|(_, is_other)| *is_other);
        Ok(for_later.map(|(key, _)| key).collect())
    }

    /// Notes that a configuration was refused, in one line.
    pub fn reload_failed(&self, why: &str) {
        let line = why.lines().next().unwrap_or_default();
        self.figures.reload_failed(line.to_owned());
    }

    /// Gives the service manager signs of life, if it wants any, until the stop.
    pub fn show_life(&self, notifier: &Arc<Notifier>) {
        if let Some(watchdog) = notifier.watchdog() {
            let feed = life::feed(Arc::clone(notifier), self.serving.pulse(), watchdog);
            let stop = self.shutdown.clone();
            self.shutdown.spawn(async move {
                tokio::select! {
                    () = stop.stopped() => {}
                    () = feed => {}
                }
            });
        }
    }

    /// Starts what runs for the configuration in force.
    fn tend(&self, followers: Vec<Follower>) -> Vec<JoinHandle<()>> {
        let until_stop = |task: Follower| {
            let stop = self.shutdown.clone();
            self.shutdown.spawn(async move {
                tokio::select! {
                    () = stop.stopped() => {}
                    () = task => {}
                }
            })
        };
        let watch = network::watch(
            self.publish.subscribe(),
            RouteLinks::new(&self.known.config.routes),
            Arc::clone(&self.figures),
            self.shutdown.clone(),
        );
        let tasks = followers.into_iter().map(until_stop);
        tasks.chain([self.shutdown.spawn(watch)]).collect()
    }

    /// Whether files are out of reach that nobody named at the start.
    pub fn is_confined(&self) -> bool {
        self.confined.is_some()
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

/// The stats endpoint behind its door.
fn admin(listener: std::net::TcpListener, figures: &Arc<Figures>) -> Result<(Admin, TcpListener), StartError> {
    let figures = Arc::clone(figures);
    let served = listener.local_addr().and_then(|address| {
        let admin = Admin::new(address, Arc::new(move || figures.snapshot()));
        TcpListener::from_std(listener).map(|listener| (admin, listener))
    });
    served.map_err(StartError::Serve)
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
    /// His lists cannot be used.
    Lists(String),
    /// A route wants a router, and this system does not tell which one packets take.
    Via,
    /// It needs more than the sandbox gives that was entered for the one before.
    Confined(String),
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
            Self::Records(error) | Self::Lists(error) => f.write_str(error),
            Self::Route(error) => write!(f, "a route: {error}"),
            Self::Via => {
                f.write_str("a route: `via` needs Linux: elsewhere it is not known here to which router packets go")
            }
            Self::Confined(need) => write!(
                f,
                "it needs more than this run's sandbox gives ({need}): it counts after a restart"
            ),
            Self::Serve(error) => write!(f, "cannot begin to serve: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
