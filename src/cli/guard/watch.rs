//! `tacenda guard watch`: the guard is as it is wanted, whoever takes it away.

use std::fs::File;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::facts::{Gathered, of_this_host, without_configuration};
use super::ways;
use super::{Exit, Failure};
use crate::config;
use crate::os::clock::since_start;
use crate::os::guard::changes::Changes;
use crate::os::guard::report::Report;
use crate::os::guard::ruleset::ruleset;
use crate::os::guard::window::{self, Window};
use crate::os::guard::wish::{Moment, Store, Wish};
use crate::os::guard::{Guard, Kept};
use crate::os::link::Watcher;
use crate::os::notify::Notifier;
use crate::os::signal::{Request, Signals};
use crate::os::watch::FolderWatcher;

/// Even if nobody tells of a change; and the counters are told anew.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// Between two looks: others have business with packet rules too.
const BREATH: Duration = Duration::from_millis(20);

/// After what failed: trying makes events of its own.
const LONG_BREATH: Duration = Duration::from_secs(1);

/// To get the right to keep the guard.
const ATTEMPTS: u32 = 25;

/// Watches until it is asked to stop. The rules then stay as they are.
pub(super) fn run(guard: Guard) -> Result<Exit, Failure> {
    let store = Store::of_this_host();
    let (notifier, _) = Notifier::from_environment();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Some(_kept) = runtime.block_on(keep(&store))? else {
        return Err(Failure::new(Exit::Failed, "another process keeps the guard"));
    };
    let mut events = {
        let _they_belong_there = runtime.enter();
        Events::new()?
    };
    let mut keeper = Keeper::new(store, guard);
    let mut has_said = false;
    loop {
        {
            // First, so that what changes while it is looked at is told.
            let _watcher_belongs_there = runtime.enter();
            events.folders = FolderWatcher::new(&keeper.folders()).ok();
        }
        // Outside of the runtime: the guard has one of its own.
        let wait = keeper.look();
        if !has_said {
            // Whoever waits for this brings up the network.
            let _ = notifier.ready(keeper.status());
            has_said = true;
        }
        // Nobody's changes are of interest while nothing is wanted, nor while nobody else can touch the rules.
        let is_touchable = keeper.mark.is_some() && !keeper.guard.holds();
        let breath = if keeper.report.problem.is_some() {
            LONG_BREATH
        } else {
            BREATH
        };
        let is_over = runtime.block_on(async {
            match timeout(breath, events.signals.next()).await {
                Ok(request) => request == Request::Stop,
                Err(_) => events.next(is_touchable, wait).await,
            }
        });
        if is_over {
            let _ = notifier.stopping();
            Report::take_away();
            return Ok(Exit::Done);
        }
    }
}

/// Whoever only looks whether it is kept is gone in a moment.
async fn keep(store: &Store) -> std::io::Result<Option<File>> {
    for _ in 0..ATTEMPTS {
        if let Some(kept) = store.keep()? {
            return Ok(Some(kept));
        }
        sleep(BREATH).await;
    }
    Ok(None)
}

/// What may change something.
struct Events {
    signals: Signals,
    folders: Option<FolderWatcher>,
    links: Watcher,
    rules: Option<Changes>,
}

impl Events {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            signals: Signals::new()?,
            folders: None,
            links: Watcher::new().unwrap_or_else(|_| Watcher::polling()),
            rules: Changes::new().ok(),
        })
    }

    /// Waits for one, at most so long. True if it is to stop.
    async fn next(&mut self, is_touchable: bool, wait: Duration) -> bool {
        let folders = async {
            match &mut self.folders {
                Some(folders) => folders.changed_at_all(wait).await,
                None => sleep(wait).await,
            }
        };
        let rules = async {
            match &mut self.rules {
                Some(rules) if is_touchable => rules.next().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            request = self.signals.next() => request == Request::Stop,
            () = folders => false,
            _ = self.links.changed() => false,
            () = rules => false,
        }
    }
}

struct Keeper {
    store: Store,
    guard: Guard,
    /// The mark of what was put in force last.
    mark: Option<String>,
    report: Report,
    /// What is wanted now, as far as it is known.
    wish: Option<Wish>,
    windows: window::Store,
    /// The window whose ways are open. Whoever kept the guard before may have left some.
    window: Option<Window>,
    knows_ways: bool,
    /// The window that was shut last: it stays so, be its network back or not, as in the daemon.
    shut: Option<Window>,
}

