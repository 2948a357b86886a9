//! A host with a LAN and a tunnel, and an office at the tunnel's other end. For the thread whose network it is; needs root.

use std::fs;
use std::process::Command;
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::os::testing::{in_own_network, ip};

/// The routes lead to it by the LAN; it is in the tunnel.
pub(in crate::transport) const SERVER: [u8; 4] = [198, 51, 100, 53];

/// The tunnel's other end.
pub(in crate::transport) struct Office {
    thread: std::thread::JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// To be told when the office's server listens.
pub(in crate::transport) type Ready = mpsc::Sender<()>;

impl Office {
    /// Makes `tun0`, which leads to a network of its own in which `serve` runs.
    pub(in crate::transport) fn open<F: Future<Output = ()>>(serve: impl FnOnce(Ready) -> F + Send + 'static) -> Self {
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
                let [a, b, c, d] = SERVER;
                ip(&format!("addr add {a}.{b}.{c}.{d}/32 dev office0"));
                carries("office0");
                tokio::select! {
                    () = serve(tell_ready) => {}
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

    pub(in crate::transport) fn close(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Another way to everywhere: a LAN whose gateway swallows all.
pub(in crate::transport) fn lan() {
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
pub(in crate::transport) fn carries(interface: &str) {
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
pub(in crate::transport) fn packets(interface: &str) -> u64 {
    let figures = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = figures
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("{interface}:")));
    line.unwrap().split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// Waits until one more has left than `before`.
pub(in crate::transport) async fn one_more(interface: &str, before: u64) {
    so_many(interface, before + 1).await;
}

/// Waits until so many have left.
pub(in crate::transport) async fn so_many(interface: &str, count: u64) {
    while packets(interface) < count {
        tokio::task::yield_now().await;
    }
}
