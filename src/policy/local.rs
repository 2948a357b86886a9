//! Names that stay home: those that no public resolver can answer, and whose askers nobody outside needs to know.
//!
//! Each zone of the table, and each sort of name beside it, can be let out by the user.

use std::collections::HashMap;

use super::Synthesis;
use crate::wire::header::Rcode;
use crate::wire::record::RecordType;

/// Which names are kept.
#[derive(Clone, Debug)]
pub struct LocalNames {
    /// Canonical, in wire form.
    zones: HashMap<Box<[u8]>, Kind>,
    /// Names of one label: a machine on the LAN, or a word typed into a browser.
    single_labels: bool,
    /// Names that begin with one of these labels.
    first_labels: Vec<&'static [u8]>,
    /// Active Directory's own zone, wherever it is.
    msdcs: bool,
    /// Firefox' question whether it may go around us.
    canary: bool,
    /// Names of this host, in wire form.
    own: Vec<Box<[u8]>>,
}

/// What a zone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing exists, not even the zone.
    Nothing,
    /// The zone exists, and nothing below it.
    Empty,
    /// The same, but the DS of the zone is the parent's to give.
    EmptyWithParent,
    /// Everything exists and has no data.
    NoData,
    /// This host, and so is everything below.
    Loopback,
    /// The name of the loopback address.
    LoopbackName,
}

impl LocalNames {
    /// All but those that are `let_out`: zones of the table, or words of [`SORTS`]. `own` are host names of this host.
    pub fn new<'a>(let_out: &[String], own: impl Iterator<Item = &'a str>) -> Self {
        let kept = |word: &str| !let_out.iter().any(|out| out == word);
        let zones = zones().filter(|(zone, _)| kept(zone) && (kept(REVERSE) || !is_reverse(zone)));
        Self {
            zones: zones.map(|(zone, kind)| (wire(&zone), kind)).collect(),
            single_labels: kept(SINGLE_LABELS),
            first_labels: [WPAD, ISATAP]
                .into_iter()
                .filter(|label| kept(label))
                .map(str::as_bytes)
                .collect(),
            msdcs: kept(MSDCS),
            canary: kept(CANARY),
            own: own.filter(|_| kept(HOST_NAME)).map(wire).collect(),
        }
    }

    /// None at all.
    pub fn none() -> Self {
        Self {
            zones: HashMap::new(),
            single_labels: false,
            first_labels: Vec::new(),
            msdcs: false,
            canary: false,
            own: Vec::new(),
        }
    }

    /// Whether a name must not even be asked of a resolver of one's own: this host's, and those that mean "not DNS" (R7686-1).
    pub(super) fn is_never_asked(&self, qname: &[u8]) -> bool {
        let last = Labels::of(qname).last();
        last.is_some_and(|top| {
            matches!(top.octets, b"localhost" | b"onion" | b"invalid" | b"alt")
                && self.zones.contains_key(&qname[top.at..])
        })
    }

    /// What is said here about a canonical name in wire form; `None` if it may be asked. Allocates nothing.
    pub(super) fn verdict(&self, qname: &[u8], qtype: RecordType) -> Option<Synthesis> {
        let mut labels = Labels::of(qname);
        let first = labels.next()?;
        let is_msdcs = |label: Label<'_>| self.msdcs && label.octets == MSDCS.as_bytes();
        let (mut last, mut count) = (first, 1);
        let mut msdcs = is_msdcs(first).then_some(first.at);
        for label in labels {
            msdcs = msdcs.or_else(|| is_msdcs(label).then_some(label.at));
            (last, count) = (label, count + 1);
        }
        // Of a name with dots only the addresses: its mail, its keys and its zone are the public's to know.
        let is_ours = matches!(qtype, RecordType::A | RecordType::AAAA) || (count == 1 && !is_about_a_zone(qtype));
        if is_ours && self.own.iter().any(|own| **own == *qname) {
            return Some(loopback(qtype, 0));
        }
        if is_listed(last.octets)
            && let Some(said) = self.in_zone(qname, qtype)
        {
            return said;
        }
        // Who asks for the keys of a top-level domain validates. Not NXDOMAIN: some of these words are domains, and a cache behind us
        // might believe that nothing is below them (RFC 8020).
        if count == 1 && self.single_labels && !is_about_a_zone(qtype) {
            return Some(no_data(0));
        }
        if self.first_labels.contains(&first.octets) {
            return Some(nothing(0));
        }
        if self.canary && qname.ends_with(CANARY_WIRE) {
            return Some(nothing(qname.len() - CANARY_WIRE.len()));
        }
        msdcs.map(nothing)
    }

    /// The innermost zone counts. `Some(None)` if it leaves the question to the public.
    fn in_zone(&self, qname: &[u8], qtype: RecordType) -> Option<Option<Synthesis>> {
        let (at, kind) = Labels::of(qname).find_map(|label| Some((label.at, *self.zones.get(&qname[label.at..])?)))?;
        let is_apex = at == 0;
        Some(match kind {
            Kind::EmptyWithParent if is_apex && qtype == RecordType::DS => None,
            Kind::Nothing => Some(nothing(at)),
            Kind::Empty | Kind::EmptyWithParent if is_apex => Some(apex(qtype)),
            Kind::Empty | Kind::EmptyWithParent => Some(nothing(at)),
            Kind::NoData => Some(no_data(at)),
            Kind::Loopback => Some(loopback(qtype, at)),
            Kind::LoopbackName if is_apex && qtype == RecordType::PTR => Some(Synthesis::Record(qtype, LOCALHOST)),
            Kind::LoopbackName if is_apex => Some(no_data(at)),
            Kind::LoopbackName => Some(nothing(at)),
        })
    }
}

