//! The routers of this host's default routes, as /proc tells them. Pure but for reading the two files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Each with the interface that it is behind; none where the system does not tell.
pub fn routers() -> Vec<(String, IpAddr)> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut found: Vec<_> = read("/proc/net/route").lines().filter_map(v4).collect();
    found.extend(read("/proc/net/ipv6_route").lines().filter_map(v6));
    found.truncate(MAX_ROUTERS);
    found
}

/// `Iface Destination Gateway Flags ...`: numbers in hexadecimal, addresses in the host's order.
fn v4(line: &str) -> Option<(String, IpAddr)> {
    let mut fields = line.split_whitespace();
    let interface = fields.next()?;
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    let (to, router) = (number()?, number()?);
    (to == 0 && router != 0).then(|| (interface.to_owned(), Ipv4Addr::from(router.to_ne_bytes()).into()))
}

/// `destination length source length router metric references use flags interface`, in hexadecimal.
fn v6(line: &str) -> Option<(String, IpAddr)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let &[to, len, _, _, router, _, _, _, _, interface] = fields.as_slice() else {
        return None;
    };
    let is_default = u128::from_str_radix(to, 16).ok()? == 0 && len == "00";
    let router = u128::from_str_radix(router, 16).ok()?;
    (is_default && router != 0).then(|| (interface.to_owned(), Ipv6Addr::from_bits(router).into()))
}

/// A host with more is no host.
const MAX_ROUTERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_read_and_others_are_not() {
        let line = "h0\t00000000\tCONE\t0003\t0\t0\t0\t00000000\t0\t0\t0"
            .replace("CONE", &format!("{:08X}", u32::from_ne_bytes([192, 168, 77, 1])));
        assert_eq!(v4(&line), Some(("h0".into(), "192.168.77.1".parse().unwrap())));
        for other in [
            "Iface\tDestination\tGateway \tFlags",
            "h0\t004DA8C0\t00000000\t0001",
            "",
            "h0",
            "h0\t00000000\t00000000\t0001",
        ] {
            assert_eq!(v4(other), None, "{other}");
        }
        let line = format!(
            "{0} 00 {0} 00 fd770000000000000000000000000001 00000400 00000001 00000000 00000003       h0",
            "0".repeat(32)
        );
        assert_eq!(v6(&line), Some(("h0".into(), "fd77::1".parse().unwrap())));
        for other in [
            line.replace(" 00 fd", " 00 xx"),
            line.replacen(" 00 ", " 40 ", 1),
            line.replace("fd77", "0000").replace("0001 00000400", "0000 00000400"),
        ] {
            assert_eq!(v6(&other), None, "{other}");
        }
    }
}
