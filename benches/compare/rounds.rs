//! Interleaved rounds: floor, each program once, floor again; so that what the machine does meanwhile happens to all of them. The figure
//! that counts is the median of the ratios within a round.

use crate::cpu;
use crate::peers::{Kind, Program};

/// The part of a round that the hypervisor may take, in percent, before the round is left out.
const MAX_STOLEN: f64 = 5.0;

/// How far the floor may vary between rounds before nothing can be said.
const MAX_FLOOR_VARIATION: f64 = 15.0;

/// One figure of one program, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) label: String,
    pub(crate) values: Vec<f64>,
    pub(crate) failed: Option<String>,
}

/// One figure of all programs.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The floor's name and figures, if the row has one.
    pub(crate) floor: Option<Series>,
    pub(crate) series: Vec<Series>,
    pub(crate) void: Option<String>,
    pub(crate) dropped: usize,
}

/// Measures; gives one outcome for each of the figures that `measure` gives.
pub(crate) fn interleave(
    floor: Option<&Program>,
    programs: &[&Program],
    rounds: usize,
    mut measure: impl FnMut(&Program) -> Result<Vec<f64>, String>,
) -> Vec<Outcome> {
    let mut kept: Vec<Round> = Vec::new();
    let mut failed: Vec<Option<String>> = vec![None; programs.len()];
    let mut floor_failed = None;
    let mut dropped = 0;
    for number in 0..rounds {
        let ticks = cpu::ticks();
        let mut round = Round::default();
        let mut take_floor = |round: &mut Round| match floor.map(&mut measure) {
            Some(Ok(figures)) => round.floor.push(figures),
            Some(Err(why)) => floor_failed = Some(why),
            None => {}
        };
        take_floor(&mut round);
        let mut values = vec![Vec::new(); programs.len()];
        // Each round begins with another one: who comes after whom is not always the same.
        for turn in 0..programs.len() {
            let index = (turn + number) % programs.len();
            if failed[index].is_some() {
                continue;
            }
            match measure(programs[index]) {
                Ok(figures) => values[index] = figures,
                Err(why) => failed[index] = Some(why),
            }
        }
        let mut take_floor = |round: &mut Round| match floor.map(&mut measure) {
            Some(Ok(figures)) => round.floor.push(figures),
            Some(Err(why)) => floor_failed = Some(why),
            None => {}
        };
        take_floor(&mut round);
        round.values = values;
        let last_chance = number + 1 == rounds && kept.is_empty();
        if cpu::ticks().stolen_since(ticks) > MAX_STOLEN && !last_chance {
            dropped += 1;
        } else {
            kept.push(round);
        }
    }
    let figures = kept
        .iter()
        .flat_map(|round| round.values.iter().chain(&round.floor))
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    (0..figures.max(1))
        .map(|figure| outcome(figure, floor, programs, &kept, &failed, floor_failed.as_ref(), dropped))
        .collect()
}

#[derive(Default)]
struct Round {
    floor: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
}

fn outcome(
    figure: usize,
    floor: Option<&Program>,
    programs: &[&Program],
    kept: &[Round],
    failed: &[Option<String>],
    floor_failed: Option<&String>,
    dropped: usize,
) -> Outcome {
    let series = |(index, program): (usize, &&Program)| Series {
        kind: program.kind,
        label: program.label.clone(),
        values: kept
            .iter()
            .filter_map(|round| round.values[index].get(figure).copied())
            .collect(),
        failed: failed[index].clone(),
    };
    let of_floor = |at: usize| {
        kept.iter()
            .map(move |round| mean(round.floor.iter().filter_map(|one| one.get(at).copied())))
    };
    let floor = floor.map(|program| Series {
        kind: program.kind,
        label: program.label.clone(),
        values: of_floor(figure).collect(),
        failed: floor_failed.cloned(),
    });
    // Whether the machine was quiet is told by the first figure, the CPU: a percentile varies by itself.
    let steady = of_floor(0).collect::<Vec<_>>();
    let void = floor.as_ref().and_then(|floor| match &floor.failed {
        Some(why) => Some(format!("the floor failed: {why}")),
        None => varied(&steady),
    });
    Outcome {
        floor,
        series: programs.iter().enumerate().map(series).collect(),
        void,
        dropped,
    }
}

fn varied(values: &[f64]) -> Option<String> {
    let (low, high) = bounds(values);
    let percent = (high - low) / median(values) * 100.0;
    (percent > MAX_FLOOR_VARIATION).then(|| format!("floor varied by {percent:.0} %"))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

/// The middle one; the lower of two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The least and the greatest.
pub(crate) fn bounds(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// `a / b`, round by round.
pub(crate) fn ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}

impl Outcome {
    /// The peer with the lowest median.
    pub(crate) fn best_peer(&self) -> Option<&Series> {
        self.series
            .iter()
            .filter(|series| series.kind.is_peer() && series.failed.is_none() && !series.values.is_empty())
            .min_by(|a, b| median(&a.values).total_cmp(&median(&b.values)))
    }

    pub(crate) fn of(&self, kind: Kind) -> Option<&Series> {
        self.series
            .iter()
            .find(|series| series.kind == kind && series.failed.is_none() && !series.values.is_empty())
    }
}
