//! Split DNS that a VPN wants, as a route to be written down by whoever wants it too. Nothing of it is taken by itself: a VPN that may claim any
//! domain claims `com`.

use crate::config::{Config, Flags, load};
use crate::os::dns::system::Offer;
use crate::upstream::select::is_registrable;

/// A route for each offer that is sound and not configured already, as TOML with a line before it that says whose it is.
pub(super) fn routes(offers: &[Offer]) -> Vec<String> {
    let config = load(None, &Flags::default()).map(|loaded| loaded.config);
    let config = config.unwrap_or_default();
    offers.iter().filter_map(|offer| route(offer, &config)).collect()
}

fn route(offer: &Offer, config: &Config) -> Option<String> {
    let is_routed = |domain: &str| {
        config
            .routes
            .iter()
            .any(|route| route.zones.iter().any(|zone| zone == domain))
    };
    let domains: Vec<_> = offer.domains.iter().filter_map(|domain| sound(domain)).collect();
    let new: Vec<_> = domains.into_iter().filter(|domain| !is_routed(domain)).collect();
    if new.is_empty() || offer.servers.is_empty() {
        return None;
    }
    let quoted = |texts: Vec<String>| {
        texts
            .iter()
            .map(|text| format!("{text:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let servers = offer.servers.iter().map(|server| match server {
        std::net::IpAddr::V4(v4) => format!("udp://{v4}"),
        std::net::IpAddr::V6(v6) => format!("udp://[{v6}]"),
    });
    Some(format!(
        "{link} would answer names of its own; in /etc/tacenda/tacenda.toml:\n[[route]]\nzones = [{}]\nupstream = [{}]\ninterface = {link:?}\n",
        quoted(new),
        quoted(servers.collect()),
        link = offer.link,
    ))
}

/// A domain that somebody can own: neither the root nor a public suffix (`com`, `co.uk`), and nothing that is no name.
fn sound(domain: &str) -> Option<String> {
    let domain = domain
        .trim_start_matches('~')
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let is_name = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
    };
    let is_one = domain.len() <= 253 && domain.split('.').all(is_name) && is_registrable(&domain);
    is_one.then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(domains: &[&str]) -> Offer {
        Offer {
            link: "tun0".into(),
            servers: vec!["10.8.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_offered_is_a_route_that_can_be_written_down() {
        let text = route(&offer(&["~Corp.Example.", "lab.example"]), &Config::default()).unwrap();
        let toml = text.split_once('\n').unwrap().1;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, format!("version = 1\n{toml}")).unwrap();
        let config = load(Some(&path), &Flags::default()).unwrap().config;
        assert_eq!(config.routes[0].zones, ["corp.example", "lab.example"]);
        // Once it is written down, it is offered no more.
        assert_eq!(route(&offer(&["corp.example"]), &config), None);
    }

    #[test]
    fn a_vpn_cannot_claim_what_nobody_owns() {
        for domain in [
            ".",
            "~.",
            "",
            "com",
            "~com",
            "co.uk",
            "a..b",
            "x\"y.example",
            "corp example",
            &"a.".repeat(200),
        ] {
            assert_eq!(route(&offer(&[domain]), &Config::default()), None, "{domain}");
        }
    }
}
