//! `[portal]`: how a sign-in page (captive portal) is found out about, as written, checked and shown. Whom its names may be asked of is no
//! configuration's to say.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::PortalConfig;
use super::check::problem;
use super::draft::Reader;
use super::file::PortalSpec;
use super::problem::{Problem, Sourced};
use super::show::{Lines, list};
use super::values::Complaint;

/// A web server whose answer is known: a network that lets nobody through yet answers in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it is: nobody is asked for it.
    pub address: SocketAddr,
    /// What it is called there, with its port if it has another than 80.
    pub host: String,
    /// What is asked for.
    pub path: String,
    /// What it answers.
    pub expected: Expected,
}

/// What a probe answers where nobody stands in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 204, with nothing in it.
    Empty,
    /// 200, with this word in it.
    Word(String),
}

/// As it is written.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address, host, path, ..
        } = self;
        write!(f, "{} http://{host}{path} ", address.ip())?;
        match &self.expected {
            Expected::Empty => f.write_str(EMPTY),
            Expected::Word(word) => f.write_str(word),
        }
    }
}

/// `[portal]` in the making.
#[derive(Clone, Debug)]
pub(super) struct DraftPortal {
    detect: Sourced<bool>,
    probe: Sourced<Vec<Sourced<Probe>>>,
}

impl Default for DraftPortal {
    fn default() -> Self {
        let probes = DEFAULT_PROBES.iter().filter_map(|text| parse_probe(text).ok());
        Self {
            detect: Sourced::default_value(true),
            probe: Sourced::default_value(probes.map(Sourced::default_value).collect()),
        }
    }
}

impl DraftPortal {
    /// Lays a file's table over what is there.
    pub(super) fn lay(&mut self, spec: PortalSpec, reader: &mut Reader<'_>) {
        reader.set_plain(&mut self.detect, spec.detect);
        reader.set_list(&mut self.probe, spec.probe, parse_probe);
    }

    /// Reports what does not fit together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let probes = &self.probe;
        if probes.value.len() > MAX_PROBES {
            let help = "two or three tell as much";
            problems.push(problem(&probes.place, "more than 4 probes", help));
        }
        if probes.value.is_empty() && self.detect.value {
            let help = "write detect = false if sign-in pages are not to be looked for";
            problems.push(problem(&probes.place, "no probe to find a sign-in page with", help));
        }
    }

    pub(super) fn to_config(&self) -> PortalConfig {
        PortalConfig {
            detect: self.detect.value,
            probes: self.probe.value.iter().map(|probe| probe.value.clone()).collect(),
        }
    }

    /// For `config show`.
    pub(super) fn show(&self, lines: &mut Lines) {
        lines.table("[portal]");
        lines.value("detect", &self.detect.value.to_string(), &self.detect.place);
        let probes = self.probe.value.iter().map(|probe| probe.value.to_string());
        lines.value("probe", &list(probes), &self.probe.place);
    }
}

/// `17.253.109.201 http://captive.apple.com/hotspot-detect.html Success`: address, URL, and a word of the page or `204`.
fn parse_probe(text: &str) -> Result<Probe, Complaint> {
    let read = || {
        let mut words = text.split_ascii_whitespace();
        let (address, url, expected) = (words.next()?, words.next()?, words.next()?);
        let address: IpAddr = address.parse().ok()?;
        let rest = url.strip_prefix("http://")?;
        let (host, path) = rest.split_at(rest.find('/')?);
        let (name, port) = host.split_once(':').unwrap_or((host, "80"));
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        let is_path = |c: char| c.is_ascii_graphic();
        let is_one = !address.is_unspecified() && !address.is_multicast();
        let fits = text.len() <= MAX_LEN && !name.is_empty() && name.chars().all(is_name) && path.chars().all(is_path);
        (is_one && fits && words.next().is_none()).then(|| Probe {
            address: SocketAddr::new(address, port),
            host: host.to_owned(),
            path: path.to_owned(),
            expected: if expected == EMPTY {
                Expected::Empty
            } else {
                Expected::Word(expected.to_owned())
            },
        })
    };
    read().ok_or_else(|| {
        Complaint::new(
            "not a probe: address, URL, and what is answered",
            "write for example \"17.253.109.201 http://captive.apple.com/hotspot-detect.html Success\", or 204 at the end",
        )
    })
}

/// How an answer without content is written.
const EMPTY: &str = "204";

/// Apple, Mozilla and Microsoft: what systems and browsers look at themselves. None knows more by it than that somebody is there.
const DEFAULT_PROBES: [&str; 3] = [
    "17.253.109.201 http://captive.apple.com/hotspot-detect.html Success",
    "34.107.221.82 http://detectportal.firefox.com/success.txt success",
    "13.107.4.52 http://www.msftconnecttest.com/connecttest.txt Microsoft",
];

/// Asked at the same time.
const MAX_PROBES: usize = 4;

/// Octets of one: a name, a path and two words.
const MAX_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_and_written() {
        let probe = parse_probe("127.0.0.1  http://probe.example:8080/a?b 204")
            .ok()
            .unwrap();
        assert_eq!(probe.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(
            (probe.host.as_str(), probe.path.as_str()),
            ("probe.example:8080", "/a?b")
        );
        assert_eq!(probe.expected, Expected::Empty);
        for text in DEFAULT_PROBES {
            assert_eq!(parse_probe(text).ok().unwrap().to_string(), text);
        }
        let v6 = parse_probe("2001:db8::1 http://probe.example/ ok").ok().unwrap();
        assert_eq!(v6.address, "[2001:db8::1]:80".parse().unwrap());
    }

    #[test]
    fn what_is_no_probe_is_refused() {
        for text in [
            "",
            "captive.apple.com http://captive.apple.com/ Success",
            "192.0.2.1 https://captive.apple.com/ Success",
            "192.0.2.1 http://captive.apple.com Success",
            "192.0.2.1 http://captive.apple.com/",
            "192.0.2.1 http://captive.apple.com/ two words",
            "192.0.2.1 http://me@captive.apple.com/ Success",
            "192.0.2.1 http://captive.apple.com:0/ Success",
            "192.0.2.1 http://captive.apple.com:http/ Success",
            "192.0.2.1 http:///x Success",
            "192.0.2.1 http://a.example/\u{e9} Success",
            "0.0.0.0 http://captive.apple.com/ Success",
            "224.0.0.1 http://captive.apple.com/ Success",
        ] {
            assert!(parse_probe(text).is_err(), "{text}");
        }
    }
}
