//! `tacenda system watch`: what is set stays set, whoever changes it.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::fight::{Fight, Move};
use super::{Exit, Failure};
use crate::os::dns::Machine;
use crate::os::dns::events::Events;
use crate::os::dns::system::{Picture, System};
use crate::os::report::system::Report;
use crate::os::signal::{Request, Signals};
use crate::os::watch::writers::{Writer, Writers};

/// Between two looks at what stands as it was set: others have business in `/etc` too.
const BREATH: Duration = Duration::from_millis(100);

/// The same while a program is at it that was shut out.
const LONG_BREATH: Duration = Duration::from_secs(5);

/// Watches until it is asked to stop. What is set then stays: programs go on asking tacenda, or nobody.
pub(super) fn run<S: System>(machine: &Machine<S>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut signals, mut watch) = {
        let _handlers_belong_there = runtime.enter();
        (Signals::new()?, Watch::new(machine))
    };
    loop {
        {
            // First, so that what changes while it is looked at is told.
            let _watcher_belongs_there = runtime.enter();
            watch.events.watch_folders(&machine.folders());
        }
        // Outside of the runtime: the machine's programs have one of their own. At the start of the host what was in `/run` is gone.
        watch.look();
        watch.report();
        let is_over = runtime.block_on(async {
            tokio::select! {
                request = signals.next() => request == Request::Stop,
                () = watch.wait() => false,
            }
        });
        if is_over {
            Report::take_away();
            return Ok(Exit::Done);
        }
    }
}

struct Watch<'a, S> {
    machine: &'a Machine<S>,
    events: Events,
    writers: Option<Writers>,
    fight: Fight,
    /// Until when it is left alone.
    rest: Option<Instant>,
    /// A look is due then, whether something changes or not.
    is_due: bool,
    /// What was said last of a failure.
    said: Option<String>,
}

impl<'a, S: System> Watch<'a, S> {
    fn new(machine: &'a Machine<S>) -> Self {
        Self {
            machine,
            events: Events::listen(),
            // Without it the alarm says "somebody".
            writers: Writers::of(Path::new("/etc")).ok(),
            fight: Fight::default(),
            rest: None,
            is_due: false,
            said: None,
        }
    }

    /// Ends when a look is worth while. Cancel-safe.
    async fn wait(&mut self) {
        // What changes meanwhile is told after it.
        if let Some(until) = self.rest {
            sleep_until(until).await;
        }
        if !self.is_due {
            self.events.next(S::LOOK_INTERVAL).await;
        }
    }

    fn look(&mut self) {
        (self.rest, self.is_due) = (None, false);
        match self.machine.undo_cut_off() {
            Ok(None) => self.look_for_drift(),
            Ok(Some(done)) => {
                self.said = None;
                tracing::warn!(
                    notes = done.remarks.join("; "),
                    "a change of this host's DNS was cut off, and is undone"
                );
            }
            Err(error) => {
                self.complain(error.to_string());
                // A try writes to the journal, which is told as a change.
                self.rest_for(S::LOOK_INTERVAL);
            }
        }
    }

    fn look_for_drift(&mut self) {
        let drift = match self.machine.drift() {
            Ok(Some(drift)) => drift,
            Ok(None) => {
                self.said = None;
                return self.rest_for(if self.fight.is_on() { LONG_BREATH } else { BREATH });
            }
            Err(error) => {
                self.complain(error.to_string());
                return self.rest_for(BREATH);
            }
        };
        let writer = self.writers.as_mut().and_then(|writers| writers.last_of("resolv.conf"));
        match self.fight.changed(Instant::now()) {
            Move::At(until) => (self.rest, self.is_due) = (Some(until), true),
            Move::Now => match self.machine.set_again() {
                Ok(()) => self.told(&drift.what, writer.as_ref()),
                Err(error) => self.complain(error.to_string()),
            },
        }
    }

    /// Says how it stands, for the daemon's figures. Who cannot write it is no worse a keeper.
    fn report(&self) {
        let journal = self.machine.journal().ok().flatten();
        // While it is being set, the settings name this host, and it is nobody's hand.
        let is_by_hand = journal.is_none() && self.machine.facts().named().is_some();
        let journal = journal.filter(|journal| journal.phase.is_known_to_work());
        let report = Report {
            listen: journal.as_ref().map(|journal| journal.listen),
            is_by_hand,
            by: journal.map(|journal| journal.back_end.name().to_owned()),
            // A change that was seen may wait for its turn.
            stands: !self.is_due && self.said.is_none(),
            is_shielded: self.machine.is_shielded(),
            problem: self.said.clone(),
        };
        if let Err(error) = report.write() {
            tracing::debug!(%error, "how this host's DNS stands cannot be told");
        }
    }

    fn rest_for(&mut self, time: Duration) {
        self.rest = Some(Instant::now() + time);
    }

    /// Says what was put right; in a fight, what is done about it.
    fn told(&mut self, what: &str, writer: Option<&Writer>) {
        let by = writer.map_or_else(|| "somebody".to_owned(), ToString::to_string);
        self.said = None;
        if !self.fight.is_on() {
            tracing::warn!(what, by, "changed by another program, and set again");
            return;
        }
        match self.machine.raise_shield() {
            Ok(()) => tracing::error!(
                what,
                by,
                "a program changes this again and again: it is read-only from now on, until `tacenda system set` or `restore`"
            ),
            Err(error) => tracing::error!(
                what,
                by,
                %error,
                "a program changes this again and again: it is set again once a minute, and names may go elsewhere meanwhile"
            ),
        }
    }

    /// One line for one failure.
    fn complain(&mut self, problem: String) {
        if self.said.as_ref() != Some(&problem) {
            tracing::error!("this host's DNS cannot be looked after: {problem}");
        }
        self.said = Some(problem);
    }
}
