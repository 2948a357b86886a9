//! The table: one line a fault.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::Job;
use crate::cases::Case;
use crate::rig::{Outcome, TARGET};
use crate::subject::Kind;

/// A stub and a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) kind: Kind,
    pub(crate) doh: bool,
}

impl Column {
    fn title(self) -> &'static str {
        match (self.kind, self.doh) {
            (Kind::Tacenda, false) => "DoT",
            (Kind::Tacenda, true) => "DoH",
            (Kind::Unbound, _) => "Unbound",
            (Kind::Knot, _) => "Knot",
        }
    }
}

/// Writes past the test harness, which would keep the table to itself when all is well.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Where a run stands.
pub(crate) fn progress(case: &Case, column: Column, outcome: &Result<Outcome, String>) {
    let text = match outcome {
        Ok(outcome) => cell(outcome),
        Err(reason) => reason.clone(),
    };
    let _ = writeln!(
        std::io::stderr().lock(),
        "  {}{} {}: {text}",
        case.number,
        case.variant,
        column.title()
    );
}

pub(crate) fn head(columns: &[Column]) -> String {
    let mut text = format!("\n{:<43}", "fault");
    for column in columns {
        write!(text, " | {:<28}", format!("{}: s, lost, failed, worst", column.title())).unwrap();
    }
    text + " | control s, remarks"
}

/// Seconds, unanswered, SERVFAIL and the like of all asked, and the longest wait for an answer.
fn cell(outcome: &Outcome) -> String {
    let time = outcome
        .recovery
        .map_or_else(|| "never".to_owned(), |time| format!("{:.2}", time.as_secs_f64()));
    let star = if outcome.is_good() { ' ' } else { '!' };
    format!(
        "{star}{time:>5} {:>3} {:>4}/{:<4} {:>5.2}",
        outcome.unanswered,
        outcome.failed,
        outcome.asked,
        outcome.worst.as_secs_f64()
    )
}

/// A fault over every column.
pub(crate) struct Line {
    case: Case,
    cells: Vec<(Column, Option<Result<Outcome, String>>)>,
}

impl Line {
    /// Takes the case's results out of all.
    pub(crate) fn gather(case: Case, columns: &[Column], results: &mut Vec<(Job, Result<Outcome, String>)>) -> Self {
        let mut take = |column: Column| {
            let is_it =
                |job: &Job| (job.case.number, job.case.variant, job.column) == (case.number, case.variant, column);
            let index = results.iter().position(|(job, _)| is_it(job))?;
            Some(results.swap_remove(index).1)
        };
        let cells = columns.iter().map(|column| (*column, take(*column))).collect();
        Self { case, cells }
    }

    /// How many of tacenda's own measurements miss; one that could not be taken misses, unless it needs root.
    pub(crate) fn missed(&self) -> usize {
        let misses = |result: &Result<Outcome, String>| match result {
            Ok(outcome) => !outcome.is_good(),
            Err(reason) => !reason.starts_with("needs "),
        };
        self.cells
            .iter()
            .filter(|(column, _)| column.kind == Kind::Tacenda)
            .filter(|(_, result)| result.as_ref().is_some_and(misses))
            .count()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{:>2}{:<1} {:<39}",
            self.case.number, self.case.variant, self.case.label
        );
        let mut controls = Vec::new();
        let mut remarks = Vec::new();
        for (column, result) in &self.cells {
            let shown = match result {
                None => "-".to_owned(),
                Some(Err(reason)) => {
                    remarks.push(format!("{}: {}", column.title(), one_line(reason)));
                    "not measured".to_owned()
                }
                Some(Ok(outcome)) => {
                    controls.push(outcome.control);
                    remarks.extend(remarks_of(*column, outcome));
                    cell(outcome)
                }
            };
            write!(text, " | {shown:<28}").unwrap();
        }
        let control = controls.into_iter().max().unwrap_or_default();
        format!("{text} | {:.2} {}", control.as_secs_f64(), remarks.join("; "))
    }
}

fn remarks_of(column: Column, outcome: &Outcome) -> Vec<String> {
    let mut all: Vec<String> = outcome.notes.iter().chain(&outcome.problems).cloned().collect();
    if outcome.relapses > 0 {
        all.push(format!("{} failed again later", outcome.relapses));
    }
    if outcome.control > Duration::from_millis(500).min(TARGET) {
        all.push("the lab itself was slow".into());
    }
    all.into_iter()
        .map(|text| format!("{}: {}", column.title(), one_line(&text)))
        .collect()
}

/// The beginning of a text that may have come from a log.
fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(160)
        .collect()
}
