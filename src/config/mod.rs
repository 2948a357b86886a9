//! The configuration: what was written, checked once and whole. Never imported by a room: `app` hands each its settings.
//!
//! Layers, later ones winning: defaults, the main file, drop-ins beside it by name, flags. A table is overridden key by
//! key; a list (`listen`, `allow`, `[[upstream]]`, `addresses`) is replaced whole. Every value remembers its layer.

mod check;
mod draft;
mod file;
mod guard;
mod load;
mod policy;
pub mod problem;
pub mod records;
mod route;
mod show;
pub mod units;
mod values;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::serve::Network;
use crate::upstream::connect::Exit;
use crate::upstream::endpoint::{Endpoint, Host};
use crate::upstream::route_endpoint::RouteEndpoint;

pub use crate::os::guard::ruleset::{Exempt, Mode as GuardMode, Protocol};
pub use crate::policy::blocking::BlockAnswer;
pub use crate::transport::tls::{Pin, Roots};
pub use load::{DEFAULT_PATH, Flags, Loaded, UpstreamFlag, folders, load, upstream_from_flags};
use problem::Problem;

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients ask.
    pub listen: Listen,
    /// Who may ask. Empty means this host only; then every listen address is loopback.
    pub allow: Vec<Network>,
    /// Queries a second that one client network may ask over UDP; `None` for as many as it likes.
    pub rate_limit: Option<NonZeroU32>,
    /// Which upstream sees which name.
    pub strategy: Strategy,
    /// At least one; their names differ.
    pub upstreams: Vec<UpstreamConfig>,
    /// Names, with all below them, that are asked without a look at the dates of certificates while a wrong clock has those refused.
    pub time_servers: Vec<String>,
    /// Names that go to resolvers of their own, and nowhere else.
    pub routes: Vec<RouteConfig>,
    /// What is decided here, before and after an upstream is asked.
    pub policy: PolicyConfig,
    /// Bounds of the cache.
    pub cache: CacheConfig,
    /// The packet rules that keep questions in clear text on this host.
    pub guard: GuardConfig,
    /// Where the stats endpoint listens: a loopback address, or nowhere.
    pub stats: Option<SocketAddr>,
}

/// Listen addresses and who chose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// At least one, none twice.
    pub addresses: Vec<SocketAddr>,
    /// A default address that the host lacks is skipped with a line, a configured one is an error.
    pub chosen_by: ChosenBy,
}

/// Who chose a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The built-in defaults, or a file that writes out the same.
    Default,
    /// A file or a flag.
    User,
}

/// How questions are spread over the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The first sees all names; the next is asked only when it fails.
    InOrder,
    /// The fastest is asked; all of them see names.
    Fastest,
    /// The names of one registrable domain go to one upstream: none sees all.
    Spread,
}

/// A resolver to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// For logs, metrics and `status`: as given, else the host, else the URL.
    pub name: String,
    /// Transport, host, port and path.
    pub endpoint: Endpoint,
    /// Where to connect; none if `addresses_from` is [`AddressesFrom::Nobody`].
    pub addresses: Vec<IpAddr>,
    /// Who says so.
    pub addresses_from: AddressesFrom,
    /// Whom the certificate must name: as given, else the endpoint's host.
    pub server_name: Host,
    /// Which authorities may have signed it.
    pub roots: Roots,
    /// Its keys, besides: none, or at least two.
    pub pins: Vec<Pin>,
}

/// Who says where an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressesFrom {
    /// The user, by `addresses` or an address in the URL: these and no others.
    User,
    /// Our table of well-known resolvers.
    Table,
    /// Nobody yet: they are asked of a resolver that is reached by address.
    Nobody,
}

/// Split DNS: names that go to resolvers of their own, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// At least one; no other route has it.
    pub zones: Vec<String>,
    /// At least one; asked in this order. The only place where classic DNS may stand.
    pub upstreams: Vec<RouteEndpoint>,
    /// By which way packets may leave for them.
    pub exit: Exit,
    /// Which authorities may have signed the certificates of encrypted ones.
    pub roots: Roots,
}

