//! Tells when the network may have changed: links, addresses, routes and rules, and a machine that slept.
//!
//! A false alarm is cheap, because whoever listens compares routes; a missed change is not. Nothing is sent anywhere.

#[cfg(unix)]
mod addresses;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod netlink;
mod portable;
mod routers;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

#[cfg(unix)]
pub use addresses::{addresses, index_of, name_of};
#[cfg(not(unix))]
pub use portable::{addresses, index_of, name_of};
pub use routers::routers;

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use crate::os::socket::{Interface, LinkState};

/// The number and the addresses of an interface that is up; none if there is no such one.
///
/// # Errors
/// The system's own, `Unsupported` where it does not tell.
pub fn identity(interface: &Interface) -> io::Result<Option<(u32, Vec<IpAddr>)>> {
    let LinkState::Up { index } = interface.state()? else {
        return Ok(None);
    };
    let own = addresses()?.into_iter().filter(|(name, _)| name == interface.name());
    Ok(Some((index, own.map(|(_, address)| address).collect())))
}

/// Something that may have made connections useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub cause: Cause,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A link, an address, a route or a rule.
    Network,
    /// The machine was suspended or this process was stopped: the other ends may have given up meanwhile.
    Slept,
}

impl Cause {
    /// `network` or `slept`, as messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Slept => "slept",
        }
    }
}

/// Waits for changes. What changes between two calls of [`Watcher::changed`] is told by the second one.
#[derive(Debug)]
pub struct Watcher {
    source: Source,
    calm: Option<Calm>,
    tick: Interval,
    clocks: Clocks,
    read_clocks: fn() -> Clocks,
}

impl Watcher {
    /// Begins to watch. Must be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The system's word when it does not tell us of changes; [`Watcher::polling`] always works.
    pub fn new() -> io::Result<Self> {
        system::Source::new().map(|source| Self::of(Source::System(source), system::clocks))
    }

    /// Begins to watch by looking every two seconds. Must be called inside a tokio runtime with time.
    pub fn polling() -> Self {
        Self::of(Source::Polling(portable::Source::polling()), system::clocks)
    }

    fn of(source: Source, read_clocks: fn() -> Clocks) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            source,
            calm: None,
            tick,
            clocks: read_clocks(),
            read_clocks,
        }
    }

    /// Waits for the next change and tells it once: 50 ms after its last event, at most 500 ms after the first; a sleep within
    /// a second of its end. If the system stops telling, goes on by polling. Cancel-safe.
    pub async fn changed(&mut self) -> Change {
        loop {
            tokio::select! {
                biased;
                _ = self.tick.tick() => if self.has_slept() {
                    return Change { cause: Cause::Slept };
                },
                () = Calm::passed(&mut self.calm) => {
                    self.calm = None;
                    return Change { cause: Cause::Network };
                }
                event = self.source.event() => self.note(event),
            }
        }
    }

    fn note(&mut self, event: io::Result<()>) {
        if let Err(error) = event {
            tracing::warn!(%error, "the system no longer tells of network changes: looking every 2 s");
            self.source = Source::Polling(portable::Source::polling());
        }
        match &mut self.calm {
            Some(calm) => calm.quiet = Box::pin(sleep(QUIET)),
            none => *none = Some(Calm::begin()),
        }
    }

    fn has_slept(&mut self) -> bool {
        let before = std::mem::replace(&mut self.clocks, (self.read_clocks)());
        before.slept_until(self.clocks)
    }
}

/// Where events come from.
#[derive(Debug)]
enum Source {
    System(system::Source),
    Polling(portable::Source),
    #[cfg(test)]
    Fake(tokio::sync::mpsc::UnboundedReceiver<io::Result<()>>),
}

impl Source {
    /// Waits for one event. Cancel-safe.
    async fn event(&mut self) -> io::Result<()> {
        match self {
            Self::System(source) => source.event().await,
            Self::Polling(source) => source.event().await,
            #[cfg(test)]
            Self::Fake(events) => match events.recv().await {
                Some(event) => event,
                None => std::future::pending().await,
            },
        }
    }
}

/// The wait after an event for those that belong to it.
#[derive(Debug)]
struct Calm {
    quiet: Pin<Box<Sleep>>,
    latest: Pin<Box<Sleep>>,
}

impl Calm {
    fn begin() -> Self {
        Self {
            quiet: Box::pin(sleep(QUIET)),
            latest: Box::pin(sleep(LATEST)),
        }
    }

    /// Ends when there is something to tell; never while there is nothing.
    async fn passed(calm: &mut Option<Self>) {
        match calm {
            Some(calm) => tokio::select! {
                () = &mut calm.quiet => {}
                () = &mut calm.latest => {}
            },
            None => std::future::pending().await,
        }
    }
}

/// Two clocks, read together.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// Stands still while the machine sleeps, where the system has such a clock.
    awake: Duration,
    /// Goes on always.
    all: Duration,
}

impl Clocks {
    /// Whether the machine slept, or this process stood still, between this tick and the next one.
    fn slept_until(self, next: Self) -> bool {
        let (awake, all) = (next.awake.saturating_sub(self.awake), next.all.saturating_sub(self.all));
        all.saturating_sub(awake) >= SHORTEST_SLEEP || all > TICK + LONGEST_DELAY
    }
}

/// How often the clocks are compared. Timers stand still in suspend, so a tick comes at most this long after wake-up, and
/// recovery must begin within a second. It costs some ten microseconds a second; a timer that the kernel cancels on resume
/// (TFD_TIMER_CANCEL_ON_SET) would cost none, but sees no SIGSTOP and no frozen container.
const TICK: Duration = Duration::from_secs(1);

/// Less is the time between two readings, or too short for anybody to have given up on us.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);

/// A busy machine may be late by less; by more, this process was stopped or its machine was.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// One change of network comes as a dozen events within some milliseconds.
const QUIET: Duration = Duration::from_millis(50);

/// A link that flaps without pause must not hold the news back.
const LATEST: Duration = Duration::from_millis(500);
