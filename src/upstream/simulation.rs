//! The pool over resolvers that come and go by chance: whatever goes wrong, and whenever, its promises hold.
//!
//! `SEEDS=n` runs so many worlds, `SEED=n` one of them again.

use std::collections::HashMap;

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::fake::{Behaviour, Fake};
use super::pool::Pool;
use super::select::Strategy;
use super::*;
use crate::transport::testing::chance::{Rng, on_paused_clock, seeds};
use crate::transport::{BoxFuture, Response};
use crate::wire::testkit::{A, LIMITS, key};

/// A resolver whose behaviour has a script, and which remembers what it was asked and when.
struct Scripted {
    fake: Fake,
    /// What it does from when on, oldest first.
    script: Vec<(Instant, Behaviour)>,
    log: Mutex<Vec<Asked>>,
}

struct Asked {
    at: Instant,
    query: Vec<u8>,
    /// Until when it must be left alone, if it said so.
    told: Option<Instant>,
}

impl Scripted {
    /// Works and fails in turn.
    fn any(rng: &mut Rng, start: Instant, end: Instant) -> Self {
        let works = Behaviour::Slow(rng.between(1, MAX_RTT));
        let mut script = vec![(start, works)];
        let mut now = start;
        while now < end {
            now += calm(rng);
            script.push((now, outage(rng)));
            now += if rng.one_in(3) {
                rng.between(200, 60_000)
            } else {
                rng.between(200, 6_000)
            };
            script.push((now, works));
        }
        Self {
            fake: Fake::new(works),
            script,
            log: Mutex::default(),
        }
    }

    fn behaviour(&self, at: Instant) -> Behaviour {
        let so_far = self.script.iter().take_while(|(from, _)| *from <= at);
        so_far.last().unwrap_or(&self.script[0]).1
    }

    /// Whether it works during all of this time.
    fn works(&self, from: Instant, to: Instant) -> bool {
        let changes = self.script.iter().filter(|(at, _)| from < *at && *at <= to);
        let behaviours = changes.map(|(_, behaviour)| *behaviour);
        behaviours
            .chain([self.behaviour(from)])
            .all(|behaviour| matches!(behaviour, Behaviour::Slow(time) if time <= Duration::from_millis(MAX_RTT)))
    }

    /// What it was asked so far, each with its time.
    fn log(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap()
    }

    /// Until when it must be left alone, as known at this time.
    fn told_at(&self, at: Instant) -> Option<Instant> {
        let log = self.log();
        let told = log.iter().take_while(|asked| asked.at <= at);
        told.filter_map(|asked| asked.told).max()
    }

    fn may_be_asked(&self, at: Instant) -> bool {
        self.told_at(at).is_none_or(|told| told <= at)
    }

    /// How often it got each query.
    fn counts(&self) -> HashMap<Vec<u8>, usize> {
        let mut counts = HashMap::new();
        for asked in self.log().iter() {
            *counts.entry(asked.query.clone()).or_default() += 1;
        }
        counts
    }
}

fn calm(rng: &mut Rng) -> Duration {
    if rng.one_in(2) {
        rng.between(100, 5_000)
    } else {
        rng.between(5_000, 60_000)
    }
}

fn outage(rng: &mut Rng) -> Behaviour {
    match rng.below(6) {
        0 => Behaviour::Broken,
        1 => Behaviour::Silent,
        2 => Behaviour::Slow(rng.between(600, 4_000)),
        3 => Behaviour::Fail(2, None),
        4 => Behaviour::Garbage,
        _ => Behaviour::Busy(rng.between(1_000, 20_000)),
    }
}

impl Exchange for Scripted {
    fn network_changed(&self) {}

    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        let at = Instant::now();
        let behaviour = self.behaviour(at);
        let told = match behaviour {
            Behaviour::Busy(time) => Some(at + time),
            _ => None,
        };
        self.log().push(Asked {
            at,
            query: query.to_vec(),
            told,
        });
        self.fake.behave(behaviour);
        Box::pin(async move {
            tokio::time::timeout_at(deadline, self.fake.exchange(query, deadline))
                .await
                .unwrap_or_else(|_| {
                    Err(ExchangeError {
                        kind: ExchangeErrorKind::Silent,
                        detail: "slow".to_owned(),
                    })
                })
        })
    }
}

