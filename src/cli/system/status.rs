//! `tacenda system status`: what is set, whether names arrive, the facts, and what `set` would do.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::offers;
use super::verify::{Asking, Way};
use super::{Exit, Failure, Output};
use crate::admin::protection::help::{SYSTEM_SET, SYSTEM_STATUS};
use crate::admin::protection::{Part, SYSTEM_DNS};
use crate::os::dns::journal::Journal;
use crate::os::dns::system::{Outline, Picture, Refused, System};
use crate::os::dns::{Machine, here};
use crate::os::process::as_root;

/// Everything that is printed.
struct Status<S: System> {
    facts: S::Facts,
    /// What is set; `None` if only root may know.
    journal: Option<Option<Journal<S::Change>>>,
    /// Whether it stands as it was set.
    stands: bool,
    /// Whether a program is kept from `/etc/resolv.conf`.
    is_shielded: bool,
    listen: IpAddr,
    ways: Vec<Way>,
    would: Result<Outline<S::Planned>, Refused>,
    /// Routes that VPNs want.
    offers: Vec<String>,
}

pub(super) fn run<S: System>(
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

/// Whether programs on this host ask tacenda, for `tacenda status`: tried, not believed.
pub(in crate::cli) fn part() -> Part {
    match here().map_err(Failure::from).and_then(|machine| look(&machine)) {
        Ok(status) => status.part(),
        Err(failure) => Part::unknown(SYSTEM_DNS, failure.message),
    }
}

/// Of whether it is set, as far as one may know, and of what was tried.
fn judge(is_set: Option<bool>, stands: bool, ways: &[Way]) -> Part {
    let wrong = ways
        .iter()
        .find_map(|way| Some((way.name, way.arrives.as_ref().err()?)));
    if let Some((way, why)) = wrong {
        let text = format!("names asked {way} do not arrive at tacenda: {why}");
        let help = if is_set == Some(true) {
            SYSTEM_STATUS
        } else {
            SYSTEM_SET
        };
        return Part::bad(SYSTEM_DNS, text, help);
    }
    let names: Vec<_> = ways.iter().map(|way| way.name).collect();
    let arrive = format!("names asked {} arrive at tacenda", names.join(", "));
    match is_set {
        Some(true) if !stands => Part::bad(SYSTEM_DNS, "set, and changed by another program since", SYSTEM_SET),
        Some(false) => Part::gap(SYSTEM_DNS, format!("{arrive}, and nobody keeps it so"), SYSTEM_SET),
        // Only root may know more.
        Some(true) | None => Part::good(SYSTEM_DNS, arrive),
    }
}

fn look<S: System>(machine: &Machine<S>) -> Result<Status<S>, Failure> {
    let facts = machine.facts();
    let journal = match machine.journal() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        found => Some(found.map_err(|error| Failure::new(Exit::Io, format!("the journal of `system set`: {error}")))?),
    };
    let known = journal.as_ref().and_then(Option::as_ref);
    // Who may not read the journal sees it in the settings.
    let listen = known.map(|journal| journal.listen).or_else(|| facts.named());
    let listen = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let stands = known.is_none_or(|journal| machine.stands(journal));
    let ways = Asking::new()?.ways(listen, &facts);
    let offers = known.map_or_else(Vec::new, |journal| offers::routes(&machine.offers(journal)));
    Ok(Status {
        offers,
        stands,
        is_shielded: machine.is_shielded(),
        listen,
        ways,
        would: S::plan(&facts, listen),
        journal,
        facts,
    })
}

impl<S: System> Status<S> {
    fn known(&self) -> Option<&Journal<S::Change>> {
        self.journal.as_ref().and_then(Option::as_ref)
    }

    fn is_set(&self) -> bool {
        self.known().is_some() || self.journal.is_none() && self.facts.named().is_some()
    }

    /// Whether every way leads to tacenda.
    fn arrives(&self) -> bool {
        self.ways.iter().all(|way| way.arrives.is_ok())
    }

    fn part(&self) -> Part {
        let is_set = self.journal.as_ref().map(Option::is_some);
        judge(is_set, self.stands, &self.ways)
    }

