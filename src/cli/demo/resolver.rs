//! The demo's own resolver: DoT and DoH (h2 over rustls) on ephemeral loopback ports, answering from [`super::zone`].
//!
//! Serves one demo run; it is no server for anything else. It counts the queries that reach it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cli::demo::zone;
use crate::stats::Counter;
use crate::wire::frame::{FrameReader, write_frame};

/// The resolver's name: in its certificate, and in clear in every TLS handshake (SNI).
pub const SERVER_NAME: &str = "dns.tacenda.test";

/// The CA that signed the resolver's certificate.
pub const CA_PEM: &str = include_str!("../../../certs/ca.pem");

const CERTIFICATE_PEM: &str = include_str!("../../../certs/server.pem");
const KEY_PEM: &str = include_str!("../../../certs/server.key");

/// A connection that stays quiet for longer is of no use to a demo of five seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Octets taken from a socket at once.
const READ_LEN: usize = 4096;

/// The longest DoH body read: no query is longer than 384 octets.
const MAX_BODY: usize = 4096;

/// A running resolver.
#[derive(Debug)]
pub struct DemoResolver {
    /// Where it takes DoT.
    pub dot: SocketAddr,
    /// Where it takes DoH, at `/dns-query`.
    pub doh: SocketAddr,
    queries: Arc<Counter>,
}

impl DemoResolver {
    /// Starts serving.
    ///
    /// # Errors
    /// A listener cannot be opened, or the embedded certificates cannot be read.
    pub async fn start() -> io::Result<Self> {
        let queries = Arc::new(Counter::default());
        let dot = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let doh = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let this = Self {
            dot: dot.local_addr()?,
            doh: doh.local_addr()?,
            queries: Arc::clone(&queries),
        };

        let (acceptor, counter) = (acceptor(b"dot")?, Arc::clone(&queries));
        tokio::spawn(accept(dot, acceptor, move |tls| serve_dot(tls, Arc::clone(&counter))));
        let (acceptor, counter) = (self::acceptor(b"h2")?, queries);
        tokio::spawn(accept(doh, acceptor, move |tls| serve_doh(tls, Arc::clone(&counter))));
        Ok(this)
    }

    /// Queries that reached it, over both transports.
    pub fn queries(&self) -> u64 {
        self.queries.value()
    }
}

fn acceptor(protocol: &[u8]) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE_PEM.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(KEY_PEM.as_bytes());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key.map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes connections until the runtime ends. A failed handshake is the stub's affair: the demo sees that no answer comes.
async fn accept<F>(listener: TcpListener, acceptor: TlsAcceptor, serve: impl Fn(TlsStream<TcpStream>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Ok((tcp, _)) = listener.accept().await {
        // Only batching is lost if this fails.
        let _ = tcp.set_nodelay(true);
        if let Ok(Ok(tls)) = tokio::time::timeout(IDLE_TIMEOUT, acceptor.accept(tcp)).await {
            tokio::spawn(serve(tls));
        }
    }
}

async fn serve_dot(mut tls: TlsStream<TcpStream>, queries: Arc<Counter>) {
    let (mut frames, mut buffer, mut out) = (FrameReader::new(), vec![0; READ_LEN], Vec::new());
    while let Ok(Ok(len)) = tokio::time::timeout(IDLE_TIMEOUT, tls.read(&mut buffer)).await {
        if len == 0 {
            return;
        }
        frames.push(&buffer[..len]);
        out.clear();
        while let Some(query) = frames.next_message() {
            queries.increment();
            let written = zone::respond(query).and_then(|response| write_frame(&response, &mut out));
            if written.is_none() {
                return;
            }
        }
        if tls.write_all(&out).await.is_err() || tls.flush().await.is_err() {
            return;
        }
    }
}

async fn serve_doh(tls: TlsStream<TcpStream>, queries: Arc<Counter>) {
    let Ok(mut connection) = h2::server::handshake(tls).await else {
        return;
    };
    while let Ok(Some(Ok((request, stream)))) = tokio::time::timeout(IDLE_TIMEOUT, connection.accept()).await {
        tokio::spawn(serve_request(request, stream, Arc::clone(&queries)));
    }
}

async fn serve_request(request: Request<h2::RecvStream>, mut stream: SendResponse<Bytes>, queries: Arc<Counter>) {
    let answer = match read_query(request).await {
        Some(query) => {
            queries.increment();
            zone::respond(&query)
        }
        None => None,
    };
    let status = if answer.is_some() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    let mut head = Response::new(());
    *head.status_mut() = status;
    head.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/dns-message"),
    );
    // A stub that went away in between is none of our business.
    if let Ok(mut body) = stream.send_response(head, false) {
        let _ = body.send_data(answer.unwrap_or_default().into(), true);
    }
}

/// The DNS message of a DoH request, POST or GET (RFC 8484 section 4.1).
async fn read_query(request: Request<h2::RecvStream>) -> Option<Vec<u8>> {
    if request.method() == Method::GET {
        let encoded = request.uri().query()?.strip_prefix("dns=")?;
        return data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).ok();
    }
    let mut body = request.into_body();
    let mut query = Vec::new();
    while let Ok(Some(chunk)) = tokio::time::timeout(IDLE_TIMEOUT, body.data()).await {
        let chunk = chunk.ok()?;
        query.extend_from_slice(&chunk);
        if query.len() > MAX_BODY || body.flow_control().release_capacity(chunk.len()).is_err() {
            return None;
        }
    }
    Some(query)
}
