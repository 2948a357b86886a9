//! DNS stamps (`sdns://`), as far as tacenda speaks what they name: DoH and DoT (dnscrypt.info/stamps-specifications).

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64URL_NOPAD;

use super::draft::Upstream;

/// The resolver of a stamp.
///
/// # Errors
/// What it names instead, or that it is none.
pub(super) fn read(stamp: &str) -> Result<Upstream, &'static str> {
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
    // Hashes of certificates above the server's own: not what `pins` means.
    while octets_of(&mut rest)?.1 {}
    let host = text(&mut rest)?;
    let path = if scheme == "https" {
        text(&mut rest)?
    } else {
        String::new()
    };
    if host.is_empty() {
        return Err("a stamp without a host");
    }
    Ok(Upstream {
        url: format!("{scheme}://{host}{path}"),
        addresses: address_of(&address).into_iter().collect(),
        ..Upstream::default()
    })
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

/// With a port, in brackets, or neither.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
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
        let upstream = read(&quad9).unwrap();
        assert_eq!(upstream.url, "https://dns9.quad9.net/dns-query");
        assert_eq!(upstream.addresses, ["9.9.9.9".parse::<IpAddr>().unwrap()]);
        let upstream = read(&stamp(3, &[b"[2620:fe::fe]:853", b"", b"dns.quad9.net:853"])).unwrap();
        assert_eq!(upstream.url, "tls://dns.quad9.net:853");
        assert_eq!(upstream.addresses, ["2620:fe::fe".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn several_hashes_are_passed_over() {
        let mut octets = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        octets.extend_from_slice(&[0x82, 1, 2, 0x02, 3, 4]);
        octets.extend_from_slice(b"\x0bdns.example\x02/q");
        let upstream = read(&format!("sdns://{}", BASE64URL_NOPAD.encode(&octets))).unwrap();
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
