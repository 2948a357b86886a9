use std::net::Ipv4Addr;

use super::*;
use crate::os::dns::linux::facts::ResolvConf;

/// A Linux host with a file that somebody wrote, changed by `change`.
fn host(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = Facts {
        system: "linux",
        resolv_conf: file(None),
        ..Facts::default()
    };
    change(&mut facts);
    facts
}

fn file(writer: Option<&'static str>) -> ResolvConf {
    ResolvConf {
        place: Place::File,
        servers: vec!["192.0.2.1".into()],
        writer,
        ..ResolvConf::default()
    }
}

fn link(leads_to: &str) -> ResolvConf {
    ResolvConf {
        place: Place::Link,
        leads_to: Some(leads_to.into()),
        ..ResolvConf::default()
    }
}

fn decide(facts: &Facts) -> Result<Plan, Refusal> {
    plan(facts, Ipv4Addr::LOCALHOST.into())
}

const STUB: &str = "/run/systemd/resolve/stub-resolv.conf";

fn check(what: &str, change: fn(&mut Facts), back_end: BackEnd, steps: &[Planned]) {
    let plan = decide(&host(change)).unwrap();
    assert_eq!((plan.back_end, plan.steps.as_slice()), (back_end, steps), "{what}");
}

#[test]
fn a_file_and_who_writes_it() {
    use Planned::{DhclientHook, DhcpcdHook, Openresolv, ResolvConf};
    check("nobody manages it", |_| {}, BackEnd::File, &[ResolvConf]);
    check(
        "there is no file",
        |facts| facts.resolv_conf = Default::default(),
        BackEnd::File,
        &[ResolvConf],
    );
    check(
        "both DHCP clients",
        |facts| facts.hooks = vec![Hook::Dhclient, Hook::Dhcpcd],
        BackEnd::File,
        &[DhclientHook, DhcpcdHook, ResolvConf],
    );
    check(
        "openresolv",
        |facts| {
            facts.resolvconf = Some(Resolvconf::Openresolv);
            facts.resolv_conf = file(Some(OPENRESOLV));
        },
        BackEnd::Openresolv,
        &[Openresolv],
    );
    check(
        "openresolv is there, and not in use",
        |facts| facts.resolvconf = Some(Resolvconf::Openresolv),
        BackEnd::File,
        &[ResolvConf],
    );
    check(
        "Debian's resolvconf, which dhclient goes on to feed",
        |facts| {
            facts.resolvconf = Some(Resolvconf::Debian);
            facts.resolv_conf = link("/run/resolvconf/resolv.conf");
            facts.hooks = vec![Hook::Dhclient];
        },
        BackEnd::File,
        &[ResolvConf],
    );
}

#[test]
fn managers_of_names() {
    use Planned::{Links, NetworkManager, ResolvConf, Resolved};
    check(
        "the stub of resolved",
        |facts| {
            facts.running = vec![Program::Resolved];
            facts.resolv_conf = link(STUB);
        },
        BackEnd::Resolved,
        &[Resolved, Links],
    );
    check(
        "dhclient, which would write through the link",
        |facts| {
            facts.running = vec![Program::Resolved, Program::Dhclient];
            facts.resolv_conf = link(STUB);
            facts.resolvconf = Some(Resolvconf::Resolved);
            facts.hooks = vec![Hook::Dhclient];
        },
        BackEnd::Resolved,
        &[Planned::DhclientHook, Resolved, Links],
    );
    check(
        "resolved beside a file of one's own",
        |facts| facts.running = vec![Program::Resolved],
        BackEnd::Resolved,
        &[Resolved, Links, ResolvConf],
    );
    check(
        "a stub of resolved without resolved",
        |facts| facts.resolv_conf = link(STUB),
        BackEnd::File,
        &[ResolvConf],
    );
    check(
        "NetworkManager",
        |facts| {
            facts.running = vec![Program::NetworkManager];
            facts.resolv_conf = link("/run/NetworkManager/resolv.conf");
        },
        BackEnd::File,
        &[NetworkManager, ResolvConf],
    );
    check(
        "NetworkManager, whose own files say something about DNS",
        |facts| {
            facts.running = vec![Program::NetworkManager];
            facts.manager_dns = ManagerDns::InEtc;
        },
        BackEnd::File,
        &[Planned::NetworkManagerInEtc, ResolvConf],
    );
    check(
        "NetworkManager, which feeds resolved",
        |facts| {
            facts.running = vec![Program::NetworkManager, Program::Resolved];
            facts.resolv_conf = link(STUB);
        },
        BackEnd::Resolved,
        &[NetworkManager, Resolved, Links],
    );
}

#[test]
fn why_it_cannot_be_done() {
    let check = |change: fn(&mut Facts), refusal: Refusal| {
        assert_eq!(decide(&host(change)), Err(refusal));
        assert!(!refusal.help().is_empty() && !refusal.to_string().is_empty());
    };
    check(|facts| facts.system = "macos", Refusal::System);
    check(|facts| facts.container = Some("Docker"), Refusal::Container("Docker"));
    check(|facts| facts.wsl = Some(Wsl::Writes), Refusal::Wsl);
    check(|facts| facts.etc = Access::ReadOnly, Refusal::ReadOnly);
    check(
        |facts| {
            facts.etc = Access::ReadOnly;
            facts.running = vec![Program::Resolved, Program::Dhclient];
            facts.resolv_conf = link(STUB);
            facts.hooks = vec![Hook::Dhclient];
        },
        Refusal::ReadOnly,
    );
    check(|facts| facts.resolv_conf.place = Place::Odd, Refusal::Odd);
    check(
        |facts| facts.running = vec![Program::Connman],
        Refusal::Manager(Program::Connman),
    );
    check(
        |facts| facts.running = vec![Program::Wicked],
        Refusal::Manager(Program::Wicked),
    );
    check(
        |facts| facts.resolv_conf.servers.push("127.0.0.1".into()),
        Refusal::NothingBefore,
    );
    check(|facts| facts.resolv_conf.is_ours = true, Refusal::NothingBefore);
}

#[test]
fn what_is_no_reason_to_refuse() {
    for change in [
        (|facts: &mut Facts| facts.wsl = Some(Wsl::LeavesAlone)) as fn(&mut Facts),
        |facts| {
            facts.etc = Access::ReadOnly;
            facts.resolv_conf.is_mount = true;
        },
        |facts| {
            facts.etc = Access::ReadOnly;
            facts.running = vec![Program::Resolved];
            facts.resolv_conf = link(STUB);
            facts.hooks = vec![Hook::Dhclient];
        },
        |facts| {
            facts.is_set = true;
            facts.resolv_conf.is_ours = true;
            facts.resolv_conf.servers = vec!["127.0.0.1".into()];
        },
    ] {
        let facts = host(change);
        assert!(decide(&facts).is_ok(), "{facts:?}");
    }
}

#[test]
fn what_it_does_not_do_is_said() {
    let notes = |change: fn(&mut Facts)| decide(&host(change)).unwrap().notes;
    assert_eq!(notes(|_| {}), []);
    assert_eq!(notes(|facts| facts.running = vec![Program::Udhcpc]), [Note::Udhcpc]);
    assert_eq!(notes(|facts| facts.resolv_conf.is_mount = true), [Note::Mount]);
    assert_eq!(
        notes(|facts| facts.running = vec![Program::Dhclient]),
        [Note::DhcpServers]
    );
    assert_eq!(
        notes(|facts| facts.running = vec![Program::NetworkManager]),
        [Note::UntilRestart]
    );
}
