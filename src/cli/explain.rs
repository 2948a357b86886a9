//! `tacenda explain`: what becomes of one name. Which rule decides, whether the cache holds it, who is asked by which road, and what came back.

mod print;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tokio::time::Instant;

use super::output::Output;
use super::query::ask::{exchange_octets, random_id, refused_or_silent};
use super::query::{Name, exit_of, judged, local_server, parse_reply, read_name, read_type, rules_of};
use super::stats::{self, Upstream};
use super::system::verify::Asking;
use super::{Exit, Failure};
use crate::app::explain::{Rule, RuleKind};
use crate::config::{self, Config, Flags};
use crate::upstream::records::{Padding, Question, Reply};
use crate::upstream::route_endpoint::RouteEndpoint;
use crate::wire::edns::Ede;

#[derive(Args, Debug)]
#[command(after_help = "\
Asks the running tacenda twice: first whether its cache holds the name, which asks nobody else, then
for the answer; nobody but a tacenda is told the name. Rules are read from the configuration's files
as they are now. Who was asked is told by the counters of the upstreams: other programs' questions
at the same moment are among them.

Ends with 0 for NOERROR and NXDOMAIN, 1 for every other RCODE, 69 if there is no answer.

Examples:
  tacenda explain www.example.com
  tacenda explain wiki.corp.example AAAA --json

JSON:
  {\"format\":1, \"name\", \"type\", \"rules\":[{\"kind\",\"place\",\"text\"}], \"rules_error\":null,
  \"cache\":{\"held\":true, \"ttl\":212}, \"road\":{
  \"kind\":\"here|cache|upstream|unseen|route|window\", \"encrypted\":true,
  \"upstreams\":[{\"name\",\"transport\",\"state\",\"rtt_ms\",\"asked\"}]},
  \"answer\":{\"status\",\"rcode\",\"ede\":[{\"code\",\"name\",\"text\"}],
  \"records\":2, \"time_ms\":0.2}}; null for what is not known")]
pub(super) struct ExplainArgs {
    /// The name, as for `query`
    #[arg(value_parser = read_name)]
    name: Name,
    /// The record type, by name or as TYPE123
    #[arg(value_name = "TYPE", default_value = "A", value_parser = read_type)]
    rtype: u16,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// The configuration of the running tacenda; else /etc/tacenda/tacenda.toml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Everything that is printed.
struct Explained {
    question: Question,
    rules: Result<Vec<Rule>, String>,
    /// The seconds for which the cache would give it, if it would.
    held: Option<u32>,
    road: Road,
    /// The upstreams, and whether each was asked meanwhile; none if tacenda does not say.
    upstreams: Option<Vec<(Upstream, bool)>>,
    reply: Reply,
    took: Duration,
}

/// Which way the question goes, or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    /// It is answered on this host, by a rule.
    Here,
    /// From the cache.
    Cache,
    /// From the cache, which remembers a failure.
    CachedFailure,
    /// To the upstreams, over TLS.
    Upstream,
    /// To the upstreams, as far as is known: nobody says that one was asked.
    Unseen,
    /// To this network's own resolver, in clear text, by a window for a sign-in page.
    Window,
    /// To those of a route.
    Route {
        /// Whether any of them is asked in clear text.
        is_clear: bool,
    },
}

#[derive(Deserialize)]
struct Stats {
    upstreams: Vec<Upstream>,
    clear_packets: ClearPackets,
}

#[derive(Deserialize)]
struct ClearPackets {
    portal: u64,
}

pub(super) fn run(args: &ExplainArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let config = config::load(args.config.as_deref(), &Flags::default())?.config;
    let question = Question {
        labels: args.name.0.clone(),
        qtype: args.rtype,
    };
    let explained = Explained::of(&config, question)?;
    if args.json {
        output.write_json(&explained.to_json())?;
    } else {
        output.write(explained.to_text())?;
    }
    Ok(exit_of(&explained.reply))
}

