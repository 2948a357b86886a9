//! B1 and B2: what a cached answer over UDP costs, under saturation on one core, and one at a time on two.

use std::time::Duration;

use crate::closed::{self, Load, Names, Tally};
use crate::configs::{CacheSize, Transport};
use crate::lab::{Fleet, Lab, SERVER_CORE};
use crate::peers::{self, Kind, Place, Program};
use crate::report::{Limit, Row, Table};
use crate::{cpu, rounds};

/// The hot names.
pub(crate) const HOT: Names = Names {
    prefix: b'n',
    first: 0,
    count: 1000,
};

/// tacenda, the echo and all peers with a cache, on the servers' core, with the hot names in their caches.
pub(crate) fn fleet(lab: &Lab) -> Result<Fleet, String> {
    let mut kinds = vec![(Kind::Tacenda, Transport::Dot)];
    for kind in Kind::PEERS.into_iter().filter(|kind| kind.caches()) {
        let transports = [Transport::Dot, Transport::Doh, Transport::Plain];
        let transport = transports.into_iter().find(|transport| kind.speaks(*transport));
        kinds.extend(lab.chosen(&[kind], transport.unwrap_or(Transport::Plain)));
    }
    let place = Place {
        core: Some(SERVER_CORE),
        namespace: None,
    };
    let mut fleet = lab.fleet(Some(Kind::LimitEcho), &kinds, lab.upstream()?, CacheSize::Large, place)?;
    fleet.warm(HOT, 64);
    Ok(fleet)
}

/// Microseconds of the server's CPU for each right answer.
pub(crate) fn cost(program: &Program, load: &Load) -> Result<(f64, Tally), String> {
    let load = Load {
        target: program.address,
        echo: program.kind == Kind::LimitEcho,
        ..*load
    };
    let before = cpu::used_ns(program.running.pid())?;
    let tally = closed::run(&load)?;
    let used = cpu::used_ns(program.running.pid())?.saturating_sub(before);
    let answered = tally.checked()?;
    Ok((used as f64 / 1000.0 / answered as f64, tally))
}

/// B1.
pub(crate) fn saturated(lab: &Lab, fleet: &Fleet) -> Result<Row, String> {
    let mut row = Row::new(
        "B1",
        "cached answers, 1000 hot names, saturated, server and generator on one core",
    );
    let time = Duration::from_millis(lab.options.size(200, 1000));
    let load = Load::saturated(fleet.any_address()?, HOT, time);
    peers::pin_self(vec![SERVER_CORE])?;
    let outcomes = rounds::interleave(fleet.floor.as_ref(), &fleet.all(), lab.options.rounds(5), |program| {
        cost(program, &load).map(|(cost, _)| vec![cost])
    });
    peers::pin_self(peers::all_cores())?;
    let outcome = &outcomes[0];
    row.tables
        .push(Table::of_costs("CPU of the server", "us/query", outcome));
    row.hold("CPU of a hit", outcome, Limit::Floor(1.20));
    row.hold("CPU of a hit", outcome, Limit::BestPeer(0.75));
    row.notes.extend(fleet.absent.iter().cloned());
    Ok(row)
}

/// B2.
pub(crate) fn one_at_a_time(lab: &Lab, fleet: &Fleet) -> Result<Row, String> {
    let mut row = Row::new(
        "B2",
        "cached answers, one query at a time, server and generator on two cores",
    );
    let time = Duration::from_millis(lab.options.size(200, 1500));
    let mut load = Load::saturated(fleet.any_address()?, HOT, time).outstanding(1);
    load.timed = true;
    peers::pin_self(vec![Lab::other_core()])?;
    let outcomes = rounds::interleave(fleet.floor.as_ref(), &fleet.all(), lab.options.rounds(5), |program| {
        let (cost, mut tally) = cost(program, &load)?;
        let mut at = |part| tally.latencies.quantile_ms(part) * 1000.0;
        Ok(vec![cost, at(0.5), at(0.99)])
    });
    peers::pin_self(peers::all_cores())?;
    let [cpu, median, tail] = &outcomes[..] else {
        return Err("nobody answered".to_owned());
    };
    row.tables.push(Table::of_costs("CPU of the server", "us/query", cpu));
    row.tables.push(Table::of_costs("latency, median", "us", median));
    row.tables.push(Table::of_costs("latency, 99 of 100", "us", tail));
    row.hold("CPU of a hit", cpu, Limit::BestPeer(0.85));
    row.hold("p99 of a hit", tail, Limit::Floor(1.30));
    Ok(row)
}
