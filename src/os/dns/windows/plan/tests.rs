use super::*;
use crate::os::dns::system::Picture;
use crate::os::dns::windows::facts::{Origin, Rule};

const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn adapter_of(family: Family, servers: &[&str], dhcp: &[&str]) -> Adapter {
    let owned = |servers: &[&str]| servers.iter().map(|one| (*one).to_owned()).collect();
    Adapter {
        id: "{A}".to_owned(),
        family,
        servers: owned(servers),
        profile_servers: Vec::new(),
        dhcp_servers: owned(dhcp),
    }
}

fn rule_of(name: &str, servers: &str, origin: Origin) -> Rule {
    Rule {
        is_ours: false,
        origin,
        names: vec![name.to_owned()],
        servers: servers.to_owned(),
    }
}

/// One adapter with DHCP, changed by `change`.
fn host(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = Facts {
        adapters: vec![
            adapter_of(Family::V4, &[], &["192.0.2.1"]),
            adapter_of(Family::V6, &[], &[]),
        ],
        netbios: vec!["Tcpip_{A}".to_owned()],
        ..Facts::default()
    };
    change(&mut facts);
    facts
}

#[test]
fn the_rule_comes_last_and_its_names_last_of_all() {
    let planned = plan(&host(|_| {})).unwrap();
    assert_eq!(planned.steps.last(), Some(&Planned::Rule));
    assert_eq!(planned.notes, Vec::<String>::new());
    let rows = rows(&host(|_| {}), Planned::Rule, LISTEN);
    assert_eq!(rows.last().unwrap().0.name, "Name");
    assert!(rows.iter().all(|(key, _)| key.path == our_rule(RULES)));
}

#[test]
fn every_family_names_its_own_loopback() {
    for (listen, v4, v6) in [
        ("127.0.0.1", "127.0.0.1", "::1"),
        ("127.0.0.9", "127.0.0.9", "::1"),
        ("::1", "127.0.0.1", "::1"),
    ] {
        let rows = rows(&host(|_| {}), Planned::Adapters, listen.parse().unwrap());
        let said: Vec<_> = rows.iter().map(|(_, value)| value.as_text()).collect();
        assert_eq!(said, [v4, v6]);
    }
}

#[test]
fn what_would_go_past_us_is_refused_or_said() {
    let refused = plan(&host(|facts| facts.requires_doh = true)).unwrap_err();
    assert!(refused.why.contains("DNS over HTTPS only"), "{refused}");
    let other = |origin| host(|facts| facts.rules.push(rule_of(".", "10.8.0.1", origin)));
    for origin in [Origin::Local, Origin::Policy] {
        let refused = plan(&other(origin)).unwrap_err();
        assert!(refused.why.contains("10.8.0.1"), "{refused}");
    }
    let some = host(|facts| facts.rules.push(rule_of(".corp.example", "10.8.0.1", Origin::Policy)));
    assert!(plan(&some).unwrap().notes[0].contains(".corp.example at 10.8.0.1"));
    let both: Vec<_> = rows(&some, Planned::Rule, LISTEN)
        .into_iter()
        .map(|(key, _)| key.path)
        .collect();
    assert!(both.contains(&our_rule(RULES)) && both.contains(&our_rule(POLICY_RULES)));
}

#[test]
fn facts_say_where_names_go() {
    let ours = |origin| Rule {
        is_ours: true,
        ..rule_of(".", "127.0.0.1", origin)
    };
    let before = host(|_| {});
    assert!(!before.stays_here());
    assert_eq!(
        before.headline(),
        "no rule for all names: network adapters name 192.0.2.1"
    );
    let set = host(|facts| facts.rules.push(ours(Origin::Local)));
    assert_eq!((set.stays_here(), set.named()), (true, Some(LISTEN)));
    assert_eq!(set.headline(), "a rule for all names: asked at 127.0.0.1");
    let overruled = host(|facts| {
        facts.rules.push(ours(Origin::Local));
        facts.rules.push(rule_of(".corp.example", "10.8.0.1", Origin::Policy));
    });
    assert!(
        !overruled.stays_here(),
        "beside a policy's rule a local one does not count"
    );
    assert!(overruled.explained().contains("adapter {A} (V4): names 192.0.2.1"));
    assert_eq!(overruled.to_json()["rules"][1]["by_policy"], true);
    let none = host(|facts| facts.adapters.clear());
    assert!(none.stays_here() && none.headline().starts_with("no rule"));
}
