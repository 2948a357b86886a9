//! systemd-resolved's `resolved.conf`.

use super::draft::{Draft, Upstream};

pub(super) fn take(text: &str, draft: &mut Draft) {
    let mut servers = Vec::new();
    let mut domains = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            draft.note(format!("line {number}: not understood"));
            continue;
        };
        let words = value.split_whitespace().map(str::to_owned);
        match key.trim() {
            "DNS" if value.trim().is_empty() => servers.clear(),
            "DNS" => servers.extend(words),
            "Domains" => domains.extend(words),
            other => {
                if let Some(why) = reason(other, value.trim()) {
                    draft.note(format!("line {number}: {other}={}: {why}", value.trim()));
                }
            }
        }
    }
    for server in &servers {
        take_server(server, draft);
    }
    for domain in domains.iter().filter(|domain| *domain != "~.") {
        match domain.strip_prefix('~') {
            Some(zone) => draft.note(format!(
                "Domains=~{zone}: a [[route]] with the server and the interface of that network, if it has names of its own"
            )),
            None => draft.note(format!("Domains={domain}: search lists belong into /etc/resolv.conf")),
        }
    }
}

/// Why a key is not taken; none if tacenda does the same without it.
fn reason(key: &str, value: &str) -> Option<&'static str> {
    Some(match (key, value) {
        ("DNSOverTLS", "yes" | "true" | "1") | ("Cache", "yes") | ("LLMNR" | "MulticastDNS", "no") => return None,
        ("DNSOverTLS", _) => "tacenda asks over TLS alone, with the certificate checked",
        ("FallbackDNS", _) => "write them as further [[upstream]]: they are asked when those before fail",
        ("DNSSEC", _) => "the upstream checks it, tacenda does not yet",
        ("LLMNR" | "MulticastDNS", _) => "names for neighbours are not asked; `tacenda guard on` keeps others from it",
        ("DNSStubListener" | "DNSStubListenerExtra", _) => {
            "`listen` says where tacenda listens; 127.0.0.1:53 by default"
        }
        ("ReadEtcHosts", _) => "hosts = [\"/etc/hosts\"] under [policy], which is the default",
        ("StaleRetentionSec", _) => "serve-stale under [cache]: a day by default",
        _ => "tacenda has nothing like it",
    })
}

/// `IP:port%interface#name`.
fn take_server(text: &str, draft: &mut Draft) {
    let (address, name) = text
        .split_once('#')
        .map_or((text, None), |(address, name)| (address, Some(name)));
    let address = address.split('%').next().unwrap_or_default();
    let Some((ip, port)) = super::address(address) else {
        return draft.note(format!("DNS={text}: no address"));
    };
    let port = port
        .filter(|port| *port != 853)
        .map_or_else(String::new, |port| format!(":{port}"));
    match name {
        Some(name) => draft.add(Upstream {
            url: format!("tls://{name}{port}"),
            addresses: vec![ip],
            ..Upstream::default()
        }),
        None => draft.note(format!(
            "DNS={text}: without a name behind # its certificate cannot be checked; if it has one: url = \"tls://NAME\", addresses = [\"{ip}\"]"
        )),
    }
}
