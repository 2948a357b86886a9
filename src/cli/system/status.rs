//! `tacenda system status`: what is set, whether names arrive, the facts, and what `set` would do.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::verify::{Asking, Way};
use super::{Exit, Failure, Output};
use crate::os::dns::Machine;
use crate::os::dns::facts::{Access, Facts, Place, Wsl};
use crate::os::dns::journal::Journal;
use crate::os::dns::plan::{Plan, Refusal, plan};
use crate::os::dns::services::Services;

/// Everything that is printed.
struct Status {
    facts: Facts,
    /// What is set; `None` if only root may know.
    journal: Option<Option<Journal>>,
    /// Whether it stands as it was set.
    stands: bool,
    /// Whether a program is kept from `/etc/resolv.conf`.
    is_shielded: bool,
    listen: IpAddr,
    ways: Vec<Way>,
    would: Result<Plan, Refusal>,
}

pub(super) fn run<S: Services>(
    as_json: bool,
    explain: bool,
    machine: &Machine<S>,
    mut output: Output<'_>,
) -> Result<Exit, Failure> {
    let status = look(machine)?;
    if as_json {
        output.write_json(&to_json(&status))?;
    } else {
        output.write(to_text(&status, explain))?;
    }
    Ok(if status.is_set() && !status.arrives() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn look<S: Services>(machine: &Machine<S>) -> Result<Status, Failure> {
    let facts = machine.facts();
    let journal = match machine.journal() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        found => Some(found.map_err(|error| Failure::new(Exit::Io, format!("the journal of `system set`: {error}")))?),
    };
    let known = journal.as_ref().and_then(Option::as_ref);
    // Who may not read the journal sees it in the file.
    let named = facts.resolv_conf.servers.first().filter(|_| facts.resolv_conf.is_ours);
    let listen = known.map(|journal| journal.listen);
    let listen = listen.or_else(|| named.and_then(|server| server.parse().ok()));
    let listen = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let stands = known.is_none_or(|journal| machine.stands(journal));
    let ways = Asking::new()?.ways(listen, &facts);
    Ok(Status {
        stands,
        is_shielded: machine.is_shielded(),
        listen,
        ways,
        would: plan(&facts, listen),
        journal,
        facts,
    })
}

impl Status {
    fn known(&self) -> Option<&Journal> {
        self.journal.as_ref().and_then(Option::as_ref)
    }

    fn is_set(&self) -> bool {
        self.known().is_some() || self.journal.is_none() && self.facts.resolv_conf.is_ours
    }

    /// Whether every way leads to tacenda.
    fn arrives(&self) -> bool {
        self.ways.iter().all(|way| way.arrives.is_ok())
    }

    fn headline(&self) -> String {
        match self.known() {
            Some(journal) if !journal.phase.is_known_to_work() => {
                "begun and cut off: `sudo tacenda system restore` puts everything back".to_owned()
            }
            Some(journal) if !self.stands => format!(
                "set by {}, and changed by somebody since: `sudo tacenda system set` sets it again",
                journal.back_end.name()
            ),
            Some(journal) => format!("set by {}", journal.back_end.name()),
            None if self.is_set() => "set, by /etc/resolv.conf at least; root is told more".to_owned(),
            None if self.facts.resolv_conf.is_ours => {
                "not set by anything that is known, but its file is there: `sudo tacenda system restore` takes it away"
                    .to_owned()
            }
            None if self.journal.is_none() => "not known without root".to_owned(),
            None => "not set".to_owned(),
        }
    }
}

fn to_text(status: &Status, explain: bool) -> String {
    let mut text = format!("system DNS: {}\n", status.headline());
    for way in &status.ways {
        text.push_str(&match &way.arrives {
            Ok(()) => format!("names asked {}: arrive at tacenda ({})\n", way.name, status.listen),
            Err(why) => format!("names asked {}: do not arrive at tacenda: {why}\n", way.name),
        });
    }
    text.push_str(&format!("/etc/resolv.conf: {}\n", described(&status.facts)));
    if status.is_shielded {
        text.push_str("shielded: a program rewrote it again and again, which the log of `system watch` names; `system set` opens it again\n");
    }
    if explain {
        text.push_str(&explained(status));
    }
    text
}

fn described(facts: &Facts) -> String {
    let file = &facts.resolv_conf;
    let mut text = match (file.place, &file.leads_to) {
        (Place::Missing, _) => "there is none".to_owned(),
        (Place::File, _) => "a file".to_owned(),
        (Place::Link, Some(end)) => format!("a link to {}", end.display()),
        (Place::Link, None) => "a link that leads nowhere".to_owned(),
        (Place::Odd, _) => "neither a file nor a link".to_owned(),
    };
    if let Some(writer) = file.writer {
        text.push_str(&format!(", written by {writer}"));
    }
    if file.is_mount {
        text.push_str(", a mount of its own");
    }
    match file.servers.as_slice() {
        [] => text.push_str(", names no server"),
        servers => text.push_str(&format!(", names {}", servers.join(", "))),
    }
    text
}

fn explained(status: &Status) -> String {
    let facts = &status.facts;
    let running: Vec<_> = facts.running.iter().map(|program| program.name()).collect();
    let or_none = |words: Vec<&str>| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        }
    };
    let mut text = format!(
        "sources of names (nsswitch.conf): {}\nrunning, with a say in DNS: {}\n",
        or_none(facts.sources.iter().map(String::as_str).collect()),
        or_none(running)
    );
    if let Some(resolvconf) = facts.resolvconf {
        text.push_str(&format!("resolvconf: {resolvconf:?}\n"));
    }
    if facts.etc == Access::ReadOnly {
        text.push_str("/etc: read-only\n");
    }
    if let Some(engine) = facts.container {
        text.push_str(&format!("container: {engine}\n"));
    }
    match &status.would {
        Ok(plan) => {
            text.push_str(&format!("set would, by {}:\n", plan.back_end.name()));
            text.extend(plan.steps.iter().map(|step| format!("  - {}\n", step.words())));
            text.extend(plan.notes.iter().map(|note| format!("note: {note}\n")));
        }
        Err(refusal) => text.push_str(&format!("set cannot be done: {refusal}\n  = {}\n", refusal.help())),
    }
    text
}

