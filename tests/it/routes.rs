//! Split DNS: names of a route go to its resolver and nowhere else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, NXDOMAIN, SERVFAIL, framed, tick};
use crate::daemon::{Config, Daemon, free_port, lab};
use crate::script::{Heard, soa};
use crate::upstream::Upstream;

/// A company's resolver in classic DNS, on UDP and TCP.
struct Company {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<(String, bool)>>>,
}

/// What it does with a query that came over UDP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answer,
    Silence,
    Truncate,
}

impl Company {
    fn start(manner: Manner) -> Self {
        // A port that is free for both.
        let address = free_port();
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (over_udp, over_tcp) = (Arc::clone(&heard), Arc::clone(&heard));
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((len, client)) = udp.recv_from(&mut buffer) {
                let query = note(&over_udp, &buffer[..len], false);
                let mut answer = answer(&query);
                match manner {
                    Manner::Silence => continue,
                    Manner::Truncate => {
                        answer.truncate(12 + query.question().len());
                        answer[2] |= 2;
                        answer[6..12].fill(0);
                    }
                    Manner::Answer => {}
                }
                udp.send_to(&answer, client).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { return };
                let over_tcp = Arc::clone(&over_tcp);
                std::thread::spawn(move || {
                    let mut len = [0; 2];
                    while stream.read_exact(&mut len).is_ok() {
                        let mut query = vec![0; u16::from_be_bytes(len).into()];
                        stream.read_exact(&mut query).unwrap();
                        let answer = answer(&note(&over_tcp, &query, true));
                        if stream.write_all(&framed(&answer)).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heard }
    }

    fn names(&self) -> Vec<String> {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }
}

fn note(heard: &Mutex<Vec<(String, bool)>>, octets: &[u8], is_tcp: bool) -> Heard {
    let query = Heard::read(octets.to_vec(), Vec::new(), String::new());
    heard.lock().unwrap().push((query.name.clone(), is_tcp));
    query
}

/// A private address for everything but what begins with `nx`.
fn answer(query: &Heard) -> Vec<u8> {
    if query.name.starts_with("nx") {
        let negative = query.response().rcode(3).authority("example", 6, 60, &soa(60));
        return negative.octets();
    }
    query.answer(60, &[&[10, 1, 2, 3]]).octets()
}

fn start(upstream: &Upstream, route: &str) -> Daemon {
    Config::new()
        .dot(upstream)
        .table(&format!("[[route]]\n{route}"))
        .start()
}

fn route_to(company: &Company) -> String {
    let zones = "zones = [\"corp.example\", \"home.arpa\", \"lan\"]\nnetworks = [\"10.1.0.0/16\"]";
    format!("{zones}\nupstream = [\"udp://{}\"]\n", company.address)
}

#[test]
fn names_of_a_route_are_asked_at_its_resolver_and_nowhere_else() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Answer));
    let daemon = start(&upstream, &route_to(&company));
    let names = [
        "wiki.corp.example",
        "a.b.corp.example",
        "nas.home.arpa",
        "printer.lan",
        "3.2.1.10.in-addr.arpa",
    ];
    for name in names {
        for _ in 0..3 {
            let response = Ask::new(name, A).edns().udp(daemon.dns);
            assert_eq!(
                (response.rcode(), response.answers().len()),
                (0, 1),
                "{name}: {:?}",
                response.ede()
            );
        }
    }
    assert_eq!(
        company.names(),
        names,
        "once each, then from the cache; private addresses are what it is for"
    );
    assert_eq!(Ask::new("nx.corp.example", A).udp(daemon.dns).rcode(), NXDOMAIN);
    assert!(upstream.heard().is_empty());
    for name in ["corp.example.com", "xcorp.example", "www.example"] {
        assert_eq!(Ask::new(name, A).udp(daemon.dns).rcode(), 0);
        assert_eq!(upstream.count(name), 1, "{name} is public");
    }
    for name in ["x.onion", "localhost", "4.3.2.10.in-addr.arpa"] {
        Ask::new(name, A).udp(daemon.dns);
    }
    assert_eq!(company.names().len(), names.len() + 1);
}

