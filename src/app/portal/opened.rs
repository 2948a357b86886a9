//! A window that a person has opened: the road to the network's resolver for the few names he named, as long as it is open.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::os::guard::window::Window;
use crate::os::link::{addresses, identity};
use crate::resolve::Road;
use crate::stats::Counter;
use crate::upstream::Upstream;
use crate::upstream::connect::{Exit, Leave, PlainSettings, WindowOnly, connect_plain};
use crate::upstream::pool::Pool;
use crate::upstream::route_endpoint::{PlainEndpoint, Protocol};
use crate::upstream::select::Strategy;
use crate::wire::answer::TtlLimits;
use crate::wire::domains::canonical;

/// A window, open or closed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) window: Window,
    pub(super) leave: WindowOnly,
    pub(super) road: Arc<Road>,
    /// How many questions upstreams had answered by then.
    pub(super) answers: u64,
    pub(super) closed: Option<Closed>,
}

/// Why a window was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its time is over.
    Time,
    /// Root took it back, or opened another.
    TakenBack,
    /// Its interface is on another network, or down.
    Link,
    /// An upstream works: it is of no use any more.
    Upstream,
}

impl Closed {
    /// For `/stats` and the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::TakenBack => "taken-back",
            Self::Link => "link",
            Self::Upstream => "upstream-works",
        }
    }
}

impl Opened {
    /// None if the consent names no interface, or a name that is none. Nothing is sent yet. Needs a tokio runtime around it.
    pub(super) fn new(window: Window, left: Duration, answers: u64, meter: &Arc<Counter>) -> Option<Self> {
        let leave = WindowOnly::for_a_time(left, window.index, names(&window)?);
        Self::with(window, leave, answers, meter)
    }

    fn with(window: Window, leave: WindowOnly, answers: u64, meter: &Arc<Counter>) -> Option<Self> {
        let exit = Exit {
            interface: Some(window.interface.parse().ok()?),
            via: None,
        };
        let upstream = |(number, server)| {
            Arc::new(connect_plain(PlainSettings {
                name: format!("sign-in page {}", number + 1),
                endpoint: PlainEndpoint {
                    protocol: Protocol::Udp,
                    server,
                },
                exit: exit.clone(),
                leave: Leave::Window(leave.clone()),
                meter: Arc::clone(meter),
            }))
        };
        let upstreams: Vec<Arc<Upstream>> = window.servers.iter().copied().enumerate().map(upstream).collect();
        let settings = cache::Settings {
            max_bytes: CACHE,
            ttls: TTLS,
            serve_stale: Duration::ZERO,
            prefetch: false,
        };
        let road = Road::new(
            Arc::new(Cache::new(settings)),
            Pool::new(upstreams, &Strategy::InOrder, TTLS),
        );
        // Without a list it is those of the link.
        let own = addresses().map(|all| all.into_iter().map(|(_, ip)| ip).collect());
        let road = road.leading_away_from(own.unwrap_or_else(|_| window.addresses.clone()));
        Some(Self {
            window,
            leave,
            road: Arc::new(road),
            answers,
            closed: None,
        })
    }

    /// Goes on with more names: what was sent is counted on, and what waits is told, as when it closes. One that is closed stays so, and one
    /// that cannot go on is closed.
    pub(super) fn extended(mut self, window: Window, left: Duration, meter: &Arc<Counter>) -> Self {
        if !self.is_open() {
            self.window = window;
            return self;
        }
        let leave = names(&window).map(|names| self.leave.going_on(left, names));
        self.close(Closed::TakenBack);
        let more = leave.and_then(|leave| Self::with(window, leave, self.answers, meter));
        more.unwrap_or(self)
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Nothing is sent by it from here on, and who waits is told.
    pub(super) fn close(&mut self, why: Closed) {
        self.leave.take_back();
        self.closed = Some(why);
        self.road.pool().network_changed();
    }
}

/// Its names as queries carry them, in its order.
pub(super) fn names(window: &Window) -> Option<Vec<Box<[u8]>>> {
    window.names.iter().map(|name| canonical(name)).collect()
}

/// Whether its interface is still on the network that it was opened for.
pub fn is_there(window: &Window) -> bool {
    let found = window.interface.parse().ok().and_then(|name| identity(&name).ok()?);
    found.is_some_and(|(index, addresses)| window.is_for(index, &addresses))
}

/// What the hotel says is believed for no longer than this, by programs too: soon it is asked of others.
const TTLS: TtlLimits = TtlLimits {
    min: 0,
    max: 30,
    max_negative: 5,
};

/// Octets of memory: a window has some few names.
const CACHE: u64 = 1 << 20;
