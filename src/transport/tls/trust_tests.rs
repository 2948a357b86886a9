//! Pins, clocks, tickets and roots, by handshakes with a server on loopback.

use std::net::SocketAddr;

use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::testing::{Authority, NAME, Shown, serve, soon};

/// A file of authorities, removed at the end.
struct RootsFile(tempfile::NamedTempFile);

impl RootsFile {
    fn of(authority: &Authority) -> Self {
        let file = Self(tempfile::NamedTempFile::new().unwrap());
        file.write(&authority.pem);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(self.0.path(), text).unwrap();
    }

    fn trust(&self, pins: &[Pin]) -> Trust {
        Trust {
            roots: Roots::File(self.0.path().to_owned()),
            pins: pins.to_vec(),
            dates: Dates::Checked,
        }
    }

    fn tls(&self, pins: &[Pin]) -> Arc<Tls> {
        Arc::new(Tls::new(self.trust(pins), Alpn::Dot).unwrap())
    }
}

/// A server that says one octet, behind its tickets, and waits for the client to close.
async fn server(authority: &Authority, shown: Shown) -> SocketAddr {
    serve(authority.server(shown, &["dot"]), |_, mut stream| async move {
        let _ = stream.write_all(b"x").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

async fn open(tls: &Arc<Tls>, address: SocketAddr, name: &str, stats: &Stats) -> Result<Session, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    handshake(stream, &name, tls, soon(), stats)
        .await
        .map_err(|error| error.detail)
}

/// A handshake, and its tickets taken in.
async fn shake(tls: &Arc<Tls>, address: SocketAddr) -> Result<(), String> {
    let mut session = open(tls, address, NAME, &Stats::default()).await?;
    session.read_u8().await.unwrap();
    Ok(())
}

/// The pin of the server that has this name.
async fn pin_of(authority: &Authority, address: SocketAddr, name: &str) -> Pin {
    let tls = RootsFile::of(authority).tls(&[]);
    let session = open(&tls, address, name, &Stats::default()).await.unwrap();
    Pin::of(&session.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

fn other_pin() -> Pin {
    "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=".parse().unwrap()
}

#[tokio::test]
async fn r8310_4_a_pinned_key_is_taken_and_no_other() {
    let authority = Authority::new();
    let address = server(&authority, Shown::Good).await;
    let roots = RootsFile::of(&authority);
    let pin = pin_of(&authority, address, NAME).await;
    let backup = "sha256/E9CZ9INDbd+2eRQozYqqbQ2yXLVKB9+xcprMF+44U1g=".parse().unwrap();
    for pins in [&[pin, other_pin()][..], &[other_pin(), pin]] {
        assert_eq!(shake(&roots.tls(pins), address).await, Ok(()));
    }
    let refused = format!("tls with {NAME}: the certificate's key is none of the pinned ones");
    assert_eq!(shake(&roots.tls(&[other_pin(), backup]), address).await, Err(refused));
}

#[tokio::test]
async fn r8310_4_a_pin_stands_for_neither_name_nor_chain() {
    let authority = Authority::new();
    let address = server(&authority, Shown::WrongName).await;
    let pins = [pin_of(&authority, address, "dns.example.net").await, other_pin()];
    assert_eq!(
        shake(&RootsFile::of(&authority).tls(&pins), address).await,
        Err(format!("tls with {NAME}: the certificate is for another name"))
    );
    let address = server(&authority, Shown::Good).await;
    let pins = [pin_of(&authority, address, NAME).await, other_pin()];
    assert_eq!(
        shake(&RootsFile::of(&Authority::new()).tls(&pins), address).await,
        Err(format!(
            "tls with {NAME}: the certificate was issued by an authority not among the roots"
        ))
    );
}

/// A clock that stands still.
#[derive(Debug)]
struct Stopped(Duration);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0))
    }
}

/// Shakes hands in a year; `None` for no complaint.
async fn complaint_in(year: u64, shown: Shown) -> Option<String> {
    let authority = Authority::new();
    let address = server(&authority, shown).await;
    let clock = Stopped(Duration::from_secs((year - 1970) * 31_556_952));
    let trust = RootsFile::of(&authority);
    let tls = Tls::with_clock(trust.trust(&[]), Alpn::Dot, Arc::new(clock)).unwrap();
    shake(&Arc::new(tls), address).await.err()
}

#[tokio::test]
async fn t_time_certificates_are_judged_by_the_clock_handed_in() {
    let expired = format!("tls with {NAME}: the certificate has expired, or this host's clock is wrong");
    let early = format!("tls with {NAME}: the certificate is not valid yet, or this host's clock is wrong");
    assert_eq!(complaint_in(2000, Shown::Expired).await, None);
    assert_eq!(complaint_in(2003, Shown::Expired).await, Some(expired));
    assert_eq!(complaint_in(3998, Shown::NotYetValid).await, Some(early));
    assert_eq!(complaint_in(4002, Shown::NotYetValid).await, None);
}

