//! The link over connections that exist only here; time stands still unless it is waited for.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::transport::ExchangeErrorKind::{Full, Network, Silent};

/// What a connection does with its next query.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    /// Closes before the query is sent.
    CloseUnsent,
    /// Closes after it was sent.
    Close,
    /// Refuses this query and stays open.
    Refuse,
    Fail,
    /// Says nothing.
    Hold,
}

/// What a dial does.
#[derive(Clone, Debug)]
enum Dial {
    Open(Vec<Act>),
    /// Opens after this time and answers everything.
    Slow(Duration),
    Refused,
    Panic,
}

#[derive(Default)]
struct World {
    dials: Mutex<VecDeque<Dial>>,
    dialled: AtomicU64,
    closed: AtomicU64,
}

struct Fake {
    acts: Mutex<VecDeque<Act>>,
    open: AtomicBool,
    world: Arc<World>,
}

impl Open for Arc<World> {
    type Connection = Fake;

    async fn open(&self, _: Instant) -> Result<Fake, ExchangeError> {
        self.dialled.fetch_add(1, Ordering::SeqCst);
        // Out of script, everything works.
        let dial = self.dials.lock().unwrap().pop_front().unwrap_or(Dial::Open(Vec::new()));
        let acts = match dial {
            Dial::Open(acts) => acts,
            Dial::Slow(time) => {
                sleep(time).await;
                Vec::new()
            }
            Dial::Refused => return Err(ExchangeError::network("refused")),
            Dial::Panic => panic!("a bug of ours"),
        };
        Ok(Fake {
            acts: Mutex::new(acts.into()),
            open: AtomicBool::new(true),
            world: Self::clone(self),
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.world.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Carry for Fake {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    async fn ask(&self, query: &[u8], deadline: Instant) -> Result<Response, AskError> {
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Answer);
        if matches!(act, Act::Close | Act::CloseUnsent) {
            self.open.store(false, Ordering::SeqCst);
        }
        match act {
            Act::Answer => Ok(Response {
                octets: query.to_vec(),
                age: 0,
            }),
            Act::CloseUnsent => Err(AskError::Unsent(ExchangeError::network("closing"))),
            Act::Close => Err(AskError::Unanswered(ExchangeError::network("closed"))),
            Act::Refuse => Err(AskError::Refused(ExchangeError::network("refused stream"))),
            Act::Fail => Err(AskError::Failed(ExchangeError::garbage("not ours"))),
            Act::Hold => {
                tokio::time::sleep_until(deadline).await;
                Err(AskError::Failed(ExchangeError::silent("no answer in time")))
            }
        }
    }
}

struct Rig {
    link: Arc<Link<Arc<World>>>,
    world: Arc<World>,
    stats: Arc<Stats>,
}

fn rig(dials: impl IntoIterator<Item = Dial>) -> Rig {
    let world = Arc::new(World::default());
    world.dials.lock().unwrap().extend(dials);
    let stats = Arc::new(Stats::default());
    let link = Arc::new(Link::new(Arc::clone(&world), Arc::clone(&stats)));
    Rig { link, world, stats }
}

impl Rig {
    async fn ask(&self) -> Result<Response, ExchangeError> {
        self.ask_within(Duration::from_secs(5)).await
    }

    async fn ask_within(&self, time: Duration) -> Result<Response, ExchangeError> {
        self.link.exchange(b"query", Instant::now() + time).await
    }

    fn dialled(&self) -> u64 {
        self.world.dialled.load(Ordering::SeqCst)
    }

    fn closed(&self) -> u64 {
        self.world.closed.load(Ordering::SeqCst)
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_dial() {
    let rig = rig([Dial::Slow(ms(800))]);
    let mut askers = JoinSet::new();
    for _ in 0..500 {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(5_000)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert_eq!((rig.dialled(), rig.stats.reconnects.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_dial_outlives_whoever_began_it() {
    let rig = rig([Dial::Slow(ms(800))]);
    let hasty = rig.ask_within(ms(100)).await.unwrap_err();
    assert_eq!((hasty.kind, hasty.detail.as_str()), (Network, "not connected in time"));
    assert!(tokio::time::timeout(ms(100), rig.ask()).await.is_err(), "cancelled");
    let start = Instant::now();
    assert!(rig.ask().await.is_ok());
    assert_eq!((start.elapsed(), rig.dialled()), (ms(600), 1));
}

#[tokio::test(start_paused = true)]
async fn failed_dials_grow_rarer_and_a_server_that_is_back_is_found_within_a_second() {
    let rig = rig(vec![Dial::Refused; 12]);
    let start = Instant::now();
    let mut at = Vec::new();
    while rig.dialled() < 12 {
        let before = rig.dialled();
        let error = rig.ask().await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (Network, "refused"));
        if rig.dialled() > before {
            at.push(start.elapsed().as_millis());
        }
        sleep(ms(10)).await;
    }
    assert_eq!(at[..7], [0, 10, 110, 310, 710, 1_510, 2_310]);
    let back = Instant::now();
    while rig.ask().await.is_err() {
        sleep(ms(10)).await;
    }
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    assert_eq!(rig.stats.dial_failures.value(), 12);
}

#[tokio::test(start_paused = true)]
async fn r7766_10_a_query_is_sent_twice_and_never_three_times() {
    let rig = rig([Dial::Open(vec![Act::Close]), Dial::Open(vec![Act::Close])]);
    assert_eq!(rig.ask().await.unwrap_err().detail, "closed");
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_was_not_sent_still_has_both_its_sends() {
    let rig = rig([
        Dial::Open(vec![Act::Answer, Act::CloseUnsent]),
        Dial::Open(vec![Act::Close]),
        Dial::Open(Vec::new()),
    ]);
    assert!(rig.ask().await.is_ok());
    assert!(rig.ask().await.is_ok());
    assert_eq!(
        (rig.dialled(), rig.stats.resent.value(), rig.stats.reconnects.value()),
        (3, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn r9520_3_who_asks_in_a_pause_is_answered_by_the_next_dial() {
    let dead = Dial::Open(vec![Act::CloseUnsent]);
    let rig = rig([dead.clone(), dead, Dial::Open(vec![Act::Answer])]);
    assert_eq!(rig.ask().await.unwrap_err().kind, Network);
    let start = Instant::now();
    assert!(rig.ask().await.is_ok());
    assert_eq!((rig.dialled(), start.elapsed()), (3, ms(100)));
}

#[tokio::test(start_paused = true)]
async fn connections_that_only_ever_close_are_given_up() {
    let rig = rig(vec![Dial::Open(vec![Act::CloseUnsent]); 40]);
    assert_eq!(rig.ask().await.unwrap_err().kind, Network);
    assert_eq!(rig.dialled(), 2, "then dialling pauses");
}

#[tokio::test(start_paused = true)]
async fn r9113_1_a_refused_query_goes_again_on_the_connection_that_still_stands() {
    let rig = rig([Dial::Open(vec![Act::Refuse, Act::Answer, Act::Refuse, Act::Refuse])]);
    assert!(rig.ask().await.is_ok());
    assert_eq!(rig.ask().await.unwrap_err().detail, "refused stream");
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn other_failures_are_final_and_cost_no_connection() {
    let rig = rig([Dial::Open(vec![Act::Fail, Act::Answer])]);
    assert!(rig.ask().await.is_err());
    assert!(rig.ask().await.is_ok());
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_connection_on_which_nobody_hears_anything_is_left() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    assert!(rig.ask().await.is_ok());
    assert_eq!(rig.ask().await.unwrap_err().kind, Silent);
    assert!(rig.ask().await.is_ok());
    assert_eq!((rig.dialled(), rig.closed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_resolver_that_never_answers_is_dialled_ever_more_rarely() {
    let rig = rig(vec![Dial::Open(vec![Act::Hold]); 100]);
    for _ in 0..2 {
        assert_eq!(rig.ask().await.unwrap_err().kind, Silent);
    }
    let start = Instant::now();
    assert_eq!(rig.ask().await.unwrap_err().kind, Silent);
    assert_eq!(rig.dialled(), 3);
    assert!(start.elapsed() > ms(100), "it waited for the next dial");
    let paused = rig.link.exchange(b"query", Instant::now() + ms(50)).await.unwrap_err();
    assert_eq!(
        (paused.kind, paused.detail.as_str()),
        (Network, "no answer in time"),
        "no time to wait: the last error"
    );
    assert_eq!(rig.dialled(), 3);
}

#[tokio::test(start_paused = true)]
async fn t_silent_one_unanswered_name_among_answered_ones_costs_no_connection() {
    let rig = rig([Dial::Open(vec![Act::Hold, Act::Answer, Act::Hold])]);
    let link = Arc::clone(&rig.link);
    let held = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(2_000)).await });
    sleep(ms(10)).await;
    assert!(rig.ask().await.is_ok());
    assert_eq!(held.await.unwrap().unwrap_err().kind, Silent);
    assert_eq!(rig.ask_within(ms(900)).await.unwrap_err().kind, Silent);
    assert!(rig.ask().await.is_ok());
    assert_eq!(rig.dialled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_panics_does_not_block_the_road() {
    let rig = rig([Dial::Panic]);
    assert_eq!(rig.ask().await.unwrap_err().detail, "the dial was stopped");
    assert!(rig.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn t_queue_one_too_many_is_busy_at_once() {
    let rig = rig([Dial::Slow(ms(800))]);
    let mut askers = JoinSet::new();
    for _ in 0..MAX_QUERIES {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(5_000)).await });
    }
    sleep(ms(10)).await;
    assert_eq!(rig.ask().await.unwrap_err().kind, Full);
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert!(rig.ask().await.is_ok());
}
