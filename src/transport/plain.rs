//! Classic DNS, in clear text, to the server of a route or of a sign-in page's network: UDP, with TCP for what does not fit, or TCP alone.
//!
//! The one exception to promise 1: there is no [`Plain`] without a [`Leave`], and every question is held against it before a socket is opened.
//! A [`RouteOnly`] carries the zones that the user said belong to a network of his own (a VPN's, mostly); a [`WindowOnly`] the few names that
//! he consented to for some minutes, and it ends.
//!
//! Who is on the path can read and forge all of this. Against those who are not (T-POI-4): each question has a fresh socket, connected, on a
//! random port, and a random ID; a response must carry ID and question, or the wait goes on; one question for a name is in flight; after
//! three wrong responses it is asked over TCP. Where a route wants a certain interface or router, it leaves by that one or fails at once:
//! there is no second way.

mod deaf;
mod leave;
mod names;
mod only;
mod reply;
mod tcp;
mod udp;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::random_ids::RandomIds;
use super::way::{Exit, Way};
use super::{BoxFuture, Exchange, ExchangeError, Response, Stats};
use crate::os::socket::Transport;
use crate::stats::Counter;
use crate::wire::question::read_question;
use deaf::Deaf;
use names::Names;
use udp::Told;

pub use leave::{Leave, WindowOnly};
pub use only::{RouteOnly, RouteOnlyError};

/// One classic server.
#[derive(Clone, Debug)]
pub struct PlainTarget {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Where it is.
    pub server: SocketAddr,
    /// By which way questions may leave.
    pub exit: Exit,
    /// The names it may be asked, and how long.
    pub leave: Leave,
    /// Counts with all others what leaves in clear text.
    pub meter: Arc<Counter>,
}

/// How a classic server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP first, TCP for answers that do not fit (RFC 1123 section 6.1.3.2) and when somebody forges.
    Udp,
    /// TCP alone.
    Tcp,
}

impl Protocol {
    /// The word for it in URLs, logs, metrics and JSON: `udp` or `tcp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            Protocol::Tcp => Self::Tcp,
        }
    }
}

/// Classic DNS to one server, for the names of its leave. Keeps no connection.
pub struct Plain {
    target: PlainTarget,
    names: Names,
    sockets: Semaphore,
    deaf: Deaf,
    ids: Mutex<RandomIds>,
    /// Tells the questions in flight that the network may have changed.
    changes: watch::Sender<()>,
    stats: Arc<Stats>,
}

impl Plain {
    /// Opens nothing yet. Queries should carry no padding ([`crate::wire::question::Keepalive::Bare`]).
    pub fn new(target: PlainTarget, stats: Arc<Stats>) -> Self {
        Self {
            target,
            names: Names::default(),
            sockets: Semaphore::new(MAX_SOCKETS),
            deaf: Deaf::default(),
            ids: Mutex::default(),
            changes: watch::Sender::new(()),
            stats,
        }
    }

    async fn ask(&self, query: &[u8], deadline: Instant) -> Result<Response, ExchangeError> {
        let question = read_question(query).map_err(|_| ExchangeError::network("the query cannot be sent"))?;
        let name = question[..question.len() - 4].to_ascii_lowercase();
        if !self.target.leave.covers(&name) {
            return Err(ExchangeError::network(
                "a name for which there is no leave is never asked in clear text",
            ));
        }
        // Before the wait for a place: what cannot be asked at all fails at once.
        self.way(self.target.protocol)?;
        let _turn = self.names.enter(name, deadline).await?;
        let _socket = match timeout_at(deadline, self.sockets.acquire()).await {
            // A place that came free with the deadline is no use any more.
            Ok(Ok(place)) if Instant::now() < deadline => place,
            _ => return Err(ExchangeError::full("too many questions to the server at once")),
        };
        let octets = match self.target.protocol {
            Protocol::Tcp => self.over_tcp(query, deadline).await?,
            Protocol::Udp => match self.over_udp(query, deadline).await? {
                Told::Answer(octets) => octets,
                Told::AskOverTcp => self.over_tcp(query, deadline).await?,
            },
        };
        Ok(Response { octets, age: 0 })
    }

    /// By which way questions over this protocol leave now.
    ///
    /// # Errors
    /// `Network` at once if that is not where they may leave, or not any more: no other way takes its place.
    fn way(&self, protocol: Protocol) -> Result<Way, ExchangeError> {
        self.target.leave.holds(Instant::now())?;
        let way = self.target.exit.look(self.target.server, protocol)?;
        self.target.leave.is_for(way.bound_to())?;
        Ok(way)
    }

    /// Ends when packets would no longer leave by `way`; with an error if they may not leave at all. `changes` is from before `way` was
    /// found out. Cancel-safe.
    async fn moved(&self, way: &Way, changes: &mut watch::Receiver<()>) -> Result<(), ExchangeError> {
        loop {
            if changes.changed().await.is_err() {
                // The sender is our own, and we are still here.
                std::future::pending::<()>().await;
            }
            self.target.leave.holds(Instant::now())?;
            if way.has_moved()? {
                return Ok(());
            }
        }
    }

    /// `query` under a fresh random ID.
    fn sealed(&self, query: &[u8]) -> Result<(u16, Vec<u8>), ExchangeError> {
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).draw();
        let id = id.ok_or_else(|| ExchangeError::network("the system gives no random numbers"))?;
        let mut message = query.to_vec();
        message[..2].copy_from_slice(&id.to_be_bytes());
        Ok((id, message))
    }

    /// A question in clear text is on its way.
    fn count_sent(&self, query: &[u8], is_first: bool) {
        self.stats.queries.increment();
        self.stats.clear_packets.increment();
        self.target.meter.increment();
        if let Ok(question) = read_question(query) {
            self.target
                .leave
                .count(&question[..question.len() - 4].to_ascii_lowercase());
        }
        if !is_first {
            self.stats.resent.increment();
        }
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> ExchangeError {
        self.target.exit.failure(what, self.target.server, error)
    }
}

impl Exchange for Plain {
    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        Box::pin(self.ask(query, deadline))
    }

    /// Questions in flight look whether they can still be answered where they were sent from: those whose way is barred fail at once,
    /// those that would leave by another way now are sent again.
    fn network_changed(&self) {
        self.changes.send_replace(());
    }

    /// Whether no answer can be expected because nothing may leave. There is no connection that could be open.
    fn is_in_doubt(&self) -> bool {
        !self.target.exit.is_any() && self.way(self.target.protocol).is_err()
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("server", &self.target.server)
            .finish_non_exhaustive()
    }
}

/// Sockets to one server at once, and so the ports that a guesser may try: a silent server's questions must not eat up descriptors.
const MAX_SOCKETS: usize = 64;

/// Wrong responses to one question before it is asked over TCP, where a guesser has nothing to guess at. A server that answers a question
/// twice sends one.
const MAX_MISMATCHES: u32 = 3;

#[cfg(test)]
mod tests;
