use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::admin::samples::snapshot;

/// A sample line taken apart.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads a text format as strictly as promtool does and more: families together, HELP before TYPE before samples, counters
/// end in `_total`, no series twice, values are numbers. Gives back all samples.
fn read_strictly(text: &str, format: Format) -> Vec<Sample> {
    let open = format == Format::OpenMetrics;
    let body = if open {
        text.strip_suffix("# EOF\n").expect("OpenMetrics ends with # EOF")
    } else {
        text
    };
    assert!(body.ends_with('\n') && !body.contains("\n\n") && !body.contains("# EOF"));
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut series = BTreeSet::new();
    let (mut family, mut kind, mut helped) = (String::new(), String::new(), String::new());
    let mut samples = Vec::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(name.starts_with("tacenda_") || name.starts_with("process_"), "{name}");
            (family, kind) = (name.to_owned(), word.to_owned());
            assert!(families.insert(family.clone(), kind.clone()).is_none(), "{line} twice");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(open && name == family && name.ends_with(unit), "{line}");
        } else {
            let sample = read_sample(line);
            let suffixes: &[&str] = match (kind.as_str(), open) {
                ("counter", true) => &["_total"],
                ("counter", false) | ("gauge", _) => &[""],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("info", true) => &["_info"],
                other => panic!("{other:?}"),
            };
            let suffix = sample
                .name
                .strip_prefix(&family)
                .unwrap_or_else(|| panic!("{line} is not of {family}"));
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(kind != "counter" || sample.name.ends_with("_total"), "{line}");
            assert!(
                series.insert(format!("{}{:?}", sample.name, sample.labels)),
                "{line} twice"
            );
            assert!(sample.value.is_finite() && sample.value >= 0.0, "{line}");
            samples.push(sample);
        }
    }
    samples
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
}

fn read_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, tail) = rest.split_once("=\"").unwrap();
            assert!(is_name(key), "{line}");
            let mut value = String::new();
            let mut chars = tail.char_indices();
            let end = loop {
                match chars.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        other => panic!("{line}: bad escape {other}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            labels.push((key.to_owned(), value));
            rest = &tail[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "{line}");
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().unwrap(),
    }
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let same = |sample: &&Sample| {
        sample.name == name
            && sample
                .labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .eq(labels.iter().copied())
    };
    samples
        .iter()
        .find(same)
        .unwrap_or_else(|| panic!("{name} {labels:?} is missing"))
        .value
}

#[test]
fn both_formats_are_sound_and_say_the_same() {
    let snapshot = snapshot();
    let prometheus = read_strictly(&write(&snapshot, Format::Prometheus), Format::Prometheus);
    let open = read_strictly(&write(&snapshot, Format::OpenMetrics), Format::OpenMetrics);
    assert_eq!(format!("{prometheus:?}"), format!("{open:?}"));
    let value = |name, labels: &[(&str, &str)]| value(&open, name, labels);
    assert_eq!(value("tacenda_build_info", &[("version", "0.0.0")]), 1.0);
    assert_eq!(
        value("tacenda_queries_total", &[("transport", "udp"), ("outcome", "hit")]),
        1.0
    );
    assert_eq!(
        value(
            "tacenda_queries_total",
            &[("transport", "tcp"), ("outcome", "rejected")]
        ),
        8.0
    );
    assert_eq!(value("tacenda_queries_limited_total", &[]), 2.0);
    assert_eq!(value("tacenda_responses_total", &[("rcode", "SERVFAIL")]), 0.0);
    assert_eq!(value("tacenda_cache_lookups_total", &[("result", "hit")]), 3.0);
    assert_eq!(value("tacenda_clear_packets_total", &[("cause", "route")]), 11.0);
    assert_eq!(value("tacenda_clear_packets_total", &[("cause", "portal")]), 5.0);
    assert_eq!(value("tacenda_portal_state", &[("state", "portal")]), 1.0);
    assert_eq!(value("tacenda_portal_state", &[("state", "ok")]), 0.0);
    assert_eq!(value("tacenda_guard_state", &[("state", "reject")]), 1.0);
    assert_eq!(value("tacenda_guard_state", &[("state", "unknown")]), 0.0);
    assert_eq!(value("tacenda_guard_packets_total", &[("verdict", "rejected")]), 7.0);
    assert_eq!(value("tacenda_guard_repairs_total", &[]), 2.0);
    assert_eq!(
        value("tacenda_upstream_up", &[("upstream", "quad9"), ("road", "public")]),
        1.0
    );
    assert_eq!(value("tacenda_upstream_rtt_seconds", &[("upstream", "quad9")]), 0.0125);
    let labels = [("upstream", "quad9"), ("transport", "doh"), ("result", "answered")];
    assert_eq!(value("tacenda_upstream_queries_total", &labels), 7.0);
    assert_eq!(
        value(
            "tacenda_tls_handshakes_total",
            &[("upstream", "quad9"), ("kind", "resumed")]
        ),
        5.0
    );
}

