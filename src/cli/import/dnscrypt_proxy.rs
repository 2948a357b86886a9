//! `dnscrypt-proxy.toml`: what of it is DoH or DoT, its cache's times, its lists, and the rules for names that go elsewhere.

use std::net::IpAddr;

use toml::{Table, Value};

use super::draft::{Draft, Route, Upstream};
use super::stamp;

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
            ("cache_min_ttl", Value::Integer(seconds)) => draft.cache.push(("min-ttl", format!("{seconds}s"))),
            ("cache_max_ttl", Value::Integer(seconds)) => draft.cache.push(("max-ttl", format!("{seconds}s"))),
            ("cache_neg_max_ttl", Value::Integer(seconds)) => {
                draft.cache.push(("max-negative-ttl", format!("{seconds}s")));
            }
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
            ("static" | "cache", _) => {}
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

fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "ipv4_servers"
        | "ipv6_servers"
        | "doh_servers"
        | "max_clients"
        | "keepalive"
        | "timeout"
        | "user_name"
        | "log_level"
        | "use_syslog"
        | "cert_refresh_delay"
        | "netprobe_timeout"
        | "netprobe_address"
        | "cache_size"
        | "sources"
        | "query_log"
        | "nx_log"
        | "blocked_ips"
        | "force_tcp"
        | "log_files_max_size"
        | "log_files_max_age"
        | "log_files_max_backups"
        | "offline_mode" => return None,
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
        _ => "tacenda has nothing like it, or does it by itself",
    })
}

fn take_server(name: &str, statics: Option<&Table>, draft: &mut Draft) {
    let own = statics.and_then(|all| all.get(name)?.get("stamp")?.as_str());
    if let Some(text) = own {
        match stamp::read(text) {
            Ok(upstream) => draft.add(upstream),
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
        let mut upstreams = Vec::new();
        for server in servers.split(',').map(str::trim) {
            let bare = server.trim_start_matches('[').trim_end_matches(']');
            match bare.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => upstreams.push(format!("udp://{ip}")),
                Ok(IpAddr::V6(ip)) => upstreams.push(format!("udp://[{ip}]")),
                Err(_) => draft.note(format!("{file}:{number}: {server}: no address")),
            }
        }
        if !upstreams.is_empty() {
            draft.routes.push(Route {
                zone: zone.trim_start_matches("*.").to_owned(),
                upstreams,
            });
        }
    }
}
