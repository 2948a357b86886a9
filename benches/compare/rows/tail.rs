//! B8: the slowest hits while something goes on: thousands of entries end together, a full cache lets others go, misses come beside, the
//! configuration is read again.

use std::net::UdpSocket;
use std::time::Duration;

use crate::closed::{self, Load, Names, Until};
use crate::configs::{CacheSize, Transport};
use crate::lab::{Lab, SERVER_CORE};
use crate::open::{self, Order, Outcome, Plan};
use crate::peers::{self, Kind, Place, Program};
use crate::report::{Met, Row, Table, short};
use crate::rows::hit::HOT;
use crate::source::Source;
use crate::{clock, cpu, sys};

/// Hits each second: the generator and the upstream share the other core, and must keep up.
const HITS_PER_SECOND: f64 = 20_000.0;

/// Misses each second, beside the hits; and at capacity.
const MISSES_PER_SECOND: f64 = 1000.0;

/// How large everything is: in the short form as much as a few seconds allow.
struct Size {
    cache_mib: u32,
    /// Entries that end together.
    ending: u64,
    /// After this time: they are asked for first.
    ending_after: Duration,
    /// Names that surely fill the cache.
    filling: u64,
}

const SHORT: Size = Size {
    cache_mib: 4,
    ending: 5000,
    ending_after: Duration::from_secs(2),
    filling: 16_000,
};

const LONG: Size = Size {
    cache_mib: 256,
    ending: 300_000,
    ending_after: Duration::from_secs(60),
    filling: 900_000,
};

/// How much slower the slowest hit may be than when nothing goes on.
const LIMIT_MS: f64 = 5.0;

/// A machine on which the generator is later than this, or the echo on the server's core, says nothing about anybody.
const MAX_STALL_MS: f64 = 5.0;

/// Queries that the echo gets each second, as the witness of what the server's core did to everybody.
const WITNESSED_PER_SECOND: f64 = 500.0;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    Ending,
    Misses,
    Eviction,
    Reload,
}

const EVENTS: [Event; 5] = [
    Event::Nothing,
    Event::Ending,
    Event::Misses,
    Event::Eviction,
    Event::Reload,
];

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing goes on",
            Self::Ending => "entries end together",
            Self::Misses => "1000 misses a second",
            Self::Eviction => "the same, the cache full",
            Self::Reload => "the configuration read again",
        }
    }
}

/// B8.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new(
        "B8",
        "the slowest of 20000 hits a second, open loop, while something goes on",
    );
    let size = lab.options.size(SHORT, LONG);
    let mut kinds = vec![(Kind::Tacenda, Transport::Dot)];
    kinds.extend(lab.chosen(&[Kind::Unbound, Kind::Dnsdist, Kind::Kresd], Transport::Dot));
    let place = Place {
        core: Some(SERVER_CORE),
        namespace: None,
    };
    // Generator and upstream on the other core: threads inherit it.
    peers::pin_self(vec![Lab::other_core()])?;
    let mut lines = Vec::new();
    for (kind, transport) in kinds {
        let source = Source::on_loopback(false)?;
        // One after the other: beside each other they would disturb each other.
        let mut fleet = lab.fleet(
            Some(Kind::LimitEcho),
            &[(kind, transport)],
            source.address,
            CacheSize::Small(size.cache_mib),
            place,
        )?;
        peers::pin_self(vec![Lab::other_core()])?;
        fleet.warm(HOT, 32);
        if let ([program], Some(witness)) = (&fleet.programs[..], &fleet.floor) {
            one(lab, [program, witness], &source, &mut lines, &mut row)?;
        }
        row.notes.extend(fleet.absent);
    }
    peers::pin_self(peers::all_cores())?;
    let columns = [
        "program",
        "meanwhile",
        "p50 us",
        "p99.9 ms",
        "max ms",
        "above idle",
        "generator late",
        "echo beside it",
        "lost",
        "CPU %",
    ];
    let title = format!(
        "a cache of {} MiB, of whose entries {} end together",
        size.cache_mib, size.ending
    );
    row.tables.push(Table::new(&title, &columns, lines));
    Ok(row)
}

fn one(
    lab: &Lab,
    [program, witness]: [&Program; 2],
    source: &Source,
    lines: &mut Vec<Vec<String>>,
    row: &mut Row,
) -> Result<(), String> {
    let mut idle = f64::NAN;
    for event in EVENTS {
        if event == Event::Reload && program.kind != Kind::Tacenda {
            continue;
        }
        let before = (cpu::used_ns(program.running.pid())?, clock::now());
        let outcome = during(lab, [program, witness], source, event);
        let used = cpu::used_ns(program.running.pid())?.saturating_sub(before.0) as f64;
        let load = used / before.1.elapsed().as_nanos() as f64 * 100.0;
        let (outcome, witnessed) = match outcome {
            Ok(both) => both,
            Err(why) => {
                lines.push(vec![program.label.clone(), event.name().to_owned(), why]);
                continue;
            }
        };
        let mut latencies = outcome.latencies();
        let max = latencies.max_ms();
        if event == Event::Nothing {
            idle = max;
        } else if program.kind == Kind::Tacenda {
            judge(row, event, max - idle, witnessed, &outcome);
        }
        lines.push(vec![
            program.label.clone(),
            event.name().to_owned(),
            short(latencies.quantile_ms(0.5) * 1000.0),
            short(latencies.quantile_ms(0.999)),
            short(max),
            format!("{:+.2}", max - idle),
            short(outcome.late.as_secs_f64() * 1000.0),
            short(witnessed),
            outcome.failures().to_string(),
            short(load),
        ]);
    }
    Ok(())
}

