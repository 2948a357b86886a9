//! How long answers and failures are kept (RFC 2308, RFC 9520). Pure: facts in, durations out.

use std::time::Duration;

use crate::wire::answer::Facts;
use crate::wire::header::Rcode;

/// The longest time for which a failure is kept. RFC 9520 section 3.2 allows five minutes; a person who has just mended their
/// domain should not wait that long.
const MAX_FAILURE: Duration = Duration::from_secs(30);

/// Seconds for which an answer may be given again; `None`: not at all.
///
/// Positive answers and chains live as long as their shortest record. Negative answers need the SOA that says how long
/// (RFC 2308 section 5: without one they are not cached).
pub(super) fn of_answer(facts: &Facts) -> Option<u32> {
    let has_times = facts.is_positive || facts.soa.is_some();
    let is_cacheable = has_times && matches!(facts.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
    facts.min_ttl.filter(|ttl| is_cacheable && *ttl > 0)
}

/// How long a failure is kept that has been seen `times` times in a row (RFC 9520 section 3.2).
///
/// What a resolver said grows: 1 s, 2 s, 4 s and so on. What the road did stays at 1 s, the least that the RFC asks for,
/// because roads come back and dialling has a back-off of its own.
pub(super) fn of_failure(origin: Origin, times: u32) -> Duration {
    match origin {
        Origin::Road => Duration::from_secs(1),
        Origin::Resolver => Duration::from_secs(1 << times.saturating_sub(1).min(16)).min(MAX_FAILURE),
    }
}

/// Where a failure came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No answer came: connect, TLS, HTTP, silence. Lifted at once when a transport comes back.
    Road,
    /// The resolver said that it failed, or answered nonsense.
    Resolver,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rdata::SoaTimes;

    const SOA: Option<SoaTimes> = Some(SoaTimes { ttl: 60, minimum: 60 });

    fn facts(rcode: Rcode, is_positive: bool, min_ttl: Option<u32>, soa: Option<SoaTimes>) -> Facts {
        Facts {
            rcode,
            is_positive,
            min_ttl,
            soa,
            authentic: false,
            ede: None,
            is_behind_aliases: false,
        }
    }

    #[test]
    fn answers_live_as_long_as_their_shortest_record() {
        assert_eq!(of_answer(&facts(Rcode::NOERROR, true, Some(60), None)), Some(60));
        assert_eq!(of_answer(&facts(Rcode::NOERROR, true, Some(0), None)), None);
        assert_eq!(of_answer(&facts(Rcode::NXDOMAIN, false, Some(30), SOA)), Some(30));
    }

    #[test]
    fn r2308_2_negatives_without_soa_are_not_kept() {
        assert_eq!(of_answer(&facts(Rcode::NXDOMAIN, false, None, None)), None);
        assert_eq!(of_answer(&facts(Rcode::NOERROR, false, None, None)), None);
        assert_eq!(
            of_answer(&facts(Rcode::NOERROR, false, Some(60), None)),
            None,
            "a chain that leads nowhere"
        );
        assert_eq!(of_answer(&facts(Rcode::YXDOMAIN, false, Some(60), SOA)), None);
    }

    #[test]
    fn r9520_1_failures_are_kept_in_growing_steps() {
        let seconds = |origin| [1, 2, 3, 5, 6, 40, u32::MAX].map(|times| of_failure(origin, times).as_secs());
        assert_eq!(seconds(Origin::Resolver), [1, 2, 4, 16, 30, 30, 30]);
        assert_eq!(seconds(Origin::Road), [1; 7]);
    }
}
