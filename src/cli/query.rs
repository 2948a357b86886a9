//! `tacenda query`: one question, by the road of the user's choice, and everything the answer says.

pub(super) mod ask;
pub(super) mod print;
mod via;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use super::{Exit, Failure};
use crate::app::explain::{Rule, RuleKind, explain};
use crate::config::{self, Config, Flags, UpstreamFlag};
use crate::serve::Network;
use crate::upstream::iana;
use crate::upstream::presentation::parse_name;
use crate::upstream::records::{Padding, Question, Reply};
use crate::wire::edns::Ede;
use crate::wire::query::Query;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// The name, with `\.` and `\DDD` for unusual octets; internationalized names in punycode
    #[arg(value_parser = read_name)]
    name: Name,
    /// The record type, by name or as TYPE123
    #[arg(value_name = "TYPE", default_value = "A", value_parser = read_type)]
    rtype: u16,
    /// Ask this upstream directly, encrypted: https://host/path or tls://host
    #[arg(long, value_name = "URL")]
    via: Option<String>,
    /// Where the --via upstream is, if it is not a well-known one
    #[arg(short, long, value_name = "IP", requires = "via")]
    address: Vec<String>,
    /// Who may sign the --via upstream's certificate: bundled, system or a PEM file
    #[arg(long, value_name = "ROOTS", requires = "via")]
    roots: Option<String>,
    /// Ask the tacenda at this loopback address; else the one the configuration names
    #[arg(short, long, value_name = "ADDR", conflicts_with = "via", value_parser = read_server)]
    server: Option<SocketAddr>,
    /// Ask over TCP; else UDP first, and TCP only if the answer is cut short
    #[arg(long, conflicts_with = "via")]
    tcp: bool,
    /// Print the answer as JSON
    #[arg(long, conflicts_with = "short")]
    json: bool,
    /// Print what the records say and nothing else, a line each
    #[arg(long)]
    short: bool,
    /// The configuration that names the address and the rules; else /etc/tacenda/tacenda.toml
    #[arg(short, long, value_name = "FILE", conflicts_with = "via")]
    config: Option<PathBuf>,
}

/// A name's labels; of its own type so that clap does not take it for a list of arguments.
#[derive(Clone, Debug)]
pub(super) struct Name(pub(super) Vec<Vec<u8>>);

