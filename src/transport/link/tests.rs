//! The link over connections that exist only here; time stands still unless it is waited for.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
    /// Octets come all the time, and no answer.
    Drip,
    /// Answers after this time.
    After(Duration),
    /// The query stands in line for the first time, and is answered the second after it left.
    InLine(Duration, Duration),
}

/// What a dial does.
#[derive(Clone, Debug)]
enum Dial {
    Open(Vec<Act>),
    /// Opens after this time and answers everything.
    Slow(Duration),
    Refused,
    /// Refused after this time.
    Late(Duration),
    Panic,
}

#[derive(Default)]
struct World {
    dials: Mutex<VecDeque<Dial>>,
    dialled: AtomicU64,
    closed: AtomicU64,
    opened: Mutex<Vec<Arc<Fake>>>,
    /// Packets may not leave.
    barred: AtomicBool,
    /// The network changes in the moment in which a dial ends.
    changes: Mutex<Option<Arc<Link<Arc<Self>>>>>,
}

/// The link's own handle; the rig keeps the connection too.
struct Handle(Arc<Fake>);

struct Fake {
    acts: Mutex<VecDeque<Act>>,
    open: AtomicBool,
    crowded: AtomicBool,
    lost: AtomicBool,
    reads: AtomicU64,
    alive: Mutex<Option<watch::Sender<()>>>,
    world: Arc<World>,
}

impl Open for Arc<World> {
    type Connection = Handle;

    fn network_changed(&self) {}

    fn may_leave(&self) -> Result<(), ExchangeError> {
        if self.barred.load(Ordering::SeqCst) {
            return Err(ExchangeError::network("the way is barred"));
        }
        Ok(())
    }

    async fn ready(&self, _: Instant) -> Result<(), ExchangeError> {
        Ok(())
    }

    async fn open(&self, _: Instant) -> Result<Handle, ExchangeError> {
        self.may_leave()?;
        self.dialled.fetch_add(1, Ordering::SeqCst);
        // Out of script, everything works.
        let dial = self.dials.lock().unwrap().pop_front().unwrap_or(Dial::Open(Vec::new()));
        let acts = match dial {
            Dial::Open(acts) => acts,
            Dial::Slow(time) => {
                sleep(time).await;
                Vec::new()
            }
            Dial::Late(time) => {
                sleep(time).await;
                return Err(ExchangeError::network("refused late"));
            }
            Dial::Refused => return Err(ExchangeError::network("refused")),
            Dial::Panic => panic!("a bug of ours"),
        };
        let fake = Arc::new(Fake {
            acts: Mutex::new(acts.into()),
            open: AtomicBool::new(true),
            crowded: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            alive: Mutex::new(Some(watch::channel(()).0)),
            world: Self::clone(self),
        });
        self.opened.lock().unwrap().push(Arc::clone(&fake));
        Ok(Handle(fake))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.world.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Carry for Handle {
    fn is_open(&self) -> bool {
        self.0.open.load(Ordering::SeqCst)
    }

    fn is_crowded(&self) -> bool {
        self.0.crowded.load(Ordering::SeqCst)
    }

    fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    fn has_lost_its_path(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    fn closing(&self) -> watch::Receiver<()> {
        if let Some(link) = self.0.world.changes.lock().unwrap().take() {
            link.network_changed();
        }
        let alive = self.0.alive.lock().unwrap();
        alive
            .as_ref()
            .map_or_else(|| watch::channel(()).1, watch::Sender::subscribe)
    }

    async fn ask(&self, query: &[u8], deadline: Instant, departure: &Departure) -> Result<Response, AskError> {
        let act = self.0.acts.lock().unwrap().pop_front().unwrap_or(Act::Answer);
        if let Act::InLine(time, _) = act {
            sleep(time).await;
        }
        departure.now();
        if matches!(act, Act::Close | Act::CloseUnsent) {
            self.0.close();
        }
        match act {
            Act::Answer => Ok(self.0.answer(query)),
            Act::After(time) | Act::InLine(_, time) => {
                sleep(time).await;
                Ok(self.0.answer(query))
            }
            Act::CloseUnsent => Err(AskError::Unsent(ExchangeError::network("closing"))),
            Act::Close => Err(AskError::Unanswered(ExchangeError::network("closed"))),
            Act::Refuse => Err(AskError::Refused(ExchangeError::network("refused stream"))),
            Act::Fail => Err(AskError::Failed(ExchangeError::garbage("not ours"))),
            Act::Drip => {
                while Instant::now() + ms(100) < deadline {
                    sleep(ms(100)).await;
                    self.0.reads.fetch_add(1, Ordering::SeqCst);
                }
                Err(AskError::Failed(ExchangeError::silent("no answer in time")))
            }
            Act::Hold => {
                sleep_until(deadline).await;
                Err(AskError::Failed(ExchangeError::silent("no answer in time")))
            }
        }
    }
}

impl Fake {
    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn answer(&self, query: &[u8]) -> Response {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Response {
            octets: query.to_vec(),
            age: 0,
        }
    }

    /// The server closes it.
    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.alive.lock().unwrap().take();
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
    let rig = rig([Dial::Slow(ms(600))]);
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
    let rig = rig([Dial::Slow(ms(600))]);
    let hasty = rig.ask_within(ms(100)).await.unwrap_err();
    assert_eq!((hasty.kind, hasty.detail.as_str()), (Network, "not connected in time"));
    assert!(tokio::time::timeout(ms(100), rig.ask()).await.is_err(), "cancelled");
    let start = Instant::now();
    assert!(rig.ask().await.is_ok());
    assert_eq!((start.elapsed(), rig.dialled()), (ms(400), 1));
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
    assert_eq!(at[..7], [0, 10, 110, 310, 710, 1_310, 1_910]);
    let back = Instant::now();
    while rig.ask().await.is_err() {
        sleep(ms(10)).await;
    }
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    assert_eq!(rig.stats.dial_failures.value(), 12);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_dial_that_fails_is_answered_by_the_next() {
    let rig = rig([Dial::Late(ms(100))]);
    let link = Arc::clone(&rig.link);
    let first = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(50)).await;
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(50), 2));
    assert_eq!(first.await.unwrap().unwrap_err().detail, "refused late");
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_took_long_has_been_its_own_pause() {
    let rig = rig([vec![Dial::Refused; 5], vec![Dial::Late(ms(600))]].concat());
    while rig.dialled() < 6 {
        rig.ask().await.unwrap_err();
    }
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(0), 7));
}

