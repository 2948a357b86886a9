//! The connections to one resolver: which one takes new queries, which stands by, and when another is dialled.
//!
//! The first in the row takes the queries. A second is there while there is a reason: the first fell silent, is worn, or is
//! crowded. Dials are made by one task for all who wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::live::{Doubt, Live};
use super::{Carry, Open};
use crate::transport::redial::Redial;
use crate::transport::{ExchangeError, Stats};

/// See the module.
pub(super) struct Fleet<O: Open> {
    opener: O,
    stats: Arc<Stats>,
    slot: Mutex<Slot<O::Connection>>,
}

struct Slot<C> {
    /// Those that take queries, best first; at most [`MAX_CONNECTIONS`].
    open: Vec<Arc<Live<C>>>,
    /// Those in doubt that gave way to newer ones; queries may still wait on them.
    left: Vec<Weak<Live<C>>>,
    dial: Option<Dial<C>>,
    dials: u64,
    redial: Redial,
    /// Why there is no connection, for those who ask while dialling pauses.
    last_error: String,
    opened: u64,
    last_asked: Option<Instant>,
    /// A connection fell silent a while ago: a second one stands by until then.
    troubled_until: Option<Instant>,
    next_proof: Option<Instant>,
    last_answer: Option<Instant>,
}

struct Dial<C> {
    number: u64,
    begun: Instant,
    result: watch::Receiver<Dialed<C>>,
    task: AbortHandle,
}

/// `None` until the dial has ended.
pub(super) type Dialed<C> = Option<Result<Arc<Live<C>>, ExchangeError>>;

/// What there is for a query.
pub(super) enum Choice<C> {
    /// This connection.
    Open(Arc<Live<C>>),
    /// One is being dialled, since then; until it is there at best one in doubt.
    Dialing(watch::Receiver<Dialed<C>>, Instant, Option<Arc<Live<C>>>),
    /// Nobody dials before this time. The words say why.
    Paused(Instant, String),
}

