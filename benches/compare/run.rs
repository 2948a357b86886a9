//! From the command line to the exit code: the hidden programs, the rows in their order, the report.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::lab::{Fleet, Lab};
use crate::options::{Options, USAGE};
use crate::peers::Kind;
use crate::report::{self, Row, say};
use crate::rows::{clients, herd, hit, loss, miss, recovery, size, start, syscalls, tail};
use crate::{children, clock, echo, peers, relay, sys};

/// Runs what is asked for.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["limit-echo", listen] => address(listen).and_then(echo::run),
        ["limit-relay", listen, upstream] => address(listen).and_then(|listen| relay::run(listen, address(upstream)?)),
        // `cargo test --benches` only wants to know that it starts.
        _ if !words.contains(&"--bench") => {
            say(USAGE);
            Ok(())
        }
        _ => Options::parse(arguments.into_iter()).and_then(compare),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("error: {why}\n{USAGE}"));
            ExitCode::FAILURE
        }
    }
}

fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| format!("{text}: no address with a port"))
}

fn compare(options: Options) -> Result<(), String> {
    children::clear_away_when_interrupted()?;
    sys::raise_descriptor_limit().map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    let machine = machine(&options);
    let lab = Lab::new(options)?;
    let mut done = Done {
        rows: Vec::new(),
        last: clock::now(),
    };
    of_hits(&lab, &mut done);
    if lab.options.wants_row("B4") || lab.options.wants_row("B5") {
        match size::rows(&lab) {
            Ok(both) => both.into_iter().for_each(|row| done.add("", "", Ok(row))),
            Err(why) => done.add("B4", "large caches", Err(why)),
        }
    }
    let alone: [Alone; 6] = [
        ("B6", "misses", miss::row),
        ("B7", "misses over a lossy way", loss::row),
        ("B8", "the slowest hits", tail::row),
        ("B9", "recovery", recovery::row),
        ("B10", "start", start::row),
        ("B12", "a herd", herd::row),
    ];
    for (id, title, work) in alone.into_iter().filter(|(id, ..)| lab.options.wants_row(id)) {
        let outcome = work(&lab);
        done.add(id, title, outcome);
    }
    let mut rows = done.rows;
    rows.sort_by_key(|row: &Row| row.id[1..].parse::<u32>().unwrap_or(0));
    report::summary(&rows);
    if let Some(file) = &lab.options.json {
        let all: Vec<Value> = rows.iter().map(Row::as_json).collect();
        write_json(
            file,
            &json!({"machine": machine, "long": lab.options.long, "rows": all}),
        )?;
    }
    Ok(())
}

/// A row's title, and what runs it among a fleet.
type OfFleet = (&'static str, &'static str, fn(&Lab, &Fleet) -> Result<Row, String>);

/// The same for a row that starts what it needs.
type Alone = (&'static str, &'static str, fn(&Lab) -> Result<Row, String>);

/// The rows that share programs with hot caches.
fn of_hits(lab: &Lab, done: &mut Done) {
    let wanted: [OfFleet; 4] = [
        ("B1", "cached answers, saturated", hit::saturated),
        ("B2", "cached answers, one at a time", hit::one_at_a_time),
        ("B3", "system calls of a hit", syscalls::row),
        ("B11", "many clients", clients::row),
    ];
    if !wanted.iter().any(|(id, ..)| lab.options.wants_row(id)) {
        return;
    }
    let fleet = hit::fleet(lab);
    for (id, title, work) in wanted.into_iter().filter(|(id, ..)| lab.options.wants_row(id)) {
        let outcome = fleet.as_ref().map_err(Clone::clone).and_then(|fleet| work(lab, fleet));
        done.add(id, title, outcome);
    }
}

/// The rows that have been run.
struct Done {
    rows: Vec<Row>,
    /// When the last of them was.
    last: Instant,
}

impl Done {
    fn add(&mut self, id: &'static str, title: &'static str, outcome: Result<Row, String>) {
        let mut row = outcome.unwrap_or_else(|why| Row::failed(id, title, why));
        row.seconds = self.last.elapsed().as_secs_f64();
        self.last = clock::now();
        row.show();
        self.rows.push(row);
    }
}

/// What the figures belong to: kernel, processor, versions; said and given for the JSON.
fn machine(options: &Options) -> Value {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned();
        line.split(':').next_back().unwrap_or_default().trim().to_owned()
    };
    let kernel = first("/proc/sys/kernel/osrelease", "");
    let processor = first("/proc/cpuinfo", "model name");
    let cores = peers::all_cores().len();
    say(&format!("Linux {kernel}, {cores} cores of {processor}"));
    let mut versions = serde_json::Map::new();
    for kind in [Kind::Tacenda]
        .into_iter()
        .chain(Kind::PEERS)
        .filter(|kind| options.wants_peer(kind.name()) || *kind == Kind::Tacenda)
    {
        let version = kind.program(options).map(|file| kind.version(&file));
        say(&format!(
            "{kind:<16}{}",
            version.as_deref().unwrap_or("not installed, left out")
        ));
        versions.insert(kind.name().to_owned(), json!(version));
    }
    json!({"kernel": kernel, "processor": processor, "cores": cores, "versions": versions})
}

fn write_json(file: &Path, value: &Value) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))
}