fn to_json(status: &Status) -> Value {
    let way = |way: &Way| json!({ "way": way.name, "arrives": way.arrives.is_ok(), "why": way.arrives.as_ref().err() });
    let would = status.would.as_ref().ok().map(|plan| {
        json!({
            "back_end": plan.back_end,
            "steps": plan.steps.iter().map(|step| step.words()).collect::<Vec<_>>(),
            "notes": plan.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let refused = status.would.as_ref().err();
    let known = status.known();
    json!({
        "format": 1,
        "set": (status.journal.is_some() || status.is_set()).then_some(status.is_set()),
        "phase": known.map(|journal| journal.phase),
        "back_end": known.map(|journal| journal.back_end),
        "listen": status.listen,
        "stands": known.map(|_| status.stands),
        "shielded": status.is_shielded,
        "asks_tacenda": status.arrives(),
        "ways": status.ways.iter().map(way).collect::<Vec<_>>(),
        "facts": facts_json(&status.facts),
        "would": would,
        "refused": refused.map(|refusal| json!({ "why": refusal.to_string(), "help": refusal.help() })),
    })
}

fn facts_json(facts: &Facts) -> Value {
    let file = &facts.resolv_conf;
    json!({
        "resolv_conf": {
            "is": format!("{:?}", file.place).to_lowercase(),
            "leads_to": file.leads_to,
            "servers": file.servers,
            "written_by": file.writer,
            "is_mount": file.is_mount,
        },
        "sources": facts.sources,
        "etc_read_only": facts.etc == Access::ReadOnly,
        "container": facts.container,
        "wsl_writes": facts.wsl.map(|wsl| wsl == Wsl::Writes),
        "running": facts.running.iter().map(|program| program.name()).collect::<Vec<_>>(),
        "resolvconf": facts.resolvconf.map(|one| format!("{one:?}").to_lowercase()),
    })
}
