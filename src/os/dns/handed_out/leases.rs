//! What DHCP clients write down of a network. Pure; the files are root's, what stands in them a stranger has said.

use std::net::{IpAddr, SocketAddr};

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    /// The interface, if it is named.
    pub(super) interface: Option<String>,
    /// Whether it was got over IPv6 alone: there may be another beside it.
    pub(super) is_v6: bool,
    /// The network's resolvers.
    pub(super) servers: Vec<IpAddr>,
    /// RFC 8910.
    pub(super) urls: Vec<String>,
}

impl Lease {
    fn add_servers<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        self.add(words.filter_map(server));
    }

    fn add(&mut self, servers: impl Iterator<Item = IpAddr>) {
        let room = MAX_SERVERS.saturating_sub(self.servers.len());
        self.servers.extend(servers.take(room));
    }

    /// If a person could read it on a terminal.
    fn add_url(&mut self, url: &str) {
        let is_readable = url.len() <= MAX_URL && url.bytes().all(|octet| octet.is_ascii_graphic());
        if is_readable && !url.is_empty() && self.urls.len() < MAX_URLS {
            self.urls.push(url.to_owned());
        }
    }
}

/// Who hands out more of them means something else.
const MAX_SERVERS: usize = 16;

/// One over IPv4, one over IPv6, and as many more.
const MAX_URLS: usize = 4;

/// Octets: what DHCP and a router can say in one option, and what a person can still read.
const MAX_URL: usize = 255;

/// Of one file: two for each interface.
const MAX_LEASES: usize = 32;

/// An address; networkd writes `192.168.1.1:53%h0#name` where there is more to say.
fn server(word: &str) -> Option<IpAddr> {
    let word = word.split(['%', '#']).next()?;
    let with_port = || word.parse().ok().map(|server: SocketAddr| server.ip());
    word.parse().ok().or_else(with_port)
}

/// `[dhcp4]` in `/run/NetworkManager/devices/NUMBER`: `dhcp4.domain_name_servers=192.168.1.1 192.168.1.2`.
pub(super) fn network_manager(octets: &[u8]) -> Vec<Lease> {
    let text = String::from_utf8_lossy(octets);
    let mut lease = Lease::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let Some((_, option)) = key.split_once('.').filter(|(group, _)| group.starts_with("dhcp")) else {
            continue;
        };
        match option {
            "domain_name_servers" | "dhcp6_name_servers" => lease.add_servers(value.split([' ', ','])),
            "default_url" => lease.add_url(value),
            _ => {}
        }
    }
    vec![lease]
}

/// systemd-networkd's leases and links: `DNS=192.168.1.1 192.168.1.2`.
pub(super) fn networkd(octets: &[u8]) -> Vec<Lease> {
    let text = String::from_utf8_lossy(octets);
    let mut lease = Lease::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "DNS" => lease.add_servers(value.split_ascii_whitespace()),
            "CAPTIVE_PORTAL" => lease.add_url(value.trim()),
            _ => {}
        }
    }
    vec![lease]
}

/// dhclient.leases(5): of each interface the last lease over IPv4 and the last over IPv6.
pub(super) fn dhclient(octets: &[u8]) -> Vec<Lease> {
    let text = String::from_utf8_lossy(octets);
    let mut last: Vec<Lease> = Vec::new();
    for block in Blocks(Tokens(&text)) {
        let is_v6 = block.kind == "lease6";
        if !is_v6 && block.kind != "lease" {
            continue;
        }
        let lease = of_block(&block, is_v6);
        last.retain(|other| (other.is_v6, &other.interface) != (is_v6, &lease.interface));
        last.push(lease);
        if last.len() > MAX_LEASES {
            last.remove(0);
        }
    }
    last.reverse();
    last
}

fn of_block(block: &Block, is_v6: bool) -> Lease {
    let mut lease = Lease {
        is_v6,
        ..Lease::default()
    };
    for statement in &block.statements {
        let words: Vec<&str> = statement.iter().map(String::as_str).collect();
        match words[..] {
            // Its own word, and its first one.
            ["interface", name] if lease.interface.is_none() => lease.interface = Some(name.to_owned()),
            [
                "option",
                "default-url" | "v4-captive-portal" | "dhcp6.v6-captive-portal",
                url,
            ] => lease.add_url(url),
            ["option", "domain-name-servers" | "dhcp6.name-servers", ..] => {
                lease.add_servers(words[2..].iter().flat_map(|word| word.split(',')));
            }
            _ => {}
        }
    }
    lease
}