impl Explained {
    fn of(config: &Config, question: Question) -> Result<Self, Failure> {
        let server = local_server(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ask = |octets: &[u8]| -> Result<(Reply, Duration), Failure> {
            let began = Instant::now();
            let (answer, transport) = runtime.block_on(exchange_octets(server, octets, false));
            let answer = answer.map_err(|error| refused_or_silent(server, transport, &error))?;
            Ok((parse_reply(&answer, &server.to_string())?, began.elapsed()))
        };
        // Whoever else sits there would be told the name, and what is said here would be said of him.
        Asking::new()?.is_tacenda_at(server).map_err(|why| {
            Failure::new(Exit::Unavailable, format!("not asked: {why}"))
                .with_help("is tacenda running? `tacenda doctor` says who sits there")
        })?;
        let rules = rules_of(config, &question);
        let octets = question.write(random_id(), Padding::None);
        let (cached, _) = ask(&without_recursion(&octets))?;
        let before = stats_of(config);
        let (reply, took) = ask(&octets)?;
        let seen = before
            .zip(stats_of(config))
            .map(|(before, after)| Seen::between(before, after));
        let rules = judged(rules, &reply);
        let held = held(&cached);
        let road = road(
            config,
            rules.as_deref().unwrap_or_default(),
            held,
            &reply,
            seen.as_ref(),
        );
        Ok(Self {
            question,
            rules,
            held,
            road,
            upstreams: seen.map(|seen| seen.upstreams),
            reply,
            took,
        })
    }
}

/// What the counters say of the time in between.
struct Seen {
    /// With whether its counter rose.
    upstreams: Vec<(Upstream, bool)>,
    /// A question went out by a window.
    used_window: bool,
}

impl Seen {
    fn between(before: Stats, after: Stats) -> Self {
        let both = after.upstreams.into_iter().zip(before.upstreams);
        let compared = both.map(|(now, earlier)| {
            let was_asked = now.name == earlier.name && now.queries > earlier.queries;
            (now, was_asked)
        });
        Self {
            upstreams: compared.collect(),
            used_window: after.clear_packets.portal > before.clear_packets.portal,
        }
    }
}

/// Whether the cache answered a question that asks for nothing else (RD clear), and for how long it would.
fn held(reply: &Reply) -> Option<u32> {
    let ttls = reply.answers.iter().chain(&reply.authorities).map(|record| record.ttl);
    let is_held = matches!(reply.rcode, 0 | 3) && !has_error(reply, Ede::SYNTHESIZED);
    is_held.then(|| ttls.min().unwrap_or(0))
}

/// Of extended errors that are tacenda's own: no upstream's answer brings them.
fn has_error(reply: &Reply, error: Ede) -> bool {
    reply.extended_errors.iter().any(|(code, _)| *code == error.0)
}

fn road(config: &Config, rules: &[Rule], held: Option<u32>, reply: &Reply, seen: Option<&Seen>) -> Road {
    // The last one decides: a record of one's own may lead to a name that has a rule too.
    let route = || {
        let number = |rule: &Rule| rule.place.strip_prefix("route ")?.parse::<usize>().ok();
        config.routes.get(number(rules.last()?)?.checked_sub(1)?)
    };
    match rules.last().map(|rule| rule.kind) {
        Some(RuleKind::Record | RuleKind::Local | RuleKind::Block) => Road::Here,
        _ if has_error(reply, Ede::SYNTHESIZED) => Road::Here,
        _ if seen.is_some_and(|seen| seen.used_window) => Road::Window,
        _ if has_error(reply, Ede::CACHED_ERROR) => Road::CachedFailure,
        _ if held.is_some() => Road::Cache,
        Some(RuleKind::Route) => Road::Route {
            is_clear: route().is_none_or(|route| route.upstreams.iter().any(is_plain)),
        },
        Some(RuleKind::Allow | RuleKind::Withhold) | None => {
            let was_asked = |seen: &Seen| seen.upstreams.iter().any(|(_, was_asked)| *was_asked);
            if seen.is_some_and(was_asked) {
                Road::Upstream
            } else {
                Road::Unseen
            }
        }
    }
}

fn is_plain(endpoint: &RouteEndpoint) -> bool {
    matches!(endpoint, RouteEndpoint::Plain(_))
}

/// None if the stats endpoint is off, or says nothing.
fn stats_of(config: &Config) -> Option<Stats> {
    stats::read(config.stats?).ok()
}

fn without_recursion(query: &[u8]) -> Vec<u8> {
    let mut query = query.to_vec();
    // RD, RFC 1035 section 4.1.1.
    query[2] &= !0x01;
    query
}

#[cfg(test)]
mod tests;