impl Keeper {
    fn new(store: Store, guard: Guard) -> Self {
        let windows = window::Store::of_this_host();
        if let Err(error) = windows.make_folder() {
            tracing::warn!(%error, "a window for a sign-in page will be noticed late");
        }
        Self {
            store,
            guard,
            mark: None,
            report: Report::default(),
            wish: None,
            windows,
            window: None,
            knows_ways: false,
            shut: None,
        }
    }

    /// Where the wish, the consent to a window and the configuration are.
    fn folders(&self) -> Vec<PathBuf> {
        let config = self.wish.as_ref().and_then(|wish| wish.config.as_deref());
        let [main, drop_ins] = config::folders(config);
        vec![
            main,
            drop_ins,
            self.store.folder().to_owned(),
            self.windows.folder().to_owned(),
        ]
    }

    fn status(&self) -> &str {
        match (&self.report.problem, self.report.mode) {
            (Some(problem), _) => problem,
            (None, Some(_)) => "on",
            (None, None) => "off",
        }
    }

    /// Has the guard as it is wanted, and says until when to wait.
    fn look(&mut self) -> Duration {
        let problem = self.see_to_it().err();
        if problem.is_some() && problem != self.report.problem {
            tracing::error!(
                "the leak guard is not as it is wanted: {}",
                problem.as_deref().unwrap_or_default()
            );
        }
        self.report.problem = problem;
        let there = self.guard.look().ok().flatten();
        self.report.mode = there.as_ref().and_then(|there| there.mode());
        self.report.is_held = self.guard.holds();
        self.report.stands = self.report.mode.is_some() && self.guard.stands();
        if let Some(there) = there {
            (self.report.redirected, self.report.rejected) = (there.redirected, there.rejected);
        }
        if let Err(error) = self.report.write() {
            tracing::debug!(%error, "how the guard stands cannot be told");
        }
        let until = self.wish.as_ref().and_then(|wish| wish.until.as_ref());
        let left = until.and_then(|until| Some(until.left(&Moment::now().ok()?)));
        let window = self.window.as_ref().map(|window| window.left(since_start()));
        [left, window].into_iter().flatten().fold(LOOK_INTERVAL, Duration::min)
    }

    fn see_to_it(&mut self) -> Result<(), String> {
        let wish = match self.store.load() {
            Ok(wish) => wish,
            // Somebody wanted something, and nobody knows what: shut, until root says it anew.
            Err(error) => {
                self.arm(&Wish::new(true, None, None))?;
                return Err(format!("{error}; `sudo tacenda guard on` or `off` writes it anew"));
            }
        };
        let now = Moment::now().map_err(|error| format!("the time since the start is not known: {error}"))?;
        let current = wish.clone().map(|wish| wish.at(&now));
        if current != wish
            && let Some(current) = &current
        {
            tracing::warn!(
                on = current.is_on,
                "the time is over: the leak guard is as it was wanted before"
            );
            self.store.save(current).map_err(|error| error.to_string())?;
        }
        self.wish.clone_from(&current);
        match current.filter(|wish| wish.is_on) {
            Some(wish) => self.arm(&wish),
            None => self.disarm(),
        }
    }

    fn disarm(&mut self) -> Result<(), String> {
        self.knows_ways = false;
        if self.mark.take().is_none() && !Guard::can_be() {
            return Ok(());
        }
        if self.guard.lift().map_err(|error| error.to_string())? {
            tracing::warn!("the leak guard is off: questions in clear text leave this host");
        }
        Ok(())
    }

    fn arm(&mut self, wish: &Wish) -> Result<(), String> {
        let there = self.guard.look().map_err(|error| error.to_string())?;
        let standing = there.and_then(|there| there.mark);
        let (gathered, mut problem) = self.gather(wish, standing.is_some());
        if let Some(gathered) = gathered
            && let Err(why) = self.put(&gathered, standing.as_ref())
        {
            // What stands goes on, and nobody takes it away; where nothing does, nothing of the configuration is opened.
            if standing.is_none() {
                self.put(&without_configuration(wish), None)?;
            }
            problem = Some(why);
        }
        self.open_or_close()?;
        if self.guard.hold().map_err(|error| error.to_string())? == Kept::Loose {
            tracing::debug!("this kernel cannot hold the table: it is watched");
        }
        problem.map_or(Ok(()), Err)
    }

