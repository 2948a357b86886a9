//! What the user wants blocked: the rules of his lists, which are swapped whole while queries are answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::list::Action;
use super::rules::Rules;

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
    rules: Arc<RwLock<Arc<Rules>>>,
    /// How often they were swapped.
    generation: Arc<AtomicU64>,
    answer: BlockAnswer,
}

impl Blocking {
    /// No rules yet.
    pub fn new(answer: BlockAnswer) -> Self {
        Self {
            rules: Arc::default(),
            generation: Arc::default(),
            answer,
        }
    }

    /// These count from the next query on.
    pub fn publish(&self, rules: Rules) {
        let rules = Arc::new(rules);
        // The old ones are freed outside the lock: queries wait for a pointer's time.
        let old = std::mem::replace(&mut *self.rules.write().unwrap_or_else(PoisonError::into_inner), rules);
        drop(old);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Answers that were looked at under an older number must be looked at again.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How many rules are in force.
    pub fn count(&self) -> usize {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn answer(&self) -> BlockAnswer {
        self.answer
    }

    /// What the rules say of a canonical name in wire form. Allocates nothing.
    pub(super) fn decide(&self, name: &[u8]) -> Option<Action> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.decide(name).map(|decision| decision.action)
    }
}
