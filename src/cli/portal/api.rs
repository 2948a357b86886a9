//! What a network says of itself: the Captive Portal API (RFC 8908). Its host has a name that only the network may know, so it is asked in an
//! open window alone. Every octet of it is a stranger's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::app::portal::reply::host_of;
use crate::cli::query::ask::exchange;
use crate::os::link::addresses;
use crate::os::socket::{Interface, stream_to};
use crate::policy::rebind::is_this_host;
use crate::transport::tls::{Alpn, Roots, Tls, Trust, io_words};
use crate::upstream::presentation::parse_name;
use crate::upstream::records::{Question, Reply};

/// Where a network is asked about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// A name, or an address.
    pub(super) host: String,
    port: u16,
    /// Path and query.
    target: String,
}

/// By which way it is asked.
pub(super) struct Way<'a> {
    /// The tacenda that looks up its host, through its window.
    pub(super) listen: SocketAddr,
    /// By this interface alone.
    pub(super) interface: Option<&'a Interface>,
    /// Of [`trust`].
    pub(super) tls: &'a Tls,
    /// Whether an address is this host's own, or nobody's alone.
    pub(super) is_here: fn(IpAddr) -> bool,
}

/// Whether packets there stay on this host, or go to many.
///
/// If its addresses cannot be listed, all are taken for them.
pub(super) fn is_here(address: IpAddr) -> bool {
    let is_own = || addresses().map_or(true, |own| own.iter().any(|(_, own)| *own == address));
    let is_for_many = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    is_this_host(address) || is_for_many || is_own()
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Whether somebody has to sign in before he is let through.
    pub(super) is_captive: bool,
    /// The page to do that on, over TLS.
    pub(super) page: Option<String>,
    /// How long who has signed in is let through yet.
    pub(super) left: Option<Duration>,
}

impl Api {
    /// None for what is not reached over TLS (RFC 8908 section 4.1): older networks name the page itself there, and
    /// `urn:ietf:params:capport:unrestricted` is no place.
    pub(super) fn at(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_over_tls = uri.scheme_str() == Some("https");
        Some(Self {
            host: host_of(url).filter(|_| is_over_tls)?,
            port: uri.port_u16().unwrap_or(443),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// In words: no address, no connection, no certificate that is good for the host, no answer of this kind, [`PATIENCE`].
    pub(super) async fn ask(&self, way: &Way<'_>) -> Result<Word, String> {
        let all = async {
            let addresses = self.addresses(way).await?;
            let stream = self.connect(&addresses, way).await?;
            read(&self.fetch(stream).await?)
        };
        timeout(PATIENCE, all).await.unwrap_or_else(|_| Err(SILENT.to_owned()))
    }

    /// Where it is, and never on this host: who is root here must not speak to what listens there.
    async fn addresses(&self, way: &Way<'_>) -> Result<Vec<IpAddr>, String> {
        let mut found = match self.host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.looked_up(way.listen).await?,
        };
        found.retain(|address| !(way.is_here)(address.to_canonical()));
        if found.is_empty() {
            return Err("its host has no address that is another's".to_owned());
        }
        Ok(found)
    }

    async fn looked_up(&self, listen: SocketAddr) -> Result<Vec<IpAddr>, String> {
        let labels = parse_name(&self.host).map_err(|error| error.to_string())?;
        let [v4, v6] = [A, AAAA].map(|qtype| Question {
            labels: labels.clone(),
            qtype,
        });
        let (mut v4, mut v6) = (pin!(addresses_of(listen, &v4)), pin!(addresses_of(listen, &v6)));
        // Many networks do not answer one of the two: it is not waited for when the other has something.
        let (first, other) = tokio::select! {
            first = &mut v4 => (first, Other::V6),
            first = &mut v6 => (first, Other::V4),
        };
        let other = async {
            match other {
                Other::V4 => v4.await,
                Other::V6 => v6.await,
            }
        };
        match first {
            Ok(found) if !found.is_empty() => {
                let more = timeout(GRACE, other).await.ok().and_then(Result::ok);
                Ok([found, more.unwrap_or_default()].concat())
            }
            first => other.await.or(first),
        }
    }

    async fn connect(&self, addresses: &[IpAddr], way: &Way<'_>) -> Result<TlsStream<TcpStream>, String> {
        let connector = TlsConnector::from(way.tls.config());
        let server_name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        // What was said in a handshake says more than that somebody was not there.
        let (mut refused, mut absent) = (None, SILENT.to_owned());
        for address in addresses {
            let server = SocketAddr::new(*address, self.port);
            let deadline = Instant::now() + ATTEMPT;
            let stream = match timeout_at(deadline, stream_to(server, way.interface)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    absent = io_words(&error);
                    continue;
                }
                Err(_) => continue,
            };
            match timeout_at(deadline, connector.connect(server_name.clone(), stream)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => refused = Some(io_words(&error)),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or(absent))
    }

    async fn fetch(&self, stream: TlsStream<TcpStream>) -> Result<Vec<u8>, String> {
        let handshake = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_LEN)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| error.to_string())?;
        let host = match (self.port, self.host.contains(':')) {
            (443, false) => self.host.clone(),
            (port, false) => format!("{}:{port}", self.host),
            (port, true) => format!("[{}]:{port}", self.host),
        };
        let host = HeaderValue::try_from(host).map_err(|error| error.to_string())?;
        let request = Request::get(&self.target)
            .header(HOST, host)
            .header(ACCEPT, "application/captive+json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        // It ends with the sender, or with the connection.
        let talk = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            match response.status() {
                StatusCode::OK => {}
                // To wherever it leads, nobody has consented.
                status => return Err(format!("it answers with status {}", status.as_u16())),
            }
            let mut body = response.into_body();
            let mut octets = Vec::new();
            // Many servers close without the goodbye of TLS: whether it is whole, JSON knows.
            while let Some(Ok(frame)) = body.frame().await {
                octets.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                if octets.len() > MAX_LEN {
                    return Err("its answer is too long".to_owned());
                }
            }
            Ok(octets)
        };
        let answer = answer.await;
        talk.abort();
        answer
    }
}

