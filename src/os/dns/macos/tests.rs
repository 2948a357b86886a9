//! A Mac whose dynamic store is a model, and whose `scutil` takes and says the same text as Apple's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use super::text::{Item, SERVERS};
use super::*;
use crate::os::dns::Error;
use crate::os::dns::table::testing::{
    Host, LISTEN, World, a_foreign_journal_is_refused, every_cut_is_undone, every_power_cut_is_undone,
    what_is_not_verified_is_undone,
};

const WIFI: &str = "9D6A13B4-3F0C-4A2F-9D5E-1B6E4C7F8A90";
const VPN: &str = "com.example.vpn";
const ETHERNET: &str = "0E3F2A11-77C1-4E0B-8A63-2F4D5B6C7D8E";

/// The dynamic store.
#[derive(Clone, Debug, PartialEq)]
struct Store {
    entries: BTreeMap<String, Dictionary>,
    boot: u32,
    is_locked: bool,
    /// Who is asked: macOS takes changes in a moment later.
    asked: Vec<String>,
}

impl World for Store {
    /// Networks give again what they gave.
    fn restarted(&self) -> Self {
        Self {
            boot: self.boot + 1,
            ..store()
        }
    }

    fn names_two(&self) -> bool {
        let ours = LISTEN.to_string();
        let mixed = |one: &Dictionary| text::servers(one).contains(&ours) && text::servers(one).len() > 1;
        self.entries.values().any(mixed)
    }
}

/// `scutil` on the model.
struct Model(Rc<RefCell<Store>>);

impl Scutil for Model {
    fn run(&self, arguments: &[&str], commands: &str) -> Result<String, String> {
        if arguments == ["--dns"] {
            return Ok(self.0.borrow().asked());
        }
        let mut said = String::new();
        let mut dictionary = Dictionary::new();
        for line in commands.lines() {
            let words: Vec<_> = line.split(' ').collect();
            self.0.borrow_mut().command(&words, &mut dictionary, &mut said);
        }
        Ok(said)
    }

    fn boot_id(&self) -> String {
        self.0.borrow().boot.to_string()
    }

    fn flush(&self) {}

    fn pause(&self) {
        let servers = self.0.borrow().in_force();
        self.0.borrow_mut().asked = servers;
    }
}

impl Store {
    fn command(&mut self, words: &[&str], dictionary: &mut Dictionary, said: &mut String) {
        match words {
            ["list", pattern] => {
                let (before, after) = pattern.split_once("[^/]+").unwrap();
                let keys = self.entries.keys();
                for (at, key) in keys
                    .filter(|key| key.starts_with(before) && key.ends_with(after))
                    .enumerate()
                {
                    said.push_str(&format!("  subKey [{at}] = {key}\n"));
                }
            }
            ["show", key] => said.push_str(
                &self
                    .entries
                    .get(*key)
                    .map_or_else(|| "  No such key\n".to_owned(), show),
            ),
            ["d.init"] => dictionary.clear(),
            ["d.add", name, values @ ..] => drop(dictionary.insert((*name).to_owned(), item(values))),
            ["set" | "remove", _] if self.is_locked => said.push_str("  Permission denied\n"),
            ["set", key] => drop(self.entries.insert((*key).to_owned(), dictionary.clone())),
            ["remove", key] => drop(self.entries.remove(*key)),
            other => panic!("no command of scutil's: {other:?}"),
        }
    }

    /// What network services make together: the first one's servers, those set by hand before those of its network.
    fn in_force(&self) -> Vec<String> {
        let of = |place: &str| {
            let entry = self.entries.get(&facts::key(place, WIFI));
            entry.map(text::servers).unwrap_or_default().to_vec()
        };
        if of("Setup").is_empty() {
            of("State")
        } else {
            of("Setup")
        }
    }

    fn asked(&self) -> String {
        let asked = self.asked.iter().enumerate();
        let lines = asked.map(|(at, one)| format!("  nameserver[{at}] : {one}\n"));
        format!("DNS configuration\n\nresolver #1\n{}", lines.collect::<String>())
    }
}

