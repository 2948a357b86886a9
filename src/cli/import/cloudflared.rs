//! cloudflared's `proxy-dns`, which left it in 2026: its `config.yml`, `TUNNEL_DNS_*` variables, and flags of a unit or a script. All of them
//! say the same few things in words of their own.

use std::net::{IpAddr, SocketAddr};

use super::draft::{Draft, Upstream};

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
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let (Some(item), Some(key)) = (line.strip_prefix("- "), &list) {
            found.set(number, key, bare(item), draft);
            continue;
        }
        list = None;
        let words: Vec<_> = line.split_whitespace().collect();
        if let Some((key, value)) = line.split_once(':').filter(|(key, _)| yaml_key(key).is_some()) {
            let key = yaml_key(key).unwrap_or_default().to_owned();
            if value.trim().is_empty() {
                list = Some(key);
            } else {
                found.set(number, &key, bare(value), draft);
            }
        } else if line.contains("TUNNEL_DNS_") {
            words.iter().for_each(|word| found.take_variable(number, word, draft));
        } else if line.contains("--") {
            found.take_flags(number, &words, draft);
        } else {
            draft.note(format!("line {number}: no word of proxy-dns"));
        }
    }
    found.end(draft);
}

/// `proxy-dns-port` and its like; tunnels have keys of their own.
fn yaml_key(key: &str) -> Option<&str> {
    let key = key.trim();
    match key {
        "proxy-dns" => Some("proxy-dns"),
        _ => key.strip_prefix("proxy-dns-"),
    }
}

impl Found {
    fn take_variable(&mut self, number: usize, word: &str, draft: &mut Draft) {
        let word = word.trim_start_matches("Environment=");
        let Some((key, value)) = bare(word).split_once('=') else {
            return;
        };
        if let Some(key) = key.strip_prefix("TUNNEL_DNS_") {
            let key = key.to_ascii_lowercase().replace('_', "-");
            self.set(number, &key, bare(value), draft);
        }
    }

    fn take_flags(&mut self, number: usize, words: &[&str], draft: &mut Draft) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else { continue };
            let flag = flag.strip_prefix("proxy-dns-").unwrap_or(flag);
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key, value),
                None if flag == "proxy-dns" => continue,
                None => (flag, words.next().copied().unwrap_or_default()),
            };
            self.set(number, key, bare(value), draft);
        }
    }

    fn set(&mut self, number: usize, key: &str, value: &str, draft: &mut Draft) {
        match key {
            "proxy-dns" | "enabled" => {}
            "address" => self.address = Some(value.to_owned()),
            "port" => self.port = Some(value.to_owned()),
            "upstream" => self.upstreams.extend(value.split(',').map(|url| bare(url).to_owned())),
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

fn bare(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}
