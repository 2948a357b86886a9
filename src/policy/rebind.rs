//! Public names must not lead to private places (T-REB): a page of a stranger could else have the browser talk to the router, or to
//! whatever listens on this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::answer::Answer;
use crate::wire::domains::Domains;

/// Which answers of public resolvers are withheld.
#[derive(Clone, Debug)]
pub struct Rebind {
    is_on: bool,
    /// May have private addresses.
    allowed: Domains,
}

impl Rebind {
    /// Withholds private addresses of all names but those at or below `allowed`; what is no name is left out.
    pub fn on<'a>(allowed: impl Iterator<Item = &'a str>) -> Self {
        Self {
            is_on: true,
            allowed: Domains::of_hosts(allowed),
        }
    }

    /// Withholds nothing.
    pub fn off() -> Self {
        Self {
            is_on: false,
            allowed: Domains::default(),
        }
    }

    /// Whether an answer for this canonical name in wire form may be given.
    pub(super) fn allows(&self, qname: &[u8], answer: Answer<&[u8]>) -> bool {
        !self.is_on || !answer.addresses().any(is_private) || self.allowed.cover(qname)
    }
}

/// Whether an address is of no use outside the network that it is in.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

/// Whether packets to an address may stay on the host that sends them.
pub fn is_this_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.octets()[0] == 0,
        // ::, ::1, and whatever IPv4 address stands in an IPv6 one.
        IpAddr::V6(v6) => v6.to_ipv4().is_some(),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // 0.0.0.0/8 is this host (RFC 1122), 100.64.0.0/10 shared (RFC 6598).
    a == 0
        || (a == 100 && b & 0xc0 == 64)
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let tail = |from: usize| {
        let [a, b] = segments[from].to_be_bytes();
        let [c, d] = segments[from + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // ::, ::1, IPv4-compatible and IPv4-mapped: no public name has them for a good reason.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => true,
        // NAT64 (RFC 6052): of a private address.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_private_v4(tail(6)),
        // NAT64 of this network alone (RFC 8215).
        [0x64, 0xff9b, 1, ..] => true,
        // 6to4 (RFC 3056): to a private address.
        [0x2002, ..] => is_private_v4(tail(1)),
        // Unique local, link-local, site-local.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::{check, name, record, response};

    #[test]
    fn t_reb_addresses_that_are_private() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:192.168.1.1",
            "::ffff:8.8.8.8",
            "::10.0.0.1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "2002:c0a8:101::1",
            "2002:7f00:1::",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "169.253.1.1",
            "11.0.0.1",
            "2001:db8::1",
            "2606:4700::1",
            "fb00::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "ff02::1",
        ] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    const AAAA: u16 = 28;

    fn allows(rebind: &Rebind, records: &[Vec<u8>], qtype: u16) -> bool {
        let octets = response("www.example", qtype, 0, records, &[]);
        rebind.allows(
            &name("www.example"),
            check(&octets, "www.example", qtype).unwrap().view(),
        )
    }

    #[test]
    fn t_reb_one_private_address_among_others_is_enough_also_behind_an_alias() {
        let public = record("www.example", 1, 60, &[8, 8, 8, 8]);
        let private = record("www.example", 1, 60, &[192, 168, 1, 1]);
        let on = Rebind::on(std::iter::empty());
        assert!(allows(&on, std::slice::from_ref(&public), 1));
        assert!(!allows(&on, &[public, private.clone()], 1));
        let alias = record("www.example", 5, 60, &name("a.example"));
        let target = record("a.example", 1, 60, &[10, 0, 0, 1]);
        assert!(!allows(&on, &[alias, target], 1));
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 8, 8, 8, 8];
        assert!(!allows(&on, &[record("www.example", AAAA, 60, &mapped)], AAAA));
        assert!(allows(&Rebind::off(), std::slice::from_ref(&private), 1));
        for (domain, expected) in [
            ("example", true),
            ("www.example", true),
            ("w.example", false),
            ("com", false),
        ] {
            assert_eq!(
                allows(&Rebind::on([domain].into_iter()), std::slice::from_ref(&private), 1),
                expected,
                "{domain}"
            );
        }
    }

    #[test]
    fn t_reb_hints_of_https_and_svcb_count() {
        let service = |hint: &[u8]| {
            // Priority 1, target `.`, alpn h2, then the hint.
            let rdata = [&[0, 1, 0, 0, 1, 0, 3, 2][..], b"h2", hint].concat();
            record("www.example", 65, 60, &rdata)
        };
        let on = Rebind::on(std::iter::empty());
        let v4 = |octets: [u8; 8]| [&[0, 4, 0, 8][..], &octets].concat();
        assert!(allows(&on, &[service(&v4([8, 8, 8, 8, 9, 9, 9, 9]))], 65));
        assert!(!allows(&on, &[service(&v4([8, 8, 8, 8, 10, 0, 0, 1]))], 65));
        let v6 = [&[0, 6, 0, 16, 0xfe, 0x80][..], &[0; 14]].concat();
        assert!(!allows(&on, &[service(&v6)], 65));
        // What cannot be read leads nowhere.
        assert!(allows(&on, &[service(&[0, 4, 0, 9, 10])], 65));
    }
}
