//! Others write too: before, after and in between; and calls fail.

use super::*;
use crate::os::dns::linux::plan::Refusal;

const LEASE: &str = "nameserver 203.0.113.1\n";

fn plain() -> Host {
    Host::new(&[("etc/resolv.conf", FILE)])
}

#[test]
fn exactly_one_server_is_left() {
    let mut host = plain();
    let done = host.set().unwrap();
    assert_eq!((done.back_end, done.remarks), (Some(BackEnd::File), vec![]));
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.1"]);
    let mode = fs::metadata(host.path("etc/resolv.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_link_is_replaced_and_what_it_leads_to_is_untouched() {
    let mut host = Host::new(&[("etc/resolv.conf", "->real"), ("etc/real", FILE)]);
    host.set().unwrap();
    assert_eq!(host.text("etc/real"), FILE);
    assert!(!host.path("etc/resolv.conf").is_symlink());
}

#[test]
fn what_somebody_wrote_since_stays_and_is_said() {
    let mut host = plain();
    host.set().unwrap();
    host.write("etc/resolv.conf", LEASE);
    let done = host.restore().unwrap().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), LEASE);
    assert!(done.remarks[0].contains("somebody else"), "{done:?}");
    assert_eq!(host.restore().unwrap(), None, "nothing is set any more");
}

#[test]
fn set_again_takes_it_back_and_restore_gives_the_newest_of_theirs() {
    let mut host = plain();
    host.set().unwrap();
    host.write("etc/resolv.conf", LEASE);
    host.set().unwrap();
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.1"]);
    host.restore().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), LEASE);
}

const VPN: &str = "nameserver 10.8.0.1\n";

/// A VPN's script writes its server while set, and nobody writes when the VPN has gone: its server is behind nothing then.
#[test]
fn a_server_whose_vpn_has_gone_is_not_given_back() {
    for (lease, expected) in [(None, FILE), (Some(LEASE), LEASE)] {
        for is_up in [true, false] {
            let mut host = plain();
            host.set().unwrap();
            for text in lease.into_iter().chain([VPN]) {
                host.world.tunnel = (text == VPN).then_some("tun0");
                host.write("etc/resolv.conf", text);
                host.with(Fault::default(), |machine| patiently(|| machine.set_again()))
                    .unwrap();
            }
            if !is_up {
                host.world.tunnel = None;
            }
            let asked = host.with(Fault::default(), |machine| machine.servers_of_others());
            assert!(asked.unwrap().contains(&"10.8.0.1".parse().unwrap()));
            host.restore().unwrap();
            let expected = if is_up { VPN } else { expected };
            assert_eq!(host.text("etc/resolv.conf"), expected, "{lease:?}, {is_up}");
        }
    }
}

#[test]
fn a_backup_never_holds_our_own_address() {
    let mut host = plain();
    let before = host.tree();
    for _ in 0..3 {
        host.set().unwrap();
        // Half of it, by whoever copies files about.
        let ours = host.text("etc/resolv.conf");
        host.write("etc/resolv.conf", &format!("{ours}# copied\n"));
    }
    let journal = host.with(Fault::default(), Machine::journal).unwrap().unwrap();
    for step in &journal.steps {
        let Change::File(change) = &step.change else { panic!() };
        let is_ours = |object: &Object| object.octets().is_some_and(content::is_ours);
        assert!(!change.of_others().any(is_ours));
    }
    host.set().unwrap();
    host.restore().unwrap();
    assert_eq!(host.tree(), before);
}

#[test]
fn without_anything_to_put_back_nothing_is_set() {
    for text in ["nameserver 127.0.0.1\n", "# Written by tacenda\nnameserver 127.0.0.9\n"] {
        let mut host = Host::new(&[("etc/resolv.conf", text)]);
        let before = host.tree();
        assert!(
            matches!(host.set(), Err(Error::Refused(refused)) if refused.why == Refusal::NothingBefore.to_string()),
            "{text}"
        );
        assert_eq!(host.tree(), before);
    }
}

#[test]
fn if_it_does_not_work_everything_is_put_back() {
    for (name, mut host) in hosts() {
        let before = host.tree();
        let links = host.world.links.clone();
        let failed = host.with(Fault::default(), |machine| {
            patiently(|| machine.set(LISTEN, |_| Err("names still go elsewhere".to_owned())))
        });
        let Err(Error::Undone { why, .. }) = failed else {
            panic!("{name}: {failed:?}")
        };
        assert_eq!(why, "names still go elsewhere");
        assert_eq!((host.tree(), &host.world.links), (before, &links), "{name}");
        assert_eq!(host.restore().unwrap(), None);
    }
}

#[test]
fn a_program_that_fails_undoes_everything() {
    for fails in ["reload", "strip_link", "openresolv_add", "links"] {
        for (name, mut host) in hosts() {
            let before = host.tree();
            let links = host.world.links.clone();
            host.world.fails = fails;
            let set = host.set();
            host.world.fails = "";
            match set {
                Ok(_) => drop(host.restore().unwrap()),
                Err(Error::Undone { .. } | Error::Failed(_)) => {}
                Err(error) => panic!("{name}, {fails}: {error}"),
            }
            assert_eq!((host.tree(), &host.world.links), (before, &links), "{name}, {fails}");
        }
    }
}

