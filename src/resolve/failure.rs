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
    /// The query's time was over.
    Deadline,
    /// Too many questions are under way; this one was the oldest.
    Shed,
    /// A bug of ours: the task that asked has panicked.
    Internal,
}

impl Failure {
    /// The RCODE and the reason that the client gets (RFC 8914 section 4). An upstream's REFUSED, NOTIMP or FORMERR is about
    /// us, not about the client: it becomes SERVFAIL.
    pub fn response(self) -> (Rcode, Option<Ede>) {
        let ede = match self {
            Self::Upstream(AskError::Network) => Ede::NETWORK_ERROR,
            Self::Upstream(AskError::Silent) | Self::Deadline => Ede::NO_REACHABLE_AUTHORITY,
            Self::Upstream(AskError::Garbage) => Ede::INVALID_DATA,
            Self::Upstream(AskError::Failed { ede, .. }) => return (Rcode::SERVFAIL, ede.or(Some(Ede::OTHER))),
            Self::Shed | Self::Internal => Ede::OTHER,
        };
        (Rcode::SERVFAIL, Some(ede))
    }

    /// Where it came from, if it is worth remembering (RFC 9520): our own troubles are not.
    pub(super) fn origin(self) -> Option<Origin> {
        match self {
            Self::Upstream(AskError::Network | AskError::Silent) => Some(Origin::Road),
            Self::Upstream(AskError::Garbage | AskError::Failed { .. }) => Some(Origin::Resolver),
            Self::Deadline | Self::Shed | Self::Internal => None,
        }
    }
}
