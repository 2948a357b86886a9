//! A question with what the rules decided about it.

use std::sync::Arc;

use super::road::{Belief, Look, Road};
use crate::cache::Since;
use crate::policy::Policy;
use crate::policy::records::Records;
use crate::upstream::pool::Pool;
use crate::wire::question::QuestionKey;

/// A question and by which rules it is asked, decided once.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: QuestionKey,
    pub(super) by: By,
    /// Of the rules.
    pub(super) generation: u64,
    /// The records whose aliases lead to the name that is asked for instead.
    pub(super) aliases: Option<Arc<Records>>,
}

/// By which road a question goes.
#[derive(Clone, Debug)]
pub(super) enum By {
    Public,
    /// The route of this number.
    Route(usize),
    /// The window that was open when it came, which may be closed since: then nothing is sent by it any more.
    Window(Arc<Road>),
}

impl By {
    pub(super) fn route(number: Option<usize>) -> Self {
        number.map_or(Self::Public, Self::Route)
    }
}

impl Asked {
    pub(super) fn look<'a>(&'a self, policy: &'a Policy) -> Look<'a> {
        Look {
            policy,
            belief: match &self.by {
                By::Public => Belief::Public,
                By::Route(_) => Belief::Route,
                By::Window(road) => Belief::Window(&road.own),
            },
            generation: self.generation,
        }
    }

    /// Which failures from before count.
    pub(super) fn since(&self, pool: &Pool) -> Since {
        Since {
            roads: pool.recoveries(),
            rules: self.rules(),
        }
    }

    /// By which rules another name is asked for; 0 for the name itself, which is the same question whatever the rules.
    pub(super) fn rules(&self) -> u64 {
        self.aliases.as_ref().map_or(0, |_| self.generation)
    }

    /// What others wait for too.
    pub(super) fn flight(&self) -> (QuestionKey, u64) {
        (self.key.clone(), self.rules())
    }
}