/// Which question is not answered yet.
enum Other {
    V4,
    V6,
}

async fn addresses_of(listen: SocketAddr, question: &Question) -> Result<Vec<IpAddr>, String> {
    let octets = exchange(listen, question, false)
        .await
        .0
        .map_err(|error| error.to_string())?;
    Ok(Reply::read(&octets)?.addresses().take(MAX_ADDRESSES).collect())
}

/// Who is believed: the authorities of this host, whose administrator may have added some; else the bundled ones.
///
/// # Errors
/// In words, if there are none.
pub(super) fn trust() -> Result<Tls, String> {
    let trust = |roots| Trust {
        roots,
        ..Trust::default()
    };
    Tls::new(trust(Roots::System), Alpn::Http1)
        .or_else(|_| Tls::new(trust(Roots::Bundled), Alpn::Http1))
        .map_err(|error| error.to_string())
}

/// RFC 8908 section 5. What is not known or not of its type is passed over, but for the one key that must be there.
fn read(octets: &[u8]) -> Result<Word, String> {
    let body: Value = serde_json::from_slice(octets).map_err(|_| "its answer is no JSON".to_owned())?;
    let is_captive = body.get("captive").and_then(Value::as_bool);
    let page = body.get("user-portal-url").and_then(Value::as_str);
    // "MUST be accessed over TLS"; and a person will read it on a terminal.
    let is_page = |url: &&str| {
        let is_readable = url.len() <= MAX_URL && url.bytes().all(|octet| octet.is_ascii_graphic());
        is_readable && url.starts_with("https://") && host_of(url).is_some()
    };
    let seconds = body.get("seconds-remaining").and_then(Value::as_u64);
    Ok(Word {
        is_captive: is_captive.ok_or("its answer does not say whether this host is captive")?,
        page: page.filter(is_page).map(str::to_owned),
        left: seconds.map(Duration::from_secs),
    })
}

const A: u16 = 1;
const AAAA: u16 = 28;

/// For all of it: it is in the next room, and a person waits.
const PATIENCE: Duration = Duration::from_secs(6);

/// For one address: so that another has its turn.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Of each family.
const MAX_ADDRESSES: usize = 2;

/// For the second of two answers.
const GRACE: Duration = Duration::from_millis(300);

const MAX_HEADERS: usize = 64;

/// Octets of the answer's head, and of its body: that is six keys.
const MAX_LEN: usize = 16 << 10;

/// Octets of a URL that a person reads.
const MAX_URL: usize = 1024;

