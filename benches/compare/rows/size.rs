//! B4 and B5: what a large cache costs, in time for each answer and in memory for each entry, and whether it grows with use.

use std::time::Duration;

use crate::closed::{Load, Names};
use crate::configs::{CacheSize, Transport};
use crate::lab::{Fleet, Lab, SERVER_CORE, fill};
use crate::peers::{self, Kind, Place, Program};
use crate::report::{Limit, Met, Row, Table, short};
use crate::rounds::{self, Outcome, median};
use crate::rows::hit;
use crate::{clock, cpu, wire};

/// Whose caches are compared. smartdns and the others join in the long form: they need a minute to be filled.
const KINDS: [Kind; 3] = [Kind::Unbound, Kind::Dnsdist, Kind::Kresd];

/// `max-bytes` of the cache that is used up in B5, in MiB.
const CHURNED_MIB: u32 = 8;

/// Names that surely fill it.
const CHURNED_FILL: u64 = 25_000;

/// Names that go through it after that.
const CHURNED_MORE: u64 = 3 * CHURNED_FILL;

/// Before memory is read.
const SETTLING: Duration = Duration::from_millis(500);

/// Both rows: they share the filling, which takes the time.
pub(crate) fn rows(lab: &Lab) -> Result<Vec<Row>, String> {
    let kinds = if lab.options.long {
        [KINDS.as_slice(), &[Kind::Smartdns, Kind::Dnsproxy, Kind::DnscryptProxy]].concat()
    } else {
        KINDS.to_vec()
    };
    let mut chosen = vec![(Kind::Tacenda, Transport::Dot)];
    for kind in kinds {
        // In clear where they can: how an answer came does not matter here, and filling takes the time.
        let transport = if kind.speaks(Transport::Plain) {
            Transport::Plain
        } else {
            Transport::Doh
        };
        chosen.extend(lab.chosen(&[kind], transport));
    }
    let place = Place {
        core: Some(SERVER_CORE),
        namespace: None,
    };
    let mut fleet = lab.fleet(Some(Kind::LimitEcho), &chosen, lab.upstream()?, CacheSize::Large, place)?;
    let count = lab.options.size(60_000, 1_000_000);
    let names = lab.new_names(count);
    let mut memory = Row::new("B5", "memory of an entry, and after churn");
    remember(&mut fleet, names, &mut memory);
    let mut rows = Vec::new();
    if lab.options.wants_row("B4") {
        rows.push(time(lab, &fleet, names)?);
    }
    drop(fleet);
    if lab.options.wants_row("B5") {
        churn(lab, &mut memory)?;
        rows.push(memory);
    }
    Ok(rows)
}

/// Fills the caches and looks at what that took.
fn remember(fleet: &mut Fleet, names: Names, row: &mut Row) {
    let mut query = [0; wire::MAX_QUERY];
    let raw = wire::answer_len(wire::write_query(
        &mut query,
        0,
        names.prefix,
        names.first + names.count / 2,
    )) as f64;
    let mut lines = Vec::new();
    let mut ours = f64::NAN;
    let pinned = peers::pin_self(vec![Lab::other_core()]);
    let absent = &mut fleet.absent;
    fleet.programs.retain(|program| {
        let outcome = pinned.clone().and_then(|()| {
            let before = cpu::resident(program.running.pid())?;
            fill(program, names, 64)?;
            // Whoever tidies up afterwards may.
            clock::rest(SETTLING);
            Ok((before, cpu::resident(program.running.pid())?))
        });
        match outcome {
            Ok((before, full)) => {
                let each = full.saturating_sub(before) as f64 / names.count as f64;
                if program.kind == Kind::Tacenda {
                    ours = each - raw;
                }
                let mib = |octets: u64| short(octets as f64 / 1_048_576.0);
                lines.push(vec![
                    program.label.clone(),
                    mib(before),
                    mib(full),
                    short(each),
                    short(each - raw),
                ]);
                true
            }
            Err(why) => {
                absent.push(format!("{}: {why}", program.label));
                false
            }
        }
    });
    let _ = peers::pin_self(peers::all_cores());
    let title = format!("{} A answers of {raw} octets", names.count);
    let columns = [
        "program",
        "MiB before",
        "MiB full",
        "octets/entry",
        "above the answer's own",
    ];
    row.tables.push(Table::new(&title, &columns, lines));
    row.hold_value("memory of an entry above the answer's own", ours, 260.0, "octets");
    row.notes.extend(fleet.absent.iter().cloned());
}

