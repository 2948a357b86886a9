//! How often one query was sent for nothing, and whether it may be sent again.

use tokio::time::Instant;

use super::live::Live;
use super::{AskError, Carry};

/// The failed sends of one query, one after the other.
#[derive(Default)]
pub(super) struct Tries {
    counted: u32,
    /// When the first connection broke under it.
    broken_at: Option<Instant>,
}

impl Tries {
    /// Counts a send that ended like this on `live`; says whether that was the last.
    ///
    /// What resets one connection (a resolver's restart, a router's lost table) resets the one that stands by as well: a second send that met
    /// the end of such a one never reached the resolver.
    pub(super) fn failed<C: Carry>(&mut self, error: &AskError, live: &Live<C>, now: Instant) -> bool {
        let shares_an_end = match error {
            AskError::Unsent(_) => return false,
            AskError::Unanswered(_) => self.broken_at.is_some_and(|at| live.is_older_than(at)),
            AskError::Refused(_) | AskError::Failed(_) => false,
        };
        if matches!(error, AskError::Unanswered(_)) {
            self.broken_at.get_or_insert(now);
        }
        self.counted += u32::from(!shares_an_end);
        self.counted == MAX_SENDS
    }
}

/// A query is sent once, and once more if the connection closed (RFC 7766 section 6.2.4).
const MAX_SENDS: u32 = 2;