/// A word, what stood between quotes, or a mark. In quotes is what a stranger has said: it is one token, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(char),
    /// What began with a quote and did not end on its line: a full disk, say. Nothing of its block counts.
    CutOff,
}

struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    /// What stands before the next quote; none if the line ends first, which no string of dhclient's does: it was cut off. A backslash stands
    /// before what has a meaning to a shell, or before three octal digits.
    fn quoted(&mut self) -> Option<String> {
        let mut word = String::new();
        let mut letters = self.0.chars();
        let found = loop {
            match letters.next() {
                Some('\\') => match letters.next() {
                    Some(digit @ '0'..='7') => {
                        let mut octet = digit.to_digit(8).unwrap_or_default();
                        for _ in 0..2 {
                            let digit = letters.clone().next().and_then(|letter| letter.to_digit(8));
                            let Some(digit) = digit else { break };
                            letters.next();
                            octet = octet * 8 + digit;
                        }
                        word.extend(char::from_u32(octet));
                    }
                    Some(letter) => word.push(letter),
                    None => break None,
                },
                Some('"') => break Some(word),
                Some('\n') | None => break None,
                Some(letter) => word.push(letter),
            }
        };
        self.0 = letters.as_str();
        found
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.0 = self.0.trim_start();
        let first = self.0.chars().next()?;
        if MARKS.contains(&first) {
            self.0 = &self.0[1..];
            return Some(Token::Mark(first));
        }
        if first == '"' {
            self.0 = &self.0[1..];
            return Some(self.quoted().map_or(Token::CutOff, Token::Word));
        }
        let ends = |letter: char| letter.is_whitespace() || letter == '"' || MARKS.contains(&letter);
        let (word, rest) = self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()));
        self.0 = rest;
        Some(Token::Word(word.to_owned()))
    }
}

const MARKS: [char; 3] = ['{', '}', ';'];

/// `lease { ... }`, with the statements that stand in it and in no block within.
struct Block {
    kind: String,
    statements: Vec<Vec<String>>,
}

struct Blocks<I>(I);

impl<I: Iterator<Item = Token>> Iterator for Blocks<I> {
    type Item = Block;

    /// None for one that is still being written.
    fn next(&mut self) -> Option<Block> {
        let mut words: Vec<String> = Vec::new();
        let (mut depth, mut kind, mut statements) = (0_u32, String::new(), Vec::new());
        for token in self.0.by_ref() {
            match (token, depth) {
                (Token::Word(word), _) => words.push(word),
                (Token::CutOff, _) => {
                    words.clear();
                    statements.clear();
                    depth = 0;
                }
                (Token::Mark('{'), 0) => {
                    kind = words.drain(..).next().unwrap_or_default();
                    depth = 1;
                }
                (Token::Mark(';'), 1) => statements.push(std::mem::take(&mut words)),
                (Token::Mark('}'), 1) => return Some(Block { kind, statements }),
                (Token::Mark(mark), _) => {
                    words.clear();
                    match mark {
                        '{' => depth = depth.saturating_add(1),
                        '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
        None
    }
}

/// dhcpcd's lease: the server's last message as it came, of DHCP (RFC 2131) or, in `.lease6`, of DHCPv6 (RFC 8415).
pub(super) fn dhcpcd(message: &[u8]) -> Vec<Lease> {
    let mut lease = Lease::default();
    if let Some(options) = message
        .get(DHCP_HEADER..)
        .and_then(|rest| rest.strip_prefix(&DHCP_COOKIE))
    {
        take_options(options, &mut lease);
    } else if message.first() == Some(&DHCP6_REPLY) {
        lease.is_v6 = true;
        take_options6(message.get(DHCP6_HEADER..).unwrap_or_default(), &mut lease);
    }
    vec![lease]
}

/// RFC 2132 section 2; what is too long for one option comes in several (RFC 3396).
fn take_options(mut options: &[u8], lease: &mut Lease) {
    let (mut servers, mut urls) = (Vec::new(), Vec::new());
    while let [code, rest @ ..] = options {
        options = match (*code, rest) {
            (0, _) => rest,
            (1..=254, [len, rest @ ..]) if rest.len() >= usize::from(*len) => {
                let (value, rest) = rest.split_at(usize::from(*len));
                match *code {
                    6 => servers.extend_from_slice(value),
                    114 => urls.extend_from_slice(value),
                    _ => {}
                }
                rest
            }
            // The end, or cut off.
            _ => break,
        };
    }
    lease.add(servers.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets)));
    lease.add_url(url(&urls));
}

/// RFC 8415 section 21.1; RFC 3646 and RFC 8910 section 2.2.
fn take_options6(mut options: &[u8], lease: &mut Lease) {
    while let [a, b, c, d, rest @ ..] = options {
        let (code, len) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        let Some((value, rest)) = rest.split_at_checked(len) else {
            return;
        };
        match code {
            23 => lease.add(value.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets))),
            103 => lease.add_url(url(value)),
            _ => {}
        }
        options = rest;
    }
}

