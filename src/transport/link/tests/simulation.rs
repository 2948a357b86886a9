//! The link in worlds made from seeds: whatever goes wrong, and whenever, its promises hold.
//!
//! `SEEDS=n` runs so many worlds, `SEED=n` one of them again.

mod world;

use self::world::{Climate, Fault, World, query};
use super::*;
use crate::transport::testing::chance::{Rng, on_paused_clock, seeds};

/// A query and how it ended.
struct Ended {
    number: u32,
    sent: Instant,
    slow: Duration,
    at: Instant,
    /// For how long silence is no suspicion, by what is known of the resolver.
    patience: Duration,
    result: Result<(), ExchangeError>,
}

/// What happens when.
#[derive(Default)]
struct Script {
    queries: Vec<(Instant, Duration)>,
    faults: Vec<(Instant, Fault)>,
    /// From the beginning of the first fault to the end of the last one.
    storms: Vec<(Instant, Instant)>,
}

impl Script {
    /// Calm and storm in turn, or calm alone; queries come singly or in bursts, now thick, now thin.
    fn any(rng: &mut Rng, start: Instant, storms: usize) -> Self {
        let mut script = Self::default();
        let mut now = start;
        for _ in 0..storms {
            now += rng.between(1_000, 15_000);
            let begin = now;
            let mut end = now;
            for _ in 0..=rng.below(4) {
                let at = begin + rng.between(0, 4_000);
                let fault = Fault::any(rng);
                script.faults.push((at, fault));
                end = end.max(at + fault.lasts());
            }
            script.storms.push((begin, end));
            now = end;
        }
        script.faults.sort_by_key(|(at, _)| *at);
        let end = now + ms(10_000);
        let mut at = start;
        while at < end {
            let pause = [20, 300, 3_000][usize::try_from(rng.below(3)).unwrap()];
            for _ in 0..=rng.below(12) {
                at += rng.between(1, pause * 2);
                let burst = if rng.one_in(8) { rng.below(12) } else { 0 };
                (0..=burst).for_each(|_| script.add_query(rng, at));
            }
        }
        let ends: Vec<_> = script.storms.iter().map(|(_, end)| *end).collect();
        ends.into_iter()
            .filter(|_| rng.one_in(2))
            .for_each(|end| script.queries.push((end, Duration::ZERO)));
        script.queries.sort_by_key(|(at, _)| *at);
        script
    }

    fn add_query(&mut self, rng: &mut Rng, at: Instant) {
        let is_slow_time = self
            .faults
            .iter()
            .any(|(begin, fault)| matches!(fault, Fault::SlowNames(time) if (*begin..*begin + *time).contains(&at)));
        let is_slow = is_slow_time && rng.one_in(3);
        let slow = if is_slow {
            rng.between(200, 1_500)
        } else {
            Duration::ZERO
        };
        self.queries.push((at, slow));
    }
}

struct Run {
    world: Arc<World>,
    stats: Arc<Stats>,
    script: Script,
    ended: Vec<Ended>,
    /// What was left open long after the link was gone.
    left_open: (usize, usize),
}

/// Plays one world to its end.
fn play(seed: u64, storms: usize) -> Run {
    on_paused_clock(play_here(seed, storms))
}

async fn play_here(seed: u64, storms: usize) -> Run {
    let mut rng = Rng(seed);
    let script = Script::any(&mut rng, Instant::now() + ms(10), storms);
    let climate = Climate::any(&mut rng);
    let climate = if storms == 0 { climate.roomy() } else { climate };
    let world = Arc::new(World::new(seed, climate, Instant::now()));
    let stats = Arc::new(Stats::default());
    let link = Arc::new(Link::new(Arc::clone(&world), Arc::clone(&stats)));
    let mut asking = JoinSet::new();
    let mut faults = script.faults.iter().peekable();
    for (number, (at, slow)) in (0..).zip(&script.queries) {
        while let Some((begin, fault)) = faults.next_if(|(begin, _)| begin <= at) {
            sleep_until(*begin).await;
            world.strike(*fault);
            if matches!(fault, Fault::Network(true)) {
                link.network_changed();
            }
        }
        sleep_until(*at).await;
        asking.spawn(ask(Arc::clone(&link), number, *slow));
    }
    let mut ended = asking.join_all().await;
    ended.sort_by_key(|query| query.number);
    drop(link);
    sleep(ms(6_000)).await;
    Run {
        left_open: (world.open.now(), world.dialing.now()),
        world,
        stats,
        script,
        ended,
    }
}

async fn ask(link: Arc<Link<Arc<World>>>, number: u32, slow: Duration) -> Ended {
    let sent = Instant::now();
    let patience = link.rtt.suspect_after();
    let result = link.exchange(&query(number, slow), sent + PATIENCE).await;
    Ended {
        number,
        sent,
        slow,
        at: Instant::now(),
        patience: patience.max(link.rtt.suspect_after()),
        result: result.map(drop),
    }
}

