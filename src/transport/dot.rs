//! DNS over TLS (RFC 7858): one connection to a resolver, questions pipelined on it.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::dot_connection::DotConnection;
use super::link::{Link, Open};
use super::road::Road;
use super::tls::Session;
use super::{BoxFuture, Exchange, ExchangeError, Response, Stats, Target};

/// DNS over TLS to one resolver.
pub struct Dot {
    link: Link<DotOpener>,
}

impl Dot {
    /// Opens nothing yet. `target.tls` must come from [`super::tls::Tls::new`] with [`super::tls::Alpn::Dot`].
    /// Queries should carry an empty keepalive option (RFC 7828).
    pub fn new(target: Target, stats: Arc<Stats>) -> Self {
        let opener = DotOpener {
            road: Road::new(target, Arc::clone(&stats)),
            stats: Arc::clone(&stats),
        };
        Self {
            link: Link::new(opener, stats),
        }
    }
}

impl Exchange for Dot {
    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        Box::pin(self.link.exchange(query, deadline))
    }

    fn network_changed(&self) {
        self.link.network_changed();
    }

    fn warm_up(&self) {
        self.link.warm_up();
    }

    fn is_in_doubt(&self) -> bool {
        self.link.is_in_doubt()
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dot").finish_non_exhaustive()
    }
}

struct DotOpener {
    road: Road,
    stats: Arc<Stats>,
}

impl Open for DotOpener {
    type Connection = DotConnection;

    async fn ready(&self, deadline: Instant) -> Result<(), ExchangeError> {
        self.road.ready(deadline).await
    }

    async fn open(&self, deadline: Instant) -> Result<DotConnection, ExchangeError> {
        let (stream, hold) = self.road.open(any_alpn, deadline).await?;
        Ok(DotConnection::start(stream, hold, Arc::clone(&self.stats)))
    }

    fn may_leave(&self) -> Result<(), ExchangeError> {
        self.road.may_leave()
    }

    fn network_changed(&self) {
        self.road.network_changed();
    }
}

/// RFC 7858 does not speak of ALPN, so a server that chooses none is right; rustls refuses one that chooses what we
/// did not offer.
fn any_alpn(_: &Session) -> Result<(), ExchangeError> {
    Ok(())
}

#[cfg(test)]
mod tests;