/// Some servers end it with NUL, though it should not be (RFC 8910 section 2.1). What is no text is none.
fn url(value: &[u8]) -> &str {
    str::from_utf8(value).unwrap_or_default().trim_end_matches('\0')
}

/// What stands before the options: RFC 2131 section 2.
const DHCP_HEADER: usize = 236;
const DHCP_COOKIE: [u8; 4] = [99, 130, 83, 99];

/// RFC 8415 section 8.
const DHCP6_HEADER: usize = 4;
const DHCP6_REPLY: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    const URL: &str = "https://api.hotel.example/cp;v=1";

    fn lease(interface: Option<&str>, servers: &[&str], urls: &[&str]) -> Lease {
        Lease {
            interface: interface.map(str::to_owned),
            is_v6: false,
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
        }
    }

    fn lease6(interface: Option<&str>, servers: &[&str], urls: &[&str]) -> Lease {
        Lease {
            is_v6: true,
            ..lease(interface, servers, urls)
        }
    }

    #[test]
    fn network_manager_and_networkd_say_it_in_lines() {
        let text = format!(
            "[device]\nmanaged=true\nnext-server=10.0.0.9\n\n[dhcp4]\ndhcp4.domain_name_servers=192.168.1.1 192.168.1.2\n\
             dhcp4.routers=192.168.1.3\ndhcp4.default_url={URL}\n[dhcp6]\ndhcp6.dhcp6_name_servers=fd00::1\n"
        );
        let expected = lease(None, &["192.168.1.1", "192.168.1.2", "fd00::1"], &[URL]);
        assert_eq!(network_manager(text.as_bytes()), [expected]);
        let text = format!(
            "ROUTER=10.0.0.1\nDNS=192.168.1.1 fe80::1%h0 x 192.168.1.2:53%h0#dns.example [fd00::2]:53\nCAPTIVE_PORTAL={URL}\n=\nDNS=\n"
        );
        let expected = lease(None, &["192.168.1.1", "fe80::1", "192.168.1.2", "fd00::2"], &[URL]);
        assert_eq!(networkd(text.as_bytes()), [expected]);
    }

    #[test]
    fn of_dhclients_leases_the_last_of_each_interface_counts() {
        let text = format!(
            "lease {{\n  interface \"h0\";\n  option domain-name-servers 10.0.0.9;\n  option default-url \"http://old.example/\";\n}}\n\
             lease {{\n  interface \"h0\";\n  option routers 10.0.0.1;\n  option domain-name-servers 10.0.0.2, 10.0.0.3;\n  \
             option default-url \"{URL}\";\n  renew 4 2026/11/26 19:00:00;\n}}\n\
             lease6 {{\n  interface \"e1\";\n  option dhcp6.name-servers fd00::1;\n  option dhcp6.v6-captive-portal \"{URL}6\";\n}}\n\
             lease {{\n  interface \"e1\";\n  option domain-name-servers 10.9.0.1;\n}}\n"
        );
        assert_eq!(
            dhclient(text.as_bytes()),
            [
                lease(Some("e1"), &["10.9.0.1"], &[]),
                lease6(Some("e1"), &["fd00::1"], &[&format!("{URL}6")]),
                lease(Some("h0"), &["10.0.0.2", "10.0.0.3"], &[URL]),
            ]
        );
        for text in [
            "",
            "lease {",
            "lease { interface",
            "server { option domain-name-servers 10.0.0.2; }",
        ] {
            assert!(dhclient(text.as_bytes()).is_empty(), "{text}");
        }
        assert_eq!(
            dhclient(b"lease { option domain-name-servers ; } }"),
            [Lease::default()]
        );
    }

    /// Before this, the option alone chose the interface and the resolver.
    #[test]
    fn what_a_stranger_says_between_quotes_is_no_statement() {
        let said = r#"https://a.example/\";\ninterface\x20\"e1\";}lease{\\\$b"#;
        let text = format!(
            "lease {{\n  interface \"h0\";\n  option default-url \"{said}\";\n  option domain-name-servers 10.0.0.2;\n}}\n\
             lease6 {{\n  interface \"h0\";\n  ia-na 01:02 {{\n    option dhcp6.name-servers fd00::9;\n    iaaddr fd00::7 {{ starts 1; }}\n  }}\n  \
             option dhcp6.name-servers fd00::1;\n}}\n"
        );
        let url = r#"https://a.example/";ninterfacex20"e1";}lease{\$b"#;
        let expected = [
            lease6(Some("h0"), &["fd00::1"], &[]),
            lease(Some("h0"), &["10.0.0.2"], &[url]),
        ];
        assert_eq!(dhclient(text.as_bytes()), expected);
    }

    /// A full disk, and then the next lease: else quotes would mean the opposite from there on.
    #[test]
    fn a_lease_that_was_cut_off_between_quotes_says_nothing() {
        let text = "lease {\n  interface \"h0\";\n  option default-url \"https://a.exa\nlease {\n  interface \"h0\";\n  \
                    option domain-name \"; interface e1; \";\n  option domain-name-servers 10.0.0.2;\n}\n";
        assert_eq!(dhclient(text.as_bytes()), [lease(Some("h0"), &["10.0.0.2"], &[])]);
    }

    #[test]
    fn no_more_is_taken_than_a_network_says() {
        let text: String = (0..100).map(|number| format!(" 10.0.0.{number}")).collect();
        let urls: String = (0..100)
            .map(|number| format!("CAPTIVE_PORTAL=https://{number}.example/\n"))
            .collect();
        let text = format!(
            "DNS={text}\nCAPTIVE_PORTAL=https://{}\nCAPTIVE_PORTAL=https://x/\u{1b}[31m\n{urls}",
            "x".repeat(300)
        );
        let found = &networkd(text.as_bytes())[0];
        assert_eq!((found.servers.len(), found.urls.len()), (MAX_SERVERS, MAX_URLS));
        assert_eq!(found.urls[0], "https://0.example/");
    }

    fn message(options: &[u8]) -> Vec<u8> {
        [&[2; DHCP_HEADER], &DHCP_COOKIE[..], options].concat()
    }

    #[test]
    fn r8910_2_dhcpcds_leases_are_the_messages_themselves() {
        // RFC 3396: the URL comes in two.
        let (one, two) = URL.as_bytes().split_at(9);
        let mut options = vec![0, 53, 1, 5, 6, 8, 192, 168, 1, 1, 192, 168, 1, 2, 114, 9];
        options.extend_from_slice(one);
        options.extend_from_slice(&[114, 24]);
        options.extend_from_slice(two);
        options.extend_from_slice(&[0, 255, 6, 4, 10, 0, 0, 1]);
        let found = dhcpcd(&message(&options));
        assert_eq!(found, [lease(None, &["192.168.1.1", "192.168.1.2"], &[URL])]);
        let mut reply = vec![7, 1, 2, 3, 0, 23, 0, 16];
        reply.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        reply.extend_from_slice(&[0, 103, 0, 32]);
        reply.extend_from_slice(URL.as_bytes());
        assert_eq!(dhcpcd(&reply), [lease6(None, &["::1"], &[URL])]);
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_says_the_interface_and_resolvers_of_a_lease_stay(said in any::<Vec<u8>>()) {
            // As dhclient writes it.
            let quoted: String = said.iter().map(|octet| match octet {
                b'"' | b'\\' | b'\'' | b'$' | b'`' => format!("\\{}", char::from(*octet)),
                b' '..=b'~' => char::from(*octet).to_string(),
                other => format!("\\{other:03o}"),
            }).collect();
            let text = format!("lease {{ interface \"h0\"; option default-url \"{quoted}\"; option domain-name-servers 10.0.0.2; }}");
            let found = dhclient(text.as_bytes());
            let is_url = !said.is_empty() && said.len() <= MAX_URL && said.iter().all(u8::is_ascii_graphic);
            let url = is_url.then(|| String::from_utf8_lossy(&said).into_owned());
            let urls: Vec<&str> = url.as_deref().into_iter().collect();
            prop_assert_eq!(found, [lease(Some("h0"), &["10.0.0.2"], &urls)]);
        }

        #[test]
        fn whatever_stands_in_a_lease_nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..64), cut in 0_usize..300) {
            let whole = message(&octets);
            dhcpcd(&whole[..cut.min(whole.len())]);
            let reply = [&[7, 0, 0, 0], &octets[..]].concat();
            let file = [b"lease {", &octets[..]].concat();
            let all = [dhcpcd(&whole), dhcpcd(&reply), network_manager(&octets), networkd(&octets), dhclient(&file)];
            for lease in all.into_iter().flatten() {
                prop_assert!(lease.servers.len() + lease.urls.len() <= octets.len());
            }
        }
    }
}
