//! Whether questions to other servers are led to tacenda, as tried: other firewalls have a say in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::cli::leaktest::fresh_label;
use crate::cli::leaktest::send::{Canary, Fate, ask};
use crate::cli::system::verify::Asking;
use crate::os::socket::path_to;

/// What is missing, in words: over one family they are led to the tacenda at `listen`, over the other they are refused. For a moment in
/// which the guard stands, so that nothing of it leaves.
pub(in crate::cli) fn shortfall(listen: IpAddr, asking: &Asking) -> Option<String> {
    let label = fresh_label();
    let known = asking.known(listen, &label).ok()?;
    let canary = Canary { label, known };
    let ways = NOBODY.into_iter().filter(|(_, server)| path_to(*server).is_ok());
    let tried = ways.map(|(family, server)| {
        let fate = asking.wait_for(ask(server, false, None, &canary));
        (family, matches!(fate, Ok(Fate::Arrived)))
    });
    missing(&tried.collect::<Vec<_>>())
}

/// If none is led, that has another reason: tacenda runs as who asks, say.
fn missing(tried: &[(&str, bool)]) -> Option<String> {
    let refused: Vec<_> = tried
        .iter()
        .filter(|(_, is_led)| !is_led)
        .map(|(family, _)| *family)
        .collect();
    (!refused.is_empty() && refused.len() < tried.len()).then(|| {
        format!(
            "questions to other servers over {} are refused, not answered: another firewall is in the way (firewalld: RFC3964_IPv4=yes)",
            refused.join(" and ")
        )
    })
}

/// Servers that nobody has (RFC 5737, RFC 3849): only who leads questions elsewhere has an answer.
const NOBODY: [(&str, SocketAddr); 2] = [
    ("IPv4", SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 53)),
    (
        "IPv6",
        SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)), 53),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_family_that_differs_from_the_other_is_told() {
        for (tried, is_told) in [
            (&[("IPv4", true), ("IPv6", false)][..], true),
            (&[("IPv4", true), ("IPv6", true)], false),
            (&[("IPv4", false), ("IPv6", false)], false),
            (&[("IPv4", false)], false),
            (&[], false),
        ] {
            assert_eq!(
                missing(tried).is_some_and(|words| words.contains("IPv6 are refused")),
                is_told,
                "{tried:?}"
            );
        }
    }
}
