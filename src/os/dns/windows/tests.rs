//! A Windows host whose registry is a model.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use super::places::{NETBT, POLICY, PROFILE_SERVERS, RESOLVER, TCPIP};
use super::*;
use crate::os::dns::table::testing::{
    Host, LISTEN, World, a_foreign_journal_is_refused, every_cut_is_undone, every_power_cut_is_undone,
    what_is_not_verified_is_undone,
};
use crate::os::dns::{Error, system::Picture};

const ETHERNET: &str = "{0B7A7E0A-6F6B-4B6B-9E0B-2B1C6E7D8F90}";
const WIFI: &str = "{C2D1E0F9-8A7B-4C6D-9E5F-0A1B2C3D4E5F}";

/// Keys and values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hive {
    keys: BTreeSet<String>,
    values: BTreeMap<Key, Value>,
    /// What cannot be written: the beginning of a path.
    locked: &'static str,
}

impl Hive {
    fn put(&mut self, path: &str, name: &str, value: Value) {
        let ends = path.match_indices('\\').map(|(at, _)| at).chain([path.len()]);
        self.keys.extend(ends.map(|end| path[..end].to_owned()));
        if !name.is_empty() {
            self.values.insert(Key::new(path, name), value);
        }
    }
}

impl World for Hive {
    fn restarted(&self) -> Self {
        self.clone()
    }

    fn names_two(&self) -> bool {
        let ours = LISTEN.to_string();
        let mixed = |value: &Value| {
            let servers = facts::servers(value);
            servers.contains(&ours) && servers.len() > 1
        };
        self.values.values().any(mixed)
    }
}

pub(super) struct Model {
    hive: Rc<RefCell<Hive>>,
    root: PathBuf,
}

impl Registry for Model {
    fn read(&self, key: &Key) -> Result<Option<Value>, String> {
        Ok(self.hive.borrow().values.get(key).cloned())
    }

    fn write(&self, key: &Key, value: Option<&Value>) -> Result<(), String> {
        let mut hive = self.hive.borrow_mut();
        if !hive.locked.is_empty() && key.path.starts_with(hive.locked) {
            return Err(format!("{key}: access is denied"));
        }
        match value {
            Some(value) => hive.put(&key.path, &key.name, value.clone()),
            None => drop(hive.values.remove(key)),
        }
        Ok(())
    }

    fn below(&self, path: &str) -> Result<Vec<String>, String> {
        let below = |key: &String| {
            let rest = key.strip_prefix(path)?.strip_prefix('\\')?;
            (!rest.contains('\\')).then(|| rest.to_owned())
        };
        Ok(self.hive.borrow().keys.iter().filter_map(below).collect())
    }

    fn exists(&self, path: &str) -> bool {
        self.hive.borrow().keys.contains(path)
    }

    fn remove_empty(&self, path: &str) -> Result<(), String> {
        let has_keys = !self.below(path)?.is_empty();
        let mut hive = self.hive.borrow_mut();
        if !has_keys && !hive.values.keys().any(|key| key.path == path) {
            hive.keys.remove(path);
        }
        Ok(())
    }

    fn announce(&self, _by_policy: bool) {}

