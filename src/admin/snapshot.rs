//! All figures at one moment. The shape of `/stats`, and the only thing the metrics know. Field names are an interface:
//! they are added to, never changed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::stats::{BUCKET_BOUNDS, HistogramSnapshot};

/// Everything the stats endpoint says.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Snapshot {
    /// tacenda's version.
    pub version: &'static str,
    /// What the host's clock shows, in seconds since 1970.
    pub time: u64,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Tasks that ended in a panic: always a bug of ours.
    pub panics: u64,
    /// How often the network changed or the machine slept.
    pub network_changes: u64,
    /// `ok`, or `before-release`: the host's clock is wrong, and certificates are judged by the day of the release.
    pub clock: &'static str,
    /// Questions that came in.
    pub queries: Queries,
    /// Answers that went out, by RCODE; from [`zeroed_responses`].
    pub responses: BTreeMap<String, u64>,
    /// How long answers took.
    pub latency: LatencyFigures,
    /// The cache.
    pub cache: CacheFigures,
    /// Questions that left in clear text since the start: all there were.
    pub clear_packets: ClearPackets,
    /// The resolvers we ask, in the configured order.
    pub upstreams: Vec<UpstreamFigures>,
    /// The lists of names that are blocked or allowed; none until they are read.
    pub lists: Vec<ListFigures>,
    /// What the process takes of the machine; none where that is not known.
    pub process: Option<ProcessFigures>,
    /// The configuration.
    pub config: ConfigFigures,
    /// Whom this host's programs ask; none if nobody keeps it as it was set.
    pub system: Option<SystemFigures>,
    /// The leak guard; none if nobody keeps it.
    pub guard: Option<GuardFigures>,
    /// Sign-in pages (captive portals).
    pub portal: PortalFigures,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ListFigures {
    /// Its file.
    pub name: String,
    /// Questions that a rule of it had refused, since it was named in the configuration.
    pub blocked: u64,
}

/// What the process takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct ProcessFigures {
    /// Time of processors, in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM, in octets.
    pub resident_bytes: u64,
    /// Addresses that it has, in octets.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// When it began, in seconds since 1970.
    pub since: u64,
}

/// Whom this host's programs ask, as who keeps it so says.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SystemFigures {
    /// By whom they are led to tacenda; none if nobody was told.
    pub by: Option<String>,
    /// The address at which programs ask then.
    pub listen: Option<String>,
    /// Whether that is this tacenda.
    pub here: bool,
    /// Whether nobody was told, and yet the settings name this host.
    pub by_hand: bool,
    /// Whether it is as it was set.
    pub stands: bool,
    /// Whether a program that rewrote it again and again is kept from it.
    pub shielded: bool,
    /// What keeps it from being as it was set.
    pub problem: Option<String>,
}

/// The packet rules that keep questions in clear text on this host, as their keeper says.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct GuardFigures {
    /// `redirect` or `reject`; none while it is off.
    pub mode: Option<&'static str>,
    /// Whether others cannot take it away.
    pub held: bool,
    /// Whether the rules are in force as they were put, though there may be a problem.
    pub stands: bool,
    /// Datagrams and connections to servers of others that were led here.
    pub redirected: u64,
    /// Packets that were refused.
    pub rejected: u64,
    /// How often it was put in force again after others had changed it.
    pub repaired: u64,
    /// What keeps it from being as it is wanted.
    pub problem: Option<String>,
}

/// What is known of a sign-in page, and of the window that a person opened for it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PortalFigures {
    /// One of [`PORTAL_STATES`].
    pub state: &'static str,
    /// What was found at the last look: `open`, `page` or `silent`; none since an upstream works or the network changed.
    pub probe: Option<&'static str>,
    /// What the page calls itself: a host name or an address. No name that was asked here.
    pub host: Option<String>,
    /// The last window since the start.
    pub window: Option<WindowFigures>,
}

/// A window, without the names that it is for: root has those.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WindowFigures {
    /// When it was to end, in seconds after the machine's start: by this root's list is known to be the same one's.
    pub until: u64,
    /// Where its questions leave.
    pub interface: String,
    /// 0 once it is closed.
    pub seconds_left: u64,
    /// How often each of its names was sent in clear text, in the order of root's list.
    pub sent: Vec<u64>,
    /// Why it was closed: `time`, `taken-back`, `link` or `upstream-works`; none while it is open.
    pub closed: Option<&'static str>,
}

/// Nothing is wrong; no upstream works; and a sign-in page was found; a window is open.
pub const PORTAL_STATES: [&str; 4] = ["ok", "suspect", "portal", "window"];

impl Default for PortalFigures {
    fn default() -> Self {
        Self {
            state: PORTAL_STATES[0],
            probe: None,
            host: None,
            window: None,
        }
    }
}

/// What became of changes of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ConfigFigures {
    /// Those taken since the start.
    pub reloads: u64,
    /// Those refused: what was in force before still is.
    pub failed_reloads: u64,
    /// Why the last one was refused, if none was taken since.
    pub problem: Option<String>,
    /// When the one in force was taken, in seconds since 1970.
    pub since: u64,
}

/// Questions that left in clear text, by what allowed it: datagrams, and queries over TCP, as often as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ClearPackets {
    /// A `[[route]]`, for names of its own zones.
    pub route: u64,
    /// A window for a sign-in page, for its names.
    pub portal: u64,
}

/// Questions that came in, by transport and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Queries {
    /// All.
    pub total: u64,
    /// Over UDP.
    pub udp: Outcomes,
    /// Over TCP.
    pub tcp: Outcomes,
    /// Those of the rejected that were sent to TCP because their client network asked too many over UDP.
    pub limited: u64,
}

