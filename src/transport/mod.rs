//! Encrypted roads to a resolver: DoT and DoH. Takes addresses only; nothing here can resolve a name, and nothing falls back to less
//! than a checked certificate. The one that sends classic DNS, [`plain`], asks nothing but the names of a route's own zones, or those of an open window.

mod addresses;
mod dial;
pub mod doh;
mod doh_body;
mod doh_connection;
pub mod dot;
mod dot_connection;
mod hold;
pub mod keyed;
mod link;
mod metered;
mod pipeline;
pub mod plain;
mod prompt;
mod random_ids;
mod redial;
mod road;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
mod turn;
mod way;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::Instant;

use crate::stats::{Counter, Gauge};

pub use addresses::Addresses;
pub use way::{Exit, Gateway, GatewayError, Interface, InterfaceError};

/// A boxed future, the price of one trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question over a transport, encrypted unless it is a route's own. The one trait object of the house: every transport is behind it, and
/// tests put a fake resolver there.
pub trait Exchange: Send + Sync {
    /// Sends `query` (ID 0, at most 384 octets) and gives back the response with ID 0, after a check that it carries
    /// the same question. Re-sends once if the connection closed, or the server refused the stream, before answering;
    /// what the server says it never looked at (GOAWAY) was not sent in this sense. Ends by `deadline`.
    ///
    /// Cancel-safe: a dropped future takes its query out of the transport's table and disturbs no other.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>>;

    /// The network may have changed: each connection whose path is no longer the one it was opened on is dead now, and its
    /// queries go out again on another.
    fn network_changed(&self) {}

    /// A question may come soon, and fast: a connection is opened if none is open. Asks nothing.
    fn warm_up(&self) {}

    /// Whether no connection is open at present on which an answer could be expected.
    fn is_in_doubt(&self) -> bool {
        false
    }
}

/// A response to our question; its records are not checked yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The message, ID 0, at most 65,535 octets.
    pub octets: Vec<u8>,
    /// Seconds that an HTTP cache kept it (RFC 8484 section 5.1); to be taken off every TTL. 0 over DoT. At most 2^31.
    pub age: u32,
}

/// Holds a name, and debug output ends up in logs.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("len", &self.octets.len())
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

/// Why an exchange failed, and words for `/stats` and `tacenda query`. Never holds a query name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeError {
    /// Sorted by what the caller does next.
    pub kind: ExchangeErrorKind,
    /// What was attempted and what went wrong: lower case, no full stop.
    pub detail: String,
}

/// What an [`ExchangeError`] means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeErrorKind {
    /// No resolver was reached: connect, TLS or HTTP failed, or the connection broke (EDE 23). Ask another upstream.
    Network,
    /// The query was sent, nothing came back in time (EDE 22). Ask another upstream.
    Silent,
    /// What came back was not an answer to the question (EDE 24). Ask another upstream.
    Garbage,
    /// Our own queue to it is full (EDE 23). Ask another upstream; it says nothing about this one.
    Full,
    /// The upstream asked us to stay away for a while (429, 503; EDE 23). Ask another upstream.
    Busy {
        /// How long to leave it alone, capped at 60 s (RFC 9110 section 10.2.3).
        retry_after: Option<Duration>,
    },
}

impl ExchangeError {
    fn network(detail: impl Into<String>) -> Self {
        Self {
            kind: ExchangeErrorKind::Network,
            detail: detail.into(),
        }
    }

    fn silent(detail: impl Into<String>) -> Self {
        Self {
            kind: ExchangeErrorKind::Silent,
            detail: detail.into(),
        }
    }

    fn garbage(detail: impl Into<String>) -> Self {
        Self {
            kind: ExchangeErrorKind::Garbage,
            detail: detail.into(),
        }
    }

    fn full(detail: impl Into<String>) -> Self {
        Self {
            kind: ExchangeErrorKind::Full,
            detail: detail.into(),
        }
    }

    fn busy(detail: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self {
            kind: ExchangeErrorKind::Busy { retry_after },
            detail: detail.into(),
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ExchangeError {}

/// One resolver: where it is, who it must prove to be, and how it is believed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect: raced, IPv6 first, the one that last worked before all (RFC 8305).
    pub addresses: Arc<Addresses>,
    /// By which way packets may leave for them. Nothing is wanted but of the servers of a route.
    pub exit: Exit,
    /// The configured name (or address) that the certificate must carry. Never one learned from the server.
    pub server_name: ServerName<'static>,
    /// Made for this upstream alone, with the transport's own ALPN.
    pub tls: Arc<tls::Tls>,
}

/// What one upstream's transport counted since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Queries handed to a connection, re-sent ones counted again.
    pub queries: Counter,
    /// Queries sent a second time because the connection closed or the stream was refused.
    pub resent: Counter,
    /// Queries asked on a second connection as well, because the first took long.
    pub hedged: Counter,
    /// Connections put in doubt because nothing was read on them for too long.
    pub doubted: Counter,
    /// TLS handshakes with a certificate.
    pub handshakes_full: Counter,
    /// TLS handshakes resumed from a ticket.
    pub handshakes_resumed: Counter,
    /// 1 if the last handshake failed for nothing but the certificate's dates, so that this host's clock may be wrong.
    pub refused_for_dates: Gauge,
    /// Connections opened after the first one.
    pub reconnects: Counter,
    /// Dials that ended without a connection.
    pub dial_failures: Counter,
    /// Messages over DoT and in clear text that answered no question of ours, and responses over DoH to another question.
    pub violations: Counter,
    /// Questions sent in clear text, to the server of a route: datagrams, and messages over TCP.
    pub clear_packets: Counter,
    /// Writes to a DoT connection; `queries / writes` is the batch size. h2 keeps its own count to itself.
    pub writes: Counter,
}
