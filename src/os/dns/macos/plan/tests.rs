use std::net::Ipv4Addr;

use super::*;
use crate::os::dns::macos::facts::Service;
use crate::os::dns::macos::resolvers;
use crate::os::dns::system::Picture;

const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn named(server: &str) -> Option<Dictionary> {
    Some(text::only(server.parse().unwrap()))
}

fn service(id: &str, state: Option<Dictionary>, setup: Option<Dictionary>) -> Service {
    Service {
        id: id.to_owned(),
        state,
        setup,
    }
}

/// A Mac with DHCP on one card, changed by `change`.
fn mac(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = Facts {
        services: vec![service("A", named("192.0.2.1"), None), service("B", None, None)],
        resolvers: resolvers::read(resolvers::tests::CAPTURED),
        ..Facts::default()
    };
    change(&mut facts);
    facts
}

fn refused(change: impl FnOnce(&mut Facts)) -> String {
    plan(&mac(change), LISTEN).unwrap_err().why
}

#[test]
fn all_services_are_one_step() {
    let planned = plan(&mac(|_| {}), LISTEN).unwrap();
    assert_eq!(
        (planned.back_end, planned.steps),
        (BackEnd::DynamicStore, vec![Planned::Services])
    );
    let keys: Vec<_> = rows(&mac(|_| {}), LISTEN).into_iter().map(|(key, _)| key).collect();
    let expected = [
        "State:/Network/Service/A/DNS",
        "Setup:/Network/Service/A/DNS",
        "Setup:/Network/Service/B/DNS",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn what_cannot_be_put_back_or_verified_is_refused() {
    assert!(refused(|facts| facts.services[0].state = named("127.0.0.1")).contains("names tacenda already"));
    assert!(refused(|facts| facts.services.clear()).contains("in no network"));
    assert!(refused(|facts| facts.files.push("test".into())).contains("/etc/resolver/test"));
    // But for what is set already, which watches over networks that come and go.
    let set = mac(|facts| {
        facts.is_set = true;
        facts.services[0].state = named("127.0.0.1");
    });
    assert!(plan(&set, LISTEN).is_ok());
}

#[test]
fn what_outranks_us_is_said() {
    let notes = plan(&mac(|facts| facts.files.push("corp.example".into())), LISTEN)
        .unwrap()
        .notes;
    assert!(
        notes.iter().any(|note| note.contains("/etc/resolver/corp.example")),
        "{notes:?}"
    );
    let odd = Some(Dictionary::from([("Color".to_owned(), Item::Shown("7".into()))]));
    let notes = plan(&mac(|facts| facts.services[0].setup = odd), LISTEN).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("Color")), "{notes:?}");
}

#[test]
fn facts_say_where_names_go() {
    let facts = mac(|_| {});
    assert!(!facts.stays_here() && facts.elsewhere().contains("192.168.178.1"));
    assert_eq!(facts.headline(), "network services: A names 192.0.2.1");
    let explained = facts.explained();
    assert!(
        explained.contains("names below corp.example: asked at 10.8.0.1"),
        "{explained}"
    );
    assert_eq!(facts.to_json()["services"][0]["servers"][0], "192.0.2.1");
    let set = mac(|facts| {
        facts.services[0].setup = named("127.0.0.1");
        facts.resolvers = resolvers::read("DNS configuration\nresolver #1\n  nameserver[0] : 127.0.0.1\n");
    });
    assert_eq!((set.stays_here(), set.named()), (true, Some(LISTEN)));
}