#[test]
fn t_poi_4_queries_in_clear_carry_the_question_and_fresh_numbers() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Answer));
    let daemon = start(&upstream, &route_to(&company));
    for n in 0..20 {
        let cookie: (u16, &[u8]) = (10, b"COOKIEJR");
        Ask::new(&format!("N{n}.Corp.Example"), A)
            .opt(4096, 0, &[cookie])
            .udp(daemon.dns);
    }
    let names = company.names();
    assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()), "{names:?}");
    assert_eq!(names.len(), 20);
}

#[test]
fn r2181_1_a_truncated_answer_is_asked_for_over_tcp() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Truncate));
    let daemon = start(&upstream, &route_to(&company));
    assert_eq!(Ask::new("www.corp.example", A).udp(daemon.dns).answers().len(), 1);
    let over: Vec<_> = company
        .heard
        .lock()
        .unwrap()
        .iter()
        .map(|(_, is_tcp)| *is_tcp)
        .collect();
    assert_eq!(over, [false, true]);
}

#[test]
fn a_silent_resolver_of_a_route_is_servfail_and_no_other_resolver_hears_the_name() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Silence));
    let daemon = start(&upstream, &route_to(&company));
    let begin = Instant::now();
    let response = Ask::new("www.corp.example", A).edns().udp(daemon.dns);
    assert_eq!(response.rcode(), SERVFAIL);
    assert!(matches!(response.ede(), Some(22 | 23)), "{:?}", response.ede());
    assert!(begin.elapsed() < Duration::from_millis(5_500), "{:?}", begin.elapsed());
    assert!(upstream.heard().is_empty());
    assert_eq!(
        Ask::new("www.example", A).udp(daemon.dns).rcode(),
        0,
        "the public is not concerned"
    );
}

/// SERVFAIL with EDE 23 within a second, and nobody hears the name; the words are in the upstream's last error.
fn is_barred(upstream: &Upstream, daemon: &Daemon, words: &str) {
    let begin = Instant::now();
    let response = Ask::new("www.corp.example", A).edns().udp(daemon.dns);
    assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(23)));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(upstream.heard().is_empty());
    let errors = daemon.stats()["upstreams"].to_string();
    assert!(errors.contains(words), "{errors}");
}

#[test]
fn an_interface_that_is_not_there_is_servfail_at_once_and_no_other_way_out() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Answer));
    let route = format!("{}interface = \"tun-none\"\n", route_to(&company));
    let daemon = start(&upstream, &route);
    is_barred(&upstream, &daemon, "tun-none");
    assert!(company.names().is_empty());
}

#[test]
fn a_router_that_the_way_does_not_lead_through_is_servfail_at_once_and_no_other_way_out() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Answer));
    let words = "does not lead through 192.0.2.1";
    let way = "via = \"192.0.2.1\"";
    let daemon = start(&upstream, &format!("{}{way}\n", route_to(&company)));
    is_barred(&upstream, &daemon, words);
    assert!(company.names().is_empty());
    for scheme in ["tls", "https"] {
        let company = Upstream::honest();
        let daemon = start(&upstream, &encrypted_route(&company, scheme, way));
        is_barred(&upstream, &daemon, words);
        assert!(company.heard().is_empty(), "{scheme}");
    }
}

