//! One case's own resolver, relays, stub and client, and how its numbers are taken.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::control::reach;
use crate::daemon::free_port;
use crate::load::{Asked, Load, Mix, PROMISE};
use crate::pki::Authority;
use crate::relay::{Fault, Relay};
use crate::server::Server;
use crate::subject::{Behind, Kind, Setup, Subject};

/// From the end of a fault to the first good answer.
pub(crate) const TARGET: Duration = Duration::from_secs(1);

/// How long a recovery is waited for.
const PATIENCE: Duration = Duration::from_secs(12);

/// What stands between the stub and the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One upstream, one address.
    One,
    /// One upstream with 127.0.0.1 and 127.0.0.2.
    TwoAddresses,
    /// One upstream with `::1` and 127.0.0.1.
    BothFamilies,
    /// Two upstreams, the second asked when the first fails.
    TwoUpstreams,
    /// One upstream at the address that only fault 22's namespaces have.
    Routed,
}

/// Everything that a case can touch.
pub(crate) struct Rig {
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    pub(crate) relays: Vec<Relay>,
    pub(crate) subject: Subject,
    pub(crate) load: Load,
    pub(crate) doh: bool,
    /// Which relay the control goes through.
    pub(crate) control_by: usize,
    pub(crate) book: Book,
    pub(crate) folder: TempDir,
}

/// What a case writes down beside the client's own book.
#[derive(Default)]
pub(crate) struct Book {
    /// The end of the fault.
    marked: Option<(Instant, JoinHandle<Duration>)>,
    pub(crate) excuse: Option<Excuse>,
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Vec<String>,
}

/// Queries that a stub which is not running cannot answer in time.
#[derive(Clone, Copy)]
pub(crate) enum Excuse {
    /// Killed at this moment: what was under way and what came before the first answer afterwards is not counted.
    Killed(Instant),
    /// Stopped and continued: for what was sent before, the five seconds begin when it continues.
    Stopped(Instant),
    /// The same, for so long that the kernel had to drop queries: only what was sent afterwards is counted.
    StoppedForLong(Instant),
}

/// The numbers of one case over one transport.
pub(crate) struct Outcome {
    pub(crate) recovery: Option<Duration>,
    pub(crate) control: Duration,
    pub(crate) asked: usize,
    pub(crate) unanswered: usize,
    pub(crate) failed: usize,
    /// Failures more than [`TARGET`] after the recovery.
    pub(crate) relapses: usize,
    pub(crate) worst: Duration,
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        let limit = crate::cases::seconds("LIMIT_SECONDS", TARGET.as_secs());
        self.recovery.is_some_and(|time| time <= limit) && self.unanswered == 0 && self.problems.is_empty()
    }
}

/// How bad an outcome is, of several of one measurement: not measured, misses the target, the seconds.
pub(crate) fn rank(outcome: &Result<Outcome, String>) -> (bool, bool, Duration) {
    match outcome {
        Err(_) => (true, true, Duration::MAX),
        Ok(outcome) => (false, !outcome.is_good(), outcome.recovery.unwrap_or(Duration::MAX)),
    }
}

impl Rig {
    /// Starts everything and waits until the stub answers.
    pub(crate) async fn build(
        kind: Kind,
        doh: bool,
        layout: Layout,
        prepare: impl FnOnce(&mut Setup),
        mix: Mix,
    ) -> Result<Self, String> {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("ca.pem");
        fs::write(&roots, &authority.pem).unwrap();
        let server = Server::start(authority.good(), false).await;
        let (behind, relays) = lay(layout, server.port(doh))
            .await
            .map_err(|error| format!("a relay's port: {error}"))?;
        let mut setup = Setup::new(kind, doh, &roots);
        setup.behind = behind;
        prepare(&mut setup);
        let mut subject = Subject::spawn(setup);
        subject.ready().await?;
        let load = Load::start(subject.setup.listen, mix).await;
        Ok(Self {
            authority,
            server,
            relays,
            subject,
            load,
            doh,
            control_by: 0,
            book: Book::default(),
            folder,
        })
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A fault of the first relay for this long; then the mark.
    pub(crate) async fn hold(&mut self, fault: Fault, length: Duration) {
        self.relays[0].set(fault);
        sleep(length).await;
        self.relays[0].set(Fault::None);
        self.mark();
    }

    /// Resets every connection of the first relay once.
    pub(crate) async fn reset_once(&self) {
        self.relays[0].set(Fault::Reset);
        sleep(Duration::from_millis(50)).await;
        self.relays[0].set(Fault::None);
    }

    /// The fault is over now. The control begins at once.
    pub(crate) fn mark(&mut self) {
        let address = self.relays[self.control_by].address;
        let roots = self.authority.pem.clone().into_bytes();
        let control = tokio::spawn(reach(vec![address], self.doh, roots));
        self.book.marked = Some((Instant::now(), control));
    }

    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.book.problems.push(text.into());
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.book.notes.push(text.into());
    }

