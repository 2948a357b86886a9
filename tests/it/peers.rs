//! Real resolvers behind the daemon, real clients before it (tests/lab/): the whole lab tree.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::client::{A, Ask, receive_udp, udp_socket};
use crate::daemon::{Config, Daemon};

/// The name in the lab's certificates.
const LAB_NAME: &str = "dns.lab.example";

/// A resolver of the lab: its DoT and DoH ports, and the plain ones that say what each must answer.
struct Peer {
    dot: u16,
    doh: u16,
    plain_of_dot: u16,
    plain_of_doh: u16,
}

const UNBOUND: Peer = Peer {
    dot: 15253,
    doh: 15443,
    plain_of_dot: 15153,
    plain_of_doh: 15153,
};
const DNSDIST: Peer = Peer {
    dot: 15254,
    doh: 15444,
    plain_of_dot: 15154,
    plain_of_doh: 15154,
};
const KNOT: Peer = Peer {
    dot: 15255,
    doh: 15445,
    plain_of_dot: 15155,
    plain_of_doh: 15155,
};
const BIND: Peer = Peer {
    dot: 15256,
    doh: 15446,
    plain_of_dot: 15156,
    plain_of_doh: 15156,
};
const NGINX: Peer = Peer {
    dot: 15258,
    doh: 15448,
    plain_of_dot: 15153,
    plain_of_doh: 15154,
};

/// What is asked, in `signed.example` and in `unsigned.example`; `@` is the zone itself.
const TREE: [(&str, &str); 42] = [
    ("www", "A"),
    ("www", "AAAA"),
    ("www", "TXT"),
    ("@", "MX"),
    ("@", "SOA"),
    ("@", "NS"),
    ("@", "CAA"),
    ("mail", "A"),
    ("txt", "TXT"),
    ("alias", "A"),
    ("a.b.ent", "A"),
    ("b.ent", "A"),
    ("any.wild", "A"),
    ("other.wild", "TXT"),
    ("ttl0", "A"),
    ("ttlbig", "A"),
    ("c1", "A"),
    ("dangle", "A"),
    ("xzone", "A"),
    ("_443._tcp.www", "TLSA"),
    ("svc", "HTTPS"),
    ("svcalias", "HTTPS"),
    ("_dns.svc", "SVCB"),
    ("unk", "TYPE65280"),
    ("srv", "SRV"),
    ("loc", "LOC"),
    ("UPPER.Case", "A"),
    ("upper.case", "A"),
    ("under_score", "A"),
    (r"\000nul", "A"),
    (r"dot\.inlabel", "A"),
    ("www.sub", "A"),
    ("sub", "DNAME"),
    ("many", "A"),
    ("big", "TXT"),
    ("huge", "TXT"),
    ("d22", "A"),
    ("nx", "A"),
    ("nx", "AAAA"),
    ("many", "AAAA"),
    ("_udp.www", "A"),
    (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "A",
    ),
];

/// Names that a validating resolver cannot or must not answer.
const FAILING: [&str; 4] = [
    "www.bogus.example",
    "www.badsig.example",
    "loop1.unsigned.example",
    "d1.signed.example",
];

fn questions() -> Vec<(String, &'static str)> {
    let zones = ["unsigned.example", "signed.example"];
    let name = |label: &str, zone: &str| {
        if label == "@" {
            zone.to_owned()
        } else {
            format!("{label}.{zone}")
        }
    };
    let tree = zones
        .into_iter()
        .flat_map(|zone| TREE.map(|(label, rtype)| (name(label, zone), rtype)));
    tree.chain(FAILING.map(|name| (name.to_owned(), "A"))).collect()
}

fn lab_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab")
}

/// Where the lab keeps its state: `$LAB`, as for its scripts.
pub(crate) fn lab_state() -> PathBuf {
    std::env::var_os("LAB").map_or_else(|| std::env::temp_dir().join("tacenda-lab"), PathBuf::from)
}

/// Starts what does not run yet, once; gives back the CA's file.
pub(crate) fn lab() -> String {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let output = Command::new(lab_folder().join("upstreams/start.sh"))
            .env("LAB", lab_state())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
        );
    });
    lab_state().join("pki/ca.pem").to_str().unwrap().to_owned()
}

pub(crate) fn dot(port: u16) -> Daemon {
    Config::new()
        .upstream(&format!("tls://{LAB_NAME}:{port}"), &lab())
        .start()
}

pub(crate) fn doh(port: u16, path: &str) -> Daemon {
    Config::new()
        .upstream(&format!("https://{LAB_NAME}:{port}{path}"), &lab())
        .start()
}

/// Standard output of a client, its lines sorted: resolvers turn their RRsets round.
fn sorted_output(command: &mut Command, input: &str) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = text
        .lines()
        .map(str::trim_end)
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// The clients: a name, the program, and its arguments for port, name and type.
type Client = (&'static str, &'static str, fn(u16, &str, &str) -> Vec<String>);