/// Whether names of a zone are never asked of anybody, a route's resolver neither, unless they are let out.
pub fn is_never_asked(zone: &str) -> bool {
    let top = zone.rsplit('.').next().unwrap_or(zone);
    ["localhost", "onion", "invalid", "alt"].contains(&top)
}

/// Whether `let_out` may have this word.
pub fn is_known(word: &str) -> bool {
    SORTS.contains(&word) || zones().any(|(zone, _)| zone == word)
}

/// What can be let out beside single zones.
pub const SORTS: &[&str] = &[SINGLE_LABELS, REVERSE, HOST_NAME, WPAD, ISATAP, MSDCS, CANARY];

const SINGLE_LABELS: &str = "single-labels";
const REVERSE: &str = "private-reverse";
const HOST_NAME: &str = "host-name";
const WPAD: &str = "wpad";
const ISATAP: &str = "isatap";
const MSDCS: &str = "_msdcs";
const CANARY: &str = "use-application-dns.net";
const CANARY_WIRE: &[u8] = b"\x13use-application-dns\x03net\0";

fn nothing(zone_at: usize) -> Synthesis {
    Synthesis::Negative(Rcode::NXDOMAIN, zone_at)
}

fn no_data(zone_at: usize) -> Synthesis {
    Synthesis::Negative(Rcode::NOERROR, zone_at)
}

fn apex(qtype: RecordType) -> Synthesis {
    match qtype {
        RecordType::SOA => Synthesis::Soa,
        RecordType::NS => Synthesis::Ns,
        _ => no_data(0),
    }
}

