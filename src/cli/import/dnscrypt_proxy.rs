//! `dnscrypt-proxy.toml`: what of it is DoH or DoT, its cache's times, its lists, and the rules for names that go elsewhere.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::draft::{Draft, Route, Upstream};
use super::stamp::{self, Stamped};
use crate::upstream::route_endpoint::{DNS_PORT, PlainEndpoint, Protocol};

/// Names of the public list whose DoH tacenda knows by itself.
const KNOWN: &[(&str, &str)] = &[
    ("cloudflare", "https://cloudflare-dns.com/dns-query"),
    ("cloudflare-security", "https://security.cloudflare-dns.com/dns-query"),
    ("cloudflare-family", "https://family.cloudflare-dns.com/dns-query"),
    ("google", "https://dns.google/dns-query"),
    ("quad9-doh-ip4-port443-filter-pri", "https://dns9.quad9.net/dns-query"),
    (
        "quad9-doh-ip4-port443-nofilter-pri",
        "https://dns10.quad9.net/dns-query",
    ),
    ("mullvad-doh", "https://dns.mullvad.net/dns-query"),
    ("mullvad-adblock-doh", "https://adblock.dns.mullvad.net/dns-query"),
    ("adguard-dns-doh", "https://dns.adguard-dns.com/dns-query"),
];

/// Takes it. `beside` reads a file that it names.
///
/// # Errors
/// It is no TOML.
pub(super) fn take(text: &str, beside: impl Fn(&str) -> Option<String>, draft: &mut Draft) -> Result<(), String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let statics = table.get("static").and_then(Value::as_table);
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("listen_addresses", Value::Array(all)) => {
                draft
                    .listen
                    .extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            ("server_names", Value::Array(all)) => {
                for name in all.iter().filter_map(Value::as_str) {
                    take_server(name, statics, draft);
                }
            }
            ("cache_min_ttl", Value::Integer(seconds)) => take_time("min-ttl", *seconds, draft),
            ("cache_max_ttl", Value::Integer(seconds)) => take_time("max-ttl", *seconds, draft),
            ("cache_neg_max_ttl", Value::Integer(seconds)) => take_time("max-negative-ttl", *seconds, draft),
            ("forwarding_rules", Value::String(name)) => match beside(name) {
                Some(rules) => take_rules(name, &rules, draft),
                None => draft.note(format!("forwarding_rules = {name:?}: cannot be read")),
            },
            ("blocked_names", Value::Table(names)) => {
                if let Some(file) = names.get("blocked_names_file").and_then(Value::as_str) {
                    draft.block.push(file.to_owned());
                    draft.note(format!(
                        "{file}: names, `*.` and hosts lines count; other patterns do not: `tacenda check` counts them"
                    ));
                }
            }
            ("allowed_names", Value::Table(names)) => {
                if let Some(file) = names.get("allowed_names_file").and_then(Value::as_str) {
                    draft.allow.push(file.to_owned());
                }
            }
            ("static", _) | ("cache", Value::Boolean(true)) | ("force_tcp", Value::Boolean(false)) => {}
            (other, _) => {
                if let Some(why) = reason(other) {
                    draft.note(format!("{other}: {why}"));
                }
            }
        }
    }
    if !table.contains_key("server_names") {
        draft.note("no server_names: it chose among all public servers, tacenda asks those that you name");
        for name in statics.into_iter().flat_map(Table::keys) {
            take_server(name, statics, draft);
        }
    }
    Ok(())
}

