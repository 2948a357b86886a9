//! Connections and dials that do what chance and the weather say.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use super::*;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    RefuseDials(Duration),
    HangDials(Duration),
    /// Connections say nothing for a while, then everything at once.
    Freeze(Duration),
    /// Connections fall silent for good.
    Blackhole,
    /// Connections close with queries in flight.
    Close,
    /// GOAWAY: some queries in flight are answered, others were never looked at.
    Goodbye,
    /// A third of the queries is refused.
    RefuseQueries(Duration),
    /// A third of the names takes long.
    SlowNames(Duration),
    /// Another network: connections and dials of the old one are silent for good. We may be told of it or not.
    Network(bool),
    /// Nothing passes at all; what connections were there goes on afterwards.
    Outage(Duration),
}

impl Fault {
    pub(super) fn any(rng: &mut Rng) -> Self {
        let time = rng.between(50, 6_000);
        match rng.below(10) {
            0 => Self::RefuseDials(time),
            1 => Self::HangDials(time),
            2 => Self::Freeze(time),
            3 => Self::Blackhole,
            4 => Self::Close,
            5 => Self::Goodbye,
            6 => Self::RefuseQueries(time),
            7 => Self::SlowNames(time),
            8 => Self::Network(rng.one_in(2)),
            _ => Self::Outage(time),
        }
    }

    pub(super) fn lasts(self) -> Duration {
        match self {
            Self::RefuseDials(time)
            | Self::HangDials(time)
            | Self::Freeze(time)
            | Self::RefuseQueries(time)
            | Self::SlowNames(time)
            | Self::Outage(time) => time,
            Self::Blackhole | Self::Close | Self::Goodbye | Self::Network(_) => Duration::ZERO,
        }
    }
}

/// The resolver's own times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Climate {
    rtt: u64,
    dial: u64,
    /// Queries that crowd a connection.
    crowd: usize,
}

impl Climate {
    pub(super) fn any(rng: &mut Rng) -> Self {
        Self {
            rtt: 5 + rng.below(60),
            dial: 5 + rng.below(200),
            crowd: if rng.one_in(3) { 6 } else { usize::MAX },
        }
    }

    /// The same where nothing is ever crowded.
    pub(super) fn roomy(self) -> Self {
        Self {
            crowd: usize::MAX,
            ..self
        }
    }

    /// Half as much again at most.
    pub(super) fn max_rtt(self) -> Duration {
        ms(self.rtt * 3 / 2)
    }

    pub(super) fn max_dial(self) -> Duration {
        ms(self.dial * 3 / 2)
    }
}

/// Until when each kind of trouble lasts.
#[derive(Clone, Copy)]
struct Weather {
    refuses_dials: Instant,
    hangs_dials: Instant,
    refuses_queries: Instant,
    network: u32,
}

pub(super) struct World {
    seed: u64,
    pub(super) climate: Climate,
    weather: Mutex<Weather>,
    strikes: AtomicU64,
    wires: Mutex<Vec<Arc<Wire>>>,
    sends: Mutex<HashMap<u32, u32>>,
    pub(super) dials: AtomicU64,
    pub(super) dialing: Level,
    pub(super) open: Level,
}