#[test]
fn mistakes_in_the_way_of_a_route_are_shown_where_they_are() {
    for (way, place, words) in [
        ("", "5:13", "classic DNS without an interface"),
        ("via = \"router.lan\"", "6:7", "its IP address alone"),
        ("via = \"0.0.0.0\"", "6:7", "no router can be at this address"),
        ("via = \"::1\"", "6:7", "it is this host"),
        ("via = \"fe80::1\"", "6:7", "interface = \"eth0\""),
        ("gateway = \"192.168.1.2\"", "6:1", "`via`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        let text =
            format!("version = 1\n\n[[route]]\nzones = [\"corp.example\"]\nupstream = [\"udp://10.8.0.1\"]\n{way}\n");
        std::fs::write(&file, text).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_tacenda"));
        let output = check.args(["check", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{way}: {said}");
        assert!(
            said.contains(&format!("t.toml:{place}: ")) && said.contains(words),
            "{way}: {said}"
        );
    }
}

/// A route to this resolver over TLS and HTTPS, and a way that it may go.
fn encrypted_route(company: &Upstream, scheme: &str, way: &str) -> String {
    let url = match scheme {
        "tls" => format!("tls://127.0.0.1:{}", company.dot.port()),
        _ => format!("https://127.0.0.1:{}/dns-query", company.doh.port()),
    };
    let roots = crate::daemon::CA;
    format!("zones = [\"corp.example\"]\nupstream = [\"{url}\"]\nroots = \"{roots}\"\n{way}\n")
}

#[test]
fn encrypted_resolvers_of_a_route_are_bound_to_its_interface_too() {
    for scheme in ["tls", "https"] {
        let (upstream, company) = (Upstream::honest(), Upstream::honest());
        let bound = |interface| encrypted_route(&company, scheme, &format!("interface = \"{interface}\""));
        let daemon = start(&upstream, &bound("tun-none"));
        is_barred(&upstream, &daemon, "tun-none");
        assert!(company.heard().is_empty());
        if cfg!(target_os = "linux") {
            let daemon = start(&upstream, &bound("lo"));
            assert_eq!(Ask::new("www.corp.example", A).udp(daemon.dns).rcode(), 0, "{scheme}");
            assert_eq!((company.count("www.corp.example"), upstream.heard().len()), (1, 0));
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces, tcpdump, dig, python3, openssl"]
fn t_poi_3_names_of_a_vpn_are_asked_nowhere_when_its_link_is_gone() {
    lab("route.sh", &[]);
}

#[test]
#[ignore = "needs root and network namespaces, tcpdump, dig, unbound, dnsmasq"]
fn names_stay_home_beside_real_resolvers_whether_the_vpn_is_up_or_down() {
    lab("home.sh", &[concat!(env!("CARGO_MANIFEST_DIR"), "/certs")]);
}

#[test]
fn an_encrypted_resolver_may_have_a_route_too() {
    let (upstream, company) = (Upstream::honest(), Upstream::honest());
    let route = encrypted_route(&company, "tls", "");
    let daemon = start(&upstream, &route);
    assert_eq!(
        Ask::new("www.corp.example", A).udp(daemon.dns).rcode(),
        0,
        "{}",
        daemon.stats()["upstreams"]
    );
    assert_eq!((company.count("www.corp.example"), upstream.heard().len()), (1, 0));
    tick();
}

/// The total by cause and that of the route's upstream, and what /metrics says.
fn clear_packets(daemon: &Daemon) -> [u64; 3] {
    let stats = daemon.stats();
    let upstreams = stats["upstreams"].as_array().unwrap();
    let of_each: Vec<_> = upstreams
        .iter()
        .map(|upstream| upstream["clear_packets"].as_u64().unwrap())
        .collect();
    assert_eq!(of_each[0], 0, "the public one is encrypted");
    let metrics = daemon.get("/metrics").1;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tacenda_clear_packets_total{cause=\"route\"} "));
    [
        stats["clear_packets"]["route"].as_u64().unwrap(),
        of_each[1],
        line.unwrap().parse().unwrap(),
    ]
}

#[test]
fn p1_every_question_in_clear_text_is_counted_and_nothing_else() {
    let (upstream, company) = (Upstream::honest(), Company::start(Manner::Truncate));
    let daemon = start(&upstream, &route_to(&company));
    assert_eq!(clear_packets(&daemon), [0; 3], "there from the start");
    for name in ["www.example", "localhost", "www.corp.example", "www.corp.example"] {
        Ask::new(name, A).udp(daemon.dns);
    }
    assert_eq!(
        clear_packets(&daemon),
        [2; 3],
        "a datagram and a query over TCP; one from the cache"
    );
    for way in ["interface = \"tun-none\"", "via = \"192.0.2.1\""] {
        let daemon = start(&upstream, &format!("{}{way}\n", route_to(&company)));
        Ask::new("mail.corp.example", A).udp(daemon.dns);
        assert_eq!(clear_packets(&daemon), [0; 3], "{way}: nothing was sent");
    }
    let encrypted = Upstream::honest();
    let daemon = start(&upstream, &encrypted_route(&encrypted, "tls", ""));
    Ask::new("www.corp.example", A).udp(daemon.dns);
    assert_eq!((encrypted.heard().len(), clear_packets(&daemon)), (1, [0; 3]));
}
