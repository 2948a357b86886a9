//! What Windows says about who answers its programs: by reading the registry only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::places::{
    DHCP_SERVERS, NETBT, OUR_RULE, POLICY, POLICY_RULES, PROFILE_SERVERS, RULES, SERVERS, TCPIP, TCPIP6,
};
use super::registry::{Key, Registry, Value};
use crate::os::dns::system::Picture;

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its adapters, those that are off too, once for IPv4 and once for IPv6.
    pub adapters: Vec<Adapter>,
    /// Their keys for NetBIOS.
    pub netbios: Vec<String>,
    /// Rules for names, ours among them.
    pub rules: Vec<Rule>,
    /// Whether a policy allows DNS over HTTPS only, to servers that Windows knows.
    pub requires_doh: bool,
    /// The domain that the host is a member of.
    pub domain: Option<String>,
    /// Whether there is a journal.
    pub is_set: bool,
}

/// An adapter's settings for one family of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its GUID.
    pub id: String,
    /// For which addresses.
    pub family: Family,
    /// Servers by hand.
    pub servers: Vec<String>,
    /// Those of its network's profile.
    pub profile_servers: Vec<String>,
    /// What DHCP said.
    pub dhcp_servers: Vec<String>,
}

impl Adapter {
    /// The servers in force.
    pub fn in_force(&self) -> &[String] {
        let all = [&self.profile_servers, &self.servers, &self.dhcp_servers];
        all.into_iter()
            .find(|servers| !servers.is_empty())
            .map_or(&[], Vec::as_slice)
    }
}

/// IPv4 and IPv6 have settings of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Where its adapters are.
    pub fn place(self) -> String {
        let parameters = match self {
            Self::V4 => TCPIP,
            Self::V6 => TCPIP6,
        };
        format!(r"{parameters}\Interfaces")
    }
}

/// Of whom a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This host's.
    Local,
    /// A group policy's.
    Policy,
}

/// A rule of the name resolution policy table (NRPT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is ours.
    pub is_ours: bool,
    /// Of whom it is.
    pub origin: Origin,
    /// The names that it is for: `.` is all, `.corp.example` those below it.
    pub names: Vec<String>,
    /// Whom they are asked at.
    pub servers: String,
}

impl Rule {
    /// Whether it is for all names.
    pub fn is_for_all(&self) -> bool {
        self.names.iter().any(|name| name == ".")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.names.join(", "), self.servers)
    }
}

/// More than any real host has.
const MAX_KEYS: usize = 512;

/// The value of `DoHPolicy` that forbids classic DNS.
const DOH_ONLY: u32 = 3;

/// Looks. What cannot be read is not there.
pub(super) fn gather(registry: &impl Registry) -> Facts {
    let value = |path: &str, name: &str| registry.read(&Key::new(path, name)).unwrap_or_default();
    let domain = value(TCPIP, "Domain").map(|value| value.as_text().to_owned());
    Facts {
        adapters: [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| adapters(registry, family))
            .collect(),
        netbios: below(registry, NETBT)
            .into_iter()
            .filter(|id| id.starts_with("Tcpip_{"))
            .collect(),
        rules: [(RULES, Origin::Local), (POLICY_RULES, Origin::Policy)]
            .into_iter()
            .flat_map(|(place, origin)| rules(registry, place, origin))
            .collect(),
        requires_doh: value(POLICY, "DoHPolicy") == Some(Value::Number(DOH_ONLY)),
        domain: domain.filter(|domain| !domain.is_empty()),
        is_set: false,
    }
}

fn below(registry: &impl Registry, path: &str) -> Vec<String> {
    let mut names = registry.below(path).unwrap_or_default();
    names.truncate(MAX_KEYS);
    names
}

fn adapters(registry: &impl Registry, family: Family) -> Vec<Adapter> {
    let adapter = |id: String| {
        let path = format!(r"{}\{id}", family.place());
        let servers = |name| {
            let value = registry.read(&Key::new(path.as_str(), name)).unwrap_or_default();
            value.as_ref().map(servers).unwrap_or_default()
        };
        Adapter {
            servers: servers(SERVERS),
            profile_servers: servers(PROFILE_SERVERS),
            dhcp_servers: servers(DHCP_SERVERS),
            id,
            family,
        }
    };
    let ids = below(registry, &family.place()).into_iter();
    ids.filter(|id| id.starts_with('{')).map(adapter).collect()
}

