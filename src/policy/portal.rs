//! What is done for a sign-in page (captive portal): the few names that go to the hotel's resolver while a person has consented to that, and
//! the names by which systems find out that there is such a page, answered from a table while no upstream can say better.

use std::collections::HashSet;
use std::fmt;

use super::{Synthesis, Verdict};
use crate::wire::record::RecordType;

/// See the module. Swapped whole; the empty one does nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Canonical, in wire form; those below them are not meant.
    names: HashSet<Box<[u8]>>,
    answers_probes: bool,
}

impl Gate {
    /// Lets these names out; `answers_probes` while no upstream works.
    pub fn new(names: impl IntoIterator<Item = Box<[u8]>>, answers_probes: bool) -> Self {
        Self {
            names: names.into_iter().collect(),
            answers_probes,
        }
    }

    /// What becomes of a canonical name; `None` if this has no say. Allocates nothing.
    pub(super) fn verdict(&self, qname: &[u8], qtype: RecordType) -> Option<Verdict> {
        if self.names.contains(qname) {
            return Some(Verdict::Window);
        }
        let probe = PROBES.iter().find(|(name, ..)| self.answers_probes && *name == qname);
        let (_, v4, v6) = probe?;
        let rdata: Option<&'static [u8]> = match qtype {
            RecordType::A => Some(v4),
            RecordType::AAAA => v6.as_ref().map(<[u8; 16]>::as_slice),
            _ => None,
        };
        Some(Verdict::Synthesize(Synthesis::Brief(qtype, rdata)))
    }
}

/// Its names are query names.
impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("names", &self.names.len())
            .field("answers_probes", &self.answers_probes)
            .finish()
    }
}

type Probe = (&'static [u8], [u8; 4], Option<[u8; 16]>);

/// Names that systems and browsers look up after a change of network, with an address of each as of 2026. Behind a sign-in page any address
/// outside the network leads to it; where there is none, these lead to where the names do.
const PROBES: [Probe; 12] = [
    (b"\x07captive\x05apple\x03com\0", [17, 253, 109, 201], None),
    (b"\x11connectivitycheck\x07gstatic\x03com\0", [64, 233, 162, 94], None),
    (b"\x11connectivitycheck\x07android\x03com\0", [64, 233, 162, 100], None),
    (b"\x08clients3\x06google\x03com\0", [64, 233, 162, 100], None),
    (b"\x03www\x0fmsftconnecttest\x03com\0", [13, 107, 4, 52], None),
    (b"\x03www\x08msftncsi\x03com\0", [13, 107, 4, 52], None),
    // Windows compares these two with what it knows.
    (
        b"\x03dns\x08msftncsi\x03com\0",
        [131, 107, 255, 255],
        Some([0xfd, 0x3e, 0x4f, 0x5a, 0x5b, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ),
    (b"\x0cdetectportal\x07firefox\x03com\0", [34, 107, 221, 82], None),
    (b"\x07nmcheck\x05gnome\x03org\0", [8, 43, 85, 5], None),
    (b"\x0cnetwork-test\x06debian\x03org\0", [151, 101, 2, 132], None),
    (b"\x12connectivity-check\x06ubuntu\x03com\0", [185, 125, 190, 17], None),
    // RFC 7050 section 8: that of no translator.
    (b"\x08ipv4only\x04arpa\0", [192, 0, 0, 170], None),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::name;

    #[test]
    fn a_window_is_for_its_names_and_not_for_those_below() {
        let gate = Gate::new([name("login.hotel.example").into()], false);
        let verdict = |qname: &str| gate.verdict(&name(qname), RecordType::A);
        assert_eq!(verdict("login.hotel.example"), Some(Verdict::Window));
        for other in ["a.login.hotel.example", "hotel.example", "captive.apple.com", ""] {
            assert_eq!(verdict(other), None, "{other}");
        }
        assert!(!format!("{gate:?}").contains("hotel"));
    }

    #[test]
    fn probes_are_answered_for_a_second() {
        let gate = Gate::new([], true);
        let said = |qname: &str, qtype| gate.verdict(&name(qname), qtype);
        let brief = |qtype, rdata| Some(Verdict::Synthesize(Synthesis::Brief(qtype, rdata)));
        assert_eq!(
            said("captive.apple.com", RecordType::A),
            brief(RecordType::A, Some(&[17, 253, 109, 201]))
        );
        assert_eq!(
            said("captive.apple.com", RecordType::AAAA),
            brief(RecordType::AAAA, None)
        );
        assert!(matches!(
            said("dns.msftncsi.com", RecordType::AAAA),
            Some(Verdict::Synthesize(Synthesis::Brief(_, Some(_))))
        ));
        assert_eq!(said("www.apple.com", RecordType::A), None);
        for (wire, ..) in PROBES {
            assert!(gate.verdict(wire, RecordType::A).is_some());
            // Each is a name.
            let mut at = 0;
            while wire[at] != 0 {
                at += 1 + usize::from(wire[at]);
            }
            assert_eq!(at, wire.len() - 1);
        }
    }
}
