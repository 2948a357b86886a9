//! Who may ask: requests that name this host by its loopback addresses and come from no foreign web page. Pure.
//!
//! DNS rebinding lets a page of `evil.example` reach 127.0.0.1 under its own name; then `Host` says `evil.example`. A page
//! that addresses 127.0.0.1 directly is a foreign origin; the browser says so in `Origin` and `Sec-Fetch-Site`, and without
//! CORS headers it withholds the answer. We do not even give one.

use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::http::uri::Uri;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Host`, several, or one that cannot be read (400, RFC 9112 section 3.2).
    NoHost,
    /// Another host than this one (421, RFC 9110 section 15.5.20).
    ForeignHost,
    /// A page of another origin (403).
    ForeignPage,
}

/// Judges a request that came in at `local`.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
    let host = only(headers, &HOST).ok_or(Refusal::NoHost)?;
    // In absolute form the URI's authority counts and `Host` is ignored (RFC 9112 section 3.2.2): both must be ours.
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    if !is_ours(host, local) || !is_ours(authority, local) {
        return Err(Refusal::ForeignHost);
    }
    if headers.contains_key(ORIGIN) {
        let origin = only(headers, &ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if !origin.is_some_and(|origin| is_ours(origin, local)) {
            return Err(Refusal::ForeignPage);
        }
    }
    if headers.contains_key(&SEC_FETCH_SITE) {
        // `none` is the user's own doing: the address bar, a bookmark.
        match only(headers, &SEC_FETCH_SITE) {
            Some("same-origin" | "none") => {}
            _ => return Err(Refusal::ForeignPage),
        }
    }
    Ok(())
}

/// Whether a `Host` is `localhost`, `127.0.0.1`, `[::1]` or the address itself, with the port we listen on.
fn is_ours(host: &str, local: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    let own = match local {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let known = name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]" || name == own;
    known && port == Some(local.port())
}

/// The value of a header that stands exactly once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Fetch metadata, sent by every browser since 2023.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, headers: &[(&str, &str)], expected: Result<(), Refusal>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let local = "127.0.0.1:8053".parse().unwrap();
        assert_eq!(
            super::check(&uri.parse().unwrap(), &map, local),
            expected,
            "{uri} {headers:?}"
        );
    }

    #[test]
    fn t_web_hosts() {
        for host in ["127.0.0.1:8053", "localhost:8053", "LocalHost:8053", "[::1]:8053"] {
            check("/", &[("host", host)], Ok(()));
        }
        for host in [
            "evil.example:8053",
            "evil.example",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8054",
            "127.0.0.1:8053.evil.example",
            "localhost.evil.example:8053",
            "127.0.0.2:8053",
            "[::1]",
            "::1:8053",
            "user@127.0.0.1:8053",
            "127.0.0.1:",
            "",
        ] {
            check("/", &[("host", host)], Err(Refusal::ForeignHost));
        }
        check("/", &[], Err(Refusal::NoHost));
        check(
            "/",
            &[("host", "127.0.0.1:8053"), ("host", "127.0.0.1:8053")],
            Err(Refusal::NoHost),
        );
        check(
            "http://evil.example:8053/",
            &[("host", "127.0.0.1:8053")],
            Err(Refusal::ForeignHost),
        );
        check("http://127.0.0.1:8053/", &[("host", "127.0.0.1:8053")], Ok(()));
    }

    #[test]
    fn the_listen_address_itself_is_a_good_host() {
        let mut map = HeaderMap::new();
        map.insert(HOST, "127.0.0.9:80".parse().unwrap());
        assert_eq!(
            super::check(&"/".parse().unwrap(), &map, "127.0.0.9:80".parse().unwrap()),
            Ok(())
        );
        map.insert(HOST, "127.0.0.9".parse().unwrap());
        assert_eq!(
            super::check(&"/".parse().unwrap(), &map, "127.0.0.9:80".parse().unwrap()),
            Ok(())
        );
    }

    #[test]
    fn t_web_pages_of_other_origins() {
        let host = ("host", "127.0.0.1:8053");
        check("/", &[host, ("origin", "http://127.0.0.1:8053")], Ok(()));
        check("/", &[host, ("origin", "http://localhost:8053")], Ok(()));
        for origin in [
            "null",
            "https://evil.example",
            "http://evil.example:8053",
            "https://127.0.0.1:8053",
            "http://127.0.0.1:3000",
        ] {
            check("/", &[host, ("origin", origin)], Err(Refusal::ForeignPage));
        }
        for site in ["same-origin", "none"] {
            check("/", &[host, ("sec-fetch-site", site)], Ok(()));
        }
        for site in ["cross-site", "same-site", "", "new"] {
            check("/", &[host, ("sec-fetch-site", site)], Err(Refusal::ForeignPage));
        }
        check(
            "/",
            &[host, ("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
            Err(Refusal::ForeignPage),
        );
    }
}