/// How questions were answered; the four add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Outcomes {
    /// All four.
    pub total: u64,
    /// From the cache.
    pub hit: u64,
    /// By asking an upstream.
    pub miss: u64,
    /// By policy.
    pub synthesized: u64,
    /// Malformed, not served, not allowed, or more than a client network may ask.
    pub rejected: u64,
}

/// How long answers took, by where they came from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LatencyFigures {
    /// From the cache.
    pub cached: Latency,
    /// From an upstream.
    pub upstream: Latency,
}

/// A histogram. In JSON: count, sum in seconds, and cumulative buckets with their upper bound in seconds, the last one's
/// being null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(pub HistogramSnapshot);

/// The cache's figures.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct CacheFigures {
    /// Look-ups that were answered at once.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Answers in it now, those past their end included that may still be given as stale.
    pub entries: u64,
    /// Octets it holds now.
    pub bytes: u64,
    /// Octets it may hold.
    pub max_bytes: u64,
    /// Answers put in.
    pub insertions: u64,
    /// Answers put out to make room.
    pub evictions: u64,
    /// Answers given past their end. Those given at once are among the hits, those given after a wait among the misses.
    pub stale_hits: u64,
    /// Questions asked to renew an answer before its end. No client's query is counted for them.
    pub prefetches: u64,
    /// Hits of all look-ups, 0 to 1; 0 before the first. From [`hit_ratio`].
    pub hit_ratio: f64,
}

/// A resolver we ask.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct UpstreamFigures {
    /// From the configuration.
    pub name: String,
    /// `dot` or `doh`; `udp` or `tcp` for a route's in clear text.
    pub transport: &'static str,
    /// `public`, or `route` for one that is asked for a route's zones alone.
    pub road: &'static str,
    /// Whether it works.
    pub state: UpstreamState,
    /// Smoothed time from query to answer; absent before the first.
    pub rtt_ms: Option<f64>,
    /// How long its answers took.
    pub latency: Latency,
    /// Queries sent to it.
    pub queries: u64,
    /// Of those, the ones that brought no usable answer.
    pub failures: u64,
    /// Connections made.
    pub handshakes: Handshakes,
    /// Connections that took the place of an earlier one.
    pub reconnects: u64,
    /// Queries asked on a second connection too, because the first took long or was silent.
    pub hedged: u64,
    /// Connections put in doubt because nothing was read on them for too long.
    pub doubted: u64,
    /// Questions sent to it in clear text; 0 for an encrypted one.
    pub clear_packets: u64,
    /// What went wrong last, without any query name; absent if nothing has.
    pub last_error: Option<String>,
}

/// [`UpstreamFigures::road`] of those that are asked for all names but those of routes.
pub const PUBLIC: &str = "public";

/// TLS handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Handshakes {
    /// With certificate.
    pub full: u64,
    /// By ticket.
    pub resumed: u64,
}

/// Whether an upstream works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamState {
    /// Not asked yet, or no answer came yet that could be used.
    Unknown,
    /// It has given answers, and is not left alone.
    Up,
    /// It is left alone for a while.
    Down,
}

impl Snapshot {
    /// Whether questions can be answered: not every public upstream is down. True before the first question.
    pub fn is_healthy(&self) -> bool {
        self.public_upstreams()
            .any(|upstream| upstream.state != UpstreamState::Down)
    }

    /// Those that are asked for all names but those of routes.
    pub fn public_upstreams(&self) -> impl Iterator<Item = &UpstreamFigures> {
        self.upstreams.iter().filter(|upstream| upstream.road == PUBLIC)
    }
}

impl Queries {
    /// Adds up.
    pub fn new(udp: Outcomes, tcp: Outcomes, limited: u64) -> Self {
        Self {
            total: udp.total + tcp.total,
            udp,
            tcp,
            limited,
        }
    }
}

impl Outcomes {
    /// Adds up.
    pub fn new(hit: u64, miss: u64, synthesized: u64, rejected: u64) -> Self {
        Self {
            total: hit + miss + synthesized + rejected,
            hit,
            miss,
            synthesized,
            rejected,
        }
    }
}

impl Latency {
    /// Upper bound in seconds and observations up to it, the last bound being infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BUCKET_BOUNDS
            .iter()
            .map(|us| Duration::from_micros(*us).as_secs_f64())
            .chain([f64::INFINITY]);
        bounds.zip(self.0.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// Sum of all observations.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.0.sum_us).as_secs_f64()
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Shape {
            count: u64,
            sum_seconds: f64,
            buckets: Buckets,
        }
        let (count, sum_seconds) = (self.0.count(), self.sum_seconds());
        Shape {
            count,
            sum_seconds,
            buckets: Buckets(*self),
        }
        .serialize(serializer)
    }
}

struct Buckets(Latency);

impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Bucket {
            le: Option<f64>,
            count: u64,
        }
        let mut list = serializer.serialize_seq(None)?;
        for (bound, count) in self.0.cumulative() {
            list.serialize_element(&Bucket {
                le: bound.is_finite().then_some(bound),
                count,
            })?;
        }
        list.end()
    }
}

/// Hits of all look-ups, 0 before the first.
pub fn hit_ratio(hits: u64, misses: u64) -> f64 {
    let lookups = hits.saturating_add(misses);
    if lookups == 0 {
        0.0
    } else {
        hits as f64 / lookups as f64
    }
}

/// Every RCODE we can send, each with 0, so that every label is there from the start.
pub fn zeroed_responses() -> BTreeMap<String, u64> {
    RCODES.iter().map(|name| ((*name).to_owned(), 0)).collect()
}

/// RCODEs of a resolver's answers. Rarer ones join when they are first seen.
const RCODES: &[&str] = &[
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "BADVERS",
];