#[test]
fn t_web_label_values_are_escaped() {
    let text = write(&snapshot(), Format::Prometheus);
    let name = "bad\"} 1\ninjected 1 \\";
    assert!(
        text.contains("tacenda_upstream_up{upstream=\"bad\\\"} 1\\ninjected 1 \\\\\",road=\"public\"} 0\n"),
        "{text}"
    );
    assert_eq!(
        value(
            &read_strictly(&text, Format::Prometheus),
            "tacenda_upstream_up",
            &[("upstream", name), ("road", "public")]
        ),
        0.0
    );
}

#[test]
fn histograms_add_up() {
    let samples = read_strictly(&write(&snapshot(), Format::Prometheus), Format::Prometheus);
    for source in ["cache", "upstream"] {
        let buckets: Vec<_> = samples
            .iter()
            .filter(|sample| sample.name == "tacenda_query_duration_seconds_bucket" && sample.labels[0].1 == source)
            .collect();
        assert_eq!(buckets.len(), 16);
        assert!(buckets.windows(2).all(|pair| pair[0].value <= pair[1].value));
        let bounds: Vec<f64> = buckets
            .iter()
            .map(|bucket| bucket.labels[1].1.parse().unwrap())
            .collect();
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds[15].is_infinite());
        let count = value(&samples, "tacenda_query_duration_seconds_count", &[("source", source)]);
        assert_eq!(buckets[15].value, count);
    }
    let bound = [("source", "cache"), ("le", "0.00025")];
    assert_eq!(value(&samples, "tacenda_query_duration_seconds_bucket", &bound), 2.0);
    let sum = value(&samples, "tacenda_query_duration_seconds_sum", &[("source", "cache")]);
    assert!((sum - 60.0003).abs() < 1e-9, "{sum}");
}

#[test]
fn lists_and_the_process_are_told() {
    let samples = read_strictly(&write(&snapshot(), Format::OpenMetrics), Format::OpenMetrics);
    let list = [("list", "/etc/tacenda/ads \"1\".txt")];
    assert_eq!(value(&samples, "tacenda_blocked_total", &list), 12.0);
    for (name, expected) in [
        ("process_cpu_seconds_total", 1.25),
        ("process_resident_memory_bytes", f64::from(11 << 20)),
        ("process_threads", 5.0),
        ("process_start_time_seconds", 1_700_000_001.0),
    ] {
        assert_eq!(value(&samples, name, &[]), expected, "{name}");
    }
    let nothing = write(&crate::admin::samples::fresh(), Format::Prometheus);
    assert!(!nothing.contains("process_"), "where nobody says it, nothing is said");
}

#[test]
fn every_label_is_there_before_the_first_query() {
    let samples = read_strictly(
        &write(&crate::admin::samples::fresh(), Format::Prometheus),
        Format::Prometheus,
    );
    for rcode in [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "BADVERS",
    ] {
        assert_eq!(value(&samples, "tacenda_responses_total", &[("rcode", rcode)]), 0.0);
    }
    assert_eq!(
        value(&samples, "tacenda_clear_packets_total", &[("cause", "route")]),
        0.0
    );
    assert_eq!(
        samples
            .iter()
            .filter(|sample| sample.name == "tacenda_queries_total")
            .count(),
        8
    );
    assert_eq!(value(&samples, "tacenda_queries_limited_total", &[]), 0.0);
    assert_eq!(
        value(
            &samples,
            "tacenda_tls_handshakes_total",
            &[("upstream", "quad9"), ("kind", "full")]
        ),
        0.0
    );
}

#[test]
fn openmetrics_is_given_to_who_asks_for_it() {
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.1";
    for (accept, format) in [
        (prometheus_2, Format::OpenMetrics),
        (prometheus_3, Format::OpenMetrics),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
        ("application/openmetrics-text;version=0.0.1", Format::Prometheus),
        ("application/openmetrics-text;q=0", Format::Prometheus),
        ("application/openmetrics-text;q=0.1,text/plain", Format::Prometheus),
        ("application/openmetrics-text;q=x", Format::Prometheus),
        ("text/plain", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("", Format::Prometheus),
    ] {
        assert_eq!(Format::wanted([accept].into_iter()), format, "{accept}");
    }
}
