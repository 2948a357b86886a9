//! Classic DNS in, over UDP and TCP: the sockets that clients talk to, who may use them, and how much of them.
//!
//! Never looks into a name and never asks anybody: every query goes to the [`Resolver`], every answer comes from it.
//! [`bind`] first, [`Bound::run`] later, so that a program can give up its rights or take over the system's DNS in
//! between.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::os::socket::{self, Inherited, PortOwner, Sockets, Transport, UdpListener, Wish};
use crate::resolve::Resolver;
use crate::shutdown::Shutdown;
use crate::stats::Counter;

mod connection;
mod intake;
mod limits;
mod network;
mod output;
mod pulse;
mod rate;
mod settings;
mod stats;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use network::{Network, NetworkError};
pub use pulse::Pulse;
pub use settings::{DEFAULT_RATE_LIMIT, MAX_UDP_THREADS, Settings, SettingsError};
pub use stats::{ConnectionStats, NAMED_RCODES, Stats};

use intake::{Gate, Intake};
use rate::RateLimit;
use settings::AccessList;

/// Binds UDP and TCP on every address of the settings. Nothing is served yet; datagrams and connections wait in the
/// kernel.
///
/// # Errors
/// [`BindError`] for the first address that cannot be had; nothing stays bound then.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    bind_with(settings, &Inherited::default())
}

/// As [`bind`], but takes the sockets that the service manager has bound for these addresses. One for another address is an error: people
/// would ask there, by what the manager's unit says, and nobody would answer.
///
/// # Errors
/// As [`bind`].
pub fn bind_with(settings: &Settings, inherited: &Inherited) -> Result<Bound, BindError> {
    settings.check().map_err(BindError::Settings)?;
    if let Some(socket) = inherited.stranger_to(&settings.listen) {
        let listen = settings.listen.clone();
        return Err(BindError::Stranger { socket, listen });
    }
    let wish = Wish {
        udp_count: settings.udp_threads,
        patience: settings.patience,
    };
    let sockets = settings
        .listen
        .iter()
        .map(|address| bind_address(*address, wish, inherited));
    Ok(Bound {
        sockets: sockets.collect::<Result<_, _>>()?,
        access: AccessList::new(&settings.allow),
        rate_limit: settings.rate_limit,
        stats: Arc::default(),
    })
}

fn bind_address(address: SocketAddr, wish: Wish, inherited: &Inherited) -> Result<Sockets, BindError> {
    let given = inherited.given(address).map_err(|error| BindError::Address {
        address,
        transport: Transport::Udp,
        cause: BindCause::Other(error.to_string()),
    })?;
    socket::bind(address, wish, given).map_err(|failure| {
        let transport = failure.transport;
        let cause = match failure.cause.kind() {
            io::ErrorKind::AddrInUse => BindCause::Taken(socket::port_owner(transport, address)),
            io::ErrorKind::PermissionDenied => BindCause::NotPermitted,
            io::ErrorKind::AddrNotAvailable => BindCause::NoSuchAddress,
            _ => BindCause::Other(failure.cause.to_string()),
        };
        BindError::Address {
            address,
            transport,
            cause,
        }
    })
}

/// Sockets that wait to be served.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Sockets>,
    access: AccessList,
    rate_limit: Option<NonZeroU32>,
    stats: Arc<Stats>,
}

impl Bound {
    /// The addresses with their real ports, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|sockets| sockets.local).collect()
    }

    /// The figures, also while serving.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Serves with whatever resolver is published, until the stop. Threads and tasks then end by themselves, and
    /// [`Shutdown::drained`] waits for all of them: what was received is still answered.
    ///
    /// # Errors
    /// When the system gives no more threads or refuses a socket to the runtime. What runs already ends again.
    pub fn run(
        self,
        resolver: &watch::Receiver<Arc<Resolver>>,
        shutdown: &Shutdown,
        runtime: &Handle,
    ) -> io::Result<Serving> {
        let _tasks_run_there = runtime.enter();
        let intake = Arc::new(Intake::new(gate(self.access, self.rate_limit), Arc::clone(&self.stats)));
        let places = Arc::new(tcp::Places::new(self.stats));
        let mut listeners = Vec::new();
        let mut acceptors = Vec::new();
        for Sockets { udp, tcp, .. } in self.sockets {
            listeners.extend(udp);
            acceptors.push(tcp::Acceptor {
                listener: TcpListener::from_std(tcp)?,
                places: Arc::clone(&places),
                intake: Arc::clone(&intake),
                resolver: resolver.clone(),
                shutdown: shutdown.clone(),
            });
        }
        let receivers = listeners.iter().map(|listener| udp::Receiver {
            listener: Arc::clone(listener),
            intake: Arc::clone(&intake),
            resolver: resolver.clone(),
            shutdown: shutdown.clone(),
            runtime: runtime.clone(),
            turns: Arc::default(),
        });
        let receivers: Vec<_> = receivers.collect();
        let turns = receivers.iter().map(|receiver| Arc::clone(&receiver.turns)).collect();
        let ended = start_threads(receivers.into_iter()).inspect_err(|_| stop_all(&listeners))?;
        for acceptor in acceptors {
            shutdown.spawn(acceptor.run());
        }
        shutdown.spawn(stop_threads(shutdown.clone(), listeners, ended));
        Ok(Serving { intake, turns })
    }
}

