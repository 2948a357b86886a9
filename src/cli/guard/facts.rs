//! What the packet rules are made of on this host: the configuration, its interfaces, and who tacenda runs as.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Failure;
use crate::config::{Config, Flags, RouteConfig, load};
use crate::os::guard::ruleset::{Facts, Mode, Way, quotable};
use crate::os::guard::wish::Wish;
use crate::os::{file, link};
use crate::upstream::route_endpoint::RouteEndpoint;

/// The facts, and what the user should know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gathered {
    pub(super) facts: Facts,
    /// A line each.
    pub(super) notes: Vec<String>,
    /// Where tacenda can be asked on this host at the usual port.
    pub(super) asked_at: Option<IpAddr>,
}

/// What a wish comes to here.
pub(super) fn of_this_host(wish: &Wish) -> Result<Gathered, Failure> {
    let loaded = load(wish.config.as_deref(), &Flags::default())?;
    Ok(of(&loaded.config, wish.mode))
}

/// The same where the configuration cannot be read: nothing of it is opened.
pub(super) fn without_configuration(wish: &Wish) -> Gathered {
    of(&Config::default(), wish.mode)
}

fn of(config: &Config, mode: Option<Mode>) -> Gathered {
    // The service manager gives it to the user whom tacenda runs as, and keeps to that user at the next start.
    let stub = file::owner(Path::new(file::STATE_FOLDER)).unwrap_or(0);
    gather(config, mode, stub, &link::addresses().unwrap_or_default())
}

/// Pure.
fn gather(config: &Config, mode: Option<Mode>, stub: u32, addresses: &[(String, IpAddr)]) -> Gathered {
    let mut notes = Vec::new();
    let listen = listen_on_loopback(&config.listen.addresses);
    let mode = mode.unwrap_or(config.guard.mode);
    for (is_v6, family) in [(false, "IPv4"), (true, "IPv6")] {
        if mode == Mode::Redirect && !listen.iter().any(|listen| listen.is_ipv6() == is_v6) {
            notes.push(format!(
                "DNS over {family} is refused: tacenda does not listen on loopback there"
            ));
        }
    }
    let mut ways = BTreeSet::new();
    for route in &config.routes {
        ways.extend(ways_of(route, &mut notes));
    }
    if stub == 0 {
        notes.push(ROOTS.to_owned());
    }
    let facts = Facts {
        mode,
        stub,
        served: served(config, addresses),
        ways,
        exempt: config.guard.exempt.iter().copied().collect(),
        sealed: sealed(config),
        lets_mdns_out: config.guard.multicast_dns,
        listen,
    };
    let on_loopback = on_loopback(&config.listen.addresses);
    let asked_at = on_loopback
        .iter()
        .find(|listen| listen.port() == DNS_PORT)
        .map(SocketAddr::ip);
    Gathered { facts, notes, asked_at }
}

/// By which interface others may ask, and at which address there.
fn served(config: &Config, addresses: &[(String, IpAddr)]) -> BTreeSet<(String, SocketAddr)> {
    let there = |listen: SocketAddr| {
        let is_asked = move |own: IpAddr| {
            let is_any = listen.ip().is_unspecified() && own.is_ipv6() == listen.is_ipv6();
            // At every address, but led there are only those who may ask.
            own == listen.ip() || is_any && config.allow.iter().any(|network| network.contains(own))
        };
        let own = addresses
            .iter()
            .filter(move |(_, own)| !own.is_loopback() && is_asked(*own));
        // An address may have a label of its own: `eth0:1`.
        let name = |name: &String| name.split(':').next().unwrap_or_default().to_owned();
        own.map(move |(interface, own)| (name(interface), SocketAddr::new(*own, listen.port())))
    };
    config.listen.addresses.iter().copied().flat_map(there).collect()
}

/// Where the resolvers of DNS over TLS are, as far as the configuration says.
fn sealed(config: &Config) -> BTreeSet<IpAddr> {
    let upstreams = config
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.addresses.iter().copied());
    let routes = config
        .routes
        .iter()
        .flat_map(|route| &route.upstreams)
        .filter_map(|upstream| match upstream {
            RouteEndpoint::Encrypted(_) => Some(upstream.servers().into_iter().map(|(server, _)| server.ip())),
            RouteEndpoint::Plain(_) => None,
        });
    upstreams.chain(routes.flatten()).map(|ip| ip.to_canonical()).collect()
}

fn on_loopback(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let here = addresses.iter().filter_map(|listen| match listen.ip() {
        ip if ip.is_loopback() => Some(*listen),
        ip if ip.is_unspecified() => Some(SocketAddr::new(loopback(ip.is_ipv6()), listen.port())),
        _ => None,
    });
    here.collect()
}

/// The first of each family.
fn listen_on_loopback(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let here = on_loopback(addresses);
    let first = |is_v6| here.iter().find(|listen| listen.is_ipv6() == is_v6).copied();
    [first(false), first(true)].into_iter().flatten().collect()
}

fn loopback(is_v6: bool) -> IpAddr {
    if is_v6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}

