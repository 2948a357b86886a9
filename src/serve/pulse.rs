//! Whether the receiving threads go round: what the service manager's watchdog is fed by.
//!
//! No query is sent to ourselves for it: it would show one thread of several, be lost in a stranger's flood (who could then have us started
//! anew), and be counted among the users'. A thread that comes back from its socket within its patience, with datagrams or without, and has
//! answered what it brought, has shown all that it does.

use std::sync::Arc;

use crate::stats::Counter;

/// What was seen of the receiving threads the last time.
#[derive(Debug)]
pub struct Pulse(Vec<(Arc<Counter>, u64)>);

impl Pulse {
    pub(super) fn of(turns: &[Arc<Counter>]) -> Self {
        let seen = turns.iter().map(|turns| (Arc::clone(turns), turns.value()));
        Self(seen.collect())
    }

    /// Whether each of them came round since the last look. A socket that only fails is no turn.
    pub fn goes_on(&mut self) -> bool {
        let mut do_all = true;
        for (turns, seen) in &mut self.0 {
            let now = turns.value();
            do_all &= now != *seen;
            *seen = now;
        }
        do_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_that_stands_still_is_seen() {
        let turns: Vec<Arc<Counter>> = vec![Arc::default(), Arc::default()];
        let mut pulse = Pulse::of(&turns);
        assert!(!pulse.goes_on());
        turns.iter().for_each(|turns| turns.increment());
        assert!(pulse.goes_on() && !pulse.goes_on());
        turns[1].add(5);
        assert!(!pulse.goes_on(), "the first stands still");
        turns[0].increment();
        assert!(!pulse.goes_on(), "now the second");
    }
}
