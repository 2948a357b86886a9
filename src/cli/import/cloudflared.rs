//! cloudflared's `proxy-dns`, which left it in 2026: its `config.yml`, `TUNNEL_DNS_*` variables, and flags of a unit or a script. All of them
//! say the same few things in words of their own.

use std::net::{IpAddr, SocketAddr};

use super::draft::{Draft, Upstream};
use super::{unquoted, without_comment};

#[derive(Default)]
struct Found {
    address: Option<String>,
    port: Option<String>,
    upstreams: Vec<String>,
}

pub(super) fn take(text: &str, draft: &mut Draft) {
    let mut found = Found::default();
    let mut list: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if let (Some(item), Some(key)) = (line.strip_prefix("- "), &list) {
            found.set(number, key, unquoted(item), draft);
            continue;
        }
        list = None;
        let taken = if let Some((key, value)) = yaml(line) {
            if value.is_empty() {
                list = Some(key.to_owned());
            } else {
                found.set(number, key, value, draft);
            }
            true
        } else if line.contains("TUNNEL_DNS_") {
            found.take_variables(number, line, draft)
        } else {
            found.take_flags(number, line, draft)
        };
        if !taken {
            draft.note(format!("line {number}: nothing of proxy-dns was found in it"));
        }
    }
    found.end(draft);
}

/// `proxy-dns-port: 53` and its like; tunnels have keys of their own.
fn yaml(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = match key.trim() {
        "proxy-dns" => "proxy-dns",
        key => key.strip_prefix("proxy-dns-")?,
    };
    Some((key, unquoted(value)))
}

impl Found {
    /// `NAME=value` as shells, units and lists of compose files have it, and `NAME: value` of its maps.
    fn take_variables(&mut self, number: usize, line: &str, draft: &mut Draft) -> bool {
        let mut taken = false;
        for (at, name) in line.match_indices("TUNNEL_DNS_") {
            let rest = &line[at + name.len()..];
            let end = rest
                .find(|c: char| !c.is_ascii_uppercase() && c != '_')
                .unwrap_or(rest.len());
            let (key, rest) = rest.split_at(end);
            let value = rest
                .strip_prefix('=')
                .or_else(|| rest.strip_prefix(':'))
                .unwrap_or_default()
                .trim_start();
            let value = match value.strip_prefix(['"', '\'']) {
                Some(quoted) => quoted.split(['"', '\'']).next(),
                None => value.split_whitespace().next(),
            };
            self.set(
                number,
                &key.to_ascii_lowercase().replace('_', "-"),
                unquoted(value.unwrap_or_default()),
                draft,
            );
            taken = true;
        }
        taken
    }

    /// Flags of a command, wherever it stands: in a unit, behind `NAME=`, as a list between brackets.
    fn take_flags(&mut self, number: usize, line: &str, draft: &mut Draft) -> bool {
        let is_list = line.contains('[');
        let is_between = |c: char| c.is_whitespace() || "\"'[]".contains(c) || (is_list && c == ',');
        let words: Vec<_> = line.split(is_between).filter(|word| !word.is_empty()).collect();
        let mut taken = false;
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some((_, flag)) = word.split_once("--") else {
                continue;
            };
            let flag = flag.strip_prefix("proxy-dns-").unwrap_or(flag);
            taken = true;
            match flag.split_once('=') {
                Some((key, value)) => self.set(number, key, unquoted(value), draft),
                None => {
                    let value = words.next_if(|next| !next.starts_with('-'));
                    self.set(number, flag, unquoted(value.unwrap_or_default()), draft);
                }
            }
        }
        taken
    }

    fn set(&mut self, number: usize, key: &str, value: &str, draft: &mut Draft) {
        match key {
            "proxy-dns" | "enabled" => {}
            "address" => self.address = Some(value.to_owned()),
            "port" => self.port = Some(value.to_owned()),
            "upstream" => self.upstreams.extend(value.split(',').map(|url| unquoted(url).to_owned())),
            "bootstrap" => draft.note(format!(
                "line {number}: bootstrap {value}: addresses are written down or built in, nobody is asked for them in clear text"
            )),
            "max-upstream-conns" => draft.note(format!("line {number}: {key}: one connection, and a second where the first is in doubt")),
            "metrics" => draft.note(format!("line {number}: metrics {value}: listen = \"127.0.0.1:8053\" under [stats], on loopback alone")),
            _ => draft.note(format!("line {number}: {key}: of cloudflared's tunnels, or nothing that tacenda has")),
        }
    }

    fn end(self, draft: &mut Draft) {
        if self.address.is_some() || self.port.is_some() {
            let (address, port) = (
                self.address.as_deref().unwrap_or("localhost"),
                self.port.as_deref().unwrap_or("53"),
            );
            let address = if address == "localhost" { "127.0.0.1" } else { address };
            match (address.parse::<IpAddr>(), port.parse::<u16>()) {
                (Ok(ip), Ok(port)) => {
                    draft.listen.push(SocketAddr::new(ip, port).to_string());
                    if !ip.is_loopback() {
                        draft.note(format!(
                            "{address} is no address of this host alone: `allow` must say who may ask"
                        ));
                    }
                }
                _ => draft.note(format!("{address} port {port}: no address to listen at")),
            }
        }
        for url in self.upstreams.into_iter().filter(|url| !url.is_empty()) {
            if url.starts_with("https://") {
                draft.add(Upstream {
                    url,
                    ..Upstream::default()
                });
            } else {
                draft.note(format!("upstream {url}: only https://"));
            }
        }
    }
}
