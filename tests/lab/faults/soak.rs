//! The soak: 1,000 queries a second, most of them for names in the cache, and a fault drawn by chance every minute.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use crate::load::Mix;
use crate::random::Random;
use crate::relay::Fault;
use crate::report::say;
use crate::rig::{Layout, Rig, TARGET};
use crate::server::Manner;
use crate::subject::{Kind, Setup};

/// Of a hundred queries: so many hot. The rest are 200 misses a second.
const MIX: Mix = Mix { rate: 1000, hot: 80 };

/// What memory may grow by, from the first sample after a fault to the last: a quarter and this.
const SLACK: usize = 4 << 20;

/// What descriptors may grow by: connections that are being replaced.
const SPARE: usize = 8;

/// A fault that the soak can draw.
#[derive(Clone, Copy, Debug)]
enum Drawn {
    Line(Fault),
    Resolver(Manner),
}

const FAULTS: [Drawn; 14] = [
    Drawn::Line(Fault::Refuse),
    Drawn::Line(Fault::Blackhole),
    Drawn::Line(Fault::Freeze),
    Drawn::Line(Fault::Reset),
    Drawn::Line(Fault::ResetAfter(20_000)),
    Drawn::Line(Fault::CloseAfter(20_000)),
    Drawn::Line(Fault::HalfOpen),
    Drawn::Line(Fault::Delay(Duration::from_millis(300))),
    Drawn::Line(Fault::Delay(Duration::from_secs(3))),
    Drawn::Line(Fault::Rate(2048)),
    Drawn::Line(Fault::Flip(20_000)),
    Drawn::Line(Fault::Portal),
    Drawn::Resolver(Manner::Goaway(30)),
    Drawn::Resolver(Manner::Refuse {
        status: 503,
        until: None,
    }),
];

/// What is watched besides the answers.
#[derive(Clone, Copy)]
struct Sample {
    resident: usize,
    descriptors: usize,
}

/// Runs one transport for its half of the time; how many targets were missed.
pub(crate) fn run(doh: bool) -> usize {
    let whole = soak_time();
    let seed = seed();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    say(&format!("soak {}: {} s, SEED={seed}", word(doh), (whole / 2).as_secs()));
    runtime.block_on(soak(doh, whole / 2, Random::new(seed)))
}

fn word(doh: bool) -> &'static str {
    if doh { "DoH" } else { "DoT" }
}

/// `SOAK` as `90s`, `10m` or `2h`, for both transports together.
fn soak_time() -> Duration {
    let text = std::env::var("SOAK").unwrap_or_else(|_| "60s".into());
    let (digits, unit) = text.split_at(text.len() - 1);
    let count: u64 = digits.parse().expect("SOAK is like 90s, 10m or 2h");
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("SOAK is like 90s, 10m or 2h"),
    };
    Duration::from_secs(count * scale)
}

/// `SEED`, or one of this process; it is printed.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()))
}

async fn soak(doh: bool, length: Duration, mut random: Random) -> usize {
    // A small cache is full soon: memory that still grows then is a leak.
    let prepare = |setup: &mut Setup| setup.tail = "[cache]\nmax-bytes = \"2 MiB\"\n".into();
    let rig = Rig::build(Kind::Tacenda, doh, Layout::One, prepare, MIX).await;
    let mut rig = rig.unwrap_or_else(|reason| panic!("{reason}"));
    // A fault a minute, ten faults in a short run.
    let cycle = (length / 10).min(Duration::from_secs(60)).max(Duration::from_secs(6));
    let end = Instant::now() + length;
    let (mut samples, mut missed, mut lost, mut total) = (Vec::new(), 0, 0, 0);
    let mut clock = interval(cycle);
    clock.tick().await;
    while Instant::now() + cycle < end && rig.subject.is_running() {
        clock.tick().await;
        let drawn = FAULTS[random.below(FAULTS.len())];
        let held = cycle / 6 + cycle * u32::try_from(random.below(100)).unwrap() / 300;
        let recovery = one(&rig, drawn, held).await;
        let late = recovery.is_none_or(|time| time > TARGET);
        missed += usize::from(late);
        let (more, gone) = rig.load.retire();
        lost += gone;
        total += more;
        let Some(sample) = sample(&rig) else { break };
        samples.push(sample);
        say(&format!(
            "  {drawn:?} for {:.1} s: {} after {} s, {gone} lost of {more}, {:.1} MiB, {} descriptors",
            held.as_secs_f64(),
            if late { "LATE" } else { "good" },
            recovery.map_or_else(|| "never".into(), |time| format!("{:.2}", time.as_secs_f64())),
            sample.resident as f64 / f64::from(1 << 20),
            sample.descriptors
        ));
    }
    let running = rig.subject.is_running();
    let rest = rig.load.finish().await;
    let open = rest.iter().filter(|asked| !asked.is_in_time()).count();
    verdict(doh, &samples, missed, (total + rest.len(), lost + open), running)
}

/// One fault, and the time to the first good answer after it.
async fn one(rig: &Rig, drawn: Drawn, held: Duration) -> Option<Duration> {
    match drawn {
        Drawn::Line(fault) => rig.relays[0].set(fault),
        Drawn::Resolver(manner) => rig.server.set(manner),
    }
    sleep(held).await;
    rig.relays[0].set(Fault::None);
    rig.server.set(Manner::Normal);
    let end = Instant::now();
    while end.elapsed() < Duration::from_secs(12) {
        sleep(Duration::from_millis(20)).await;
        if let Some(good) = rig.load.first_good(end) {
            return Some(good - end);
        }
    }
    None
}

fn sample(rig: &Rig) -> Option<Sample> {
    Some(Sample {
        resident: rig.subject.resident()?,
        descriptors: rig.subject.descriptors()?,
    })
}

fn verdict(doh: bool, samples: &[Sample], late: usize, (total, lost): (usize, usize), running: bool) -> usize {
    // The first third is for warming up.
    let settled = &samples[samples.len() / 3..];
    let grew = |value: fn(&Sample) -> usize| {
        let first = settled.first().map_or(0, value);
        let last = settled.last().map_or(0, value);
        (first, last)
    };
    let (memory, memory_now) = grew(|sample| sample.resident);
    let (open, open_now) = grew(|sample| sample.descriptors);
    let problems = [
        (lost > 0, "queries were lost"),
        (late > 0, "a recovery took too long"),
        (memory_now > memory + memory / 4 + SLACK, "memory grew"),
        (open_now > open + SPARE, "descriptors grew"),
        (!running, "the daemon ended"),
        (settled.is_empty(), "no fault was measured"),
    ];
    let missed: Vec<&str> = problems.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    say(&format!(
        "soak {}: {total} queries, {lost} lost, {late} of {} recoveries late, memory {} -> {} MiB, descriptors {open} -> {open_now}: {}",
        word(doh),
        samples.len(),
        memory >> 20,
        memory_now >> 20,
        if missed.is_empty() {
            "good".into()
        } else {
            missed.join(", ")
        }
    ));
    missed.len()
}