/// B4.
fn time(lab: &Lab, fleet: &Fleet, names: Names) -> Result<Row, String> {
    let mut row = Row::new("B4", "cached answers among many names, uniformly, as in B1");
    let sizes = lab
        .options
        .size(vec![1000, names.count], vec![1000, 10_000, 100_000, names.count]);
    let time = Duration::from_millis(lab.options.size(200, 1000));
    peers::pin_self(vec![SERVER_CORE])?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for count in &sizes {
        let load = Load::saturated(fleet.any_address()?, Names { count: *count, ..names }, time);
        let measure = |program: &Program| hit::cost(program, &load).map(|(cost, _)| vec![cost]);
        let mut measured = rounds::interleave(fleet.floor.as_ref(), &fleet.all(), lab.options.rounds(3), measure);
        outcomes.push(measured.swap_remove(0));
    }
    peers::pin_self(peers::all_cores())?;
    for (count, outcome) in sizes.iter().zip(&outcomes) {
        row.tables.push(Table::of_costs(
            &format!("CPU of the server, {count} names"),
            "us/query",
            outcome,
        ));
    }
    let (few, many) = (&outcomes[0], &outcomes[outcomes.len() - 1]);
    let growth = |kind: Kind| Some(median(&many.of(kind)?.values) / median(&few.of(kind)?.values));
    let what = format!("CPU({})/CPU(1000)", names.count);
    match (&few.void, &many.void) {
        (None, None) => row.hold_value(&what, growth(Kind::Tacenda).unwrap_or(f64::NAN), 1.35, "x"),
        (Some(why), _) | (_, Some(why)) => row.judge(
            &what,
            "<= 1.35 x",
            growth(Kind::Tacenda).map_or_else(|| "-".to_owned(), short),
            Met::Void(why.clone()),
        ),
    }
    for (count, outcome) in sizes.iter().zip(&outcomes) {
        row.hold(
            &format!("best of all among {count} names"),
            outcome,
            Limit::BestPeer(1.0),
        );
    }
    for program in &fleet.programs {
        row.notes.push(format!(
            "{}: {what} = {}",
            program.label,
            growth(program.kind).map_or_else(|| "-".to_owned(), short)
        ));
    }
    Ok(row)
}

/// The second half of B5: many more names than fit go through a small cache.
fn churn(lab: &Lab, row: &mut Row) -> Result<(), String> {
    let mut chosen = vec![(Kind::Tacenda, Transport::Dot)];
    if lab.options.long {
        chosen.extend(lab.chosen(&KINDS, Transport::Plain));
    }
    let place = Place {
        core: Some(SERVER_CORE),
        namespace: None,
    };
    let fleet = lab.fleet(None, &chosen, lab.upstream()?, CacheSize::Small(CHURNED_MIB), place)?;
    let (mut lines, mut ours) = (Vec::new(), f64::NAN);
    peers::pin_self(vec![Lab::other_core()])?;
    for program in &fleet.programs {
        match churn_one(lab, program) {
            Ok((before, full, after)) => {
                let growth = (after as f64 / full as f64 - 1.0) * 100.0;
                if program.kind == Kind::Tacenda {
                    ours = growth;
                }
                let mib = |octets: u64| short(octets as f64 / 1_048_576.0);
                lines.push(vec![
                    program.label.clone(),
                    mib(before),
                    mib(full),
                    mib(after),
                    format!("{growth:+.1}"),
                ]);
            }
            Err(why) => lines.push(vec![program.label.clone(), why]),
        }
    }
    peers::pin_self(peers::all_cores())?;
    let title = format!(
        "churn: {CHURNED_FILL} names, then {CHURNED_MORE} more, through a cache of {CHURNED_MIB} MiB (max-bytes)"
    );
    row.tables.push(Table::new(
        &title,
        &["program", "MiB before", "MiB full", "MiB after", "growth %"],
        lines,
    ));
    row.hold_value("growth by churn after the first fill", ours, 15.0, "%");
    row.notes.extend(fleet.absent);
    Ok(())
}

fn churn_one(lab: &Lab, program: &Program) -> Result<(u64, u64, u64), String> {
    let pid = program.running.pid();
    let before = cpu::resident(pid)?;
    fill(program, lab.new_names(CHURNED_FILL), 64)?;
    let full = cpu::resident(pid)?;
    fill(program, lab.new_names(lab.options.size(1, 5) * CHURNED_MORE), 64)?;
    Ok((before, full, cpu::resident(pid)?))
}