/// How many there are, and were at most.
#[derive(Default)]
pub(super) struct Level {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Level {
    fn up(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// One connection, as the network sees it.
struct Wire {
    network: u32,
    asking: Level,
    reads: AtomicU64,
    dead: AtomicBool,
    frozen_until: Mutex<Instant>,
    alive: Mutex<Option<watch::Sender<()>>>,
    end: watch::Sender<Option<End>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Goodbye,
}

/// The link's handle of a connection.
pub(super) struct Held {
    wire: Arc<Wire>,
    world: Arc<World>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.world.open.down();
    }
}

/// One more on a level, however it ends.
struct Counted<'a>(&'a Level);

impl<'a> Counted<'a> {
    fn on(level: &'a Level) -> Self {
        level.up();
        Self(level)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}

/// A query as the world reads it: its number, and how many milliseconds more than others its name takes.
pub(super) fn query(number: u32, slow: Duration) -> Vec<u8> {
    let slow = u32::try_from(slow.as_millis()).unwrap();
    [number.to_be_bytes(), slow.to_be_bytes()].concat()
}

fn read(query: &[u8]) -> (u32, Duration) {
    let (number, slow) = query.split_first_chunk().unwrap();
    let slow = u32::from_be_bytes(slow.try_into().unwrap());
    (u32::from_be_bytes(*number), ms(slow.into()))
}

impl World {
    pub(super) fn new(seed: u64, climate: Climate, now: Instant) -> Self {
        Self {
            seed,
            climate,
            weather: Mutex::new(Weather {
                refuses_dials: now,
                hangs_dials: now,
                refuses_queries: now,
                network: 0,
            }),
            strikes: AtomicU64::new(0),
            wires: Mutex::default(),
            sends: Mutex::default(),
            dials: AtomicU64::new(0),
            dialing: Level::default(),
            open: Level::default(),
        }
    }

    /// The most sends of one query.
    pub(super) fn most_sends(&self) -> u32 {
        self.sends.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    pub(super) fn sends_of(&self, query: u32) -> u32 {
        self.sends.lock().unwrap().get(&query).copied().unwrap_or(0)
    }

    /// Lets a fault happen. What hits connections hits all, or each with an even chance.
    pub(super) fn strike(&self, fault: Fault) {
        let until = Instant::now() + fault.lasts();
        let mut weather = self.weather.lock().unwrap();
        match fault {
            Fault::RefuseDials(_) => weather.refuses_dials = weather.refuses_dials.max(until),
            Fault::HangDials(_) => weather.hangs_dials = weather.hangs_dials.max(until),
            Fault::RefuseQueries(_) => weather.refuses_queries = weather.refuses_queries.max(until),
            Fault::Outage(_) => {
                weather.hangs_dials = weather.hangs_dials.max(until);
                self.wires().iter().for_each(|wire| wire.freeze(until));
            }
            Fault::Network(_) => weather.network += 1,
            Fault::Freeze(_) => self.some_wires().iter().for_each(|wire| wire.freeze(until)),
            Fault::Blackhole => self.some_wires().iter().for_each(|wire| wire.die()),
            Fault::Close => self.some_wires().iter().for_each(|wire| wire.end(End::Closed)),
            Fault::Goodbye => self.some_wires().iter().for_each(|wire| wire.end(End::Goodbye)),
            Fault::SlowNames(_) => {}
        }
        if matches!(fault, Fault::Network(_)) {
            self.wires().iter().for_each(|wire| wire.die());
        }
    }

    fn wires(&self) -> Vec<Arc<Wire>> {
        let mut wires = self.wires.lock().unwrap();
        wires.retain(|wire| Arc::strong_count(wire) > 1);
        wires.clone()
    }

    fn some_wires(&self) -> Vec<Arc<Wire>> {
        let mut wires = self.wires();
        let mut rng = self.chance_of(1, self.strikes.fetch_add(1, Ordering::SeqCst));
        if rng.one_in(2) {
            wires.retain(|_| rng.one_in(2));
        }
        wires
    }

    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    /// Chance for one thing that happens, the same whatever else does: those who wait for one dial are woken in any order.
    fn chance_of(&self, what: u64, number: u64) -> Rng {
        let mut rng = Rng(self.seed ^ what.rotate_right(8) ^ number.rotate_right(32));
        rng.next();
        rng
    }

    fn count(&self, query: u32, change: i32) -> u32 {
        let mut sends = self.sends.lock().unwrap();
        let sends = sends.entry(query).or_default();
        *sends = sends.checked_add_signed(change).unwrap();
        *sends
    }
}

impl Wire {
    fn freeze(&self, until: Instant) {
        let mut frozen_until = self.frozen_until.lock().unwrap();
        *frozen_until = until.max(*frozen_until);
    }

    fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Word of an end does not reach us over a dead line.
    fn end(&self, end: End) {
        if !self.is_dead() {
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.end.send_replace(Some(end));
            self.alive.lock().unwrap().take();
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Waits until something sent back after `time` is here; for good on a dead line.
    async fn hear(&self, time: Duration) {
        sleep(time).await;
        loop {
            let frozen_until = *self.frozen_until.lock().unwrap();
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            if Instant::now() >= frozen_until {
                break;
            }
            sleep_until(frozen_until).await;
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
    }
}

impl Open for Arc<World> {
    type Connection = Held;

    fn network_changed(&self) {}

    async fn ready(&self, _: Instant) -> Result<(), ExchangeError> {
        Ok(())
    }

    async fn open(&self, deadline: Instant) -> Result<Held, ExchangeError> {
        let mut rng = self.chance_of(2, self.dials.fetch_add(1, Ordering::SeqCst));
        let _dialing = Counted::on(&self.dialing);
        let (begun, before) = (Instant::now(), self.weather());
        sleep(rng.between(self.climate.dial, self.climate.dial * 3 / 2)).await;
        // 2.5 s for TCP and as much for TLS.
        if begun < before.hangs_dials || self.weather().network != before.network {
            sleep_until(deadline.min(begun + rng.between(2_500, 5_000))).await;
            return Err(ExchangeError::network("no answer"));
        }
        if begun < before.refuses_dials {
            return Err(ExchangeError::network("refused"));
        }
        let wire = Arc::new(Wire {
            network: before.network,
            asking: Level::default(),
            reads: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            frozen_until: Mutex::new(Instant::now()),
            alive: Mutex::new(Some(watch::channel(()).0)),
            end: watch::channel(None).0,
        });
        self.wires.lock().unwrap().push(Arc::clone(&wire));
        self.open.up();
        Ok(Held {
            wire,
            world: Self::clone(self),
        })
    }
}

impl Carry for Held {
    fn is_open(&self) -> bool {
        self.wire.end.borrow().is_none()
    }

    fn is_crowded(&self) -> bool {
        self.wire.asking.now() >= self.world.climate.crowd
    }

    fn reads(&self) -> u64 {
        self.wire.reads.load(Ordering::SeqCst)
    }

    fn has_lost_its_path(&self) -> bool {
        self.wire.network != self.world.weather().network
    }

    fn closing(&self) -> watch::Receiver<()> {
        let alive = self.wire.alive.lock().unwrap();
        alive
            .as_ref()
            .map_or_else(|| watch::channel(()).1, watch::Sender::subscribe)
    }

    async fn ask(&self, query: &[u8], deadline: Instant, departure: &Departure) -> Result<Response, AskError> {
        departure.now();
        let (wire, world) = (&self.wire, &self.world);
        let unsent = || AskError::Unsent(ExchangeError::network("goodbye"));
        if !self.is_open() {
            return Err(unsent());
        }
        let (number, slow) = read(query);
        let _asking = Counted::on(&wire.asking);
        let mut rng = world.chance_of(2 + u64::from(world.count(number, 1)), number.into());
        let rtt = rng.between(world.climate.rtt, world.climate.rtt * 3 / 2);
        let refused = Instant::now() < world.weather().refuses_queries && rng.one_in(3);
        let mut end = wire.end.subscribe();
        let mut heard = pin!(wire.hear(if refused { rtt } else { rtt + slow }));
        let ended = tokio::select! {
            biased;
            () = heard.as_mut() => None,
            Ok(end) = end.wait_for(Option::is_some) => *end,
            () = sleep_until(deadline) => return Err(AskError::Failed(ExchangeError::silent("no answer in time"))),
        };
        match ended {
            Some(End::Closed) => return Err(AskError::Unanswered(ExchangeError::network("closed"))),
            Some(End::Goodbye) if rng.one_in(2) => {
                world.count(number, -1);
                return Err(unsent());
            }
            Some(End::Goodbye) if timeout_at(deadline, heard).await.is_err() => {
                return Err(AskError::Failed(ExchangeError::silent("no answer in time")));
            }
            Some(End::Goodbye) | None => {}
        }
        if refused {
            return Err(AskError::Refused(ExchangeError::network("refused stream")));
        }
        Ok(Response {
            octets: query.to_vec(),
            age: 0,
        })
    }
}
