//! What commands that change this host ask of their user first.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Exit, Failure};
use crate::config::units::{TimeSpan, UnitError};
use crate::os::process::{as_root, is_root};

/// A time of an option, within its limits.
#[cfg_attr(not(unix), expect(dead_code, reason = "of the guard and the portal"))]
pub(super) fn time_of(limits: RangeInclusive<Duration>, text: &str) -> Result<Duration, String> {
    let TimeSpan(time) = text.parse().map_err(|error: UnitError| error.to_string())?;
    if limits.contains(&time) {
        return Ok(time);
    }
    let [shortest, longest] = [*limits.start(), *limits.end()].map(TimeSpan);
    Err(format!("between {shortest} and {longest}"))
}

/// Only root changes this host. `command` is what to type after `tacenda`.
pub(super) fn need_root(command: &str) -> Result<(), Failure> {
    if is_root() {
        return Ok(());
    }
    Err(Failure::new(Exit::Permission, "only root can do this").with_help(as_root(&format!("tacenda {command}"))))
}

/// Shows what will be done, and asks on the terminal, if there is one.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn confirmed(lines: impl IntoIterator<Item = impl Display>) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    for line in lines {
        eprintln!("{line}");
    }
    eprint!("Go on? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
