//! `tacenda check`: is the configuration right, and if not, where.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Exit, Failure, service};
use crate::app::{Surveyed, survey};
use crate::config::problem::Problem;
use crate::config::{self, AddressesFrom, ConfigError, Flags, Loaded, Strategy, UpstreamConfig};
use crate::policy::list::Skip;

#[derive(Args, Debug)]
#[command(after_help = "\
Prints one line and ends with 0 if the configuration can be run; else prints every mistake with its
file, line and column on stderr and ends with 78; so it does for a file that this host's service
cannot see. Of lists and hosts files it says how many rules
they have and which lines are none. Opens no socket.

Examples:
  tacenda check
  tacenda check --config ./tacenda.toml

JSON:
  {\"format\":1, \"ok\":true, \"files\":[], \"problems\":[{\"place\",\"message\",\"help\"}],
  \"lists\":[{\"file\",\"rules\",\"skipped\",\"lines\":[{\"line\",\"reason\"}]}]}")]
pub(super) struct CheckArgs {
    /// Check this file instead of /etc/tacenda/tacenda.toml (and config.d/*.toml beside it)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let checked = checked(args);
    if args.json {
        output.write_json(&to_json(&checked))?;
        return Ok(checked.map_or_else(|wrong| Failure::from(wrong).exit, |_| Exit::Done));
    }
    let Checked { loaded, lists } = checked?;
    output.write(summary(&loaded))?;
    for list in &lists {
        output.write(described_list(list))?;
    }
    Ok(Exit::Done)
}

struct Checked {
    loaded: Loaded,
    lists: Vec<Surveyed>,
}

/// What is wrong.
enum Wrong {
    Config(ConfigError),
    /// Lists that cannot be used, one line each.
    Lists(Vec<String>),
    /// It is right, and the service of this host cannot read all that it names.
    Service(Failure),
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Config(error) => error.into(),
            Wrong::Lists(errors) => Self::new(Exit::Config, errors.join("\n")),
            Wrong::Service(failure) => failure,
        }
    }
}

fn checked(args: &CheckArgs) -> Result<Checked, Wrong> {
    let loaded = config::load(args.config.as_deref(), &Flags::default()).map_err(Wrong::Config)?;
    let lists = survey(&loaded.config.policy).map_err(Wrong::Lists)?;
    if args.config.is_none() {
        service::sees(&loaded.config).map_err(Wrong::Service)?;
    }
    Ok(Checked { loaded, lists })
}

/// A line for a list, and one for each of the first lines of it that are no rules.
fn described_list(list: &Surveyed) -> String {
    let Surveyed { path, tally } = list;
    let path = path.display();
    let mut text = format!("{path}: {}", count(tally.rules as usize, "rule"));
    if tally.skipped > 0 {
        text.push_str(&format!(", {} skipped", count(tally.skipped as usize, "line")));
    }
    text.push('\n');
    for (line, reason) in &tally.first_skipped {
        text.push_str(&format!("{path}:{line}: {reason}\n"));
    }
    let more = (tally.skipped as usize).saturating_sub(tally.first_skipped.len());
    if more > 0 {
        text.push_str(&format!("{path}: and {more} more\n"));
    }
    text
}

/// `ok: ...` in one line.
fn summary(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let files = match loaded.files.as_slice() {
        [] => "no file, the built-in defaults".to_owned(),
        [one] => one.display().to_string(),
        [first, more @ ..] => format!("{} and {} from config.d", first.display(), count(more.len(), "file")),
    };
    let listen: Vec<_> = config.listen.addresses.iter().map(ToString::to_string).collect();
    let upstreams: Vec<_> = config.upstreams.iter().map(described).collect();
    let asks = match config.strategy {
        _ if upstreams.len() == 1 => format!("asks {}", upstreams[0]),
        Strategy::InOrder => format!("asks {}", upstreams.join(", then ")),
        Strategy::Fastest => format!("asks the fastest of {}", upstreams.join(", ")),
        Strategy::Spread => format!("spreads domains over {}", upstreams.join(", ")),
    };
    let routes = match config.routes.len() {
        0 => String::new(),
        routes => format!(", {} besides", count(routes, "route")),
    };
    format!("ok: {files}: listens on {}, {asks}{routes}\n", listen.join(" and "))
}

/// An upstream's name, and what should be known of it.
fn described(upstream: &UpstreamConfig) -> String {
    let mut remarks = Vec::new();
    if !upstream.pins.is_empty() {
        remarks.push(count(upstream.pins.len(), "pin"));
    }
    if upstream.addresses_from == AddressesFrom::Nobody {
        remarks.push("its address is asked of resolvers that are reached by address".to_owned());
    }
    if remarks.is_empty() {
        return upstream.name.clone();
    }
    format!("{} ({})", upstream.name, remarks.join("; "))
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn to_json(checked: &Result<Checked, Wrong>) -> serde_json::Value {
    let (mut files, mut problems, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    match checked {
        Ok(Checked {
            loaded,
            lists: surveyed,
        }) => {
            files = loaded.files.iter().map(|path| path.display().to_string()).collect();
            lists = surveyed.iter().map(list_json).collect();
        }
        Err(Wrong::Config(ConfigError::Invalid(wrong))) => problems = wrong.iter().map(problem_json).collect(),
        Err(Wrong::Config(ConfigError::Unreadable { problem, .. })) => problems.push(problem_json(problem)),
        Err(Wrong::Lists(errors)) => {
            let problem = |error: &String| json!({ "place": null, "message": error, "help": null });
            problems = errors.iter().map(problem).collect();
        }
        Err(Wrong::Service(failure)) => {
            problems.push(json!({ "place": null, "message": failure.message(), "help": null }));
        }
    }
    json!({ "format": 1, "ok": checked.is_ok(), "files": files, "problems": problems, "lists": lists })
}

fn list_json(list: &Surveyed) -> serde_json::Value {
    let line = |(line, reason): &(u32, Skip)| json!({ "line": line, "reason": reason.to_string() });
    let Surveyed { path, tally } = list;
    json!({
        "file": path.display().to_string(),
        "rules": tally.rules,
        "skipped": tally.skipped,
        "lines": tally.first_skipped.iter().map(line).collect::<Vec<_>>(),
    })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({ "place": problem.place.to_string(), "message": problem.message, "help": problem.help })
}
