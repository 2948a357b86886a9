//! The demo with stubs of our own: honest ones that it passes, broken ones that it must fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

use super::*;

/// How a stub of these tests misbehaves towards the resolver.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Sends each query in clear first.
    Clear,
    /// Sends each query as base64url in a clear HTTP request first.
    ClearHttp,
    /// Answers out of the zone and asks nobody.
    AsksNobody,
    /// Forgets every answer.
    Forgets,
    /// Changes the last octet of each answer.
    Lies,
    /// Says nothing.
    Silent,
}

/// Starts a stub on UDP and TCP that does what `fault` says, and otherwise asks over TLS and caches by question.
async fn start(settings: StubSettings, fault: Fault) -> Result<RunningStub, String> {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let stub = Arc::new(TestStub {
        settings,
        fault,
        cache: Mutex::default(),
        figures: Mutex::default(),
    });
    let figures = Arc::clone(&stub);

    let on_tcp = Arc::clone(&stub);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let Some(answer) = on_tcp.answer(&query).await else {
                continue;
            };
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 1232];
        while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
            let Some(answer) = stub.answer(&buffer[..len]).await else {
                continue;
            };
            udp.send_to(&answer, from).await.unwrap();
        }
    });
    Ok(RunningStub {
        address,
        figures: Box::new(move || *figures.figures.lock().unwrap()),
    })
}

struct TestStub {
    settings: StubSettings,
    fault: Fault,
    cache: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    figures: Mutex<Figures>,
}

