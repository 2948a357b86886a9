//! Upstream URLs: which transport, which host, which port, which path. Pure; never resolves a name, never opens a socket.
//!
//! `https://host[:443]/path` is DoH by POST, `https://host/path{?dns}` is DoH by GET (an RFC 6570 template, as RFC 8484
//! section 4.1 has it), `tls://host[:853]` is DoT (RFC 7858).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::well_known;

/// Where an upstream is, as its URL says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How it is spoken to.
    pub transport: Transport,
    /// Whom the certificate must name, unless a `server-name` says otherwise.
    pub host: Host,
    /// The TCP port, never 0.
    pub port: u16,
    /// DoH: path and query string as they go into `:path`, the template taken off. DoT: empty.
    pub path: String,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// DNS over TLS (RFC 7858).
    Dot,
    /// DNS over HTTPS by POST (RFC 8484).
    DohPost,
    /// DNS over HTTPS by GET, cacheable on the way (RFC 8484).
    DohGet,
}

/// The host of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name: lower case, no trailing dot, letters, digits, hyphens and underscores.
    Name(String),
    /// An address literal.
    Address(IpAddr),
}

impl Endpoint {
    /// Addresses that are known without asking anybody: of an address literal itself, of a well-known resolver those in
    /// our table. Empty when the user has to say them.
    pub fn built_in_addresses(&self) -> Vec<IpAddr> {
        match &self.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => well_known::addresses(name),
        }
    }

    /// The `:path` of a GET for a query in base64url: `dns` becomes the last parameter.
    pub fn get_target(&self, dns: &str) -> String {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{separator}dns={dns}", self.path)
    }

    /// `host` or `host:port`, as HTTP's `:authority` wants it: the port only when it is not the transport's own.
    pub fn authority(&self) -> String {
        if self.port == self.transport.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(EndpointError::NoScheme);
        };
        let doh = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "tls" => false,
            "http" => return Err(EndpointError::ClearText),
            "udp" | "tcp" => return Err(EndpointError::OnlyInRoute),
            "quic" | "h3" => return Err(EndpointError::NotYet),
            _ => return Err(EndpointError::UnknownScheme),
        };
        if rest.contains('#') {
            return Err(EndpointError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?', '{']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let host = host.parse()?;
        let (transport, path) = if doh {
            split_template(target)?
        } else if target.is_empty() {
            (Transport::Dot, "")
        } else {
            return Err(EndpointError::PathWithTls);
        };
        let port = match port {
            Some(digits) => parse_port(digits).ok_or(EndpointError::BadPort)?,
            None => transport.default_port(),
        };
        Ok(Self {
            transport,
            host,
            port,
            path: path.to_owned(),
        })
    }
}

/// The URL, which parses to the same endpoint again.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        match self.transport {
            Transport::Dot => write!(f, "tls://{authority}"),
            Transport::DohPost => write!(f, "https://{authority}{}", self.path),
            Transport::DohGet if self.path.contains('?') => write!(f, "https://{authority}{}{{&dns}}", self.path),
            Transport::DohGet => write!(f, "https://{authority}{}{{?dns}}", self.path),
        }
    }
}

impl Transport {
    /// The word for it in logs, metrics and JSON: `dot` or `doh`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::DohPost | Self::DohGet => "doh",
        }
    }

    /// The port when the URL has none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Dot => 853,
            Self::DohPost | Self::DohGet => 443,
        }
    }
}

impl FromStr for Host {
    type Err = EndpointError;