fn loopback(qtype: RecordType, zone_at: usize) -> Synthesis {
    match qtype {
        RecordType::A => Synthesis::Record(qtype, &[127, 0, 0, 1]),
        RecordType::AAAA => Synthesis::Record(qtype, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        _ => no_data(zone_at),
    }
}

fn is_about_a_zone(qtype: RecordType) -> bool {
    matches!(
        qtype,
        RecordType::DS | RecordType::DNSKEY | RecordType::NS | RecordType::SOA | RecordType::NSEC | RecordType::NSEC3
    )
}

fn is_reverse(zone: &str) -> bool {
    zone.ends_with("in-addr.arpa") || zone.ends_with("ip6.arpa")
}

/// Whether the table has a zone below this top-level domain: for nearly every question the answer is no, and nothing is hashed.
fn is_listed(top: &[u8]) -> bool {
    matches!(
        top,
        b"arpa"
            | b"local"
            | b"localhost"
            | b"localdomain"
            | b"lan"
            | b"home"
            | b"internal"
            | b"intranet"
            | b"private"
            | b"corp"
            | b"invalid"
            | b"test"
            | b"onion"
            | b"alt"
    )
}

/// A zone's name in wire form.
fn wire(name: &str) -> Box<[u8]> {
    let mut octets = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(0));
        octets.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    octets.push(0);
    octets.into()
}

/// One label of a name in wire form.
#[derive(Clone, Copy)]
pub(super) struct Label<'a> {
    /// Where its length octet stands.
    pub(super) at: usize,
    octets: &'a [u8],
}

/// The labels of a name, from the left, without the root.
pub(super) struct Labels<'a> {
    name: &'a [u8],
    at: usize,
}

impl<'a> Labels<'a> {
    pub(super) fn of(name: &'a [u8]) -> Self {
        Self { name, at: 0 }
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = Label<'a>;

    fn next(&mut self) -> Option<Label<'a>> {
        let len = usize::from(*self.name.get(self.at)?);
        let octets = self.name.get(self.at + 1..self.at + 1 + len)?;
        let at = self.at;
        self.at += 1 + len;
        (len > 0).then_some(Label { at, octets })
    }
}

/// `localhost.` in wire form.
const LOCALHOST: &[u8] = b"\x09localhost\0";

/// Every zone.
fn zones() -> impl Iterator<Item = (String, Kind)> {
    let listed = ZONES.iter().map(|(zone, kind)| ((*zone).to_owned(), *kind));
    // RFC 6303 section 4.1: 172.16.0.0/12; RFC 7793: the shared space of RFC 6598.
    let private = (16..=31).map(|n| (format!("{n}.172.in-addr.arpa"), Kind::Empty));
    let shared = (64..=127).map(|n| (format!("{n}.100.in-addr.arpa"), Kind::Empty));
    listed.chain(private).chain(shared)
}