impl Run {
    /// Every broken promise, in words.
    fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for query in &self.ended {
            let took = query.at - query.sent;
            if took > PATIENCE + ms(1) {
                breaches.push(format!("query {} took {took:?}", query.number));
            }
            breaches.extend(self.breach_in_calm(query));
        }
        let mut at_most = |what: &str, is: u64, limit: u64| {
            if is > limit {
                breaches.push(format!("{what}: {is} of {limit}"));
            }
        };
        at_most("sends of a query", self.world.most_sends().into(), MAX_SENDS_IN_ALL);
        at_most("hedges", self.stats.hedged.value(), self.hedges());
        at_most("connections", self.world.open.most() as u64, MAX_OPEN);
        at_most("dials at once", self.world.dialing.most() as u64, MAX_DIALING);
        at_most("left open", self.left_open.0 as u64, 0);
        at_most("left dialing", self.left_open.1 as u64, 0);
        breaches
    }

    /// A query sent when all trouble is over is answered soon. One that waits already ends soon too, if it may be sent again: it may
    /// have met too many connections that close for an answer.
    fn breach_in_calm(&self, query: &Ended) -> Option<String> {
        let limit = self.limit(query);
        let ends = self.script.storms.iter().map(|(_, end)| *end);
        let storm_end = ends.filter(|end| *end < query.at).max();
        let from = storm_end.map_or(query.sent, |end| end.max(query.sent));
        let waited = query.sent < from;
        // One that saw others answered takes itself for slow at first.
        let limit = if waited { limit + rtt::MAX_SUSPICION } else { limit };
        let may_be_sent = u64::from(self.world.sends_of(query.number)) < MAX_SENDS_IN_ALL;
        let is_bound =
            self.is_calm(from, from + limit) && (!waited || (may_be_sent && from + limit < query.sent + PATIENCE));
        let is_late = query.at > from + limit && query.at > from + limit + self.slowest_beside(query);
        let is_kept = !is_late && (waited || query.result.is_ok());
        (is_bound && !is_kept).then(|| {
            let result = query.result.as_ref().map_err(|error| error.detail.as_str());
            let took = [query.at - query.sent, query.at - from, limit];
            let calm = storm_end.map(|end| from - end);
            format!(
                "query {}, {calm:?} after a storm: {result:?}; took, of it in calm, of: {took:?}",
                query.number
            )
        })
    }

    /// After the end of all trouble a query is answered within a second and what a dial and an answer take: time for a dead connection,
    /// another one that stood by and died with it, two round trips, and the wait for a proof; or for a pause between dials. If the
    /// resolver is slow, silence is suspicious later.
    fn limit(&self, query: &Ended) -> Duration {
        let climate = self.world.climate;
        let doubts = query.patience * 2 + climate.max_rtt() * 2 + ms(250);
        ms(1_000).max(doubts) + climate.max_dial() + climate.max_rtt() + query.slow
    }

    /// A slow name may be the one that is asked for a proof that the network works again.
    fn slowest_beside(&self, query: &Ended) -> Duration {
        let beside = self
            .ended
            .iter()
            .filter(|other| other.sent <= query.at && query.sent <= other.at);
        beside.map(|other| other.slow).max().unwrap_or_default()
    }

    fn is_calm(&self, from: Instant, to: Instant) -> bool {
        !self
            .script
            .storms
            .iter()
            .any(|(begin, end)| *begin <= to && from < *end)
    }

    /// Hedges at most: one for twenty queries, the four of the start, and four a second while a query waits oddly long.
    fn hedges(&self) -> u64 {
        let mut proofs = 0;
        let mut covered = None;
        for query in &self.ended {
            let from = (query.sent + ms(20)).max(covered.unwrap_or(query.sent));
            if from < query.at {
                let time = query.at - from;
                proofs += u64::try_from(time.as_millis()).unwrap().div_ceil(250);
                covered = covered.max(Some(query.at));
            }
        }
        self.ended.len() as u64 / 20 + 4 + proofs
    }
}

#[test]
fn whatever_happens_every_promise_holds() {
    let mut broken = Vec::new();
    for seed in seeds(DEFAULT_SEEDS) {
        let breaches = play(seed, STORMS).breaches();
        if !breaches.is_empty() {
            broken.push(format!("SEED={seed}: {breaches:#?}"));
        }
    }
    let some = broken.iter().take(5).fold(String::new(), |all, one| all + one + "\n");
    assert!(broken.is_empty(), "{} worlds, such as {some}", broken.len());
}

#[test]
fn in_a_world_without_faults_one_dial_is_enough() {
    for seed in seeds(DEFAULT_SEEDS) {
        let run = play(seed, 0);
        assert_eq!(run.breaches(), Vec::<String>::new(), "SEED={seed}");
        let seen = (
            run.world.dials.load(Ordering::SeqCst),
            run.stats.reconnects.value(),
            run.stats.doubted.value(),
            run.stats.resent.value(),
        );
        assert_eq!(seen, (1, 0, 0, 0), "SEED={seed}");
        assert!(run.ended.iter().all(|query| query.result.is_ok()), "SEED={seed}");
    }
}

#[test]
fn a_seed_is_always_the_same_world() {
    for seed in seeds(DEFAULT_SEEDS).into_iter().take(5) {
        let mut stories = Vec::new();
        for _ in 0..2 {
            let run = play(seed, STORMS);
            let ended = run.ended.into_iter();
            let story = ended.map(|query| (query.number, query.at - query.sent, query.result));
            stories.push((story.collect::<Vec<_>>(), run.stats.hedged.value()));
        }
        assert!(stories[0] == stories[1], "SEED={seed}");
    }
}

/// A question's time at one upstream.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Two, and a dozen that gave way while queries still wait on them.
const MAX_OPEN: u64 = 14;

/// One dial has so many tries under way.
const MAX_DIALING: u64 = 8;

/// So many worlds are played in a second.
const DEFAULT_SEEDS: u64 = 80;

/// In each world, with calm between them.
const STORMS: usize = 4;
