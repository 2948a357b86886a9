//! A DoH server in this process, and the form of what it is asked.

use h2::server::{Connection, SendResponse};
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::transport::testing::{Authority, NAME, Shown, answer, query, serve, soon};
use crate::transport::tls::Alpn;

mod replies;
mod streams;

type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

struct Rig {
    doh: Arc<Doh>,
    stats: Arc<Stats>,
}

/// A client of a server that runs `script` on each connection.
async fn rig<F, R>(script: F) -> Rig
where
    F: Fn(usize, ServerStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    rig_at("/dns-query", script).await
}

async fn rig_at<F, R>(path: &str, script: F) -> Rig
where
    F: Fn(usize, ServerStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::new();
    let address = serve(authority.server(Shown::Good, &["h2"]), script).await;
    let stats = Arc::new(Stats::default());
    let (path, verb) = match path.strip_suffix("{?dns}") {
        Some(path) => (path, Verb::Get),
        None => (path, Verb::Post),
    };
    let template = Template::new(NAME, path, verb).unwrap();
    let doh = Doh::new(authority.target(address, Alpn::H2), template, Arc::clone(&stats));
    Rig {
        doh: Arc::new(doh),
        stats,
    }
}

impl Rig {
    /// So many connections took the place of another. A machine that stands still for a moment has the client doubt a connection, and open one
    /// more.
    fn assert_reconnects(&self, expected: u64) {
        let (reconnects, doubted) = (self.stats.reconnects.value(), self.stats.doubted.value());
        assert!(
            (expected..=expected + doubted).contains(&reconnects),
            "{reconnects}, expected {expected}, doubted {doubted}"
        );
    }

    async fn ask(&self, name: &str, deadline: Instant) -> Result<Response, ExchangeError> {
        self.doh.exchange(&query(name), deadline).await
    }

    async fn ask_well(&self, name: &str) {
        assert_eq!(
            self.ask(name, soon()).await.map(|response| response.octets),
            Ok(answer(&query(name)))
        );
    }

    async fn ask_all_well(&self, count: usize) {
        let mut askers = JoinSet::new();
        for n in 0..count {
            let (doh, query) = (Arc::clone(&self.doh), query(&format!("n{n}.example")));
            askers.spawn(async move { (doh.exchange(&query, soon()).await.map(|it| it.octets), answer(&query)) });
        }
        for (got, expected) in askers.join_all().await {
            assert_eq!(got, Ok(expected));
        }
    }
}

/// One request as the server saw it.
struct Asked {
    head: Parts,
    query: Vec<u8>,
    respond: SendResponse<Bytes>,
}

impl Asked {
    fn reply(&mut self, response: http::response::Builder, body: Vec<u8>) {
        // The client may be gone; the test finds out by what it got.
        if let Ok(mut stream) = self.respond.send_response(response.body(()).unwrap(), false) {
            let _ = stream.send_data(Bytes::from(body), true);
        }
    }

    fn answer(&mut self) {
        let response = http::Response::builder().header("content-type", DNS_MESSAGE);
        self.reply(response, answer(&self.query));
    }
}

/// Hands every request, with its body read, to `handle`; ends with the connection.
async fn each<S, F, R>(mut connection: Connection<S, Bytes>, handle: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(usize, Asked) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let (asked, mut ready) = mpsc::unbounded_channel();
    let mut count = 0;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let asked = asked.clone();
                tasks.spawn(async move {
                    let (head, mut body) = request.into_parts();
                    let mut query = Vec::new();
                    while let Some(Ok(chunk)) = body.data().await {
                        query.extend_from_slice(&chunk);
                    }
                    let _ = asked.send(Asked { head, query, respond });
                });
            }
            Some(asked) = ready.recv() => {
                tasks.spawn(handle(count, asked));
                count += 1;
            }
        }
    }
}

async fn begin(stream: ServerStream) -> Connection<ServerStream, Bytes> {
    h2::server::handshake(stream).await.unwrap()
}

/// Answers everything until the connection ends.
async fn answer_all(stream: ServerStream) {
    each(begin(stream).await, |_, mut asked| async move { asked.answer() }).await;
}

