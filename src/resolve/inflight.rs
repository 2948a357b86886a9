//! Questions under way: one upstream query for a key, however many ask (RFC 1035, R1035-13; without it a flood of equal
//! questions would be a birthday attack and a bill).
//!
//! Bounded: when the table is full the oldest question gives way (djb's dnscache does the same). A client that goes away
//! cancels nobody else, because a question runs in a task of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::stats::Counter;

/// Distinct questions under way at most: less than the 1,200 that a transport takes, so that the oldest gives way and not the
/// newest is refused. At 4.4 s each, the longest they can take, these are 230 new names a second while all upstreams are
/// silent; each costs about 2 KiB.
pub(super) const MAX_FLIGHTS: usize = 1024;

/// What is asked: who asks the same waits for the same.
pub(super) trait Key: Clone + Eq + std::hash::Hash {}

impl<K: Clone + Eq + std::hash::Hash> Key for K {}

/// How a question ends for everybody who asked it.
pub(super) type Landing<T> = watch::Receiver<Option<T>>;

/// The table; clones share it.
#[derive(Debug)]
pub(super) struct Inflight<K, T> {
    table: Arc<Mutex<Table<K, T>>>,
    max: usize,
}

#[derive(Debug)]
struct Table<K, T> {
    flights: HashMap<K, Flight<T>>,
    /// Keys by age.
    order: BTreeMap<u64, K>,
    next_number: u64,
    shed: Counter,
    panics: Counter,
}

#[derive(Debug)]
struct Flight<T> {
    number: u64,
    begun: Instant,
    landing: Arc<watch::Sender<Option<T>>>,
    task: Option<AbortHandle>,
}

/// What joining a key makes of the one who joins.
pub(super) enum Joined<K: Key, T> {
    /// The first: must spawn the question's task with this ticket.
    Leader(Ticket<K, T>, Landing<T>),
    /// The question is under way since this moment.
    Follower(Landing<T>, Instant),
}

impl<K: Key, T: Clone> Inflight<K, T> {
    pub(super) fn new(max: usize) -> Self {
        let table = Table {
            flights: HashMap::new(),
            order: BTreeMap::new(),
            next_number: 0,
            shed: Counter::default(),
            panics: Counter::default(),
        };
        Self {
            table: Arc::new(Mutex::new(table)),
            max,
        }
    }

    /// Joins the question under way, or starts one; the oldest is settled with `shed` if the table is full.
    pub(super) fn join(&self, key: &K, now: Instant, shed: T) -> Joined<K, T> {
        let mut table = locked(&self.table);
        if let Some(flight) = table.flights.get(key) {
            return Joined::Follower(flight.landing.subscribe(), flight.begun);
        }
        if table.flights.len() >= self.max {
            table.shed_oldest(shed);
        }
        let (ticket, landing) = self.open(&mut table, key, now);
        Joined::Leader(ticket, landing)
    }

    /// Starts a question that nobody waits for, unless it is under way or the table is full: it pushes nobody out.
    pub(super) fn start(&self, key: &K, now: Instant) -> Option<Ticket<K, T>> {
        let mut table = locked(&self.table);
        let has_place = table.flights.len() < self.max && !table.flights.contains_key(key);
        has_place.then(|| self.open(&mut table, key, now).0)
    }

    fn open(&self, table: &mut Table<K, T>, key: &K, begun: Instant) -> (Ticket<K, T>, Landing<T>) {
        let number = table.next_number;
        table.next_number += 1;
        let (sender, landing) = watch::channel(None);
        let sender = Arc::new(sender);
        table.order.insert(number, key.clone());
        table.flights.insert(
            key.clone(),
            Flight {
                number,
                begun,
                landing: Arc::clone(&sender),
                task: None,
            },
        );
        let ticket = Ticket {
            table: Arc::clone(&self.table),
            key: key.clone(),
            number,
            landing: sender,
        };
        (ticket, landing)
    }

    /// Names the task that runs the question, so that it can be ended when it is shed.
    pub(super) fn runs_in(&self, key: &K, number: u64, task: AbortHandle) {
        match locked(&self.table).flights.get_mut(key) {
            Some(flight) if flight.number == number => flight.task = Some(task),
            // Shed already, or landed: ending a task that has ended does nothing.
            _ => task.abort(),
        }
    }

    /// Questions under way.
    pub(super) fn len(&self) -> usize {
        locked(&self.table).flights.len()
    }

    /// How many had to give way.
    pub(super) fn shed(&self) -> u64 {
        locked(&self.table).shed.value()
    }

    /// How many died of a panic.
    pub(super) fn panics(&self) -> u64 {
        locked(&self.table).panics.value()
    }
}

impl<K: Key, T> Table<K, T> {
    fn shed_oldest(&mut self, shed: T) {
        let Some((_, key)) = self.order.pop_first() else { return };
        let Some(flight) = self.flights.remove(&key) else {
            return;
        };
        flight.landing.send_replace(Some(shed));
        if let Some(task) = flight.task {
            task.abort();
        }
        self.shed.increment();
    }

    fn remove(&mut self, key: &K, number: u64) {
        if self.flights.get(key).is_some_and(|flight| flight.number == number) {
            self.flights.remove(key);
            self.order.remove(&number);
        }
    }
}

