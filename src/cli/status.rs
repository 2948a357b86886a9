//! `tacenda status`: first whether the promise holds now, and if not, which part and what to type; then what tacenda does.

pub(super) mod print;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::output::Output;
use super::stats::{self, Upstream};
use super::{Color, Exit, Failure, system};
use crate::admin::protection::{Part, Protection, State, help};
use crate::config::{self, Config, Flags};

#[derive(Args, Debug)]
#[command(after_help = "\
What tacenda says of itself, and on top of it whether names that programs ask arrive there: a fresh
name that never leaves this host is asked by each way. Figures are since the start.

Ends with 1 if a part of the promise does not hold, 69 if no tacenda answers, else with 0: a gap
(no leak guard, say) and what nobody knows are shown, and no failure.

Examples:
  tacenda status
  tacenda status --watch
  tacenda status --json | jq -r .protection.state

JSON:
  {\"format\":1, \"protection\":{\"state\":\"good|unknown|gap|bad\", \"text\",
  \"parts\":[{\"name\",\"state\",\"text\",\"help\"}]}, \"stats\":{}}; stats is /stats, or null if no tacenda answers")]
pub(super) struct StatusArgs {
    /// Print it as JSON; with --watch a line each time
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// The configuration that names the stats endpoint; else /etc/tacenda/tacenda.toml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Everything that is printed.
struct Status {
    protection: Protection,
    /// `/stats`, and what is needed of it; none if no tacenda answers.
    stats: Option<(Value, Figures)>,
}

/// What is shown of `/stats`. A newer tacenda may say more.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    version: String,
    uptime_seconds: u64,
    protection: Protection,
    queries: Queries,
    responses: std::collections::BTreeMap<String, u64>,
    latency: Latencies,
    cache: Cache,
    upstreams: Vec<Upstream>,
}

#[derive(Clone, Debug, Deserialize)]
struct Queries {
    total: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Latencies {
    cached: Histogram,
    upstream: Histogram,
}

#[derive(Clone, Debug, Deserialize)]
struct Histogram {
    count: u64,
    /// Cumulative.
    buckets: Vec<Bucket>,
}

#[derive(Clone, Debug, Deserialize)]
struct Bucket {
    le: Option<f64>,
    count: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Cache {
    entries: u64,
    bytes: u64,
    max_bytes: u64,
    hits: u64,
    misses: u64,
}

pub(super) fn run(args: &StatusArgs, color: Color, mut output: Output<'_>) -> Result<Exit, Failure> {
    let address = endpoint(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let is_colored = color.on_stdout();
    loop {
        let status = look(address);
        match (args.json, args.watch) {
            (true, false) => output.write_json(&status.to_json())?,
            (true, true) => output.write(format!("{}\n", status.to_json()))?,
            (false, false) => output.write(status.to_text(is_colored))?,
            // Home, what was there overwritten line by line, what is left below cleared: no flicker.
            (false, true) if output.is_terminal() => {
                let text = status.to_text(is_colored).replace('\n', "\x1b[K\n");
                output.write(format!("\x1b[H{text}\x1b[J"))?;
            }
            (false, true) => output.write(format!("{}\n", status.to_text(is_colored)))?,
        }
        if !args.watch {
            return Ok(status.exit());
        }
        if output.is_closed() {
            return Ok(Exit::Done);
        }
        runtime.block_on(async { tokio::time::sleep(EVERY).await });
    }
}

/// As often as the page.
const EVERY: Duration = Duration::from_secs(2);

fn endpoint(args: &StatusArgs) -> Result<SocketAddr, Failure> {
    let config = match config::load(args.config.as_deref(), &Flags::default()) {
        Ok(loaded) => loaded.config,
        // What runs goes on with what it had: it is asked where it mostly is, and says itself what is wrong.
        Err(_) if args.config.is_none() => Config::default(),
        Err(error) => return Err(error.into()),
    };
    config.stats.ok_or_else(|| {
        Failure::new(Exit::Config, "the configuration switches the stats endpoint off")
            .with_help("`tacenda system status` and `tacenda guard status` know their parts without it")
    })
}

fn look(address: SocketAddr) -> Status {
    let read: io::Result<Value> = stats::read(address);
    let system = system::status::part();
    let read = read.and_then(|value| {
        let figures = Figures::deserialize(&value).map_err(io::Error::from)?;
        Ok((value, figures))
    });
    Status::of(system, read.map_err(|error| (address, error)))
}

impl Status {
    fn of(system: Part, read: Result<(Value, Figures), (SocketAddr, io::Error)>) -> Self {
        match read {
            Ok(stats) => {
                let mut parts = stats.1.protection.parts.clone();
                for part in &mut parts {
                    part.help = part.help.take().filter(|typed| help::ALL.contains(&&**typed));
                }
                // What was tried counts more than what nobody says, and less than what the keeper of it knows to be wrong: a VPN's names may
                // go elsewhere where others arrive.
                match parts.iter_mut().find(|part| part.name == system.name) {
                    Some(part) if matches!(part.state, State::Bad | State::Gap) && part.state > system.state => {}
                    Some(part) => *part = system,
                    None => parts.insert(0, system),
                }
                Self {
                    protection: Protection::of(parts),
                    stats: Some(stats),
                }
            }
            Err((address, error)) => {
                let text = match error.kind() {
                    io::ErrorKind::ConnectionRefused => format!("no tacenda answers at http://{address}"),
                    io::ErrorKind::InvalidData => {
                        format!("who answers at http://{address} is no tacenda of today")
                    }
                    _ => format!("cannot ask http://{address}: {error}"),
                };
                Self {
                    protection: Protection::of(vec![
                        Part::bad("tacenda", text, "sudo tacenda run, or its service"),
                        system,
                    ]),
                    stats: None,
                }
            }
        }
    }

    fn exit(&self) -> Exit {
        match (&self.stats, self.protection.state) {
            (None, _) => Exit::Unavailable,
            (Some(_), State::Bad) => Exit::Failed,
            (Some(_), _) => Exit::Done,
        }
    }

    fn to_json(&self) -> Value {
        let stats = self.stats.as_ref().map(|(value, _)| value);
        json!({ "format": 1, "protection": self.protection, "stats": stats })
    }
}

#[cfg(test)]
mod tests;
