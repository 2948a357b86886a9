//! B9: the upstream resets its connections, says GOAWAY, is started anew, falls silent; queries go on being due every 5 ms.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::clock;
use crate::configs::{CacheSize, Transport};
use crate::lab::Lab;
use crate::open::{self, Order, Outcome, Plan};
use crate::peers::{Kind, Place, Program};
use crate::report::{Met, Row, Table, short};
use crate::source::{Fault, Source};

/// Queries that one program gets each second.
const PER_SECOND: f64 = 200.0;

/// What the upstream takes to answer, so that some queries are under way whenever a fault comes.
const RTT_MS: u32 = 20;

/// How long a restart of the upstream takes.
const AWAY: Duration = Duration::from_millis(300);

/// Before a fault: queries that are under way when it comes.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// Who answers nothing in this time before a fault is down already.
const BEFORE: Duration = Duration::from_millis(800);

/// What happens, when after the beginning, and what is looked at until then.
const EVENTS: [Event; 4] = [
    Event::at(1000, 3000, Happening::Reset),
    Event::at(3000, 5000, Happening::GoAway),
    Event::at(5000, 8000, Happening::Restart),
    Event::at(8000, 14_000, Happening::Silence),
];

#[derive(Clone, Copy)]
struct Event {
    at: Duration,
    until: Duration,
    what: Happening,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Happening {
    Reset,
    GoAway,
    Restart,
    Silence,
}

impl Event {
    const fn at(at_ms: u64, until_ms: u64, what: Happening) -> Self {
        Self {
            at: Duration::from_millis(at_ms),
            until: Duration::from_millis(until_ms),
            what,
        }
    }
}

impl Happening {
    fn name(self) -> &'static str {
        match self {
            Self::Reset => "RST",
            Self::GoAway => "GOAWAY",
            Self::Restart => "restart",
            Self::Silence => "silence",
        }
    }

    /// The time to the first good answer that is asked of tacenda, in milliseconds.
    fn limit_ms(self) -> f64 {
        let handshakes = f64::from(3 * RTT_MS + 20);
        match self {
            Self::Reset | Self::GoAway => handshakes,
            Self::Restart => AWAY.as_secs_f64() * 1000.0 + 1000.0,
            Self::Silence => 1000.0,
        }
    }
}

/// B9.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new(
        "B9",
        "the upstream fails under 200 queries a second, every name new, open loop",
    );
    let source = Source::on_loopback(false)?;
    let mut kinds = vec![(Kind::Tacenda, Transport::Dot), (Kind::Tacenda, Transport::Doh)];
    kinds.extend(lab.chosen(&Kind::PEERS, Transport::Dot));
    kinds.extend(lab.chosen(&[Kind::Dnsdist, Kind::DnscryptProxy, Kind::Dnsproxy], Transport::Doh));
    let fleet = lab.fleet(None, &kinds, source.address, CacheSize::Large, Place::default())?;
    source.set_delay_ms(RTT_MS);
    let (outcomes, times) = run(lab, &fleet.all(), &source)?;
    for (number, event) in EVENTS.iter().enumerate() {
        let mut lines = Vec::new();
        for (program, outcome) in fleet.programs.iter().zip(&outcomes) {
            // GOAWAY is HTTP/2's.
            if event.what == Happening::GoAway && !program.label.ends_with("DoH") {
                continue;
            }
            let seen = outcome
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|outcome| look(outcome, span(lab, event), times[number]));
            if program.kind == Kind::Tacenda {
                judge(&mut row, &program.label, event.what, &seen);
            }
            lines.push(match seen {
                Ok(seen) => seen.line(&program.label),
                Err(why) => vec![program.label.clone(), why],
            });
        }
        let columns = [
            "program",
            "lost",
            "of",
            "ms to the first good answer",
            "slowest answer ms",
        ];
        row.tables.push(Table::new(event.what.name(), &columns, lines));
    }
    row.notes.extend(fleet.absent);
    Ok(row)
}

