//! The log on stderr: how much, in which colours, and with priorities when the journal reads it.

use std::fmt;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Talk;

/// When what is written is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal; NO_COLOR, CLICOLOR_FORCE and TERM=dumb are heard
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether stderr is coloured now.
    pub fn on_stderr(self) -> bool {
        self.is_on(&io::stderr())
    }

    /// Whether stdout is coloured now.
    pub fn on_stdout(self) -> bool {
        self.is_on(&io::stdout())
    }

    fn is_on(self, out: &impl IsTerminal) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self {
            Self::Always => true,
            Self::Never => false,
            // NO_COLOR counts whatever its value (no-color.org).
            Self::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Self::Auto if is_set("CLICOLOR_FORCE") => true,
            Self::Auto => out.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// Starts the log. Only once; later calls change nothing.
pub(super) fn init(talk: Talk) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter(talk)))
        .with_writer(io::stderr);
    // systemd sets it when stderr is the journal, which adds time and colour by itself and reads `<4>` as a priority.
    let result = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder
            .event_format(ForJournal(
                Format::default()
                    .without_time()
                    .with_level(false)
                    .with_target(false)
                    .with_ansi(false),
            ))
            .try_init()
    } else {
        builder.with_ansi(talk.color.on_stderr()).with_target(false).try_init()
    };
    // A second start is a test's; the first log goes on.
    drop(result);
}

/// The filter. Other crates never say more than errors: at `debug` h2 writes out request paths, and a GET's path holds the
/// query name; at `warn` it has a line for each PING ACK of a flood, fifty thousand a second, and nothing that a packet can
/// cause may be above our own `debug`.
fn filter(talk: Talk) -> String {
    let own = match (talk.quiet, talk.verbose) {
        (0, 0) => "info",
        (0, 1) => "debug",
        (0, _) => "trace",
        (1, _) => "warn",
        _ => "error",
    };
    format!("error,tacenda={own}")
}

/// Puts the syslog priority in front of every line (sd-daemon(3)).
struct ForJournal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_8_no_flag_lets_other_crates_write_names_or_a_line_for_each_packet() {
        for (verbose, quiet) in [(0, 0), (1, 0), (2, 0), (9, 0), (0, 1), (0, 2)] {
            let filter = filter(Talk {
                verbose,
                quiet,
                color: Color::Never,
            });
            assert!(filter.starts_with("error,tacenda="), "{filter}");
        }
        assert!(
            filter(Talk {
                verbose: 1,
                quiet: 0,
                color: Color::Never
            })
            .ends_with("tacenda=debug")
        );
    }
}
