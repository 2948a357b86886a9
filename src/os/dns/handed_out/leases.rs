//! What DHCP clients write down of a network. Pure; the files are root's, what stands in them a stranger has said.

use std::net::IpAddr;

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    /// The interface, if it is named.
    pub(super) interface: Option<String>,
    /// The network's resolvers.
    pub(super) servers: Vec<IpAddr>,
    /// RFC 8910.
    pub(super) urls: Vec<String>,
}

impl Lease {
    fn add_servers<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        // networkd writes `192.168.1.1:53%h0#name` where there is more to say than an address.
        let address =
            |word: &str| -> Option<IpAddr> { word.split(['%', '#']).next().and_then(|word| word.parse().ok()) };
        self.servers.extend(words.filter_map(address));
    }
}

/// `[dhcp4]` in `/run/NetworkManager/devices/NUMBER`: `dhcp4.domain_name_servers=192.168.1.1 192.168.1.2`.
pub(super) fn network_manager(octets: &[u8]) -> Lease {
    let text = String::from_utf8_lossy(octets);
    let mut lease = Lease::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let Some((_, option)) = key.split_once('.').filter(|(group, _)| group.starts_with("dhcp")) else {
            continue;
        };
        match option {
            "domain_name_servers" | "dhcp6_name_servers" => lease.add_servers(value.split([' ', ','])),
            "default_url" => lease.urls.push(value.to_owned()),
            _ => {}
        }
    }
    lease
}

/// systemd-networkd's leases and links: `DNS=192.168.1.1 192.168.1.2`. The files are named by the interface's number, which says less than an
/// address.
pub(super) fn networkd(octets: &[u8]) -> Lease {
    let text = String::from_utf8_lossy(octets);
    let mut lease = Lease::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "DNS" => lease.add_servers(value.split_ascii_whitespace()),
            "CAPTIVE_PORTAL" => lease.urls.push(value.trim().to_owned()),
            _ => {}
        }
    }
    lease
}

/// dhclient.leases(5): the last lease of an interface counts, that over IPv4 and that over IPv6.
pub(super) fn dhclient(octets: &[u8]) -> Lease {
    let text = String::from_utf8_lossy(octets);
    let mut found = Lease::default();
    for begin in ["lease {", "lease6 {"] {
        let Some((_, lease)) = text.rsplit_once(begin) else {
            continue;
        };
        let lease = lease.split('}').next().unwrap_or_default();
        for statement in statements(lease) {
            let Some((key, value)) = statement.rsplit_once(char::is_whitespace) else {
                continue;
            };
            let value = value.trim_matches('"');
            match key.trim_end() {
                "interface" => found.interface = Some(value.to_owned()),
                "option default-url" | "option v4-captive-portal" | "option dhcp6.v6-captive-portal" => {
                    found.urls.push(value.to_owned());
                }
                // Several are parted by ", ".
                key if key.starts_with("option domain-name-servers")
                    || key.starts_with("option dhcp6.name-servers") =>
                {
                    found.add_servers(statement.split([' ', ',']));
                }
                _ => {}
            }
        }
    }
    found
}

/// What ends with `;` outside of quotes.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = text.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == ';' && !is_quoted
    });
    parts.map(str::trim)
}

/// dhcpcd's lease: the server's last message as it came, of DHCP (RFC 2131) or, in `.lease6`, of DHCPv6 (RFC 8415).
pub(super) fn dhcpcd(message: &[u8]) -> Lease {
    let mut lease = Lease::default();
    if let Some(options) = message
        .get(DHCP_HEADER..)
        .and_then(|rest| rest.strip_prefix(&DHCP_COOKIE))
    {
        take_options(options, &mut lease);
    } else if message.first() == Some(&DHCP6_REPLY) {
        take_options6(message.get(DHCP6_HEADER..).unwrap_or_default(), &mut lease);
    }
    lease
}

/// RFC 2132 section 2.
fn take_options(mut options: &[u8], lease: &mut Lease) {
    while let [code, rest @ ..] = options {
        options = match (*code, rest) {
            (0, _) => rest,
            (1..=254, [len, rest @ ..]) if rest.len() >= usize::from(*len) => {
                let (value, rest) = rest.split_at(usize::from(*len));
                match *code {
                    6 => lease
                        .servers
                        .extend(value.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets))),
                    114 => lease.urls.extend(url(value)),
                    _ => {}
                }
                rest
            }
            // The end, or cut off.
            _ => return,
        };
    }
}

