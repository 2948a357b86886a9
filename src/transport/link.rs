//! The road to one resolver, the same for every transport: what one query does until it is answered.
//!
//! It goes out on the best connection. One that closes sends it on to the next; one that falls silent is put in doubt, a
//! successor is dialled and the query is asked there too; one that is given up while another answers hands its queries over.
//! All of it at the same resolver: no other sees the name for the sake of speed.

mod budget;
mod fleet;
mod live;
mod patience;
mod rtt;
mod tries;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::budget::Budget;
use self::fleet::{Choice, Fleet};
use self::live::{Doubt, Live};
use self::patience::Patience;
use self::rtt::{MIN_SUSPICION, Rtt};
use self::tries::Tries;
use super::turn::behind_the_others;
use super::{BoxFuture, ExchangeError, Response, Stats};

/// Opens connections of one transport.
pub(super) trait Open: Send + Sync + 'static {
    /// What is opened.
    type Connection: Carry;

    /// Waits until it is known where to open one; ends by `deadline`.
    fn ready(&self, deadline: Instant) -> impl Future<Output = Result<(), ExchangeError>> + Send;

    /// Opens one; ends by `deadline`.
    fn open(&self, deadline: Instant) -> impl Future<Output = Result<Self::Connection, ExchangeError>> + Send;

    /// Whether packets may leave for the resolver at all now. Asks the kernel and no one else; nobody is bound to a way by default.
    ///
    /// # Errors
    /// What is in the way.
    fn may_leave(&self) -> Result<(), ExchangeError> {
        Ok(())
    }

    /// Forgets what was learned on another network than the one we are on, if it is another.
    fn network_changed(&self);
}

/// One connection. Dropping it lets it close once its queries are done.
pub(super) trait Carry: Send + Sync + 'static {
    /// Whether it takes new queries.
    fn is_open(&self) -> bool;

    /// Whether most of its places are taken.
    fn is_crowded(&self) -> bool;

    /// How often something was read on it so far.
    fn reads(&self) -> u64;

    /// Whether packets to its peer would leave by another way now than when it was opened.
    fn has_lost_its_path(&self) -> bool;

    /// A channel that closes when it takes no more queries.
    fn closing(&self) -> watch::Receiver<()>;

    /// Asks; ends by `deadline`. Tells when the query has a place on the connection and leaves. Cancel-safe.
    fn ask(
        &self,
        query: &[u8],
        deadline: Instant,
        departure: &Departure,
    ) -> impl Future<Output = Result<Response, AskError>> + Send;
}

/// When a query left. One that stands in line for a place on a busy connection is not waiting for the resolver yet.
#[derive(Debug, Default)]
pub(super) struct Departure(OnceLock<Instant>);

impl Departure {
    /// It leaves.
    pub(super) fn now(&self) {
        // It leaves once.
        let _ = self.0.set(Instant::now());
    }

    fn time(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// Why a connection gave no answer, sorted by whether to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskError {
    /// It closed before the query was sent, or the server says that it never looked at it (GOAWAY).
    Unsent(ExchangeError),
    /// The query was sent, and the connection ended or shows signs of it.
    Unanswered(ExchangeError),
    /// The server refused this one query unprocessed (REFUSED_STREAM); the connection may be as good as ever.
    Refused(ExchangeError),
    /// Asking again would not help.
    Failed(ExchangeError),
}

impl From<AskError> for ExchangeError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unsent(error)
            | AskError::Unanswered(error)
            | AskError::Refused(error)
            | AskError::Failed(error) => error,
        }
    }
}

/// See the module.
pub(super) struct Link<O: Open> {
    fleet: Arc<Fleet<O>>,
    places: Semaphore,
    rtt: Rtt,
    budget: Budget,
    stats: Arc<Stats>,
}

/// One query, and how often it was sent so far.
struct Question<'a> {
    query: &'a [u8],
    deadline: Instant,
    sends: AtomicU64,
}

impl<'a> Question<'a> {
    fn new(query: &'a [u8], deadline: Instant) -> Self {
        Self {
            query,
            deadline,
            sends: AtomicU64::new(0),
        }
    }