fn reply(status: u16, headers: &[(&str, &str)]) -> http::response::Builder {
    headers
        .iter()
        .fold(http::Response::builder().status(status), |response, (name, value)| {
            response.header(*name, *value)
        })
}

const DNS: (&str, &str) = ("content-type", DNS_MESSAGE);

#[tokio::test]
async fn r8484_7_post_carries_three_headers_and_the_query_and_nothing_else() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let rig = rig(move |_, stream| {
        let seen = seen.clone();
        async move {
            each(begin(stream).await, move |_, mut asked| {
                let seen = seen.clone();
                async move {
                    asked.answer();
                    seen.send((asked.head, asked.query)).unwrap();
                }
            })
            .await;
        }
    })
    .await;
    for name in ["a.example", "other.example"] {
        rig.ask_well(name).await;
        let (head, body) = requests.recv().await.unwrap();
        assert_eq!(
            (head.method.as_str(), head.uri.to_string()),
            ("POST", format!("https://{NAME}/dns-query"))
        );
        let mut headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        headers.sort_unstable();
        let len = query(name).len().to_string();
        assert_eq!(
            headers,
            [
                ("accept", DNS_MESSAGE),
                ("content-length", len.as_str()),
                ("content-type", DNS_MESSAGE)
            ]
        );
        assert_eq!(body, query(name));
        assert_eq!(body[..2], [0, 0], "r8484_2: id 0");
    }
}

#[tokio::test]
async fn r8484_1_get_carries_one_header_and_the_query_in_the_path() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let rig = rig_at("/q{?dns}", move |_, stream| {
        let seen = seen.clone();
        async move {
            each(begin(stream).await, move |_, mut asked| {
                let seen = seen.clone();
                async move {
                    assert!(asked.query.is_empty());
                    let dns = asked.head.uri.query().unwrap().strip_prefix("dns=").unwrap();
                    asked.query = BASE64URL_NOPAD.decode(dns.as_bytes()).unwrap();
                    asked.answer();
                    seen.send(asked.head).unwrap();
                }
            })
            .await;
        }
    })
    .await;
    rig.ask_well("a.example").await;
    let head = requests.recv().await.unwrap();
    let encoded = BASE64URL_NOPAD.encode(&query("a.example"));
    assert_eq!(
        (head.method.as_str(), head.uri.to_string()),
        ("GET", format!("https://{NAME}/q?dns={encoded}"))
    );
    assert_eq!(
        head.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["accept"]
    );
}

fn names(request: &Request<()>) -> Vec<&str> {
    request.headers().keys().map(http::HeaderName::as_str).collect()
}

#[test]
fn r8484_1_post_is_the_default_and_carries_the_query_as_body() {
    let template = Template::new("dns.example:8443", "/dns-query", Verb::Post).unwrap();
    let (request, body) = template.request(b"query").unwrap();
    assert_eq!(
        (request.method(), request.uri().to_string().as_str()),
        (&http::Method::POST, "https://dns.example:8443/dns-query")
    );
    assert_eq!(names(&request), ["accept", "content-type", "content-length"]);
    assert_eq!(&body[..], b"query");
}

#[test]
fn r8484_1_get_uses_base64url_without_padding() {
    let template = Template::new("dns.example", "/dns-query", Verb::Get).unwrap();
    // RFC 8484 section 4.1.1: the example query for www.example.com, type A.
    let query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
    let (request, body) = template.request(query).unwrap();
    let expected = "https://dns.example/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
    assert_eq!(
        (request.method(), request.uri().to_string().as_str()),
        (&http::Method::GET, expected)
    );
    assert_eq!(names(&request), ["accept"]);
    assert!(body.is_empty());
}

#[test]
fn get_with_a_query_string_appends_to_it() {
    let template = Template::new("dns.example", "/dns-query?user=7", Verb::Get).unwrap();
    let (request, _) = template.request(b"q").unwrap();
    assert_eq!(request.uri().to_string(), "https://dns.example/dns-query?user=7&dns=cQ");
}

#[test]
fn what_no_uri_holds_is_refused() {
    assert_eq!(
        Template::new("dns example", "/", Verb::Post),
        Err(TemplateError::NotAUri)
    );
    assert_eq!(
        Template::new("dns.example", "/a b", Verb::Get),
        Err(TemplateError::NotAUri)
    );
}
