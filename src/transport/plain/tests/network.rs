//! A host with a tunnel and a LAN, and the server at the tunnel's other end.

use super::*;
use crate::os::testing::{in_own_network, ip};
use crate::transport::testing::office::{Office, Ready, SERVER, carries, lan, one_more, packets, so_many};

/// A name to which the server says nothing.
const SILENT: &str = "silent.corp.example";

async fn serve(ready: Ready) {
    let udp = UdpSocket::bind(SocketAddr::from((SERVER, 53))).await.unwrap();
    let tcp = TcpListener::bind(SocketAddr::from((SERVER, 53))).await.unwrap();
    ready.send(()).unwrap();
    let mut kept = Vec::new();
    let mut buffer = [0; 512];
    loop {
        tokio::select! {
            Ok((len, client)) = udp.recv_from(&mut buffer) => {
                let holds = |label: &[u8]| buffer[..len].windows(label.len()).any(|octets| octets == label);
                if holds(b"late") {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                if !holds(b"silent") {
                    udp.send_to(&answer(&buffer[..len]), client).await.unwrap();
                }
            }
            Ok((stream, _)) = tcp.accept() => {
                let mut client = Client(stream);
                let sent = client.query().await.unwrap();
                if sent.windows(6).any(|octets| octets == b"silent") {
                    kept.push(client);
                } else {
                    client.send(&answer(&sent)).await;
                }
            }
        }
    }
}

fn office(protocol: Protocol, interface: Option<&str>) -> Arc<Plain> {
    plain_to(protocol, (SERVER, 53).into(), interface).0
}

/// Fails at once with these words.
async fn fails(asked: impl Future<Output = Result<Response, ExchangeError>>, words: &str) {
    let error = timeout(Duration::from_millis(300), asked).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.detail.as_str()), (Network, words));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_bound_question_leaves_by_its_interface_or_not_at_all() {
    in_own_network(async || {
        lan();
        let server = Office::open(serve);
        let (udp, tcp) = (office(Protocol::Udp, Some("tun0")), office(Protocol::Tcp, Some("tun0")));
        let before = packets("tun0");
        for plain in [&udp, &tcp] {
            assert!(plain.exchange(&query(NAME), soon()).await.is_ok());
            assert!(!plain.is_in_doubt());
        }
        assert!(packets("tun0") >= before + 2);

        let waiting = ask(&udp, query(SILENT), soon());
        one_more("tun0", packets("tun0")).await;
        ip("link set tun0 down");
        udp.network_changed();
        fails(async { waiting.await.unwrap() }, "the interface tun0 is down").await;
        for plain in [&udp, &tcp] {
            fails(plain.exchange(&query(NAME), soon()), "the interface tun0 is down").await;
        }
        ip("link set tun0 up");
        carries("tun0");
        assert!(udp.exchange(&query(NAME), soon()).await.is_ok(), "it came back");

        let waiting = ask(&udp, query(SILENT), soon());
        one_more("tun0", packets("tun0")).await;
        ip("link del tun0");
        udp.network_changed();
        fails(async { waiting.await.unwrap() }, "the interface tun0 is not there").await;
        for plain in [&udp, &tcp] {
            fails(plain.exchange(&query(NAME), soon()), "the interface tun0 is not there").await;
            assert!(plain.is_in_doubt());
        }
        assert_eq!(packets("lan0"), 0, "a question left by the LAN");

        // The figures are no empty ones: a question that is not bound goes there.
        let unbound = office(Protocol::Udp, None).exchange(&query(NAME), in_ms(100)).await;
        assert_eq!(kind(unbound), Some(Silent));
        assert_eq!(packets("lan0"), 1);
        server.close();
    });
}

fn through(protocol: Protocol, interface: Option<&str>) -> Arc<Plain> {
    let exit = Exit {
        interface: interface.map(|name| name.parse().unwrap()),
        via: Some("10.8.0.1".parse().unwrap()),
    };
    plain_by(protocol, (SERVER, 53).into(), exit).0
}