/// Shakes hands without a look at dates.
async fn undated(shown: Shown, trusted: Option<&Authority>) -> Option<String> {
    let authority = Authority::new();
    let address = server(&authority, shown).await;
    let roots = RootsFile::of(trusted.unwrap_or(&authority));
    let trust = Trust {
        dates: Dates::Ignored,
        ..roots.trust(&[])
    };
    let tls = Tls::new(trust, Alpn::Dot).unwrap();
    shake(&Arc::new(tls), address).await.err()
}

#[tokio::test]
async fn t_time_without_dates_everything_else_is_checked_as_ever() {
    for shown in [Shown::Good, Shown::Expired, Shown::NotYetValid] {
        assert_eq!(undated(shown, None).await, None);
    }
    let refused = |why: &str| Some(format!("tls with {NAME}: {why}"));
    let name = undated(Shown::WrongName, None).await;
    assert_eq!(name, refused("the certificate is for another name"));
    let stranger = Authority::new();
    for shown in [Shown::Good, Shown::Expired] {
        let issuer = undated(shown, Some(&stranger)).await;
        assert_eq!(
            issuer,
            refused("the certificate was issued by an authority not among the roots")
        );
    }
    let purpose = undated(Shown::ForClients, None).await;
    assert_eq!(purpose, refused("the certificate is not meant for a server"));
}

#[tokio::test]
async fn t_time_a_refusal_for_dates_is_told_from_others() {
    let authority = Authority::new();
    let tls = RootsFile::of(&authority).tls(&[]);
    let stats = Stats::default();
    for (shown, expected) in [
        (Shown::Expired, 1),
        (Shown::WrongName, 0),
        (Shown::NotYetValid, 1),
        (Shown::Good, 0),
    ] {
        let address = server(&authority, shown).await;
        let _ = open(&tls, address, NAME, &stats).await;
        assert_eq!(stats.refused_for_dates.value(), expected);
    }
}

#[tokio::test]
async fn r9325_2_a_forgotten_ticket_is_not_shown() {
    let authority = Authority::new();
    let address = server(&authority, Shown::Good).await;
    let tls = RootsFile::of(&authority).tls(&[]);
    let stats = Stats::default();
    let handshakes = || (stats.handshakes_full.value(), stats.handshakes_resumed.value());
    let mut first = open(&tls, address, NAME, &stats).await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = open(&tls, address, NAME, &stats).await.unwrap();
    assert_eq!(handshakes(), (1, 1));
    tls.forget_tickets();
    // Tickets that an old connection brings only now must not come back either.
    second.read_u8().await.unwrap();
    let mut third = open(&tls, address, NAME, &stats).await.unwrap();
    assert_eq!(handshakes(), (2, 1));
    third.read_u8().await.unwrap();
    open(&tls, address, NAME, &stats).await.unwrap();
    assert_eq!(handshakes(), (2, 2));
    assert!(!tls.config().enable_early_data);
}

#[tokio::test]
async fn a_replaced_file_of_authorities_is_read_after_a_refusal() {
    let (old, new) = (Authority::new(), Authority::new());
    let address = server(&new, Shown::Good).await;
    let roots = RootsFile::of(&old);
    let tls = roots.tls(&[]);
    let unknown = Err(format!(
        "tls with {NAME}: the certificate was issued by an authority not among the roots"
    ));
    let before = tls.config();
    assert_eq!(shake(&tls, address).await, unknown);
    assert!(Arc::ptr_eq(&before, &tls.config()), "the file is the same");
    roots.write(&new.pem);
    assert!(Arc::ptr_eq(&before, &tls.config()), "nobody looks without a reason");
    assert_eq!(shake(&tls, address).await, unknown);
    assert_eq!(shake(&tls, address).await, Ok(()));
}

#[tokio::test]
async fn a_broken_file_of_authorities_changes_nothing() {
    let (ours, stranger) = (Authority::new(), Authority::new());
    let good = server(&ours, Shown::Good).await;
    let bad = server(&stranger, Shown::Good).await;
    let roots = RootsFile::of(&ours);
    let tls = roots.tls(&[]);
    let too_large = "#".repeat((1 << 20) + 1);
    for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n", too_large.as_str()] {
        roots.write(text);
        assert!(shake(&tls, bad).await.is_err());
        tls.forget_tickets();
        assert_eq!(shake(&tls, good).await, Ok(()), "{} octets", text.len());
    }
    // Whole again, and it is as if nothing had been.
    roots.write(&stranger.pem);
    assert!(shake(&tls, bad).await.is_err());
    assert_eq!(shake(&tls, bad).await, Ok(()));
}