/// Why a key is not taken; none for what changes nothing that anybody asks or is answered.
fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "ipv4_servers"
        | "ipv6_servers"
        | "doh_servers"
        | "user_name"
        | "log_level"
        | "log_file"
        | "use_syslog"
        | "cert_refresh_delay"
        | "netprobe_timeout"
        | "netprobe_address"
        | "sources"
        | "log_files_max_size"
        | "log_files_max_age"
        | "log_files_max_backups" => return None,
        "bootstrap_resolvers" | "fallback_resolvers" | "ignore_system_dns" => {
            "nobody is asked in clear text where a resolver is"
        }
        "cloaking_rules" => "records = [\"NAME A ADDRESS\"] under [policy], or a hosts file",
        "require_dnssec" => "the upstream checks it; `tacenda doctor` says whether",
        "anonymized_dns" | "dnscrypt_servers" | "odoh_servers" | "dnscrypt_ephemeral_keys" => {
            "DNSCrypt, Oblivious DoH and relays tacenda does not speak"
        }
        "lb_strategy" => "strategy = \"in-order\", \"fastest\" or \"spread\"",
        "block_ipv6" => "AAAA is answered as anything else",
        "captive_portals" => "`tacenda portal` asks for consent, and [portal] finds the page",
        "monitoring_ui" => "http://127.0.0.1:8053/",
        "cache" | "cache_size" => "answers are kept, up to max-bytes under [cache]",
        "blocked_ips" | "allowed_ips" => {
            "answers with private addresses are withheld (rebind-protection); lists of addresses are not read"
        }
        "force_tcp" => "everything goes over TLS",
        "proxy" | "http_proxy" => {
            "NOT REACHED THAT WAY: questions go out directly, and your resolvers see this host's address"
        }
        "query_log" | "nx_log" => "names are written nowhere",
        "http3" | "http3_probe" => "DoH over HTTP/2 alone",
        _ => "tacenda has nothing like it, or does it by itself",
    })
}

/// Seconds of a day at most, which is what tacenda's limits may be.
fn take_time(key: &'static str, seconds: i64, draft: &mut Draft) {
    if (0..=86_400).contains(&seconds) {
        draft.cache.push((key, format!("{seconds}s")));
    } else {
        draft.note(format!("{key} of {seconds} s: from none to a day"));
    }
}

fn take_server(name: &str, statics: Option<&Table>, draft: &mut Draft) {
    let own = statics.and_then(|all| all.get(name)?.get("stamp")?.as_str());
    if let Some(text) = own {
        match stamp::read(text) {
            Ok(Stamped { upstream, had_hashes }) => {
                draft.add(upstream);
                if had_hashes {
                    draft.note(format!(
                        "server {name}: its stamp's hashes of certificates: the chain is checked as ever; `pins` hold the server's own key"
                    ));
                }
            }
            Err(why) => draft.note(format!("server {name}: {why}")),
        }
        return;
    }
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, url)) => draft.add(Upstream {
            url: (*url).to_owned(),
            ..Upstream::default()
        }),
        None => draft.note(format!(
            "server {name}: of the public list, which is not read here; if it speaks DoH: url = \"https://...\", addresses = [...]"
        )),
    }
}

/// `zone server, server`; tacenda's routes go by zone as these do.
fn take_rules(file: &str, text: &str, draft: &mut Draft) {
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((zone, servers)) = line.split_once(char::is_whitespace) else {
            if !line.is_empty() {
                draft.note(format!("{file}:{number}: not understood"));
            }
            continue;
        };
        let zone = zone.trim_start_matches("*.").trim_end_matches('.').to_ascii_lowercase();
        let upstreams = servers.split(',').map(str::trim).filter_map(|server| {
            let url = plain_url(server);
            if url.is_none() {
                draft.note(format!("{file}:{number}: {server}: no address"));
            }
            url
        });
        let upstreams: Vec<_> = upstreams.collect();
        let is_name = !zone.is_empty()
            && zone
                .split('.')
                .all(|label| !label.is_empty() && label.len() < 64 && label.bytes().all(is_of_name));
        if !is_name || upstreams.is_empty() {
            draft.note(format!(
                "{file}:{number}: NOT A ROUTE: names below {zone:?} go to the upstreams as all others"
            ));
            continue;
        }
        match draft.routes.iter_mut().find(|route| route.zone == zone) {
            Some(route) => route.upstreams.extend(upstreams),
            None => draft.routes.push(Route { zone, upstreams }),
        }
    }
}

fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_".contains(&octet)
}

/// An address, with a port or without.
fn plain_url(server: &str) -> Option<String> {
    let (ip, port) = super::address(server)?;
    // As it is written without a port where that is the usual one.
    let server = SocketAddr::new(ip, port.unwrap_or(DNS_PORT));
    let protocol = Protocol::Udp;
    Some(PlainEndpoint { protocol, server }.to_string())
}