/// A question and what became of it.
struct Ended {
    name: String,
    sent: Instant,
    at: Instant,
    result: Result<(), AskError>,
    /// Whether the first upstream counted as working when it was asked.
    first_was_up: bool,
}

struct Run {
    is_in_order: bool,
    resolvers: Vec<Arc<Scripted>>,
    ended: Vec<Ended>,
    breaches: Vec<String>,
}

/// Plays one world to its end.
fn play(seed: u64, strategy: &Strategy) -> Run {
    on_paused_clock(play_here(seed, strategy))
}

async fn play_here(seed: u64, strategy: &Strategy) -> Run {
    let mut rng = Rng(seed);
    let (start, end) = (Instant::now(), Instant::now() + Duration::from_secs(180));
    let count = 1 + rng.below(3);
    let resolvers: Vec<_> = (0..count)
        .map(|_| Arc::new(Scripted::any(&mut rng, start, end)))
        .collect();
    let upstreams = resolvers.iter().enumerate().map(|(index, resolver)| {
        let exchange = Arc::clone(resolver) as Arc<dyn Exchange>;
        Arc::new(Upstream::new(format!("scripted{index}"), exchange, Keepalive::Omit))
    });
    let pool = Arc::new(Pool::new(upstreams.collect(), strategy, LIMITS));
    let mut breaches = Vec::new();
    let mut asking = JoinSet::new();
    let mut before = seen(&pool);
    let (mut number, mut pause) = (0, 100);
    while Instant::now() < end {
        if rng.one_in(10) {
            pause = [30, 300, 3_000][usize::try_from(rng.below(3)).unwrap()];
        }
        sleep(rng.between(1, pause * 2)).await;
        breaches.extend(uncounted(&before, &seen(&pool)));
        if rng.one_in(100) {
            pool.network_changed();
        }
        before = seen(&pool);
        asking.spawn(ask(Arc::clone(&pool), format!("q{number}.example")));
        number += 1;
        // It is asked at once.
        tokio::task::yield_now().await;
    }
    let mut ended = asking.join_all().await;
    ended.sort_by_key(|question| question.sent);
    sleep_until(end).await;
    Run {
        is_in_order: matches!(strategy, Strategy::InOrder),
        resolvers,
        ended,
        breaches,
    }
}

async fn ask(pool: Arc<Pool>, name: String) -> Ended {
    let sent = Instant::now();
    let first_was_up = pool.upstreams()[0].is_up();
    let result = pool.ask(&key(&name, A), sent + PATIENCE).await;
    Ended {
        name,
        sent,
        at: Instant::now(),
        result: result.map(drop),
        first_was_up,
    }
}

/// Who is up, and how often somebody came back.
fn seen(pool: &Pool) -> (Vec<bool>, u64) {
    (
        pool.upstreams().iter().map(|upstream| upstream.is_up()).collect(),
        pool.recoveries(),
    )
}

fn uncounted(before: &(Vec<bool>, u64), after: &(Vec<bool>, u64)) -> Option<String> {
    let back = before
        .0
        .iter()
        .zip(&after.0)
        .filter(|(before, after)| !**before && **after);
    let back = back.count() as u64;
    (after.1 < before.1 + back).then(|| format!("{back} came back, {} recoveries", after.1 - before.1))
}

impl Run {
    /// Every broken promise, in words.
    fn breaches(self) -> Vec<String> {
        let mut breaches: Vec<_> = self.resolvers.iter().flat_map(|resolver| disturbed(resolver)).collect();
        let counts: Vec<_> = self.resolvers.iter().map(|resolver| resolver.counts()).collect();
        for (index, question) in self.ended.iter().enumerate() {
            let query = query_of(&key(&question.name, A));
            let asked: Vec<_> = counts
                .iter()
                .map(|counts| counts.get(&query).copied().unwrap_or(0))
                .collect();
            let last = index.checked_sub(1).map(|last| self.ended[last].sent);
            let broken = self.broken_by(question, &asked, last);
            breaches.extend(broken.map(|what| {
                let took = question.at - question.sent;
                format!(
                    "{}: {what}; {:?} after {took:?}, asked {asked:?}",
                    question.name, question.result
                )
            }));
        }
        breaches.extend(self.breaches);
        breaches
    }