const CLIENTS: [Client; 6] = [
    ("dig", "dig", |port, name, rtype| {
        arguments(&format!(
            "@127.0.0.1 -p {port} +short +tries=1 +timeout=8 {name} {rtype}"
        ))
    }),
    ("dig +tcp", "dig", |port, name, rtype| {
        arguments(&format!(
            "@127.0.0.1 -p {port} +tcp +short +tries=1 +timeout=8 {name} {rtype}"
        ))
    }),
    ("kdig", "kdig", |port, name, rtype| {
        arguments(&format!(
            "@127.0.0.1 -p {port} +short +retry=0 +timeout=8 {name} {rtype}"
        ))
    }),
    ("kdig +tcp", "kdig", |port, name, rtype| {
        arguments(&format!(
            "@127.0.0.1 -p {port} +tcp +short +retry=0 +timeout=8 {name} {rtype}"
        ))
    }),
    ("drill -a", "drill", |port, name, rtype| {
        arguments(&format!("-Q -a -p {port} {name} @127.0.0.1 {rtype}"))
    }),
    ("drill -t", "drill", |port, name, rtype| {
        arguments(&format!("-Q -t -p {port} {name} @127.0.0.1 {rtype}"))
    }),
];

fn arguments(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Every client gets from the daemon what it gets from the resolver itself.
fn check_tree(daemon: &Daemon, plain: u16) {
    let own = daemon.dns.port();
    let questions = questions();
    let input: String = questions
        .iter()
        .map(|(name, rtype)| format!("{name} {rtype}\n"))
        .collect();
    for transport in ["udp", "tcp"] {
        let ask = |port: u16| {
            let mut python = Command::new("/usr/bin/python3");
            python
                .arg(lab_folder().join("resolve.py"))
                .args([&port.to_string(), transport]);
            sorted_output(&mut python, &input)
        };
        // The resolver first, until it has come to rest: Knot gives up on a cold signed chain now and then (SERVFAIL, asked
        // directly too) and knows it the next time.
        let gave_up = |line: &String| line.contains("SERVFAIL") && !FAILING.iter().any(|name| line.starts_with(name));
        let mut theirs = ask(plain);
        for _ in 0..5 {
            if theirs.iter().any(gave_up) {
                theirs = ask(plain);
            }
        }
        let ours = ask(own);
        assert_eq!(ours.len(), questions.len());
        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our, their, "dnspython over {transport}, port {plain}");
        }
    }
    // A process for each question: one of the two zones is enough.
    let unsigned = |name: &str| name.ends_with(".unsigned.example") && !FAILING.contains(&name);
    for (name, rtype) in questions.iter().filter(|(name, _)| unsigned(name)) {
        for (client, program, line) in CLIENTS {
            let ask = |port: u16| sorted_output(Command::new(program).args(line(port, name, rtype)), "");
            assert_eq!(ask(own), ask(plain), "{client}: {name} {rtype}, port {plain}");
        }
    }
}

fn check_peer(peer: &Peer) {
    check_tree(&dot(peer.dot), peer.plain_of_dot);
    check_tree(&doh(peer.doh, "/dns-query"), peer.plain_of_doh);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_lab_tree_through_unbound() {
    check_peer(&UNBOUND);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_lab_tree_through_dnsdist() {
    check_peer(&DNSDIST);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_lab_tree_through_knot() {
    check_peer(&KNOT);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_lab_tree_through_bind() {
    check_peer(&BIND);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_lab_tree_through_nginx() {
    check_peer(&NGINX);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn r9325_1_tls_1_2_alone_works() {
    check_tree(&dot(15713), 15153);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn r9113_1_one_stream_at_a_time_works() {
    check_tree(&doh(15813, "/dns-query"), 15154);
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn r9113_1_goaway_every_three_requests_works() {
    let daemon = doh(15814, "/dns-query");
    check_tree(&daemon, 15154);
    // A burst over the same connection: what GOAWAY leaves unanswered is asked again.
    let socket = udp_socket(daemon.dns);
    for id in 0..30 {
        socket
            .send(&Ask::new(&format!("burst{id}.wild.unsigned.example"), A).id(id).octets())
            .unwrap();
    }
    for _ in 0..30 {
        assert_eq!(receive_udp(&socket).rcode(), 0);
    }
}

#[test]
#[ignore = "needs unbound, nsd; root and unshare"]
fn getaddrinfo_of_glibc_resolves_the_lab_tree() {
    lab();
    let output = Command::new(lab_folder().join("getaddrinfo.sh"))
        .arg(env!("CARGO_BIN_EXE_tacenda"))
        .env("LAB", lab_state())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.contains(" 0 wrong"),
        "{stdout}\n{stderr}"
    );
}

#[test]
#[ignore = "needs unbound, dnsdist, kresd, named, nsd, nginx"]
fn the_comparison_can_fail() {
    lab();
    let nsd: SocketAddr = "127.0.0.1:15053".parse().unwrap();
    assert_eq!(Ask::new("www.unsigned.example", A).udp(nsd).rcode(), 0);
    let ask = |zone: &str| {
        let mut python = Command::new("/usr/bin/python3");
        python.arg(lab_folder().join("resolve.py")).args(["15153", "udp"]);
        sorted_output(&mut python, &format!("txt.{zone} TXT\nmany.{zone} A\n"))
    };
    assert_ne!(ask("unsigned.example"), ask("nosuchzone.example"));
}