const ELSEWHERE: &str = "the way to 198.51.100.53 does not lead through 10.8.0.1";

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_question_leaves_through_its_router_or_not_at_all() {
    in_own_network(async || {
        lan();
        let server = Office::open(serve);
        ip("route replace default via 10.8.0.1");
        let both = [through(Protocol::Udp, None), through(Protocol::Tcp, None)];
        for plain in &both {
            assert!(plain.exchange(&query(NAME), soon()).await.is_ok());
        }
        let mut waiting = Vec::new();
        // A datagram; a SYN, an acknowledgement and the question.
        for (plain, count) in both.iter().zip([1, 3]) {
            let before = packets("tun0");
            waiting.push(ask(plain, query(SILENT), soon()));
            so_many("tun0", before + count).await;
        }
        ip("route replace default via 192.0.2.1");
        both.iter().for_each(|plain| plain.network_changed());
        for asked in waiting {
            fails(async { asked.await.unwrap() }, ELSEWHERE).await;
        }
        for plain in &both {
            assert!(plain.is_in_doubt());
            fails(plain.exchange(&query(NAME), soon()), ELSEWHERE).await;
        }
        ip("route replace default via 10.8.0.1");
        for plain in &both {
            assert!(plain.exchange(&query(NAME), soon()).await.is_ok(), "it came back");
        }
        // What a DHCP server may send along, and a network that claims the server's address.
        for route in ["198.51.100.53/32 via 192.0.2.1", "198.51.100.0/24 dev lan0"] {
            ip(&format!("route add {route}"));
            for plain in &both {
                fails(plain.exchange(&query(NAME), soon()), ELSEWHERE).await;
            }
            ip(&format!("route del {route}"));
        }
        ip("link del tun0");
        for plain in &both {
            fails(plain.exchange(&query(NAME), soon()), ELSEWHERE).await;
        }
        assert_eq!(packets("lan0"), 0, "something went to another router");
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_router_counts_only_on_the_interface_that_is_wanted_with_it() {
    in_own_network(async || {
        lan();
        let server = Office::open(serve);
        let bound = [Protocol::Udp, Protocol::Tcp].map(|protocol| through(protocol, Some("tun0")));
        for plain in &bound {
            // The default route is the LAN's: by tun0 the server would be taken for a neighbour.
            fails(plain.exchange(&query(NAME), soon()), ELSEWHERE).await;
        }
        ip("route add default via 10.8.0.1 metric 100");
        for plain in &bound {
            assert!(
                plain.exchange(&query(NAME), soon()).await.is_ok(),
                "the best by this interface"
            );
        }
        let other = through(Protocol::Udp, Some("lan0"));
        fails(other.exchange(&query(NAME), soon()), ELSEWHERE).await;
        ip("link set tun0 down");
        for plain in &bound {
            fails(plain.exchange(&query(NAME), soon()), "the interface tun0 is down").await;
        }
        assert_eq!(packets("lan0"), 0);
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_late_answer_is_not_quoted_to_the_lan() {
    in_own_network(async || {
        lan();
        let server = Office::open(serve);
        ip("route add default via 10.8.0.1 metric 100");
        for plain in [
            office(Protocol::Udp, Some("tun0")),
            through(Protocol::Udp, Some("tun0")),
        ] {
            let late = plain.exchange(&query("late.corp.example"), in_ms(100)).await;
            assert_eq!(kind(late), Some(Silent));
            // Answered behind the late one; the server's answers keep their order.
            assert!(plain.exchange(&query(NAME), soon()).await.is_ok());
            assert_eq!(packets("lan0"), 0, "the kernel refused the answer and quoted it");
        }
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_question_in_flight_follows_the_routes() {
    in_own_network(async || {
        lan();
        let server = Office::open(serve);
        let plain = office(Protocol::Udp, None);
        let waiting = ask(&plain, query(NAME), soon());
        one_more("lan0", 0).await;
        ip("route add 198.51.100.53/32 dev tun0");
        let begin = Instant::now();
        plain.network_changed();
        assert!(waiting.await.unwrap().is_ok());
        assert!(begin.elapsed() < Duration::from_millis(500), "sent again at once");
        server.close();
    });
}