/// What can be changed, and seen, while serving.
#[derive(Clone, Debug)]
pub struct Serving {
    intake: Arc<Intake>,
    turns: Vec<Arc<Counter>>,
}

impl Serving {
    /// From now on these may ask, beside this host itself, and each of their networks so many queries a second over UDP.
    pub fn set_clients(&self, allow: &[Network], rate_limit: Option<NonZeroU32>) {
        self.intake.set_gate(gate(AccessList::new(allow), rate_limit));
    }

    /// Whether all receiving threads live; see [`Settings::patience`].
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.turns)
    }
}

fn gate(access: AccessList, rate_limit: Option<NonZeroU32>) -> Gate {
    Gate {
        access,
        rate_limit: rate_limit.map(|rate| RateLimit::new(rate, Instant::now())),
    }
}

/// Starts a thread for each receiver. The channel that comes back carries nothing and ends with the last of them.
fn start_threads(receivers: impl Iterator<Item = udp::Receiver>) -> io::Result<mpsc::Receiver<()>> {
    let (running, ended) = mpsc::channel(1);
    for (index, receiver) in receivers.enumerate() {
        let running = running.clone();
        std::thread::Builder::new()
            .name(format!("udp-{index}"))
            .spawn(move || {
                let _until_the_end = running;
                receiver.run();
            })?;
    }
    Ok(ended)
}

async fn stop_threads(shutdown: Shutdown, listeners: Vec<Arc<UdpListener>>, mut ended: mpsc::Receiver<()>) {
    shutdown.stopped().await;
    stop_all(&listeners);
    ended.recv().await;
}

fn stop_all(listeners: &[Arc<UdpListener>]) {
    for listener in listeners {
        listener.stop();
    }
}

/// Why there is nothing to serve on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The settings may not be served.
    Settings(SettingsError),
    /// The service manager listens where the settings do not.
    Stranger {
        /// What it passed, in words.
        socket: String,
        /// As the settings have it.
        listen: Vec<SocketAddr>,
    },
    /// An address cannot be had.
    Address {
        /// As the settings have it.
        address: SocketAddr,
        /// The transport that failed.
        transport: Transport,
        /// What is in the way.
        cause: BindCause,
    },
}

/// What is in the way of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindCause {
    /// Somebody has it: who, if it could be seen.
    Taken(Option<PortOwner>),
    /// Ports below 1024 need a right that we lack.
    NotPermitted,
    /// This host has no such address, or not even its family.
    NoSuchAddress,
    /// The system's own words.
    Other(String),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Stranger { socket, listen } => {
                let listen: Vec<_> = listen.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the service manager passes a socket that `listen` does not have: {socket}; `listen` has {}",
                    listen.join(", ")
                )
            }
            Self::Address {
                address,
                transport,
                cause,
            } => {
                write!(f, "{address}/{} ", transport.as_str())?;
                cause.fmt(f)
            }
        }
    }
}

impl fmt::Display for BindCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(Some(owner)) => write!(f, "is taken by {owner}"),
            Self::Taken(None) => f.write_str("is taken"),
            Self::NotPermitted => f.write_str("is not ours to bind: permission denied"),
            Self::NoSuchAddress => f.write_str("is no address of this host"),
            Self::Other(words) => write!(f, "cannot be bound: {words}"),
        }
    }
}

impl Error for BindError {}
