//! One snapshot of every room's figures, for the stats endpoint and the demo.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::portal::PortalWatch;
use crate::admin::snapshot::{
    CacheFigures, ClearPackets, ConfigFigures, GuardFigures, Handshakes, Latency, LatencyFigures, ListFigures,
    Outcomes, PUBLIC, ProcessFigures, Queries, Snapshot, SystemFigures, UpstreamFigures, UpstreamState, hit_ratio,
    zeroed_responses,
};
use crate::cache::Cache;
use crate::os::clock;
use crate::os::guard::report::Report;
use crate::os::guard::ruleset::Mode;
use crate::os::report::system;
use crate::os::socket::Transport;
use crate::os::usage::{Meter, Usage};
use crate::resolve::{Outcome, Resolver};
use crate::serve;
use crate::shutdown::Shutdown;
use crate::stats::{Counter, Gauge};
use crate::transport::tls::is_before_release;
use crate::upstream::Upstream;
use crate::upstream::route_endpoint::DNS_PORT;
use crate::wire::header::Rcode;

/// Where the figures are.
#[derive(Debug)]
pub(super) struct Figures {
    resolver: watch::Receiver<Arc<Resolver>>,
    /// Panics of resolvers that others have taken the place of.
    past_panics: Counter,
    clear_packets: Arc<Counter>,
    portal: Arc<PortalWatch>,
    reloads: Reloads,
    /// Where it really listens.
    listens: Vec<SocketAddr>,
    serve: Arc<serve::Stats>,
    shutdown: Shutdown,
    network_changes: Counter,
    start: Instant,
    usage: Option<Meter>,
}

/// What became of new configurations.
#[derive(Debug, Default)]
struct Reloads {
    done: Counter,
    failed: Counter,
    /// Why the last one was refused; `None` once another one was taken.
    problem: Mutex<Option<String>>,
    /// When the configuration in force was taken, in seconds since 1970.
    since: Gauge,
}

impl Reloads {
    /// The first configuration is in force.
    fn beginning() -> Self {
        let reloads = Self::default();
        reloads.since.set(clock::seconds_since_1970());
        reloads
    }
}

impl Figures {
    pub(super) fn new(
        resolver: watch::Receiver<Arc<Resolver>>,
        clear_packets: Arc<Counter>,
        portal: Arc<PortalWatch>,
        listens: Vec<SocketAddr>,
        serve: Arc<serve::Stats>,
        shutdown: Shutdown,
        usage: Option<Meter>,
    ) -> Self {
        Self {
            resolver,
            past_panics: Counter::default(),
            clear_packets,
            portal,
            listens,
            reloads: Reloads::beginning(),
            serve,
            shutdown,
            network_changes: Counter::default(),
            start: Instant::now(),
            usage,
        }
    }

    pub(super) fn network_changed(&self) {
        self.network_changes.increment();
    }

    /// A new configuration is in force; `old` is done.
    pub(super) fn reloaded(&self, old: &Resolver) {
        self.past_panics.add(old.panics());
        self.reloads.done.increment();
        self.reloads.since.set(clock::seconds_since_1970());
        *self.problem() = None;
    }

    /// A new configuration was refused.
    pub(super) fn reload_failed(&self, why: String) {
        self.reloads.failed.increment();
        *self.problem() = Some(why);
    }

    fn problem(&self) -> MutexGuard<'_, Option<String>> {
        self.reloads.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let resolver = Arc::clone(&self.resolver.borrow());
        let (udp, tcp) = (self.outcomes(Transport::Udp), self.outcomes(Transport::Tcp));
        let queries = Queries::new(udp, tcp, self.serve.limited.value());
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            time: clock::seconds_since_1970(),
            uptime_seconds: self.start.elapsed().as_secs(),
            panics: self.shutdown.panics() + self.serve.panics.value() + self.past_panics.value() + resolver.panics(),
            network_changes: self.network_changes.value(),
            clock: if is_before_release() { "before-release" } else { "ok" },
            responses: self.responses(),
            latency: LatencyFigures {
                cached: Latency(self.serve.cached_latency.snapshot()),
                upstream: Latency(self.serve.upstream_latency.snapshot()),
            },
            cache: cache(resolver.cache(), &queries),
            queries,
            // What sends in clear text is a route's or a window's: there is no other leave for it.
            clear_packets: ClearPackets {
                route: self.clear_packets.value(),
                portal: self.portal.clear_packets(),
            },
            upstreams: upstreams(&resolver),
            lists: lists(&resolver),
            process: self.usage.as_ref().and_then(Meter::read).map(process),
            config: ConfigFigures {
                reloads: self.reloads.done.value(),
                failed_reloads: self.reloads.failed.value(),
                problem: self.problem().clone(),
                since: self.reloads.since.value(),
            },
            system: system(&self.listens),
            guard: guard(),
            portal: self.portal.figures(),
        }
    }

    fn outcomes(&self, transport: Transport) -> Outcomes {
        let count = |outcome| self.serve.queries(transport, outcome);
        Outcomes::new(
            count(Outcome::Hit),
            count(Outcome::Miss),
            count(Outcome::Synthesized),
            count(Outcome::Rejected),
        )
    }

    fn responses(&self) -> std::collections::BTreeMap<String, u64> {
        let mut responses = zeroed_responses();
        let named = (0..)
            .take(serve::NAMED_RCODES)
            .map(|code| (Rcode(code).to_string(), Some(Rcode(code))));
        for (name, rcode) in named.chain([("OTHER".to_owned(), None)]) {
            let count = self.serve.responses(rcode);
            if count > 0 {
                responses.insert(name, count);
            }
        }
        responses
    }
}

