//! A hotel's sign-in page (captive portal): found out about without asking a name, shown, and reached through a window that only a person
//! opens. The names of that window are asked of the hotel's resolver in clear text, by its interface, until it closes.
//!
//! No name is logged, nor told by the figures; what the page calls itself is in `/stats` alone.

mod detect;
mod opened;
pub mod reply;

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::admin::snapshot::{PortalFigures, WindowFigures};
use crate::config::PortalConfig;
use crate::os::clock::since_start;
use crate::os::guard::window::{Store, Window};
use crate::os::link::Watcher;
use crate::os::watch::FolderWatcher;
use crate::policy::portal::Gate;
use crate::resolve::{Portal, Resolver};
use crate::stats::Counter;
use crate::upstream::pool::Pool;
use detect::detect;
pub use opened::is_there;
use opened::{Closed, Opened, names};
use reply::Found;

/// What is known of sign-in pages, over all configurations.
#[derive(Debug)]
pub(super) struct PortalWatch {
    portal: Portal,
    /// Questions in clear text through windows.
    meter: Arc<Counter>,
    /// So long after the machine's start.
    started: Duration,
    store: Store,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// No upstream works.
    is_down: bool,
    found: Option<Found>,
    /// The last window.
    opened: Option<Opened>,
    /// What is done now.
    gate: Gate,
}

impl PortalWatch {
    /// With the consents of this host's root.
    pub(super) fn of_this_host() -> Self {
        Self::with(Store::of_this_host())
    }

    fn with(store: Store) -> Self {
        Self {
            portal: Portal::default(),
            meter: Arc::default(),
            started: since_start(),
            store,
            seen: Mutex::default(),
        }
    }

    /// For resolvers.
    pub(super) fn portal(&self) -> Portal {
        self.portal.clone()
    }

    /// Questions that left in clear text through windows.
    pub(super) fn clear_packets(&self) -> u64 {
        self.meter.value()
    }

    /// Looks after all of it for one resolver. Never ends by itself. Cancel-safe.
    pub(super) async fn tend(self: Arc<Self>, resolver: Arc<Resolver>, config: PortalConfig) {
        let pool = resolver.public().pool();
        if let Some(opened) = &mut self.seen().opened {
            // Another configuration's pool counts from the beginning.
            opened.answers = pool.answers();
        }
        let mut events = Events::new(&self.store);
        let (mut last, mut due) = (None, Instant::now());
        loop {
            events.watch_folder(&self.store);
            self.look(pool);
            let now = Instant::now();
            if config.detect && self.is_suspect() && now >= due {
                (last, due) = (Some(now), now + LOOK_INTERVAL);
                let found = detect(&config.probes).await;
                self.has_found(found);
                continue;
            }
            let (wakes, waits) = {
                let seen = self.seen();
                (seen.wakes(due, config.detect), seen.is_down || seen.is_open())
            };
            if events.next(pool, waits, wakes).await == Event::Network {
                // First: what waits in a window may not be asked of another network.
                self.look(pool);
                self.network_changed();
                // Changes come in a row.
                due = last.map_or_else(Instant::now, |last: Instant| last + LEAST_INTERVAL);
            }
            sleep(BREATH).await;
        }
    }

    /// Closes and opens windows, and has the resolver do what there is to do.
    fn look(&self, pool: &Pool) {
        let consent = self.store.load().unwrap_or_else(|error| {
            tracing::debug!(%error, "a consent for a sign-in page cannot be used");
            None
        });
        let mut seen = self.seen();
        seen.is_down = pool.is_down();
        if !seen.is_down {
            seen.found = None;
        }
        if let Some(more) = &consent
            && let Some(opened) = seen.opened.take_if(|opened| more.extends(&opened.window))
        {
            let opened = opened.extended(more.clone(), more.left(since_start()), &self.meter);
            if opened.is_open() {
                tracing::warn!(
                    names = more.names.len(),
                    "the window for a sign-in page is for more names"
                );
            }
            seen.opened = Some(opened);
        }
        if let Some(opened) = seen.opened.as_mut().filter(|opened| opened.is_open())
            && let Some(why) = reason_to_close(opened, consent.as_ref(), pool)
        {
            opened.close(why);
            tracing::warn!(cause = why.word(), "the window for a sign-in page is closed");
        }
        let last = seen.opened.as_ref().map(|opened| &opened.window);
        if let Some(consent) = consent.filter(|consent| last != Some(consent)) {
            self.open(&mut seen, consent, pool);
        }
        self.publish(&mut seen);
    }

    fn open(&self, seen: &mut Seen, consent: Window, pool: &Pool) {
        let left = consent.left(since_start());
        // One from before this run was used and closed by another, or for another network; one from before the last window is over too.
        let last = seen.opened.as_ref().map_or(0, |opened| opened.window.given);
        let is_old = consent.given < self.started.as_secs().max(last);
        if is_old || left.is_zero() || !is_there(&consent) {
            return;
        }
        let opened = Opened::new(consent, left, pool.answers(), &self.meter);
        if let Some(opened) = &opened {
            let (seconds, names) = (left.as_secs(), opened.window.names.len());
            let interface = &opened.window.interface;
            tracing::warn!(
                seconds, names, %interface,
                "a window for a sign-in page is open: its names are asked of the network's resolver in clear text"
            );
        }
        seen.opened = opened;
    }

