//! Cut off after every single thing that reaches the disk or a program.

use super::*;
use crate::os::dns::journal::{Mark, Phase};

/// More points than any set or restore has.
const MAX_POINTS: u32 = 200;

/// A host for each point at which `work` can be cut off, cut off there. Says how many there were.
fn cut(
    host: impl Fn() -> Host,
    work: fn(&Machine<Linux<Programs>>) -> Result<(), Error>,
    check: impl Fn(Host, u32),
) -> u32 {
    for point in 0..MAX_POINTS {
        let mut host = host();
        let ended = host.with(Fault::after(point), work);
        if ended.is_ok() {
            return point;
        }
        check(host, point);
    }
    panic!("it does not end");
}

fn set(machine: &Machine<Linux<Programs>>) -> Result<(), Error> {
    patiently(|| machine.set(LISTEN, |_| Ok(()))).map(drop)
}

fn restore(machine: &Machine<Linux<Programs>>) -> Result<(), Error> {
    patiently(|| machine.restore()).map(drop)
}

/// The host of this number, new.
fn fresh(number: usize) -> Host {
    let (_, mut host) = hosts().remove(number);
    if host.path("etc/resolv.conf").is_file() && !host.path("etc/resolv.conf").is_symlink() {
        fs::set_permissions(host.path("etc/resolv.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    }
    host.world.read = [("systemd-resolved", false), ("NetworkManager", false)].into();
    host
}

/// The same with everything set.
fn ready(number: usize) -> Host {
    let mut host = fresh(number);
    host.set().unwrap();
    host
}

/// Everything is as it was.
fn assert_given_back(what: &str, host: &Host, number: usize) {
    let before = fresh(number);
    assert_eq!(host.tree(), before.tree(), "{what}");
    assert_eq!(host.world, before.world, "{what}");
    let left: Vec<_> = fs::read_dir(host.path(FOLDER))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name == "lock"), "{what}: {left:?}");
}

/// At no moment are there two servers of which one is ours, or no server where there was one.
fn assert_never_two(what: &str, host: &Host) {
    let Ok(text) = fs::read_to_string(host.path("etc/resolv.conf")) else {
        return;
    };
    let servers = facts::servers(&text);
    let is_ours = |server: &String| *server == LISTEN.to_string();
    assert!(
        servers.len() == 1 || !servers.iter().any(is_ours),
        "{what}: {servers:?}"
    );
    assert!(!servers.is_empty(), "{what}: no server");
}

fn for_every_host(check: impl Fn(&str, usize)) {
    for (number, (name, _)) in hosts().iter().enumerate() {
        check(name, number);
    }
}

#[test]
fn set_and_restore_give_back_everything() {
    for_every_host(|name, number| {
        let mut host = ready(number);
        assert_ne!(host.tree(), fresh(number).tree(), "{name}: nothing was set");
        assert_never_two(name, &host);
        host.restore().unwrap().unwrap();
        assert_given_back(name, &host, number);
        assert_eq!(host.restore().unwrap(), None, "{name}: twice");
    });
}

#[test]
fn a_set_that_is_cut_off_is_undone_by_restore() {
    for_every_host(|name, number| {
        let points = cut(
            || fresh(number),
            set,
            |mut host, point| {
                let what = format!("{name}, set cut off at {point}");
                assert_never_two(&what, &host);
                host.restore().unwrap();
                assert_given_back(&what, &host, number);
            },
        );
        assert!(points > 4, "{name}: {points} points");
    });
}

#[test]
fn a_set_that_is_cut_off_can_be_set_again() {
    for_every_host(|name, number| {
        cut(
            || fresh(number),
            set,
            |mut host, point| {
                let what = format!("{name}, set cut off at {point}");
                host.set().unwrap();
                assert_eq!(host.tree(), ready(number).tree(), "{what}");
                host.restore().unwrap();
                assert_given_back(&what, &host, number);
            },
        );
    });
}

#[test]
fn a_restore_that_is_cut_off_is_finished_by_the_next() {
    for_every_host(|name, number| {
        let points = cut(
            || ready(number),
            restore,
            |mut host, point| {
                let what = format!("{name}, restore cut off at {point}");
                assert_never_two(&what, &host);
                host.restore().unwrap();
                assert_given_back(&what, &host, number);
            },
        );
        assert!(points > 2, "{name}: {points} points");
    });
}

/// Cut off in a restore, and then in the restore after it.
#[test]
fn two_cuts_in_a_row() {
    for_every_host(|name, number| {
        for first in 0..MAX_POINTS {
            let mut host = ready(number);
            if host.with(Fault::after(first), restore).is_ok() {
                return;
            }
            // The second cut comes soon after the first, where it finds half of everything.
            for second in 0..4 {
                let _ = host.with(Fault::after(second), restore);
            }
            host.restore().unwrap();
            assert_given_back(&format!("{name}, cut off at {first}"), &host, number);
        }
    });
}

#[test]
fn a_power_cut_is_undone_after_the_next_start() {
    for_every_host(|name, number| {
        // What was in /run comes back with its programs.
        let expected = fresh(number).after_power_cut().tree();
        let check = |what: &str, host: Host, point: u32| {
            let mut later = host.after_power_cut();
            later.restore().unwrap();
            assert_eq!(later.tree(), expected, "{name}, {what} cut off at {point}");
        };
        cut(|| fresh(number), set, |host, point| check("set", host, point));
        cut(|| ready(number), restore, |host, point| check("restore", host, point));
        check("nothing", ready(number), 0);
        // Set again instead, and given back then.
        let mut later = ready(number).after_power_cut();
        later.world = fresh(number).world;
        later.set().unwrap();
        assert_never_two(name, &later);
        later.restore().unwrap();
        assert_eq!(later.tree(), expected, "{name}, set again after a power cut");
    });
}

/// It was known to work: what is cut off while it is set again is neither undone nor forgotten.
#[test]
fn a_cut_while_it_is_set_again_is_caught_up_on() {
    fn again(machine: &Machine<Linux<Programs>>) -> Result<(), Error> {
        patiently(|| machine.set_again())
    }
    for_every_host(|name, number| {
        // The machine has started anew: everything in `/run` is to be set again.
        let started = || {
            let mut later = ready(number).after_power_cut();
            later.world = fresh(number).world;
            later
        };
        let mut whole = started();
        whole.with(Fault::default(), again).unwrap();
        cut(started, again, |mut host, point| {
            let what = format!("{name}, cut off at {point}");
            assert_never_two(&what, &host);
            let undone = host.with(Fault::default(), |machine| patiently(|| machine.undo_cut_off()));
            assert_eq!(undone.unwrap(), None, "{what}");
            host.with(Fault::default(), again).unwrap();
            assert_eq!(host.tree(), whole.tree(), "{what}");
        });
    });
}

#[test]
fn whoever_keeps_it_set_undoes_what_was_cut_off() {
    fn undo(host: &mut Host) -> Option<Done> {
        host.with(Fault::default(), |machine| patiently(|| machine.undo_cut_off()))
            .unwrap()
    }
    for_every_host(|name, number| {
        cut(
            || fresh(number),
            set,
            |mut host, point| {
                let is_begun = host.with(Fault::default(), Machine::journal).unwrap();
                let is_begun = is_begun.is_some_and(|journal| !journal.phase.is_known_to_work());
                assert_eq!(undo(&mut host).is_some(), is_begun, "{name}, set cut off at {point}");
                host.restore().unwrap();
                assert_given_back(name, &host, number);
            },
        );
        cut(
            || ready(number),
            restore,
            |mut host, point| {
                undo(&mut host);
                host.restore().unwrap();
                assert_given_back(&format!("{name}, restore cut off at {point}"), &host, number);
            },
        );
    });
}

/// A file that is a mount of its own is written in place, which a cut can leave half done.
#[test]
fn half_a_file_that_is_written_in_place_is_known_as_ours() {
    let ours = content::resolv_conf(LISTEN);
    for (phase, mark, half) in [
        (Phase::Steps, Mark::Begun, &ours[..0]),
        (Phase::Steps, Mark::Begun, &ours[..20]),
        (Phase::Restoring, Mark::Undoing, &ours[..20]),
        (Phase::Restoring, Mark::Undoing, &FILE.as_bytes()[..0]),
        (Phase::Restoring, Mark::Undoing, &FILE.as_bytes()[..9]),
    ] {
        let mut host = ready(0);
        host.with(Fault::default(), |machine| {
            let mut journal = machine.journal().unwrap().unwrap();
            journal.phase = phase;
            journal.steps[0].mark = mark;
            machine.store.save(&journal, &Fault::default()).unwrap();
        });
        fs::write(host.path("etc/resolv.conf"), half).unwrap();
        host.restore().unwrap();
        assert_given_back("written in place", &host, 0);
    }
}

/// The network changes between two tries to restore: what the first has begun is no stranger's to the second.
#[test]
fn a_vpn_that_goes_while_it_is_restored_is_no_hindrance() {
    let with_vpn = || {
        let mut host = ready(0);
        host.world.tunnel = Some("tun0");
        host.write("etc/resolv.conf", "nameserver 10.8.0.1\n");
        host.set().unwrap();
        host
    };
    cut(with_vpn, restore, |mut host, point| {
        let is_put_back = facts::servers(&host.text("etc/resolv.conf")) == ["10.8.0.1"];
        host.world.tunnel = None;
        host.restore().unwrap();
        assert!(
            is_put_back || host.text("etc/resolv.conf") == FILE,
            "restore cut off at {point}"
        );
        let servers = facts::servers(&host.text("etc/resolv.conf"));
        assert_ne!(servers, ["127.0.0.1"], "restore cut off at {point}");
    });
}
