//! Instructions of user space for a hit, counted by callgrind: the same on a busy machine and on a quiet one, so it can be a gate. Each job
//! runs twice, the second time with twice the calls: the difference is the calls alone.
//!
//! `cargo bench --bench instructions` fails if a figure is more than 2 % above `instructions.json`; with `-- --write` it writes that file.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use tacenda::cache::{self, Cache};
use tacenda::policy::Policy;
use tacenda::resolve::{Now, Resolver};
use tacenda::transport::{BoxFuture, Exchange, ExchangeError, Response};
use tacenda::upstream::Upstream;
use tacenda::upstream::pool::Pool;
use tacenda::upstream::select::Strategy;
use tacenda::wire::answer::Answer;
use tacenda::wire::query::Query;
use tacenda::wire::question::{Keepalive, MAX_QUERY_LEN, read_question};
use tokio::time::Instant;

/// What is counted: name, distinct names in the cache, calls in the shorter run.
const JOBS: [Job; 3] = [
    Job {
        name: "hit",
        names: 1000,
        calls: 100_000,
        kind: Kind::Hit,
    },
    Job {
        name: "hit-among-100000",
        names: 100_000,
        calls: 100_000,
        kind: Kind::Hit,
    },
    Job {
        name: "miss-prepared",
        names: 1000,
        calls: 40_000,
        kind: Kind::Miss,
    },
];

/// What may come on top of the committed figure. Runs differ by some thousandths: hashes are keyed at random.
const TOLERANCE: f64 = 1.02;

#[derive(Clone, Copy)]
struct Job {
    name: &'static str,
    names: usize,
    calls: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// From the query's octets to the response's.
    Hit,
    /// From the query's octets to those for the upstream.
    Miss,
}

/// Never asked: answers are put where they belong.
struct Nobody;

impl Exchange for Nobody {
    fn exchange<'a>(&'a self, _: &'a [u8], _: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        Box::pin(std::future::pending())
    }
}

fn query(label: char, number: usize) -> Vec<u8> {
    let label = format!("{label}{number}");
    let mut octets = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    octets.push(u8::try_from(label.len()).expect("short"));
    octets.extend_from_slice(label.as_bytes());
    octets.extend_from_slice(b"\x05bench\x07example\0\0\x01\0\x01");
    octets
}

/// An A record for a day.
fn response(query: &[u8]) -> Vec<u8> {
    let question = read_question(query).expect("our own query");
    let header = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0";
    let answer = b"\xc0\x0c\0\x01\0\x01\0\x01\x51\x80\0\x04\xc0\0\x02\x01";
    [header.as_slice(), question, answer].concat()
}

/// A resolver that has the answers to these.
fn resolver(queries: &[Vec<u8>], now: std::time::Instant) -> Resolver {
    let settings = cache::Settings {
        max_bytes: 1 << 30,
        ..cache::Settings::default()
    };
    let cache = Arc::new(Cache::new(settings));
    for octets in queries {
        let key = Query::parse(octets).expect("a query").key();
        let answer = Answer::check(&response(octets), &key, &settings.ttls).expect("an answer");
        cache.put(&key, &answer, now);
    }
    cache.maintain();
    let upstream = Upstream::new("bench".to_owned(), Arc::new(Nobody), Keepalive::Omit);
    let pool = Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls);
    Resolver::new(Policy::default(), cache, pool)
}

/// The work itself, in a process of its own under callgrind.
fn work(job: Job, calls: usize) {
    let queries: Vec<_> = (0..job.names).map(|number| query('n', number)).collect();
    let now = Instant::now().into_std();
    let resolver = resolver(&queries, now);
    let mut out = [0; 1232];
    match job.kind {
        Kind::Hit => {
            for call in 0..calls {
                let query = Query::parse(black_box(&queries[call % queries.len()])).expect("a query");
                let answered = resolver.answer_now(&query, now, &mut out);
                assert!(matches!(answered, Now::Ready(len, _) if len > 40), "not a hit");
                black_box(&out);
            }
        }
        Kind::Miss => {
            let queries: Vec<_> = (0..job.names).map(|number| query('m', number)).collect();
            for call in 0..calls {
                let query = Query::parse(black_box(&queries[call % queries.len()])).expect("a query");
                let waits = resolver.answer_now(&query, now, &mut out);
                assert!(matches!(waits, Now::Wait(_)), "not a miss");
                let mut upstream_query = [0; MAX_QUERY_LEN];
                black_box(query.key().write_query(Keepalive::Omit, &mut upstream_query));
                black_box(&upstream_query);
            }
        }
    }
}

/// A run of this program under callgrind that has been started.
fn start(job: Job, calls: usize) -> Result<std::process::Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"])
        .arg(program)
        .args(["--work", job.name, &calls.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start valgrind: {error}"))
}

/// What callgrind counted in the whole run.
fn collected(run: std::process::Child) -> Result<f64, String> {
    let output = run.wait_with_output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines()
        .filter(|_| output.status.success())
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind counted nothing: {said}"))
}

/// Instructions of one call.
fn measure(job: Job) -> Result<f64, String> {
    let runs = (start(job, job.calls)?, start(job, 2 * job.calls)?);
    let (once, twice) = (collected(runs.0)?, collected(runs.1)?);
    Ok((twice - once) / f64::from(u32::try_from(job.calls).expect("fewer than billions")))
}

type Figures = BTreeMap<String, f64>;

fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json"))
}

fn committed() -> Result<Figures, String> {
    let text = std::fs::read_to_string(file()).map_err(|error| format!("benches/instructions.json: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("benches/instructions.json: {error}"))
}

#[expect(clippy::print_stdout, reason = "a bench talks to its user")]
fn compare(write: bool) -> Result<bool, String> {
    let committed = if write { Figures::new() } else { committed()? };
    let mut figures = Figures::new();
    let mut held = true;
    for job in JOBS {
        let figure = measure(job)?;
        let beside = match committed.get(job.name) {
            Some(before) if figure > before * TOLERANCE => {
                held = false;
                format!("{:+.1} % beside {before:.0}: TOO MANY", (figure / before - 1.0) * 100.0)
            }
            Some(before) => format!("{:+.1} % beside {before:.0}", (figure / before - 1.0) * 100.0),
            None => "new".to_owned(),
        };
        println!("{:<20}{figure:>8.0} instructions   {beside}", job.name);
        figures.insert(job.name.to_owned(), figure.round());
    }
    if write {
        let text = serde_json::to_string_pretty(&figures).map_err(|error| error.to_string())?;
        std::fs::write(file(), text + "\n").map_err(|error| format!("benches/instructions.json: {error}"))?;
    }
    Ok(held)
}

#[expect(clippy::print_stdout, reason = "a bench talks to its user")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--work", name, calls] = words[..] {
        let job = JOBS.into_iter().find(|job| job.name == name).expect("one of ours");
        work(job, calls.parse().expect("a number of ours"));
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` only wants to know that it starts.
    if !words.contains(&"--bench") {
        return ExitCode::SUCCESS;
    }
    match compare(words.contains(&"--write")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!(
                "more than 2 % above benches/instructions.json: make it cheaper, or say why not and renew it with --write"
            );
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