/// Held by the task that runs a question. However the task ends, the question leaves the table; without
/// [`Ticket::land`] those who wait see their channel close.
#[derive(Debug)]
pub(super) struct Ticket<K: Key, T> {
    table: Arc<Mutex<Table<K, T>>>,
    key: K,
    number: u64,
    landing: Arc<watch::Sender<Option<T>>>,
}

impl<K: Key, T> Ticket<K, T> {
    /// Which question of this key it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Tells everybody. Who asks after this starts anew.
    pub(super) fn land(self, result: T) {
        locked(&self.table).remove(&self.key, self.number);
        self.landing.send_replace(Some(result));
    }
}

impl<K: Key, T> Drop for Ticket<K, T> {
    fn drop(&mut self) {
        let mut table = locked(&self.table);
        table.remove(&self.key, self.number);
        if std::thread::panicking() {
            table.panics.increment();
        }
    }
}

/// Held for a few instructions, never across an await; the table is whole between them even if a holder panicked.
fn locked<K, T>(table: &Mutex<Table<K, T>>) -> MutexGuard<'_, Table<K, T>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::question::QuestionKey;
    use crate::wire::testkit::{A, key};

    fn leader(inflight: &Inflight<QuestionKey, u8>, name: &str) -> (Ticket<QuestionKey, u8>, Landing<u8>) {
        match inflight.join(&key(name, A), Instant::now(), 0) {
            Joined::Leader(ticket, landing) => (ticket, landing),
            Joined::Follower(..) => panic!("follows"),
        }
    }

    fn follower(inflight: &Inflight<QuestionKey, u8>, name: &str) -> Landing<u8> {
        match inflight.join(&key(name, A), Instant::now(), 0) {
            Joined::Follower(landing, _) => landing,
            Joined::Leader(..) => panic!("leads"),
        }
    }

    #[test]
    fn r1035_13_equal_questions_are_one() {
        let inflight = Inflight::new(10);
        let (ticket, first) = leader(&inflight, "a.example");
        let second = follower(&inflight, "A.EXAMPLE");
        let other = leader(&inflight, "b.example");
        ticket.land(7);
        assert_eq!((*first.borrow(), *second.borrow()), (Some(7), Some(7)));
        assert_eq!(inflight.len(), 1);
        drop(other);
        assert_eq!(inflight.len(), 0);
    }

    #[test]
    fn after_the_landing_a_question_is_new() {
        let inflight = Inflight::new(10);
        leader(&inflight, "a.example").0.land(1);
        leader(&inflight, "a.example").0.land(2);
    }

    #[test]
    fn a_task_that_dies_closes_the_channel() {
        let inflight = Inflight::new(10);
        let (ticket, landing) = leader(&inflight, "a.example");
        drop(ticket);
        assert!(landing.has_changed().is_err());
        assert_eq!(inflight.len(), 0);
    }

    #[test]
    fn t_queue_a_full_table_sheds_its_oldest() {
        let inflight = Inflight::new(2);
        let (old, oldest) = leader(&inflight, "a.example");
        let second = leader(&inflight, "b.example");
        assert_eq!(*oldest.borrow(), None);
        let third = leader(&inflight, "c.example");
        assert_eq!(*oldest.borrow(), Some(0));
        assert_eq!((inflight.len(), inflight.shed()), (2, 1));
        drop(second);
        let again = leader(&inflight, "a.example");
        drop(old);
        assert_eq!(
            inflight.len(),
            2,
            "the shed one's ticket does not touch a newer question of the same name"
        );
        drop((third, again));
        assert_eq!(inflight.len(), 0);
    }

    #[test]
    fn t_queue_what_nobody_waits_for_pushes_nobody_out() {
        let inflight: Inflight<QuestionKey, u8> = Inflight::new(2);
        let start = |name| inflight.start(&key(name, A), Instant::now());
        let first = start("a.example");
        assert!(first.is_some() && start("A.example").is_none(), "under way already");
        let (_second, landing) = leader(&inflight, "b.example");
        assert!(start("c.example").is_none());
        assert_eq!((*landing.borrow(), inflight.shed()), (None, 0));
        drop(first);
        assert!(start("c.example").is_some());
    }

    #[tokio::test]
    async fn t_queue_a_question_shed_before_its_task_was_named_ends() {
        let inflight = Inflight::new(1);
        let (old, _l) = leader(&inflight, "a.example");
        let task = tokio::spawn(async move {
            let _old = old;
            std::future::pending::<()>().await;
        });
        let _new = leader(&inflight, "b.example"); // sheds a.example
        inflight.runs_in(&key("a.example", A), 0, task.abort_handle());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(task.is_finished(), "the shed question still runs");
    }

    #[tokio::test]
    async fn t_queue_a_late_naming_does_not_touch_the_next_question_of_the_name() {
        let inflight = Inflight::new(1);
        let (old, _l) = leader(&inflight, "a.example");
        let done = tokio::spawn(async {}).abort_handle();
        old.land(1);
        let (second, _l2) = leader(&inflight, "a.example");
        let task = tokio::spawn(async move {
            let _s = second;
            std::future::pending::<()>().await;
        });
        inflight.runs_in(&key("a.example", A), 1, task.abort_handle());
        inflight.runs_in(&key("a.example", A), 0, done); // the first leader's thread comes late
        let _new = leader(&inflight, "b.example");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(task.is_finished(), "the shed question still runs");
    }
}
