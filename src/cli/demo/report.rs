//! Prints the demo: what the application asked beside what the observer saw. Only writes; every judgement was made before.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::demo::application::{Question, Reply, Road};
use crate::cli::demo::{Figures, resolver};
use crate::cli::leak::{Finding, VIEWS};

/// Everything a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the observer found in the packet that it was shown in clear.
    pub control: Vec<Finding>,
    /// How many names were looked for.
    pub names: usize,
    /// One per transport.
    pub legs: Vec<Leg>,
}

/// One transport's run.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The transport's name.
    pub transport: &'static str,
    /// The upstream as the stub was told it: its port is the observer's.
    pub url: String,
    /// Where the stub took classic DNS.
    pub stub: SocketAddr,
    /// The first round's questions.
    pub rows: Vec<Row>,
    /// Queries that reached the resolver in the first and in the second round.
    pub asked_upstream: [u64; 2],
    /// Octets that the observer saw in the first and in the second round.
    pub octets: [usize; 2],
    /// Whether the resolver's own name was seen in the TLS handshake.
    pub server_name_seen: bool,
    /// The stub's own account.
    pub figures: Figures,
}

/// One question, its reply, and the link meanwhile.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the application asked.
    pub question: Question,
    /// What it got.
    pub reply: Reply,
    /// How long that took.
    pub elapsed: Duration,
    /// What the observer saw going to the resolver.
    pub up: Vec<u8>,
    /// What the observer saw coming back.
    pub down: Vec<u8>,
}

/// Whether to write escape sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// Bold and colour.
    Pretty,
}

impl Style {
    /// Pretty on a terminal, unless `NO_COLOR` is set to something (no-color.org) or the terminal is dumb.
    pub fn of_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if io::stdout().is_terminal() && !no_color && !dumb {
            Self::Pretty
        } else {
            Self::Plain
        }
    }

    fn paint(self, text: &str, escape: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Pretty => format!("\x1b[{escape}m{text}\x1b[0m"),
        }
    }
}

const BOLD: &str = "1";
const GREEN: &str = "1;32";
const CYAN: &str = "36";
const DIM: &str = "2";

/// Width of the application's half.
const LEFT: usize = 56;

/// Octets of a TLS record that are shown.
const EXCERPT: usize = 12;

/// Writes the whole report.
///
/// # Errors
/// `out` cannot be written.
pub fn write(report: &Report, style: Style, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", style.paint("tacenda demo", BOLD))?;
    writeln!(
        out,
        "application --classic DNS--> stub --TLS--> observer --TLS--> resolver   (all on loopback, offline)\n"
    )?;
    writeln!(out, "control: shown a clear-text query, the observer read")?;
    for finding in &report.control {
        writeln!(out, "  {finding}")?;
    }
    for leg in &report.legs {
        write_leg(leg, report.names, style, out)?;
    }
    let octets: usize = report.legs.iter().flat_map(|leg| leg.octets).sum();
    let verdict = format!(
        "none of {} names is in the {octets} octets that the observer captured",
        report.names
    );
    writeln!(out, "\n{} {verdict}", style.paint("proved:", GREEN))
}

fn write_leg(leg: &Leg, names: usize, style: Style, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{}  {}", style.paint(leg.transport, BOLD), leg.url)?;
    let left = format!("the application asked {} and got", leg.stub);
    writeln!(
        out,
        "  {:LEFT$} {}",
        left,
        style.paint("the observer on the link saw", BOLD)
    )?;
    for row in &leg.rows {
        write_row(row, style, out)?;
    }
    let [first, second] = leg.asked_upstream;
    let asked = leg.rows.len();
    writeln!(
        out,
        "  first round: {asked} asked, {first} sent upstream; second round: {asked} asked, {second} sent upstream"
    )?;
    let Figures {
        queries,
        hits,
        misses,
        entries,
        bytes,
    } = leg.figures;
    writeln!(
        out,
        "  cache: {queries} queries, {hits} hits, {misses} misses; {entries} entries, {bytes} octets"
    )?;
    let [before, after] = leg.octets;
    let views = VIEWS.map(|(view, _)| view).join(", ");
    writeln!(
        out,
        "  searched {before} + {after} octets for {names} names, dotted, in wire form and by label,"
    )?;
    writeln!(out, "  {views}: none found")?;
    let learns = if leg.server_name_seen {
        resolver::SERVER_NAME
    } else {
        "nothing"
    };
    writeln!(
        out,
        "  what the link does give away: when and how much; of names, the resolver's own: {learns}"
    )
}

fn write_row(row: &Row, style: Style, out: &mut impl Write) -> io::Result<()> {
    let road = if row.question.road == Road::Tcp {
        " over TCP"
    } else {
        ""
    };
    let asked = format!("{:5} {}{road}", row.question.qtype, row.question.name);
    let got = format!("      {}  ({:.1} ms)", row.reply, row.elapsed.as_secs_f64() * 1000.0);
    for (text, arrow, octets) in [(asked, "->", &row.up), (got, "<-", &row.down)] {
        let seen = describe(octets);
        let gap = " ".repeat(LEFT.saturating_sub(text.chars().count()));
        writeln!(
            out,
            "  {}{gap} {arrow} {}",
            style.paint(&text, CYAN),
            style.paint(&seen, DIM)
        )?;
    }
    Ok(())
}

/// Sizes of what went by, and the beginning of its last TLS record in hexadecimal and ASCII.
fn describe(octets: &[u8]) -> String {
    let (records, last) = tls_records(octets);
    let mut text = format!("{:5} octets in {records} TLS records ", octets.len());
    let excerpt = &octets[last..octets.len().min(last + EXCERPT)];
    for octet in excerpt {
        // Writing to a String cannot fail.
        let _ = write!(text, " {octet:02x}");
    }
    let printable = |octet: &u8| {
        if octet.is_ascii_graphic() {
            char::from(*octet)
        } else {
            '.'
        }
    };
    text.push_str(" |");
    text.extend(excerpt.iter().map(printable));
    text.push('|');
    text
}

/// How many TLS records these octets hold, and where the last one begins (RFC 8446 section 5.1).
fn tls_records(octets: &[u8]) -> (usize, usize) {
    let (mut count, mut at, mut last) = (0, 0, 0);
    while let Some(head) = octets.get(at..at + 5) {
        (count, last) = (count + 1, at);
        at += 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
    }
    (count, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_records_and_shows_the_last() {
        let octets = b"\x16\x03\x01\x00\x02ab\x17\x03\x03\x00\x03x.\xff";
        assert_eq!(tls_records(octets), (2, 7));
        assert_eq!(
            describe(octets),
            "   15 octets in 2 TLS records  17 03 03 00 03 78 2e ff |.....x..|"
        );
    }

    #[test]
    fn nothing_seen_is_described_too() {
        assert_eq!(describe(b""), "    0 octets in 0 TLS records  ||");
    }

    #[test]
    fn plain_has_no_escapes() {
        assert_eq!(Style::Plain.paint("x", BOLD), "x");
        assert_eq!(Style::Pretty.paint("x", BOLD), "\x1b[1mx\x1b[0m");
    }
}
