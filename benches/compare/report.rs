//! What is said in the end: a table for each figure, the targets of each row, the summary, and all of it as JSON.

use serde_json::{Value, json};

use crate::peers::Kind;
use crate::rounds::{Outcome, Series, bounds, median, ratios};

/// Says a line to whoever runs the comparison.
#[expect(clippy::print_stdout, reason = "a bench talks to its user")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// One of the rows B1 to B12.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) tables: Vec<Table>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) notes: Vec<String>,
    /// What it took.
    pub(crate) seconds: f64,
}

/// One figure of all programs.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    lines: Vec<Vec<String>>,
    values: Value,
}

/// A target and what became of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) figure: String,
    pub(crate) met: Met,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Yes,
    No,
    /// The machine was too restless, or somebody answered wrongly: nothing is claimed.
    Void(String),
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Floor(f64),
    BestPeer(f64),
    Absolute(f64, &'static str),
}

impl Row {
    pub(crate) fn new(id: &'static str, title: &'static str) -> Self {
        Self {
            id,
            title,
            ..Self::default()
        }
    }

    /// A row that could not be run.
    pub(crate) fn failed(id: &'static str, title: &'static str, why: String) -> Self {
        let mut row = Self::new(id, title);
        row.judge("the whole row", "to be measured", why.clone(), Met::Void(why));
        row
    }

    /// Adds a verdict of any kind.
    pub(crate) fn judge(&mut self, what: &str, target: &str, figure: String, met: Met) {
        self.verdicts.push(Verdict {
            what: what.to_owned(),
            target: target.to_owned(),
            figure,
            met,
        });
    }

    /// Holds tacenda's figure against a limit.
    pub(crate) fn hold(&mut self, what: &str, outcome: &Outcome, limit: Limit) {
        self.verdicts.push(hold(what, outcome, Kind::Tacenda, limit));
    }

    /// The same, where it is enough to keep within one of two limits.
    pub(crate) fn hold_either(&mut self, what: &str, outcome: &Outcome, limits: [Limit; 2]) {
        let [first, second] = limits.map(|limit| hold(what, outcome, Kind::Tacenda, limit));
        let target = format!("{} or {}", first.target, second.target.trim_start_matches("<= "));
        let chosen = if second.met == Met::Yes { second } else { first };
        self.verdicts.push(Verdict { target, ..chosen });
    }

    /// Holds a plain number against its limit; `NaN` is a figure that is not there.
    pub(crate) fn hold_value(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let met = if value.is_nan() {
            Met::Void("no figure".to_owned())
        } else if value <= limit {
            Met::Yes
        } else {
            Met::No
        };
        self.judge(
            what,
            &format!("<= {} {unit}", short(limit)),
            format!("{} {unit}", short(value)),
            met,
        );
    }

    pub(crate) fn show(&self) {
        say(&format!("\n== {}  {}  ({:.0} s)", self.id, self.title, self.seconds));
        for table in &self.tables {
            table.show();
        }
        for verdict in &self.verdicts {
            say(&format!("   {}", verdict.line()));
        }
        for note in &self.notes {
            say(&format!("   note: {note}"));
        }
    }

    pub(crate) fn as_json(&self) -> Value {
        let tables: Vec<&Value> = self.tables.iter().map(|table| &table.values).collect();
        let verdicts: Vec<Value> = self.verdicts.iter().map(Verdict::as_json).collect();
        json!({"id": self.id, "title": self.title, "tables": tables, "seconds": self.seconds, "targets": verdicts, "notes": self.notes})
    }
}

impl Table {
    /// The usual one: the figure, beside the floor and beside the best peer.
    pub(crate) fn of_costs(title: &str, unit: &str, outcome: &Outcome) -> Self {
        let best = outcome.best_peer();
        let floor = outcome.floor.as_ref();
        let lines = floor
            .into_iter()
            .chain(&outcome.series)
            .map(|series| cost_line(series, floor, best))
            .collect();
        let as_json = |series: &Series| {
            json!({"program": series.label, "median": number(median(&series.values)), "rounds": series.values,
                   "failed": series.failed})
        };
        let programs: Vec<Value> = outcome.series.iter().map(as_json).collect();
        let void = outcome
            .void
            .as_ref()
            .map(|why| format!(", void: {why}"))
            .unwrap_or_default();
        let dropped = match outcome.dropped {
            0 => String::new(),
            count => format!(", {count} rounds left out for stolen time"),
        };
        let columns = ["program", unit, "min", "max", "x floor", "(min-max)", "x best peer"];
        Self {
            title: format!("{title}{void}{dropped}"),
            columns: columns.map(str::to_owned).to_vec(),
            lines,
            values: json!({"title": title, "unit": unit, "void": outcome.void, "rounds_left_out": outcome.dropped,
                           "floor": floor.map(as_json), "programs": programs}),
        }
    }

