//! What commands that change this host ask of their user first.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use super::{Exit, Failure};
use crate::os::process::{as_root, is_root};

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
