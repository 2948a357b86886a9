//! The status as text, for a terminal of 80 columns.

use std::fmt::Write;

use super::{Figures, Histogram, Status};
use crate::admin::protection::{Part, State};
use crate::cli::stats::Upstream;

const WIDTH: usize = 80;

/// Before what is said of a part: a mark, and its name.
const INDENT: usize = 20;

impl Status {
    pub(super) fn to_text(&self, is_colored: bool) -> String {
        let paint = Paint(is_colored);
        let mut text = paint.of(self.protection.state, &self.protection.text);
        if let Some((_, figures)) = &self.stats {
            let up = since(figures.uptime_seconds);
            let _ = write!(text, " (tacenda {}, up for {up})", plain(&figures.version));
        }
        text.push('\n');
        for part in &self.protection.parts {
            part_lines(&mut text, part, paint);
        }
        if let Some((_, figures)) = &self.stats {
            text.push('\n');
            figure_lines(&mut text, figures);
        }
        text
    }
}

/// The same without what a terminal would obey: while tacenda is stopped, any user may answer in its place.
pub(in crate::cli) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Paint(pub(in crate::cli) bool);

impl Paint {
    pub(in crate::cli) fn of(self, state: State, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match state {
            State::Good => "32",
            State::Unknown => "2",
            State::Gap => "33",
            State::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What is said of a part.
pub(in crate::cli) fn part_lines(text: &mut String, part: &Part, paint: Paint) {
    let word = match part.state {
        State::Good => "ok ",
        State::Unknown => "?  ",
        State::Gap => "GAP",
        State::Bad => "BAD",
    };
    let _ = write!(
        text,
        "  {} {:<14}",
        paint.of(part.state, word),
        plain(&part.name).replace('-', " ")
    );
    for (number, line) in wrap(&plain(&part.text), WIDTH - INDENT).iter().enumerate() {
        let indent = if number == 0 { 0 } else { INDENT };
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
    if let Some(help) = &part.help {
        let _ = writeln!(text, "{:INDENT$}= {}", "", plain(help));
    }
}

/// Lines of at most so many characters, broken between words; a word that is longer stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the start");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn figure_lines(text: &mut String, figures: &Figures) {
    let failed = figures.responses.get("SERVFAIL").copied().unwrap_or(0);
    let _ = writeln!(
        text,
        "queries   {}: {} from the cache, {} asked upstream, {failed} failed",
        figures.queries.total, figures.cache.hits, figures.cache.misses
    );
    let _ = writeln!(
        text,
        "answers   cached: {}; upstream: {}",
        half(&figures.latency.cached),
        half(&figures.latency.upstream)
    );
    let _ = writeln!(
        text,
        "cache     {} {}, {} of {}",
        figures.cache.entries,
        if figures.cache.entries == 1 {
            "answer"
        } else {
            "answers"
        },
        size(figures.cache.bytes),
        size(figures.cache.max_bytes)
    );
    let name = figures
        .upstreams
        .iter()
        .map(|one| one.name.chars().count())
        .max()
        .unwrap_or(0);
    for (number, upstream) in figures.upstreams.iter().enumerate() {
        let head = if number == 0 { "upstreams" } else { "" };
        let _ = writeln!(text, "{head:<10}{}", upstream_line(upstream, name.min(MAX_NAME)));
    }
}

/// An upstream's name may be a host's: the columns behind it stay in sight.
const MAX_NAME: usize = 30;

fn upstream_line(upstream: &Upstream, name: usize) -> String {
    let over = upstream.over();
    let mut line = format!("{:<name$}  ", plain(&upstream.name));
    let _ = match upstream.state.as_str() {
        "unknown" => write!(line, "not asked yet"),
        state => write!(
            line,
            "{:<4}  {over:<5}  {} asked, {} failed",
            plain(state),
            upstream.queries,
            upstream.failures
        ),
    };
    if let Some(rtt) = upstream.rtt_ms {
        let _ = write!(line, ", {rtt:.1} ms");
    }
    if let Some(error) = upstream.last_error.as_ref().filter(|_| upstream.state == "down") {
        for part in wrap(&plain(error), WIDTH - 12) {
            let _ = write!(line, "\n{:12}{part}", "");
        }
    }
    line
}

/// Within which time half of them came.
fn half(histogram: &Histogram) -> String {
    if histogram.count == 0 {
        return "none yet".to_owned();
    }
    let middle = histogram
        .buckets
        .iter()
        .find(|bucket| bucket.count * 2 >= histogram.count);
    match middle.and_then(|bucket| bucket.le) {
        Some(bound) if bound < 1.0 => format!("half within {} ms", bound * 1000.0),
        Some(bound) => format!("half within {bound} s"),
        None => "half take longer than 5 s".to_owned(),
    }
}

/// Of a time what a person reads: the two largest units.
fn since(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Rounded, unlike [`crate::config::units::ByteSize`], which is to be read again.
fn size(octets: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let power = (0..units.len())
        .rev()
        .find(|power| octets >> (10 * power) > 0)
        .unwrap_or(0);
    let value = octets as f64 / (1_u64 << (10 * power)) as f64;
    if value < 10.0 && power > 0 {
        format!("{value:.1} {}", units[power])
    } else {
        format!("{value:.0} {}", units[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefgh i", 4), ["abcdefgh", "i"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn a_time_has_no_more_than_a_person_reads() {
        let shown = [42, 61, 7_384, 200_000].map(since);
        assert_eq!(shown, ["42 s", "1 min", "2 h 3 min", "2 d 7 h"]);
        let shown = [0, 1023, 1 << 10, 67_108_864, 5 << 30].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "64 MiB", "5.0 GiB"]);
    }
}
