//! What a probe's answer says of the network. Pure; every octet of it is a stranger's.

use crate::config::portal::{Expected, Probe};
use crate::wire::domains::canonical;

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The one who was asked.
    Expected,
    /// Somebody else, who wants to be visited at this host, if he says so.
    Another(Option<String>),
    /// Nobody, or nobody can tell.
    Nothing,
}

/// What all probes together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The network lets everybody through.
    Open,
    /// A sign-in page, at this host if it is known: a name, or an address.
    Page(Option<String>),
    /// No answer.
    Silence,
}

impl Found {
    /// For `/stats`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Page(_) => "page",
            Self::Silence => "silent",
        }
    }

    /// A page that names itself counts whatever the others say: many networks let one of the probes through. One that does not may be a probe
    /// whose page is another now.
    pub(super) fn of(replies: &[Reply]) -> Self {
        let host = replies.iter().find_map(|reply| match reply {
            Reply::Another(host) => host.clone(),
            _ => None,
        });
        if host.is_some() {
            return Self::Page(host);
        }
        if replies.contains(&Reply::Expected) {
            return Self::Open;
        }
        if replies.contains(&Reply::Another(None)) {
            return Self::Page(None);
        }
        Self::Silence
    }
}

/// What came back to a probe, be it whole or cut off.
pub fn judge(probe: &Probe, octets: &[u8]) -> Reply {
    let Some(status) = status(octets) else {
        return Reply::Nothing;
    };
    let (head, body) = split(octets);
    match (status, &probe.expected) {
        (204, Expected::Empty) => Reply::Expected,
        (200, Expected::Word(word)) if holds(body, word.as_bytes()) => Reply::Expected,
        (300..400, _) => match location(head).and_then(host_of) {
            // To its own TLS, say: nobody stands in between.
            Some(host) if is_host_of(probe, &host) => Reply::Nothing,
            host => Reply::Another(host),
        },
        // 511: RFC 6585 section 6.
        (200 | 511, _) => Reply::Another(None),
        _ => Reply::Nothing,
    }
}

/// `HTTP/1.1 302 ...`
fn status(octets: &[u8]) -> Option<u16> {
    let rest = octets.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5).filter(|_| rest[1] == b' ')?;
    let ends = matches!(rest.get(5), Some(b' ' | b'\r' | b'\n'));
    let is_number = ends && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    })
}

/// Before and behind the first empty line. Without one all of it is head.
fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    let end = |end: &[u8]| {
        let at = octets.windows(end.len()).position(|window| window == end);
        at.map(|at| (&octets[..at], &octets[at + end.len()..]))
    };
    end(b"\r\n\r\n").or_else(|| end(b"\n\n")).unwrap_or((octets, &[]))
}

/// Where it leads, if that line is whole.
fn location(head: &[u8]) -> Option<&str> {
    let mut lines = head.split(|octet| *octet == b'\n').skip(1).take(MAX_LINES);
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|octet| *octet == b':')?);
        name.eq_ignore_ascii_case(b"location").then(|| &value[1..])
    })?;
    str::from_utf8(value.trim_ascii()).ok()
}

/// The host of an absolute URL over HTTP: a name of letters, digits and hyphens, or an address without brackets. None with a user's name in it,
/// or anything that a person would misread.
pub fn host_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if let Some(inner) = authority.strip_prefix('[') {
        let (inner, port) = inner.split_once(']')?;
        let address: std::net::Ipv6Addr = inner.parse().ok()?;
        return is_port(port).then(|| address.to_string());
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let host = host.strip_suffix('.').unwrap_or(host);
    (is_port(port) && is_host_name(host)).then(|| host.to_ascii_lowercase())
}

/// Nothing, or `:` and a number.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.bytes().all(|octet| octet.is_ascii_digit())
        && (digits.is_empty() || digits.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether a text can be the name of a web server, or an IPv4 address.
pub fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = label
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        is_plain && !label.starts_with('-') && !label.ends_with('-')
    };
    canonical(host).is_some() && host.split('.').all(is_label)
}

fn is_host_of(probe: &Probe, host: &str) -> bool {
    let own = probe.host.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case(own)
}

fn holds(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len().max(1)).any(|window| window == word)
}

