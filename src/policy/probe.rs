//! A name by which `tacenda system` finds out whether a question reaches this very process, and not another resolver that answers everything.
//!
//! Any label below [`ZONE`] has an address that is a keyed hash of it, with a key that this process made at its start and tells nobody. Whoever
//! asks for one label twice, directly and as programs do, knows by the same address twice that both went to the same process. The key is good
//! for nothing else, the addresses belong to nobody and are routed nowhere, and the zone is below `test.` (RFC 6761): no such name is ever
//! asked of anybody. Not below `invalid.`, which systemd-resolved answers itself.

use std::hash::{BuildHasher, RandomState};

use super::Synthesis;
use crate::wire::record::RecordType;

/// Below which such names are.
pub const ZONE: &str = "verify.tacenda.test";

const ZONE_WIRE: &[u8] = b"\x06verify\x07tacenda\x04test\0";

/// Octets of an IPv6 address; an IPv4 one takes the first four.
pub const LEN: usize = 16;

/// The key. Another one for every process, and after a reload.
#[derive(Clone, Debug, Default)]
pub struct Probe(RandomState);

impl Probe {
    /// What is said about a canonical name in wire form; `None` if it is not one label below the zone. Allocates nothing.
    pub(super) fn answer(&self, qname: &[u8], qtype: RecordType) -> Option<Synthesis> {
        let label = qname.strip_suffix(ZONE_WIRE)?;
        if label.len() < 2 || usize::from(label[0]) != label.len() - 1 {
            return None;
        }
        let hash = self.0.hash_one(label).to_be_bytes();
        let mut address = [0; LEN];
        if qtype == RecordType::A {
            // 240.0.0.0/4 (RFC 1112 section 4): nobody's.
            address[..4].copy_from_slice(&hash[..4]);
            address[0] |= 0xf0;
        } else {
            // 100::/64 (RFC 6666): packets to it are discarded.
            address[0] = 1;
            address[8..].copy_from_slice(&hash);
        }
        Some(Synthesis::Probe(qtype, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::name;

    fn answer(probe: &Probe, qname: &str, qtype: RecordType) -> Option<[u8; LEN]> {
        match probe.answer(&name(qname), qtype) {
            Some(Synthesis::Probe(_, address)) => Some(address),
            _ => None,
        }
    }

    #[test]
    fn one_process_says_the_same_and_another_one_something_else() {
        let (one, other) = (Probe::default(), Probe::default());
        for qtype in [RecordType::A, RecordType::AAAA] {
            let said = answer(&one, "a1.verify.tacenda.test", qtype);
            assert_eq!(said, answer(&one, "a1.verify.tacenda.test", qtype));
            assert_ne!(said, answer(&one, "a2.verify.tacenda.test", qtype));
            assert_ne!(said, answer(&other, "a1.verify.tacenda.test", qtype));
        }
    }

    #[test]
    fn the_addresses_are_nobodys() {
        let probe = Probe::default();
        for label in 0..100 {
            let name = format!("n{label}.verify.tacenda.test");
            assert!(answer(&probe, &name, RecordType::A).unwrap()[0] >= 240);
            assert!(
                answer(&probe, &name, RecordType::AAAA)
                    .unwrap()
                    .starts_with(&[1, 0, 0, 0, 0, 0, 0, 0])
            );
        }
    }

    #[test]
    fn other_names_are_not_its_business() {
        let probe = Probe::default();
        for qname in [
            "verify.tacenda.test",
            "a.b.verify.tacenda.test",
            "a.tacenda.test",
            "verify.tacenda.test.example",
            "averify.tacenda.test",
        ] {
            assert_eq!(answer(&probe, qname, RecordType::A), None, "{qname}");
        }
        assert_eq!(answer(&probe, "", RecordType::A), None);
    }
}