pub(super) fn run(args: &QueryArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let question = Question {
        labels: args.name.0.clone(),
        qtype: args.rtype,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = match &args.via {
        Some(url) => {
            let flags = Flags {
                upstream: vec![url.clone()],
                address: args.address.clone(),
                roots: args.roots.clone(),
                upstream_flag: UpstreamFlag::Via,
                ..Flags::default()
            };
            let upstream = config::upstream_from_flags(&flags)?;
            runtime.block_on(via::ask(&upstream, &question))?
        }
        None => runtime.block_on(ask::ask(server(args)?, &question, args.tcp))?,
    };
    let reply = parse_reply(&response.octets, &response.server)?;
    let rules = judged(rules(args, &question), &reply);
    if args.json {
        output.write_json(&print::to_json(&reply, &rules, &response))?;
    } else if args.short {
        output.write(print::to_short(&reply))?;
    } else {
        output.write(print::to_text(&reply, &rules, &response))?;
    }
    Ok(exit_of(&reply))
}

/// NXDOMAIN is an answer: the name was asked about and does not exist.
pub(super) fn exit_of(reply: &Reply) -> Exit {
    if matches!(reply.rcode, 0 | 3) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// An answer of this server's.
pub(super) fn parse_reply(octets: &[u8], server: &str) -> Result<Reply, Failure> {
    Reply::read(octets).map_err(|reason| {
        Failure::new(
            Exit::Failed,
            format!("the answer from {server} cannot be read: {reason}"),
        )
    })
}

/// What came back, and by which road.
pub(super) struct Response {
    pub(super) octets: Vec<u8>,
    /// `udp`, `tcp`, `dot`, `doh`.
    transport: &'static str,
    /// Whom we asked.
    server: String,
    took: std::time::Duration,
}

/// The rules that decide on the question in the running tacenda, or why they cannot be told. None for an upstream, nor for an address of
/// the user's without the configuration of whoever listens there.
fn rules(args: &QueryArgs, question: &Question) -> Result<Vec<Rule>, String> {
    if args.via.is_some() || (args.server.is_some() && args.config.is_none()) {
        return Ok(Vec::new());
    }
    let config = config::load(args.config.as_deref(), &Flags::default());
    let config = config
        .map_err(|_| "the configuration cannot be used".to_owned())?
        .config;
    rules_of(&config, question)
}

/// The rules of this configuration that decide on a question, or why they cannot be told.
pub(super) fn rules_of(config: &Config, question: &Question) -> Result<Vec<Rule>, String> {
    let octets = question.write(0, Padding::None);
    match Query::parse(&octets) {
        Ok(query) => explain(config, &query.key()),
        Err(_) => Ok(Vec::new()),
    }
}

/// The rules of the files beside what came back: tacenda may not have read a change yet, or have refused it. What was withheld does not
/// show to which private address or listed name it led.
pub(super) fn judged(rules: Result<Vec<Rule>, String>, reply: &Reply) -> Result<Vec<Rule>, String> {
    let mut rules = rules?;
    let is_blocked = reply.extended_errors.iter().any(|(code, _)| *code == Ede::BLOCKED.0);
    match rules.last() {
        Some(rule) if rule.kind == RuleKind::Block && !is_blocked => {
            return Err(format!(
                "{}, as the file is now; the running tacenda has not read that yet, or has refused it (`tacenda status`)",
                print::rule_words(rule)
            ));
        }
        None if is_blocked => rules.push(Rule {
            kind: RuleKind::Withhold,
            place: "rebind-protection or block".to_owned(),
            text: "it leads to a private address, or by an alias to a name on a list".to_owned(),
        }),
        _ => {}
    }
    Ok(rules)
}

/// Where the running tacenda listens on this host.
fn server(args: &QueryArgs) -> Result<SocketAddr, Failure> {
    if let Some(server) = args.server {
        return Ok(server);
    }
    local_server(&config::load(args.config.as_deref(), &Flags::default())?.config)
}

/// The first address of this host alone at which the configuration has tacenda listen.
pub(super) fn local_server(config: &Config) -> Result<SocketAddr, Failure> {
    let mut reached = config.listen.addresses.iter().map(|address| on_this_host(*address));
    reached.find(|address| address.ip().is_loopback()).ok_or_else(|| {
        Failure::new(Exit::Config, "the configuration listens on no loopback address")
            .with_help("say where to ask with --server, which takes loopback addresses only")
    })
}

/// How this host reaches what listens there.
pub(super) fn on_this_host(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

/// What is no name would be asked as one, and somebody would answer.
pub(super) fn read_name(text: &str) -> Result<Name, String> {
    if let (Ok(_), Ok(alone)) = (text.parse::<IpAddr>(), text.parse::<Network>()) {
        let name = alone.reverse_zones().concat();
        return Err(format!("that is an address: its name is asked for as {name} PTR"));
    }
    if text.contains("://") {
        return Err("that is a URL: write the host in it".to_owned());
    }
    parse_name(text).map(Name).map_err(|error| error.to_string())
}

pub(super) fn read_type(text: &str) -> Result<u16, String> {
    iana::type_number(text).ok_or_else(|| "no such record type: write its name, or its number as in TYPE65".to_owned())
}

/// Promise 1: a question to any other address would be clear text on a link.
fn read_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = text
        .parse()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    match address {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => {
            Err("only loopback: a question to any other address would be clear text; ask an upstream with --via".into())
        }
        Err(_) => Err("not an address: write for example 127.0.0.1:53 or [::1]:53".into()),
    }
}

const EXAMPLES: &str = "\
Examples:
  tacenda query example.com
  tacenda query example.com HTTPS --json
  tacenda query example.com AAAA --short
  tacenda query example.com --via https://dns.quad9.net/dns-query
  tacenda query lab.example --via tls://lab.example:8853 --address 127.0.0.1 --roots ./ca.pem

Ends with 0 for NOERROR and NXDOMAIN, 1 for every other RCODE, 69 if there is no answer.

JSON:
  {\"format\":1, \"status\":\"NOERROR\", \"rcode\":0, \"flags\":[\"qr\",\"rd\",\"ra\"],
  \"question\":{\"name\",\"type\",\"class\"}, \"ede\":[{\"code\",\"name\",\"text\"}],
  \"answer\":[{\"name\",\"ttl\",\"class\",\"type\",\"data\"}], \"authority\":[], \"additional\":[],
  \"rules\":[{\"kind\":\"record|route|local|block|allow|withhold\",\"place\",\"text\"}], \"rules_error\":null,
  \"transport\":\"udp|tcp|dot|doh\", \"server\":\"127.0.0.1:53\", \"time_ms\":1.25, \"octets\":56}";

#[cfg(test)]
mod tests;
