//! From a Mac's facts to what is done, or why it cannot be: pure.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, key};
use super::text::{self, Dictionary, Item};
use crate::os::dns::system::{BackEnd, Outline, Refused};

/// One step. There is one only: network services come and go, and each look finds those of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// All network services.
    Services,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("make tacenda the only server of every network service, in the dynamic store")
    }
}

/// Whether a name to verify by is below this domain: those of [`crate::policy::probe`] are below `verify.tacenda.test`.
fn holds_probes(domain: &str) -> bool {
    ["test", "tacenda.test", "verify.tacenda.test"].contains(&domain)
}

/// Decides.
///
/// # Errors
/// Why it cannot be done here.
pub fn plan(facts: &Facts, listen: IpAddr) -> Result<Outline<Planned>, Refused> {
    let refused = |why: String, help: &str| {
        Err(Refused {
            why,
            help: help.to_owned(),
        })
    };
    if let Some(file) = facts.files.iter().find(|file| holds_probes(file)) {
        return refused(
            format!("/etc/resolver/{file} takes the names by which tacenda is known from other resolvers"),
            "move the file away, set it, and move it back",
        );
    }
    let has_servers = |one: &&super::facts::Service| !one.servers().is_empty();
    let with_servers: Vec<_> = facts.services.iter().filter(has_servers).collect();
    let names_us = |server: &String| *server == listen.to_string();
    if !facts.is_set && with_servers.iter().any(|one| one.servers().iter().any(names_us)) {
        return refused(
            "a network service names tacenda already, and what it named before is not known: there would be nothing to put back".to_owned(),
            "leave it so; or take it out in System Settings and turn the network off and on, and set it again",
        );
    }
    if !facts.is_set && with_servers.is_empty() {
        return refused(
            "no network service has a server: this Mac is in no network".to_owned(),
            "join a network, and set it then",
        );
    }
    Ok(Outline {
        back_end: BackEnd::DynamicStore,
        steps: vec![Planned::Services],
        notes: notes(facts),
    })
}

fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = vec![
        "this holds until the machine restarts; `tacenda system watch` sets it again then, or `tacenda system set`"
            .to_owned(),
    ];
    for file in &facts.files {
        notes.push(format!(
            "names below {file} are asked as /etc/resolver/{file} says, past tacenda"
        ));
    }
    for service in &facts.services {
        let all = [&service.state, &service.setup];
        let items = all.into_iter().flatten().flatten();
        let odd = items.filter(|(_, item)| matches!(item, Item::Shown(_)));
        for (name, _) in odd {
            notes.push(format!(
                "`restore` cannot put back {name} of {}: turn that network off and on after it",
                service.id
            ));
        }
    }
    notes
}

/// What is written: what the network gave, where there is something, and what is set by hand in every service. The latter wins over what
/// DHCP may bring later, and is there before a card that is off goes on.
pub fn rows(facts: &Facts, listen: IpAddr) -> Vec<(String, Dictionary)> {
    let mut rows = Vec::new();
    for service in &facts.services {
        let places = [("State", service.state.is_some()), ("Setup", true)];
        for (place, _) in places.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            rows.push((key(place, &service.id), text::only(listen)));
        }
    }
    rows
}

#[cfg(test)]
mod tests;