    /// Reads a DNS name, an IPv4 address or an IPv6 address in square brackets.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::NoHost);
        }
        if !text.is_ascii() {
            return Err(EndpointError::NotAscii);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().map_err(|_| EndpointError::BadHost)?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if is_host_name(name) {
            Ok(Self::Name(name.to_ascii_lowercase()))
        } else {
            Err(EndpointError::BadHost)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Why a text is not the URL of an upstream. Each says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// No `://`.
    NoScheme,
    /// `udp://` or `tcp://`: classic DNS.
    OnlyInRoute,
    /// `http://`.
    ClearText,
    /// `quic://` or `h3://`.
    NotYet,
    /// Another scheme, or a DNS stamp.
    UnknownScheme,
    /// Nothing between `://` and the path.
    NoHost,
    /// Not a host name and not an address.
    BadHost,
    /// An IPv6 address without brackets, or more than one colon.
    BareIpv6,
    /// An internationalized name in its Unicode form.
    NotAscii,
    /// Not a number from 1 to 65535.
    BadPort,
    /// `user@host`.
    UserInfo,
    /// A `#`.
    Fragment,
    /// DoH without a path.
    NoPath,
    /// A character that no path has.
    BadPath,
    /// A template other than `{?dns}` or `{&dns}` at the end.
    BadTemplate,
    /// DoT with a path.
    PathWithTls,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "no scheme: write `https://host/dns-query` for DoH or `tls://host` for DoT",
            Self::OnlyInRoute => {
                "`udp://` and `tcp://` are classic DNS, in clear text: they are only allowed in a `[[route]]`"
            }
            Self::ClearText => "`http://` is clear text and never used: write `https://`",
            Self::NotYet => "DNS over QUIC and HTTP/3 are not in this version: write `https://` or `tls://`",
            Self::UnknownScheme => "unknown scheme: write `https://host/dns-query` for DoH or `tls://host` for DoT (DNS stamps are not in this version)",
            Self::NoHost => "no host between `://` and the path",
            Self::BadHost => "neither a host name nor an IP address",
            Self::BareIpv6 => "put an IPv6 address in square brackets, as in `https://[2620:fe::fe]/dns-query`",
            Self::NotAscii => "write an internationalized host name in punycode, as in `xn--bcher-kva.example`",
            Self::BadPort => "the port must be a number from 1 to 65535",
            Self::UserInfo => "a user name or password in the URL is not supported",
            Self::Fragment => "a `#` fragment never reaches the server: leave it out",
            Self::NoPath => "a DoH URL needs its path, most often `/dns-query`",
            Self::BadPath => "the path has a character that must be percent-encoded",
            Self::BadTemplate => "the only template is `{?dns}` at the end (`{&dns}` after a query string), which means GET",
            Self::PathWithTls => "`tls://` takes no path: write `tls://host` or `tls://host:port`",
        })
    }
}

impl std::error::Error for EndpointError {}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), EndpointError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(EndpointError::BadHost)? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(EndpointError::BadHost),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(EndpointError::BareIpv6),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

/// The port of a URL, never 0.
pub(super) fn parse_port(digits: &str) -> Option<u16> {
    // `u16::from_str` takes a leading `+`, a URL does not.
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse().ok().filter(|port| *port != 0 && is_number)
}

/// Splits a DoH path from its template.
fn split_template(target: &str) -> Result<(Transport, &str), EndpointError> {
    let (transport, path) = match target.find('{') {
        None => (Transport::DohPost, target),
        Some(at) => {
            let (path, template) = target.split_at(at);
            let wanted = if path.contains('?') { "{&dns}" } else { "{?dns}" };
            if template != wanted {
                return Err(EndpointError::BadTemplate);
            }
            (Transport::DohGet, path)
        }
    };
    if !path.starts_with('/') {
        return Err(EndpointError::NoPath);
    }
    if path.bytes().all(is_path_octet) {
        Ok((transport, path))
    } else {
        Err(EndpointError::BadPath)
    }
}

/// `pchar`, `/`, `?` and the percent of an escape (RFC 3986 section 3.3 and 3.4).
fn is_path_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&octet)
}

