//! What is set is kept, and nothing is lost of what is to be given back.

use super::*;

fn again(host: &mut Host) -> Result<(), Error> {
    host.with(Fault::default(), |machine| patiently(|| machine.set_again()))
}

fn drift(host: &mut Host) -> Option<String> {
    let drift = host.with(Fault::default(), |machine| machine.drift()).unwrap();
    drift.map(|drift| drift.what)
}

fn plain() -> Host {
    Host::new(&[("etc/resolv.conf", FILE)])
}

#[test]
fn nothing_set_is_nothing_to_keep() {
    let mut host = plain();
    assert_eq!(drift(&mut host), None);
    again(&mut host).unwrap();
    assert_eq!(host.text("etc/resolv.conf"), FILE);
}

#[test]
fn what_others_change_is_set_again_and_theirs_is_given_back_later() {
    let mut host = plain();
    host.set().unwrap();
    assert_eq!(drift(&mut host), None);
    host.write("etc/resolv.conf", "nameserver 203.0.113.1\n");
    assert_eq!(drift(&mut host).as_deref(), Some("/etc/resolv.conf"));
    again(&mut host).unwrap();
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.1"]);
    host.restore().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), "nameserver 203.0.113.1\n");
}

/// A script that writes in place cuts the file first: seen at that moment it names nobody.
#[test]
fn a_file_that_was_only_begun_is_never_given_back() {
    for begun in ["", "# from DHCP\n", "search hotel.example\n"] {
        let mut host = plain();
        host.set().unwrap();
        host.write("etc/resolv.conf", begun);
        again(&mut host).unwrap();
        // And it goes on in ours.
        let ours = host.text("etc/resolv.conf");
        host.write("etc/resolv.conf", &format!("{ours}nameserver 203.0.113.1\n"));
        again(&mut host).unwrap();
        host.restore().unwrap();
        assert_eq!(host.text("etc/resolv.conf"), FILE, "{begun:?}");
    }
}

#[test]
fn a_line_that_was_added_to_ours_does_not_leave_two_servers_behind() {
    let mut host = plain();
    host.set().unwrap();
    let ours = host.text("etc/resolv.conf");
    host.write("etc/resolv.conf", &format!("{ours}nameserver 203.0.113.1\n"));
    host.restore().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), FILE);
}

/// After a restart of the host, or while a program is not there: it is tried again, and the journal knows as much as before.
#[test]
fn what_fails_undoes_nothing_and_is_tried_again() {
    for (kind, mut host) in hosts() {
        let before = host.tree();
        host.set().unwrap();
        host.world.fails = "reload";
        for path in ["etc/resolv.conf", "run/systemd/resolved.conf.d/zz-tacenda.conf"] {
            if host.path(path).exists() && !host.path(path).is_symlink() {
                host.write(path, "# somebody\n");
            }
        }
        let _ = again(&mut host);
        host.world.fails = "";
        again(&mut host).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(drift(&mut host), None, "{kind}");
        host.restore().unwrap();
        let names = |tree: &BTreeMap<PathBuf, _>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&host.tree()), names(&before), "{kind}");
    }
}

#[test]
fn lines_of_others_around_our_hook_are_theirs() {
    let mut host = Host::new(&[
        ("etc/resolv.conf", FILE),
        ("proc/9/comm", "dhcpcd\n"),
        ("etc/dhcpcd.enter-hook", "# mine\n"),
    ]);
    host.set().unwrap();
    let both = host.text("etc/dhcpcd.enter-hook");
    let edited = both.replace("# mine\n", "# mine, edited\n");
    host.write("etc/dhcpcd.enter-hook", &edited);
    assert_eq!(drift(&mut host), None);
    again(&mut host).unwrap();
    assert_eq!(host.text("etc/dhcpcd.enter-hook"), edited);
    host.restore().unwrap();
    assert_eq!(host.text("etc/dhcpcd.enter-hook"), "# mine, edited\n");
}

/// Without a bus nothing is known of links, and the file is looked after all the same.
#[test]
fn what_fails_keeps_nothing_else_from_being_set_again() {
    let mut host =
        Host::new(&[("proc/7/comm", "systemd-resolve\n"), ("etc/resolv.conf", FILE)]).with_links(vec![wlan()]);
    host.set().unwrap();
    host.world.fails = "links";
    host.write("etc/resolv.conf", "nameserver 203.0.113.1\n");
    assert_eq!(drift(&mut host).as_deref(), Some("/etc/resolv.conf"));
    assert!(again(&mut host).is_err());
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.1"]);
    let unknown = host.with(Fault::default(), |machine| machine.drift());
    assert!(unknown.is_err(), "{unknown:?}");
    host.world.fails = "";
    assert_eq!(drift(&mut host), None);
}

#[test]
fn whoever_holds_the_lock_is_not_undone() {
    let mut host = plain();
    host.with(Fault::default(), |machine| {
        let set = patiently(|| {
            machine.set(LISTEN, |_| {
                assert_eq!(machine.undo_cut_off().unwrap(), None);
                assert_eq!(machine.drift().unwrap(), None);
                Ok(())
            })
        });
        set.unwrap();
        assert_eq!(machine.undo_cut_off().unwrap(), None, "it is known to work");
    });
    assert_eq!(facts::servers(&host.text("etc/resolv.conf")), ["127.0.0.1"]);
}
