//! Verdicts before anybody is asked, and on what comes back. Pure: no clock, no I/O, no state that a query can change.

pub mod blocking;
pub mod list;
pub mod local;
pub mod portal;
pub mod probe;
pub mod rebind;
pub mod records;
pub mod routes;
pub mod rules;
pub mod swap;

use std::sync::Arc;

use blocking::{BlockAnswer, Blocking, List};
use list::Action;
use local::LocalNames;
use portal::Gate;
use probe::Probe;
use rebind::Rebind;
use records::{End, Records};
use routes::Routes;
use swap::Swap;

use crate::wire::answer::Answer;
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;
use crate::wire::question::QuestionKey;
use crate::wire::record::{CLASS_IN, RecordType};

/// What happens to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look in the cache, then ask an upstream.
    Ask,
    /// The same by the route of this number, and by no other way.
    Route(usize),
    /// The same through the open window, and by no other way.
    Window,
    /// Answer here and now.
    Synthesize(Synthesis),
    /// The same with the user's records.
    Own(Own),
    /// The user's aliases lead to a name that others know: look in the cache, then ask for that one, by a route if there is a number.
    Behind(Arc<Records>, Option<usize>),
}

/// An answer from the user's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// They have something for the name.
    pub records: Arc<Records>,
    /// What is said of the name that their aliases lead to, if it is not among them.
    pub then: Option<Synthesis>,
}