/// Of a head; what is read of an answer has room for some hundred.
const MAX_LINES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    fn probe(expected: Expected) -> Probe {
        Probe {
            address: "192.0.2.1:80".parse().unwrap(),
            host: "captive.apple.com:80".into(),
            path: "/".into(),
            expected,
        }
    }

    fn of(octets: impl AsRef<[u8]>) -> Reply {
        judge(&probe(Expected::Word("Success".into())), octets.as_ref())
    }

    fn leads_to(location: &str) -> Reply {
        of(format!(
            "HTTP/1.1 302 Found\r\nServer: x\r\nlocation:{location}\r\n\r\n"
        ))
    }

    #[test]
    fn the_expected_answer_is_known() {
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n<BODY>Success</BODY>"), Reply::Expected);
        assert_eq!(of("HTTP/1.0 200 OK\n\nSuccess"), Reply::Expected);
        let empty = probe(Expected::Empty);
        assert_eq!(judge(&empty, b"HTTP/1.1 204 No Content\r\n\r\n"), Reply::Expected);
        assert_eq!(judge(&empty, b"HTTP/1.1 200 OK\r\n\r\nSuccess"), Reply::Another(None));
        assert_eq!(of("HTTP/1.1 204 No Content\r\n\r\n"), Reply::Nothing);
    }

    #[test]
    fn another_who_answers_says_where_to_go() {
        let to = |host: &str| Reply::Another(Some(host.to_owned()));
        for (location, host) in [
            (" http://login.hotel.example/?a=b", "login.hotel.example"),
            ("HTTPS://Login.Hotel.Example.:8443/x", "login.hotel.example"),
            (" http://192.168.77.1:8080/login ", "192.168.77.1"),
            (" http://[fd77::1]:80/", "fd77::1"),
            (" http://portal", "portal"),
            (" http://a.example\\@b.example/", "a.example"),
        ] {
            assert_eq!(leads_to(location), to(host), "{location}");
        }
        assert_eq!(of("HTTP/1.1 511 x\r\n\r\n"), Reply::Another(None));
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n<h1>Welcome</h1>"), Reply::Another(None));
        // Successful only in its head.
        assert_eq!(of("HTTP/1.1 200 Success\r\nX: Success\r\n\r\n"), Reply::Another(None));
    }

    #[test]
    fn a_place_that_is_none_is_not_shown_to_anybody() {
        for location in [
            "/login",
            "//login.example/",
            "ftp://login.example/",
            "javascript:alert(1)",
            "http://",
            "http:///x",
            "http://user@login.example/",
            "http://user:pw@login.example/",
            "http://login.example:0/",
            "http://login.example:65536/",
            "http://login.example:8x/",
            "http://log in.example/",
            "http://login\u{1b}[31m.example/",
            "http://l\u{f6}gin.example/",
            "http://log_in.example/",
            "http://-login.example/",
            "http://login..example/",
            "http://[fd77::1/",
            "http://[fd77::1]x/",
            "http://[::1%lo]/",
            &format!("http://{}.example/", "a".repeat(64)),
            &format!("http://{}example/", "a.".repeat(130)),
        ] {
            assert_eq!(leads_to(location), Reply::Another(None), "{location}");
        }
        assert_eq!(
            of(b"HTTP/1.1 302 x\r\nLocation: http://\xff.example/\r\n\r\n"),
            Reply::Another(None)
        );
        assert_eq!(
            leads_to("https://captive.apple.com/hotspot"),
            Reply::Nothing,
            "its own TLS"
        );
    }

    #[test]
    fn what_is_no_http_says_nothing() {
        for octets in [
            "",
            "\r\n\r\n",
            "HTTP/1.",
            "HTTP/1.1",
            "HTTP/1.1 2",
            "HTTP/1.1 20",
            "HTTP/1.1 200",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 -12 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 404 Not Found\r\n\r\nSuccess",
            "HTTP/1.1 503 Busy\r\n\r\n",
        ] {
            assert_eq!(of(octets), Reply::Nothing, "{octets:?}");
        }
        assert_eq!(of([0xff; 4096]), Reply::Nothing);
    }

    #[test]
    fn a_head_without_an_end_is_read_as_far_as_it_goes() {
        let lines = "X: y\r\n".repeat(20_000);
        assert_eq!(of(format!("HTTP/1.1 302 Found\r\n{lines}")), Reply::Another(None));
        assert_eq!(
            of(format!("HTTP/1.1 200 OK {}", "x".repeat(100_000))),
            Reply::Another(None)
        );
        assert_eq!(
            of("HTTP/1.1 302 Found\r\nLocation: http://login.example/x"),
            Reply::Another(Some("login.example".into()))
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_and_only_a_host_is_shown(
            head in "(HTTP/1\\.[01] [0-9]{3} ?)?[ -~\\r\\n]{0,40}",
            location in "\\PC{0,40}|https?://[a-zA-Z0-9.:@\\[\\]%-]{0,40}",
            rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let octets = [format!("{head}\r\nLocation: {location}\r\n").as_bytes(), &rest].concat();
            for expected in [Expected::Empty, Expected::Word("ok".into())] {
                if let Reply::Another(Some(host)) = judge(&probe(expected), &octets) {
                    let is_address = host.parse::<std::net::IpAddr>().is_ok();
                    prop_assert!(is_address || is_host_name(&host) && host.len() < 254, "{host}");
                }
            }
        }
    }

    #[test]
    fn one_page_that_names_itself_counts() {
        let page = || Reply::Another(Some("login.example".into()));
        for (replies, found) in [
            (vec![], Found::Silence),
            (vec![Reply::Nothing, Reply::Nothing], Found::Silence),
            (vec![Reply::Nothing, Reply::Expected], Found::Open),
            (vec![Reply::Another(None), Reply::Expected], Found::Open),
            (vec![Reply::Another(None), Reply::Nothing], Found::Page(None)),
            (vec![Reply::Expected, page()], Found::Page(Some("login.example".into()))),
        ] {
            assert_eq!(Found::of(&replies), found, "{replies:?}");
        }
    }
}
