//! `tacenda check`: is the configuration right, and if not, where.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Exit, Failure};
use crate::config::problem::Problem;
use crate::config::{self, AddressesFrom, ConfigError, Flags, Loaded, Strategy, UpstreamConfig};

#[derive(Args, Debug)]
#[command(after_help = "\
Prints one line and ends with 0 if the configuration can be run; else prints every mistake with its
file, line and column on stderr and ends with 78. Opens no socket.

Examples:
  tacenda check
  tacenda check --config ./tacenda.toml")]
pub(super) struct CheckArgs {
    /// Check this file instead of /etc/tacenda/tacenda.toml (and config.d/*.toml beside it)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the result as JSON: {"format":1,"ok":bool,"files":[],"problems":[{"place","message","help"}]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let result = config::load(args.config.as_deref(), &Flags::default());
    if args.json {
        output.write_json(&to_json(&result))?;
        return Ok(result.map_or_else(|error| Failure::from(error).exit, |_| Exit::Done));
    }
    match result {
        Ok(loaded) => {
            output.write(summary(&loaded))?;
            Ok(Exit::Done)
        }
        Err(error) => Err(error.into()),
    }
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

fn to_json(result: &Result<Loaded, ConfigError>) -> serde_json::Value {
    let (files, problems) = match result {
        Ok(loaded) => (
            loaded.files.iter().map(|path| path.display().to_string()).collect(),
            Vec::new(),
        ),
        Err(ConfigError::Invalid(problems)) => (Vec::new(), problems.iter().map(problem_json).collect()),
        Err(ConfigError::Unreadable { problem, .. }) => (Vec::new(), vec![problem_json(problem)]),
    };
    json!({ "format": 1, "ok": result.is_ok(), "files": files, "problems": problems })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({ "place": problem.place.to_string(), "message": problem.message, "help": problem.help })
}