/// An answer of our own making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synthesis {
    /// The HINFO that answers ANY (RFC 8482).
    Any,
    /// A response without records.
    Error(Rcode, Ede),
    /// NXDOMAIN or NODATA with the SOA of a zone of our own: where its name begins in QNAME.
    Negative(Rcode, usize),
    /// One record of QNAME's.
    Record(RecordType, &'static [u8]),
    /// One record of QNAME's, or none, that is true for a second.
    Brief(RecordType, Option<&'static [u8]>),
    /// The SOA of QNAME.
    Soa,
    /// QNAME as its own name server.
    Ns,
    /// What the user wants to hear of a name that a list blocks, asked for with this type.
    Blocked(BlockAnswer, RecordType),
    /// An address that only this process gives, of this type, or NODATA for every other one.
    Probe(RecordType, [u8; probe::LEN]),
}

/// The rules in force.
#[derive(Clone, Debug)]
pub struct Policy {
    epoch: u32,
    records: Swap<Records>,
    local: LocalNames,
    routes: Routes,
    portal: Swap<Gate>,
    blocking: Blocking,
    rebind: Rebind,
    probe: Probe,
}

impl Default for Policy {
    /// Only what no upstream could answer stays here.
    fn default() -> Self {
        Self::new(LocalNames::none(), Rebind::off())
    }
}

impl Policy {
    /// Puts the rules together.
    pub fn new(local: LocalNames, rebind: Rebind) -> Self {
        Self {
            epoch: 0,
            records: Swap::default(),
            local,
            routes: Routes::default(),
            portal: Swap::default(),
            blocking: Blocking::default(),
            rebind,
            probe: Probe::default(),
        }
    }

    /// The same as a later configuration's: what was looked at under another epoch is looked at again.
    #[must_use]
    pub fn of_epoch(self, epoch: u32) -> Self {
        Self { epoch, ..self }
    }

    /// The same with split DNS: names of a route go there, those that otherwise stay home too.
    #[must_use]
    pub fn with_routes(self, routes: Routes) -> Self {
        Self { routes, ..self }
    }

    /// The same with what is done for a sign-in page.
    #[must_use]
    pub fn with_portal(self, portal: Swap<Gate>) -> Self {
        Self { portal, ..self }
    }

    /// The same with records of the user's. They come before every rule about names.
    #[must_use]
    pub fn with_records(self, records: Swap<Records>) -> Self {
        Self { records, ..self }
    }

    /// The same with lists of names that are blocked.
    #[must_use]
    pub fn with_blocking(self, blocking: Blocking) -> Self {
        Self { blocking, ..self }
    }

    /// The lists in force, and what they have blocked.
    pub fn lists(&self) -> Vec<List> {
        self.blocking.lists()
    }

    /// Whether an answer from the public may be given for this question: it leads to no private place, and its aliases to no name
    /// that is blocked (what is hidden behind a site's own name would be found there).
    pub fn allows(&self, key: &QuestionKey, answer: Answer<&[u8]>) -> bool {
        self.rebind.allows(key.qname(), answer) && !self.leads_to_what_is_blocked(key.qname(), answer)
    }

    /// Of the rules by which [`Policy::verdict`] and [`Policy::allows`] decide. To be read before they are asked.
    pub fn generation(&self) -> u64 {
        let swaps = [self.records.generation(), self.portal.generation()];
        let swaps = swaps.into_iter().fold(self.blocking.generation(), u64::wrapping_add);
        u64::from(self.epoch) << 32 | swaps & u64::from(u32::MAX)
    }

    /// Whether the user's aliases lead from this name to one that others know.
    pub fn is_alias(&self, key: &QuestionKey) -> bool {
        let Some(records) = self.records.current() else {
            return false;
        };
        let found = records.find(key.qname(), key.qtype());
        found.is_some_and(|found| found.target().is_some())
    }

    fn leads_to_what_is_blocked(&self, qname: &[u8], answer: Answer<&[u8]>) -> bool {
        let blocked = |name: &Vec<u8>| self.blocking.decide(name) == Some(Action::Block);
        self.blocking.count() > 0
            && self.blocking.decide(qname) != Some(Action::Allow)
            && answer.aliases().iter().any(blocked)
    }

    /// Decides on a question.
    ///
    /// Types that are no data (RFC 6895 section 3.1, RFC 9824) and classes other than IN never go out: an upstream could only
    /// refuse them, and `version.bind` would be about somebody else.
    pub fn verdict(&self, key: &QuestionKey) -> Verdict {
        if key.qclass() != CLASS_IN {
            return refuse(Rcode::REFUSED, Ede::NOT_SUPPORTED);
        }
        match key.qtype() {
            RecordType::ANY => Verdict::Synthesize(Synthesis::Any),
            RecordType::AXFR | RecordType::IXFR => refuse(Rcode::REFUSED, Ede::NOT_SUPPORTED),
            RecordType::MAILA | RecordType::MAILB => refuse(Rcode::NOTIMP, Ede::INVALID_QUERY_TYPE),
            RecordType(0) | RecordType::OPT | RecordType::NXNAME | RecordType::TKEY | RecordType::TSIG => {
                refuse(Rcode::FORMERR, Ede::INVALID_QUERY_TYPE)
            }
            // Before the user's own records: they must not make anybody believe that somebody else was asked.
            qtype => match self.probe.answer(key.qname(), qtype) {
                Some(said) => Verdict::Synthesize(said),
                None => self.of_name(key.qname(), qtype),
            },
        }
    }

    fn of_name(&self, qname: &[u8], qtype: RecordType) -> Verdict {
        self.own(qname, qtype)
            .unwrap_or_else(|| self.of_others_name(qname, qtype))
    }

    /// What the user's records make of a name; `None` if they have nothing for it.
    fn own(&self, qname: &[u8], qtype: RecordType) -> Option<Verdict> {
        let records = self.records.current()?;
        let then = match records.find(qname, qtype)?.end {
            End::Data(_) | End::NoData => None,
            // To be asked in its own right, and by its own way.
            End::Outside(target) => match self.of_others_name(target, qtype) {
                Verdict::Synthesize(said) => Some(said),
                Verdict::Route(number) => return Some(Verdict::Behind(Arc::clone(&records), Some(number))),
                _ => return Some(Verdict::Behind(Arc::clone(&records), None)),
            },
        };
        let records = Arc::clone(&records);
        Some(Verdict::Own(Own { records, then }))
    }

    fn of_others_name(&self, qname: &[u8], qtype: RecordType) -> Verdict {
        match self.routes.find(qname) {
            Some(number) if !self.local.is_never_asked(qname) => Verdict::Route(number),
            _ => self
                .of_portal(qname, qtype)
                .unwrap_or_else(|| self.of_public_name(qname, qtype)),
        }
    }

    /// What a person consented to comes before local names and lists, never before a route: that one's names go nowhere else.
    fn of_portal(&self, qname: &[u8], qtype: RecordType) -> Option<Verdict> {
        let gate = self.portal.current()?;
        let verdict = gate
            .verdict(qname, qtype)
            .filter(|_| !self.local.is_never_asked(qname))?;
        // A name by which a system looks for a page is answered for its comfort: what its user blocks stays blocked.
        let is_consented = matches!(verdict, Verdict::Window);
        (is_consented || self.blocking.decide(qname) != Some(Action::Block)).then_some(verdict)
    }

    fn of_public_name(&self, qname: &[u8], qtype: RecordType) -> Verdict {
        match self.local.verdict(qname, qtype) {
            Some(said) => Verdict::Synthesize(said),
            None if self.blocking.refuses(qname) => {
                Verdict::Synthesize(Synthesis::Blocked(self.blocking.answer(), qtype))
            }
            None => Verdict::Ask,
        }
    }
}

fn refuse(rcode: Rcode, ede: Ede) -> Verdict {
    Verdict::Synthesize(Synthesis::Error(rcode, ede))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::query::Query;
    use crate::wire::testkit::query;

    fn verdict(qtype: u16, class: u16) -> Verdict {
        let mut octets = query("version.bind", qtype, None);
        let at = octets.len() - 2;
        octets[at..].copy_from_slice(&class.to_be_bytes());
        Policy::default().verdict(&Query::parse(&octets).unwrap().key())
    }

    #[test]
    fn r1035_10_and_11_only_class_in_is_asked() {
        for class in [0, 2, 3, 4, 254, 255, 65_535] {
            assert_eq!(
                verdict(16, class),
                refuse(Rcode::REFUSED, Ede::NOT_SUPPORTED),
                "class {class}"
            );
        }
        assert_eq!(verdict(16, 1), Verdict::Ask);
    }

    #[test]
    fn r8906_3_meta_types_are_not_asked() {
        for qtype in [0, 41, 128, 249, 250] {
            assert_eq!(
                verdict(qtype, 1),
                refuse(Rcode::FORMERR, Ede::INVALID_QUERY_TYPE),
                "type {qtype}"
            );
        }
        for qtype in [253, 254] {
            assert_eq!(
                verdict(qtype, 1),
                refuse(Rcode::NOTIMP, Ede::INVALID_QUERY_TYPE),
                "type {qtype}"
            );
        }
    }

    #[test]
    fn r5936_1_zone_transfers_are_refused_and_r8482_1_any_is_answered_here() {
        for qtype in [251, 252] {
            assert_eq!(
                verdict(qtype, 1),
                refuse(Rcode::REFUSED, Ede::NOT_SUPPORTED),
                "type {qtype}"
            );
        }
        assert_eq!(verdict(255, 1), Verdict::Synthesize(Synthesis::Any));
    }

    #[test]
    fn r3597_1_unknown_types_are_asked() {
        for qtype in [1, 28, 64, 65, 99, 127, 129, 248, 256, 65_280, 65_535] {
            assert_eq!(verdict(qtype, 1), Verdict::Ask, "type {qtype}");
        }
    }
}
