//! Which resolvers a network has handed out, and by whose word: what `system set` found before, what DHCP clients wrote down, and at last the
//! router, which is a guess. Reads only.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::os::file::{self, files_of};

/// A resolver of the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// Its interface, if that was said.
    pub interface: Option<String>,
    /// Where it is.
    pub server: IpAddr,
    /// Who says so.
    pub by: Source,
}

/// Who says where a network's resolver is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What stood in the system's settings before tacenda was set.
    Settings,
    /// systemd-networkd's lease.
    Networkd,
    /// dhclient's lease.
    Dhclient,
    /// Nobody: it is the router.
    Router,
}

impl Source {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Settings => "the system's settings before tacenda",
            Self::Networkd => "systemd-networkd's lease",
            Self::Dhclient => "dhclient's lease",
            Self::Router => "nobody: it is the router, a guess",
        }
    }
}

/// What a network said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its resolvers, the best source first, none twice.
    pub servers: Vec<HandedOut>,
    /// Where its sign-in page is, or what tells where (RFC 8910): URLs, as they came.
    pub pages: Vec<String>,
}

/// What is known on the host whose file tree is at `root`, and in whose settings these servers stand or stood, the newest first. Root's to ask:
/// others may not read all of it.
pub fn handed_out(root: &Path, settings: &[IpAddr]) -> Said {
    let mut said = Said::default();
    for server in settings {
        said.add(None, *server, Source::Settings);
    }
    for text in texts(&root.join("run/systemd/netif/leases")) {
        said.take_networkd(&text);
    }
    for folder in ["var/lib/dhcp", "var/lib/dhclient", "var/lib/NetworkManager"] {
        for text in texts(&root.join(folder)) {
            said.take_dhclient(&text);
        }
    }
    if let Some(text) = text(&root.join("proc/net/route")) {
        said.take_routes(&text);
    }
    said
}

impl Said {
    fn add(&mut self, interface: Option<&str>, server: IpAddr, by: Source) {
        let server = server.to_canonical();
        let is_one = !server.is_loopback() && !server.is_unspecified() && !server.is_multicast();
        if is_one && !self.servers.iter().any(|known| known.server == server) {
            self.servers.push(HandedOut {
                interface: interface.map(str::to_owned),
                server,
                by,
            });
        }
    }

    /// `DNS=192.168.1.1 192.168.1.2`; the file is named by the interface's number, which says less than the address.
    fn take_networkd(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "DNS" => {
                    let addresses = value.split_ascii_whitespace().filter_map(|word| word.parse().ok());
                    addresses.for_each(|server| self.add(None, server, Source::Networkd));
                }
                "CAPTIVE_PORTAL" if self.pages.len() < MAX_PAGES => self.pages.push(value.trim().to_owned()),
                _ => {}
            }
        }
    }

    /// dhclient.leases(5): the last lease of an interface counts.
    fn take_dhclient(&mut self, text: &str) {
        let Some((_, lease)) = text.rsplit_once("lease {") else {
            return;
        };
        let value = |key: &str| {
            let mut statements = lease.split(';').map(str::trim);
            statements.find_map(|statement| Some(statement.strip_prefix(key)?.trim().trim_matches('"').to_owned()))
        };
        let interface = value("interface ");
        for word in value("option domain-name-servers ").unwrap_or_default().split(',') {
            if let Ok(server) = word.trim().parse() {
                self.add(interface.as_deref(), server, Source::Dhclient);
            }
        }
    }

    /// `/proc/net/route`: interface, destination, gateway, in hexadecimal as they stand in memory.
    fn take_routes(&mut self, text: &str) {
        for line in text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let (Some(interface), Some("00000000"), Some(gateway)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if let Ok(gateway) = u32::from_str_radix(gateway, 16) {
                let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
                self.add(Some(interface), gateway.into(), Source::Router);
            }
        }
    }
}

fn text(path: &Path) -> Option<String> {
    let octets = file::read(path, MAX_LEN).ok()??;
    Some(String::from_utf8_lossy(&octets).into_owned())
}

/// Of a folder, those written last first.
fn texts(folder: &Path) -> Vec<String> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let mut files = files_of(folder);
    files.retain(|path| path.extension().is_none_or(|extension| extension != "conf"));
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).and_then(|data| data.modified()).ok()));
    files.iter().take(MAX_FILES).filter_map(|path| text(path)).collect()
}

/// Octets of a file: dhclient adds a lease to its file at each renewal, and begins it anew at each start.
const MAX_LEN: u64 = 1 << 20;

/// One for each interface.
const MAX_FILES: usize = 32;

/// One for each interface, and who has more of them than these is at home.
const MAX_PAGES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(said: &Said) -> Vec<(Option<&str>, String, Source)> {
        let one = |one: &HandedOut| (one.interface.clone(), one.server.to_string(), one.by);
        let mut out = Vec::new();
        for server in &said.servers {
            let (_, address, by) = one(server);
            out.push((server.interface.as_deref(), address, by));
        }
        out
    }

    #[test]
    fn each_source_is_read_and_the_best_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "run/systemd/netif/leases/3",
            "ADDRESS=192.168.1.7\nDNS=192.168.1.1 192.168.1.9\nCAPTIVE_PORTAL=https://api.hotel.example/\n",
        );
        put(
            "var/lib/dhcp/dhclient.h0.leases",
            "lease {\n  interface \"h0\";\n  option domain-name-servers 10.0.0.9;\n}\n\
             lease {\n  interface \"h0\";\n  option routers 10.0.0.1;\n  option domain-name-servers 10.0.0.2, 10.0.0.3;\n}\n",
        );
        put(
            "proc/net/route",
            "Iface\tDestination\tGateway \tFlags\nh0\t0001A8C0\t00000000\t0001\nh0\t00000000\t0100A8C0\t0003\n",
        );
        let settings = ["192.168.1.9", "127.0.0.53", "fe80::1", "192.168.1.9"].map(|server| server.parse().unwrap());
        let said = handed_out(folder.path(), &settings);
        let router = Ipv4Addr::from(0x0100_A8C0_u32.to_ne_bytes()).to_string();
        assert_eq!(
            found(&said),
            [
                (None, "192.168.1.9".into(), Source::Settings),
                (None, "fe80::1".into(), Source::Settings),
                (None, "192.168.1.1".into(), Source::Networkd),
                (Some("h0"), "10.0.0.2".into(), Source::Dhclient),
                (Some("h0"), "10.0.0.3".into(), Source::Dhclient),
                (Some("h0"), router, Source::Router),
            ]
        );
        assert_eq!(said.pages, ["https://api.hotel.example/"]);
    }

    #[test]
    fn nothing_and_nonsense_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(handed_out(folder.path(), &[]), Said::default());
        let mut said = Said::default();
        said.take_networkd("DNS=\nDNS=x 0.0.0.0 224.0.0.1\n=\n");
        said.take_dhclient("lease { option domain-name-servers ; } }");
        said.take_routes("\n\nh0 00000000 zz\nh0 00000000 00000000\n");
        assert_eq!(said, Said::default());
    }
}
