//! B6: what a query costs that the cache does not have: every name is new.

use std::time::Duration;

use crate::closed::{Load, Until};
use crate::configs::{CacheSize, Transport};
use crate::lab::{Fleet, Lab, SERVER_CORE};
use crate::peers::{self, Kind, Place};
use crate::report::{Limit, Row, Table};
use crate::rounds;
use crate::rows::hit;

/// More than anybody answers in one measurement.
const NAMES: u64 = 1_000_000;

/// B6.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new("B6", "misses, every name new, the server alone on its core");
    let place = Place {
        core: Some(SERVER_CORE),
        namespace: None,
    };
    for (transport, name, limit) in [(Transport::Dot, "DoT", 26.0), (Transport::Doh, "DoH", 32.0)] {
        let mut kinds = vec![(Kind::Tacenda, transport)];
        kinds.extend(lab.chosen(&Kind::PEERS, transport));
        let fleet = lab.fleet(Some(Kind::LimitRelay), &kinds, lab.upstream()?, CacheSize::Large, place)?;
        for outstanding in [50, 1] {
            measure(lab, &fleet, &mut row, name, outstanding, limit);
        }
        row.notes.extend(fleet.absent);
    }
    row.notes
        .push("limit-relay asks over DoT in the tables of DoH too".to_owned());
    Ok(row)
}

fn measure(lab: &Lab, fleet: &Fleet, row: &mut Row, transport: &str, outstanding: usize, limit: f64) {
    let time = Duration::from_millis(lab.options.size(200, 2000));
    let pinned = peers::pin_self(vec![Lab::other_core()]);
    let outcomes = rounds::interleave(fleet.floor.as_ref(), &fleet.all(), lab.options.rounds(3), |program| {
        pinned.clone()?;
        let mut load = Load::saturated(program.address, lab.new_names(NAMES), time).outstanding(outstanding);
        load.until = Until::TimeUnique(time);
        load.timed = true;
        let (cost, mut tally) = hit::cost(program, &load)?;
        Ok(vec![cost, tally.latencies.quantile_ms(0.5) * 1000.0])
    });
    let _ = peers::pin_self(peers::all_cores());
    let what = format!("{transport}, {outstanding} outstanding");
    row.tables.push(Table::of_costs(
        &format!("CPU of the server, {what}"),
        "us/miss",
        &outcomes[0],
    ));
    if let (1, Some(latency)) = (outstanding, outcomes.get(1)) {
        row.tables
            .push(Table::of_costs(&format!("latency, median, {what}"), "us", latency));
    }
    if outstanding == 1 {
        return;
    }
    let absolute = Limit::Absolute(limit, "us");
    if transport == "DoT" {
        row.hold_either(&what, &outcomes[0], [absolute, Limit::BestPeer(0.50)]);
    } else {
        row.hold(&what, &outcomes[0], absolute);
    }
    row.hold(&what, &outcomes[0], Limit::Floor(1.50));
}