/// Whether a certificate could carry this name: LDH labels (RFC 1123 section 2.1) and the underscore some operators use.
/// The last label is not a number, so that `256.1.1.1` is a wrong address and not a name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    };
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|octet| octet.is_ascii_digit()));
    name.len() <= 253 && !last_is_number && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    fn check(url: &str, transport: Transport, host: &str, port: u16, path: &str) {
        let endpoint: Endpoint = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        let expected = Endpoint {
            transport,
            host: host.parse().unwrap(),
            port,
            path: path.to_owned(),
        };
        assert_eq!(endpoint, expected, "{url}");
        assert_eq!(
            endpoint.to_string().parse(),
            Ok(expected),
            "{url} does not survive being written"
        );
    }

    #[test]
    fn the_forms_of_design_1() {
        check(
            "https://dns.quad9.net/dns-query",
            Transport::DohPost,
            "dns.quad9.net",
            443,
            "/dns-query",
        );
        check(
            "https://dns.quad9.net:443/dns-query",
            Transport::DohPost,
            "dns.quad9.net",
            443,
            "/dns-query",
        );
        check(
            "HTTPS://DNS.Quad9.net.:8443/",
            Transport::DohPost,
            "dns.quad9.net",
            8443,
            "/",
        );
        check(
            "https://9.9.9.9/dns-query{?dns}",
            Transport::DohGet,
            "9.9.9.9",
            443,
            "/dns-query",
        );
        check(
            "https://[2620:fe::fe]:5053/q",
            Transport::DohPost,
            "[2620:fe::fe]",
            5053,
            "/q",
        );
        check(
            "https://d.example/q?token=a%20b",
            Transport::DohPost,
            "d.example",
            443,
            "/q?token=a%20b",
        );
        check(
            "https://d.example/q?t=1{&dns}",
            Transport::DohGet,
            "d.example",
            443,
            "/q?t=1",
        );
        check("tls://dns.quad9.net", Transport::Dot, "dns.quad9.net", 853, "");
        check("tls://[2620:fe::fe]", Transport::Dot, "[2620:fe::fe]", 853, "");
        check("tls://9.9.9.9:8853", Transport::Dot, "9.9.9.9", 8853, "");
    }

    #[test]
    fn each_wrong_url_has_its_own_reason() {
        for (url, reason) in [
            ("dns.quad9.net", EndpointError::NoScheme),
            ("9.9.9.9", EndpointError::NoScheme),
            ("", EndpointError::NoScheme),
            ("udp://9.9.9.9", EndpointError::OnlyInRoute),
            ("TCP://9.9.9.9", EndpointError::OnlyInRoute),
            ("http://dns.quad9.net/dns-query", EndpointError::ClearText),
            ("quic://dns.adguard-dns.com", EndpointError::NotYet),
            ("h3://dns.adguard-dns.com/dns-query", EndpointError::NotYet),
            ("sdns://AQMAAAAAAAAA", EndpointError::UnknownScheme),
            ("dot://9.9.9.9", EndpointError::UnknownScheme),
            ("https:///dns-query", EndpointError::NoHost),
            ("tls://:853", EndpointError::NoHost),
            ("https://256.1.1.1/dns-query", EndpointError::BadHost),
            ("https://a..b/dns-query", EndpointError::BadHost),
            ("https://-a.example/q", EndpointError::BadHost),
            ("https://[::1/q", EndpointError::BadHost),
            ("https://[fe80::1%eth0]/q", EndpointError::BadHost),
            ("https://[::1]x/q", EndpointError::BadHost),
            ("https://host name/q", EndpointError::BadHost),
            ("https://2620:fe::fe/dns-query", EndpointError::BareIpv6),
            ("https://bücher.example/q", EndpointError::NotAscii),
            ("tls://9.9.9.9:0", EndpointError::BadPort),
            ("tls://9.9.9.9:", EndpointError::BadPort),
            ("tls://9.9.9.9:+853", EndpointError::BadPort),
            ("tls://9.9.9.9:65536", EndpointError::BadPort),
            ("https://me:secret@dns.example/q", EndpointError::UserInfo),
            ("https://dns.example/q#top", EndpointError::Fragment),
            ("https://dns.quad9.net", EndpointError::NoPath),
            ("https://dns.quad9.net?x=1", EndpointError::NoPath),
            ("https://dns.example{?dns}", EndpointError::NoPath),
            ("https://dns.example/a b", EndpointError::BadPath),
            ("https://dns.example/\u{e9}", EndpointError::BadPath),
            ("https://dns.example/q{?name}", EndpointError::BadTemplate),
            ("https://dns.example/q{?dns}x", EndpointError::BadTemplate),
            ("https://dns.example/q?a=1{?dns}", EndpointError::BadTemplate),
            ("tls://dns.quad9.net/", EndpointError::PathWithTls),
        ] {
            assert_eq!(url.parse::<Endpoint>(), Err(reason), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_an_error_and_endpoints_survive(
            scheme in "(https|tls)://",
            rest in "[a-zA-Z0-9.:/?{}\\[\\]%@# _-]{0,40}|\\PC{0,20}",
        ) {
            if let Ok(endpoint) = format!("{scheme}{rest}").parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }

    #[test]
    fn r8484_10_an_address_is_its_own_and_a_stranger_has_none() {
        let addresses = |url: &str| url.parse::<Endpoint>().unwrap().built_in_addresses();
        assert_eq!(addresses("tls://192.0.2.7"), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(addresses("tls://dns.quad9.net").contains(&"9.9.9.9".parse().unwrap()));
        assert!(addresses("tls://dns.example").is_empty());
    }

    #[test]
    fn what_goes_into_the_request_line() {
        let endpoint: Endpoint = "https://[::1]:8443/q?t=1{&dns}".parse().unwrap();
        assert_eq!(
            (endpoint.authority(), endpoint.get_target("AAAB")),
            ("[::1]:8443".into(), "/q?t=1&dns=AAAB".into())
        );
        let endpoint: Endpoint = "https://dns.example/q{?dns}".parse().unwrap();
        assert_eq!(
            (endpoint.authority(), endpoint.get_target("AAAB")),
            ("dns.example".into(), "/q?dns=AAAB".into())
        );
    }
}
