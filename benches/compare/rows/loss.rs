//! B7: the tail over a way of 40 ms that loses packets: every name is new, queries are due every 10 ms, all programs share the way.

use std::net::UdpSocket;
use std::time::Duration;

use crate::configs::{CacheSize, Transport};
use crate::lab::Lab;
use crate::open::{self, Order, Plan};
use crate::path::{self, Path};
use crate::peers::{Kind, Place, Program};
use crate::report::{Met, Row, Table, short};
use crate::rows::start::RTT;
use crate::source::{Doors, Source};

/// Queries that one program gets each second.
const PER_SECOND: f64 = 100.0;

/// The loss that the target is about, in percent.
const JUDGED: u32 = 1;

/// B7.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new(
        "B7",
        "misses over a way of 40 ms with loss, 100 queries a second, open loop",
    );
    let path = Path::new(RTT)?;
    let source = Source::start(path.far.inside(|| Doors::open(path::FAR, 0, 0))?, true)?;
    let mut kinds = vec![(Kind::Tacenda, Transport::Dot), (Kind::Tacenda, Transport::Doh)];
    kinds.extend(lab.chosen(&Kind::PEERS, Transport::Dot));
    kinds.extend(lab.chosen(&[Kind::Dnsdist, Kind::DnscryptProxy, Kind::Dnsproxy], Transport::Doh));
    let place = Place {
        core: None,
        namespace: Some(&path.near),
    };
    let fleet = lab.fleet(None, &kinds, source.address, CacheSize::Large, place)?;
    for loss in lab.options.size(vec![JUDGED], vec![0, 1, 3]) {
        path.lose(loss);
        let before = (source.queries(), path.dropped());
        let outcomes = all_at_once(lab, &fleet.all(), &path)?;
        let asked = source.queries() - before.0;
        show(&mut row, &fleet.all(), loss, outcomes);
        row.notes.push(format!(
            "{loss} % of the packets of each direction: {} lost; the upstream was asked {asked} times in all",
            path.dropped() - before.1
        ));
    }
    row.notes.extend(fleet.absent);
    Ok(row)
}

type Outcomes = Vec<Result<open::Outcome, String>>;

/// Nobody needs the CPU: they wait beside each other.
fn all_at_once(lab: &Lab, programs: &[&Program], path: &Path) -> Result<Outcomes, String> {
    let mut jobs = Vec::new();
    for program in programs {
        let plan = Plan {
            target: program.address,
            names: lab.new_names(1_000_000),
            order: Order::InTurn,
            per_second: PER_SECOND,
            time: Duration::from_secs(lab.options.size(10, 120)),
            echo: false,
        };
        let socket = path
            .near
            .inside(|| UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string()))?;
        jobs.push((plan, socket));
    }
    Ok(std::thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|(plan, socket)| scope.spawn(move || open::run(plan, socket)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned())))
            .collect()
    }))
}

fn show(row: &mut Row, programs: &[&Program], loss: u32, outcomes: Outcomes) {
    let mut lines = Vec::new();
    let mut best_peer: Option<(f64, String)> = None;
    let mut ours = Vec::new();
    for (program, outcome) in programs.iter().zip(outcomes) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => {
                lines.push(vec![program.label.clone(), why]);
                continue;
            }
        };
        let mut latencies = outcome.latencies();
        let (failures, asked) = (outcome.failures(), outcome.samples.len());
        let tail = latencies.quantile_ms(0.99);
        if program.kind == Kind::Tacenda {
            ours.push((program.label.clone(), tail, failures));
        } else if failures * 100 < asked && best_peer.as_ref().is_none_or(|(best, _)| tail < *best) {
            best_peer = Some((tail, program.label.clone()));
        }
        lines.push(vec![
            program.label.clone(),
            short(latencies.quantile_ms(0.5)),
            short(tail),
            short(latencies.quantile_ms(0.999)),
            short(latencies.max_ms()),
            format!("{failures} of {asked}"),
            outcome
                .first_wrong
                .map_or_else(|| "-".to_owned(), |wrong| wrong.to_string()),
        ]);
    }
    let columns = [
        "program",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "failures",
        "first wrong",
    ];
    row.tables.push(Table::new(&format!("{loss} % loss"), &columns, lines));
    if loss != JUDGED {
        return;
    }
    for (label, tail, failures) in ours {
        let what = format!("{label}, p99 at {loss} % loss");
        match &best_peer {
            Some((best, name)) => {
                let figure = format!("{:.2} x {name} ({} ms)", tail / best, short(tail));
                row.judge(&what, "<= 0.50 x best peer", figure, Met::of(tail <= 0.5 * best));
            }
            None => row.judge(
                &what,
                "<= 0.50 x best peer",
                "-".to_owned(),
                Met::Void("no peer".to_owned()),
            ),
        }
        row.judge(
            &format!("{label}, failures at {loss} % loss"),
            "0",
            failures.to_string(),
            Met::of(failures == 0),
        );
    }
}
