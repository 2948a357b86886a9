//! From the facts of a Windows host to what is written, or why it cannot be: pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::facts::{Adapter, Facts, Family};
use super::places::{NETBT, POLICY, POLICY_RULES, PROFILE_SERVERS, RESOLVER, RULES, SERVERS, our_rule};
use super::registry::{Key, Value};
use crate::os::dns::system::{BackEnd, Outline, Refused};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// What the resolver of Windows does beside asking its server.
    Policy,
    /// NetBIOS' name service, which asks the whole link.
    Netbios,
    /// For programs that ask adapters' servers themselves.
    Adapters,
    /// A rule for all names, which goes before what any adapter names.
    Rule,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => {
                "switch off what asks the whole link or every adapter at once (LLMNR, mDNS, smart resolution)"
            }
            Self::Netbios => "switch off NetBIOS' name service on every adapter",
            Self::Adapters => "make tacenda the only server of every adapter, for IPv4 and IPv6",
            Self::Rule => "have all names asked at tacenda, by a rule in the name resolution policy table",
        })
    }
}

impl Planned {
    /// What it changes, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "the settings of the resolver of Windows",
            Self::Netbios => "NetBIOS' settings of an adapter",
            Self::Adapters => "the servers of an adapter",
            Self::Rule => "the rule for all names",
        }
    }
}

/// Decides. The rule comes last: it is what leads most programs here, and the first to go.
///
/// # Errors
/// Why it cannot be done here.
pub fn plan(facts: &Facts) -> Result<Outline<Planned>, Refused> {
    if facts.requires_doh {
        return Err(Refused {
            why: "a policy of this host allows DNS over HTTPS only, to servers that Windows knows".to_owned(),
            help: r"take DoHPolicy out of HKLM\SOFTWARE\Policies\Microsoft\Windows NT\DNSClient, or have your administrator do it"
                .to_owned(),
        });
    }
    if let Some(rule) = facts.others().find(|rule| rule.is_for_all()) {
        return Err(Refused {
            why: format!("a rule of another program has all names asked at {}", rule.servers),
            help: "end that program (a VPN, most likely), or take its rule away: Get-DnsClientNrptRule shows it"
                .to_owned(),
        });
    }
    Ok(Outline {
        back_end: BackEnd::Registry,
        steps: vec![Planned::Policy, Planned::Netbios, Planned::Adapters, Planned::Rule],
        notes: notes(facts),
    })
}

fn notes(facts: &Facts) -> Vec<String> {
    let rules = facts.others().filter(|rule| !rule.names.is_empty());
    let mut notes: Vec<_> = rules
        .map(|rule| format!("a rule of others stays: {rule}, past tacenda"))
        .collect();
    if let Some(domain) = &facts.domain {
        notes.push(format!(
            "this host is a member of {domain}: names of that domain need a [[route]] to its own servers"
        ));
    }
    notes
}

/// What a step writes, in this order.
pub fn rows(facts: &Facts, step: Planned, listen: IpAddr) -> Vec<(Key, Value)> {
    match step {
        Planned::Policy => policy(),
        Planned::Netbios => netbios(facts),
        Planned::Adapters => facts.adapters.iter().flat_map(|one| adapter(one, listen)).collect(),
        Planned::Rule => rules(facts, listen),
    }
}

fn policy() -> Vec<(Key, Value)> {
    let number = |path: &str, name, value| (Key::new(path, name), Value::Number(value));
    vec![
        // Else every adapter's servers are asked at once, and the first answer counts.
        number(POLICY, "DisableSmartNameResolution", 1),
        // LLMNR.
        number(POLICY, "EnableMulticast", 0),
        number(RESOLVER, "EnableMDNS", 0),
        // Else Windows speaks DNS over HTTPS itself, past us, to servers that it knows.
        number(RESOLVER, "EnableAutoDoh", 0),
    ]
}

/// NetbiosOptions: 2 is off.
fn netbios(facts: &Facts) -> Vec<(Key, Value)> {
    let row = |id: &String| (Key::new(format!(r"{NETBT}\{id}"), "NetbiosOptions"), Value::Number(2));
    facts.netbios.iter().map(row).collect()
}

fn adapter(adapter: &Adapter, listen: IpAddr) -> Vec<(Key, Value)> {
    let path = format!(r"{}\{}", adapter.family.place(), adapter.id);
    let server = Value::Text(of_family(adapter.family, listen).to_string());
    let row = |name| (Key::new(path.as_str(), name), server.clone());
    let mut rows = vec![row(SERVERS)];
    // It counts only where it is there.
    if !adapter.profile_servers.is_empty() {
        rows.push(row(PROFILE_SERVERS));
    }
    rows
}

/// The server of an adapter for one family. Whatever listens at the other family's loopback, or nobody: it must be named, or what a router
/// says is asked instead; and no question to it leaves this host.
fn of_family(family: Family, listen: IpAddr) -> IpAddr {
    match (family, listen) {
        (Family::V4, IpAddr::V6(_)) => Ipv4Addr::LOCALHOST.into(),
        (Family::V6, IpAddr::V4(_)) => Ipv6Addr::LOCALHOST.into(),
        _ => listen,
    }
}

/// The rule; among those of group policies too, if there are any, because then local ones do not count. Without names it does nothing: they
/// come last.
fn rules(facts: &Facts, listen: IpAddr) -> Vec<(Key, Value)> {
    let places = [(RULES, true), (POLICY_RULES, facts.has_policy_rules())];
    let wanted = places.into_iter().filter(|(_, is_wanted)| *is_wanted);
    wanted.flat_map(|(place, _)| rule(place, listen)).collect()
}

fn rule(place: &str, listen: IpAddr) -> [(Key, Value); 6] {
    let row = |name, value| (Key::new(our_rule(place), name), value);
    [
        row("Version", Value::Number(1)),
        row("DisplayName", Value::Text("tacenda".to_owned())),
        row("Comment", Value::Text("To undo: tacenda system restore".to_owned())),
        row("GenericDNSServers", Value::Text(listen.to_string())),
        row("ConfigOptions", Value::Number(ASK_THESE_SERVERS)),
        row("Name", Value::Texts(vec![".".to_owned()])),
    ]
}

/// The bit of ConfigOptions that says that GenericDNSServers counts.
const ASK_THESE_SERVERS: u32 = 8;

#[cfg(test)]
mod tests;
