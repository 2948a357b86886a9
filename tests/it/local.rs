//! Names that stay home, and public names that must not lead there.

use std::net::{Ipv6Addr, SocketAddr};

use crate::client::{A, AAAA, Ask, CNAME, NXDOMAIN, Response, TXT, wire_name};
use crate::daemon::{Config, Daemon};
use crate::script::{Answer, Heard, Reply, normal};
use crate::upstream::Upstream;

/// Names that no resolver outside may hear of, and what is said of each.
const HOME: [(&str, u16); 40] = [
    ("localhost", 0),
    ("a.localhost", 0),
    ("invalid", NXDOMAIN),
    ("x.invalid", NXDOMAIN),
    ("x.test", NXDOMAIN),
    ("printer.local", NXDOMAIN),
    ("_http._tcp.local", NXDOMAIN),
    ("expyuzz4wqqyqhjn.onion", NXDOMAIN),
    ("x.alt", NXDOMAIN),
    ("db.internal", NXDOMAIN),
    ("nas.lan", NXDOMAIN),
    ("router.home", NXDOMAIN),
    ("mail.corp", NXDOMAIN),
    ("wiki.intranet", NXDOMAIN),
    ("x.private", NXDOMAIN),
    ("x.localdomain", NXDOMAIN),
    ("home.arpa", 0),
    ("nas.home.arpa", NXDOMAIN),
    ("resolver.arpa", 0),
    ("_dns.resolver.arpa", 0),
    ("printer", 0),
    ("wpad", 0),
    ("wpad.hotel.example", NXDOMAIN),
    ("isatap.hotel.example", NXDOMAIN),
    ("_ldap._tcp.dc._msdcs.ad.example", NXDOMAIN),
    ("use-application-dns.net", NXDOMAIN),
    ("1.0.0.127.in-addr.arpa", 0),
    ("5.0.0.127.in-addr.arpa", NXDOMAIN),
    ("1.1.168.192.in-addr.arpa", NXDOMAIN),
    ("168.192.in-addr.arpa", 0),
    ("4.3.2.10.in-addr.arpa", NXDOMAIN),
    ("1.0.16.172.in-addr.arpa", NXDOMAIN),
    ("1.0.31.172.in-addr.arpa", NXDOMAIN),
    ("1.1.64.100.in-addr.arpa", NXDOMAIN),
    ("1.1.254.169.in-addr.arpa", NXDOMAIN),
    ("1.2.0.192.in-addr.arpa", NXDOMAIN),
    ("255.255.255.255.in-addr.arpa", 0),
    ("1.0.d.f.ip6.arpa", NXDOMAIN),
    ("1.0.8.e.f.ip6.arpa", NXDOMAIN),
    ("1.8.b.d.0.1.0.0.2.ip6.arpa", NXDOMAIN),
];

/// Letters in turn large and small.
fn mixed(name: &str) -> String {
    let letter = |(at, letter): (usize, char)| {
        if at % 2 == 0 {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    name.chars().enumerate().map(letter).collect()
}

fn check(response: &Response, name: &str, rcode: u16) {
    assert_eq!(response.rcode(), rcode, "{name}");
    assert_eq!(response.ede(), Some(29), "{name}");
    let is_positive = !response.message.answers.is_empty();
    assert!(
        is_positive || response.message.authorities.len() == 1,
        "{name}: a SOA says how long"
    );
}

#[test]
fn r6761_r6303_r6762_r7686_r9462_r9476_names_that_stay_home_are_not_asked() {
    for over in [Config::dot, Config::doh] {
        check_all(over);
    }
}

fn check_all(over: fn(Config, &Upstream) -> Config) {
    let upstream = Upstream::honest();
    let mut config = over(Config::new(), &upstream);
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, config.dns.port()));
    config = config.also_at(v6);
    let daemon = config.start();
    for (name, rcode) in HOME {
        for name in [name.to_owned(), mixed(name)] {
            let ask = Ask::new(&name, A).edns();
            for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns), ask.udp(v6)] {
                check(&response, &name, rcode);
            }
        }
    }
    let reverse = Ask::new("1.0.0.127.in-addr.arpa", 12).udp(daemon.dns);
    assert_eq!(reverse.answers(), ["1.0.0.127.in-addr.arpa. PTR localhost."]);
    assert!(
        upstream.heard().is_empty(),
        "{:?}",
        upstream.heard().first().map(|heard| heard.name.clone())
    );
    for name in [
        "example",
        "www.example",
        "local.example",
        "8.8.8.8.in-addr.arpa",
        "ipv4only.arpa",
    ] {
        let qtype = if name == "example" { 2 } else { A };
        Ask::new(name, qtype).udp(daemon.dns);
        assert_eq!(upstream.count(name), 1, "{name} is an ordinary name");
    }
    Ask::new("home.arpa", 43).udp(daemon.dns);
    assert_eq!(upstream.count("home.arpa"), 1, "R8375-1: its DS is the parent's");
}

#[test]
fn what_is_let_out_is_asked_and_the_rest_stays() {
    let upstream = Upstream::honest();
    let table = "[policy]\nlet-out = [\"lan\", \"private-reverse\", \"single-labels\"]\n";
    let daemon = Config::new().dot(&upstream).table(table).start();
    for name in ["nas.lan", "1.1.168.192.in-addr.arpa", "printer"] {
        Ask::new(name, A).udp(daemon.dns);
        assert_eq!(upstream.count(name), 1, "{name}");
    }
    assert_eq!(Ask::new("printer.local", A).udp(daemon.dns).rcode(), NXDOMAIN);
    assert_eq!(upstream.heard().len(), 3);
    let all = Config::new()
        .dot(&upstream)
        .table("[policy]\nlocal-names = false\n")
        .start();
    Ask::new("x.onion", A).udp(all.dns);
    assert_eq!(upstream.count("x.onion"), 1);
}