    fn put(&mut self, gathered: &Gathered, standing: Option<&String>) -> Result<(), String> {
        let rules = ruleset(&gathered.facts);
        // The same rules once more: it was not us who changed them.
        let is_taken_away = self.mark.as_ref() == Some(&rules.mark);
        if standing != Some(&rules.mark) || !self.guard.stands() {
            let window = self.consent();
            let ways = ways::ways(window.as_ref());
            self.guard.put(&rules, &ways).map_err(|error| error.to_string())?;
            (self.window, self.knows_ways) = (window, true);
            self.told(is_taken_away, gathered);
        }
        self.mark = Some(rules.mark);
        Ok(())
    }

    /// A window that was shut stays shut, be its network back or not.
    fn consent(&mut self) -> Option<Window> {
        counts(ways::window(&self.windows), self.window.as_ref(), &mut self.shut)
    }

    /// Has the kernel let out what a window allows, and nothing once it is over.
    fn open_or_close(&mut self) -> Result<(), String> {
        let window = self.consent();
        if self.knows_ways && self.window == window {
            return Ok(());
        }
        let ways = ways::ways(window.as_ref());
        self.guard.open(&ways).map_err(|error| error.to_string())?;
        let seconds = ways.left.as_secs();
        match (&window, &self.window) {
            (None, None) => {}
            (None, Some(_)) => tracing::info!("the window for a sign-in page is shut"),
            (Some(_), _) => tracing::warn!(
                seconds,
                "a window for a sign-in page: tacenda may ask the network's resolver"
            ),
        }
        (self.window, self.knows_ways) = (window, true);
        Ok(())
    }

    /// A configuration that cannot be read leaves what stands; at the start, it opens nothing.
    fn gather(&self, wish: &Wish, stands: bool) -> (Option<Gathered>, Option<String>) {
        match of_this_host(wish) {
            Ok(gathered) => (Some(gathered), None),
            Err(failure) => {
                let why = failure.message().to_string();
                let what = if stands {
                    "its exemptions stay as they were"
                } else {
                    "nothing of it is let out"
                };
                let why = why.lines().next().unwrap_or_default();
                let problem = format!("the configuration cannot be used, so that {what}: {why}");
                let strict = (!stands).then(|| without_configuration(wish));
                (strict, Some(problem))
            }
        }
    }

    fn told(&mut self, is_taken_away: bool, gathered: &Gathered) {
        if is_taken_away {
            self.report.repaired += 1;
            tracing::warn!("somebody changed the leak guard: it is in force again");
            return;
        }
        tracing::info!(mode = gathered.facts.mode.as_str(), "the leak guard is on");
        for note in &gathered.notes {
            tracing::info!("{note}");
        }
    }
}

/// The window that counts, where `last` was open until now, and `shut` was shut before: that one does not open again, be it for more names.
fn counts(window: Option<Window>, last: Option<&Window>, shut: &mut Option<Window>) -> Option<Window> {
    let is_of = |window: &Window, other: &Window| window == other || window.extends(other);
    let window = window.filter(|window| !shut.as_ref().is_some_and(|shut| is_of(window, shut)));
    if let Some(last) = last
        && !window.as_ref().is_some_and(|window| is_of(window, last))
    {
        *shut = Some(last.clone());
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::guard::window::Link;

    #[test]
    fn a_window_that_was_shut_stays_so_and_one_that_is_open_goes_on_with_more_names() {
        let link = Link {
            interface: "h0".into(),
            index: 7,
            addresses: vec!["192.168.77.50".parse().unwrap()],
        };
        let server = "192.168.77.1:53".parse().unwrap();
        let now = Moment::now().unwrap();
        let window = |name: &str, seconds| {
            let time = Duration::from_secs(seconds);
            Window::new(link.clone(), vec![server], vec![name.to_owned()], &now, time)
        };
        let (one, other) = (window("login.example", 60), window("other.example", 90));
        let more = one.with("cdn.example".into());
        let mut shut = None;
        assert_eq!(counts(Some(one.clone()), None, &mut shut), Some(one.clone()));
        assert_eq!(
            counts(Some(more.clone()), Some(&one), &mut shut),
            Some(more.clone()),
            "it goes on"
        );
        assert_eq!(shut, None);
        assert_eq!(
            counts(None, Some(&more), &mut shut),
            None,
            "taken back, or its network has gone"
        );
        for again in [&more, &more.with("late.example".into())] {
            assert_eq!(
                counts(Some(again.clone()), None, &mut shut),
                None,
                "a late yes, or the network is back"
            );
        }
        assert_eq!(
            counts(Some(other.clone()), None, &mut shut),
            Some(other.clone()),
            "another consent"
        );
        assert_eq!(
            counts(Some(one.clone()), Some(&other), &mut shut),
            Some(one),
            "by root's hand"
        );
        assert_eq!(shut, Some(other));
    }
}
