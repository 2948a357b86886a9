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
    pub(super) flight: Flight,
    pub(super) by: By,
    /// Of the rules.
    pub(super) generation: u64,
    /// The records whose aliases lead to the name that is asked for instead.
    pub(super) aliases: Option<Arc<Records>>,
}

/// What others wait for too: a question, and by which rules another name is asked for; 0 for the name itself, which is the same question
/// whatever the rules. In an `Arc`, because it is large and several tables hold it.
pub(super) type Flight = Arc<(QuestionKey, u64)>;

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
    /// `aliases` are the user's, by which another name is asked for.
    pub(super) fn new(key: QuestionKey, by: By, generation: u64, aliases: Option<Arc<Records>>) -> Self {
        let rules = aliases.as_ref().map_or(0, |_| generation);
        Self {
            flight: Arc::new((key, rules)),
            by,
            generation,
            aliases,
        }
    }

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
            rules: self.flight.1,
        }
    }

    /// The question.
    pub(super) fn key(&self) -> &QuestionKey {
        &self.flight.0
    }
}