type Run = (Vec<Result<Outcome, String>>, Vec<Instant>);

/// In the long form everybody has four times as long to come back.
fn span(lab: &Lab, event: &Event) -> Duration {
    (event.until - event.at) * lab.options.size(1, 4)
}

/// All programs beside each other, and what happens to the upstream meanwhile.
fn run(lab: &Lab, programs: &[&Program], source: &Source) -> Result<Run, String> {
    let stretch = lab.options.size(1, 4);
    let mut jobs = Vec::new();
    for program in programs {
        let plan = Plan {
            target: program.address,
            names: lab.new_names(1_000_000),
            order: Order::InTurn,
            per_second: PER_SECOND,
            time: EVENTS[EVENTS.len() - 1].until * stretch,
            echo: false,
        };
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        jobs.push((plan, socket));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|(plan, socket)| scope.spawn(move || open::run(plan, socket)))
            .collect();
        let begun = clock::now();
        let mut times = Vec::new();
        for event in &EVENTS {
            clock::rest((event.at * stretch).saturating_sub(begun.elapsed()));
            times.push(clock::now());
            match event.what {
                Happening::Reset => source.fail(Fault::Reset),
                Happening::GoAway => source.fail(Fault::GoAway),
                Happening::Restart => source.be_away(AWAY)?,
                Happening::Silence => source.fail(Fault::Silence),
            }
        }
        let outcomes = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned())));
        Ok((outcomes.collect(), times))
    })
}

struct Seen {
    lost: usize,
    asked: usize,
    first_good_ms: f64,
    slowest_ms: f64,
}

impl Seen {
    fn line(&self, label: &str) -> Vec<String> {
        vec![
            label.to_owned(),
            self.lost.to_string(),
            self.asked.to_string(),
            short(self.first_good_ms),
            short(self.slowest_ms),
        ]
    }
}

/// What became of the queries around one event.
fn look(outcome: &Outcome, span: Duration, happened: Instant) -> Result<Seen, String> {
    let at = happened.saturating_duration_since(outcome.begun);
    let end = at + span - UNDER_WAY;
    let begin = at.saturating_sub(UNDER_WAY);
    let around: Vec<_> = outcome
        .samples
        .iter()
        .filter(|sample| sample.due >= begin && sample.due < end)
        .collect();
    let lately = begin.saturating_sub(BEFORE)..begin;
    let is_good = |sample: &&open::Sample| lately.contains(&sample.due) && sample.latency.is_some();
    let before = outcome.samples.iter().filter(is_good).count();
    if before == 0 {
        return Err("still down from what happened before".to_owned());
    }
    let after = around.iter().filter(|sample| sample.due >= at);
    let good = after.filter_map(|sample| Some(sample.due + sample.latency? - at)).min();
    let slowest = around.iter().filter_map(|sample| sample.latency).max();
    let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    Ok(Seen {
        lost: around.iter().filter(|sample| sample.latency.is_none()).count(),
        asked: around.len(),
        first_good_ms: ms(good),
        slowest_ms: ms(slowest),
    })
}

fn judge(row: &mut Row, label: &str, what: Happening, seen: &Result<Seen, String>) {
    let name = what.name();
    match seen {
        Ok(seen) => {
            // While a resolver is away there is nothing to answer with: tacenda says so at once, so that the next one in line or an old
            // answer can be given.
            if what != Happening::Restart {
                row.judge(
                    &format!("{label}, {name}: lost"),
                    "0",
                    seen.lost.to_string(),
                    Met::of(seen.lost == 0),
                );
            }
            row.hold_value(
                &format!("{label}, {name}: first good answer"),
                seen.first_good_ms,
                what.limit_ms(),
                "ms",
            );
        }
        Err(why) => row.judge(
            &format!("{label}, {name}"),
            "0 lost",
            "-".to_owned(),
            Met::Void(why.clone()),
        ),
    }
}
