//! The snapshot as metrics: the Prometheus text format 0.0.4, and OpenMetrics 1.0.0 for whoever asks for it.
//!
//! Base units, every label set from the start, label values escaped. Names are an interface.

mod process;

use std::fmt::Write;

use super::protection::{self, PARTS, State};
use super::snapshot::{
    ClearPackets, GuardFigures, Latency, Outcomes, PORTAL_STATES, Snapshot, UpstreamFigures, UpstreamState,
};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What a request's `Accept` headers want. OpenMetrics only if it is named and no less welcome than plain text.
    pub fn wanted<'a>(accepts: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accepts.flat_map(|accept| accept.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1.0_f32, "1.0.0");
            for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                match key.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => version = value.trim().trim_matches('"'),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if version == "1.0.0" => open = open.max(weight),
                "text/plain" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes all metrics.
pub fn write(snapshot: &Snapshot, format: Format) -> String {
    let mut out = Exposition {
        text: String::with_capacity(8 * 1024),
        format,
    };
    write_program(&mut out, snapshot);
    write_protection(&mut out, snapshot);
    write_guard(&mut out, snapshot.guard.as_ref());
    write_queries(&mut out, snapshot);
    process::write_lists(&mut out, &snapshot.lists);
    write_cache(&mut out, snapshot);
    write_upstreams(&mut out, &snapshot.upstreams);
    process::write_process(&mut out, snapshot.process);
    if format == Format::OpenMetrics {
        out.text.push_str("# EOF\n");
    }
    out.text
}

fn write_program(out: &mut Exposition, snapshot: &Snapshot) {
    out.info(
        "tacenda_build",
        "The running program.",
        &[("version", snapshot.version)],
    );
    out.family(
        "tacenda_uptime_seconds",
        Kind::Gauge,
        Some("seconds"),
        "Time since the start.",
    );
    out.sample("tacenda_uptime_seconds", &[], snapshot.uptime_seconds);
    out.family(
        "tacenda_panics_total",
        Kind::Counter,
        None,
        "Tasks that ended in a panic.",
    );
    out.sample("tacenda_panics_total", &[], snapshot.panics);
    out.family(
        "tacenda_network_changes_total",
        Kind::Counter,
        None,
        "Changes of links, addresses, routes or rules that were noticed, and sleeps.",
    );
    out.sample("tacenda_network_changes_total", &[], snapshot.network_changes);
    out.family(
        "tacenda_config_reloads_total",
        Kind::Counter,
        None,
        "Changes of the configuration, by what became of them.",
    );
    let config = &snapshot.config;
    for (result, count) in [("done", config.reloads), ("refused", config.failed_reloads)] {
        out.sample("tacenda_config_reloads_total", &[("result", result)], count);
    }
    out.family(
        "tacenda_config_refused",
        Kind::Gauge,
        None,
        "1 while the files say something else than what is in force, because it was refused.",
    );
    out.sample("tacenda_config_refused", &[], u64::from(config.problem.is_some()));
    let name = "tacenda_config_since_timestamp_seconds";
    out.family(
        name,
        Kind::Gauge,
        Some("seconds"),
        "When the configuration in force was taken, since 1970.",
    );
    out.sample(name, &[], config.since);
    let name = "tacenda_clear_packets_total";
    out.family(
        name,
        Kind::Counter,
        None,
        "Questions sent in clear text, by what allowed it.",
    );
    let ClearPackets { route, portal } = snapshot.clear_packets;
    for (cause, count) in [("route", route), ("portal", portal)] {
        out.sample(name, &[("cause", cause)], count);
    }
    let name = "tacenda_portal_state";
    out.family(name, Kind::Gauge, None, "1 for what is known of a sign-in page now.");
    for state in PORTAL_STATES {
        out.sample(name, &[("state", state)], u64::from(state == snapshot.portal.state));
    }
}

fn write_protection(out: &mut Exposition, snapshot: &Snapshot) {
    let name = "tacenda_protection_state";
    let help = "1 for how a part of the promise stands now: good, unknown, gap or bad.";
    out.family(name, Kind::Gauge, None, help);
    let protection = protection::of(snapshot);
    for part in PARTS {
        let current = protection.parts.iter().find(|one| one.name == part);
        let current = current.map_or(State::Good, |one| one.state);
        for state in State::ALL {
            let labels = [("part", part), ("state", state.as_str())];
            out.sample(name, &labels, u64::from(state == current));
        }
    }
}

