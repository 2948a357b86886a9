//! A company's resolver at the other end of a tunnel, asked over TLS.

use std::net::SocketAddr;

use super::*;
use crate::os::testing::{in_own_network, ip};
use crate::transport::testing::office::{Office, SERVER, carries, lan, one_more, packets};
use crate::transport::{Exit, Target};

/// A name to which the server says nothing.
const SILENT: &str = "silent.corp.example";

const NAME: &str = "www.corp.example";

/// An office whose server shows a certificate of this authority.
fn office(authority: &Authority) -> Office {
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(Shown::Good, &["dot"]));
    Office::open(async move |ready| {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from((SERVER, 853)))
            .await
            .unwrap();
        ready.send(()).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut frames = Frames(stream);
                while let Some(query) = frames.query().await {
                    if !query.windows(6).any(|octets| octets == b"silent") {
                        frames.send(&answer(&query)).await;
                    }
                }
            });
        }
    })
}

fn bound(authority: &Authority, interface: &str) -> Rig {
    let exit = Exit {
        interface: Some(interface.parse().unwrap()),
        via: None,
    };
    rig_by(authority, exit)
}

fn rig_by(authority: &Authority, exit: Exit) -> Rig {
    let target = Target {
        exit,
        ..authority.target((SERVER, 853).into(), Alpn::Dot)
    };
    let stats = Arc::new(Stats::default());
    let dot = Arc::new(Dot::new(target, Arc::clone(&stats)));
    Rig { dot, stats }
}

impl Rig {
    /// Asks, and the answer does not come; the question is on its way when this ends.
    async fn begin(&self) -> tokio::task::JoinHandle<Result<Response, ExchangeError>> {
        let (dot, before) = (Arc::clone(&self.dot), packets("tun0"));
        let asked = tokio::spawn(async move { dot.exchange(&query(SILENT), soon()).await });
        one_more("tun0", before).await;
        asked
    }

    async fn fails(&self, asked: impl Future<Output = Result<Response, ExchangeError>>, words: &str) {
        let error = tokio::time::timeout(Duration::from_millis(300), asked).await;
        let error = error.unwrap().unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (Network, words));
    }

    fn handshakes(&self) -> (u64, u64) {
        (
            self.stats.handshakes_full.value(),
            self.stats.handshakes_resumed.value(),
        )
    }
}

#[tokio::test]
async fn p1_an_interface_that_is_not_there_is_known_before_anything_is_dialled() {
    let rig = bound(&Authority::new(), "tacenda-none");
    assert!(rig.dot.is_in_doubt());
    for _ in 0..5 {
        rig.fails(rig.ask(NAME, soon()), "the interface tacenda-none is not there")
            .await;
    }
    rig.dot.warm_up();
    tokio::task::yield_now().await;
    assert_eq!((rig.stats.queries.value(), rig.handshakes()), (0, (0, 0)));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_bound_connection_leaves_by_its_interface_or_not_at_all() {
    in_own_network(async || {
        lan();
        let authority = Authority::new();
        let server = office(&authority);
        let rig = bound(&authority, "tun0");
        rig.ask_well(NAME).await;
        assert!(packets("tun0") >= 6 && !rig.dot.is_in_doubt());

        let waiting = rig.begin().await;
        ip("link set tun0 down");
        // Before word of it comes.
        rig.fails(rig.ask(NAME, soon()), "the interface tun0 is down").await;
        rig.dot.network_changed();
        rig.fails(async { waiting.await.unwrap() }, "the interface tun0 is down")
            .await;
        ip("link set tun0 up");
        carries("tun0");
        rig.dot.network_changed();
        rig.ask_well(NAME).await;
        assert_eq!(rig.handshakes(), (2, 0), "dialled anew, and not as the one before");

        let waiting = rig.begin().await;
        ip("link del tun0");
        rig.dot.network_changed();
        let gone = "the interface tun0 is not there";
        rig.fails(async { waiting.await.unwrap() }, gone).await;
        rig.fails(rig.ask(NAME, soon()), gone).await;
        server.close();
        assert_eq!(packets("lan0"), 0, "something left by the LAN");

        // Another one of its name: what was open over the first is not used there.
        let server = office(&authority);
        rig.dot.network_changed();
        rig.ask_well(NAME).await;
        assert_eq!(rig.handshakes(), (3, 0));
        assert_eq!(packets("lan0"), 0);

        // The figures are no empty ones: a connection that is not bound goes there.
        let unbound = Dot::new(authority.target((SERVER, 853).into(), Alpn::Dot), Arc::default());
        unbound.exchange(&query(NAME), in_ms(100)).await.unwrap_err();
        assert!(packets("lan0") > 0);
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_an_interface_that_was_made_anew_between_two_looks_is_another_one() {
    in_own_network(async || {
        lan();
        let authority = Authority::new();
        let server = office(&authority);
        let rig = bound(&authority, "tun0");
        rig.ask_well(NAME).await;
        ip("link del tun0");
        server.close();
        let server = office(&authority);
        // Both changes are one to whoever comes late.
        rig.dot.network_changed();
        let begin = Instant::now();
        rig.ask_well(NAME).await;
        assert!(
            begin.elapsed() < Duration::from_millis(500),
            "the old one was asked first"
        );
        assert_eq!((rig.handshakes(), packets("lan0")), ((2, 0), 0));
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_connection_goes_through_its_router_and_says_nothing_to_another() {
    in_own_network(async || {
        lan();
        let authority = Authority::new();
        let server = office(&authority);
        let via = Some("10.8.0.1".parse().unwrap());
        let rig = rig_by(&authority, Exit { interface: None, via });
        let elsewhere = "the way to 198.51.100.53 does not lead through 10.8.0.1";
        rig.fails(rig.ask(NAME, soon()), elsewhere).await;
        ip("route replace default via 10.8.0.1");
        rig.dot.network_changed();
        rig.ask_well(NAME).await;
        assert_eq!(rig.handshakes(), (1, 0));

        // Nobody acknowledges this one, so that the kernel would repeat it, and say goodbye, by the new way.
        ip("neigh replace 10.8.0.1 lladdr 02:00:00:00:00:02 dev tun0 nud permanent");
        let waiting = rig.begin().await;
        ip("route replace default via 192.0.2.1");
        rig.fails(rig.ask(NAME, soon()), elsewhere).await;
        rig.dot.network_changed();
        rig.fails(async { waiting.await.unwrap() }, elsewhere).await;
        // The kernel's time, which cannot be paused: it repeats after 0.2 and 0.6 s.
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(packets("lan0"), 0, "something went to another router");

        ip("neigh del 10.8.0.1 dev tun0");
        ip("route replace default via 10.8.0.1");
        rig.dot.network_changed();
        rig.ask_well(NAME).await;
        assert_eq!((rig.handshakes(), packets("lan0")), ((2, 0), 0));
        server.close();
    });
}