#[test]
fn restore_needs_no_program() {
    for (name, mut host) in hosts() {
        let before = host.tree();
        host.set().unwrap();
        for fails in ["reload", "links"] {
            host.world.fails = fails;
        }
        host.restore().unwrap();
        assert_eq!(host.tree(), before, "{name}");
    }
}

#[test]
fn a_link_that_got_servers_again_keeps_them() {
    let mut host = Host::new(&[
        ("proc/7/comm", "systemd-resolve\n"),
        ("run/systemd/resolve/stub-resolv.conf", STUB),
        ("etc/resolv.conf", "->/run/systemd/resolve/stub-resolv.conf"),
    ])
    .with_links(vec![wlan()]);
    host.set().unwrap();
    assert_eq!(host.world.links, [wlan().stripped()]);
    let mut renewed = wlan();
    renewed.servers[0].1 = vec![203, 0, 113, 1];
    host.world.links = vec![renewed.clone()];
    host.set().unwrap();
    assert_eq!(host.world.links, [wlan().stripped()], "set again strips it again");
    host.world.links = vec![renewed.clone()];
    host.restore().unwrap();
    assert_eq!(host.world.links, [renewed]);
}

/// Servers come first when a link is put back: a cut after them must not leave it without its domains.
#[test]
fn a_link_that_was_half_put_back_is_put_back_whole() {
    let mut host =
        Host::new(&[("proc/7/comm", "systemd-resolve\n"), ("etc/resolv.conf", FILE)]).with_links(vec![wlan()]);
    host.set().unwrap();
    let half = Link {
        servers: wlan().servers,
        ..wlan().stripped()
    };
    host.world.links = vec![half];
    host.restore().unwrap();
    assert_eq!(host.world.links, [wlan()]);
}

#[test]
fn a_hook_that_others_changed_since_loses_ours_only() {
    let mut host = Host::new(&[("etc/resolv.conf", FILE), ("usr/sbin/dhcpcd", "")]);
    host.set().unwrap();
    let ours = host.text("etc/dhcpcd.enter-hook");
    host.write("etc/dhcpcd.enter-hook", &format!("# mine\n{ours}# mine too\n"));
    host.restore().unwrap();
    assert_eq!(host.text("etc/dhcpcd.enter-hook"), "# mine\n# mine too\n");
}

#[test]
fn another_plan_is_made_from_what_others_left() {
    let mut host = plain();
    let before = host.tree();
    host.set().unwrap();
    // Another address, and a program that was not there before.
    host.write("proc/8/comm", "NetworkManager\n");
    let listen = "127.0.0.9".parse().unwrap();
    host.with(Fault::default(), |machine| machine.set(listen, |_| Ok(())))
        .unwrap();
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.9"]);
    host.restore().unwrap();
    fs::remove_dir_all(host.path("proc/8")).unwrap();
    assert_eq!(host.tree(), before);
}

/// The host with everything set, a journal that says nothing, and no copy beside it.
fn with_a_broken_journal(files: &[(&str, &str)]) -> Host {
    let mut host = Host::new(files);
    host.set().unwrap();
    let journal = host.with(Fault::default(), |machine| machine.store.path());
    fs::write(&journal, "{").unwrap();
    fs::remove_file(journal.with_file_name("resolv.conf.before")).unwrap();
    host
}

#[test]
fn set_does_nothing_beside_a_broken_journal() {
    let mut host = with_a_broken_journal(&[("etc/resolv.conf", FILE)]);
    let before = host.tree();
    assert!(matches!(host.set(), Err(Error::Journal { .. })));
    assert_eq!(host.tree(), before);
}

#[test]
fn without_a_journal_and_its_copy_everything_of_ours_is_taken_away_by_its_mark() {
    let mut host = with_a_broken_journal(&[
        ("etc/resolv.conf", FILE),
        ("etc/dhcp/dhclient-enter-hooks.d/debug", ""),
        ("usr/sbin/dhcpcd", ""),
        ("etc/dhcpcd.enter-hook", "# mine\n"),
        ("proc/8/comm", "NetworkManager\n"),
    ]);
    let done = host.restore().unwrap().unwrap();
    assert!(
        done.remarks.iter().any(|remark| remark.contains("new DHCP lease")),
        "{done:?}"
    );
    assert_eq!(host.text("etc/dhcpcd.enter-hook"), "# mine\n");
    for gone in [DHCLIENT_HOOK, NM_DROP_IN] {
        assert!(!inside(host.folder.path(), Path::new(gone)).exists(), "{gone}");
    }
    assert!(
        host.text("etc/resolv.conf").contains("127.0.0.1"),
        "better than nothing at all"
    );
    let again = host.restore().unwrap().unwrap();
    assert!(
        again.remarks.iter().any(|remark| remark.contains("new DHCP lease")),
        "it is said again: {again:?}"
    );

    let stub = ("run/systemd/resolve/stub-resolv.conf", STUB);
    let mut host = with_a_broken_journal(&[("etc/resolv.conf", FILE), stub]);
    host.restore().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), STUB);
}

#[test]
fn what_cannot_be_looked_at_is_refused_before_anything_is_changed() {
    let mut host = Host::new(&[
        ("etc/resolv.conf", FILE),
        ("etc/dhcp/dhclient-enter-hooks.d/zz-tacenda/x", ""),
    ]);
    let before = host.tree();
    assert!(matches!(host.set(), Err(Error::Failed(_))));
    assert_eq!(host.tree(), before);
}
