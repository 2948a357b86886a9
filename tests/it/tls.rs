//! TLS that must fail, and does: SERVFAIL with EDE 23 in time, and no octet of DNS in clear.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::{A, Ask, SERVFAIL, tick};
use crate::daemon::{CA, Config};
use crate::script::normal;
use crate::upstream::{Identity, SERVER_NAME, Upstream};

const ONLY_TLS_1_2: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A CA of one test, and the file that tacenda trusts.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "one test's CA");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    pub(crate) fn roots(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// A server certificate, right but for what `spoil` does to it.
    pub(crate) fn identity(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        spoil(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            ..Identity::default()
        }
    }
}

/// Asks over both transports; says which of them answered.
fn check(identity: impl Fn() -> Identity, roots: &str, works: bool) {
    let upstream = Upstream::with_identity(identity(), normal);
    for config in [
        Config::new().upstream(&format!("tls://{SERVER_NAME}:{}", upstream.dot.port()), roots),
        Config::new().upstream(
            &format!("https://{SERVER_NAME}:{}/dns-query", upstream.doh.port()),
            roots,
        ),
    ] {
        let daemon = config.start();
        let begin = Instant::now();
        let response = Ask::new("www.example", A).edns().udp(daemon.dns);
        assert!(
            begin.elapsed() < Duration::from_millis(5500),
            "answered after {:?}",
            begin.elapsed()
        );
        let expected = if works { (0, None) } else { (SERVFAIL, Some(23)) };
        assert_eq!((response.rcode(), response.ede()), expected, "{}", daemon.stderr());
    }
    assert_eq!(upstream.heard().len(), if works { 2 } else { 0 });
}

fn check_spoiled(spoil: fn(&mut CertificateParams), works: bool) {
    let authority = Authority::new();
    check(|| authority.identity(spoil), &authority.roots(), works);
}

#[test]
fn r8310_1_a_good_certificate_works() {
    check_spoiled(|_| {}, true);
}

#[test]
fn r8310_1_an_expired_certificate_is_refused() {
    check_spoiled(|params| params.not_after = date_time_ymd(2021, 1, 1), false);
}

#[test]
fn r8310_1_a_certificate_of_the_future_is_refused() {
    check_spoiled(|params| params.not_before = date_time_ymd(2119, 1, 1), false);
}

#[test]
fn r8310_3_another_name_is_refused() {
    check_spoiled(|params| params.subject_alt_names = other_names(), false);
}

fn other_names() -> Vec<rcgen::SanType> {
    CertificateParams::new(vec!["other.tacenda.test".to_owned()])
        .unwrap()
        .subject_alt_names
}

#[test]
fn r9525_1_a_common_name_is_no_name() {
    check_spoiled(
        |params| {
            params.subject_alt_names = other_names();
            params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
        },
        false,
    );
}

#[test]
fn r9525_1_a_wildcard_stands_for_the_left_most_label() {
    let wildcard = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap().subject_alt_names;
    let authority = Authority::new();
    for (name, works) in [
        ("*.tacenda.test", true),
        ("*.test", false),
        ("dns.*.test", false),
        ("d*.tacenda.test", false),
    ] {
        check(
            || authority.identity(|params| params.subject_alt_names = wildcard(name)),
            &authority.roots(),
            works,
        );
    }
}

#[test]
fn r9525_2_a_certificate_for_clients_is_refused() {
    check_spoiled(
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        false,
    );
}

#[test]
fn r8310_1_an_unknown_ca_is_refused() {
    let authority = Authority::new();
    check(|| authority.identity(|_| {}), CA, false);
}

#[test]
fn r8310_1_bundled_roots_do_not_know_the_test_ca() {
    check(Identity::default, "bundled", false);
}

#[test]
fn r9525_2_a_leaf_is_no_ca() {
    let authority = Authority::new();
    let mut leaf = CertificateParams::new(vec!["leaf.tacenda.test".to_owned()]).unwrap();
    leaf.is_ca = IsCa::ExplicitNoCa;
    let leaf_key = KeyPair::generate().unwrap();
    let leaf_certificate = leaf.signed_by(&leaf_key, &authority.issuer).unwrap();
    let forger = Authority {
        issuer: Issuer::new(leaf, leaf_key),
        folder: tempfile::tempdir().unwrap(),
    };
    let forged = || {
        let mut identity = forger.identity(|_| {});
        identity.chain.push(leaf_certificate.der().clone());
        identity
    };
    check(forged, &authority.roots(), false);
}

