//! Every way in which a resolver's TLS or HTTP can be broken (tests/lab/): SERVFAIL with its reason, and no clear text.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, Response, SERVFAIL};
use crate::peers::{doh, dot, lab, lab_state};

/// Every broken server: its port, the path for DoH, and the extended errors that may tell of it.
fn broken() -> Vec<(u16, Option<&'static str>, &'static [u16])> {
    let network: &[u16] = &[23];
    let mut all: Vec<(u16, Option<&str>, &[u16])> = Vec::new();
    all.extend((15701..=15712).chain([15714]).map(|port| (port, None, network)));
    all.extend([15801, 15802, 15803, 15811, 15812].map(|port| (port, Some("/dns-query"), network)));
    // Ten octets a second: HTTP began well, but no whole answer came in time.
    all.push((15815, Some("/dns-query"), &[22, 23]));
    let statuses = [
        "/redirect",
        "/loop",
        "/e400",
        "/e403",
        "/e404",
        "/e413",
        "/e415",
        "/e429",
        "/e500",
        "/e502",
        "/e503",
        "/html",
    ];
    all.extend(statuses.map(|path| (15448, Some(path), network)));
    // The content type is right, the message is not there.
    all.push((15448, Some("/empty"), &[23, 24]));
    all
}

/// Asks through every broken server a name of its own; gives back the names.
fn check_broken() -> Vec<String> {
    let mut names = Vec::new();
    for (port, path, reasons) in broken() {
        let daemon = path.map_or_else(|| dot(port), |path| doh(port, path));
        let what = path.unwrap_or("tls").trim_start_matches('/').replace('-', "");
        let name = format!("secretname{port}{what}{}.wild.unsigned.example", std::process::id());
        let begin = Instant::now();
        let response: Response = Ask::new(&name, A).edns().udp(daemon.dns);
        let elapsed = begin.elapsed();
        assert_eq!(response.rcode(), SERVFAIL, "{name}");
        let ede = response.ede();
        assert!(
            ede.is_some_and(|code| reasons.contains(&code)),
            "{name}: EDE {ede:?}\n{}",
            daemon.stderr()
        );
        assert!(
            elapsed < Duration::from_millis(5500),
            "{name}: answered after {elapsed:?}"
        );
        names.push(name);
    }
    names
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn r8310_1_broken_tls_is_servfail_and_no_resolver_hears_the_name() {
    for name in check_broken() {
        let log = fs::read_to_string(lab_state().join("unbound.log")).unwrap();
        // Through 15815 the question itself goes its encrypted way; only the answer is too slow.
        assert!(
            !log.contains(&name) || name.contains("15815"),
            "{name} reached a resolver"
        );
    }
}

/// A capture of loopback by tcpdump.
struct Capture {
    child: Child,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Capture {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // tcpdump gives its privileges up and must still be able to write.
        let file = folder.path().join("lo.pcap");
        let mut child = Command::new("tcpdump")
            .args([
                "-i",
                "lo",
                "-Z",
                "root",
                "-U",
                "--immediate-mode",
                "-B",
                "65536",
                "-s",
                "0",
                "-w",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump, as root");
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = stderr
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("listening on"));
        assert!(ready, "tcpdump does not listen: is this root?");
        Self {
            child,
            file,
            _folder: folder,
        }
    }

    /// Ends the capture; gives back each packet's octets.
    fn packets(mut self) -> Vec<Vec<u8>> {
        let stopped = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(stopped.success() && self.child.wait().unwrap().success());
        let octets = fs::read(&self.file).unwrap();
        let number = |at: usize| u32::from_le_bytes(octets[at..at + 4].try_into().unwrap());
        assert_eq!(number(0), 0xa1b2_c3d4, "a pcap file of this machine");
        let (mut packets, mut at) = (Vec::new(), 24);
        while at + 16 <= octets.len() {
            let len = usize::try_from(number(at + 8)).unwrap();
            packets.push(octets[at + 16..at + 16 + len].to_vec());
            at += 16 + len;
        }
        packets
    }
}

/// UDP or TCP ports of an Ethernet frame with IPv4, and its octets behind the addresses.
fn ports(packet: &[u8]) -> Option<[u16; 2]> {
    let ip = packet.get(14..)?;
    let payload = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
    Some([port(0)?, port(2)?])
}

impl Drop for Capture {
    fn drop(&mut self) {
        // A failed test must not leave it running; already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holds(packet: &[u8], text: &[u8]) -> bool {
    packet
        .windows(text.len())
        .any(|window| window.eq_ignore_ascii_case(text))
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx; root and tcpdump"]
fn r8310_1_no_clear_text_leaves_whatever_fails() {
    lab();
    let capture = Capture::start();
    let names = check_broken();
    let packets = capture.packets();
    // 15815 is no fault of TLS: its query arrives, and the lab's own servers pass it on in clear among themselves.
    let packets: Vec<_> = packets
        .iter()
        .filter(|packet| !holds(packet, b"secretname15815"))
        .collect();
    let clear: Vec<[u16; 2]> = packets
        .iter()
        .filter(|p| holds(p, b"secretname"))
        .filter_map(|p| ports(p))
        .collect();
    // Between this test and the daemon the names are in clear: so the capture is known to have seen them.
    assert!(
        clear.len() >= 2 * (names.len() - 1),
        "the capture saw {} packets with a name",
        clear.len()
    );
    let is_client_side = |ports: &[u16; 2]| ports.iter().any(|port| (20_000..30_000).contains(port));
    let leaks: Vec<_> = clear.iter().filter(|ports| !is_client_side(ports)).collect();
    assert!(leaks.is_empty(), "ports {leaks:?}");
    let to_53 = packets
        .iter()
        .filter_map(|packet| ports(packet))
        .filter(|ports| ports.contains(&53))
        .count();
    assert_eq!(to_53, 0, "packets to or from port 53");
}
