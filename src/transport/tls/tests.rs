use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::doh::{Doh, Template, Verb};
use crate::transport::dot::Dot;
use crate::transport::testing::{
    Authority, Frames, NAME, Shown, answer, answer_with_keepalive, in_ms, query, serve, serve_tcp, soon, tapped,
};
use crate::transport::{Addresses, Exchange, ExchangeErrorKind, Target};

/// Octets of application data that a server saw.
type Heard = Arc<Mutex<Vec<u8>>>;

fn doh(target: Target) -> Doh {
    Doh::new(
        target,
        Template::new(NAME, "/dns-query", Verb::Post).unwrap(),
        Arc::default(),
    )
}

fn dot(target: Target) -> Dot {
    Dot::new(target, Arc::default())
}

/// Asks over both transports a server that shows a bad certificate: both must fail with these words, and the server
/// must see no octet of application data.
async fn check_refused(shown: Shown, words: &str) {
    let authority = Authority::new();
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let server = serve(authority.server(shown, &["h2", "dot"]), move |_, mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut octets = Vec::new();
            let _ = stream.read_to_end(&mut octets).await;
            kept.lock().unwrap().extend_from_slice(&octets);
        }
    })
    .await;
    let (address, on_the_wire) = tapped(server).await;
    let expected = format!("tls with {NAME}: {words}");
    for transport in both(&authority, address) {
        let error = transport
            .exchange(&query("secretname.example"), soon())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.detail),
            (ExchangeErrorKind::Network, expected.clone()),
            "{shown:?}"
        );
    }
    assert_eq!(heard.lock().unwrap().len(), 0, "{shown:?}");
    let on_the_wire = on_the_wire.lock().unwrap().concat();
    assert!(on_the_wire.len() > 100 && on_the_wire[0] == 22);
    assert!(
        !on_the_wire.windows(10).any(|window| window == b"secretname"),
        "{shown:?}"
    );
}

fn both(authority: &Authority, address: SocketAddr) -> [Box<dyn Exchange>; 2] {
    [
        Box::new(dot(authority.target(address, Alpn::Dot))),
        Box::new(doh(authority.target(address, Alpn::H2))),
    ]
}

#[tokio::test]
async fn r8310_1_an_expired_certificate_is_refused() {
    check_refused(
        Shown::Expired,
        "the certificate has expired, or this host's clock is wrong",
    )
    .await;
}

#[tokio::test]
async fn r8310_1_a_certificate_of_the_future_is_refused() {
    check_refused(
        Shown::NotYetValid,
        "the certificate is not valid yet, or this host's clock is wrong",
    )
    .await;
}

#[tokio::test]
async fn r8310_3_another_name_is_refused() {
    check_refused(Shown::WrongName, "the certificate is for another name").await;
}

#[tokio::test]
async fn r9525_1_a_common_name_is_no_name() {
    check_refused(Shown::CommonNameOnly, "the certificate is for another name").await;
}

#[tokio::test]
async fn r9525_1_a_wildcard_stands_for_one_whole_label() {
    check_refused(Shown::WildcardTooDeep, "the certificate is for another name").await;
}

#[tokio::test]
async fn r9525_2_a_client_certificate_is_no_server_certificate() {
    check_refused(Shown::ForClients, "the certificate is not meant for a server").await;
}

#[tokio::test]
async fn r8310_1_a_self_signed_certificate_is_refused() {
    check_refused(
        Shown::SelfSigned,
        "the certificate was issued by an authority not among the roots",
    )
    .await;
}

#[tokio::test]
async fn r8310_1_an_unknown_authority_is_refused() {
    check_refused(
        Shown::UnknownAuthority,
        "the certificate was issued by an authority not among the roots",
    )
    .await;
}

#[tokio::test]
async fn r8310_3_an_address_is_checked_against_the_certificates_addresses() {
    let authority = Authority::new();
    let config = authority.server(Shown::ForAddress, &["dot"]);
    let address = serve(config, |_, stream| async move { Frames(stream).answer_all().await }).await;
    let mut target = authority.target(address, Alpn::Dot);
    target.server_name = ServerName::try_from("127.0.0.1").unwrap();
    assert!(dot(target.clone()).exchange(&query("a.example"), soon()).await.is_ok());
    target.server_name = ServerName::try_from("127.0.0.2").unwrap();
    let error = dot(target).exchange(&query("a.example"), soon()).await.unwrap_err();
    assert_eq!(error.detail, "tls with 127.0.0.2: the certificate is for another name");
}

#[tokio::test]
async fn r8310_1_a_server_without_tls_gets_no_query() {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let address = serve_tcp(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            // A classic DNS server over TCP, or a captive portal: either talks at once.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let mut octets = Vec::new();
            let _ = stream.read_to_end(&mut octets).await;
            kept.lock().unwrap().extend_from_slice(&octets);
        }
    })
    .await;
    for transport in both(&Authority::new(), address) {
        let error = transport
            .exchange(&query("secretname.example"), soon())
            .await
            .unwrap_err();
        assert_eq!(error.detail, format!("tls with {NAME}: the peer does not speak tls"));
    }
    assert!(!heard.lock().unwrap().windows(10).any(|window| window == b"secretname"));
}

