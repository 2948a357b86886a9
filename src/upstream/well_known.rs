//! Addresses of well-known public resolvers, so that their names need not be asked of anybody. Pure data.
//!
//! Only resolvers whose operators publish these addresses for these names; the certificate still has to carry the name,
//! so a wrong line here costs a connection, never privacy. Left out on purpose: dns0.eu, which closed down in October 2025.

use std::net::IpAddr;

/// The published addresses of a host name in lower case; empty for a stranger.
pub(super) fn addresses(host: &str) -> Vec<IpAddr> {
    TABLE
        .iter()
        .find(|(hosts, _)| hosts.iter().any(|known| matches(known, host)))
        .map(|(_, addresses)| addresses.iter().filter_map(|address| address.parse().ok()).collect())
        .unwrap_or_default()
}

/// `*.zone` stands for every name below the zone (NextDNS puts the profile there), else the name itself.
fn matches(known: &str, host: &str) -> bool {
    match known.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => known == host,
    }
}

/// Host names, then their addresses: IPv4 first, the operator's order kept.
const TABLE: &[(&[&str], &[&str])] = &[
    // Quad9: blocks malware, validates.
    (
        &["dns.quad9.net"],
        &["9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"],
    ),
    (
        &["dns9.quad9.net"],
        &["9.9.9.9", "149.112.112.9", "2620:fe::fe", "2620:fe::9"],
    ),
    // Quad9: no blocking, no validation.
    (
        &["dns10.quad9.net"],
        &["9.9.9.10", "149.112.112.10", "2620:fe::10", "2620:fe::fe:10"],
    ),
    // Quad9: blocks malware, sends a client subnet.
    (
        &["dns11.quad9.net"],
        &["9.9.9.11", "149.112.112.11", "2620:fe::11", "2620:fe::fe:11"],
    ),
    // Cloudflare.
    (
        &[
            "cloudflare-dns.com",
            "one.one.one.one",
            "1dot1dot1dot1.cloudflare-dns.com",
        ],
        &["1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"],
    ),
    (
        &["security.cloudflare-dns.com"],
        &["1.1.1.2", "1.0.0.2", "2606:4700:4700::1112", "2606:4700:4700::1002"],
    ),
    (
        &["family.cloudflare-dns.com"],
        &["1.1.1.3", "1.0.0.3", "2606:4700:4700::1113", "2606:4700:4700::1003"],
    ),
    // Google.
    (
        &["dns.google"],
        &["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"],
    ),
    // Mullvad: one address a kind of filter.
    (&["dns.mullvad.net"], &["194.242.2.2", "2a07:e340::2"]),
    (&["adblock.dns.mullvad.net"], &["194.242.2.3", "2a07:e340::3"]),
    (&["base.dns.mullvad.net"], &["194.242.2.4", "2a07:e340::4"]),
    (&["extended.dns.mullvad.net"], &["194.242.2.5", "2a07:e340::5"]),
    (&["family.dns.mullvad.net"], &["194.242.2.6", "2a07:e340::6"]),
    (&["all.dns.mullvad.net"], &["194.242.2.9", "2a07:e340::9"]),
    // AdGuard.
    (
        &["dns.adguard-dns.com"],
        &["94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"],
    ),
    (
        &["unfiltered.adguard-dns.com"],
        &["94.140.14.140", "94.140.14.141", "2a10:50c0::1:ff", "2a10:50c0::2:ff"],
    ),
    (
        &["family.adguard-dns.com"],
        &[
            "94.140.14.15",
            "94.140.15.16",
            "2a10:50c0::bad1:ff",
            "2a10:50c0::bad2:ff",
        ],
    ),
    // DNS4EU.
    (
        &["protective.joindns4.eu"],
        &[
            "86.54.11.1",
            "86.54.11.201",
            "2a13:1001::86:54:11:1",
            "2a13:1001::86:54:11:201",
        ],
    ),
    (
        &["child.joindns4.eu"],
        &[
            "86.54.11.12",
            "86.54.11.212",
            "2a13:1001::86:54:11:12",
            "2a13:1001::86:54:11:212",
        ],
    ),
    (
        &["noads.joindns4.eu"],
        &[
            "86.54.11.13",
            "86.54.11.213",
            "2a13:1001::86:54:11:13",
            "2a13:1001::86:54:11:213",
        ],
    ),
    (
        &["child-noads.joindns4.eu"],
        &[
            "86.54.11.11",
            "86.54.11.211",
            "2a13:1001::86:54:11:11",
            "2a13:1001::86:54:11:211",
        ],
    ),
    (
        &["unfiltered.joindns4.eu"],
        &[
            "86.54.11.100",
            "86.54.11.200",
            "2a13:1001::86:54:11:100",
            "2a13:1001::86:54:11:200",
        ],
    ),
    // CleanBrowsing, by DoT.
    (
        &["security-filter-dns.cleanbrowsing.org"],
        &["185.228.168.9", "185.228.169.9"],
    ),
    (
        &["adult-filter-dns.cleanbrowsing.org"],
        &["185.228.168.10", "185.228.169.11"],
    ),
    (
        &["family-filter-dns.cleanbrowsing.org"],
        &["185.228.168.168", "185.228.169.168"],
    ),
    // Control D's free resolvers: the filter is in the path (DoH) or the first label (DoT).
    (
        &["freedns.controld.com", "*.freedns.controld.com"],
        &["76.76.2.11", "2606:1a40::11"],
    ),
    // DNS.SB.
    (
        &["dot.sb", "doh.dns.sb"],
        &["185.222.222.222", "45.11.45.11", "2a09::", "2a11::"],
    ),
    // NextDNS: the profile is in the path (DoH) or the first label (DoT).
    (
        &["dns.nextdns.io", "*.dns.nextdns.io"],
        &["45.90.28.0", "45.90.30.0", "2a07:a8c0::", "2a07:a8c1::"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_line_is_sound() {
        let mut seen = BTreeSet::new();
        for (hosts, addresses) in TABLE {
            assert!(!addresses.is_empty());
            for host in *hosts {
                assert!(seen.insert(*host), "{host} stands in the table twice");
                assert_eq!(*host, host.to_ascii_lowercase());
            }
            for address in *addresses {
                assert!(address.parse::<IpAddr>().is_ok(), "{address}");
            }
        }
    }

    #[test]
    fn every_default_upstream_is_known() {
        for host in ["dns.quad9.net", "dns.mullvad.net", "cloudflare-dns.com"] {
            assert!(!addresses(host).is_empty(), "{host}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_names_below_only() {
        assert!(!addresses("abc123.dns.nextdns.io").is_empty());
        assert!(addresses(".dns.nextdns.io").is_empty());
        assert!(addresses("evildns.nextdns.io").is_empty());
        assert!(addresses("dns.quad9.net.evil.example").is_empty());
    }
}
