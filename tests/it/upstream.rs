//! A scripted resolver on loopback: DoT and DoH with certs/, which does what a test tells it and keeps every octet it got.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use http::Request;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex as AsyncMutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::framed;
use crate::script::{Gate, Heard, Reply, normal};

/// The name in the certificate.
pub(crate) const SERVER_NAME: &str = "dns.tacenda.test";

const CERTIFICATE: &str = include_str!("../../certs/server.pem");
const KEY: &str = include_str!("../../certs/server.key");

/// What decides the reply to a query.
type Script = dyn Fn(&Heard) -> Reply + Send + Sync;

/// A running resolver; ends when dropped.
pub(crate) struct Upstream {
    pub(crate) dot: SocketAddr,
    pub(crate) doh: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    script: Box<Script>,
    heard: Mutex<Book>,
    connections: AtomicUsize,
}

/// What was heard. Counted as it comes: a flood of a million would make looking through it the slowest part of the resolver.
#[derive(Default)]
struct Book {
    all: Vec<Heard>,
    counts: HashMap<(String, u16), usize>,
}

/// What a resolver's TLS side shows.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
    /// ALPN of the DoH port.
    pub(crate) doh_protocol: &'static [u8],
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            chain: CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap(),
            key: PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap(),
            versions: rustls::DEFAULT_VERSIONS,
            doh_protocol: b"h2",
        }
    }
}

impl Upstream {
    /// A resolver that answers everything as [`normal`] does.
    pub(crate) fn honest() -> Self {
        Self::start(normal)
    }

    /// A resolver with a script.
    pub(crate) fn start(script: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_identity(Identity::default(), script)
    }

    pub(crate) fn with_identity(identity: Identity, script: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            heard: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let bind = || runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (dot, doh) = (bind(), bind());
        let this_dot = dot.local_addr().unwrap();
        let this_doh = doh.local_addr().unwrap();
        let acceptor = |protocol| acceptor(&identity, protocol);
        runtime.spawn(accept_dot(dot, acceptor(b"dot"), Arc::clone(&shared)));
        runtime.spawn(accept_doh(doh, acceptor(identity.doh_protocol), Arc::clone(&shared)));
        Self {
            dot: this_dot,
            doh: this_doh,
            shared,
            _runtime: runtime,
        }
    }

    /// Every query so far, in order of arrival.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().all.clone()
    }

    /// How many queries for this name (with dots, lower case) have arrived.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.shared
            .heard
            .lock()
            .unwrap()
            .all
            .iter()
            .filter(|heard| heard.name == name)
            .count()
    }

    /// TLS connections so far, both ports.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Takes a query down and asks the script.
    fn decide(&self, mut heard: Heard) -> Reply {
        let mut book = self.heard.lock().unwrap();
        let count = book.counts.entry((heard.name.clone(), heard.qtype)).or_default();
        heard.nth = *count;
        *count += 1;
        book.all.push(heard.clone());
        drop(book);
        (self.script)(&heard)
    }
}

fn acceptor(identity: &Identity, protocol: &[u8]) -> TlsAcceptor {
    TlsAcceptor::from(server_config(identity, protocol))
}

pub(crate) fn server_config(identity: &Identity, protocol: &[u8]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(identity.versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

async fn accept_dot(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            shared.connections.fetch_add(1, Ordering::Relaxed);
            serve_dot(tls, shared).await;
        });
    }
}

async fn serve_dot(tls: TlsStream<TcpStream>, shared: Arc<Shared>) {
    let (mut reader, writer) = tokio::io::split(tls);
    let writer = Arc::new(AsyncMutex::new(writer));
    while let Ok(len) = reader.read_u16().await {
        let mut query = vec![0; usize::from(len)];
        if reader.read_exact(&mut query).await.is_err() {
            return;
        }
        match shared.decide(Heard::read(query, Vec::new(), String::new())) {
            Reply::Dns(octets) => send(&writer, &framed(&octets)).await,
            Reply::Raw(octets) => send(&writer, &octets).await,
            Reply::Held(gate, octets) => {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move {
                    gate.opened().await;
                    send(&writer, &framed(&octets)).await;
                });
            }
            Reply::Silence => {}
            Reply::Close | Reply::Http { .. } => return,
        }
    }
}

/// A stub that closed meanwhile is part of many scripts.
async fn send(writer: &AsyncMutex<WriteHalf<TlsStream<TcpStream>>>, octets: &[u8]) {
    let mut writer = writer.lock().await;
    let _ = writer.write_all(octets).await;
    let _ = writer.flush().await;
}

async fn accept_doh(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            shared.connections.fetch_add(1, Ordering::Relaxed);
            let Ok(mut connection) = h2::server::handshake(tls).await else {
                return;
            };
            let closing = Gate::new();
            loop {
                let next = tokio::select! {
                    next = connection.accept() => next,
                    () = closing.opened() => return,
                };
                let Some(Ok((request, stream))) = next else { return };
                tokio::spawn(serve_doh(request, stream, Arc::clone(&shared), closing.clone()));
            }
        });
    }
}

async fn serve_doh(
    request: Request<h2::RecvStream>,
    mut stream: SendResponse<Bytes>,
    shared: Arc<Shared>,
    closing: Gate,
) {
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut headers = vec![(":method".to_owned(), request.method().to_string())];
    headers.extend(
        request
            .headers()
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_str().unwrap_or("?").to_owned())),
    );
    let query = match request.uri().query().and_then(|query| query.strip_prefix("dns=")) {
        Some(encoded) => data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).ok(),
        None => read_body(request.into_body()).await,
    };
    // A stub that found its answer elsewhere may reset a stream before its body has come.
    let Some(query) = query else { return };
    match shared.decide(Heard::read(query, headers, path)) {
        Reply::Dns(octets) => respond(&mut stream, 200, &[("content-type", "application/dns-message")], octets),
        Reply::Held(gate, octets) => {
            gate.opened().await;
            respond(&mut stream, 200, &[("content-type", "application/dns-message")], octets);
        }
        Reply::Http { status, headers, body } => respond(&mut stream, status, &headers, body),
        Reply::Silence => std::future::pending().await,
        Reply::Close | Reply::Raw(_) => closing.open(),
    }
}

async fn read_body(mut body: h2::RecvStream) -> Option<Vec<u8>> {
    let mut query = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        query.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).ok()?;
    }
    Some(query)
}

/// A stub that reset the stream meanwhile is part of many scripts.
fn respond(stream: &mut SendResponse<Bytes>, status: u16, headers: &[(&str, &str)], body: Vec<u8>) {
    let mut head = http::Response::builder().status(status);
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    if let Ok(mut sender) = stream.send_response(head.body(()).unwrap(), false) {
        let _ = sender.send_data(body.into(), true);
    }
}
