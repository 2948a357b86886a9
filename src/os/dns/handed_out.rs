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

/// A lease, as far as it counts for where a network tells of its sign-in page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    by: Source,
    lease: Lease,
}

/// Where it is looked.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its file tree.
    root: &'a Path,
    /// When it was started, in seconds since 1970.
    start: u64,
    links: Links,
}

/// Which interfaces a host has.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// The name of the one with this number.
    pub name_of: fn(u32) -> Option<String>,
    /// The number of the one with this name.
    pub index_of: fn(&str) -> Option<u32>,
}

impl Host<'_> {
    /// This one.
    pub fn this(links: Links) -> Self {
        Self {
            root: Path::new("/"),
            start: seconds_since_1970().saturating_sub(since_start().as_secs()),
            links,
        }
    }

    /// Whose a file is: named by a number, or by the interface, with the network's name (SSID) behind it. `None` within: nobody's in particular.
    /// `None`: of one that is gone.
    fn whose(&self, path: &Path) -> Option<Option<String>> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if let Ok(number) = name.parse() {
            return (self.links.name_of)(number).map(Some);
        }
        let is_there = |name: &&str| (self.links.index_of)(name).is_some();
        let until_hyphens = name.rmatch_indices('-').map(|(at, _)| &name[..at]);
        let found = std::iter::once(name).chain(until_hyphens).find(is_there);
        Some(found.map(str::to_owned))
    }
}

/// What is known on a host in whose settings these servers stand or stood, the newest first. Leases that outlive the machine's run count if
/// they were written in this one, by its clock of now. Root's to ask: others may not read all of it.
pub fn handed_out(host: &Host<'_>, settings: &[IpAddr]) -> Said {
    let mut said = Said::default();
    for (folder, by, read) in FOLDERS {
        let start = if folder.starts_with("run/") { 0 } else { host.start };
        for (path, octets) in newest(&host.root.join(folder), start) {
            let whose = host.whose(&path);
            if whose.is_none() || (by == Source::Dhcpcd && whose == Some(None)) {
                continue;
            }
            for mut lease in read(&octets) {
                lease.interface = lease.interface.or_else(|| whose.clone().flatten());
                said.take(by, lease);
            }
        }
    }
    // Behind those that know the network of now: after a change of network nobody may have written settings.
    for server in settings {
        said.add(None, *server, Source::Settings);
    }
    if let Some(octets) = octets(&host.root.join("proc/net/route")) {
        said.take_routes(&String::from_utf8_lossy(&octets));
    }
    said
}

type Read = fn(&[u8]) -> Vec<Lease>;