    /// One with columns of its own.
    pub(crate) fn new(title: &str, columns: &[&str], lines: Vec<Vec<String>>) -> Self {
        let as_json = |line: &Vec<String>| {
            let cells = columns
                .iter()
                .zip(line)
                .map(|(column, cell)| ((*column).to_owned(), json!(cell)));
            Value::Object(cells.collect())
        };
        let values = json!({"title": title, "lines": lines.iter().map(as_json).collect::<Vec<_>>()});
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            lines,
            values,
        }
    }

    fn show(&self) {
        say(&format!("   {}", self.title));
        let all = || std::iter::once(&self.columns).chain(&self.lines);
        // A line that is cut short ends in a reason, which may be as long as it likes.
        let whole = || all().filter(|line| line.len() == self.columns.len());
        let width = |column: usize| {
            whole()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for line in all() {
            let cells = line.iter().zip(&widths).enumerate();
            let shown: Vec<String> = cells
                .map(|(index, (cell, width))| {
                    if index == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
            say(&format!("     {}", shown.join("  ").trim_end()));
        }
    }
}

fn cost_line(series: &Series, floor: Option<&Series>, best: Option<&Series>) -> Vec<String> {
    if let Some(why) = &series.failed {
        return vec![series.label.clone(), "void".to_owned(), why.clone()];
    }
    let (low, high) = bounds(&series.values);
    let mut line = vec![
        series.label.clone(),
        short(median(&series.values)),
        short(low),
        short(high),
    ];
    match floor {
        Some(floor) => {
            let beside = ratios(&series.values, &floor.values);
            let (low, high) = bounds(&beside);
            line.push(format!("{:.2}", median(&beside)));
            line.push(format!("({low:.2}-{high:.2})"));
        }
        None => line.extend(["-".to_owned(), "-".to_owned()]),
    }
    line.push(best.map_or_else(
        || "-".to_owned(),
        |best| format!("{:.2}", median(&ratios(&series.values, &best.values))),
    ));
    line
}

fn hold(what: &str, outcome: &Outcome, kind: Kind, limit: Limit) -> Verdict {
    let target = match limit {
        Limit::Floor(factor) => format!("<= {factor:.2} x floor"),
        Limit::BestPeer(factor) => format!("<= {factor:.2} x best peer"),
        Limit::Absolute(value, unit) => format!("<= {} {unit}", short(value)),
    };
    let verdict = |figure: String, met| Verdict {
        what: what.to_owned(),
        target: target.clone(),
        figure,
        met,
    };
    let void = |why: &str| verdict("-".to_owned(), Met::Void(why.to_owned()));
    let Some(ours) = outcome.of(kind) else {
        let why = outcome
            .series
            .iter()
            .find(|series| series.kind == kind)
            .and_then(|series| series.failed.as_deref());
        return void(why.unwrap_or("no figure"));
    };
    let (value, limit, shown) = match limit {
        Limit::Floor(factor) => {
            let Some(floor) = &outcome.floor else {
                return void("no floor");
            };
            let ratio = median(&ratios(&ours.values, &floor.values));
            (ratio, factor, format!("{ratio:.2} x {}", floor.label))
        }
        Limit::BestPeer(factor) => {
            let Some(best) = outcome.best_peer() else {
                return void("no peer to compare with");
            };
            let ratio = median(&ratios(&ours.values, &best.values));
            (ratio, factor, format!("{ratio:.2} x {}", best.label))
        }
        Limit::Absolute(limit, unit) => {
            let value = median(&ours.values);
            (value, limit, format!("{} {unit}", short(value)))
        }
    };
    match &outcome.void {
        Some(why) => verdict(shown, Met::Void(why.clone())),
        None => verdict(shown, if value <= limit { Met::Yes } else { Met::No }),
    }
}

impl Verdict {
    fn line(&self) -> String {
        let Self {
            what,
            target,
            figure,
            met,
        } = self;
        format!("{what:<44} {target:<30} {figure:<26} {}", met.word())
    }

    fn as_json(&self) -> Value {
        json!({"what": self.what, "target": self.target, "figure": self.figure, "met": self.met.word()})
    }
}

impl Met {
    pub(crate) fn of(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }

    fn word(&self) -> String {
        match self {
            Self::Yes => "met".to_owned(),
            Self::No => "MISSED".to_owned(),
            Self::Void(why) => format!("void ({why})"),
        }
    }
}

/// The table of all targets.
pub(crate) fn summary(rows: &[Row]) {
    say("\n== Summary");
    for row in rows {
        for verdict in &row.verdicts {
            say(&format!("   {:<4}{}", row.id, verdict.line()));
        }
    }
}

/// A number with three or so digits that mean something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// JSON knows no NaN.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}