fn item(values: &[&str]) -> Item {
    let text = |value: &&str| value.trim_matches('"').to_owned();
    match values {
        ["*", "#", numbers @ ..] => Item::Numbers(numbers.iter().map(|one| one.parse().unwrap()).collect()),
        ["*", texts @ ..] => Item::Texts(texts.iter().map(text).collect()),
        ["#", number] => Item::Number(number.parse().unwrap()),
        [one] => Item::Text(text(one)),
        other => panic!("{other:?}"),
    }
}

/// As the framework describes a dictionary.
fn show(dictionary: &Dictionary) -> String {
    let array = |values: Vec<String>| {
        let lines = values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("    {at} : {value}\n"));
        format!("<array> {{\n{}  }}", lines.collect::<String>())
    };
    let mut said = "<dictionary> {\n".to_owned();
    for (name, item) in dictionary {
        let value = match item {
            Item::Text(text) | Item::Shown(text) => text.clone(),
            Item::Number(number) => number.to_string(),
            Item::Texts(texts) => array(texts.clone()),
            Item::Numbers(numbers) => array(numbers.iter().map(i64::to_string).collect()),
        };
        said.push_str(&format!("  {name} : {value}\n"));
    }
    said + "}\n"
}

fn texts(texts: &[&str]) -> Item {
    Item::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn dictionary(items: &[(&str, Item)]) -> Dictionary {
    items
        .iter()
        .map(|(name, item)| ((*name).to_owned(), item.clone()))
        .collect()
}

/// Wi-Fi with DHCP, a VPN for some names, and a card without a cable that has a server by hand.
fn store() -> Store {
    let wifi = [
        ("DomainName", Item::Text("fritz.box".into())),
        (SERVERS, texts(&["fd00::1", "192.168.178.1"])),
    ];
    let vpn = [
        (SERVERS, texts(&["10.8.0.1"])),
        ("SupplementalMatchDomains", texts(&["", "corp.example"])),
        ("SupplementalMatchOrders", Item::Numbers(vec![1, 2])),
    ];
    let entries = [
        (facts::key("State", WIFI), dictionary(&wifi)),
        (facts::key("Setup", WIFI), Dictionary::new()),
        (facts::key("State", VPN), dictionary(&vpn)),
        (
            facts::key("Setup", ETHERNET),
            dictionary(&[(SERVERS, texts(&["9.9.9.9"]))]),
        ),
        (
            format!("Setup:/Network/Service/{ETHERNET}/Interface"),
            Dictionary::new(),
        ),
    ];
    Store {
        entries: entries.into(),
        boot: 1,
        is_locked: false,
        asked: vec!["fd00::1".to_owned(), "192.168.178.1".to_owned()],
    }
}

fn build(root: &Path, world: Rc<RefCell<Store>>) -> Mac<Model> {
    Mac::at(root, Model(world))
}

fn host() -> Host<Mac<Model>, Store> {
    Host::new(store(), build)
}

fn servers(host: &Host<Mac<Model>, Store>, place: &str, id: &str) -> Vec<String> {
    let world = host.world();
    let entry = world.entries.get(&facts::key(place, id));
    entry.map(text::servers).unwrap_or_default().to_vec()
}

fn give(host: &Host<Mac<Model>, Store>, place: &str, id: &str, servers: &[&str]) {
    let entry = dictionary(&[(SERVERS, texts(servers))]);
    host.world.borrow_mut().entries.insert(facts::key(place, id), entry);
}

#[test]
fn cut_off_anywhere_everything_is_given_back() {
    every_cut_is_undone(host);
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
fn every_service_names_tacenda_alone() {
    let host = host();
    let done = host.set().unwrap();
    assert_eq!(done.back_end, Some(crate::os::dns::system::BackEnd::DynamicStore));
    for (place, id) in [
        ("State", WIFI),
        ("Setup", WIFI),
        ("State", VPN),
        ("Setup", VPN),
        ("Setup", ETHERNET),
    ] {
        assert_eq!(servers(&host, place, id), ["127.0.0.1"], "{place} {id}");
    }
    assert!(
        servers(&host, "State", ETHERNET).is_empty(),
        "nothing was there, nothing is made"
    );
    assert_eq!(host.drift(), None);
}

#[test]
fn set_and_restore_end_when_macos_has_taken_it_in() {
    let host = host();
    host.set().unwrap();
    assert_eq!(host.world().asked, ["127.0.0.1"]);
    host.restore().unwrap();
    assert_eq!(host.world().asked, store().asked);
}

#[test]
fn a_network_that_is_joined_later_is_set_too_and_gives_back_its_own() {
    let host = host();
    host.set().unwrap();
    give(&host, "State", WIFI, &["203.0.113.1"]);
    give(&host, "State", ETHERNET, &["203.0.113.2"]);
    assert_eq!(host.drift().as_deref(), Some("the servers of a network service"));
    host.set_again();
    assert_eq!(host.drift(), None);
    host.restore().unwrap();
    assert_eq!(servers(&host, "State", WIFI), ["203.0.113.1"]);
    assert_eq!(servers(&host, "State", ETHERNET), ["203.0.113.2"]);
    assert_eq!(servers(&host, "Setup", ETHERNET), ["9.9.9.9"]);
}

#[test]
fn what_somebody_wrote_since_stays_and_is_said() {
    let host = host();
    host.set().unwrap();
    give(&host, "State", WIFI, &["203.0.113.1"]);
    let done = host.restore().unwrap().unwrap();
    assert!(done.remarks[0].contains(WIFI), "{done:?}");
    assert_eq!(servers(&host, "State", WIFI), ["203.0.113.1"]);
}

#[test]
fn a_server_beside_ours_is_not_left_and_not_kept() {
    for sets_again in [false, true] {
        let host = host();
        host.set().unwrap();
        give(&host, "State", WIFI, &["127.0.0.1", "203.0.113.1"]);
        if sets_again {
            host.set_again();
        }
        host.restore().unwrap();
        assert_eq!(host.world(), store());
    }
}

#[test]
fn a_service_that_is_gone_is_not_made_again() {
    let host = host();
    host.set().unwrap();
    host.world.borrow_mut().entries.remove(&facts::key("State", VPN));
    give(&host, "State", WIFI, &["203.0.113.1"]);
    host.set_again();
    assert!(!host.world().entries.contains_key(&facts::key("State", VPN)));
    host.restore().unwrap();
    assert!(!host.world().entries.contains_key(&facts::key("State", VPN)));
}

#[test]
fn what_macos_does_not_take_undoes_everything() {
    let host = host();
    host.world.borrow_mut().is_locked = true;
    let failed = host.set();
    assert!(
        matches!(&failed, Err(Error::Undone { why, .. }) if why.contains("Permission denied")),
        "{failed:?}"
    );
    host.world.borrow_mut().is_locked = false;
    assert_eq!(host.world(), store());
}

/// A DHCP server may name its network as it likes.
#[test]
fn a_forged_name_changes_nothing_of_other_services() {
    let host = host();
    let name = format!("x\n}}\n<dictionary> {{\n  {SERVERS} : <array> {{\n    0 : 203.0.113.66\n  }}");
    let entry = dictionary(&[("DomainName", Item::Shown(name)), (SERVERS, texts(&["192.0.2.1"]))]);
    host.world.borrow_mut().entries.insert(facts::key("State", WIFI), entry);
    assert!(
        host.set().is_err(),
        "it is not understood, and nothing is done by halves"
    );
    assert_eq!(servers(&host, "State", VPN), ["10.8.0.1"]);
}

#[test]
fn files_in_etc_resolver_are_seen() {
    let host = host();
    let folder = host.folder.path().join("etc/resolver");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("corp.example"), "nameserver 10.8.0.1\n").unwrap();
    let done = host.set().unwrap();
    assert!(
        done.remarks.iter().any(|note| note.contains("corp.example")),
        "{done:?}"
    );
}