#[tokio::test(start_paused = true)]
async fn tries_that_hang_keep_no_other_out() {
    let rig = rig(vec![Dial::Slow(ms(100_000)); 4]);
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(2_800), 5));
}

#[tokio::test(start_paused = true)]
async fn a_dial_stopped_in_the_moment_in_which_it_ends_leaves_its_successor_alone() {
    let rig = rig([]);
    *rig.world.changes.lock().unwrap() = Some(Arc::clone(&rig.link));
    rig.ask().await.unwrap();
    let reads: Vec<_> = rig
        .world
        .opened
        .lock()
        .unwrap()
        .iter()
        .map(|fake| fake.reads())
        .collect();
    assert_eq!((reads, rig.closed()), (vec![0, 1], 1));
}

#[tokio::test(start_paused = true)]
async fn r7766_10_a_query_is_sent_twice_and_never_three_times() {
    let rig = rig([Dial::Open(vec![Act::Close]), Dial::Open(vec![Act::Close])]);
    assert_eq!(rig.ask().await.unwrap_err().detail, "closed");
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (2, 1));
}

/// Two connections stand, opened a millisecond apart.
async fn pair(dials: [Dial; 3]) -> Rig {
    let rig = rig(dials);
    rig.ask().await.unwrap();
    let first = Arc::clone(&rig.world.opened.lock().unwrap()[0]);
    first.crowded.store(true, Ordering::SeqCst);
    rig.ask().await.unwrap();
    first.crowded.store(false, Ordering::SeqCst);
    sleep(ms(1)).await;
    assert_eq!(rig.dialled(), 2);
    rig
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_both_connections_at_once_costs_no_query() {
    let first = Dial::Open(vec![Act::Answer, Act::Answer, Act::Close]);
    let rig = pair([first, Dial::Open(vec![Act::Close]), Dial::Open(vec![Act::Answer])]).await;
    assert!(rig.ask().await.is_ok());
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn r9520_3_a_query_is_sent_three_times_at_most() {
    let first = Dial::Open(vec![Act::Answer, Act::Answer, Act::Close]);
    let rig = pair([first, Dial::Open(vec![Act::Close]), Dial::Open(vec![Act::Close])]).await;
    assert_eq!(rig.ask().await.unwrap_err().detail, "closed");
    assert_eq!((rig.dialled(), rig.stats.resent.value()), (3, 2));
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
async fn a_query_on_a_good_connection_that_closes_waits_for_the_next_dial() {
    let acts = vec![Act::Answer, Act::Answer, Act::Answer, Act::Close];
    let rig = rig([Dial::Open(acts), Dial::Refused, Dial::Refused]);
    rig.ask().await.unwrap();
    // It wants company, in vain: dialling pauses.
    rig.world.opened.lock().unwrap()[0]
        .crowded
        .store(true, Ordering::SeqCst);
    for _ in 0..2 {
        rig.ask().await.unwrap();
        sleep(ms(1)).await;
    }
    assert_eq!(rig.stats.dial_failures.value(), 2);
    rig.ask().await.unwrap();
    assert_eq!(rig.dialled(), 4);
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
async fn a_dial_that_panics_does_not_block_the_road() {
    let rig = rig([Dial::Panic]);
    assert_eq!(rig.ask().await.unwrap_err().detail, "the dial was stopped");
    assert!(rig.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn t_queue_one_too_many_is_busy_at_once() {
    let rig = rig([Dial::Slow(ms(600))]);
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

mod barred;
mod silence;
mod simulation;