/// What is decided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Whether names that belong to this host or its network are answered here.
    pub local_names: bool,
    /// Those that are not: zones of the table, or sorts of names ([`crate::policy::local::SORTS`]).
    pub let_out: Vec<String>,
    /// Whether private addresses of public names are withheld.
    pub rebind_protection: bool,
    /// Domains that may have them.
    pub rebind_allow: Vec<String>,
    /// Files and folders with names to block, and with names that are not blocked whatever those say.
    pub block: Vec<PathBuf>,
    /// See `block`.
    pub allow: Vec<PathBuf>,
    /// What is answered for a name that is blocked.
    pub block_answer: BlockAnswer,
    /// Hosts files, and folders of them, whose names are answered here.
    pub hosts: Vec<PathBuf>,
    /// Records that are answered here.
    pub records: Vec<RecordsFrom>,
}

/// Where records of the user's stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordsFrom {
    /// Here: one record, as in a zone file.
    Line(String),
    /// In a file with one a line, or a folder of such files.
    Path(PathBuf),
}

/// The leak guard, which `tacenda guard` puts in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// What is done with a question to somebody else's server.
    pub mode: GuardMode,
    /// Servers at ports for questions that everybody may reach.
    pub exempt: Vec<Exempt>,
    /// Whether multicast DNS is let out.
    pub multicast_dns: bool,
}

/// Bounds of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Memory, in octets.
    pub max_bytes: u64,
    /// A smaller TTL counts as this. Whole seconds.
    pub min_ttl: Duration,
    /// A larger TTL counts as this. Whole seconds.
    pub max_ttl: Duration,
    /// The same for NXDOMAIN and NODATA. Whole seconds.
    pub max_negative_ttl: Duration,
    /// How long an answer may be given past its end when no newer one can be had; zero for never.
    pub serve_stale: Duration,
    /// Whether an answer that is asked for until its end is renewed before it.
    pub prefetch: bool,
}

impl Config {
    /// The files and folders that it names: lists, hosts files, records, roots.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let policy = &self.policy;
        let lists = policy.block.iter().chain(&policy.allow).chain(&policy.hosts);
        let records = policy.records.iter().filter_map(|from| match from {
            RecordsFrom::Path(path) => Some(path),
            RecordsFrom::Line(_) => None,
        });
        let roots = self.roots().filter_map(|roots| match roots {
            Roots::File(path) => Some(path),
            _ => None,
        });
        lists.chain(records).chain(roots).map(PathBuf::as_path)
    }

    /// Who may have signed a certificate, by upstream and by route.
    pub fn roots(&self) -> impl Iterator<Item = &Roots> {
        let upstreams = self.upstreams.iter().map(|upstream| &upstream.roots);
        upstreams.chain(self.routes.iter().map(|route| &route.roots))
    }
}

impl Default for Config {
    /// DoH to Quad9, then Mullvad, then Cloudflare, by address; on `127.0.0.1:53` and `[::1]:53`.
    fn default() -> Self {
        draft::Draft::default().to_config()
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InOrder => f.write_str("in-order"),
            Self::Fastest => f.write_str("fastest"),
            Self::Spread => f.write_str("spread"),
        }
    }
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// What it says is wrong: everything that could be found at once, in the order of the layers.
    Invalid(Vec<Problem>),
    /// A file cannot be read.
    Unreadable {
        /// Which, and why.
        problem: Problem,
        /// The kind of failure, for the exit code.
        kind: std::io::ErrorKind,
    },
}

/// Every problem, an empty line between two.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { problem, .. } => write!(f, "{problem}"),
            Self::Invalid(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if index == 0 { "" } else { "\n\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The commented default configuration, `config/tacenda.toml`. A test holds it equal to [`Config::default`].
pub const DEFAULT_FILE: &str = include_str!("../../config/tacenda.toml");

#[cfg(test)]
mod tests;
