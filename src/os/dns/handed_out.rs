//! What a network has said: its resolvers, and by whose word: what `system set` found before, what DHCP clients wrote down, and at last the
//! router, which is a guess; and where it tells of its sign-in page (RFC 8910). Reads only.

mod leases;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::os::clock::{seconds_since_1970, since_start};
use crate::os::file::{self, files_of};
use leases::Lease;

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
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// dhcpcd's lease.
    Dhcpcd,
    /// dhclient's lease.
    Dhclient,
    /// What stood in the system's settings before tacenda was set.
    Settings,
    /// Nobody: it is the router.
    Router,
}

impl Source {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
            Self::Dhcpcd => "dhcpcd's lease",
            Self::Dhclient => "dhclient's lease",
            Self::Settings => "the system's settings before tacenda",
            Self::Router => "nobody: it is the router, a guess",
        }
    }
}

/// What a network said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its resolvers, the best source first, none twice.
    pub servers: Vec<HandedOut>,
    told: Vec<Told>,
}

/// Where a network tells of its sign-in page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    url: String,
    by: Source,
    /// The resolvers that were handed out with it.
    servers: Vec<IpAddr>,
}

/// What is known on the host whose file tree is at `root`, and in whose settings these servers stand or stood, the newest first. Leases that
/// were written earlier than `start`, in seconds since 1970, are of networks before the machine's start, and say nothing. Root's to ask: others
/// may not read all of it.
pub fn handed_out(root: &Path, settings: &[IpAddr], start: u64) -> Said {
    let mut said = Said::default();
    for (folder, by, read) in FOLDERS {
        for octets in newest(&root.join(folder), start) {
            said.take(by, &read(&octets));
        }
    }
    // Behind those that know the network of now: after a change of network nobody may have written settings.
    for server in settings {
        said.add(None, *server, Source::Settings);
    }
    if let Some(octets) = octets(&root.join("proc/net/route")) {
        said.take_routes(&String::from_utf8_lossy(&octets));
    }
    said
}

/// When the machine was started, as [`handed_out`] takes it.
pub fn machine_start() -> u64 {
    seconds_since_1970().saturating_sub(since_start().as_secs())
}

type Read = fn(&[u8]) -> Lease;

/// Where it is written down, the best first. networkd's links know of router advertisements too; its leases stay when `system set` has emptied
/// the links.
const FOLDERS: [(&str, Source, Read); 8] = [
    (
        "run/NetworkManager/devices",
        Source::NetworkManager,
        leases::network_manager,
    ),
    ("run/systemd/netif/leases", Source::Networkd, leases::networkd),
    ("run/systemd/netif/links", Source::Networkd, leases::networkd),
    ("var/lib/dhcpcd", Source::Dhcpcd, leases::dhcpcd),
    ("var/lib/dhcpcd5", Source::Dhcpcd, leases::dhcpcd),
    ("var/lib/dhcp", Source::Dhclient, leases::dhclient),
    ("var/lib/dhclient", Source::Dhclient, leases::dhclient),
    ("var/lib/NetworkManager", Source::Dhclient, leases::dhclient),
];

impl Said {
    fn take(&mut self, by: Source, lease: &Lease) {
        for server in &lease.servers {
            self.add(lease.interface.as_deref(), *server, by);
        }
        // A person will read it on a terminal.
        let is_readable = |url: &&String| url.len() <= MAX_URL && url.bytes().all(|octet| octet.is_ascii_graphic());
        for url in lease.urls.iter().filter(is_readable) {
            if self.told.len() < MAX_URLS {
                self.told.push(Told {
                    url: url.clone(),
                    by,
                    servers: lease.servers.clone(),
                });
            }
        }
    }

    /// Where the network with these resolvers tells of its sign-in page, or, on older ones, where the page is (RFC 8910): as it came, none
    /// twice. Some clients keep leases of other networks for years: of those the newest counts that is of this one.
    pub fn urls(&self, servers: &[IpAddr]) -> Vec<&str> {
        let mut urls: Vec<&str> = Vec::new();
        let mut kept = Vec::new();
        for told in &self.told {
            if matches!(told.by, Source::Dhclient | Source::Dhcpcd) {
                let is_of_this = told.servers.iter().any(|server| servers.contains(server));
                if !is_of_this || kept.contains(&told.by) {
                    continue;
                }
                kept.push(told.by);
            }
            if !urls.contains(&told.url.as_str()) {
                urls.push(&told.url);
            }
        }
        urls
    }

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

fn octets(path: &Path) -> Option<Vec<u8>> {
    file::read(path, MAX_LEN).ok()?
}

/// What the files of a folder say, those written last first.
fn newest(folder: &Path, start: u64) -> Vec<Vec<u8>> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let written = |path: &PathBuf| {
        let when = fs::metadata(path).and_then(|data| data.modified()).ok()?;
        Some((when.duration_since(UNIX_EPOCH).ok()?, path.clone()))
    };
    let mut files: Vec<_> = files_of(folder).iter().filter_map(written).collect();
    files
        .retain(|(when, path)| when.as_secs() >= start && path.extension().is_none_or(|extension| extension != "conf"));
    files.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    files
        .iter()
        .take(MAX_FILES)
        .filter_map(|(_, path)| octets(path))
        .collect()
}

