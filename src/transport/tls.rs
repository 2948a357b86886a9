//! TLS 1.3 and 1.2 with the ring provider: which roots are believed, what a client offers, and words for what went
//! wrong.
//!
//! Strict only (RFC 8310 section 5, usage profile "strict"): there is no setting that accepts less than a valid chain
//! to a root and the configured name in a subjectAltName. No early data, no session shared between upstreams.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, RootCertStore};
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::plain;
use super::prompt::Prompt;
use super::{ExchangeError, Stats};

/// Which certificate authorities are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's, compiled in: the same on every OS and there before the disk is.
    #[default]
    Bundled,
    /// The host's own store.
    System,
    /// A PEM file, and nothing but it.
    File(PathBuf),
    /// PEM text, and nothing but it: the demo carries its own authority.
    Pem(&'static str),
}

/// As the configuration writes it.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::System => f.write_str("system"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Pem(_) => f.write_str("(built in)"),
        }
    }
}

/// The protocol named in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `dot`, as IANA lists it. A server that chooses none is taken too: RFC 7858 does not ask for it.
    Dot,
    /// `h2`; a server that does not choose it is refused (RFC 8484 section 5.2).
    H2,
}

impl Alpn {
    fn id(self) -> &'static [u8] {
        match self {
            Self::Dot => b"dot",
            Self::H2 => b"h2",
        }
    }
}

/// Why no roots could be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootsError {
    /// The file could not be read.
    Unreadable(PathBuf, String),
    /// The file is not PEM.
    NotPem(PathBuf),
    /// The file holds no certificate.
    NoCertificate(PathBuf),
    /// A certificate in the file cannot be used as a root.
    BadCertificate(PathBuf, String),
    /// The host has no store, or an empty one.
    NoSystemRoots(String),
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, cause) => write!(f, "read roots from {}: {cause}", path.display()),
            Self::NotPem(path) => write!(f, "read roots from {}: not a PEM file", path.display()),
            Self::NoCertificate(path) => write!(f, "read roots from {}: it holds no certificate", path.display()),
            Self::BadCertificate(path, cause) => write!(f, "read roots from {}: {cause}", path.display()),
            Self::NoSystemRoots(cause) => write!(f, "the host's certificate store gave no root: {cause}"),
        }
    }
}

impl std::error::Error for RootsError {}

/// What one upstream's handshakes offer and believe. Call it once per upstream: tickets live in the result, and a
/// ticket shown to two resolvers, or on two networks, would link the client across them (RFC 8446 appendix C.4).
///
/// # Errors
/// See [`RootsError`].
pub fn client_config(roots: &Roots, alpn: Alpn) -> Result<Arc<ClientConfig>, RootsError> {
    let store = match roots {
        Roots::Bundled => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
        Roots::System => system_roots()?,
        Roots::File(path) => file_roots(path)?,
        Roots::Pem(text) => pem_roots(text.as_bytes(), Path::new("(built in)"))?,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring has suites for both versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.id().to_vec()];
    config.resumption = Resumption::in_memory_sessions(MAX_TICKETS);
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A host's store may hold a few that rustls cannot read; the others are as good without them.
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "it is empty".to_owned(), ToString::to_string);
        return Err(RootsError::NoSystemRoots(cause));
    }
    Ok(store)
}

fn file_roots(path: &PathBuf) -> Result<RootCertStore, RootsError> {
    let unreadable = |error: &io::Error| RootsError::Unreadable(path.clone(), plain(error));
    let octets = std::fs::read(path).map_err(|error| unreadable(&error))?;
    pem_roots(&octets, path)
}

/// The certificates of a PEM text; `path` is for the words of an error.
fn pem_roots(octets: &[u8], path: &Path) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(octets) {
        let certificate = certificate.map_err(|error| match error {
            pem::Error::Io(error) => RootsError::Unreadable(path.to_owned(), plain(&error)),
            _ => RootsError::NotPem(path.to_owned()),
        })?;
        store
            .add(certificate)
            .map_err(|error| RootsError::BadCertificate(path.to_owned(), words(&error)))?;
    }
    if store.is_empty() {
        return Err(RootsError::NoCertificate(path.to_owned()));
    }
    Ok(store)
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
    config: &Arc<ClientConfig>,
    deadline: Instant,
    stats: &Stats,
) -> Result<Session, ExchangeError> {
    let failed = |why: &str| ExchangeError::network(format!("tls with {}: {why}", server_name.to_str()));
    let stream = BufWriter::with_capacity(WRITE_BUFFER, Prompt::new(stream));
    let connector = TlsConnector::from(Arc::clone(config));
    let deadline = deadline.min(Instant::now() + HANDSHAKE_LIMIT);
    let stream = match timeout_at(deadline, connector.connect(server_name.clone(), stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&io_words(&error))),
        Err(_) => return Err(failed("the handshake was not done in time")),
    };
    match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => stats.handshakes_resumed.increment(),
        _ => stats.handshakes_full.increment(),
    }
    Ok(stream)
}

/// Words for an error on a TLS stream: what TLS said, if it was TLS.
pub(super) fn io_words(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => words(tls),
        None => plain(error),
    }
}

/// Words for the failures that people meet; the others as rustls names them.
fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => certificate_words(certificate),
        Error::InvalidMessage(_) => "the peer does not speak tls".to_owned(),
        Error::NoCertificatesPresented => "the peer showed no certificate".to_owned(),
        Error::PeerIncompatible(_) => "the peer speaks neither tls 1.3 nor 1.2 as we do".to_owned(),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the peer does not speak the protocol asked for".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => {
            "the peer speaks neither tls 1.3 nor 1.2 as we do".to_owned()
        }
        Error::AlertReceived(alert) => format!("the peer refused: {alert:?}").to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired, or this host's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet, or this host's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => "the certificate was issued by an authority not among the roots".to_owned(),
        CertificateError::BadSignature => "the certificate's signature is wrong, or made by too short a key".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for a server".to_owned()
        }
        // webpki's own errors come wrapped; these two are the ones that people meet.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => "the certificate is an authority's own, not a server's".to_owned(),
            "EndEntityUsedAsCa" => "the certificate was issued by one that is no authority".to_owned(),
            text => format!("the certificate cannot be used: {text}").to_lowercase(),
        },
        other => format!("the certificate cannot be used: {other}").to_lowercase(),
    }
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
