//! TLS 1.3 and 1.2 with the ring provider: which roots are believed, what a client offers, and words for what went
//! wrong.
//!
//! Strict only (RFC 8310 section 5, usage profile "strict"): there is no setting that accepts less than a valid chain
//! to a root and the configured name in a subjectAltName. No early data, no session shared between upstreams.

mod clock;
mod pins;
mod roots;
mod verifier;
mod words;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, Error, HandshakeKind, RootCertStore};
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::prompt::Prompt;
use super::{ExchangeError, Stats};
use clock::Clock;
use roots::{Fingerprint, Reread};
use verifier::{Verifier, is_about_dates};

pub use clock::is_before_release;
pub use pins::{Pin, PinError};
pub use roots::{Roots, RootsError};
pub use words::io_words;

/// The protocol named in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `dot`, as IANA lists it. A server that chooses none is taken too: RFC 7858 does not ask for it.
    Dot,
    /// `h2`; a server that does not choose it is refused (RFC 8484 section 5.2).
    H2,
    /// `http/1.1`; a server that chooses none speaks it too.
    Http1,
}

impl Alpn {
    fn id(self) -> &'static [u8] {
        match self {
            Self::Dot => b"dot",
            Self::H2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

/// Who is believed to be an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Which authorities may have signed its certificate.
    pub roots: Roots,
    /// Its keys, one of which it must show besides; none: any key will do.
    pub pins: Vec<Pin>,
    /// Whether the certificate must be valid today.
    pub dates: Dates,
}

/// What becomes of a certificate's dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dates {
    /// They are judged by this host's clock.
    #[default]
    Checked,
    /// They are not looked at, everything else is as ever: for the names of time servers, without which a wrong clock stays wrong
    /// (T-TIME).
    Ignored,
}

/// What one upstream's handshakes offer and believe. Make one for each upstream: tickets live in it, and a ticket shown
/// to two resolvers, or on two networks, would link the client across them (RFC 8446 appendix C.4).
#[derive(Debug)]
pub struct Tls {
    trust: Trust,
    alpn: Alpn,
    clock: Arc<dyn TimeProvider>,
    current: Mutex<Current>,
    /// Held by the one who reads the authorities again.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ClientConfig>,
    /// What the file of authorities said, if they come from one.
    read: Option<Fingerprint>,
}

impl Tls {
    /// Reads the authorities. Nothing can be resumed yet.
    ///
    /// # Errors
    /// See [`RootsError`].
    pub fn new(trust: Trust, alpn: Alpn) -> Result<Self, RootsError> {
        Self::with_clock(trust, alpn, Arc::new(Clock))
    }

    fn with_clock(trust: Trust, alpn: Alpn, clock: Arc<dyn TimeProvider>) -> Result<Self, RootsError> {
        let (store, read) = roots::load(&trust.roots)?;
        let config = client_config(store, &trust, alpn, Arc::clone(&clock));
        Ok(Self {
            trust,
            alpn,
            clock,
            current: Mutex::new(Current { config, read }),
            reading: Mutex::new(()),
        })
    }

    /// What the next handshake goes by.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.lock().config)
    }

    /// Nothing from before is resumed after this: to be called when the network changes (RFC 9325 section 3.7). The store
    /// is replaced and not emptied, so that a connection from before cannot put a late ticket into it.
    pub fn forget_tickets(&self) {
        let mut current = self.lock();
        let mut config = ClientConfig::clone(&current.config);
        config.resumption = empty_store();
        current.config = Arc::new(config);
    }

    /// Reads a file of authorities again and goes by it from the next handshake on, without what was resumable. A file
    /// that cannot be used changes nothing. Blocks on the file system.
    fn reread_roots(&self) {
        // One at a time: on a file system that hangs, threads must not pile up.
        let Ok(_reading) = self.reading.try_lock() else { return };
        let last = self.lock().read;
        match roots::reread(&self.trust.roots, last) {
            Reread::Same => {}
            Reread::Changed(read, Ok(store)) => {
                let config = client_config(store, &self.trust, self.alpn, Arc::clone(&self.clock));
                *self.lock() = Current {
                    config,
                    read: Some(read),
                };
                tracing::info!("the file of certificate authorities changed: read again");
            }
            Reread::Changed(read, Err(error)) => {
                // Remembered, so that one broken file is one line.
                self.lock().read = Some(read);
                tracing::warn!(%error, "the file of certificate authorities changed and cannot be used: keeping the old ones");
            }
            Reread::Unreadable(error) => {
                tracing::debug!(%error, "cannot look whether the certificate authorities changed");
            }
        }
    }

    /// A certificate that was refused may have been issued by an authority that the file names only now.
    async fn after_failure(self: &Arc<Self>, error: &io::Error, deadline: Instant) {
        if !matches!(self.trust.roots, Roots::File(_)) || !is_about_the_chain(error) {
            return;
        }
        let this = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || this.reread_roots());
        // A file system that hangs costs this dial its time and nothing else.
        let _ = timeout_at(deadline, reading).await;
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