/// Octets of a file: dhclient adds a lease to its file at each renewal, and begins it anew at each start.
const MAX_LEN: u64 = 1 << 20;

/// One for each interface.
const MAX_FILES: usize = 32;

/// One for each interface, and who has more of them than these is at home.
const MAX_URLS: usize = 8;

/// Octets: what DHCP and a router can say in one option, and what a person can still read.
const MAX_URL: usize = 255;

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
            "run/NetworkManager/devices/2",
            "[dhcp4]\ndhcp4.domain_name_servers=192.168.1.5\n",
        );
        put(
            "run/systemd/netif/leases/3",
            "ADDRESS=192.168.1.7\nDNS=192.168.1.1 192.168.1.9\n",
        );
        put(
            "run/systemd/netif/links/3",
            "DNS=fd00::5\nCAPTIVE_PORTAL=https://api.hotel.example/\n",
        );
        put(
            "var/lib/dhcp/dhclient.h0.leases",
            "lease {\n  interface \"h0\";\n  option domain-name-servers 10.0.0.2, 10.0.0.3;\n  option default-url \"https://api.hotel.example/\";\n}\n",
        );
        put(
            "proc/net/route",
            "Iface\tDestination\tGateway \tFlags\nh0\t0001A8C0\t00000000\t0001\nh0\t00000000\t0100A8C0\t0003\n",
        );
        put(
            "var/lib/dhcp/dhclient.old.leases",
            "lease {\n  option domain-name-servers 10.0.0.7;\n}\n",
        );
        let old = fs::File::options()
            .write(true)
            .open(folder.path().join("var/lib/dhcp/dhclient.old.leases"));
        old.unwrap()
            .set_modified(UNIX_EPOCH + std::time::Duration::from_secs(999))
            .unwrap();
        let settings = ["10.0.0.8", "127.0.0.53", "fe80::1", "10.0.0.8"].map(|server| server.parse().unwrap());
        let said = handed_out(folder.path(), &settings, 1_000);
        let router = Ipv4Addr::from(0x0100_A8C0_u32.to_ne_bytes()).to_string();
        assert_eq!(
            found(&said),
            [
                (None, "192.168.1.5".into(), Source::NetworkManager),
                (None, "192.168.1.1".into(), Source::Networkd),
                (None, "192.168.1.9".into(), Source::Networkd),
                (None, "fd00::5".into(), Source::Networkd),
                (Some("h0"), "10.0.0.2".into(), Source::Dhclient),
                (Some("h0"), "10.0.0.3".into(), Source::Dhclient),
                (None, "10.0.0.8".into(), Source::Settings),
                (None, "fe80::1".into(), Source::Settings),
                (Some("h0"), router, Source::Router),
            ]
        );
        assert_eq!(said.urls(&[]), ["https://api.hotel.example/"]);
    }

    #[test]
    fn nothing_and_nonsense_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(handed_out(folder.path(), &[], 0), Said::default());
        let mut said = Said::default();
        let servers = ["0.0.0.0", "224.0.0.1", "127.0.0.1"].map(|server| server.parse().unwrap());
        said.take(
            Source::Networkd,
            &Lease {
                servers: servers.into(),
                urls: vec!["https://x".repeat(100), "https://x/\u{1b}[31m".into()],
                ..Lease::default()
            },
        );
        said.take_routes("\n\nh0 00000000 zz\nh0 00000000 00000000\n");
        assert_eq!(said, Said::default());
    }

    #[test]
    fn r8910_a_lease_of_another_network_does_not_tell_of_this_ones_page() {
        let mut said = Said::default();
        let mut tell = |by, server: &str, url: &str| {
            let lease = Lease {
                servers: vec![server.parse().unwrap()],
                urls: vec![url.into()],
                ..Lease::default()
            };
            said.take(by, &lease);
        };
        tell(Source::Networkd, "10.0.0.1", "https://now.example/");
        tell(Source::Dhcpcd, "192.168.1.1", "https://new.example/");
        tell(Source::Dhcpcd, "192.168.1.1", "https://old.example/");
        tell(Source::Dhclient, "192.168.9.9", "https://other.example/");
        (0..20).for_each(|_| tell(Source::Dhclient, "192.168.1.1", "https://now.example/"));
        let servers = ["192.168.1.1", "192.168.1.2"].map(|server| server.parse().unwrap());
        assert_eq!(said.urls(&servers), ["https://now.example/", "https://new.example/"]);
        assert_eq!(said.urls(&[]), ["https://now.example/"]);
        assert_eq!(said.told.len(), MAX_URLS);
    }
}