fn judge(row: &mut Row, event: Event, above: f64, witnessed: f64, outcome: &Outcome) {
    let (late, lost) = (outcome.late.as_secs_f64() * 1000.0, outcome.failures());
    let what = format!("max above idle, {}", event.name());
    if late.max(witnessed) > MAX_STALL_MS {
        let why = format!(
            "generator {} ms late, echo beside it {} ms",
            short(late),
            short(witnessed)
        );
        row.judge(&what, "<= 5.00 ms", format!("{} ms", short(above)), Met::Void(why));
    } else {
        row.hold_value(&what, above, LIMIT_MS, "ms");
    }
    if lost > 0 {
        row.judge(&format!("hits lost, {}", event.name()), "0", lost.to_string(), Met::No);
    }
}

/// The hits while it goes on, and the slowest answer of the echo beside them, in milliseconds.
fn during(
    lab: &Lab,
    [program, witness]: [&Program; 2],
    source: &Source,
    event: Event,
) -> Result<(Outcome, f64), String> {
    let mut time = Duration::from_secs(lab.options.size(1, 10));
    let size = lab.options.size(SHORT, LONG);
    match event {
        Event::Ending => {
            let end = clock::now() + size.ending_after;
            source.end_x_at(end);
            let names = Names {
                prefix: b'x',
                first: 0,
                count: size.ending,
            };
            pour(program, names, size.ending_after.mul_f64(0.4))?;
            // TTLs are whole seconds: all of them end within the one before.
            clock::rest(
                end.saturating_duration_since(clock::now())
                    .saturating_sub(Duration::from_millis(1200)),
            );
            time = time.max(Duration::from_millis(1600));
        }
        Event::Eviction => pour(program, lab.new_names(size.filling), size.ending_after)?,
        Event::Nothing | Event::Misses | Event::Reload => {}
    }
    let hits = plan(program, HOT, Order::Random, HITS_PER_SECOND, time);
    let misses = plan(
        program,
        lab.new_names(1_000_000),
        Order::InTurn,
        MISSES_PER_SECOND,
        time,
    );
    let mut beside = plan(witness, HOT, Order::InTurn, WITNESSED_PER_SECOND, time);
    beside.echo = true;
    let sockets = [socket()?, socket()?, socket()?];
    std::thread::scope(|scope| {
        let hits = scope.spawn(|| {
            // Only root may; others hear how late the generator was.
            let _ = sys::run_first();
            open::run(&hits, &sockets[0])
        });
        let beside = scope.spawn(|| {
            let _ = sys::run_first();
            open::run(&beside, &sockets[2])
        });
        match event {
            Event::Misses | Event::Eviction => drop(open::run(&misses, &sockets[1])?),
            Event::Reload => reload(program, time)?,
            Event::Nothing | Event::Ending => {}
        }
        let panicked = |_| Err("panicked".to_owned());
        let witnessed = beside.join().unwrap_or_else(panicked)?.latencies().max_ms();
        Ok((hits.join().unwrap_or_else(panicked)?, witnessed))
    })
}

/// A new configuration, three times: one that changes the rules, or nothing would be done. The cache is the same after it.
fn reload(program: &Program, time: Duration) -> Result<(), String> {
    let config = std::fs::read_to_string(&program.config).map_err(|error| error.to_string())?;
    for number in 1..=3 {
        clock::rest(time / 4);
        let changed = format!("{config}[policy]\nrebind-allow = [\"r{number}.example\"]\n");
        std::fs::write(&program.config, changed).map_err(|error| error.to_string())?;
        program.running.signal(libc::SIGHUP)?;
    }
    Ok(())
}

/// Has the server ask for these names, as many as it gets done; who loses some does not hold everybody up.
fn pour(program: &Program, names: Names, time: Duration) -> Result<(), String> {
    let mut load = Load::saturated(program.address, names, time).outstanding(50);
    load.until = Until::TimeUnique(time);
    closed::run(&load).map(drop)
}

fn plan(program: &Program, names: Names, order: Order, per_second: f64, time: Duration) -> Plan {
    Plan {
        target: program.address,
        names,
        order,
        per_second,
        time,
        echo: false,
    }
}

fn socket() -> Result<UdpSocket, String> {
    UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())
}
