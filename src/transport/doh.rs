//! DNS over HTTPS (RFC 8484) on HTTP/2: one connection to a resolver, a stream for each question.
//!
//! The headers are the fewest that a resolver needs and the same for everybody: nothing in them tells clients apart.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Uri};
use tokio::time::Instant;

use super::doh_connection::{DohConnection, Pace};
use super::link::{Link, Open};
use super::road::Road;
use super::tls::Session;
use super::{BoxFuture, Exchange, ExchangeError, Response, Stats, Target};

/// DNS over HTTPS to one resolver.
pub struct Doh {
    link: Link<DohOpener>,
}

impl Doh {
    /// Opens nothing yet. `target.tls` must be made with [`super::tls::Alpn::H2`].
    /// Queries must not carry a keepalive option.
    pub fn new(target: Target, template: Template, stats: Arc<Stats>) -> Self {
        let opener = DohOpener {
            road: Road::new(target, Arc::clone(&stats)),
            template: Arc::new(template),
            pace: Arc::default(),
            stats: Arc::clone(&stats),
        };
        Self {
            link: Link::new(opener, stats),
        }
    }
}

impl Exchange for Doh {
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

impl fmt::Debug for Doh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doh").finish_non_exhaustive()
    }
}

struct DohOpener {
    road: Road,
    template: Arc<Template>,
    pace: Arc<Pace>,
    stats: Arc<Stats>,
}

impl Open for DohOpener {
    type Connection = DohConnection;

    async fn ready(&self, deadline: Instant) -> Result<(), ExchangeError> {
        self.road.ready(deadline).await
    }

    async fn open(&self, deadline: Instant) -> Result<DohConnection, ExchangeError> {
        let session = self.road.open(only_h2, deadline).await?;
        let (template, pace) = (Arc::clone(&self.template), Arc::clone(&self.pace));
        DohConnection::start(session, template, pace, Arc::clone(&self.stats), deadline).await
    }

    fn may_leave(&self) -> Result<(), ExchangeError> {
        self.road.may_leave()
    }

    fn network_changed(&self) {
        self.road.network_changed();
    }
}

fn only_h2(stream: &Session) -> Result<(), ExchangeError> {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(()),
        _ => Err(ExchangeError::network("the server does not offer http/2")),
    }
}

/// A DoH resolver's URI, and whether it is asked with POST or GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    uri: Uri,
    verb: Verb,
}

/// The URI is not one we can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// The host or the path is not valid in a URI.
    NotAUri,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUri => "not a host and path as a uri has them",
        })
    }
}

impl std::error::Error for TemplateError {}

/// How a DoH resolver is asked (RFC 8484 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The query in the body.
    Post,
    /// The query in the URI, for caches on the way.
    Get,
}

impl Template {
    /// From `host[:port]` and a path such as `/dns-query`, which may have a query string.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(authority: &str, path: &str, verb: Verb) -> Result<Self, TemplateError> {
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path);
        let uri = uri.build().map_err(|_| TemplateError::NotAUri)?;
        Ok(Self { uri, verb })
    }

    /// The request for a query, and its body: empty for GET.
    ///
    /// # Errors
    /// `None` for a query that no URI could carry; a DNS query of 65,535 octets is one.
    pub(super) fn request(&self, query: &[u8]) -> Option<(Request<()>, Bytes)> {
        let accept = HeaderValue::from_static(DNS_MESSAGE);
        if self.verb == Verb::Get {
            let uri = format!(
                "{}{}dns={}",
                self.uri,
                if self.uri.query().is_some() { '&' } else { '?' },
                BASE64URL_NOPAD.encode(query)
            );
            let request = Request::get(uri).header(ACCEPT, accept).body(()).ok()?;
            return Some((request, Bytes::new()));
        }
        let request = Request::post(self.uri.clone())
            .header(ACCEPT, accept.clone())
            .header(CONTENT_TYPE, accept)
            .header(CONTENT_LENGTH, query.len())
            .body(())
            .ok()?;
        Some((request, Bytes::copy_from_slice(query)))
    }
}

/// The media type of a DNS message (RFC 8484 section 6).
pub(super) const DNS_MESSAGE: &str = "application/dns-message";

#[cfg(test)]
mod tests;
