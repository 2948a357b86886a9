//! Figures for the tests of this room.

use std::collections::BTreeMap;
use std::time::Duration;

use super::snapshot::{
    CacheFigures, ClearPackets, ConfigFigures, GuardFigures, Handshakes, Latency, LatencyFigures, ListFigures,
    Outcomes, PUBLIC, PortalFigures, ProcessFigures, Queries, Snapshot, SystemFigures, UpstreamFigures, UpstreamState,
    hit_ratio, zeroed_responses,
};
use crate::stats::Histogram;

/// Figures before the first query.
pub(super) fn fresh() -> Snapshot {
    let latency = Latency(Histogram::default().snapshot());
    Snapshot {
        version: "0.0.0",
        time: 0,
        uptime_seconds: 0,
        panics: 0,
        network_changes: 0,
        clock: "ok",
        queries: Queries::default(),
        responses: zeroed_responses(),
        latency: LatencyFigures {
            cached: latency,
            upstream: latency,
        },
        cache: CacheFigures::default(),
        clear_packets: ClearPackets::default(),
        upstreams: vec![upstream("quad9", UpstreamState::Unknown)],
        lists: Vec::new(),
        process: None,
        config: ConfigFigures::default(),
        system: None,
        guard: None,
        portal: PortalFigures::default(),
    }
}

/// Figures in full, and an upstream with a name of malice.
pub(super) fn snapshot() -> Snapshot {
    let cached = Histogram::default();
    for us in [100, 200, 60_000_000] {
        cached.observe(Duration::from_micros(us));
    }
    let quad9 = UpstreamFigures {
        rtt_ms: Some(12.5),
        queries: 9,
        failures: 2,
        handshakes: Handshakes { full: 4, resumed: 5 },
        reconnects: 3,
        hedged: 6,
        doubted: 2,
        last_error: Some("tls handshake with 9.9.9.9:443: timed out".into()),
        ..upstream("quad9", UpstreamState::Up)
    };
    let mut responses = zeroed_responses();
    responses.extend(BTreeMap::from([("NOERROR".to_owned(), 30), ("RCODE99".to_owned(), 1)]));
    let fresh = fresh();
    Snapshot {
        uptime_seconds: 42,
        panics: 1,
        network_changes: 4,
        clock: "before-release",
        clear_packets: ClearPackets { route: 11, portal: 5 },
        queries: Queries::new(Outcomes::new(1, 2, 3, 4), Outcomes::new(5, 6, 7, 8), 2),
        responses,
        latency: LatencyFigures {
            cached: Latency(cached.snapshot()),
            ..fresh.latency
        },
        cache: CacheFigures {
            hits: 3,
            misses: 1,
            max_bytes: 64 << 20,
            hit_ratio: hit_ratio(3, 1),
            ..fresh.cache
        },
        upstreams: vec![quad9, upstream("bad\"} 1\ninjected 1 \\", UpstreamState::Down)],
        lists: vec![ListFigures {
            name: "/etc/tacenda/ads \"1\".txt".to_owned(),
            blocked: 12,
        }],
        process: Some(PROCESS),
        config: ConfigFigures {
            reloads: 3,
            failed_reloads: 1,
            problem: Some("t.toml:3:1: unknown key `cahce`".into()),
            since: 1_700_000_000,
        },
        system: Some(SystemFigures {
            by: Some("systemd-resolved".into()),
            here: true,
            stands: true,
            ..SystemFigures::default()
        }),
        guard: Some(GuardFigures {
            mode: Some("reject"),
            rejected: 7,
            repaired: 2,
            ..GuardFigures::default()
        }),
        portal: PortalFigures {
            state: "portal",
            ..fresh.portal
        },
        version: fresh.version,
        time: fresh.time,
    }
}

const PROCESS: ProcessFigures = ProcessFigures {
    cpu_seconds: 1.25,
    resident_bytes: 11 << 20,
    virtual_bytes: 1 << 30,
    threads: 5,
    since: 1_700_000_001,
};

fn upstream(name: &str, state: UpstreamState) -> UpstreamFigures {
    UpstreamFigures {
        name: name.to_owned(),
        transport: "doh",
        road: PUBLIC,
        state,
        rtt_ms: None,
        latency: Latency(Histogram::default().snapshot()),
        queries: 0,
        failures: 0,
        handshakes: Handshakes::default(),
        reconnects: 0,
        hedged: 0,
        doubted: 0,
        clear_packets: 0,
        last_error: None,
    }
}
