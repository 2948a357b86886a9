//! The control: one query over a connection of its own, straight through the relay to the resolver, without any stub.
//! A red number counts against the daemon only when this one is small.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{A, Ask, framed};
use crate::load::fresh;
use crate::upstream::SERVER_NAME;

/// A try may take this long; then another begins.
const TRY: Duration = Duration::from_millis(250);

/// Tries until one of these addresses answers well; how long that took, 10 s at the most.
pub(crate) async fn reach(addresses: Vec<SocketAddr>, doh: bool, roots: Vec<u8>) -> Duration {
    let begin = Instant::now();
    let connector = connector(doh, &roots);
    while begin.elapsed() < Duration::from_secs(10) {
        for address in &addresses {
            if matches!(timeout(TRY, once(*address, doh, &connector)).await, Ok(Some(()))) {
                return begin.elapsed();
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

/// Round trips one after another over one connection.
pub(crate) async fn round_trips(address: SocketAddr, doh: bool, roots: &[u8], count: usize) -> Vec<Duration> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut tls = connector(doh, roots).connect(name, tcp).await.unwrap();
    let mut times = Vec::new();
    if doh {
        let (client, connection) = h2::client::handshake(tls).await.unwrap();
        let driver = tokio::spawn(connection);
        for _ in 0..count {
            let begin = Instant::now();
            exchange(client.clone(), Ask::new(&fresh(), A).id(0).octets())
                .await
                .unwrap();
            times.push(begin.elapsed());
        }
        driver.abort();
        return times;
    }
    for _ in 0..count {
        let begin = Instant::now();
        dot_exchange(&mut tls, &Ask::new(&fresh(), A).octets()).await.unwrap();
        times.push(begin.elapsed());
    }
    times
}

fn connector(doh: bool, roots: &[u8]) -> TlsConnector {
    let mut store = RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(roots) {
        store.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![if doh { b"h2".to_vec() } else { b"dot".to_vec() }];
    TlsConnector::from(Arc::new(config))
}

async fn once(address: SocketAddr, doh: bool, connector: &TlsConnector) -> Option<()> {
    let tcp = TcpStream::connect(address).await.ok()?;
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut tls = connector.connect(name, tcp).await.ok()?;
    let query = Ask::new(&fresh(), A).id(0).octets();
    let response = if doh {
        over_h2(tls, query).await
    } else {
        dot_exchange(&mut tls, &query).await
    }?;
    (response.get(3)? & 15 == 0).then_some(())
}

async fn dot_exchange(tls: &mut TlsStream<TcpStream>, query: &[u8]) -> Option<Vec<u8>> {
    tls.write_all(&framed(query)).await.ok()?;
    tls.flush().await.ok()?;
    let len = tls.read_u16().await.ok()?;
    let mut response = vec![0; usize::from(len)];
    tls.read_exact(&mut response).await.ok()?;
    Some(response)
}

async fn over_h2(tls: TlsStream<TcpStream>, query: Vec<u8>) -> Option<Vec<u8>> {
    let (client, connection) = h2::client::handshake(tls).await.ok()?;
    let driver = tokio::spawn(connection);
    let response = exchange(client, query).await;
    driver.abort();
    response
}

async fn exchange(client: h2::client::SendRequest<Bytes>, query: Vec<u8>) -> Option<Vec<u8>> {
    let mut client = client.ready().await.ok()?;
    let request = Request::post(format!("https://{SERVER_NAME}/dns-query"))
        .header("content-type", "application/dns-message")
        .body(())
        .unwrap();
    let (response, mut body) = client.send_request(request, false).ok()?;
    body.send_data(query.into(), true).ok()?;
    let response = response.await.ok()?;
    if response.status() != 200 {
        return None;
    }
    response.into_body().data().await?.ok().map(|octets| octets.to_vec())
}