/// RFC 8415 section 21.1; RFC 3646 and RFC 8910 section 2.2.
fn take_options6(mut options: &[u8], lease: &mut Lease) {
    while let [a, b, c, d, rest @ ..] = options {
        let (code, len) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        let Some((value, rest)) = rest.split_at_checked(len) else {
            return;
        };
        match code {
            23 => lease
                .servers
                .extend(value.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets))),
            103 => lease.urls.extend(url(value)),
            _ => {}
        }
        options = rest;
    }
}

/// Some servers end it with NUL, though it should not be (RFC 8910 section 2.1).
fn url(value: &[u8]) -> Option<String> {
    str::from_utf8(value)
        .ok()
        .map(|text| text.trim_end_matches('\0').to_owned())
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

    use proptest::prelude::{any, prop_assert, proptest};

    const URL: &str = "https://api.hotel.example/cp;v=1";

    fn lease(interface: Option<&str>, servers: &[&str], urls: &[&str]) -> Lease {
        Lease {
            interface: interface.map(str::to_owned),
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
        }
    }

    #[test]
    fn network_manager_and_networkd_say_it_in_lines() {
        let text = format!(
            "[device]\nmanaged=true\nnext-server=10.0.0.9\n\n[dhcp4]\ndhcp4.domain_name_servers=192.168.1.1 192.168.1.2\n\
             dhcp4.routers=192.168.1.3\ndhcp4.default_url={URL}\n[dhcp6]\ndhcp6.dhcp6_name_servers=fd00::1\n"
        );
        let expected = lease(None, &["192.168.1.1", "192.168.1.2", "fd00::1"], &[URL]);
        assert_eq!(network_manager(text.as_bytes()), expected);
        let text = format!(
            "ROUTER=10.0.0.1\nDNS=192.168.1.1 fe80::1%h0 x 192.168.1.2#dns.example\nCAPTIVE_PORTAL={URL}\n=\nDNS=\n"
        );
        assert_eq!(
            networkd(text.as_bytes()),
            lease(None, &["192.168.1.1", "fe80::1", "192.168.1.2"], &[URL])
        );
    }

    #[test]
    fn of_dhclients_leases_the_last_ones_count() {
        let text = format!(
            "lease {{\n  interface \"h0\";\n  option domain-name-servers 10.0.0.9;\n  option default-url \"http://old.example/\";\n}}\n\
             lease {{\n  interface \"h0\";\n  option routers 10.0.0.1;\n  option domain-name-servers 10.0.0.2, 10.0.0.3;\n  \
             option default-url \"{URL}\";\n  renew 4 2026/11/26 19:00:00;\n}}\n\
             lease6 {{\n  interface \"h0\";\n  option dhcp6.name-servers fd00::1;\n  option dhcp6.v6-captive-portal \"{URL}6\";\n}}\n"
        );
        let urls = [URL, &format!("{URL}6")];
        assert_eq!(
            dhclient(text.as_bytes()),
            lease(Some("h0"), &["10.0.0.2", "10.0.0.3", "fd00::1"], &urls)
        );
        for text in [
            "",
            "lease {",
            "lease { option domain-name-servers ; } }",
            "lease { interface",
        ] {
            assert_eq!(dhclient(text.as_bytes()), Lease::default(), "{text}");
        }
    }

    fn message(options: &[u8]) -> Vec<u8> {
        [&[2; DHCP_HEADER], &DHCP_COOKIE[..], options].concat()
    }

    #[test]
    fn r8910_2_dhcpcds_leases_are_the_messages_themselves() {
        let mut options = vec![0, 53, 1, 5, 6, 8, 192, 168, 1, 1, 192, 168, 1, 2, 114, 33];
        options.extend_from_slice(URL.as_bytes());
        options.extend_from_slice(&[0, 255, 6, 4, 10, 0, 0, 1]);
        let found = dhcpcd(&message(&options));
        assert_eq!(found, lease(None, &["192.168.1.1", "192.168.1.2"], &[URL]));
        let mut reply = vec![7, 1, 2, 3, 0, 23, 0, 16];
        reply.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        reply.extend_from_slice(&[0, 103, 0, 32]);
        reply.extend_from_slice(URL.as_bytes());
        assert_eq!(dhcpcd(&reply), lease(None, &["::1"], &[URL]));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_lease_nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..64), cut in 0_usize..300) {
            let whole = message(&octets);
            dhcpcd(&whole[..cut.min(whole.len())]);
            let reply = [&[7, 0, 0, 0], &octets[..]].concat();
            let most = octets.len() / 4;
            prop_assert!(dhcpcd(&whole).servers.len() <= most && dhcpcd(&reply).servers.len() <= most);
            let file = [b"lease {", &octets[..]].concat();
            for lease in [network_manager(&octets), networkd(&octets), dhclient(&file)] {
                prop_assert!(lease.servers.len() + lease.urls.len() <= octets.len());
            }
        }
    }
}
