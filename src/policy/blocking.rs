//! What the user wants blocked: the rules of his lists, which are swapped whole while queries are answered.

use super::list::Action;
use super::rules::Rules;
use super::swap::Swap;

/// What is answered for a name that is blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockAnswer {
    /// 0.0.0.0 and ::, to which no connection can be made; nothing of other types.
    #[default]
    Null,
    /// NXDOMAIN.
    NxDomain,
}

/// The rules in force. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Blocking {
    rules: Swap<Rules>,
    answer: BlockAnswer,
}

impl Blocking {
    /// No rules yet.
    pub fn new(answer: BlockAnswer) -> Self {
        Self {
            rules: Swap::default(),
            answer,
        }
    }

    /// These count from the next query on.
    pub fn publish(&self, rules: Rules) {
        self.rules.publish(rules);
    }

    /// Answers that were looked at under an older number must be looked at again.
    pub(super) fn generation(&self) -> u64 {
        self.rules.generation()
    }

    /// How many rules are in force.
    pub fn count(&self) -> usize {
        self.rules.current().map_or(0, |rules| rules.len())
    }

    pub(super) fn answer(&self) -> BlockAnswer {
        self.answer
    }

    /// What the rules say of a canonical name in wire form. Allocates nothing.
    pub(super) fn decide(&self, name: &[u8]) -> Option<Action> {
        let rules = self.rules.current()?;
        rules.decide(name).map(|decision| decision.action)
    }
}