impl<O: Open> Fleet<O> {
    pub(super) fn new(opener: O, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            opener,
            stats,
            slot: Mutex::new(Slot {
                open: Vec::new(),
                left: Vec::new(),
                dial: None,
                dials: 0,
                redial: Redial::default(),
                last_error: "not connected".to_owned(),
                opened: 0,
                last_asked: None,
                troubled_until: None,
                next_proof: None,
                last_answer: None,
            }),
        })
    }

    /// A connection for a new query; `but` is one that it is already on.
    pub(super) fn choose(
        self: &Arc<Self>,
        but: Option<&Arc<Live<O::Connection>>>,
        now: Instant,
    ) -> Choice<O::Connection> {
        let mut slot = self.lock();
        slot.last_asked = Some(now);
        slot.drop_closed(now);
        if let Some(live) = slot.best(but) {
            if slot.wants_another(now) {
                self.dial_unless_paused(&mut slot, now);
            }
            return Choice::Open(live);
        }
        let doubted = slot
            .open
            .iter()
            .find(|live| !but.is_some_and(|but| Arc::ptr_eq(live, but)))
            .cloned();
        self.dial_unless_paused(&mut slot, now);
        match (&slot.dial, slot.redial.paused_until(now)) {
            (Some(dial), _) => Choice::Dialing(dial.result.clone(), dial.begun, doubted),
            (None, Some(end)) => Choice::Paused(end, slot.last_error.clone()),
            // A dial that ends before this is read is not possible: the lock is held.
            (None, None) => Choice::Paused(now, slot.last_error.clone()),
        }
    }

    /// An open connection other than `but`, if there is one to be had at once. Nothing is dialled for it.
    pub(super) fn spare(&self, but: &Arc<Live<O::Connection>>) -> Option<Arc<Live<O::Connection>>> {
        self.lock().best(Some(but))
    }

    /// Nothing was read on this one for too long: a successor is dialled and new queries wait for it, or for a sign of life.
    pub(super) fn doubt(self: &Arc<Self>, live: &Arc<Live<O::Connection>>, why: Doubt, now: Instant) {
        let is_new = !live.is_doubted();
        live.doubt(why, now);
        let mut slot = self.lock();
        if is_new && !live.has_answered() {
            slot.redial.failed(now);
        }
        slot.troubled_until = Some(now + TROUBLE);
        slot.drop_closed(now);
        // Another one has answered since: this one is dead, and all who wait on it move.
        if live.is_doubted_for(DEAD_AFTER, now) && slot.last_answer.is_some_and(|at| live.was_doubted_before(at)) {
            slot.open.retain(|open| !Arc::ptr_eq(open, live));
            live.give_up();
        }
        if slot.best(Some(live)).is_none() {
            self.dial_unless_paused(&mut slot, now);
        }
    }

    /// Whether there is no connection at present on which answers could be expected.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.lock().best(None).is_none() || self.may_leave().is_err()
    }

    /// [`Open::may_leave`].
    pub(super) fn may_leave(&self) -> Result<(), ExchangeError> {
        self.opener.may_leave()
    }

    /// Whether a query on a silent connection is to find out whether another one works: one at a time is.
    pub(super) fn wants_proof(&self, now: Instant) -> bool {
        let mut slot = self.lock();
        let is_due = slot.next_proof.is_none_or(|at| now >= at);
        if is_due {
            slot.next_proof = Some(now + PROOF_INTERVAL);
        }
        is_due
    }

    /// An answer to a query sent at `asked` came on `live`; says whether its time tells of the resolver.
    pub(super) fn answered(&self, live: &Arc<Live<O::Connection>>, asked: Instant) -> bool {
        let now = Instant::now();
        let (is_first, is_telling) = live.answered(asked, now);
        let mut slot = self.lock();
        if is_first {
            slot.redial.answered();
        }
        slot.last_answer = Some(now);
        if slot.open.len() > 1 || !slot.left.is_empty() {
            slot.give_up_the_dead(live, now);
        }
        is_telling
    }

    /// Takes this connection out of use for new queries, once. One that never answered counts as a failed dial.
    pub(super) fn retire(&self, live: &Arc<Live<O::Connection>>, error: &ExchangeError, now: Instant) {
        self.lock().retire(live, error, now);
    }

    /// The same if it is closed already.
    pub(super) fn retire_if_closed(&self, live: &Arc<Live<O::Connection>>, error: &ExchangeError, now: Instant) {
        if !live.carrier.is_open() {
            self.retire(live, error, now);
        }
    }

    /// Every connection whose path has changed is dead now, a dial under way begins anew, and no pause holds.
    pub(super) fn network_changed(self: &Arc<Self>, now: Instant) {
        self.opener.network_changed();
        let mut slot = self.lock();
        let before = slot.open.len();
        slot.open.retain(|live| {
            let is_dead = live.carrier.has_lost_its_path();
            if is_dead {
                live.give_up();
            }
            !is_dead
        });
        let left = slot.left.iter().filter_map(Weak::upgrade);
        left.filter(|live| live.carrier.has_lost_its_path())
            .for_each(|live| live.give_up());
        slot.redial = Redial::default();
        let was_dialing = slot.dial.take().map(|dial| dial.task.abort()).is_some();
        let is_in_use = slot.is_in_use(now);
        if slot.open.is_empty() && (was_dialing || (before > 0 && is_in_use)) {
            self.dial_unless_paused(&mut slot, now);
        }
    }

    /// Dials if there is no connection on which answers could be expected.
    pub(super) fn warm_up(self: &Arc<Self>, now: Instant) {
        let mut slot = self.lock();
        slot.drop_closed(now);
        if slot.best(None).is_none() {
            self.dial_unless_paused(&mut slot, now);
        }
    }

    fn dial_unless_paused(self: &Arc<Self>, slot: &mut Slot<O::Connection>, now: Instant) {
        // A dial whose task is gone without a result has panicked: it must not block the road for ever.
        let is_running = slot.dial.as_ref().is_some_and(|dial| dial.result.has_changed().is_ok());
        if is_running || slot.redial.paused_until(now).is_some() {
            return;
        }
        let (sender, result) = watch::channel(None);
        slot.dials += 1;
        let number = slot.dials;
        // A task of its own: whoever asked first may go away, the others still want the connection.
        let task = tokio::spawn(Arc::clone(self).dial(number, now, sender)).abort_handle();
        slot.dial = Some(Dial {
            number,
            begun: now,
            result,
            task,
        });
    }

    async fn dial(self: Arc<Self>, number: u64, begun: Instant, result: watch::Sender<Dialed<O::Connection>>) {
        let opened = Arc::clone(&self).open(begun + DIAL_LIMIT).await;
        let now = Instant::now();
        let opened = opened.map(|carrier| {
            let closing = carrier.closing();
            let live = Arc::new(Live::new(carrier, now, crate::transport::random_ids::jitter()));
            tokio::spawn(keep_warm(Arc::downgrade(&self), Arc::downgrade(&live), closing));
            live
        });
        let mut slot = self.lock();
        // Stopped in the moment in which it ended: what it opened is on the old network, and those who wait look for another dial.
        if slot.dial.take_if(|dial| dial.number == number).is_none() {
            return;
        }
        match &opened {
            Ok(live) => {
                if slot.opened > 0 {
                    self.stats.reconnects.increment();
                }
                slot.opened += 1;
                slot.add(Arc::clone(live), now);
            }
            Err(error) => {
                self.stats.dial_failures.increment();
                slot.last_error.clone_from(&error.detail);
                slot.redial.failed(begun);
                tracing::debug!(%error, "cannot open a connection to a resolver");
            }
        }
        drop(slot);
        // Nobody waiting any more is fine.
        let _ = result.send(Some(opened));
    }

    /// Opens a connection. A try that is silent is left to itself and another one begins beside it: a packet that was lost while
    /// the network was away is repeated by the kernel ever more rarely, and a handshake on a dead connection never ends well.
    async fn open(self: Arc<Self>, deadline: Instant) -> Result<O::Connection, ExchangeError> {
        // Once for all tries: they would all begin when the address becomes known.
        self.opener.ready(deadline).await?;
        let mut tries = JoinSet::new();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some(ended) = tries.join_next() => match ended {
                    Ok(Ok(carrier)) => return Ok(carrier),
                    Ok(Err(error)) if tries.is_empty() => return Err(error),
                    Ok(Err(_)) => {}
                    Err(_) => return Err(ExchangeError::network("the dial was stopped")),
                },
                () = sleep_until(next), if tries.len() < MAX_TRIES => {
                    let fleet = Arc::clone(&self);
                    tries.spawn(async move { fleet.opener.open(deadline).await });
                    next = Instant::now() + RETRY_WHEN_SILENT;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<O::Connection>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a connection and dials its successor if people are asking: a server that says goodbye, or whose
/// patience is over, then costs nobody a handshake.
async fn keep_warm<O: Open>(fleet: Weak<Fleet<O>>, live: Weak<Live<O::Connection>>, mut closing: watch::Receiver<()>) {
    // Nothing is ever sent: the channel closes.
    while closing.changed().await.is_ok() {}
    let (Some(fleet), Some(live)) = (fleet.upgrade(), live.upgrade()) else {
        return;
    };
    let now = Instant::now();
    let mut slot = fleet.lock();
    let was_in_use = slot.open.iter().any(|open| Arc::ptr_eq(open, &live));
    slot.drop_closed(now);
    // One that a server closes within seconds is not worth keeping: it would be a handshake every few seconds.
    if was_in_use && slot.open.is_empty() && live.age(now) >= WORTH_KEEPING && slot.is_in_use(now) {
        fleet.dial_unless_paused(&mut slot, now);
    }
}

impl<C: Carry> Slot<C> {
    /// The first that is in no doubt and has room, else the first in no doubt.
    fn best(&self, but: Option<&Arc<Live<C>>>) -> Option<Arc<Live<C>>> {
        let usable = || {
            let others = self
                .open
                .iter()
                .filter(move |live| !but.is_some_and(|but| Arc::ptr_eq(live, but)));
            others.filter(|live| live.carrier.is_open() && !live.is_doubted())
        };
        usable()
            .find(|live| !live.carrier.is_crowded())
            .or_else(|| usable().next())
            .cloned()
    }

    /// Whether a second connection would be of use.
    fn wants_another(&self, now: Instant) -> bool {
        let Some(first) = self.open.first() else { return true };
        let is_alone = self.open.iter().filter(|live| !live.is_doubted()).count() == 1;
        first.is_worn(now)
            || (is_alone && (first.carrier.is_crowded() || self.troubled_until.is_some_and(|until| now < until)))
    }

    fn is_in_use(&self, now: Instant) -> bool {
        self.last_asked
            .is_some_and(|at| now.saturating_duration_since(at) < BROWSING)
    }

    /// A new connection goes first if the one before it is worn or in doubt, else it stands by.
    fn add(&mut self, live: Arc<Live<C>>, now: Instant) {
        self.open.retain(|old| !old.is_worn(now));
        if self.open.len() >= MAX_CONNECTIONS {
            let victim = self
                .open
                .iter()
                .position(|old| old.is_doubted())
                .unwrap_or(self.open.len() - 1);
            let victim = self.open.remove(victim);
            self.left.retain(|left| left.strong_count() > 0);
            self.left.push(Arc::downgrade(&victim));
        }
        let at = self
            .open
            .iter()
            .position(|old| old.is_doubted())
            .unwrap_or(self.open.len());
        self.open.insert(at, live);
    }

    fn drop_closed(&mut self, now: Instant) {
        let closed: Vec<_> = self
            .open
            .iter()
            .filter(|live| !live.carrier.is_open())
            .cloned()
            .collect();
        let error = ExchangeError::network("the server closes the connection before it answers anything");
        closed.iter().for_each(|live| self.retire(live, &error, now));
    }

    fn retire(&mut self, live: &Arc<Live<C>>, error: &ExchangeError, now: Instant) {
        let before = self.open.len();
        self.open.retain(|open| !Arc::ptr_eq(open, live));
        // One in doubt was counted when it came into doubt.
        if self.open.len() < before && !live.has_answered() && !live.is_doubted() {
            self.last_error.clone_from(&error.detail);
            self.redial.failed(now);
        }
    }

    /// `live` answers, so the network works: those that have been in doubt for a while are dead.
    fn give_up_the_dead(&mut self, live: &Arc<Live<C>>, now: Instant) {
        self.open.retain(|other| {
            let is_dead = !Arc::ptr_eq(other, live) && other.is_doubted_for(DEAD_AFTER, now);
            if is_dead {
                other.give_up();
            }
            !is_dead
        });
        let left = self.left.drain(..).filter_map(|left| left.upgrade());
        left.filter(|left| left.is_doubted()).for_each(|left| left.give_up());
    }
}

/// One to ask and one to stand by. Those that gave way live as long as queries wait on them: five seconds, and as dials go that
/// is a dozen.
const MAX_CONNECTIONS: usize = 2;

/// Longest time for TCP and TLS: the patience of the query that caused it. The next one starts afresh.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// When a silent try gets another one beside it: under the second within which a resolver that came back must be in use again,
/// and over the round trips that a handshake takes on all but the slowest roads.
const RETRY_WHEN_SILENT: Duration = Duration::from_millis(700);

/// Tries under way at once: all that begin within [`DIAL_LIMIT`]. With fewer, those that hang would keep out the one that works.
const MAX_TRIES: usize = 8;

/// Who asked within this time is browsing: the next name will come.
const BROWSING: Duration = Duration::from_secs(60);

/// Servers that close after less do so every few seconds; a connection kept up against that would be all handshakes.
const WORTH_KEEPING: Duration = Duration::from_secs(10);

/// A doubt that is this old while another connection answers is none any more. Lost packets are repeated after 200 ms (Linux'
/// RTO_MIN).
const DEAD_AFTER: Duration = Duration::from_millis(200);

/// Time between two queries that are asked elsewhere although nothing is left in the budget: four a second.
const PROOF_INTERVAL: Duration = Duration::from_millis(250);

/// For how long a second connection stands by after the first fell silent.
const TROUBLE: Duration = Duration::from_secs(300);
