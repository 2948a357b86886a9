//! The fault laboratory: the real binary over DoT and DoH through a network and a resolver that fail in thirty ways.
//!
//! `cargo test --test faults -- --ignored table` (also `stalls`, `soak`); README.md beside this file says what the numbers mean.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod cases;
#[path = "../../it/client.rs"]
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
mod client;
mod control;
#[path = "../../it/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
mod daemon;
mod load;
mod machine;
mod netns;
mod pki;
mod random;
mod relay;
mod report;
mod rig;
#[path = "../../it/script.rs"]
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
mod script;
mod server;
mod soak;
mod stalls;
mod subject;
#[path = "../../it/upstream.rs"]
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
mod upstream;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cases::{CASES, Case};
use report::{Column, Line, say};
use rig::Outcome;
use subject::Kind;

/// The measurements run one after another, whatever the harness does: beside each other they would measure each other.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for its turn; who failed before leaves it free.
fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cases that run beside each other: they mostly wait.
const AT_ONCE: usize = 6;

/// One measurement to take.
#[derive(Clone, Copy)]
struct Job {
    case: Case,
    column: Column,
}

/// Runs every fault over every column and prints the table; fails if tacenda misses a target.
#[test]
#[ignore = "needs about four minutes; root for some of the faults; PEERS=1 needs unbound and kresd"]
fn table() {
    let _turn = turn();
    let chosen = chosen();
    let columns = Column::all(std::env::var("PEERS").is_ok_and(|value| value == "1"));
    let jobs: Vec<Job> = chosen
        .iter()
        .flat_map(|case| {
            columns.iter().map(|column| Job {
                case: *case,
                column: *column,
            })
        })
        .filter(|job| job.column.applies(&job.case))
        .collect();
    let (alone, together): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.case.alone);
    let done = Mutex::new(Vec::new());
    work(&together, AT_ONCE, &done);
    work(&alone, 1, &done);
    let mut results = done.into_inner().unwrap();
    let mut missed = 0;
    say(&report::head(&columns));
    for case in &chosen {
        let line = Line::gather(*case, &columns, &mut results);
        missed += line.missed();
        say(&line.text());
    }
    say(&format!("{missed} of tacenda's measurements miss the target"));
    assert_eq!(missed, 0, "the table above says which faults miss the target");
}

/// Those of `FAULTS=3,7`, or all.
fn chosen() -> Vec<Case> {
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let wanted: Vec<u8> = wanted
        .split(',')
        .filter_map(|number| number.trim().parse().ok())
        .collect();
    let is_wanted = |case: &&Case| wanted.is_empty() || wanted.contains(&case.number);
    CASES.iter().filter(is_wanted).copied().collect()
}

type Done = Mutex<Vec<(Job, Result<Outcome, String>)>>;

/// Takes all measurements of a list, so many at once, each in a runtime of its own that takes its sockets with it.
fn work(jobs: &[Job], at_once: usize, done: &Done) {
    let next = AtomicUsize::new(0);
    let repeats = cases::seconds("REPEAT", 1).as_secs().max(1);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut worst: Option<Result<Outcome, String>> = None;
                    for _ in 0..repeats {
                        let outcome = measure(job);
                        report::progress(&job.case, job.column, &outcome);
                        worst = Some(match worst {
                            Some(before) if rig::rank(&before) >= rig::rank(&outcome) => before,
                            _ => outcome,
                        });
                    }
                    done.lock().unwrap().extend(worst.map(|worst| (*job, worst)));
                }
            });
        }
    });
}

/// Takes one measurement. What the lab itself could not do (a port that another program took meanwhile) is tried once more.
fn measure(job: &Job) -> Result<Outcome, String> {
    let Column { kind, doh } = job.column;
    let once = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(cases::run(job.case, kind, doh))
    };
    once().or_else(|reason| {
        if reason.starts_with("needs ") {
            Err(reason)
        } else {
            once()
        }
    })
}

/// The tail with connections that stall by chance.
#[test]
#[ignore = "needs about a minute of a quiet machine"]
fn stalls() {
    let _turn = turn();
    let missed: usize = [false, true].into_iter().map(stalls::run).sum();
    assert_eq!(missed, 0, "the lines above say what misses the target");
}

/// `SOAK=2h`: faults at random under load for so long; a minute by default.
#[test]
#[ignore = "needs a minute, or as long as SOAK says"]
fn soak() {
    let _turn = turn();
    let missed: usize = [false, true].into_iter().map(soak::run).sum();
    assert_eq!(missed, 0, "the lines above say what misses the target");
}

impl Column {
    /// What a table compares.
    fn all(peers: bool) -> Vec<Self> {
        let column = |kind, doh| Self { kind, doh };
        let mut columns = vec![column(Kind::Tacenda, false), column(Kind::Tacenda, true)];
        if peers {
            columns.extend([column(Kind::Unbound, false), column(Kind::Knot, false)]);
        }
        columns
    }

    fn applies(self, case: &Case) -> bool {
        (self.doh || !case.doh_only) && (self.kind == Kind::Tacenda || !case.ours_only)
    }
}