    /// Answers that are kept are looked at again after each change, so nothing is said that is said already.
    fn publish(&self, seen: &mut Seen) {
        let open = seen.opened.as_ref().filter(|opened| opened.is_open());
        let names = open.and_then(|opened| names(&opened.window)).unwrap_or_default();
        let gate = Gate::new(names, seen.is_down || open.is_some());
        let road = open.map(|opened| Arc::clone(&opened.road));
        let is_same_road = match (&road, self.portal.road()) {
            (Some(road), Some(there)) => Arc::ptr_eq(road, &there),
            (road, there) => road.is_none() && there.is_none(),
        };
        if gate != seen.gate || !is_same_road {
            self.portal.publish(gate.clone(), road);
            seen.gate = gate;
        }
    }

    /// Whether it should be found out why nothing works.
    fn is_suspect(&self) -> bool {
        let seen = self.seen();
        seen.is_down && !seen.is_open()
    }

    fn network_changed(&self) {
        let mut seen = self.seen();
        seen.found = None;
        if let Some(opened) = &seen.opened {
            opened.road.pool().network_changed();
        }
    }

    fn has_found(&self, found: Found) {
        let mut seen = self.seen();
        if matches!(found, Found::Page(_)) && !matches!(seen.found, Some(Found::Page(_))) {
            tracing::warn!("this network shows a sign-in page: `tacenda portal status`");
        }
        seen.found = Some(found);
    }

    pub(super) fn figures(&self) -> PortalFigures {
        let seen = self.seen();
        PortalFigures {
            state: seen.state(),
            probe: seen.found.as_ref().map(Found::word),
            host: match &seen.found {
                Some(Found::Page(host)) => host.clone(),
                _ => None,
            },
            window: seen.opened.as_ref().map(|opened| WindowFigures {
                until: opened.window.until.seconds(),
                interface: opened.window.interface.clone(),
                seconds_left: match opened.closed {
                    None => (opened.leave.ends() - Instant::now()).as_secs(),
                    Some(_) => 0,
                },
                sent: opened.leave.sent(),
                closed: opened.closed.map(Closed::word),
            }),
        }
    }

    /// Held for a few instructions, and for the making of a window.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_open(&self) -> bool {
        self.opened.as_ref().is_some_and(Opened::is_open)
    }

    fn state(&self) -> &'static str {
        match self.found {
            _ if self.is_open() => "window",
            Some(Found::Page(_)) => "portal",
            _ if self.is_down => "suspect",
            _ => "ok",
        }
    }

    /// When there is something to do though nobody tells.
    fn wakes(&self, due: Instant, detects: bool) -> Instant {
        let ends = self.opened.as_ref().filter(|opened| opened.is_open());
        let ends = ends.map(|opened| opened.leave.ends());
        let due = (detects && self.is_down && !self.is_open()).then_some(due);
        let net = Instant::now() + NET;
        [ends, due].into_iter().flatten().fold(net, Instant::min)
    }
}

fn reason_to_close(opened: &Opened, consent: Option<&Window>, pool: &Pool) -> Option<Closed> {
    let window = &opened.window;
    let is_over = !opened.leave.is_open(Instant::now()) || window.left(since_start()).is_zero();
    [
        (is_over, Closed::Time),
        (consent != Some(window), Closed::TakenBack),
        (!is_there(window), Closed::Link),
        (pool.answers() > opened.answers, Closed::Upstream),
    ]
    .into_iter()
    .find_map(|(is_so, why)| is_so.then_some(why))
}

/// What may change something.
struct Events {
    folder: Option<FolderWatcher>,
    links: Watcher,
}

#[derive(PartialEq, Eq)]
enum Event {
    Network,
    Other,
}

impl Events {
    fn new(store: &Store) -> Self {
        let mut events = Self {
            folder: None,
            links: Watcher::new().unwrap_or_else(|_| Watcher::polling()),
        };
        events.watch_folder(store);
        events
    }

    /// It may have been made since.
    fn watch_folder(&mut self, store: &Store) {
        if self.folder.is_none() && store.folder().is_dir() {
            self.folder = FolderWatcher::new(&[store.folder().to_owned()]).ok();
        }
    }

    /// `waits`: whether an answer is news.
    async fn next(&mut self, pool: &Pool, waits: bool, wakes: Instant) -> Event {
        let folder = async {
            match &mut self.folder {
                Some(folder) => folder.changed_at_all(NET).await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.links.changed() => Event::Network,
            () = folder => Event::Other,
            () = pool.has_failed() => Event::Other,
            () = pool.has_answered(), if waits => Event::Other,
            () = sleep_until(wakes) => Event::Other,
        }
    }
}

/// Between two looks for a page, as long as nothing works.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The same if the network changes all the time.
const LEAST_INTERVAL: Duration = Duration::from_secs(2);

/// Even if nobody tells of a change.
const NET: Duration = Duration::from_secs(60);

/// After each event: many come together, and a window may open so much later.
const BREATH: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