/// `unknown`, and no counters, while nobody keeps it: one that fell to zero and came back would seem to have grown.
fn write_guard(out: &mut Exposition, guard: Option<&GuardFigures>) {
    let current = guard.map_or("unknown", |guard| guard.mode.unwrap_or("off"));
    let name = "tacenda_guard_state";
    out.family(name, Kind::Gauge, None, "1 for what the leak guard does now.");
    for state in ["redirect", "reject", "off", "unknown"] {
        out.sample(name, &[("state", state)], u64::from(state == current));
    }
    let name = "tacenda_guard_packets_total";
    let help = "Packets to servers of others: led here (of a connection its first), and refused.";
    out.family(name, Kind::Counter, None, help);
    for (verdict, count) in guard
        .into_iter()
        .flat_map(|guard| [("redirected", guard.redirected), ("rejected", guard.rejected)])
    {
        out.sample(name, &[("verdict", verdict)], count);
    }
    let name = "tacenda_guard_repairs_total";
    let help = "Times that the leak guard was put in force again after others had changed it.";
    out.family(name, Kind::Counter, None, help);
    if let Some(guard) = guard {
        out.sample(name, &[], guard.repaired);
    }
    let name = "tacenda_guard_problem";
    let help = "1 while something keeps the leak guard from being as it is wanted.";
    out.family(name, Kind::Gauge, None, help);
    let is_kept_from_it = guard.is_some_and(|guard| guard.problem.is_some());
    out.sample(name, &[], u64::from(is_kept_from_it));
}

fn write_queries(out: &mut Exposition, snapshot: &Snapshot) {
    let name = "tacenda_queries_total";
    out.family(
        name,
        Kind::Counter,
        None,
        "Queries from clients, by transport and by how they were answered.",
    );
    for (transport, outcomes) in [("udp", snapshot.queries.udp), ("tcp", snapshot.queries.tcp)] {
        let Outcomes {
            total: _,
            hit,
            miss,
            synthesized,
            rejected,
        } = outcomes;
        for (outcome, count) in [
            ("hit", hit),
            ("miss", miss),
            ("synthesized", synthesized),
            ("rejected", rejected),
        ] {
            out.sample(name, &[("transport", transport), ("outcome", outcome)], count);
        }
    }
    let name = "tacenda_queries_limited_total";
    let help = "Rejected queries that were sent to TCP because their client network asked too many over UDP.";
    out.family(name, Kind::Counter, None, help);
    out.sample(name, &[], snapshot.queries.limited);
    let name = "tacenda_responses_total";
    out.family(name, Kind::Counter, None, "Responses to clients.");
    for (rcode, count) in &snapshot.responses {
        out.sample(name, &[("rcode", rcode)], *count);
    }
    let name = "tacenda_query_duration_seconds";
    out.family(
        name,
        Kind::Histogram,
        Some("seconds"),
        "Time from query to response, by where the answer came from.",
    );
    out.histogram(name, ("source", "cache"), &snapshot.latency.cached);
    out.histogram(name, ("source", "upstream"), &snapshot.latency.upstream);
}

fn write_cache(out: &mut Exposition, snapshot: &Snapshot) {
    let cache = &snapshot.cache;
    let name = "tacenda_cache_lookups_total";
    out.family(name, Kind::Counter, None, "Look-ups in the cache.");
    for (result, count) in [("hit", cache.hits), ("miss", cache.misses)] {
        out.sample(name, &[("result", result)], count);
    }
    for (name, kind, unit, help, value) in [
        (
            "tacenda_cache_entries",
            Kind::Gauge,
            None,
            "Answers in the cache, those past their end included.",
            cache.entries,
        ),
        (
            "tacenda_cache_bytes",
            Kind::Gauge,
            Some("bytes"),
            "Memory the cache holds.",
            cache.bytes,
        ),
        (
            "tacenda_cache_max_bytes",
            Kind::Gauge,
            Some("bytes"),
            "Memory the cache may hold.",
            cache.max_bytes,
        ),
        (
            "tacenda_cache_insertions_total",
            Kind::Counter,
            None,
            "Answers put into the cache.",
            cache.insertions,
        ),
        (
            "tacenda_cache_evictions_total",
            Kind::Counter,
            None,
            "Answers put out to make room.",
            cache.evictions,
        ),
        (
            "tacenda_cache_stale_hits_total",
            Kind::Counter,
            None,
            "Answers given past their end.",
            cache.stale_hits,
        ),
        (
            "tacenda_cache_prefetches_total",
            Kind::Counter,
            None,
            "Questions asked to renew an answer before its end.",
            cache.prefetches,
        ),
    ] {
        out.family(name, kind, unit, help);
        out.sample(name, &[], value);
    }
}

