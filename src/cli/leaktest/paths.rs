//! The ways a program could take, on this host. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is known of this host and its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Interfaces with their addresses, loopback not among them.
    pub(super) links: Vec<(String, IpAddr)>,
    /// The default routes' routers: they are the hotel.
    pub(super) routers: Vec<(String, IpAddr)>,
    /// Servers that networks handed out and that `system set` took away.
    pub(super) handed_out: Vec<IpAddr>,
    /// Those in /etc/resolv.conf.
    pub(super) named: Vec<IpAddr>,
    /// Whether systemd-resolved listens at 127.0.0.53.
    pub(super) runs_resolved: bool,
    /// Whether packets of containers are forwarded.
    pub(super) forwards: bool,
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// In words.
    pub(super) what: String,
    pub(super) way: Way,
}

/// How it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A packet that nobody holds back: an observer who does not see it is blind.
    Control(SocketAddr),
    /// Through tacenda, as it is meant.
    Stub,
    /// The same for a name that its upstream has to be asked for.
    Upstream,
    /// getaddrinfo in a program of its own.
    Libc,
    /// The same for a name without a dot: search lists, LLMNR.
    Bare,
    /// A question to this server.
    Ask {
        server: SocketAddr,
        over_tcp: bool,
        /// From a socket for this interface alone.
        interface: Option<String>,
    },
    /// A packet that nobody has to answer.
    Tell {
        to: SocketAddr,
        interface: Option<String>,
        form: Form,
    },
    /// A question from a network namespace whose packets are forwarded.
    Container(SocketAddr),
}

/// What is in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A DNS message: LLMNR and multicast DNS have them too.
    Dns,
    /// A name query of RFC 1002.
    NetBios,
    /// The beginning of a TLS connection, as who names its server has it. Over TCP; what is not connected is not told.
    Tls,
}

/// Every way, the control first.
pub(super) fn paths(around: &Surroundings) -> Vec<Path> {
    let mut found = Paths(Vec::new());
    let router = around.routers.first().map_or(NOBODY, |(_, router)| *router);
    found.add(
        "control: a packet that nobody holds back",
        Way::Control(SocketAddr::new(router, DISCARD)),
    );
    found.add("tacenda, as it is meant", Way::Stub);
    found.add("tacenda's own way to its upstream", Way::Upstream);
    found.add("libc (getaddrinfo)", Way::Libc);
    found.add("libc, a name without a dot", Way::Bare);
    if around.runs_resolved {
        found.ask("systemd-resolved", RESOLVED, None);
    }
    for server in around.named.iter().filter(|server| !server.is_loopback()) {
        found.ask("/etc/resolv.conf names", *server, None);
    }
    for server in &around.handed_out {
        found.ask("a network handed out", *server, None);
    }
    for (interface, router) in &around.routers {
        found.ask("the router", *router, None);
        found.ask("the router", *router, Some(interface));
        found.tell(
            "NetBIOS to the router",
            SocketAddr::new(*router, NETBIOS),
            interface,
            Form::NetBios,
        );
        for (what, form) in SEALED {
            let what = format!("{what} at the router");
            found.tell(&what, SocketAddr::new(*router, DOT), interface, form);
        }
    }
    for server in STRANGERS {
        found.ask("a public resolver", server, None);
        for (what, form) in SEALED {
            let way = Way::Tell {
                to: SocketAddr::new(server, DOT),
                interface: None,
                form,
            };
            found.add(&format!("{what} at {server}"), way);
        }
        if around.forwards {
            found.add(
                &format!("a container, to {server}"),
                Way::Container(SocketAddr::new(server, DNS)),
            );
        }
    }
    found.neighbours(around);
    found.0.truncate(MAX_PATHS);
    found.0
}

struct Paths(Vec<Path>);

impl Paths {
    /// Once: a server may be handed out, named and the router.
    fn add(&mut self, what: &str, way: Way) {
        if !self.0.iter().any(|path| path.way == way) {
            self.0.push(Path {
                what: what.to_owned(),
                way,
            });
        }
    }