/// What its keeper wrote; a file that cannot be read is nobody's.
fn system(listens: &[SocketAddr]) -> Option<SystemFigures> {
    let report = system::Report::read().ok()??;
    Some(SystemFigures {
        here: report.listen.is_some_and(|listen| is_served(listens, listen)),
        by: report.by,
        listen: report.listen.map(|listen| listen.to_string()),
        by_hand: report.is_by_hand,
        stands: report.stands,
        shielded: report.is_shielded,
        problem: report.problem,
    })
}

/// Whether programs that ask at this address, on DNS' port as they do, find one of these sockets.
fn is_served(listens: &[SocketAddr], listen: IpAddr) -> bool {
    listens.iter().any(|socket| {
        let is_all = socket.ip().is_unspecified() && socket.is_ipv4() == listen.is_ipv4();
        socket.port() == DNS_PORT && (socket.ip() == listen || is_all)
    })
}

/// The same of the packet rules.
fn guard() -> Option<GuardFigures> {
    let report = Report::read().ok()??;
    Some(GuardFigures {
        mode: report.mode.map(Mode::as_str),
        held: report.is_held,
        stands: report.stands,
        redirected: report.redirected,
        rejected: report.rejected,
        repaired: report.repaired,
        problem: report.problem,
    })
}

fn cache(cache: &Cache, queries: &Queries) -> CacheFigures {
    cache.maintain();
    let (hits, misses) = (queries.udp.hit + queries.tcp.hit, queries.udp.miss + queries.tcp.miss);
    CacheFigures {
        hits,
        misses,
        entries: cache.entry_count(),
        bytes: cache.bytes(),
        max_bytes: cache.settings().max_bytes,
        insertions: cache.stats().insertions.value(),
        evictions: cache.stats().evictions.value(),
        stale_hits: cache.stats().stale_hits.value(),
        prefetches: cache.stats().prefetches.value(),
        hit_ratio: hit_ratio(hits, misses),
    }
}

fn lists(resolver: &Resolver) -> Vec<ListFigures> {
    let lists = resolver.policy().lists().into_iter();
    lists
        .map(|list| ListFigures {
            name: list.name,
            blocked: list.blocked.value(),
        })
        .collect()
}

fn process(usage: Usage) -> ProcessFigures {
    ProcessFigures {
        cpu_seconds: usage.cpu_seconds,
        resident_bytes: usage.resident_bytes,
        virtual_bytes: usage.virtual_bytes,
        threads: usage.threads,
        since: usage.since,
    }
}

fn upstreams(resolver: &Resolver) -> Vec<UpstreamFigures> {
    let public = resolver.public().pool().upstreams().len();
    let all = resolver.upstreams().enumerate();
    all.map(|(number, one)| upstream(one, if number < public { PUBLIC } else { "route" }))
        .collect()
}

fn upstream(upstream: &Upstream, of: &'static str) -> UpstreamFigures {
    let (stats, road) = (upstream.stats(), upstream.road());
    let queries = stats.queries.value();
    let latency = stats.duration.snapshot();
    let rtt = Duration::from_micros(stats.smoothed_rtt_us.value());
    UpstreamFigures {
        name: upstream.name().to_owned(),
        transport: upstream.transport(),
        road: of,
        state: if queries > 0 && !upstream.is_up() {
            UpstreamState::Down
        } else if queries > stats.failures.value() && latency.count() > 0 {
            UpstreamState::Up
        } else {
            UpstreamState::Unknown
        },
        latency: Latency(latency),
        rtt_ms: (!rtt.is_zero()).then_some(rtt.as_secs_f64() * 1e3),
        queries,
        failures: stats.failures.value(),
        handshakes: Handshakes {
            full: road.handshakes_full.value(),
            resumed: road.handshakes_resumed.value(),
        },
        reconnects: road.reconnects.value(),
        hedged: road.hedged.value(),
        doubted: road.doubted.value(),
        clear_packets: road.clear_packets.value(),
        last_error: stats.last_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_it_on_port_53_of_the_address_that_they_were_told() {
        let served = |listens: &[&str], asked: &str| {
            let listens: Vec<_> = listens.iter().map(|listen| listen.parse().unwrap()).collect();
            is_served(&listens, asked.parse().unwrap())
        };
        assert!(served(&["127.0.0.1:5300", "127.0.0.1:53"], "127.0.0.1"));
        assert!(served(&["0.0.0.0:53"], "127.0.0.1") && served(&["[::]:53"], "::1"));
        assert!(!served(&["127.0.0.1:5300"], "127.0.0.1"));
        assert!(!served(&["127.0.0.1:53"], "127.0.0.2") && !served(&["0.0.0.0:53"], "::1"));
    }
}