    fn programs(&self) -> PathBuf {
        self.root.clone()
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn path_of(family: Family, id: &str) -> String {
    format!(r"{}\{id}", family.place())
}

/// Two adapters, one with a server by hand and in its network's profile; a policy that an administrator set.
pub(super) fn hive() -> Hive {
    let mut hive = Hive {
        keys: BTreeSet::new(),
        values: BTreeMap::new(),
        locked: "",
    };
    for id in [ETHERNET, WIFI] {
        for family in [Family::V4, Family::V6] {
            hive.put(&path_of(family, id), "", Value::Number(0));
        }
        hive.put(&format!(r"{NETBT}\Tcpip_{id}"), "NetbiosOptions", Value::Number(0));
    }
    hive.put(
        &path_of(Family::V4, ETHERNET),
        "DhcpNameServer",
        text("192.0.2.1 192.0.2.2"),
    );
    hive.put(&path_of(Family::V4, WIFI), SERVERS, text("9.9.9.9,149.112.112.112"));
    hive.put(&path_of(Family::V4, WIFI), PROFILE_SERVERS, text("9.9.9.9"));
    hive.put(&path_of(Family::V6, WIFI), SERVERS, text(""));
    hive.put(RESOLVER, "EnableMDNS", Value::Number(0));
    hive.put(
        RESOLVER,
        "Odd",
        Value::Other {
            kind: 3,
            octets: vec![1],
        },
    );
    hive.put(r"SOFTWARE\Policies\Microsoft", "", Value::Number(0));
    hive
}

/// The same in a company: a member of a domain, with a rule of a group policy.
fn company() -> Hive {
    let mut hive = hive();
    let rule = format!(r"{POLICY_RULES}\{{11111111-2222-3333-4444-555555555555}}");
    hive.put(&rule, "Name", Value::Texts(vec![".corp.example".into()]));
    hive.put(&rule, "GenericDNSServers", text("10.0.0.53"));
    hive.put(POLICY, "EnableMulticast", Value::Number(1));
    hive.put(TCPIP, "Domain", text("corp.example"));
    hive
}

fn build(root: &Path, hive: Rc<RefCell<Hive>>) -> Windows<Model> {
    let root = root.to_owned();
    Windows::of(Model { hive, root })
}

fn host() -> Host<Windows<Model>, Hive> {
    Host::new(hive(), build)
}

fn value(host: &Host<Windows<Model>, Hive>, path: &str, name: &str) -> Option<Value> {
    host.world().values.get(&Key::new(path, name)).cloned()
}

#[test]
fn cut_off_anywhere_everything_is_given_back() {
    every_cut_is_undone(host);
    every_cut_is_undone(|| Host::new(company(), build));
}

#[test]
fn a_start_of_the_machine_in_between_too() {
    every_power_cut_is_undone(host);
}

#[test]
fn what_does_not_arrive_is_undone() {
    what_is_not_verified_is_undone(host);
}

#[test]
fn a_journal_of_another_system_is_refused() {
    a_foreign_journal_is_refused(host);
}

#[test]
fn adapters_and_a_rule_name_tacenda_alone() {
    let host = host();
    host.set().unwrap();
    for id in [ETHERNET, WIFI] {
        assert_eq!(value(&host, &path_of(Family::V4, id), SERVERS), Some(text("127.0.0.1")));
        assert_eq!(value(&host, &path_of(Family::V6, id), SERVERS), Some(text("::1")));
    }
    assert_eq!(
        value(&host, &path_of(Family::V4, WIFI), PROFILE_SERVERS),
        Some(text("127.0.0.1"))
    );
    assert_eq!(value(&host, &path_of(Family::V4, ETHERNET), PROFILE_SERVERS), None);
    let rule = our_rule(RULES);
    assert_eq!(value(&host, &rule, "GenericDNSServers"), Some(text("127.0.0.1")));
    assert_eq!(value(&host, &rule, "Name"), Some(Value::Texts(vec![".".into()])));
    assert!(
        !host.world().keys.contains(POLICY_RULES),
        "an empty one would switch the local rules off"
    );
    assert_eq!(host.drift(), None);
    assert!(Table::facts(&build(Path::new(""), Rc::clone(&host.world)), true).stays_here());
}

#[test]
fn beside_rules_of_a_group_policy_ours_is_there_too() {
    let host = Host::new(company(), build);
    let done = host.set().unwrap();
    assert!(value(&host, &our_rule(POLICY_RULES), "Name").is_some());
    let notes = done.remarks.join("\n");
    assert!(
        notes.contains(".corp.example at 10.0.0.53") && notes.contains("[[route]]"),
        "{notes}"
    );
    // The policy's last rule goes, and with ours the key that would switch off local ones.
    host.world
        .borrow_mut()
        .values
        .retain(|key, _| !key.path.contains("11111111"));
    host.world.borrow_mut().keys.retain(|key| !key.contains("11111111"));
    host.restore().unwrap();
    assert!(!host.world().keys.contains(POLICY_RULES));
}

#[test]
fn a_rule_of_a_policy_that_comes_later_is_drift() {
    let host = host();
    host.set().unwrap();
    *host.world.borrow_mut() = {
        let mut hive = host.world();
        hive.put(
            &format!(r"{POLICY_RULES}\{{1}}"),
            "Name",
            Value::Texts(vec![".x".into()]),
        );
        hive
    };
    assert_eq!(host.drift().as_deref(), Some("the rule for all names"));
    host.set_again();
    assert_eq!(host.drift(), None);
    host.restore().unwrap();
    assert!(!host.world().keys.iter().any(|key| key.ends_with(OUR_RULE)));
}

#[test]
fn an_adapter_that_comes_later_is_set_too() {
    let host = host();
    host.set().unwrap();
    let usb = path_of(Family::V4, "{33333333-0000-0000-0000-000000000000}");
    host.world.borrow_mut().put(&usb, SERVERS, text("203.0.113.1"));
    assert_eq!(host.drift().as_deref(), Some("the servers of an adapter"));
    host.set_again();
    assert_eq!(
        (host.drift(), value(&host, &usb, SERVERS)),
        (None, Some(text("127.0.0.1")))
    );
    host.restore().unwrap();
    assert_eq!(value(&host, &usb, SERVERS), Some(text("203.0.113.1")));
}

#[test]
fn what_somebody_set_since_stays_and_a_server_beside_ours_does_not() {
    for (now, after, is_said) in [
        ("203.0.113.1", "203.0.113.1", true),
        ("127.0.0.1,203.0.113.1", "9.9.9.9,149.112.112.112", false),
    ] {
        let host = host();
        host.set().unwrap();
        let wifi = path_of(Family::V4, WIFI);
        host.world.borrow_mut().put(&wifi, SERVERS, text(now));
        let done = host.restore().unwrap().unwrap();
        assert_eq!(value(&host, &wifi, SERVERS), Some(text(after)));
        assert_eq!(
            done.remarks.iter().any(|remark| remark.contains(WIFI)),
            is_said,
            "{done:?}"
        );
    }
}

#[test]
fn our_rule_goes_whole_whoever_wrote_into_it() {
    let host = host();
    host.set().unwrap();
    for name in ["Comment", "GenericDNSServers"] {
        host.world.borrow_mut().put(&our_rule(RULES), name, text("203.0.113.1"));
    }
    assert_eq!(host.drift().as_deref(), Some("the rule for all names"));
    host.restore().unwrap();
    assert_eq!(host.world(), hive());
}

#[test]
fn an_adapter_that_was_taken_out_is_not_made_again() {
    let host = host();
    host.set().unwrap();
    let is_wifis = |path: &str| path.contains(WIFI);
    host.world.borrow_mut().values.retain(|key, _| !is_wifis(&key.path));
    host.world.borrow_mut().keys.retain(|path| !is_wifis(path));
    host.world
        .borrow_mut()
        .put(&path_of(Family::V4, ETHERNET), SERVERS, text("203.0.113.1"));
    host.set_again();
    host.restore().unwrap();
    assert!(!host.world().keys.iter().any(|path| is_wifis(path)));
}

/// As after a lost journal: the rule and the servers are ours, and are not to come back.
#[test]
fn what_is_left_of_an_older_set_is_never_kept() {
    let host = host();
    host.set().unwrap();
    let journal = host.folder.path().join("tacenda/system/journal.json");
    std::fs::remove_file(journal).unwrap();
    host.set().unwrap();
    host.restore().unwrap();
    for id in [ETHERNET, WIFI] {
        assert_eq!(
            value(&host, &path_of(Family::V4, id), SERVERS),
            None,
            "what DHCP says is asked"
        );
    }
    assert!(!host.world().keys.contains(&our_rule(RULES)));
}

#[test]
fn without_a_journal_rule_and_servers_are_taken_away() {
    for is_gone in [false, true] {
        let host = host();
        host.set().unwrap();
        let journal = host.folder.path().join("tacenda/system/journal.json");
        if is_gone {
            std::fs::remove_file(journal).unwrap();
        } else {
            std::fs::write(journal, "{").unwrap();
        }
        let done = host.restore().unwrap().unwrap();
        assert!(done.remarks.iter().any(|remark| remark.contains("DHCP")), "{done:?}");
        assert_eq!(value(&host, &path_of(Family::V4, ETHERNET), SERVERS), None);
        assert!(!host.world().keys.contains(&our_rule(RULES)));
        assert_eq!(host.restore().unwrap(), None, "nothing is left");
    }
}

#[test]
fn what_cannot_be_written_undoes_everything() {
    let host = host();
    host.world.borrow_mut().locked = RULES;
    let failed = host.set();
    assert!(
        matches!(&failed, Err(Error::Undone { why, .. }) if why.contains("denied")),
        "{failed:?}"
    );
    host.world.borrow_mut().locked = "";
    assert_eq!(host.world(), hive());
}
