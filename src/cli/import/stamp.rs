//! DNS stamps (`sdns://`), as far as tacenda speaks what they name: DoH and DoT (dnscrypt.info/stamps-specifications).

use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;

use super::draft::Upstream;

/// A resolver, and what of its stamp it does not hold.
#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) upstream: Upstream,
    /// Hashes of certificates above the server's own: not what `pins` means.
    pub(super) had_hashes: bool,
}

/// The resolver of a stamp.
///
/// # Errors
/// What it names instead, or that it is none.
pub(super) fn read(stamp: &str) -> Result<Stamped, &'static str> {
    let coded = stamp.strip_prefix("sdns://").ok_or("no stamp")?;
    let octets = BASE64URL_NOPAD.decode(coded.trim_end_matches('=').as_bytes());
    let octets = octets.map_err(|_| "no stamp")?;
    let (protocol, rest) = octets.split_first().ok_or("an empty stamp")?;
    let scheme = match protocol {
        0x00 => return Err("classic DNS: never asked in clear text"),
        0x01 | 0x81 => return Err("DNSCrypt, which tacenda does not speak"),
        0x02 => "https",
        0x03 => "tls",
        0x04 => return Err("DNS over QUIC, which tacenda does not speak yet"),
        0x05 | 0x85 => return Err("Oblivious DoH, which tacenda does not speak"),
        _ => return Err("a protocol that is not known"),
    };
    // What the operator says of itself (no log, no filter) changes nothing here.
    let mut rest = rest.get(8..).ok_or("a stamp that is cut off")?;
    let address = text(&mut rest)?;
    let mut had_hashes = false;
    loop {
        let (hash, more) = octets_of(&mut rest)?;
        had_hashes |= !hash.is_empty();
        if !more {
            break;
        }
    }
    let mut host = text(&mut rest)?;
    let path = if scheme == "https" {
        text(&mut rest)?
    } else {
        String::new()
    };
    if host.is_empty() {
        return Err("a stamp without a host");
    }
    let (ip, port) = address_of(&address);
    let usual = if scheme == "https" { 443 } else { 853 };
    if let Some(port) = port.filter(|port| *port != usual && !has_port(&host)) {
        host = format!("{host}:{port}");
    }
    Ok(Stamped {
        upstream: Upstream {
            url: format!("{scheme}://{host}{path}"),
            addresses: ip.into_iter().collect(),
            ..Upstream::default()
        },
        had_hashes,
    })
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// Octets with their length before them, and whether more of the same follow (a length above 127).
fn octets_of<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], bool), &'static str> {
    let (len, after) = rest.split_first().ok_or("a stamp that is cut off")?;
    let (here, after) = after
        .split_at_checked(usize::from(len & 0x7f))
        .ok_or("a stamp that is cut off")?;
    *rest = after;
    Ok((here, len & 0x80 != 0))
}

fn text(rest: &mut &[u8]) -> Result<String, &'static str> {
    let (octets, _) = octets_of(rest)?;
    String::from_utf8(octets.to_vec()).map_err(|_| "a stamp that is no text")
}

/// With a port, in brackets, a port alone, or nothing.
fn address_of(text: &str) -> (Option<IpAddr>, Option<u16>) {
    match super::address(text) {
        Some((ip, port)) => (Some(ip), port),
        None => (None, text.strip_prefix(':').and_then(|port| port.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp of these parts.
    fn stamp(protocol: u8, parts: &[&[u8]]) -> String {
        let mut octets = vec![protocol, 7, 0, 0, 0, 0, 0, 0, 0];
        for part in parts {
            octets.push(u8::try_from(part.len()).unwrap());
            octets.extend_from_slice(part);
        }
        format!("sdns://{}", BASE64URL_NOPAD.encode(&octets))
    }

    #[test]
    fn one_that_is_published() {
        // Quad9's of the public resolvers' list, without hashes.
        let quad9 = stamp(2, &[b"9.9.9.9", b"", b"dns9.quad9.net", b"/dns-query"]);
        let upstream = read(&quad9).unwrap().upstream;
        assert_eq!(upstream.url, "https://dns9.quad9.net/dns-query");
        assert_eq!(upstream.addresses, ["9.9.9.9".parse::<IpAddr>().unwrap()]);
        let upstream = read(&stamp(3, &[b"[2620:fe::fe]:853", b"", b"dns.quad9.net:853"]))
            .unwrap()
            .upstream;
        assert_eq!(upstream.url, "tls://dns.quad9.net:853");
        assert_eq!(upstream.addresses, ["2620:fe::fe".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_port_of_the_address_is_the_resolvers() {
        let url = |protocol, parts: &[&[u8]]| {
            let stamped = read(&stamp(protocol, parts)).unwrap();
            assert!(!stamped.had_hashes);
            (stamped.upstream.url, stamped.upstream.addresses.len())
        };
        assert_eq!(
            url(2, &[b"9.9.9.9:8443", b"", b"a.example", b"/q"]),
            ("https://a.example:8443/q".into(), 1)
        );
        assert_eq!(
            url(3, &[b"[2620:fe::fe]:8853", b"", b"a.example"]),
            ("tls://a.example:8853".into(), 1)
        );
        assert_eq!(
            url(2, &[b":8443", b"", b"a.example:9443", b"/q"]),
            ("https://a.example:9443/q".into(), 0)
        );
        assert_eq!(
            url(2, &[b"9.9.9.9:443", b"", b"a.example", b"/q"]),
            ("https://a.example/q".into(), 1)
        );
    }

    #[test]
    fn several_hashes_are_passed_over() {
        let mut octets = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        octets.extend_from_slice(&[0x82, 1, 2, 0x02, 3, 4]);
        octets.extend_from_slice(b"\x0bdns.example\x02/q");
        let stamped = read(&format!("sdns://{}", BASE64URL_NOPAD.encode(&octets))).unwrap();
        assert!(stamped.had_hashes);
        let upstream = stamped.upstream;
        assert_eq!(
            (upstream.url.as_str(), upstream.addresses.len()),
            ("https://dns.example/q", 0)
        );
    }

    #[test]
    fn what_tacenda_does_not_speak_is_named_and_what_is_no_stamp_is_an_error() {
        assert!(
            read(&stamp(1, &[b"1.1.1.1", b"key", b"name"]))
                .unwrap_err()
                .contains("DNSCrypt")
        );
        assert!(read(&stamp(5, &[b"name", b"/"])).unwrap_err().contains("Oblivious"));
        for text in ["", "sdns://", "sdns://%%", "sdns://Ag", "https://x"] {
            assert!(read(text).is_err(), "{text}");
        }
        let whole = stamp(2, &[b"9.9.9.9", b"", b"dns.example", b"/q"]);
        let octets = BASE64URL_NOPAD.decode(&whole.as_bytes()[7..]).unwrap();
        for len in 0..octets.len() {
            let cut = format!("sdns://{}", BASE64URL_NOPAD.encode(&octets[..len]));
            assert!(read(&cut).is_err(), "{len}");
        }
    }
}
