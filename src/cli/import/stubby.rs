//! stubby's `stubby.yml`: the subset of YAML in which it is written, line by line.

use std::net::IpAddr;

use super::draft::{Draft, Upstream};
use super::{unquoted, without_comment};

pub(super) fn take(text: &str, draft: &mut Draft) {
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line);
        let is_nested = line.starts_with([' ', '\t', '-']);
        let (is_item, line) = match line.trim().strip_prefix("- ") {
            Some(rest) => (true, rest.trim()),
            None => (false, line.trim()),
        };
        if line.is_empty() || line == "---" {
            continue;
        }
        let (key, value) = match line
            .split_once(':')
            .filter(|(_, value)| value.is_empty() || value.starts_with(' '))
        {
            Some((key, value)) => (Some(key.trim()), unquoted(value)),
            None => (None, unquoted(line)),
        };
        match (is_nested, key) {
            (false, Some(key)) => reader.top(number, key, value, draft),
            (true, _) => reader.nested(number, is_item, key, value, draft),
            (false, None) => draft.note(format!("line {number}: not understood")),
        }
    }
    reader.end(draft);
}

/// Where we are.
#[derive(Default)]
struct Reader {
    section: String,
    upstream: Option<Server>,
    servers: Vec<Server>,
    roots: Option<String>,
}

#[derive(Default)]
struct Server {
    line: usize,
    address: String,
    name: Option<String>,
    port: Option<String>,
    pins: Vec<String>,
}

impl Reader {
    fn top(&mut self, number: usize, key: &str, value: &str, draft: &mut Draft) {
        self.section = key.to_owned();
        let why = match (key, value) {
            (_, "") | ("resolution_type", "GETDNS_RESOLUTION_STUB") | ("edns_client_subnet_private", "1") => return,
            ("tls_authentication", "GETDNS_AUTHENTICATION_REQUIRED") | ("round_robin_upstreams", "0") => return,
            ("tls_query_padding_blocksize", "128") => return,
            ("round_robin_upstreams", _) => {
                // Its nearest: turns would show every resolver every domain.
                draft.strategy = Some("spread");
                return;
            }
            ("tls_ca_file", path) => {
                self.roots = Some(path.to_owned());
                return;
            }
            ("tls_authentication", _) => "certificates are always checked",
            ("tls_query_padding_blocksize", _) => "questions are padded to 128 octets, always",
            ("edns_client_subnet_private", _) => "no client subnet is ever sent",
            ("idle_timeout", _) => "a connection is kept while people browse, or as long as the server says",
            ("timeout", _) => "a question has five seconds, and is asked again before they are over",
            ("dnssec" | "dnssec_return_status" | "trust_anchors_backoff_time", _) => {
                "the upstream checks DNSSEC, tacenda does not yet"
            }
            ("tls_min_version" | "tls_max_version" | "tls_cipher_list" | "tls_ciphersuites", _) => {
                "TLS 1.3, or 1.2 with forward secrecy"
            }
            ("tls_connection_retries" | "tls_backoff_time" | "limit_outstanding_queries", _) => {
                "connections are looked after by themselves"
            }
            ("appdata_dir" | "log_level", _) => "not needed",
            _ => "tacenda has nothing like it",
        };
        draft.note(format!("line {number}: {key}: {value}: {why}"));
    }

    fn nested(&mut self, number: usize, is_item: bool, key: Option<&str>, value: &str, draft: &mut Draft) {
        match (self.section.as_str(), key) {
            ("dns_transport_list", None) if value == "GETDNS_TRANSPORT_TLS" => {}
            ("dns_transport_list", None) => {
                draft.note(format!("line {number}: {value}: nothing is asked in clear text"));
            }
            ("listen_addresses", None) => take_listen(number, value, draft),
            ("upstream_recursive_servers", Some(key)) => self.of_server(number, is_item, key, value, draft),
            (section, _) => draft.note(format!("line {number}: of {section}: not understood")),
        }
    }

    fn of_server(&mut self, number: usize, is_item: bool, key: &str, value: &str, draft: &mut Draft) {
        // A pin is an item too, of the server's list.
        if is_item && key != "digest" {
            self.servers.extend(self.upstream.take());
            self.upstream = Some(Server {
                line: number,
                ..Server::default()
            });
        }
        let Some(server) = &mut self.upstream else {
            return draft.note(format!("line {number}: {key}: belongs to no server"));
        };
        match key {
            "address_data" => server.address = value.to_owned(),
            "tls_auth_name" => server.name = Some(value.to_owned()),
            "tls_port" => server.port = Some(value.to_owned()).filter(|port| port != "853"),
            "value" => server.pins.push(format!("sha256/{value}")),
            "digest" | "tls_pubkey_pinset" => {}
            _ => draft.note(format!("line {number}: {key}: tacenda has nothing like it")),
        }
    }

    fn end(mut self, draft: &mut Draft) {
        self.servers.extend(self.upstream.take());
        for server in self.servers {
            let Ok(address) = server.address.parse::<IpAddr>() else {
                draft.note(format!("line {}: {}: no address", server.line, server.address));
                continue;
            };
            let Some(name) = server.name else {
                draft.note(format!(
                    "line {}: {address}: without tls_auth_name its certificate cannot be checked; pins count beside the name, not instead",
                    server.line
                ));
                continue;
            };
            let port = server.port.map_or_else(String::new, |port| format!(":{port}"));
            draft.add(Upstream {
                url: format!("tls://{name}{port}"),
                addresses: vec![address],
                roots: self.roots.clone(),
                pins: server.pins,
            });
        }
    }
}

/// `127.0.0.1`, `0::1`, `127.0.0.1@5353`.
fn take_listen(number: usize, value: &str, draft: &mut Draft) {
    let (address, port) = value.split_once('@').unwrap_or((value, "53"));
    match (address.parse::<IpAddr>(), port.parse::<u16>()) {
        (Ok(ip), Ok(port)) => draft.listen.push(std::net::SocketAddr::new(ip, port).to_string()),
        _ => draft.note(format!("line {number}: {value}: no address")),
    }
}