    fn may_be_sent(&self) -> bool {
        self.sends.load(Ordering::Relaxed) < MAX_SENDS_IN_ALL
    }

    fn was_sent_once(&self) -> bool {
        self.sends.load(Ordering::Relaxed) == 1
    }
}

/// How one send of a query ended.
type Sent<C> = (Arc<Live<C>>, Result<Response, AskError>);

impl<O: Open> Link<O> {
    /// A link that opens nothing until it is asked.
    pub(super) fn new(opener: O, stats: Arc<Stats>) -> Self {
        Self {
            fleet: Fleet::new(opener, Arc::clone(&stats)),
            places: Semaphore::new(MAX_QUERIES),
            rtt: Rtt::default(),
            budget: Budget::default(),
            stats,
        }
    }

    /// [`super::Exchange::network_changed`].
    pub(super) fn network_changed(&self) {
        self.fleet.network_changed(Instant::now());
    }

    /// [`super::Exchange::warm_up`].
    pub(super) fn warm_up(&self) {
        self.fleet.warm_up(Instant::now());
    }

    /// [`super::Exchange::is_in_doubt`].
    pub(super) fn is_in_doubt(&self) -> bool {
        self.fleet.is_in_doubt()
    }

    /// [`super::Exchange::exchange`].
    pub(super) async fn exchange(&self, query: &[u8], deadline: Instant) -> Result<Response, ExchangeError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(ExchangeError::full("too many queries wait for this resolver"));
        };
        self.budget.earn();
        let question = Question::new(query, deadline);
        let mut last = ExchangeError::network("the connection closes before anything can be sent");
        let mut tries = Tries::default();
        // A query waits for the next dial, unless it met a connection that never answered: then it has had its chance.
        let mut may_wait = true;
        for _ in 0..MAX_ATTEMPTS {
            let live = self.connection(None, deadline, may_wait).await?;
            let (live, error) = match self.ask_watched(&live, None, &question).await {
                (_, Ok(response)) => return Ok(response),
                (_, Err(AskError::Failed(error))) => return Err(error),
                (live, Err(error)) => (live, error),
            };
            self.note(&live, &error);
            may_wait = live.has_answered();
            let was_sent = !matches!(error, AskError::Unsent(_));
            let is_last = tries.failed(&error, &live, Instant::now());
            last = error.into();
            if is_last || !question.may_be_sent() {
                break;
            }
            if was_sent {
                self.stats.resent.increment();
            }
        }
        Err(last)
    }

    /// A connection that failed a query takes no new ones, if the failure may be its own.
    fn note(&self, live: &Arc<Live<O::Connection>>, error: &AskError) {
        let now = Instant::now();
        match error {
            // Whether it knows already that it is closed or not: the second try must not meet the same end.
            AskError::Unsent(error) | AskError::Unanswered(error) => self.fleet.retire(live, error, now),
            AskError::Refused(error) | AskError::Failed(error) => self.fleet.retire_if_closed(live, error, now),
        }
    }

    /// Asks on `live` and watches it. The first answer counts, also one that another connection gives to a hedge. If this is a hedge
    /// itself, the first send is on `hedged`.
    async fn ask_watched(
        &self,
        live: &Arc<Live<O::Connection>>,
        hedged: Option<&Arc<Live<O::Connection>>>,
        question: &Question<'_>,
    ) -> Sent<O::Connection> {
        let departure = Departure::default();
        let first = self.ask(Arc::clone(live), question, &departure);
        let mut first = pin!(Some(first));
        let mut hedge = None;
        let mut watch = Patience::new(live, &self.rtt);
        let mut outcome = None;
        loop {
            tokio::select! {
                biased;
                sent = poll_lane(first.as_mut()) => {
                    if hedge.is_none() || sent.1.is_ok() {
                        return sent;
                    }
                    outcome = Some(sent);
                }
                hedged = poll_lane(Pin::new(&mut hedge)) => match (hedged, outcome.take()) {
                    (Some(sent @ (_, Ok(_))), _) => return sent,
                    // The hedge failed: what the first one says counts.
                    (_, Some(sent)) => return sent,
                    // Asking again would not help, nor waiting on a connection in doubt.
                    (Some(sent @ (_, Err(AskError::Failed(_)))), None) if live.is_doubted() => return sent,
                    (Some((_, Err(AskError::Failed(_)))), None) => {}
                    // It found no connection, or a bad one: there may be another yet.
                    (_, None) => watch.may_hedge = true,
                },
                () = live.until_given_up(), if outcome.is_none() => {
                    let error = ExchangeError::network("the connection fell silent");
                    if hedge.is_none() {
                        return (Arc::clone(live), Err(AskError::Unanswered(error)));
                    }
                    outcome = Some((Arc::clone(live), Err(AskError::Unanswered(error))));
                }
                () = live.until_doubted(), if outcome.is_none() && !watch.is_alarmed => watch.alarm(live, &self.rtt),
                () = due(watch.next), if outcome.is_none() => {
                    if hedge.is_none() && !live.is_doubted() && watch.excuses_line(departure.time(), live, &self.rtt) {
                        continue;
                    }
                    // A hedge is hedged when both connections are in doubt: else it would go where the query is already.
                    let may_be_sent = question.may_be_sent() && hedged.is_none_or(|hedged| hedged.is_doubted());
                    if self.look(live, &mut watch, question, may_be_sent) {
                        self.stats.hedged.increment();
                        hedge = Some(self.ask_elsewhere(live, question));
                    }
                }
            }
        }
    }

    /// Asks on this connection, and keeps the books.
    async fn ask(
        &self,
        live: Arc<Live<O::Connection>>,
        question: &Question<'_>,
        departure: &Departure,
    ) -> Sent<O::Connection> {
        let asked = Instant::now();
        let waiting = live.asked();
        question.sends.fetch_add(1, Ordering::Relaxed);
        let result = live.carrier.ask(question.query, question.deadline, departure).await;
        let start = departure.time().unwrap_or(asked);
        drop(waiting);
        match &result {
            Ok(_) => {
                if self.fleet.answered(&live, start) {
                    self.rtt.observe(start.elapsed());
                }
            }
            Err(AskError::Unsent(_)) => {
                question.sends.fetch_sub(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        (live, result)
    }

    /// Asks on another connection than `but`, if there is one or one can be opened. That one is watched as well: what made the first
    /// one silent may have hit it too.
    fn ask_elsewhere<'a>(
        &'a self,
        but: &'a Arc<Live<O::Connection>>,
        question: &'a Question<'_>,
    ) -> BoxFuture<'a, Option<Sent<O::Connection>>> {
        Box::pin(async move {
            let other = self.connection(Some(but), question.deadline, true).await.ok()?;
            let sent = self.ask_watched(&other, Some(but), question).await;
            if let (live, Err(error)) = &sent {
                self.note(live, error);
            }
            Some(sent)
        })
    }

    /// Whether a query on `live` may be asked elsewhere too: most answers are here by now and another connection stands by, or
    /// nothing at all was read since it was asked, or nothing that answers anybody. Now and then one goes without a budget: on it
    /// hangs the proof that the network works again.
    fn look(
        &self,
        live: &Arc<Live<O::Connection>>,
        watch: &mut Patience,
        question: &Question<'_>,
        may_be_sent: bool,
    ) -> bool {
        let now = Instant::now();
        let mut why = Doubt::Silent;
        if now < watch.suspect_at {
            let is_silent = watch.reads == live.carrier.reads();
            // A new one has yet to show how long it takes.
            let proven_at = if live.has_answered() {
                now
            } else {
                watch.began + MIN_SUSPICION
            };
            watch.next = if now < proven_at { proven_at } else { watch.suspect_at };
            // One name may be slow; several at once are the connection.
            if !is_silent || live.waiting() < SEVERAL || now < proven_at {
                let may_hurry = question.was_sent_once() && self.fleet.spare(live).is_some();
                return watch.hedge_if(|| may_hurry && self.budget.take());
            }
        } else if let Some(doubt) = watch.note(live, &self.rtt, now) {
            why = doubt;
        } else {
            return false;
        }
        if !live.is_doubted() {
            self.stats.doubted.increment();
        }
        self.fleet.doubt(live, why, now);
        watch.hedge_if(|| may_be_sent && (self.fleet.wants_proof(now) || self.budget.take()))
    }

    /// A connection other than `but`: an open one, or the one that is being dialled. If `may_wait` says so, a pause between dials is
    /// waited for once (it is under a second), and a dial that was begun before and fails is not the last: what stopped it may be over.
    /// Where packets may not leave, it fails at once: what is open would carry them nowhere, and nothing else may.
    async fn connection(
        &self,
        but: Option<&Arc<Live<O::Connection>>>,
        deadline: Instant,
        mut may_wait: bool,
    ) -> Result<Arc<Live<O::Connection>>, ExchangeError> {
        let asked = Instant::now();
        for _ in 0..MAX_ATTEMPTS {
            self.fleet.may_leave()?;
            match self.fleet.choose(but, Instant::now()) {
                Choice::Open(live) => return Ok(live),
                Choice::Dialing(mut dialing, begun, doubted) => {
                    let trusted = until_trusted(doubted);
                    let dialled = dialing.wait_for(Option::is_some);
                    let first = async {
                        tokio::select! {
                            biased;
                            // Dialled, or stopped because the network changed: then there is another dial.
                            dialled = dialled => dialled.ok().and_then(|dialled| dialled.clone()),
                            live = trusted => Some(Ok(live)),
                        }
                    };
                    match timeout_at(deadline, first).await {
                        Ok(Some(Err(_))) if may_wait && begun < asked => {}
                        Ok(Some(result)) => return result,
                        Ok(None) => {}
                        Err(_) => return Err(ExchangeError::network("not connected in time")),
                    }
                }
                Choice::Paused(end, _) if may_wait && end < deadline => {
                    sleep_until(end).await;
                    may_wait = false;
                }
                Choice::Paused(_, words) => return Err(ExchangeError::network(words)),
            }
        }
        Err(ExchangeError::network("the dial was stopped"))
    }
}

