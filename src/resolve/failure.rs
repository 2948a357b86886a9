//! From failure to what the client sees: decided here, once, in one exhaustive `match`.

use crate::cache::Origin;
use crate::upstream::AskError;
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;

/// Why a query could not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The upstreams failed us.
    Upstream(AskError),
    /// It failed a moment ago, for this reason.
    Cached(Option<Ede>),
    /// The query's time was over.
    Deadline,
    /// Too many questions are under way; this one was the oldest.
    Shed,
    /// What an upstream says cannot stand behind the user's aliases: it leads back to them, or all of it is too long.
    Alias,
    /// A bug of ours: the task that asked has panicked.
    Internal,
}

impl Failure {
    /// The RCODE and the reasons that the client gets (RFC 8914 section 4). An upstream's REFUSED, NOTIMP or FORMERR is about
    /// us, not about the client: it becomes SERVFAIL. Silence is both "no reachable authority" and "network error", as public
    /// resolvers say it too.
    pub fn response(self) -> (Rcode, [Option<Ede>; 2]) {
        let reasons = match self {
            Self::Upstream(AskError::Network) => [Some(Ede::NETWORK_ERROR), None],
            Self::Upstream(AskError::Silent) | Self::Deadline => {
                [Some(Ede::NO_REACHABLE_AUTHORITY), Some(Ede::NETWORK_ERROR)]
            }
            Self::Upstream(AskError::Garbage) => [Some(Ede::INVALID_DATA), None],
            Self::Upstream(AskError::Failed { ede, .. }) => [ede.or(Some(Ede::OTHER)), None],
            Self::Cached(ede) => [Some(Ede::CACHED_ERROR), ede],
            Self::Upstream(AskError::Full) | Self::Shed | Self::Alias | Self::Internal => [Some(Ede::OTHER), None],
        };
        (Rcode::SERVFAIL, reasons)
    }

    /// Whether an old answer must not take its place: validation failed, and that must be told.
    pub(super) fn is_final(self) -> bool {
        match self {
            Self::Upstream(error) => error.is_final(),
            Self::Cached(ede) => ede.is_some_and(Ede::is_validation_failure),
            Self::Deadline | Self::Shed | Self::Alias | Self::Internal => false,
        }
    }

    /// Where it came from, if it is worth remembering (RFC 9520): our own troubles are not.
    pub(super) fn origin(self) -> Option<Origin> {
        match self {
            Self::Upstream(AskError::Network | AskError::Silent) => Some(Origin::Road),
            // Asking again brings the same.
            Self::Upstream(AskError::Garbage | AskError::Failed { .. }) | Self::Alias => Some(Origin::Resolver),
            Self::Upstream(AskError::Full) | Self::Cached(_) | Self::Deadline | Self::Shed | Self::Internal => None,
        }
    }
}
