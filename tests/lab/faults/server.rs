//! A resolver for DoT and DoH that can misbehave: certificates that change while it runs, GOAWAY, few streams, error statuses.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::framed;
use crate::script::{Heard, Reply, normal};
use crate::upstream::Identity;

/// Names that begin so have this TTL; all others 300 s.
pub(crate) const BRIEF: &str = "brief";
const BRIEF_TTL: u32 = 2;

/// How the resolver behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Normal,
    /// DoH: GOAWAY after so many requests. DoT: a close after so many answers.
    Goaway(usize),
    /// DoH: new connections allow so many streams. DoT has no such thing.
    Streams(u32),
    /// DoH: this status; with `until`, a `Retry-After` that ends then. DoT: SERVFAIL.
    Refuse {
        status: u16,
        until: Option<Instant>,
    },
}

/// A running resolver; its tasks end with the runtime.
pub(crate) struct Server {
    pub(crate) dot: SocketAddr,
    pub(crate) doh: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: watch::Sender<Manner>,
    identity: Mutex<Arc<Identity>>,
    heard: AtomicU64,
    /// Hashes of distinct questions; only the tail measurement counts them.
    distinct: Option<Mutex<HashSet<u64>>>,
}

impl Server {
    pub(crate) async fn start(identity: Identity, count_distinct: bool) -> Self {
        let shared = Arc::new(Shared {
            manner: watch::Sender::new(Manner::Normal),
            identity: Mutex::new(Arc::new(identity)),
            heard: AtomicU64::new(0),
            distinct: count_distinct.then(Mutex::default),
        });
        let dot = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let doh = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (at_dot, at_doh) = (dot.local_addr().unwrap(), doh.local_addr().unwrap());
        tokio::spawn(accept(dot, false, Arc::clone(&shared)));
        tokio::spawn(accept(doh, true, Arc::clone(&shared)));
        Self {
            dot: at_dot,
            doh: at_doh,
            shared,
        }
    }

    pub(crate) fn port(&self, doh: bool) -> SocketAddr {
        if doh { self.doh } else { self.dot }
    }

    pub(crate) fn set(&self, manner: Manner) {
        self.shared.manner.send_replace(manner);
    }

    /// What new connections are shown.
    pub(crate) fn show(&self, identity: Identity) {
        *self.shared.identity.lock().unwrap() = Arc::new(identity);
    }

    /// Queries so far.
    pub(crate) fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Different questions so far.
    pub(crate) fn distinct(&self) -> usize {
        self.shared.distinct.as_ref().map_or(0, |set| set.lock().unwrap().len())
    }
}

impl Shared {
    fn answer(&self, query: Vec<u8>) -> Option<(Vec<u8>, Heard)> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let heard = Heard::read(query, Vec::new(), String::new());
        if let Some(distinct) = &self.distinct {
            let mut hasher = DefaultHasher::new();
            heard.name.hash(&mut hasher);
            distinct.lock().unwrap().insert(hasher.finish());
        }
        if heard.name.starts_with(BRIEF) {
            return Some((heard.answer(BRIEF_TTL, &[&[192, 0, 2, 1]]).octets(), heard));
        }
        match normal(&heard) {
            Reply::Dns(octets) => Some((octets, heard)),
            _ => None,
        }
    }

    fn acceptor(&self, doh: bool) -> TlsAcceptor {
        let identity = Arc::clone(&self.identity.lock().unwrap());
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(identity.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![if doh { b"h2".to_vec() } else { b"dot".to_vec() }];
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn accept(listener: TcpListener, doh: bool, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let accepting = shared.acceptor(doh).accept(tcp);
            // A relay that says nothing for minutes must not pile up tasks.
            let Ok(Ok(tls)) = timeout(Duration::from_secs(60), accepting).await else {
                return;
            };
            if doh {
                serve_doh(tls, shared).await;
            } else {
                let _ = serve_dot(tls, &shared).await;
            }
        });
    }
}

async fn serve_dot(mut tls: TlsStream<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    let mut answered = 0;
    loop {
        let len = tls.read_u16().await?;
        let mut query = vec![0; usize::from(len)];
        tls.read_exact(&mut query).await?;
        let Some((mut octets, heard)) = shared.answer(query) else {
            return Ok(());
        };
        let manner = *shared.manner.borrow();
        if let Manner::Refuse { .. } = manner {
            octets = heard.response().rcode(2).octets();
        }
        tls.write_all(&framed(&octets)).await?;
        tls.flush().await?;
        answered += 1;
        if let Manner::Goaway(limit) = manner
            && answered >= limit
        {
            return tls.shutdown().await;
        }
    }
}

async fn serve_doh(tls: TlsStream<TcpStream>, shared: Arc<Shared>) {
    let mut manner = shared.manner.subscribe();
    let mut builder = h2::server::Builder::new();
    let mut known = *manner.borrow_and_update();
    if let Manner::Streams(limit) = known {
        builder.max_concurrent_streams(limit);
    }
    let Ok(mut connection) = builder.handshake(tls).await else {
        return;
    };
    let mut requests = 0;
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            _ = manner.changed() => {
                // A limit of streams is a connection's own: whoever has another one is sent away.
                let now = *manner.borrow_and_update();
                if matches!(now, Manner::Streams(_)) || matches!(known, Manner::Streams(_)) {
                    connection.graceful_shutdown();
                }
                known = now;
                continue;
            }
        };
        let Some(Ok((request, stream))) = next else { return };
        tokio::spawn(respond(request, stream, Arc::clone(&shared)));
        requests += 1;
        if let Manner::Goaway(limit) = *manner.borrow()
            && requests == limit
        {
            connection.graceful_shutdown();
        }
    }
}

async fn respond(request: Request<h2::RecvStream>, mut stream: SendResponse<Bytes>, shared: Arc<Shared>) {
    let mut body = request.into_body();
    let mut query = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        query.extend_from_slice(&chunk);
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    if query.len() < 17 {
        return;
    }
    let Some((mut octets, _)) = shared.answer(query) else {
        return;
    };
    let mut head = Response::builder().status(200);
    match *shared.manner.borrow() {
        Manner::Refuse { status, until } => {
            head = head.status(status);
            if let Some(until) = until {
                // Rounded down, so that whoever keeps to it is not made late by us.
                let left = until.saturating_duration_since(Instant::now()).as_secs();
                head = head.header("retry-after", left.to_string());
            }
            octets.clear();
        }
        _ => head = head.header("content-type", "application/dns-message"),
    }
    if let Ok(mut sender) = stream.send_response(head.body(()).unwrap(), false) {
        let _ = sender.send_data(octets.into(), true);
    }
}