/// A server of classic DNS is let through by the way that its route names; by "any" it is not, since that is the hotel's too.
fn ways_of(route: &RouteConfig, notes: &mut Vec<String>) -> Vec<Way> {
    let interface = route
        .exit
        .interface
        .as_ref()
        .map(|interface| interface.name().to_owned());
    let router = route.exit.via.map(|via| via.address());
    let plain = route.upstreams.iter().filter_map(|upstream| match upstream {
        RouteEndpoint::Plain(endpoint) if !endpoint.server.ip().to_canonical().is_loopback() => Some(endpoint.server),
        _ => None,
    });
    let ways: Vec<_> = plain
        .map(|server| Way {
            server: SocketAddr::new(server.ip().to_canonical(), server.port()),
            interface: interface.clone(),
            router,
        })
        .collect();
    if !ways.is_empty() && interface.is_none() && router.is_none() {
        let zone = route.zones.first().map_or("?", String::as_str);
        notes.push(format!(
            "the route for {zone} is shut: its interface is \"any\"; name the one that it is for"
        ));
        return Vec::new();
    }
    if let Some(name) = interface.filter(|name| quotable(name).is_none()) {
        notes.push(format!(
            "the route by {name:?} is shut: packet rules cannot name that interface"
        ));
        return Vec::new();
    }
    ways
}

const DNS_PORT: u16 = 53;

const ROOTS: &str = "tacenda runs as root, as far as is known: root's other programs may ask its resolvers over TLS, and the servers of \
routes, as it may; `sudo tacenda service install` gives it a user of its own";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        load(Some(&path), &Flags::default()).unwrap().config
    }

    fn gathered(text: &str, addresses: &[(&str, &str)]) -> Gathered {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|(interface, ip)| ((*interface).to_owned(), ip.parse().unwrap()))
            .collect();
        gather(&config(text), None, 990, &addresses)
    }

    #[test]
    fn the_default_opens_nothing() {
        let gathered = gathered("", &[]);
        assert_eq!(gathered.notes, Vec::<String>::new());
        assert!(gathered.facts.ways.is_empty() && gathered.facts.exempt.is_empty());
        assert_eq!(gathered.facts.listen.len(), 2);
    }

    #[test]
    fn a_route_opens_its_way_and_any_way_is_none() {
        let route = |key: &str| {
            format!(
                "[[route]]\nzones = [\"corp.example\"]\nupstream = [\"udp://10.8.0.1\", \"tls://10.8.0.2\"]\n{key}\n"
            )
        };
        let ways = |key: &str| gathered(&route(key), &[]).facts.ways.into_iter().collect::<Vec<_>>();
        let server = "10.8.0.1:53".parse().unwrap();
        let by = |interface: Option<&str>, router: Option<&str>| Way {
            server,
            interface: interface.map(Into::into),
            router: router.map(|router| router.parse().unwrap()),
        };
        assert_eq!(ways("interface = \"tun0\""), [by(Some("tun0"), None)]);
        assert_eq!(ways("via = \"192.168.1.2\""), [by(None, Some("192.168.1.2"))]);
        assert_eq!(
            ways("interface = \"eth0\"\nvia = \"192.168.1.2\""),
            [by(Some("eth0"), Some("192.168.1.2"))]
        );
        let any = gathered(&route("interface = \"any\""), &[]);
        assert!(
            any.facts.ways.is_empty() && any.notes[0].contains("corp.example"),
            "{:?}",
            any.notes
        );
    }

    #[test]
    fn who_is_served_is_led_to_the_address_there() {
        let text = "listen = [\"127.0.0.1:53\", \"172.17.0.1:53\"]\nallow = [\"172.17.0.0/16\"]\n";
        let gathered = gathered(
            text,
            &[("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "192.168.1.5")],
        );
        let expected = BTreeSet::from([("docker0".to_owned(), "172.17.0.1:53".parse().unwrap())]);
        assert_eq!(gathered.facts.served, expected);
        // Nobody answers at ::1.
        assert!(gathered.notes[0].contains("IPv6"), "{:?}", gathered.notes);
    }

    #[test]
    fn at_every_address_those_are_served_who_may_ask() {
        let text = "listen = [\"0.0.0.0:53\"]\nallow = [\"172.17.0.0/16\"]\n";
        let gathered = gathered(
            text,
            &[
                ("docker0:1", "172.17.0.1"),
                ("eth0", "192.168.1.5"),
                ("docker0", "fd00::1"),
            ],
        );
        let expected = BTreeSet::from([("docker0".to_owned(), "172.17.0.1:53".parse().unwrap())]);
        assert_eq!(gathered.facts.served, expected);
        assert_eq!(gathered.asked_at, Some("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn resolvers_over_tls_are_known_and_odd_interfaces_are_said() {
        let text = "[[upstream]]\nurl = \"tls://dns.example\"\naddresses = [\"192.0.2.1\"]\n\
            [[route]]\nzones = [\"corp.example\"]\nupstream = [\"tls://10.8.0.2\", \"udp://10.8.0.1\"]\ninterface = \"tun*\"\n";
        let gathered = gathered(text, &[]);
        let expected = BTreeSet::from(["192.0.2.1".parse().unwrap(), "10.8.0.2".parse().unwrap()]);
        assert_eq!(gathered.facts.sealed, expected);
        assert!(
            gathered.facts.ways.is_empty() && gathered.notes[0].contains("tun*"),
            "{:?}",
            gathered.notes
        );
    }

    #[test]
    fn all_addresses_are_loopback_too() {
        let listen: Vec<_> = ["0.0.0.0:5300", "127.0.0.1:53", "[::]:53"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let expected: Vec<SocketAddr> = ["127.0.0.1:5300", "[::1]:53"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(listen_on_loopback(&listen), expected);
    }

    #[test]
    fn a_tacenda_that_is_root_is_said() {
        assert!(gather(&Config::default(), None, 0, &[]).notes[0].contains("root"));
    }
}
