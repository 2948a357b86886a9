//! One line on a terminal for what may take longer than a second.

#![expect(clippy::print_stderr, reason = "this is where the program talks to its user")]

use std::io::{self, IsTerminal, Write};

/// The line. It goes when this does; where nobody looks, or wants to (`-q`), nothing is written.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn begin(words: &str) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_wanted = tracing::enabled!(tracing::Level::INFO);
        let progress = Self {
            is_shown: is_wanted && !is_dumb && io::stderr().is_terminal(),
        };
        progress.say(words);
        progress
    }

    /// Other words in the place of the last ones.
    pub(super) fn say(&self, words: &str) {
        if self.is_shown {
            eprint!("{LINE_ANEW}{words} ...");
            // Nothing depends on it.
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("{LINE_ANEW}");
            let _ = io::stderr().flush();
        }
    }
}

/// To its beginning, and empty (ECMA-48: EL).
const LINE_ANEW: &str = "\r\x1b[K";