/// Those that are not made by counting, each with its source.
const ZONES: &[(&str, Kind)] = &[
    // RFC 6761. `example` is an ordinary name.
    ("localhost", Kind::Loopback),
    ("invalid", Kind::Nothing),
    ("test", Kind::Nothing),
    // RFC 6762, RFC 7686, RFC 9476.
    ("local", Kind::Nothing),
    ("onion", Kind::Nothing),
    ("alt", Kind::Nothing),
    // ICANN's board, 29 July 2024: never delegated.
    ("internal", Kind::Nothing),
    // What routers and companies use, and ICANN does not delegate for that (RFC 6762 appendix G, name collisions of 2018).
    ("lan", Kind::Nothing),
    ("home", Kind::Nothing),
    ("corp", Kind::Nothing),
    ("intranet", Kind::Nothing),
    ("private", Kind::Nothing),
    ("localdomain", Kind::Nothing),
    // RFC 8375: its DS says that it is not signed.
    ("home.arpa", Kind::EmptyWithParent),
    // RFC 9462 section 6.4: what we are, only we can say.
    ("resolver.arpa", Kind::NoData),
    // RFC 6303 section 4.1 and 4.2; RFC 1918.
    ("10.in-addr.arpa", Kind::Empty),
    ("168.192.in-addr.arpa", Kind::Empty),
    ("0.in-addr.arpa", Kind::Empty),
    ("127.in-addr.arpa", Kind::Empty),
    ("1.0.0.127.in-addr.arpa", Kind::LoopbackName),
    ("254.169.in-addr.arpa", Kind::Empty),
    ("2.0.192.in-addr.arpa", Kind::Empty),
    ("100.51.198.in-addr.arpa", Kind::Empty),
    ("113.0.203.in-addr.arpa", Kind::Empty),
    ("255.255.255.255.in-addr.arpa", Kind::Empty),
    // Multicast, mDNS' own among it.
    ("251.0.0.224.in-addr.arpa", Kind::Empty),
    // RFC 6303 section 4.3 to 4.6.
    (
        "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
        Kind::Empty,
    ),
    (
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
        Kind::LoopbackName,
    ),
    ("c.f.ip6.arpa", Kind::Empty),
    ("d.f.ip6.arpa", Kind::Empty),
    ("8.e.f.ip6.arpa", Kind::Empty),
    ("9.e.f.ip6.arpa", Kind::Empty),
    ("a.e.f.ip6.arpa", Kind::Empty),
    ("b.e.f.ip6.arpa", Kind::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa", Kind::Empty),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::name;

    const A: RecordType = RecordType::A;

    fn all() -> LocalNames {
        LocalNames::new(&[], ["laptop", "laptop.corp.example"].into_iter())
    }

    fn verdict(names: &LocalNames, qname: &str, qtype: RecordType) -> Option<Synthesis> {
        names.verdict(&name(qname), qtype)
    }

    /// Each is NXDOMAIN, with the SOA of this zone.
    #[test]
    fn names_that_stay_home() {
        for (qname, zone) in [
            ("printer.local", "local"),
            ("_http._tcp.local", "local"),
            ("invalid", "invalid"),
            ("a.b.invalid", "invalid"),
            ("x.test", "test"),
            ("expyuzz4wqqyqhjn.onion", "onion"),
            ("x.alt", "alt"),
            ("db.internal", "internal"),
            ("nas.lan", "lan"),
            ("x.home", "home"),
            ("x.corp", "corp"),
            ("x.home.arpa", "home.arpa"),
            ("1.0.168.192.in-addr.arpa", "168.192.in-addr.arpa"),
            ("4.3.2.10.in-addr.arpa", "10.in-addr.arpa"),
            ("1.0.16.172.in-addr.arpa", "16.172.in-addr.arpa"),
            ("1.0.31.172.in-addr.arpa", "31.172.in-addr.arpa"),
            ("1.1.64.100.in-addr.arpa", "64.100.in-addr.arpa"),
            ("1.1.127.100.in-addr.arpa", "127.100.in-addr.arpa"),
            ("1.1.254.169.in-addr.arpa", "254.169.in-addr.arpa"),
            ("2.0.0.127.in-addr.arpa", "127.in-addr.arpa"),
            ("1.d.f.ip6.arpa", "d.f.ip6.arpa"),
            ("1.0.8.e.f.ip6.arpa", "8.e.f.ip6.arpa"),
            ("8.b.d.0.1.0.0.2.ip6.arpa.b.e.f.ip6.arpa", "b.e.f.ip6.arpa"),
            ("wpad.hotel.example", "wpad.hotel.example"),
            ("isatap.example.com", "isatap.example.com"),
            ("_ldap._tcp.dc._msdcs.ad.example", "_msdcs.ad.example"),
            ("use-application-dns.net", "use-application-dns.net"),
            ("x.use-application-dns.net", "use-application-dns.net"),
        ] {
            let zone_at = name(qname).len() - name(zone).len();
            let expected = Some(Synthesis::Negative(Rcode::NXDOMAIN, zone_at));
            assert_eq!(verdict(&all(), qname, A), expected, "{qname}");
            assert_eq!(LocalNames::none().verdict(&name(qname), A), None, "{qname}");
        }
    }

    #[test]
    fn names_that_go_out() {
        for qname in [
            "",
            "example",
            "www.example",
            "example.com",
            "local.example",
            "1.0.32.172.in-addr.arpa",
            "1.0.15.172.in-addr.arpa",
            "1.1.128.100.in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "1.f.ip6.arpa",
            "ipv4only.arpa",
            "arpa.example",
            "xwpad.example",
            "www.wpad.example",
            "xuse-application-dns.net",
            "laptop.corp.example.com",
        ] {
            if qname == "example" {
                // A word alone is a machine on the LAN.
                continue;
            }
            assert_eq!(verdict(&all(), qname, A), None, "{qname}");
        }
        for qtype in [RecordType::DS, RecordType::DNSKEY, RecordType::NS, RecordType::SOA] {
            assert_eq!(verdict(&all(), "com", qtype), None, "of a top-level domain");
        }
    }

    #[test]
    fn r6761_1_localhost_is_this_host() {
        for qname in ["localhost", "a.b.localhost", "laptop", "laptop.corp.example"] {
            let a = Synthesis::Record(A, &[127, 0, 0, 1]);
            assert_eq!(verdict(&all(), qname, A), Some(a), "{qname}");
        }
        for qname in ["localhost", "a.b.localhost", "laptop", "printer", "wpad"] {
            let mx = verdict(&all(), qname, RecordType(15));
            assert!(matches!(mx, Some(Synthesis::Negative(Rcode::NOERROR, _))), "{qname}");
        }
        for qtype in [RecordType(15), RecordType::SOA, RecordType::DS] {
            assert_eq!(
                verdict(&all(), "laptop.corp.example", qtype),
                None,
                "the public's to know"
            );
        }
        let reverse = verdict(&all(), "1.0.0.127.in-addr.arpa", RecordType::PTR);
        assert_eq!(reverse, Some(Synthesis::Record(RecordType::PTR, LOCALHOST)));
    }

    #[test]
    fn r6303_1_a_zone_exists_and_is_empty() {
        let zone = "168.192.in-addr.arpa";
        assert_eq!(verdict(&all(), zone, RecordType::SOA), Some(Synthesis::Soa));
        assert_eq!(verdict(&all(), zone, RecordType::NS), Some(Synthesis::Ns));
        assert_eq!(verdict(&all(), zone, A), Some(no_data(0)));
    }

    #[test]
    fn r8375_1_the_parent_has_the_ds_of_home_arpa() {
        assert_eq!(verdict(&all(), "home.arpa", RecordType::DS), None);
        assert_eq!(verdict(&all(), "home.arpa", A), Some(no_data(0)));
        assert_eq!(verdict(&all(), "x.home.arpa", RecordType::DS), Some(nothing(2)));
    }

    #[test]
    fn r9462_1_resolver_arpa_has_no_data() {
        for qname in ["resolver.arpa", "_dns.resolver.arpa"] {
            let said = verdict(&all(), qname, RecordType(64));
            assert!(matches!(said, Some(Synthesis::Negative(Rcode::NOERROR, _))), "{qname}");
        }
    }

    #[test]
    fn each_can_be_let_out() {
        for (word, qname) in [
            ("test", "x.test"),
            ("168.192.in-addr.arpa", "1.0.168.192.in-addr.arpa"),
            ("17.172.in-addr.arpa", "1.0.17.172.in-addr.arpa"),
            (REVERSE, "4.3.2.10.in-addr.arpa"),
            (SINGLE_LABELS, "printer"),
            (HOST_NAME, "laptop.corp.example"),
            (WPAD, "wpad.example.com"),
            (ISATAP, "isatap.example.com"),
            (MSDCS, "_msdcs.ad.example"),
            (CANARY, CANARY),
        ] {
            assert!(is_known(word), "{word}");
            let names = LocalNames::new(&[word.to_owned()], ["laptop.corp.example"].into_iter());
            assert_eq!(verdict(&names, qname, A), None, "{word}");
            assert!(verdict(&names, "x.onion", A).is_some(), "the others stay");
        }
        assert!(!is_known("example"));
    }

    #[test]
    fn every_zone_is_below_a_listed_domain() {
        for (zone, _) in zones() {
            let octets = wire(&zone);
            let top = Labels::of(&octets).last().unwrap();
            assert!(is_listed(top.octets), "{zone}");
        }
    }
}