    fn broken_by(&self, question: &Ended, asked: &[usize], last: Option<Instant>) -> Option<&'static str> {
        let (sent, took) = (question.sent, question.at - question.sent);
        if took > PATIENCE + Duration::from_millis(1) {
            return Some("late");
        }
        if asked.iter().any(|times| *times > 1) {
            return Some("an upstream was asked twice");
        }
        let mut works = self.resolvers.iter().filter(|resolver| resolver.may_be_asked(sent));
        let is_working = works.any(|resolver| resolver.works(sent, sent + self.limit()));
        if is_working && (question.result.is_err() || took > self.limit()) {
            return Some("one works");
        }
        let first = &self.resolvers[0];
        if !self.is_in_order || !first.may_be_asked(sent) || !first.works(sent, question.at) {
            return None;
        }
        if question.first_was_up && asked[1..].iter().any(|times| *times > 0) {
            return Some("the first works, and another one saw the name");
        }
        // Who comes while another has the trial does not.
        let is_alone = last.is_none_or(|last| sent >= last + Duration::from_millis(MAX_RTT));
        let worked_long = sent.checked_sub(TRIALS).is_some_and(|from| first.works(from, sent));
        if (self.resolvers.len() == 1 || (is_alone && worked_long)) && asked[0] == 0 {
            return Some("the first was not tried");
        }
        None
    }

    /// With one upstream that works, an answer comes when all others had their head start.
    fn limit(&self) -> Duration {
        let others = u32::try_from(self.resolvers.len() - 1).unwrap();
        HEAD_START * others + Duration::from_millis(MAX_RTT)
    }
}

fn query_of(key: &QuestionKey) -> Vec<u8> {
    let mut query = [0; MAX_QUERY_LEN];
    let len = key.write_query(Keepalive::Omit, &mut query);
    query[..len].to_vec()
}

/// Questions to one that had asked to be left alone.
fn disturbed(resolver: &Scripted) -> Option<String> {
    let mut told = None;
    for asked in resolver.log().iter() {
        if told.is_some_and(|told| asked.at < told) {
            return Some(format!("asked {:?} before its time", told.unwrap() - asked.at));
        }
        told = told.max(asked.told);
    }
    None
}

fn check(strategy: &Strategy) {
    let mut broken = Vec::new();
    for seed in seeds(DEFAULT_SEEDS) {
        let breaches = play(seed, strategy).breaches();
        if !breaches.is_empty() {
            broken.push(format!("SEED={seed}: {:#?}", &breaches[..breaches.len().min(5)]));
        }
    }
    let some = broken.iter().take(5).fold(String::new(), |all, one| all + one + "\n");
    assert!(broken.is_empty(), "{} worlds, such as {some}", broken.len());
}

#[test]
fn whatever_happens_every_promise_holds() {
    check(&Strategy::InOrder);
}

#[test]
fn whatever_happens_every_promise_holds_for_the_fastest() {
    check(&Strategy::Fastest);
}

#[test]
fn whatever_happens_every_promise_holds_where_names_are_spread() {
    check(&Strategy::Spread([7; 32]));
}

/// A question's time.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// What a resolver that works takes at most, in milliseconds.
const MAX_RTT: u64 = 60;

/// A third of the patience: so long the next upstream waits for the one before at most.
const HEAD_START: Duration = Duration::from_millis(1_500);

/// A query tries an upstream that is down after 30 s at most; it may have been found to be down by a query that was silent to its end.
const TRIALS: Duration = Duration::from_millis(34_500);

/// So many worlds are played in a second.
const DEFAULT_SEEDS: u64 = 20;
