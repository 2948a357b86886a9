//! One snapshot of every room's figures, for the stats endpoint and the demo.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::snapshot::{
    CacheFigures, Handshakes, Latency, LatencyFigures, Outcomes, Queries, Snapshot, UpstreamFigures, UpstreamState,
    hit_ratio, zeroed_responses,
};
use crate::os::socket::Transport;
use crate::resolve::{Outcome, Resolver};
use crate::serve;
use crate::shutdown::Shutdown;
use crate::stats::Counter;
use crate::transport::tls::is_before_release;
use crate::upstream::Upstream;
use crate::wire::header::Rcode;

/// Where the figures are.
#[derive(Debug)]
pub(super) struct Figures {
    resolver: Arc<Resolver>,
    serve: Arc<serve::Stats>,
    shutdown: Shutdown,
    network_changes: Counter,
    start: Instant,
}

impl Figures {
    pub(super) fn new(resolver: Arc<Resolver>, serve: Arc<serve::Stats>, shutdown: Shutdown) -> Self {
        Self {
            resolver,
            serve,
            shutdown,
            network_changes: Counter::default(),
            start: Instant::now(),
        }
    }

    pub(super) fn network_changed(&self) {
        self.network_changes.increment();
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (udp, tcp) = (self.outcomes(Transport::Udp), self.outcomes(Transport::Tcp));
        let queries = Queries::new(udp, tcp, self.serve.limited.value());
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.start.elapsed().as_secs(),
            panics: self.shutdown.panics() + self.serve.panics.value() + self.resolver.panics(),
            network_changes: self.network_changes.value(),
            clock: if is_before_release() { "before-release" } else { "ok" },
            responses: self.responses(),
            latency: LatencyFigures {
                cached: Latency(self.serve.cached_latency.snapshot()),
                upstream: Latency(self.serve.upstream_latency.snapshot()),
            },
            cache: self.cache(&queries),
            queries,
            upstreams: self.resolver.upstreams().map(|one| upstream(one)).collect(),
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

    fn cache(&self, queries: &Queries) -> CacheFigures {
        let cache = self.resolver.cache();
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
}

fn upstream(upstream: &Upstream) -> UpstreamFigures {
    let (stats, road) = (upstream.stats(), upstream.road());
    let queries = stats.queries.value();
    let rtt = Duration::from_micros(stats.smoothed_rtt_us.value());
    UpstreamFigures {
        name: upstream.name().to_owned(),
        transport: upstream.transport(),
        state: match (queries, upstream.is_up()) {
            (0, _) => UpstreamState::Unknown,
            (_, true) => UpstreamState::Up,
            (_, false) => UpstreamState::Down,
        },
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
        last_error: stats.last_error(),
    }
}
