//! Resolvers of our own for this room's tests: certificates good and bad, TLS servers with a script, messages to send
//! them.

pub(crate) mod chance;
#[cfg(target_os = "linux")]
pub(super) mod office;

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::{Alpn, Dates, Roots, Tls, Trust};
use super::{Addresses, Exit, Target};

/// The name that our servers are configured under.
pub(crate) const NAME: &str = "dns.example";

/// A certificate authority of its own for each test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// What a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Good,
    ForAddress,
    Expired,
    NotYetValid,
    WrongName,
    CommonNameOnly,
    WildcardTooDeep,
    ForClients,
    SelfSigned,
    UnknownAuthority,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // A name of its own, so that another authority is unknown rather than wrong.
        let name = format!("authority {:x?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A server that shows this and chooses among `alpn`.
    pub(crate) fn server(&self, shown: Shown, alpn: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = server_params(shown);
        let certificate = match shown {
            Shown::SelfSigned => params.self_signed(&key).unwrap(),
            Shown::UnknownAuthority => params.signed_by(&key, &Self::new().issuer).unwrap(),
            _ => params.signed_by(&key, &self.issuer).unwrap(),
        };
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client's target that believes this authority and nothing else.
    pub(crate) fn target(&self, address: SocketAddr, alpn: Alpn) -> Target {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.pem.as_bytes()).unwrap();
        let trust = Trust {
            dates: Dates::Checked,
            roots: Roots::File(file.path().to_owned()),
            pins: Vec::new(),
        };
        Target {
            addresses: Arc::new(Addresses::new(vec![address])),
            exit: Exit::default(),
            server_name: ServerName::try_from(NAME).unwrap(),
            tls: Arc::new(Tls::new(trust, alpn).unwrap()),
        }
    }
}

fn server_params(shown: Shown) -> CertificateParams {
    let name = match shown {
        Shown::WrongName => "dns.example.net",
        Shown::WildcardTooDeep => "*.dns.example",
        Shown::ForAddress => "127.0.0.1",
        _ => NAME,
    };
    let names = if shown == Shown::CommonNameOnly {
        Vec::new()
    } else {
        vec![name.to_owned()]
    };
    let mut params = CertificateParams::new(names).unwrap();
    match shown {
        Shown::Expired => params.not_after = date_time_ymd(2001, 1, 1),
        Shown::NotYetValid => params.not_before = date_time_ymd(4000, 1, 1),
        Shown::CommonNameOnly => params.distinguished_name.push(rcgen::DnType::CommonName, NAME),
        Shown::ForClients => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        _ => {}
    }
    params
}

/// A TLS server that runs `script` for each connection whose handshake succeeds, counted from 0.
pub(crate) async fn serve<F, R>(config: Arc<ServerConfig>, script: F) -> SocketAddr
where
    F: Fn(usize, TlsStream<TcpStream>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let script = Arc::new(script);
    let accepted = Arc::new(AtomicUsize::new(0));
    let acceptor = TlsAcceptor::from(config);
    serve_tcp(move |stream| {
        let (script, accepted, acceptor) = (Arc::clone(&script), Arc::clone(&accepted), acceptor.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                script(accepted.fetch_add(1, Ordering::SeqCst), stream).await;
            }
        }
    })
    .await
}

/// A TCP server that runs `script` for each connection.
pub(super) async fn serve_tcp<F, R>(script: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(script(stream));
        }
    });
    address
}

/// What a client sent, read by read.
pub(super) type Reads = Arc<Mutex<Vec<Vec<u8>>>>;

/// A wire to `server` that keeps what the client sends.
pub(super) async fn tapped(server: SocketAddr) -> (SocketAddr, Reads) {
    let reads = Reads::default();
    let kept = Arc::clone(&reads);
    let address = serve_tcp(move |mut client| {
        let kept = Arc::clone(&kept);
        async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            let (mut from_server, mut to_server) = server.split();
            let (mut from_client, mut to_client) = client.split();
            let mut buffer = vec![0; 65_536];
            let up = async {
                while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
                    kept.lock().unwrap().push(buffer[..len].to_vec());
                    if to_server.write_all(&buffer[..len]).await.is_err() {
                        break;
                    }
                }
            };
            let down = tokio::io::copy(&mut from_server, &mut to_client);
            tokio::select! { () = up => {}, _ = down => {} }
        }
    })
    .await;
    (address, reads)
}

/// A DoT server's end of a connection.
pub(super) struct Frames(pub(super) TlsStream<TcpStream>);

impl Frames {
    /// The next query, `None` when the client has closed.
    pub(super) async fn query(&mut self) -> Option<Vec<u8>> {
        let len = self.0.read_u16().await.ok()?;
        let mut query = vec![0; usize::from(len)];
        self.0.read_exact(&mut query).await.ok()?;
        Some(query)
    }

    pub(super) async fn send(&mut self, message: &[u8]) {
        let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(message);
        // The client may be gone; the test finds out by what it got.
        let _ = self.0.write_all(&frame).await;
        let _ = self.0.flush().await;
    }

    /// Answers everything, in order, until the client closes.
    pub(super) async fn answer_all(&mut self) {
        while let Some(query) = self.query().await {
            self.send(&answer(&query)).await;
        }
    }
}

/// A query for `name`, type A, ID 0.
pub(super) fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// The response that a query gets: itself with QR set.
pub(super) fn answer(query: &[u8]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message
}

/// As [`answer`], with an OPT record that carries a keepalive time in units of 100 milliseconds (RFC 7828).
pub(super) fn answer_with_keepalive(query: &[u8], units: u8) -> Vec<u8> {
    let mut message = answer(query);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 11, 0, 2, 0, units]);
    message
}

/// Enough for everything that should succeed.
pub(super) fn soon() -> Instant {
    in_ms(4_000)
}

/// A short deadline for what should fail by it.
pub(super) fn in_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}