/// Whether other authorities could have made a difference. A certificate for another name is as wrong under any.
fn is_about_the_chain(error: &io::Error) -> bool {
    match tls_error(error) {
        Some(Error::InvalidCertificate(certificate)) => !matches!(
            certificate,
            CertificateError::ApplicationVerificationFailure
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. }
        ),
        _ => false,
    }
}

/// `store` is not empty, whichever of [`Roots`] it comes from.
fn client_config(store: RootCertStore, trust: &Trust, alpn: Alpn, clock: Arc<dyn TimeProvider>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
        .build()
        .expect("at least one root, no revocation lists");
    let builder = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring has suites for both versions");
    let builder = if trust.pins.is_empty() && trust.dates == Dates::Checked {
        builder.with_webpki_verifier(webpki)
    } else {
        // rustls calls every verifier of one's own dangerous; this one begins with what webpki says.
        let verifier = Verifier::new(webpki, trust.pins.clone(), trust.dates);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![alpn.id().to_vec()];
    // A resumed session shows no certificate. Its ticket is from a handshake that did, under this very config: other
    // roots or pins make another config, whose store is empty.
    config.resumption = empty_store();
    config.enable_early_data = false;
    Arc::new(config)
}

fn empty_store() -> Resumption {
    Resumption::in_memory_sessions(MAX_TICKETS)
}

/// A TLS session whose writes go to the socket when it is flushed, or when [`WRITE_BUFFER`] is full.
pub(super) type Session = TlsStream<BufWriter<Prompt>>;

/// Shakes hands over `stream` and checks that the peer is `server_name`. Nothing of ours but the handshake is sent
/// before it is done.
///
/// # Errors
/// `Network`, whatever fails: chain, name, time, version, a peer that does not speak TLS, the deadline or
/// [`HANDSHAKE_LIMIT`].
pub(super) async fn handshake(
    stream: TcpStream,
    server_name: &ServerName<'static>,
    tls: &Arc<Tls>,
    deadline: Instant,
    stats: &Stats,
) -> Result<Session, ExchangeError> {
    let failed = |why: &str| ExchangeError::network(format!("tls with {}: {why}", server_name.to_str()));
    let stream = BufWriter::with_capacity(WRITE_BUFFER, Prompt::new(stream));
    let connector = TlsConnector::from(tls.config());
    let deadline = deadline.min(Instant::now() + HANDSHAKE_LIMIT);
    let stream = match timeout_at(deadline, connector.connect(server_name.clone(), stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            stats
                .refused_for_dates
                .set(u64::from(tls_error(&error).is_some_and(is_about_dates)));
            tls.after_failure(&error, deadline).await;
            return Err(failed(&io_words(&error)));
        }
        Err(_) => return Err(failed("the handshake was not done in time")),
    };
    stats.refused_for_dates.set(0);
    match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => stats.handshakes_resumed.increment(),
        _ => stats.handshakes_full.increment(),
    }
    Ok(stream)
}

/// Two round trips and a signature; a peer that needs longer is left in time for another one to answer the query.
const HANDSHAKE_LIMIT: Duration = Duration::from_millis(2_500);

/// As many records as may be in flight on a DoT connection: 200 padded queries of 128 octets, and 24 octets around
/// each.
const WRITE_BUFFER: usize = 32 * 1024;

/// Tickets kept: rustls holds eight for a server, and there is one server per config.
const MAX_TICKETS: usize = 8;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;
