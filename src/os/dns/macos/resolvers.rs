//! Who is asked in the end, as `scutil --dns` says: what network services, files and configuration profiles make together.

use std::net::IpAddr;

/// A resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The names that it is asked for; all, if empty.
    pub domain: String,
    /// Its servers.
    pub servers: Vec<String>,
    /// Whether it is asked by multicast, on the link.
    pub is_multicast: bool,
    /// Whether it is asked by programs alone that choose their interface themselves.
    pub is_scoped: bool,
}

impl Resolver {
    /// Whether it sends names to somebody else than this host.
    pub fn leaves(&self) -> bool {
        let is_here = |server: &String| server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !self.is_multicast && !self.servers.iter().all(is_here)
    }
}

/// More than any real host has.
const MAX_RESOLVERS: usize = 256;

/// Reads it. What is not understood is passed over.
pub fn read(said: &str) -> Vec<Resolver> {
    let (mut found, mut is_scoped) = (Vec::<Resolver>::new(), false);
    for line in said.lines() {
        let line = line.trim();
        if line.starts_with("DNS configuration") {
            // "(for scoped queries)", "(for service-specific queries)"
            is_scoped = line.contains('(');
        } else if line.starts_with("resolver #") {
            if found.len() == MAX_RESOLVERS {
                break;
            }
            found.push(Resolver {
                is_scoped,
                ..Resolver::default()
            });
        } else if let (Some(resolver), Some((key, value))) = (found.last_mut(), line.split_once(':')) {
            match (key.trim(), value.trim()) {
                ("domain", domain) => domain.trim_end_matches('.').clone_into(&mut resolver.domain),
                ("options", options) => resolver.is_multicast = options.split([',', ' ']).any(|one| one == "mdns"),
                (key, server) if key.starts_with("nameserver[") => resolver.servers.push(server.to_owned()),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A Mac on a network with DHCP, with a file for one domain in /etc/resolver.
    pub(in crate::os::dns::macos) const CAPTURED: &str = "\
DNS configuration

resolver #1
  search domain[0] : fritz.box
  nameserver[0] : fd00::ca0e:14ff:fe05:1c1
  nameserver[1] : 192.168.178.1
  if_index : 14 (en0)
  flags    : Request A records, Request AAAA records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5
  flags    : Request A records, Request AAAA records
  reach    : 0x00000000 (Not Reachable)
  order    : 300000

resolver #3
  domain   : corp.example.
  nameserver[0] : 10.8.0.1
  flags    : Request A records, Request AAAA records
  reach    : 0x00000002 (Reachable)

DNS configuration (for scoped queries)

resolver #1
  nameserver[0] : 192.168.178.1
  if_index : 14 (en0)
  flags    : Scoped, Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)
";

    #[test]
    fn resolvers_are_read() {
        let found = read(CAPTURED);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].servers, ["fd00::ca0e:14ff:fe05:1c1", "192.168.178.1"]);
        assert!(found[0].leaves() && !found[0].is_scoped && found[0].domain.is_empty());
        assert!(found[1].is_multicast && !found[1].leaves());
        assert_eq!((found[2].domain.as_str(), found[2].leaves()), ("corp.example", true));
        assert!(found[3].is_scoped);
    }

    #[test]
    fn our_own_address_does_not_leave() {
        let said = "DNS configuration\nresolver #1\n  nameserver[0] : 127.0.0.1\n  nameserver[1] : ::1\n";
        assert!(!read(said)[0].leaves());
        assert_eq!(read("No DNS configuration available\n"), []);
    }
}
