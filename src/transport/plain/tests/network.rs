//! A host with a tunnel and a LAN, and the server at the tunnel's other end.

use std::fs;
use std::process::Command;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::*;
use crate::os::testing::{in_own_network, ip};

/// The routes lead to it by the LAN; it is in the tunnel.
const SERVER: &str = "198.51.100.53";

/// A name to which the server says nothing.
const SILENT: &str = "silent.corp.example";

/// The tunnel's other end.
struct Office {
    thread: std::thread::JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Office {
    /// Makes `tun0`, which leads to a server in a network of its own.
    fn open() -> Self {
        let (tell_place, place) = mpsc::channel();
        let (start, started) = oneshot::channel::<()>();
        let (tell_ready, ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            in_own_network(async move || {
                let own = fs::read_link("/proc/thread-self").unwrap();
                tell_place
                    .send(format!("/proc/{}/ns/net", own.to_str().unwrap()))
                    .unwrap();
                started.await.unwrap();
                ip("link set office0 up");
                ip("addr add 10.8.0.1/24 dev office0");
                ip(&format!("addr add {SERVER}/32 dev office0"));
                carries("office0");
                let address: SocketAddr = format!("{SERVER}:53").parse().unwrap();
                let udp = UdpSocket::bind(address).await.unwrap();
                let tcp = TcpListener::bind(address).await.unwrap();
                tell_ready.send(()).unwrap();
                tokio::select! {
                    () = serve(udp, tcp) => {}
                    _ = stopped => {}
                }
            });
        });
        ip("link add tun0 type veth peer name office0");
        ip(&format!("link set office0 netns {}", place.recv().unwrap()));
        ip("link set tun0 up");
        ip("addr add 10.8.0.2/24 dev tun0");
        start.send(()).unwrap();
        ready.recv().unwrap();
        carries("tun0");
        Self { thread, stop }
    }

    fn close(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

async fn serve(udp: UdpSocket, tcp: TcpListener) {
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
                client.send(&answer(&sent)).await;
            }
        }
    }
}

/// Another way to everywhere: a LAN whose gateway swallows all.
fn lan() {
    fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    ip("link add lan0 type veth peer name lan1");
    ip("link set lan0 up");
    ip("link set lan1 up");
    carries("lan0");
    ip("addr add 192.0.2.2/24 dev lan0");
    // Without a question who the gateway is, which would be a packet too.
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev lan0 nud permanent");
    ip("route add default via 192.0.2.1");
}

/// Waits until the kernel has taken note of the carrier: before that it drops what is sent.
fn carries(interface: &str) {
    loop {
        let shown = Command::new("ip")
            .args(["-br", "link", "show", interface])
            .output()
            .unwrap();
        if String::from_utf8_lossy(&shown.stdout).contains(" UP ") {
            return;
        }
    }
}

/// Packets that left by this interface.
fn packets(interface: &str) -> u64 {
    let figures = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = figures
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{interface}:")));
    line.unwrap().split_whitespace().nth(9).unwrap().parse().unwrap()
}

fn office(protocol: Protocol, interface: Option<&str>) -> Arc<Plain> {
    plain_to(protocol, format!("{SERVER}:53").parse().unwrap(), interface).0
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
        let server = Office::open();
        let (udp, tcp) = (office(Protocol::Udp, Some("tun0")), office(Protocol::Tcp, Some("tun0")));
        let before = packets("tun0");
        for plain in [&udp, &tcp] {
            assert!(plain.exchange(&query(NAME), soon()).await.is_ok());
            assert!(!plain.is_in_doubt());
        }
        assert!(packets("tun0") >= before + 2);

        let waiting = ask(&udp, query(SILENT), soon());
        let sent = packets("tun0");
        while packets("tun0") == sent {
            tokio::task::yield_now().await;
        }
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
        let sent = packets("tun0");
        while packets("tun0") == sent {
            tokio::task::yield_now().await;
        }
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

#[test]
#[ignore = "needs root and network namespaces"]
fn p1_a_late_answer_is_not_quoted_to_the_lan() {
    in_own_network(async || {
        lan();
        let server = Office::open();
        let plain = office(Protocol::Udp, Some("tun0"));
        let late = plain.exchange(&query("late.corp.example"), in_ms(100)).await;
        assert_eq!(kind(late), Some(Silent));
        // Answered behind the late one; the server's answers keep their order.
        assert!(plain.exchange(&query(NAME), soon()).await.is_ok());
        assert_eq!(packets("lan0"), 0, "the kernel refused the answer and quoted it");
        server.close();
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_question_in_flight_follows_the_routes() {
    in_own_network(async || {
        lan();
        let server = Office::open();
        let plain = office(Protocol::Udp, None);
        let waiting = ask(&plain, query(NAME), soon());
        while packets("lan0") == 0 {
            tokio::task::yield_now().await;
        }
        ip(&format!("route add {SERVER}/32 dev tun0"));
        let begin = Instant::now();
        plain.network_changed();
        assert!(waiting.await.unwrap().is_ok());
        assert!(begin.elapsed() < Duration::from_millis(500), "sent again at once");
        server.close();
    });
}