    /// Over UDP and TCP.
    fn ask(&mut self, who: &str, server: IpAddr, interface: Option<&String>) {
        if is_link_local(server) && interface.is_none() {
            return;
        }
        let by = interface.map_or_else(String::new, |interface| format!(", from a socket for {interface}"));
        for (over_tcp, protocol) in [(false, "UDP"), (true, "TCP")] {
            let way = Way::Ask {
                server: SocketAddr::new(server, DNS),
                over_tcp,
                interface: interface.cloned(),
            };
            self.add(&format!("{who}: {server} over {protocol}{by}"), way);
        }
    }

    fn tell(&mut self, what: &str, to: SocketAddr, interface: &str, form: Form) {
        let way = Way::Tell {
            to,
            interface: Some(interface.to_owned()),
            form,
        };
        self.add(&format!("{what} ({})", to.ip()), way);
    }

    /// On each link, for everybody there to hear.
    fn neighbours(&mut self, around: &Surroundings) {
        let families: BTreeSet<_> = around.links.iter().map(|(link, own)| (link, own.is_ipv6())).collect();
        for (link, is_v6) in families {
            for (name, v4, v6, port) in [("multicast DNS", MDNS4, MDNS6, MDNS), ("LLMNR", LLMNR4, LLMNR6, LLMNR)] {
                let group = if is_v6 { IpAddr::V6(v6) } else { IpAddr::V4(v4) };
                self.tell(
                    &format!("{name} on {link}"),
                    SocketAddr::new(group, port),
                    link,
                    Form::Dns,
                );
            }
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// RFC 5737: where there is no router.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Written into devices and programs more than any other.
const STRANGERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
];

const RESOLVED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// RFC 6762 section 3, RFC 4795 section 2.
const MDNS4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const LLMNR4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 252);
const LLMNR6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3);

/// To whom a program may turn by itself, sealed, but to the wrong reader.
const SEALED: [(&str, Form); 2] = [("DNS over QUIC", Form::Dns), ("DNS over TLS", Form::Tls)];

const DISCARD: u16 = 9;
const DNS: u16 = 53;
const NETBIOS: u16 = 137;
const DOT: u16 = 853;
const MDNS: u16 = 5353;
const LLMNR: u16 = 5355;

/// All are tried at once, each with a socket or a process.
const MAX_PATHS: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        let ip = |text: &str| text.parse().unwrap();
        Surroundings {
            links: vec![("h0".into(), ip("192.168.77.50")), ("h0".into(), ip("fe80::1"))],
            routers: vec![("h0".into(), ip("192.168.77.1")), ("h0".into(), ip("fe80::77"))],
            handed_out: vec![ip("192.168.77.1")],
            named: vec![ip("127.0.0.1")],
            runs_resolved: false,
            forwards: false,
        }
    }

    fn whats(around: &Surroundings) -> Vec<String> {
        paths(around).into_iter().map(|path| path.what).collect()
    }

    #[test]
    fn the_control_comes_first_and_goes_to_the_router() {
        let control = |around: &Surroundings| paths(around)[0].way.clone();
        assert_eq!(control(&around()), Way::Control("192.168.77.1:9".parse().unwrap()));
        assert_eq!(
            control(&Surroundings::default()),
            Way::Control("192.0.2.1:9".parse().unwrap())
        );
    }

    #[test]
    fn each_way_is_tried_once() {
        let whats = whats(&around());
        let of = |text: &str| whats.iter().filter(|what| what.contains(text)).count();
        // Handed out and the router: over UDP and TCP, and from a socket for its link.
        assert_eq!(of("192.168.77.1 over"), 4, "{whats:?}");
        // Good on its link only.
        assert_eq!(of("fe80::77 over"), 2, "{whats:?}");
        assert_eq!((of("multicast DNS on h0"), of("LLMNR on h0")), (2, 2));
        assert_eq!((of("container"), of("127.0.0.1"), of("systemd-resolved")), (0, 0, 0));
    }

    #[test]
    fn what_runs_is_tried_too() {
        let more = Surroundings {
            named: vec!["192.168.77.9".parse().unwrap()],
            runs_resolved: true,
            forwards: true,
            ..around()
        };
        let whats = whats(&more);
        for text in [
            "systemd-resolved: 127.0.0.53 over UDP",
            "/etc/resolv.conf names: 192.168.77.9",
            "a container, to 8.8.8.8",
        ] {
            assert!(whats.iter().any(|what| what.starts_with(text)), "{text}: {whats:?}");
        }
    }
}
