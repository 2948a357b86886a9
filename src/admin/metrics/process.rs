//! What the process takes, by the names that every Prometheus client library has for it, and the user's lists.

use super::{Exposition, Kind};
use crate::admin::snapshot::{ListFigures, ProcessFigures};

pub(super) fn write_process(out: &mut Exposition, process: Option<ProcessFigures>) {
    let Some(process) = process else { return };
    let name = "process_cpu_seconds_total";
    let help = "Time of processors, the kernel's for it included.";
    out.family(name, Kind::Counter, Some("seconds"), help);
    out.sample(name, &[], process.cpu_seconds);
    for (name, unit, help, value) in [
        (
            "process_resident_memory_bytes",
            Some("bytes"),
            "Memory in RAM.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            Some("bytes"),
            "Addresses that it has, whether anything is there or not.",
            process.virtual_bytes,
        ),
        ("process_threads", None, "Threads.", process.threads),
        (
            "process_start_time_seconds",
            Some("seconds"),
            "When it began, since 1970.",
            process.since,
        ),
    ] {
        out.family(name, Kind::Gauge, unit, help);
        out.sample(name, &[], value);
    }
}

/// A file is the user's own word, and no name that anybody asked.
pub(super) fn write_lists(out: &mut Exposition, lists: &[ListFigures]) {
    let name = "tacenda_blocked_total";
    let help = "Questions that were refused by a rule, by its list.";
    out.family(name, Kind::Counter, None, help);
    for list in lists {
        out.sample(name, &[("list", &list.name)], list.blocked);
    }
}