/// Ends at this time, and after what is ready on this thread by then, which may be the reader: a runtime that was busy must not take its own
/// silence for the connection's. Cancel-safe.
async fn due(time: Instant) {
    sleep_until(time).await;
    behind_the_others().await;
}

/// Runs what is in the lane and empties it at the end. Never ends while it is empty. Cancel-safe.
async fn poll_lane<F: Future>(mut lane: Pin<&mut Option<F>>) -> F::Output {
    std::future::poll_fn(|context| {
        let Some(running) = lane.as_mut().as_pin_mut() else {
            return std::task::Poll::Pending;
        };
        let polled = running.poll(context);
        if polled.is_ready() {
            lane.set(None);
        }
        polled
    })
    .await
}

/// Ends when the connection in doubt gives a sign of life. Never without one.
async fn until_trusted<C: Carry>(doubted: Option<Arc<Live<C>>>) -> Arc<Live<C>> {
    match doubted {
        Some(live) => {
            live.until_trusted().await;
            live
        }
        None => std::future::pending().await,
    }
}

/// So many queries that hear nothing put their connection in doubt before a single one would.
const SEVERAL: usize = 4;

/// Queries at one resolver, sent or waiting to be: 200 in flight and 1,000 in line, which a resolver that answers at
/// all works off well within a query's five seconds. One more is `Full` at once (T-QUEUE).
const MAX_QUERIES: usize = 1_200;

/// A query is sent twice on connections that break ([`Tries`]). A hedge may come on top, or a connection that broke together with the one before
/// (RFC 9520 section 3.1); a query on a silent connection may be hedged twice instead.
const MAX_SENDS_IN_ALL: u64 = 3;

/// Connections that one query may try, the two sends included. All who wait move on together when a server gives a
/// connection up; with one that takes three requests on each (nginx with a low `keepalive_requests`) this serves a
/// hundred at once.
const MAX_ATTEMPTS: u32 = 32;

#[cfg(test)]
mod tests;