impl TestStub {
    async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let question = query[12..].to_vec();
        let cached = self.cache.lock().unwrap().get(&question).cloned();
        let mut figures = *self.figures.lock().unwrap();
        figures.queries += 1;
        let mut answer = if let Some(cached) = cached {
            figures.hits += 1;
            cached
        } else {
            figures.misses += 1;
            let fresh = self.ask_upstream(query).await?;
            if self.fault != Fault::Forgets {
                figures.entries += 1;
                self.cache.lock().unwrap().insert(question, fresh.clone());
            }
            fresh
        };
        *self.figures.lock().unwrap() = figures;
        answer[..2].copy_from_slice(&query[..2]);
        Some(answer)
    }

    async fn ask_upstream(&self, query: &[u8]) -> Option<Vec<u8>> {
        match self.fault {
            Fault::Silent => None,
            Fault::AsksNobody => zone::respond(query),
            Fault::Clear => {
                self.send_in_clear(query).await;
                Some(self.ask_over_tls(query).await)
            }
            Fault::ClearHttp => {
                let encoded = data_encoding::BASE64URL_NOPAD.encode(query);
                self.send_in_clear(format!("GET /dns-query?dns={encoded} HTTP/1.1\r\n\r\n").as_bytes())
                    .await;
                Some(self.ask_over_tls(query).await)
            }
            Fault::Lies => {
                let mut query = query.to_vec();
                query.truncate(query.len() - 11);
                query[11] = 0;
                let mut answer = self.ask_over_tls(&query).await;
                *answer.last_mut()? ^= 1;
                Some(answer)
            }
            Fault::None | Fault::Forgets => Some(self.ask_over_tls(query).await),
        }
    }

    fn upstream(&self) -> SocketAddr {
        let port = self
            .settings
            .url
            .rsplit(':')
            .next()
            .unwrap()
            .trim_end_matches("/dns-query");
        SocketAddr::new(self.settings.address.into(), port.parse().unwrap())
    }

    async fn send_in_clear(&self, octets: &[u8]) {
        let mut stream = TcpStream::connect(self.upstream()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    async fn ask_over_tls(&self, query: &[u8]) -> Vec<u8> {
        let https = self.settings.url.starts_with("https:");
        let tls = connect_tls(
            self.upstream(),
            self.settings.ca_pem,
            if https { b"h2" } else { b"dot" },
        )
        .await;
        if https {
            post(tls, query).await
        } else {
            frame(tls, query).await
        }
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect_tls(address: SocketAddr, ca_pem: &str, protocol: &[u8]) -> Tls {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = resolver::SERVER_NAME.try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

async fn frame(mut tls: Tls, query: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    tls.write_all(&framed).await.unwrap();
    let mut answer = vec![0; usize::from(tls.read_u16().await.unwrap())];
    tls.read_exact(&mut answer).await.unwrap();
    answer
}

async fn post(tls: Tls, query: &[u8]) -> Vec<u8> {
    let (client, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("https://{}/dns-query", resolver::SERVER_NAME))
        .body(())
        .unwrap();
    let (response, mut stream) = client.ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data(query.to_vec().into(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut answer = Vec::new();
    while let Some(chunk) = body.data().await {
        answer.extend_from_slice(&chunk.unwrap());
    }
    answer
}

async fn run_with(fault: Fault) -> Result<Report, Failure> {
    run(|settings| start(settings, fault)).await
}

#[tokio::test]
async fn an_honest_stub_passes() {
    let report = run_with(Fault::None).await.unwrap();
    assert_eq!((report.legs.len(), report.names), (2, 7));
    for leg in &report.legs {
        assert_eq!(leg.asked_upstream, [QUESTIONS.len() as u64, 0]);
        assert_eq!((leg.figures.hits, leg.figures.misses), (7, 7));
        assert!(leg.server_name_seen && leg.octets[0] > 1000);
    }
    let mut printed = Vec::new();
    report::write(&report, Style::Plain, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("proved:") && printed.contains("192.0.2.80 (chain of 3)") && !printed.contains('\x1b'));
}

#[tokio::test]
async fn a_name_in_clear_fails_the_demo() {
    let Err(Failure::Leak(findings)) = run_with(Fault::Clear).await else {
        panic!("the leak went unseen")
    };
    assert!(
        findings
            .iter()
            .any(|f| f.name == "anxiety-clinic.example" && f.form == leak::Form::Wire),
        "{findings:?}"
    );
    assert!(findings.iter().any(|f| f.name == zone::MISSING), "{findings:?}");
}

#[tokio::test]
async fn a_name_as_base64_in_a_clear_http_request_fails_the_demo() {
    let Err(Failure::Leak(findings)) = run_with(Fault::ClearHttp).await else {
        panic!("the leak went unseen")
    };
    assert!(
        findings
            .iter()
            .any(|f| f.view == "as base64" && f.name == "anxiety-clinic.example"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn an_answer_from_elsewhere_fails_the_demo() {
    assert_eq!(run_with(Fault::AsksNobody).await.unwrap_err(), Failure::Bypassed);
}

#[tokio::test]
async fn a_stub_without_a_cache_fails_the_demo() {
    assert_eq!(run_with(Fault::Forgets).await.unwrap_err(), Failure::NotCached);
}

#[tokio::test]
async fn a_wrong_answer_fails_the_demo() {
    assert!(matches!(run_with(Fault::Lies).await, Err(Failure::WrongAnswer(_))));
}

#[tokio::test]
async fn silence_fails_the_demo() {
    assert!(matches!(run_with(Fault::Silent).await, Err(Failure::NoAnswer(_))));
}

#[tokio::test]
async fn a_stub_that_does_not_start_fails_the_demo() {
    let failed = run(|_| async { Err("no".to_owned()) }).await;
    assert_eq!(failed.unwrap_err(), Failure::Stub("no".to_owned()));
}

#[tokio::test]
async fn a_blind_observer_makes_the_run_void() {
    let packet = application::write_query(QUESTIONS[0], 0);
    assert!(shown_in_clear(&packet, &needles()).await.is_ok());
    let blind = shown_in_clear(&packet, &[Needle::new("another-name.example")]).await;
    assert!(matches!(blind, Err(Failure::Void(_))));
}
