//! Windows: a rule for all names leads to tacenda, and nothing else is asked.
//!
//! The rule goes before what any adapter names, of now or later; adapters name tacenda too, for programs that read their servers themselves.
//! All of it is in the registry and stays there: after a power cut the journal knows what to put back, and the rule is known by its GUID.

pub mod facts;
#[cfg(windows)]
pub mod imp;
pub mod places;
pub mod plan;
pub mod registry;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::system::{Outline, Refused};
use super::table::Table;
use facts::{Facts, Family};
use places::{OUR_RULE, POLICY_RULES, RULES, SERVERS, our_rule};
use plan::Planned;
use registry::{Key, Registry, Value};

/// A Windows host.
#[derive(Debug)]
pub struct Windows<R> {
    registry: R,
}

impl<R: Registry> Windows<R> {
    /// The one with this registry.
    pub fn of(registry: R) -> Self {
        Self { registry }
    }

    /// Takes away what stands in a key of ours, and the key.
    fn take_rule_away(&self, rules: &str) -> Result<(), String> {
        let path = our_rule(rules);
        for (key, _) in plan::rows(&Facts::default(), Planned::Rule, LOOPBACK) {
            self.registry.write(&Key::new(path.as_str(), &key.name), None)?;
        }
        self.registry.remove_empty(&path)
    }

    /// Takes our address out of an adapter: then it asks what DHCP says.
    fn take_server_away(&self, path: &str) -> Result<(), String> {
        let key = Key::new(path, SERVERS);
        let is_ours = |value: &Value| facts::servers(value).iter().any(|server| is_loopback(server));
        if self.registry.read(&key)?.as_ref().is_some_and(is_ours) {
            self.registry.write(&key, None)?;
        }
        Ok(())
    }
}

impl<R: Registry> Table for Windows<R> {
    const NAME: &'static str = "windows";

    /// A few hundred look-ups in memory; an adapter that comes up meanwhile is covered by the rule.
    const LOOK_INTERVAL: Duration = Duration::from_secs(5);

    const OUTLIVES_A_START: bool = true;

    type Facts = Facts;
    type Planned = Planned;
    type Key = Key;
    type Value = Value;

    /// Not in ProgramData, where every user may make folders: what an administrator puts back would be theirs to say.
    fn folder(&self) -> PathBuf {
        self.registry.programs().join("tacenda").join("system")
    }

    fn facts(&self, is_set: bool) -> Facts {
        Facts {
            is_set,
            ..facts::gather(&self.registry)
        }
    }

    /// Nothing here means anything else after a start.
    fn boot_id(&self) -> String {
        String::new()
    }

    fn plan(facts: &Facts, _listen: IpAddr) -> Result<Outline<Planned>, Refused> {
        plan::plan(facts)
    }

    fn rows(facts: &Facts, step: Planned, listen: IpAddr) -> Vec<(Key, Value)> {
        plan::rows(facts, step, listen)
    }

    /// An adapter's servers with a loopback address among them: nobody but tacenda listens at this host's port 53 once it is set.
    fn leads_to_us(value: &Value, ours: &Value) -> bool {
        let has_loopback = |value| facts::servers(value).iter().any(|server| is_loopback(server));
        has_loopback(ours) && has_loopback(value)
    }

    fn servers(value: &Value) -> Vec<String> {
        facts::servers(value)
    }

    fn is_our_own(key: &Key) -> bool {
        key.path.ends_with(OUR_RULE)
    }

    fn name_of(step: Planned) -> &'static str {
        step.name()
    }

    fn read(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, String> {
        keys.iter().map(|key| self.registry.read(key)).collect()
    }

    fn write(&self, key: &Key, value: Option<&Value>) -> Result<(), String> {
        self.registry.write(key, value)
    }

    /// An empty key for rules of group policies would switch the local ones off, so it goes with ours, whoever made it.
    fn missing(&self, key: &Key) -> Vec<String> {
        let is_ours = |path: &str| path == POLICY_RULES || path.ends_with(OUR_RULE);
        let is_missing = |path: &&str| is_ours(path) || !self.registry.exists(path);
        let ends = key.path.match_indices('\\').map(|(at, _)| at).chain([key.path.len()]);
        let paths = ends.map(|end| &key.path[..end]);
        paths.filter(is_missing).map(str::to_owned).collect()
    }

    fn clear(&self, made: &str) {
        let _ = self.registry.remove_empty(made);
    }

    fn announce(&self) {
        self.registry.announce(facts::gather(&self.registry).has_policy_rules());
    }

    /// The rule has our name, and would lead to nobody.
    fn has_left_something(&self) -> bool {
        [RULES, POLICY_RULES]
            .into_iter()
            .any(|rules| self.registry.exists(&our_rule(rules)))
    }

    fn salvage(&self) -> Result<Vec<String>, Vec<String>> {
        let mut failed = Vec::new();
        failed.extend(
            [RULES, POLICY_RULES]
                .into_iter()
                .filter_map(|rules| self.take_rule_away(rules).err()),
        );
        for family in [Family::V4, Family::V6] {
            let ids = self.registry.below(&family.place()).unwrap_or_default();
            let paths = ids.iter().map(|id| format!(r"{}\{id}", family.place()));
            failed.extend(paths.filter_map(|path| self.take_server_away(&path).err()));
        }
        self.announce();
        if !failed.is_empty() {
            return Err(failed);
        }
        Ok(vec![
            "adapters ask what DHCP says: a server that was set by hand is to be set again".to_owned(),
            "LLMNR, mDNS and NetBIOS stay switched off: what they were is not known".to_owned(),
        ])
    }
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests;