#[tokio::test]
async fn r8484_9_a_server_that_does_not_choose_h2_is_refused() {
    let authority = Authority::new();
    for (alpn, words) in [
        (&[][..], "the server does not offer http/2".to_owned()),
        (
            &["http/1.1"][..],
            format!("tls with {NAME}: the peer does not speak the protocol asked for"),
        ),
    ] {
        let heard = Heard::default();
        let kept = Arc::clone(&heard);
        let address = serve(authority.server(Shown::Good, alpn), move |_, mut stream| {
            let kept = Arc::clone(&kept);
            async move {
                let mut octets = Vec::new();
                let _ = stream.read_to_end(&mut octets).await;
                kept.lock().unwrap().extend_from_slice(&octets);
            }
        })
        .await;
        let error = doh(authority.target(address, Alpn::H2))
            .exchange(&query("a.example"), soon())
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.detail), (ExchangeErrorKind::Network, words));
        assert_eq!(heard.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_dot_server_that_knows_no_alpn_is_taken() {
    let authority = Authority::new();
    let config = authority.server(Shown::Good, &[]);
    let address = serve(config, |_, stream| async move { Frames(stream).answer_all().await }).await;
    let response = dot(authority.target(address, Alpn::Dot))
        .exchange(&query("a.example"), soon())
        .await
        .unwrap();
    assert_eq!(response.octets, answer(&query("a.example")));
}

#[tokio::test]
async fn a_server_that_closes_after_the_handshake_is_a_network_error() {
    let authority = Authority::new();
    let address = serve(authority.server(Shown::Good, &["h2", "dot"]), |_, stream| async move {
        drop(stream);
    })
    .await;
    for transport in both(&authority, address) {
        let error = transport.exchange(&query("a.example"), soon()).await.unwrap_err();
        assert_eq!(error.kind, ExchangeErrorKind::Network, "{error}");
    }
}

#[tokio::test]
async fn t_silent_a_stalled_handshake_ends_at_the_askers_deadline() {
    let address = serve_tcp(|stream| async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(stream);
    })
    .await;
    for transport in both(&Authority::new(), address) {
        let start = Instant::now();
        let error = transport.exchange(&query("a.example"), in_ms(150)).await.unwrap_err();
        assert_eq!(
            (error.kind, error.detail.as_str()),
            (ExchangeErrorKind::Network, "not connected in time")
        );
        assert!(start.elapsed() < Duration::from_millis(400));
    }
}

#[tokio::test]
async fn r8305_1_an_address_that_fails_at_tls_goes_last_and_the_one_that_worked_first() {
    let authority = Authority::new();
    let bad = serve(authority.server(Shown::WrongName, &["dot"]), |_, _| async {}).await;
    // Closes after each answer, so that every query needs a connection.
    let good = serve(authority.server(Shown::Good, &["dot"]), |_, stream| async move {
        let mut frames = Frames(stream);
        let query = frames.query().await.unwrap();
        frames.send(&answer_with_keepalive(&query, 0)).await;
        frames.query().await;
    })
    .await;
    let mut target = authority.target(bad, Alpn::Dot);
    target.addresses = Arc::new(Addresses::new(vec![bad, good]));
    let stats = Arc::new(Stats::default());
    let dot = Dot::new(target, Arc::clone(&stats));
    assert!(dot.exchange(&query("a.example"), soon()).await.is_err());
    for name in ["b.example", "c.example", "d.example"] {
        assert!(dot.exchange(&query(name), soon()).await.is_ok());
    }
    assert_eq!((stats.dial_failures.value(), stats.reconnects.value()), (1, 2));
}

#[test]
fn r9325_1_only_tls_1_3_and_1_2_without_early_data() {
    let config = Tls::new(Trust::default(), Alpn::Dot).unwrap().config();
    assert!(!config.enable_early_data);
    assert_eq!(config.alpn_protocols, [b"dot"]);
    let versions: Vec<_> = config
        .crypto_provider()
        .cipher_suites
        .iter()
        .map(|suite| suite.version().version)
        .collect();
    assert!(versions.iter().all(|version| {
        matches!(
            version,
            rustls::ProtocolVersion::TLSv1_3 | rustls::ProtocolVersion::TLSv1_2
        )
    }));
}

#[test]
fn roots_that_are_not_there_say_so() {
    let check = |content: Option<&[u8]>, expected: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content.unwrap_or_default()).unwrap();
        let path = file.path().to_owned();
        if content.is_none() {
            file.close().unwrap();
        }
        let trust = Trust {
            dates: Dates::Checked,
            roots: Roots::File(path.clone()),
            pins: Vec::new(),
        };
        let error = Tls::new(trust, Alpn::H2).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("read roots from {}: {expected}", path.display())
        );
    };
    check(Some(b""), "it holds no certificate");
    check(Some(b"just text\n"), "it holds no certificate");
    check(
        Some(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "it holds no certificate",
    );
    check(
        Some(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        "not a PEM file",
    );
    check(Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "not a PEM file");
    check(
        Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "the certificate cannot be used: badencoding",
    );
    check(None, "no such file or directory");
}

#[test]
fn each_upstream_has_tickets_of_its_own() {
    let one = Tls::new(Trust::default(), Alpn::Dot).unwrap().config();
    let other = Tls::new(Trust::default(), Alpn::Dot).unwrap().config();
    assert!(!Arc::ptr_eq(&one, &other));
    assert_ne!(format!("{:p}", &one.resumption), format!("{:p}", &other.resumption));
}
