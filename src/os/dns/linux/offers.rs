//! What a VPN wanted of the system's settings while they were ours: servers for some domains. Taken from it, and kept to be offered.

use std::net::IpAddr;
use std::path::Path;

use super::change::Change;
use super::inside;
use super::object::Object;
use super::roads::Roads;
use super::services::Link;
use crate::os::dns::system::Offer;

/// What is offered by links that are there and have no cable: tunnels (`tun`, `wg`, `ppp`). What was written into a file is a tunnel's if its
/// server is in the tunnel's own network: by the default route the hotel's would be too.
pub(super) fn of(root: &Path, changes: &[&Change], roads: &impl Roads) -> Vec<Offer> {
    let mut found: Vec<Offer> = Vec::new();
    for offer in changes.iter().flat_map(|change| of_change(change, roads)) {
        let is_one = !offer.servers.is_empty() && !offer.domains.is_empty();
        if is_one && is_tunnel(root, &offer.link) {
            // Of one link the newest counts, which comes last.
            found.retain(|known| known.link != offer.link);
            found.push(offer);
        }
    }
    found
}

fn of_change(change: &Change, roads: &impl Roads) -> Vec<Offer> {
    match change {
        Change::File(change) => {
            let notes = change.latest.iter();
            notes.filter_map(|note| of_file(&note.object, roads)).collect()
        }
        Change::Links { before } => before.iter().map(of_link).collect(),
        Change::Openresolv { .. } => Vec::new(),
    }
}

/// `search` and `domain` of resolv.conf(5).
fn of_file(object: &Object, roads: &impl Roads) -> Option<Offer> {
    let servers = object.servers();
    let servers: Vec<IpAddr> = servers.iter().filter_map(|server| server.parse().ok()).collect();
    let link = roads.link_to(*servers.first()?)?;
    let is_its_own = |server: &IpAddr| roads.is_near(*server) && roads.link_to(*server).as_ref() == Some(&link);
    if !servers.iter().all(is_its_own) {
        return None;
    }
    let text = String::from_utf8_lossy(object.octets().unwrap_or_default()).into_owned();
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let key = words.next()?;
        ["search", "domain"]
            .contains(&key)
            .then(|| words.map(str::to_owned).collect::<Vec<_>>())
    });
    let domains = words.flatten().collect();
    Some(Offer { link, servers, domains })
}

/// As systemd-resolved had it: domains to search and to route by.
fn of_link(link: &Link) -> Offer {
    Offer {
        link: link.name.clone(),
        servers: link.addresses().collect::<Vec<IpAddr>>(),
        domains: link.domains.iter().map(|(domain, _)| domain.clone()).collect(),
    }
}

/// `ARPHRD_NONE` (tun, WireGuard) and `ARPHRD_PPP` of linux/if_arp.h.
fn is_tunnel(root: &Path, link: &str) -> bool {
    let path = inside(root, &Path::new("/sys/class/net").join(link).join("type"));
    let kind = std::fs::read_to_string(path).unwrap_or_default();
    ["65534", "512"].contains(&kind.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::dns::linux::change::FileChange;
    use crate::os::dns::linux::object::Octets;
    use crate::os::dns::linux::roads::Note;

    fn note(link: &str, text: &str) -> Note {
        Note {
            object: Object::ours(text.into(), 0o644),
            link: Some(link.to_owned()),
        }
    }

    /// Each tunnel has its own network, and everything else is behind the cable, or behind the tunnel that took the default route.
    struct Net;

    impl Roads for Net {
        fn link_to(&self, server: IpAddr) -> Option<String> {
            let server = server.to_string();
            let link = match server.as_str() {
                server if server.starts_with("10.7.") => "wg0",
                server if server.starts_with("192.168.") => "h0",
                _ => "tun0",
            };
            Some(link.to_owned())
        }

        fn is_near(&self, server: IpAddr) -> bool {
            ["10.7.", "10.8.", "192.168."]
                .iter()
                .any(|network| server.to_string().starts_with(network))
        }

        fn has_link(&self, _name: &str) -> bool {
            true
        }
    }

    #[test]
    fn tunnels_offer_and_cables_do_not() {
        let root = tempfile::tempdir().unwrap();
        for (link, kind) in [("tun0", "65534"), ("wg0", "65534"), ("h0", "1")] {
            let folder = root.path().join("sys/class/net").join(link);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("type"), kind).unwrap();
        }
        let file = Change::File(FileChange {
            path: "/etc/resolv.conf".into(),
            before: Object::Nothing,
            latest: vec![
                note("h0", "search com\nnameserver 192.168.77.1\n"),
                note("tun0", "search old.example\nnameserver 10.8.0.9\n"),
                note(
                    "tun0",
                    "# by a script\nsearch corp.example lab.example\nnameserver 10.8.0.1\n",
                ),
                // A hotel's hook, while the default route leads through the tunnel.
                note("tun0", "search bank.example\nnameserver 8.8.8.8\n"),
                note("tun9", "search gone.example\nnameserver 10.9.0.1\n"),
                note("wg0", "nameserver 10.7.0.1\n"),
            ],
            ours: Octets(Vec::new()),
            mode: 0o644,
            folders: Vec::new(),
            reader: None,
        });
        let link = Link {
            index: 7,
            name: "wg0".into(),
            servers: vec![(2, vec![10, 7, 0, 1], 0, String::new())],
            domains: vec![("intra.example".into(), true)],
            default_route: false,
            llmnr: "no".into(),
            multicast_dns: "no".into(),
            dns_over_tls: "no".into(),
        };
        let links = Change::Links { before: vec![link] };
        let found = of(root.path(), &[&file, &links], &Net);
        let offer = |link: &str, server: &str, domains: &[&str]| Offer {
            link: link.to_owned(),
            servers: vec![server.parse().unwrap()],
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        };
        let expected = [
            offer("tun0", "10.8.0.1", &["corp.example", "lab.example"]),
            offer("wg0", "10.7.0.1", &["intra.example"]),
        ];
        assert_eq!(found, expected);
    }
}