/// Where it is written down, the best first; below `run` by the interface's number. networkd's links know of router advertisements too; its
/// leases stay when `system set` has emptied the links.
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
    fn take(&mut self, by: Source, lease: Lease) {
        for server in &lease.servers {
            self.add(lease.interface.as_deref(), *server, by);
        }
        self.told.push(Told { by, lease });
    }

    /// Where the network at this interface, with these resolvers, tells of its sign-in page, or, on older ones, where the page is (RFC 8910):
    /// as it came, none twice. Leases of other networks say nothing of this one, and of one client's the newest alone counts.
    pub fn urls(&self, interface: &str, servers: &[IpAddr]) -> Vec<&str> {
        let mut urls: Vec<&str> = Vec::new();
        let mut heard = Vec::new();
        for Told { by, lease } in &self.told {
            let is_there = lease.interface.as_deref().is_none_or(|name| name == interface);
            let is_of_this = lease.servers.iter().any(|server| servers.contains(server));
            // These keep what an interface has now and nothing else; networkd's links are without servers while tacenda is set.
            let is_live = matches!(by, Source::NetworkManager | Source::Networkd) && lease.interface.is_some();
            let client = (*by, lease.is_v6);
            if !is_there || !(is_of_this || is_live) || (!is_live && heard.contains(&client)) {
                continue;
            }
            heard.push(client);
            for url in &lease.urls {
                if urls.len() < MAX_URLS && !urls.contains(&url.as_str()) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    fn add(&mut self, interface: Option<&str>, server: IpAddr, by: Source) {
        let server = server.to_canonical();
        let is_one = !server.is_loopback() && !server.is_unspecified() && !server.is_multicast();
        let interface = interface.map(str::to_owned);
        // Two networks may have the same; who does not know the interface adds nothing to what is known.
        let is_known =
            |known: &HandedOut| known.server == server && (interface.is_none() || known.interface == interface);
        if is_one && !self.servers.iter().any(is_known) {
            self.servers.push(HandedOut { interface, server, by });
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

/// Not of a pipe, say: not all of these folders are root's.
fn octets(path: &Path) -> Option<Vec<u8>> {
    file::read_regular(path, MAX_LEN).ok()
}

/// What the files of a folder say, those written last first.
fn newest(folder: &Path, start: u64) -> Vec<(PathBuf, Vec<u8>)> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let written = |path: PathBuf| {
        let data = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some((data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?, path))
    };
    let mut files: Vec<_> = files_of(folder).into_iter().filter_map(written).collect();
    files
        .retain(|(when, path)| when.as_secs() >= start && path.extension().is_none_or(|extension| extension != "conf"));
    files.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    let read = |(_, path): (_, PathBuf)| octets(&path).map(|octets| (path, octets));
    files.into_iter().take(MAX_FILES).filter_map(read).collect()
}

/// Octets of a file: dhclient adds a lease to its file at each renewal, and begins it anew at each start.
const MAX_LEN: u64 = 1 << 20;

/// One for each interface.
const MAX_FILES: usize = 32;

/// What a person reads.
const MAX_URLS: usize = 4;
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

    fn host(root: &Path) -> Host<'_> {
        Host {
            root,
            start: 1_000,
            links: Links {
                name_of: |number| (number < 9).then(|| format!("w{number}")),
                index_of: |name| ["h0", "h0-x", "w3"].contains(&name).then_some(7),
            },
        }
    }

    #[test]
    fn each_source_is_read_and_the_best_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, octets: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, octets).unwrap();
        };
        let message = |last: u8| [&[2; 236], &[99, 130, 83, 99, 6, 4, 10, 1, 1, last, 255][..]].concat();
        put(
            "run/NetworkManager/devices/2",
            b"[dhcp4]\ndhcp4.domain_name_servers=192.168.1.5\n",
        );
        put(
            "run/systemd/netif/leases/3",
            b"ADDRESS=192.168.1.7\nDNS=192.168.1.1 192.168.1.9\n",
        );
        put(
            "run/systemd/netif/links/3",
            b"DNS=fd00::5\nCAPTIVE_PORTAL=https://api.hotel.example/\n",
        );
        put(
            "var/lib/dhcp/dhclient.h0.leases",
            b"lease {\n  interface \"h0\";\n  option domain-name-servers 10.0.0.2, 10.0.0.3;\n  option default-url \"https://api.hotel.example/\";\n}\n",
        );
        put("run/systemd/netif/leases/9", b"DNS=192.168.9.9\n");
        put("var/lib/dhcpcd/h0-x-Hotel-A.lease", &message(1));
        put("var/lib/dhcpcd/gone.lease", &message(2));
        put(
            "proc/net/route",
            b"Iface\tDestination\tGateway \tFlags\nh0\t0001A8C0\t00000000\t0001\nh0\t00000000\t0100A8C0\t0003\n",
        );
        put(
            "var/lib/dhcp/dhclient.old.leases",
            b"lease {\n  option domain-name-servers 10.0.0.7;\n}\n",
        );
        let old = fs::File::options()
            .write(true)
            .open(folder.path().join("var/lib/dhcp/dhclient.old.leases"));
        old.unwrap()
            .set_modified(UNIX_EPOCH + std::time::Duration::from_secs(999))
            .unwrap();
        let settings = ["10.0.0.8", "127.0.0.53", "fe80::1", "10.0.0.8"].map(|server| server.parse().unwrap());
        let said = handed_out(&host(folder.path()), &settings);
        let router = Ipv4Addr::from(0x0100_A8C0_u32.to_ne_bytes()).to_string();
        assert_eq!(
            found(&said),
            [
                (Some("w2"), "192.168.1.5".into(), Source::NetworkManager),
                (Some("w3"), "192.168.1.1".into(), Source::Networkd),
                (Some("w3"), "192.168.1.9".into(), Source::Networkd),
                (Some("w3"), "fd00::5".into(), Source::Networkd),
                (Some("h0-x"), "10.1.1.1".into(), Source::Dhcpcd),
                (Some("h0"), "10.0.0.2".into(), Source::Dhclient),
                (Some("h0"), "10.0.0.3".into(), Source::Dhclient),
                (None, "10.0.0.8".into(), Source::Settings),
                (None, "fe80::1".into(), Source::Settings),
                (Some("h0"), router, Source::Router),
            ]
        );
        assert_eq!(said.urls("w3", &[]), ["https://api.hotel.example/"]);
        assert!(said.urls("w2", &[]).is_empty() && said.urls("h0", &[]).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_in_run_is_of_now_whatever_the_clock_says_and_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let leases = folder.path().join("run/systemd/netif/leases");
        fs::create_dir_all(&leases).unwrap();
        fs::write(leases.join("3"), "DNS=192.168.1.1\n").unwrap();
        let old = fs::File::options().write(true).open(leases.join("3")).unwrap();
        old.set_modified(UNIX_EPOCH).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(leases.join("2"))
            .status()
            .unwrap();
        assert!(made.success());
        let said = handed_out(&host(folder.path()), &[]);
        assert_eq!(found(&said), [(Some("w3"), "192.168.1.1".into(), Source::Networkd)]);
    }

    #[test]
    fn nothing_and_nonsense_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(handed_out(&host(folder.path()), &[]), Said::default());
        let mut said = Said::default();
        let servers = ["0.0.0.0", "224.0.0.1", "127.0.0.1"].map(|server| server.parse().unwrap());
        let lease = Lease {
            servers: servers.into(),
            interface: Some("w3".into()),
            ..Lease::default()
        };
        said.take(Source::Networkd, lease);
        said.take_routes("\n\nh0 00000000 zz\nh0 00000000 00000000\n");
        assert!(said.servers.is_empty() && said.urls("w3", &[]).is_empty());
    }

    #[test]
    fn r8910_a_lease_of_another_network_does_not_tell_of_this_ones_page() {
        let mut said = Said::default();
        let mut tell = |by, interface: Option<&str>, server: &str, url: Option<&str>| {
            let lease = Lease {
                interface: interface.map(str::to_owned),
                servers: vec![server.parse().unwrap()],
                urls: url.into_iter().map(str::to_owned).collect(),
                is_v6: server.contains(':'),
            };
            said.take(by, lease);
        };
        tell(
            Source::Networkd,
            Some("e1"),
            "10.0.0.1",
            Some("https://office.example/"),
        );
        tell(Source::Networkd, Some("w0"), "10.9.9.9", Some("https://now.example/"));
        tell(
            Source::NetworkManager,
            None,
            "10.0.0.1",
            Some("https://nobodys.example/"),
        );
        // Two networks alike: the newer says nothing.
        tell(Source::Dhcpcd, None, "192.168.1.1", None);
        tell(Source::Dhcpcd, None, "192.168.1.1", Some("https://old.example/"));
        // Its lease over IPv6 is another one.
        tell(Source::Dhcpcd, None, "fd00::1", Some("https://six.example/"));
        tell(
            Source::Dhclient,
            Some("e1"),
            "192.168.1.1",
            Some("https://wired.example/"),
        );
        tell(
            Source::Dhclient,
            Some("w0"),
            "192.168.9.9",
            Some("https://other.example/"),
        );
        tell(
            Source::Dhclient,
            Some("w0"),
            "192.168.1.1",
            Some("https://new.example/"),
        );
        let servers = ["192.168.1.1", "192.168.1.2", "fd00::1"].map(|server| server.parse().unwrap());
        assert_eq!(
            said.urls("w0", &servers),
            ["https://now.example/", "https://six.example/", "https://new.example/"]
        );
        assert_eq!(said.urls("w0", &[]), ["https://now.example/"]);
    }
}
