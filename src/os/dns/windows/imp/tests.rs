use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::os::dns::windows::facts::{self, Family};
use crate::os::dns::windows::places::{NETBT, RULES, SERVERS, our_rule};
use crate::os::dns::windows::plan::{self, Planned};
use crate::os::dns::{Machine, here};

/// Of this test alone.
const OWN: &str = r"SOFTWARE\tacenda-test";

fn all() -> [(&'static str, Value); 5] {
    [
        ("number", Value::Number(7)),
        ("text", Value::Text("127.0.0.1".into())),
        ("nothing", Value::Text(String::new())),
        ("texts", Value::Texts(vec![".".into(), ".corp.example".into()])),
        (
            "odd",
            Value::Other {
                kind: 3,
                octets: vec![1, 2, 3],
            },
        ),
    ]
}

#[test]
#[ignore = "writes below HKLM, as administrator"]
fn values_come_back_as_they_were_written() {
    let path = format!(r"{OWN}\values\deep");
    for (name, value) in all() {
        let key = Key::new(path.as_str(), name);
        assert_eq!(LocalMachine.read(&key).unwrap(), None);
        LocalMachine.write(&key, Some(&value)).unwrap();
        assert_eq!(LocalMachine.read(&key).unwrap(), Some(value));
    }
    assert_eq!(LocalMachine.below(&format!(r"{OWN}\values")).unwrap(), ["deep"]);
    LocalMachine.remove_empty(&path).unwrap();
    assert!(LocalMachine.exists(&path), "there are values in it");
    for (name, _) in all() {
        let key = Key::new(path.as_str(), name);
        LocalMachine.write(&key, None).unwrap();
        LocalMachine.write(&key, None).unwrap();
    }
    LocalMachine.remove_empty(OWN).unwrap();
    assert!(LocalMachine.exists(OWN), "there are keys in it");
    for path in [path.as_str(), &format!(r"{OWN}\values"), OWN, OWN] {
        LocalMachine.remove_empty(path).unwrap();
        assert!(!LocalMachine.exists(path));
    }
    assert!(LocalMachine.below(OWN).unwrap().is_empty());
}

/// Every value that set would write.
fn snapshot() -> Vec<(Key, Option<Value>)> {
    let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let facts = facts::gather(&LocalMachine);
    let steps = [Planned::Policy, Planned::Netbios, Planned::Adapters, Planned::Rule];
    let keys = steps.into_iter().flat_map(|step| plan::rows(&facts, step, listen));
    keys.map(|(key, _)| {
        let there = LocalMachine.read(&key).unwrap();
        (key, there)
    })
    .collect()
}

#[test]
#[ignore = "changes this host's DNS, as administrator: for Wine and machines that are thrown away"]
fn a_host_is_set_and_given_back() {
    for (path, name, value) in [
        (
            format!(r"{}\{{00000000-0000-0000-0000-00000000000A}}", Family::V4.place()),
            SERVERS,
            "9.9.9.9",
        ),
        (
            format!(r"{}\{{00000000-0000-0000-0000-00000000000A}}", Family::V6.place()),
            "DhcpNameServer",
            "fd00::1",
        ),
        (
            format!(r"{NETBT}\Tcpip_{{00000000-0000-0000-0000-00000000000A}}"),
            "x",
            "",
        ),
    ] {
        LocalMachine
            .write(&Key::new(path, name), Some(&Value::Text(value.into())))
            .unwrap();
    }
    let before = snapshot();
    let machine: Machine<_> = here().unwrap();
    let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let verified = machine.set(listen, |facts| {
        let picture: &dyn crate::os::dns::system::Picture = facts;
        if picture.stays_here() {
            Ok(())
        } else {
            Err(picture.elsewhere())
        }
    });
    verified.unwrap();
    assert!(LocalMachine.exists(&our_rule(RULES)));
    assert!(
        snapshot()
            .iter()
            .all(|(key, value)| value.is_some() || key.path.contains("Policies"))
    );
    assert_eq!(machine.drift().unwrap(), None);
    machine.restore().unwrap().unwrap();
    assert_eq!(snapshot(), before);
    assert!(!LocalMachine.exists(&our_rule(RULES)));
    assert_eq!(machine.restore().unwrap(), None);
}