const SILENT: &str = "it does not answer";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::transport::testing::{Authority, NAME, Shown, serve};
    use crate::wire::query::Query;
    use crate::wire::testkit;

    #[test]
    fn t_reb_what_is_on_this_host_is_not_spoken_to() {
        for address in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.251",
            "ff02::fb",
            "255.255.255.255",
        ] {
            assert!(is_here(address.parse().unwrap()), "{address}");
        }
        for (_, own) in addresses().unwrap() {
            assert!(is_here(own));
        }
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn t_reb_an_address_in_its_url_is_looked_at_like_one_that_was_looked_up() {
        let authority = Authority::new();
        let tls = authority.target(([127, 0, 0, 1], 1).into(), Alpn::Http1).tls;
        for host in ["127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[::]", NAME] {
            let way = Way {
                listen: resolver().await,
                interface: None,
                tls: &tls,
                is_here,
            };
            let api = Api::at(&format!("https://{host}/")).unwrap();
            let why = api.ask(&way).await.unwrap_err();
            assert_eq!(why, "its host has no address that is another's", "{host}");
        }
    }

    /// Says 127.0.0.1 to who asks for an IPv4 address.
    async fn resolver() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
                let qtype = Query::parse(&buffer[..len]).unwrap().key().qtype().0;
                let answers = if qtype == A {
                    vec![testkit::record(NAME, A, 30, &[127, 0, 0, 1])]
                } else {
                    Vec::new()
                };
                let mut reply = testkit::response(NAME, qtype, 0, &answers, &[]);
                reply[..2].copy_from_slice(&buffer[..2]);
                socket.send_to(&reply, client).await.unwrap();
            }
        });
        address
    }

    /// What comes of asking a server that shows this and says that.
    async fn asked(shown: Shown, says: String) -> Result<Word, String> {
        let authority = Authority::new();
        let server = serve(authority.server(shown, &["http/1.1"]), move |_, mut stream| {
            let says = says.clone();
            async move {
                let mut request = [0; 512];
                let len = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..len]).to_ascii_lowercase();
                assert!(request.starts_with("get /cp?x http/1.1\r\n"), "{request}");
                assert!(request.contains("accept: application/captive+json\r\n") && !request.contains("user-agent"));
                let _ = stream.write_all(says.as_bytes()).await;
                // Some close without a goodbye.
                if !says.contains("HTTP/1.0") {
                    let _ = stream.shutdown().await;
                }
            }
        })
        .await;
        let tls = authority.target(server, Alpn::Http1).tls;
        let api = Api::at(&format!("https://{NAME}:{}/cp?x", server.port())).unwrap();
        let way = Way {
            listen: resolver().await,
            interface: None,
            tls: &tls,
            is_here: |_| false,
        };
        api.ask(&way).await
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/captive+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn r8908_4_it_is_asked_where_its_host_is_and_believed_by_its_certificate() {
        let body = r#"{"captive":true,"user-portal-url":"https://portal.example/"}"#;
        let word = asked(Shown::Good, ok(body)).await.unwrap();
        assert_eq!(word.page.as_deref(), Some("https://portal.example/"));
        assert_eq!(
            asked(Shown::Good, format!("HTTP/1.0 200 OK\r\n\r\n{body}")).await,
            Ok(word)
        );
        for shown in [Shown::UnknownAuthority, Shown::WrongName, Shown::Expired] {
            let why = asked(shown, ok(body)).await.unwrap_err();
            assert!(why.contains("certificate"), "{why}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_of_its_kind_is_an_error_in_words() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: https://bank.example/\r\nContent-Length: 0\r\n\r\n";
        let endless = ok(&" ".repeat(MAX_LEN + 1));
        for (says, words) in [
            (moved.to_owned(), "status 302"),
            (ok("<html>"), "no JSON"),
            (ok("{}"), "does not say"),
            (endless, "too long"),
            ("HTTP/1.1 2".to_owned(), ""),
            (String::new(), ""),
        ] {
            let why = asked(Shown::Good, says).await.unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = Authority::new().target(listener.local_addr().unwrap(), Alpn::Http1).tls;
        let api = Api::at(&format!("https://127.0.0.1:{port}/")).unwrap();
        let way = Way {
            listen: ([127, 0, 0, 1], 1).into(),
            interface: None,
            tls: &tls,
            is_here: |_| false,
        };
        assert_eq!(api.ask(&way).await.unwrap_err(), SILENT);
    }

    #[test]
    fn r8908_4_1_it_is_asked_over_tls_alone() {
        let api = |host: &str, port, target: &str| {
            Some(Api {
                host: host.into(),
                port,
                target: target.into(),
            })
        };
        for (url, expected) in [
            (
                "https://api.hotel.example/cp?x=1;2",
                api("api.hotel.example", 443, "/cp?x=1;2"),
            ),
            ("https://API.hotel.example", api("api.hotel.example", 443, "/")),
            ("https://192.168.77.1:8443/cp", api("192.168.77.1", 8443, "/cp")),
            ("https://[fd00::1]/cp", api("fd00::1", 443, "/cp")),
            ("http://login.hotel.example/", None),
            ("https://user@login.hotel.example/", None),
            ("urn:ietf:params:capport:unrestricted", None),
            ("/cp", None),
            ("", None),
        ] {
            assert_eq!(Api::at(url), expected, "{url}");
        }
    }

    #[test]
    fn r8908_5_its_answer_is_read_and_what_is_not_known_is_passed_over() {
        let word = |is_captive, page: Option<&str>, left: Option<u64>| {
            Ok(Word {
                is_captive,
                page: page.map(str::to_owned),
                left: left.map(Duration::from_secs),
            })
        };
        for (body, expected) in [
            (
                r#"{"captive":true,"user-portal-url":"https://portal.example/x","more":[1]}"#,
                word(true, Some("https://portal.example/x"), None),
            ),
            (
                r#"{"captive":false,"seconds-remaining":326,"bytes-remaining":65535}"#,
                word(false, None, Some(326)),
            ),
            (
                r#"{"captive":true,"user-portal-url":"http://portal.example/"}"#,
                word(true, None, None),
            ),
            (
                r#"{"captive":true,"user-portal-url":"https://a@portal.example/"}"#,
                word(true, None, None),
            ),
            (
                r#"{"captive":true,"user-portal-url":"https://x/\u001b[31m"}"#,
                word(true, None, None),
            ),
            (
                r#"{"captive":true,"user-portal-url":7,"seconds-remaining":-1}"#,
                word(true, None, None),
            ),
        ] {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
        for body in ["", "<html>", "[]", "{}", r#"{"captive":"yes"}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