fn write_upstreams(out: &mut Exposition, upstreams: &[UpstreamFigures]) {
    let name = "tacenda_upstream_queries_total";
    out.family(
        name,
        Kind::Counter,
        None,
        "Queries to upstreams, by whether a usable answer came.",
    );
    for upstream in upstreams {
        let answered = upstream.queries.saturating_sub(upstream.failures);
        for (result, count) in [("answered", answered), ("failed", upstream.failures)] {
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("transport", upstream.transport),
                ("result", result),
            ];
            out.sample(name, &labels, count);
        }
    }
    let name = "tacenda_upstream_up";
    out.family(
        name,
        Kind::Gauge,
        None,
        "1 unless the upstream is left alone after failures.",
    );
    for upstream in upstreams {
        let labels = [("upstream", upstream.name.as_str()), ("road", upstream.road)];
        out.sample(name, &labels, u64::from(upstream.state != UpstreamState::Down));
    }
    let name = "tacenda_upstream_rtt_seconds";
    out.family(
        name,
        Kind::Gauge,
        Some("seconds"),
        "Smoothed time from query to answer; absent before the first answer.",
    );
    for upstream in upstreams {
        if let Some(ms) = upstream.rtt_ms {
            out.sample(name, &[("upstream", &upstream.name)], float(ms / 1000.0));
        }
    }
    let name = "tacenda_upstream_duration_seconds";
    out.family(
        name,
        Kind::Histogram,
        Some("seconds"),
        "Time from query to answer of each upstream, hedges included.",
    );
    for upstream in upstreams {
        out.histogram(name, ("upstream", &upstream.name), &upstream.latency);
    }
    let name = "tacenda_tls_handshakes_total";
    out.family(name, Kind::Counter, None, "TLS handshakes with upstreams.");
    for upstream in upstreams {
        for (kind, count) in [
            ("full", upstream.handshakes.full),
            ("resumed", upstream.handshakes.resumed),
        ] {
            out.sample(name, &[("upstream", &upstream.name), ("kind", kind)], count);
        }
    }
    write_connections(out, upstreams);
}

fn write_connections(out: &mut Exposition, upstreams: &[UpstreamFigures]) {
    let (reconnects, hedged, doubted) = (
        "Connections that took the place of an earlier one.",
        "Queries asked on a second connection too, because the first took long or was silent.",
        "Connections put in doubt because nothing was read on them for too long.",
    );
    for (name, help, value) in [
        (
            "tacenda_upstream_reconnects_total",
            reconnects,
            (|upstream| upstream.reconnects) as Figure,
        ),
        ("tacenda_upstream_hedged_total", hedged, |upstream| upstream.hedged),
        ("tacenda_upstream_doubted_total", doubted, |upstream| upstream.doubted),
    ] {
        out.family(name, Kind::Counter, None, help);
        for upstream in upstreams {
            out.sample(name, &[("upstream", &upstream.name)], value(upstream));
        }
    }
}

type Figure = fn(&UpstreamFigures) -> u64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text in the making.
struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    /// The lines before a family's samples. OpenMetrics names a counter's family without `_total`, and knows units.
    fn family(&mut self, name: &str, kind: Kind, unit: Option<&str>, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let open = self.format == Format::OpenMetrics;
        let family = if open { name.trim_end_matches("_total") } else { name };
        self.text
            .push_str(&format!("# HELP {family} {help}\n# TYPE {family} {word}\n"));
        if let (true, Some(unit)) = (open, unit) {
            self.text.push_str(&format!("# UNIT {family} {unit}\n"));
        }
    }

    /// Facts as labels of a constant 1: type `info` in OpenMetrics, a gauge before.
    fn info(&mut self, family: &str, help: &str, labels: &[(&str, &str)]) {
        let name = format!("{family}_info");
        match self.format {
            Format::Prometheus => self.family(&name, Kind::Gauge, None, help),
            Format::OpenMetrics => self
                .text
                .push_str(&format!("# HELP {family} {help}\n# TYPE {family} info\n")),
        }
        self.sample(&name, labels, 1);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (index, (key, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(&format!("{key}=\"{}\"", escape(value)));
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{value}");
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), latency: &Latency) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in latency.cumulative() {
            let bound = if bound.is_finite() {
                float(bound)
            } else {
                "+Inf".to_owned()
            };
            self.sample(&bucket, &[label, ("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[label], float(latency.sum_seconds()));
        self.sample(&format!("{name}_count"), &[label], latency.0.count());
    }
}

/// With a decimal point always, as OpenMetrics wants `le`; both formats get the same, so that series stay the same.
fn float(value: f64) -> String {
    format!("{value:?}")
}

/// A label value: backslash, quote and line end are escaped in both formats.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
