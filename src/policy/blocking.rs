//! What the user wants blocked: the rules of his lists, which are swapped whole while queries are answered.

use std::sync::Arc;

use super::list::Action;
use super::rules::Rules;
use super::swap::Swap;
use crate::stats::Counter;

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
    in_force: Swap<InForce>,
    answer: BlockAnswer,
    /// What counted under another configuration, and goes on.
    counted: Vec<List>,
}

#[derive(Debug, Default)]
struct InForce {
    rules: Rules,
    /// By the numbers that the rules know them by.
    lists: Vec<List>,
}

/// One of the lists in force.
#[derive(Clone, Debug)]
pub struct List {
    /// The file.
    pub name: String,
    /// Questions that a rule of it has had refused. It goes on when the file is read again.
    pub blocked: Arc<Counter>,
}

impl Blocking {
    /// No rules yet.
    pub fn new(answer: BlockAnswer) -> Self {
        Self {
            in_force: Swap::default(),
            answer,
            counted: Vec::new(),
        }
    }

    /// For another configuration: no rules yet, but a list that stays goes on counting.
    #[must_use]
    pub fn anew(&self, answer: BlockAnswer) -> Self {
        Self {
            counted: self.lists(),
            ..Self::new(answer)
        }
    }

    /// These count from the next query on. `names` are the lists, by the numbers that the rules know them by.
    pub fn publish(&self, rules: Rules, names: Vec<String>) {
        let known = self.lists();
        let mut lists: Vec<List> = Vec::new();
        for name in names {
            // A file that was named twice is one list.
            let mut same = lists.iter().chain(&known);
            let same = same
                .find(|list| list.name == name)
                .map(|list| Arc::clone(&list.blocked));
            let blocked = same.unwrap_or_default();
            lists.push(List { name, blocked });
        }
        self.in_force.publish(InForce { rules, lists });
    }

    /// The lists in force, each once.
    pub fn lists(&self) -> Vec<List> {
        let Some(in_force) = self.in_force.current() else {
            return self.counted.clone();
        };
        let mut seen = std::collections::HashSet::new();
        let lists = in_force.lists.iter();
        lists.filter(|list| seen.insert(&list.name)).cloned().collect()
    }

    /// Answers that were looked at under an older number must be looked at again.
    pub(super) fn generation(&self) -> u64 {
        self.in_force.generation()
    }

    /// How many rules are in force.
    pub fn count(&self) -> usize {
        self.in_force.current().map_or(0, |in_force| in_force.rules.len())
    }

    pub(super) fn answer(&self) -> BlockAnswer {
        self.answer
    }

    /// What the rules say of a canonical name in wire form. Allocates nothing.
    pub(super) fn decide(&self, name: &[u8]) -> Option<Action> {
        let in_force = self.in_force.current()?;
        in_force.rules.decide(name).map(|decision| decision.action)
    }

    /// The same for a question that is then refused or not, which is counted.
    pub(super) fn refuses(&self, name: &[u8]) -> bool {
        let Some(in_force) = self.in_force.current() else {
            return false;
        };
        let decision = in_force.rules.decide(name);
        let Some(decision) = decision.filter(|decision| decision.action == Action::Block) else {
            return false;
        };
        if let Some(list) = in_force.lists.get(usize::from(decision.source)) {
            list.blocked.increment();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::Builder;

    fn rules(lists: &[(&str, Action)]) -> Rules {
        let mut builder = Builder::new();
        for (number, (text, action)) in (0..).zip(lists) {
            builder.read(number, *action, text.as_bytes()).unwrap();
        }
        builder.build()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn counts(blocking: &Blocking) -> Vec<(String, u64)> {
        let lists = blocking.lists().into_iter();
        lists.map(|list| (list.name, list.blocked.value())).collect()
    }

    #[test]
    fn what_is_refused_is_counted_by_its_list_also_when_that_is_read_again() {
        let blocking = Blocking::default();
        assert!(!blocking.refuses(b"\x03ads\x07example\0") && counts(&blocking).is_empty());
        let lists = [
            ("ads.example\nboth.example\n", Action::Block),
            ("both.example\nspy.example\n", Action::Block),
            ("good.example\n", Action::Allow),
        ];
        blocking.publish(rules(&lists), names(&["a", "b", "c"]));
        for (name, is_refused) in [
            (&b"\x03ads\x07example\0"[..], true),
            (b"\x04both\x07example\0", true),
            (b"\x03spy\x07example\0", true),
            (b"\x04good\x07example\0", false),
            (b"\x05other\x07example\0", false),
        ] {
            assert_eq!(blocking.refuses(name), is_refused, "{name:?}");
        }
        let counted = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b), ("c".to_owned(), 0)];
        assert_eq!(counts(&blocking), counted(2, 1));
        blocking.decide(b"\x03ads\x07example\0");
        assert_eq!(counts(&blocking), counted(2, 1), "a look is no question");
        // In another order: a name is what it is, whatever its number.
        blocking.publish(rules(&[lists[1], lists[0]]), names(&["b", "a"]));
        assert!(blocking.refuses(b"\x03ads\x07example\0"));
        assert_eq!(counts(&blocking), [("b".to_owned(), 1), ("a".to_owned(), 3)]);
        // And in another configuration; a file that was named twice is one.
        let blocking = blocking.anew(BlockAnswer::NxDomain);
        assert!(!blocking.refuses(b"\x03ads\x07example\0"), "nothing is in force yet");
        blocking.publish(rules(&[lists[0], lists[2], lists[0]]), names(&["a", "c", "a"]));
        assert!(blocking.refuses(b"\x03ads\x07example\0"));
        assert_eq!(counts(&blocking), [("a".to_owned(), 4), ("c".to_owned(), 0)]);
    }
}