    /// Waits for the recovery and reads the book.
    pub(crate) async fn settle(mut self) -> Outcome {
        if self.book.marked.is_none() {
            self.mark();
        }
        let (end, control) = self.book.marked.take().unwrap();
        let mut good = None;
        while good.is_none() && end.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
            good = self.load.first_good(end);
        }
        // A second and a half more, to see a relapse.
        sleep(Duration::from_millis(1500)).await;
        let control = control.await.unwrap_or(PATIENCE);
        if !self.subject.is_running() {
            self.problem(format!("the stub ended: {}", self.subject.log()));
        }
        let asked = self.load.finish().await;
        count(&asked, end, good, control, self.book)
    }
}

fn count(asked: &[Asked], end: Instant, good: Option<Instant>, control: Duration, book: Book) -> Outcome {
    let counted: Vec<&Asked> = asked
        .iter()
        .filter(|asked| is_counted(asked, book.excuse, good))
        .collect();
    let begin = |asked: &Asked| match book.excuse {
        Some(Excuse::Stopped(until)) => asked.sent.max(until),
        _ => asked.sent,
    };
    let in_time = |asked: &&&Asked| asked.answered.is_some_and(|(at, _)| at <= begin(asked) + PROMISE);
    let is_failure = |asked: &&&Asked| asked.answered.is_some_and(|(_, rcode)| rcode != 0);
    let after = good.map_or(end, |good| good) + TARGET;
    Outcome {
        recovery: good.map(|good| good - end),
        control,
        asked: counted.len(),
        unanswered: counted.len() - counted.iter().filter(in_time).count(),
        failed: counted.iter().filter(is_failure).count(),
        relapses: counted
            .iter()
            .filter(is_failure)
            .filter(|asked| asked.sent > after)
            .count(),
        worst: counted
            .iter()
            .filter_map(|asked| asked.latency())
            .max()
            .unwrap_or_default(),
        notes: book.notes,
        problems: book.problems,
    }
}

fn is_counted(asked: &Asked, excuse: Option<Excuse>, good: Option<Instant>) -> bool {
    match excuse {
        None | Some(Excuse::Stopped(_)) => true,
        // The full buffer is read within this time.
        Some(Excuse::StoppedForLong(until)) => asked.sent >= until + Duration::from_millis(200),
        Some(Excuse::Killed(at)) => {
            let answered_before = asked.answered.is_some_and(|(answered, _)| answered < at);
            answered_before || good.is_some_and(|good| asked.sent >= good)
        }
    }
}

/// Relays in front of the resolver, and what the stub is told of them.
async fn lay(layout: Layout, target: SocketAddr) -> std::io::Result<(Vec<Behind>, Vec<Relay>)> {
    let (one, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let port = free_port().port();
    let places: Vec<(IpAddr, u16)> = match layout {
        Layout::One => vec![(one.into(), port)],
        Layout::TwoAddresses => vec![(one.into(), port), (other.into(), port)],
        Layout::BothFamilies => vec![(Ipv6Addr::LOCALHOST.into(), port), (one.into(), port)],
        Layout::Routed => vec![(crate::netns::RESOLVER, port)],
        Layout::TwoUpstreams => vec![(one.into(), port), (one.into(), free_port().port())],
    };
    let mut relays = Vec::new();
    let mut behind: Vec<Behind> = Vec::new();
    for (ip, port) in places {
        relays.push(Relay::start((ip, port).into(), target, None).await?);
        match behind.iter_mut().find(|behind| behind.port == port) {
            Some(known) => known.addresses.push(ip),
            None => behind.push(Behind {
                port,
                addresses: vec![ip],
            }),
        }
    }
    Ok((behind, relays))
}
