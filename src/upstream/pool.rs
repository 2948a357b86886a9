//! Which upstream is asked, and what happens when it fails.
//!
//! The strategy says who is first; the next one sees a name only when the one before fails. An upstream that takes long is not given
//! up: the next one is asked beside it and the first usable answer counts. Never asks anything but the question key.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::health::{PROBE_TIME, Standing};
use super::select::{Candidate, Plan, Strategy};
use super::{Answered, AskError, Upstream};
use crate::transport::BoxFuture;
use crate::wire::answer::TtlLimits;
use crate::wire::question::QuestionKey;

/// The share of its deadline that a query leaves to one upstream before the next is asked too; with the deadline of 4.5 s
/// and three upstreams that is 1.5 s each. Resolvers answer nearly everything within a second.
const MAX_HEAD_START: Duration = Duration::from_millis(1500);

/// An upstream without a connection in good standing by then has its head start cut short: its connection fell silent and no
/// successor came about (250 ms and a handshake). A slow name at a resolver that works is not shown to another one so soon.
const DOUBT_TIME: Duration = Duration::from_millis(700);

/// Who asked within this time is browsing: after a change of network the next name will come soon.
const BROWSING: Duration = Duration::from_secs(60);

/// After a change of network so many upstreams are connected to at once: if the first cannot be reached there, the second is ready.
const RACED: usize = 2;

/// The configured upstreams, in the user's order.
#[derive(Debug)]
pub struct Pool {
    upstreams: Vec<Arc<Upstream>>,
    plan: Plan,
    ttls: TtlLimits,
    /// How often an upstream came back, or may have by a change of network.
    recoveries: AtomicU64,
    /// Questions so far.
    asked: AtomicU64,
    begin: Instant,
    /// When the last one came, in milliseconds since `begin`; [`NEVER`] before the first.
    last_asked: AtomicU64,
    /// Questions that brought an answer.
    answers: AtomicU64,
    answered: Notify,
    failed: Notify,
}

const NEVER: u64 = u64::MAX;

impl Pool {
    /// A pool of at least one upstream; no two of one name.
    pub fn new(upstreams: Vec<Arc<Upstream>>, strategy: &Strategy, ttls: TtlLimits) -> Self {
        Self {
            plan: Plan::new(strategy, upstreams.iter().map(|upstream| upstream.name())),
            upstreams,
            ttls,
            recoveries: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            begin: Instant::now(),
            last_asked: AtomicU64::new(NEVER),
            answers: AtomicU64::new(0),
            answered: Notify::new(),
            failed: Notify::new(),
        }
    }

    /// The upstreams, in order.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Counts how often an upstream came back from being down, or may have because the network changed; failures that were cached before are void (RFC 9520).
    pub fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Whether every upstream counts as down.
    pub fn is_down(&self) -> bool {
        !self.upstreams.iter().any(|upstream| upstream.is_up())
    }

    /// Counts the questions that brought an answer.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends when an answer has come since the last time. For one who waits. Cancel-safe.
    pub async fn has_answered(&self) {
        self.answered.notified().await;
    }

    /// Ends when no upstream had an answer to a question since the last time. For one who waits. Cancel-safe.
    pub async fn has_failed(&self) {
        self.failed.notified().await;
    }

