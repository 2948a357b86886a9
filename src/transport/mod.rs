//! Encrypted roads to a resolver: DoT and DoH. Takes addresses only; nothing here can resolve a name or send classic DNS.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// A boxed future, the price of one trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question over an encrypted transport. The one trait object of the house: every transport is behind it, and tests put
/// a fake resolver there.
pub trait Exchange: Send + Sync {
    /// Sends `query` (ID 0, at most 384 octets) and gives back the response with ID 0, after a check that it carries the
    /// same question. Re-sends once, on a new connection, if the connection closed before answering. Ends by `deadline`.
    ///
    /// Cancel-safe: a dropped future takes its query out of the transport's table and disturbs no other.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>>;
}

/// A response as it came, its question checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The DNS message, ID 0.
    pub octets: Vec<u8>,
    /// Seconds that it spent in HTTP caches (RFC 9111 section 5.1), to be taken off its TTLs; 0 over DoT.
    pub age: u32,
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
    /// The upstream asked us to stay away for a while (429, 503) or our queue to it is full (EDE 23). Ask another upstream.
    Busy {
        /// How long to leave it alone, capped at 60 s (RFC 9110 section 10.2.3).
        retry_after: Option<Duration>,
    },
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ExchangeError {}