    fn headline(&self) -> String {
        match self.known() {
            Some(journal) if !journal.phase.is_known_to_work() => {
                format!(
                    "begun and cut off: {} puts everything back",
                    as_root("tacenda system restore")
                )
            }
            Some(journal) if !self.stands => format!(
                "set by {}, and changed by somebody since: {} sets it again",
                journal.back_end.name(),
                as_root("tacenda system set")
            ),
            Some(journal) => format!("set by {}", journal.back_end.name()),
            None if self.is_set() => format!("set, by {} at least; root is told more", self.facts.place()),
            None if self.facts.named().is_some() => format!(
                "not set by anything that is known, but {} names it: {} takes it away",
                self.facts.place(),
                as_root("tacenda system restore")
            ),
            None if self.journal.is_none() => "not known without root".to_owned(),
            None => "not set".to_owned(),
        }
    }
}

fn to_text<S: System>(status: &Status<S>, explain: bool) -> String {
    let mut text = format!("system DNS: {}\n", status.headline());
    for way in &status.ways {
        text.push_str(&match &way.arrives {
            Ok(()) => format!("names asked {}: arrive at tacenda ({})\n", way.name, status.listen),
            Err(why) => format!("names asked {}: do not arrive at tacenda: {why}\n", way.name),
        });
    }
    text.push_str(&format!("{}\n", status.facts.headline()));
    if status.is_shielded {
        text.push_str("shielded: a program rewrote it again and again, which the log of `system watch` names; `system set` opens it again\n");
    }
    for offer in &status.offers {
        text.push_str(&format!("offered: {offer}"));
    }
    if explain {
        text.push_str(&explained(status));
    }
    text
}

fn explained<S: System>(status: &Status<S>) -> String {
    let mut text = status.facts.explained();
    match &status.would {
        Ok(plan) => {
            text.push_str(&format!("set would, by {}:\n", plan.back_end.name()));
            text.extend(plan.steps.iter().map(|step| format!("  - {}\n", step)));
            text.extend(plan.notes.iter().map(|note| format!("note: {note}\n")));
        }
        Err(refused) => text.push_str(&format!("set cannot be done: {refused}\n  = {}\n", refused.help)),
    }
    text
}

fn to_json<S: System>(status: &Status<S>) -> Value {
    let way = |way: &Way| json!({ "way": way.name, "arrives": way.arrives.is_ok(), "why": way.arrives.as_ref().err() });
    let would = status.would.as_ref().ok().map(|plan| {
        json!({
            "back_end": plan.back_end,
            "steps": plan.steps.iter().map(|step| step.to_string()).collect::<Vec<_>>(),
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
        "offers": status.offers,
        "shielded": status.is_shielded,
        "asks_tacenda": status.arrives(),
        "ways": status.ways.iter().map(way).collect::<Vec<_>>(),
        "facts": status.facts.to_json(),
        "would": would,
        "refused": refused.map(|refused| json!({ "why": refused.to_string(), "help": refused.help })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protection::State;

    fn way(name: &'static str, arrives: bool) -> Way {
        Way {
            name,
            arrives: if arrives {
                Ok(())
            } else {
                Err("the router answered".into())
            },
        }
    }

    #[test]
    fn what_was_tried_decides_and_what_is_set_says_the_rest() {
        let all = [way("directly", true), way("through libc", true)];
        let lost = [way("directly", true), way("through libc", false)];
        for (is_set, stands, ways, state, words) in [
            (
                Some(true),
                true,
                &all,
                State::Good,
                "names asked directly, through libc arrive at tacenda",
            ),
            (None, true, &all, State::Good, "arrive at tacenda"),
            (Some(false), true, &all, State::Gap, "and nobody keeps it so"),
            (Some(true), false, &all, State::Bad, "changed by another program since"),
            (
                Some(true),
                true,
                &lost,
                State::Bad,
                "through libc do not arrive at tacenda: the router answered",
            ),
            (Some(false), true, &lost, State::Bad, "do not arrive"),
            (None, true, &lost, State::Bad, "do not arrive"),
        ] {
            let part = judge(is_set, stands, ways);
            assert_eq!(part.state, state, "{part:?}");
            assert!(part.text.contains(words), "{part:?}");
        }
    }
}