    /// The network may have changed: tells every upstream. If one was down, failures that were cached before are void
    /// (R9520-3): they were the old network's.
    pub fn network_changed(&self) {
        let down = self.upstreams.iter().filter(|upstream| upstream.network_changed());
        if down.count() > 0 {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        if self.is_in_use(now) {
            // Only connections are raced, not questions: a name is still shown to one upstream, and to the next if that one fails.
            let best = self.user_order(now).into_iter().take(RACED);
            best.for_each(|index| self.upstreams[index].warm_up());
        }
    }

    /// Connects to the first one in the user's order, so that the first question finds a connection.
    pub fn warm_up(&self) {
        let first = self.user_order(Instant::now()).into_iter().next();
        first.into_iter().for_each(|index| self.upstreams[index].warm_up());
    }

    fn is_in_use(&self, now: Instant) -> bool {
        let last = self.last_asked.load(Ordering::Relaxed);
        last != NEVER && now < self.begin + Duration::from_millis(last) + BROWSING
    }

    /// Whether an upstream is believed to work or is due for a trial. Takes no trial, asks nobody, allocates nothing.
    pub fn has_hope(&self, now: Instant) -> bool {
        self.upstreams.iter().any(|upstream| !upstream.is_avoided(now))
    }

    /// Asks until somebody answers, at the latest by `deadline`. Each upstream is asked once.
    ///
    /// # Errors
    /// The most telling failure of those that were met.
    pub async fn ask(&self, key: &QuestionKey, deadline: Instant) -> Result<Answered, AskError> {
        let asked = self.ask_each(key, deadline).await;
        if asked.is_ok() {
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.answered.notify_one();
        } else {
            self.failed.notify_one();
        }
        asked
    }

    async fn ask_each(&self, key: &QuestionKey, deadline: Instant) -> Result<Answered, AskError> {
        let now = Instant::now();
        let since = u64::try_from((now - self.begin).as_millis()).unwrap_or(NEVER - 1);
        self.last_asked.store(since, Ordering::Relaxed);
        let mut candidates = self.order(key, now).into_iter().peekable();
        let mut running = Race::default();
        let mut worst = if candidates.peek().is_some() {
            AskError::Full
        } else {
            AskError::Network
        };
        let (mut head_start_ends, mut look_at) = (deadline, deadline);
        loop {
            let now = Instant::now();
            if running.is_empty() || now >= head_start_ends {
                // Since the order was made, one may have asked to be left alone.
                if let Some(index) = candidates.find(|index| !self.upstreams[*index].must_be_left_alone(now)) {
                    let upstream = &self.upstreams[index];
                    head_start_ends = now + self.head_start(upstream.standing(now));
                    look_at = now + DOUBT_TIME;
                    running.add(index, now, Box::pin(upstream.ask(key, deadline, &self.ttls)));
                } else if running.is_empty() {
                    return Err(worst);
                }
            }
            let until = if candidates.peek().is_some() {
                look_at.min(head_start_ends).min(deadline)
            } else {
                deadline
            };
            match tokio::time::timeout_at(until, running.next()).await {
                Ok((runner, result)) => match self.judge(&runner, result) {
                    Err(error) if !error.is_final() => worst = worst.more_telling(error),
                    settled => {
                        self.count_losers(&running);
                        return settled;
                    }
                },
                Err(_) if Instant::now() < head_start_ends.min(deadline) => {
                    look_at = deadline;
                    if self.is_hopeless(&running) {
                        head_start_ends = Instant::now();
                    }
                }
                Err(_) => {
                    self.count_silent(&mut running);
                    if Instant::now() >= deadline {
                        self.count_losers(&running);
                        return Err(worst.more_telling(AskError::Silent));
                    }
                }
            }
        }
    }

    /// Whether the upstream that was asked last has no connection on which an answer could be expected.
    fn is_hopeless(&self, running: &Race<'_>) -> bool {
        let last = running.runners.last();
        last.is_some_and(|runner| self.upstreams[runner.index].is_in_doubt())
    }

    /// In the order in which they are asked. Those that asked to be left alone (RFC 8484 section 5.1 with RFC 9110 section 10.2.3)
    /// are not among them.
    fn order(&self, key: &QuestionKey, now: Instant) -> Vec<usize> {
        let mut candidates: Vec<_> = self.candidates(now).collect();
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        self.plan.sort(&mut candidates, key.qname(), scattered(number));
        candidates.into_iter().map(|candidate| candidate.index).collect()
    }

    /// Those that work, in the user's order; one that is due for a trial stands at its own place; the rest at the end.
    fn user_order(&self, now: Instant) -> Vec<usize> {
        let mut candidates: Vec<_> = self.candidates(now).collect();
        Plan::InOrder.sort(&mut candidates, &[], 0);
        candidates.into_iter().map(|candidate| candidate.index).collect()
    }

    fn candidates(&self, now: Instant) -> impl Iterator<Item = Candidate> {
        let upstreams = self.upstreams.iter().enumerate();
        upstreams.filter_map(move |(index, upstream)| upstream.candidate(index, now))
    }

    fn head_start(&self, standing: Standing) -> Duration {
        match standing {
            Standing::Up => MAX_HEAD_START,
            Standing::Trial if self.plan.tries_beside() => Duration::ZERO,
            Standing::Trial | Standing::Down => PROBE_TIME,
        }
    }

    /// Those that had their head start and said nothing.
    fn count_silent(&self, running: &mut Race<'_>) {
        for (index, sent) in running.take_silent() {
            self.upstreams[index].was_silent(sent, Instant::now());
        }
    }

    /// Those that had their head start and are given up now brought no usable answer.
    fn count_losers(&self, running: &Race<'_>) {
        for runner in running.runners.iter().filter(|runner| runner.noted) {
            self.upstreams[runner.index].gave_nothing();
        }
    }

    /// Counts a result. A silence counts once, however often it is seen.
    fn judge(&self, runner: &Runner<'_>, result: Result<Answered, AskError>) -> Result<Answered, AskError> {
        let (upstream, now) = (&self.upstreams[runner.index], Instant::now());
        if matches!(result, Err(AskError::Silent)) && !runner.noted {
            upstream.was_silent(runner.sent, now);
        }
        if upstream.judge(&result, runner.sent, now) {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// A counter as a number without pattern (splitmix64, Steele 2014): for lots that nothing secret hangs on.
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Questions under way at several upstreams.
#[derive(Default)]
struct Race<'a> {
    runners: Vec<Runner<'a>>,
}

struct Runner<'a> {
    index: usize,
    sent: Instant,
    /// Its silence was counted against its upstream.
    noted: bool,
    ask: BoxFuture<'a, Result<Answered, AskError>>,
}

impl<'a> Race<'a> {
    fn add(&mut self, index: usize, sent: Instant, ask: BoxFuture<'a, Result<Answered, AskError>>) {
        self.runners.push(Runner {
            index,
            sent,
            noted: false,
            ask,
        });
    }

    fn is_empty(&self) -> bool {
        self.runners.is_empty()
    }

    /// Those whose silence was not counted yet.
    fn take_silent(&mut self) -> impl Iterator<Item = (usize, Instant)> {
        let unnoted = self.runners.iter_mut().filter(|runner| !runner.noted);
        unnoted.map(|runner| {
            runner.noted = true;
            (runner.index, runner.sent)
        })
    }

    /// The next to finish, taken out. Never ends while empty. Cancel-safe.
    async fn next(&mut self) -> (Runner<'a>, Result<Answered, AskError>) {
        poll_fn(|context| {
            for at in 0..self.runners.len() {
                if let Poll::Ready(result) = self.runners[at].ask.as_mut().poll(context) {
                    return Poll::Ready((self.runners.swap_remove(at), result));
                }
            }
            Poll::Pending
        })
        .await
    }
}