/// How the configuration writes this key's pin.
fn pin(key: &impl rcgen::PublicKeyData) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
    format!("sha256/{}", data_encoding::BASE64.encode(hash.as_ref()))
}

#[test]
fn r8310_4_only_a_pinned_key_is_asked() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let mut identity = authority.identity(|_| {});
    let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    // What the server sends along proves nothing: the second pin is of a certificate that anyone may append.
    let appended_key = KeyPair::generate().unwrap();
    let appended = CertificateParams::new(vec![])
        .unwrap()
        .self_signed(&appended_key)
        .unwrap();
    identity.chain = vec![certificate.der().clone(), appended.der().clone()];
    identity.key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let upstream = Upstream::with_identity(identity, normal);
    let url = format!("tls://{SERVER_NAME}:{}", upstream.dot.port());
    let (own, sent_along, backup) = (pin(&key), pin(&appended_key), pin(&KeyPair::generate().unwrap()));
    for (pins, expected) in [
        ([own, backup.clone()], (0, None)),
        ([sent_along, backup], (SERVFAIL, Some(23))),
    ] {
        let daemon = Config::new()
            .upstream(&url, &authority.roots())
            .key(&format!("pins = {pins:?}"))
            .start();
        let response = Ask::new("www.example", A).edns().udp(daemon.dns);
        assert_eq!((response.rcode(), response.ede()), expected, "{}", daemon.stderr());
    }
    assert_eq!(upstream.heard().len(), 1);
}

#[test]
fn a_replaced_ca_file_is_believed_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let upstream = Upstream::with_identity(new.identity(|_| {}), normal);
    let url = format!("tls://{SERVER_NAME}:{}", upstream.dot.port());
    let daemon = Config::new().upstream(&url, &old.roots()).start();
    let ask = |name: &str| Ask::new(name, A).edns().udp(daemon.dns);
    let before = ask("before.example");
    assert_eq!((before.rcode(), before.ede()), (SERVFAIL, Some(23)));
    std::fs::copy(new.roots(), old.roots()).unwrap();
    // The first dial after it finds out, the next one goes by it; between the two the daemon pauses for under a second.
    let begin = Instant::now();
    for number in 0.. {
        if ask(&format!("after{number}.example")).rcode() == 0 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", daemon.stderr());
        tick();
    }
    assert_eq!(upstream.heard().len(), 1);
}

#[test]
fn r9325_1_tls_1_2_works() {
    check(
        || Identity {
            versions: ONLY_TLS_1_2,
            ..Identity::default()
        },
        CA,
        true,
    );
}

#[test]
fn r8484_9_no_h2_no_doh() {
    let identity = Identity {
        doh_protocol: b"http/1.1",
        ..Identity::default()
    };
    let upstream = Upstream::with_identity(identity, normal);
    let daemon = Config::new().doh(&upstream).start();
    let response = Ask::new("www.example", A).edns().udp(daemon.dns);
    assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(23)));
    assert_eq!(upstream.heard().len(), 0);
}

#[test]
fn r7858_1_no_octet_of_dns_before_the_handshake() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let urls = [
        format!("tls://{SERVER_NAME}:{port}"),
        format!("https://{SERVER_NAME}:{port}/dns-query"),
    ];
    for url in urls {
        let daemon = Config::new().upstream(&url, CA).start();
        let asking = std::thread::spawn(move || {
            let response = Ask::new("secretname.example", A).edns().udp(daemon.dns);
            (response.rcode(), response.ede())
        });
        // Takes what comes and says nothing, as a plain DNS server would that waits for a whole message.
        let (mut stream, _) = server.accept().unwrap();
        let mut seen = vec![0; 16 << 10];
        let len = stream.read(&mut seen).unwrap();
        assert_eq!(seen[0], 22, "a TLS handshake record");
        assert!(
            !seen[..len]
                .windows(10)
                .any(|window| window.eq_ignore_ascii_case(b"secretname"))
        );
        drop(stream);
        // Further tries find nobody.
        server.set_nonblocking(true).unwrap();
        while let Ok((stream, _)) = server.accept() {
            drop(stream);
        }
        let (rcode, ede) = asking.join().unwrap();
        assert!(
            rcode == SERVFAIL && matches!(ede, Some(22 | 23)),
            "RCODE {rcode}, EDE {ede:?}"
        );
        server.set_nonblocking(false).unwrap();
    }
}