/// Private addresses under public names, in IPv4, in IPv6 and as a hint; `via-` before a name leads to it by an alias.
fn hostile(heard: &Heard) -> Reply {
    let (label, domain) = heard.name.split_once('.').unwrap();
    let (owner, response) = match label.strip_prefix("via-") {
        Some(target) => {
            let target = format!("{target}.{domain}");
            let alias = heard.response().answer(&heard.name, CNAME, 300, &wire_name(&target));
            (target, alias)
        }
        None => (heard.name.clone(), heard.response()),
    };
    let label = label.trim_start_matches("via-");
    let rdatas: Vec<Vec<u8>> = match (label, heard.qtype) {
        ("mixed", A) => vec![vec![8, 8, 8, 8], vec![192, 168, 1, 1]],
        ("hint4", HTTPS) => vec![vec![0, 1, 0, 0, 4, 0, 4, 192, 168, 1, 1]],
        ("hint6", HTTPS) => {
            let ula = "fd00::1".parse::<Ipv6Addr>().unwrap().octets();
            vec![[&[0, 1, 0, 0, 6, 0, 16][..], &ula].concat()]
        }
        (label, A) if label.starts_with("ip-") => {
            vec![label[3..].split('-').map(|octet| octet.parse().unwrap()).collect()]
        }
        (label, AAAA) if label.starts_with("ip6-") => {
            let address = label[4..].replace('-', ":");
            vec![address.parse::<Ipv6Addr>().unwrap().octets().to_vec()]
        }
        _ => return normal(heard),
    };
    let add = |response: Answer, rdata: &Vec<u8>| response.answer(&owner, heard.qtype, 300, rdata);
    rdatas.iter().fold(response, add).into()
}

const HTTPS: u16 = 65;

/// IPv4-mapped and NAT64 forms of 192.168.1.1 and 6to4's of it are among them.
const PRIVATE: [(&str, u16); 21] = [
    ("ip-192-168-1-1", A),
    ("ip-10-0-0-1", A),
    ("ip-172-16-0-1", A),
    ("ip-172-31-255-255", A),
    ("ip-127-0-0-1", A),
    ("ip-169-254-1-1", A),
    ("ip-100-64-0-1", A),
    ("ip-0-0-0-0", A),
    ("ip-255-255-255-255", A),
    ("mixed", A),
    ("ip6---1", AAAA),
    ("ip6---", AAAA),
    ("ip6-fe80--1", AAAA),
    ("ip6-fd00--1", AAAA),
    ("ip6-fc00--1", AAAA),
    ("ip6---ffff-c0a8-101", AAAA),
    ("ip6-64-ff9b--c0a8-101", AAAA),
    ("ip6-64-ff9b-1--c0a8-101", AAAA),
    ("ip6-2002-c0a8-101--1", AAAA),
    ("hint4", HTTPS),
    ("hint6", HTTPS),
];

/// A daemon that listens on IPv6 too, over UDP and TCP.
struct Both {
    daemon: Daemon,
    v6: SocketAddr,
}

fn both(config: Config) -> Both {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, config.dns.port()));
    let daemon = config.also_at(v6).start();
    Both { daemon, v6 }
}

fn ask_all(Both { daemon, v6 }: &Both, domain: &str, check: impl Fn(&Response, &str)) {
    for (label, qtype) in PRIVATE {
        for name in [format!("{label}.{domain}"), format!("via-{label}.{domain}")] {
            // All but the first come from the cache.
            for name in [name.clone(), mixed(&name)] {
                let ask = Ask::new(&name, qtype).edns();
                for response in [ask.udp(daemon.dns), ask.tcp(daemon.dns), ask.udp(*v6), ask.tcp(*v6)] {
                    check(&response, &name);
                }
            }
        }
    }
}

#[test]
fn t_reb_public_names_lead_to_no_private_place() {
    let upstream = Upstream::start(hostile);
    for config in [Config::new().dot(&upstream), Config::new().doh(&upstream)] {
        let both = both(config);
        let daemon = &both.daemon;
        ask_all(&both, "example", |response, name| {
            assert_eq!((response.rcode(), response.ede()), (0, Some(15)), "{name}");
            assert!(response.answers().is_empty(), "{name}: {:?}", response.answers());
        });
        assert_eq!(Ask::new("ip-8-8-8-8.example", A).udp(daemon.dns).answers().len(), 1);
        assert_eq!(Ask::new("x.example", TXT).udp(daemon.dns).answers().len(), 1);
    }
    let heard = upstream.heard().len();
    assert!(
        heard <= 2 * (2 * PRIVATE.len() + 2),
        "what is withheld is kept as that: {heard}"
    );
}

#[test]
fn t_reb_domains_that_may_and_no_protection_at_all() {
    let upstream = Upstream::start(hostile);
    let allowed = "[policy]\nrebind-allow = [\"nas.example\"]\n";
    let both_allowed = both(Config::new().dot(&upstream).table(allowed));
    ask_all(&both_allowed, "nas.example", |response, name| {
        assert!(!response.answers().is_empty(), "{name}");
    });
    let daemon = &both_allowed.daemon;
    assert!(Ask::new("ip-10-0-0-1.example", A).udp(daemon.dns).answers().is_empty());
    let off = "[policy]\nrebind-protection = false\n";
    let unprotected = both(Config::new().dot(&upstream).table(off));
    ask_all(&unprotected, "example", |response, name| {
        assert!(!response.answers().is_empty(), "{name}");
    });
}