/// The servers that a value names.
pub(super) fn servers(value: &Value) -> Vec<String> {
    let words = value.as_text().split([',', ' ', ';']);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rules(registry: &impl Registry, place: &str, origin: Origin) -> Vec<Rule> {
    let rule = |id: String| {
        let path = format!(r"{place}\{id}");
        let value = |name| registry.read(&Key::new(path.as_str(), name)).unwrap_or_default();
        Rule {
            is_ours: id.eq_ignore_ascii_case(OUR_RULE),
            origin,
            names: match value("Name") {
                Some(Value::Texts(names)) => names,
                Some(Value::Text(name)) => vec![name],
                _ => Vec::new(),
            },
            servers: value("GenericDNSServers").map_or_else(String::new, |value| value.as_text().to_owned()),
        }
    };
    below(registry, place).into_iter().map(rule).collect()
}

impl Facts {
    /// Whether a group policy has rules, beside which local ones do not count.
    pub fn has_policy_rules(&self) -> bool {
        let mut others = self.others();
        others.any(|rule| rule.origin == Origin::Policy)
    }

    /// Rules of others.
    pub fn others(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.is_ours)
    }

    /// Our rule where it counts.
    fn ours(&self) -> Option<&Rule> {
        let wanted = if self.has_policy_rules() {
            Origin::Policy
        } else {
            Origin::Local
        };
        let mut ours = self.rules.iter().filter(|rule| rule.is_ours);
        ours.find(|rule| rule.origin == wanted && rule.is_for_all())
    }

    fn leaving(&self) -> impl Iterator<Item = &Adapter> {
        let is_here = |server: &String| server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let leaves = move |adapter: &&Adapter| !adapter.in_force().iter().all(is_here);
        self.adapters.iter().filter(leaves)
    }
}

impl Picture for Facts {
    /// A rule for all names goes before what adapters name.
    fn stays_here(&self) -> bool {
        let is_alone = !self.others().any(Rule::is_for_all);
        is_alone && (self.ours().is_some() || self.leaving().next().is_none())
    }

    fn elsewhere(&self) -> String {
        if let Some(rule) = self.others().find(|rule| rule.is_for_all()) {
            return format!("a rule of others asks {rule}");
        }
        let all = self.leaving().flat_map(|adapter| adapter.in_force().to_vec());
        let servers: BTreeSet<_> = all.collect();
        let servers: Vec<_> = servers.into_iter().collect();
        format!("network adapters name {}", servers.join(", "))
    }

    fn named(&self) -> Option<IpAddr> {
        self.ours().and_then(|rule| rule.servers.parse().ok())
    }

    fn place(&self) -> &'static str {
        "a rule for all names"
    }

    fn servers(&self) -> Vec<IpAddr> {
        let servers = self.adapters.iter().flat_map(Adapter::in_force);
        servers.filter_map(|server| server.parse().ok()).collect()
    }

    fn headline(&self) -> String {
        let all = self.rules.iter().find(|rule| rule.is_for_all());
        all.map_or_else(
            || match self.leaving().count() {
                0 => "no rule for all names, and no adapter names a server elsewhere".to_owned(),
                _ => format!("no rule for all names: {}", self.elsewhere()),
            },
            |rule| format!("a rule for all names: asked at {}", rule.servers),
        )
    }

    fn explained(&self) -> String {
        let mut text = String::new();
        for rule in self.others() {
            text.push_str(&format!("a rule of others: {rule}\n"));
        }
        for adapter in self.adapters.iter().filter(|one| !one.in_force().is_empty()) {
            text.push_str(&format!(
                "adapter {} ({:?}): names {}\n",
                adapter.id,
                adapter.family,
                adapter.in_force().join(", ")
            ));
        }
        if let Some(domain) = &self.domain {
            text.push_str(&format!("domain: {domain}\n"));
        }
        text
    }

    fn to_json(&self) -> Json {
        let adapter = |one: &Adapter| {
            json!({
                "id": one.id, "family": format!("{:?}", one.family).to_lowercase(), "servers": one.in_force(),
                "by_hand": !one.servers.is_empty() || !one.profile_servers.is_empty(),
            })
        };
        let rule = |one: &Rule| {
            json!({
                "ours": one.is_ours, "by_policy": one.origin == Origin::Policy, "names": one.names,
                "servers": one.servers,
            })
        };
        json!({
            "adapters": self.adapters.iter().map(adapter).collect::<Vec<_>>(),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "requires_doh": self.requires_doh,
            "domain": self.domain,
        })
    }
}
