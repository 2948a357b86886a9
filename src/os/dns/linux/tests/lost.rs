//! The journal is of no use: damaged, of another version, gone. What can be given back is given back, and nothing of ours stays in force.

use super::*;

/// What may happen to a journal, by whoever is root.
const LOSSES: [Loss; 6] = [
    ("damaged", |host| host.write(JOURNAL, "{")),
    ("cut off", |host| host.write(JOURNAL, &host.text(JOURNAL)[..40])),
    ("empty", |host| host.write(JOURNAL, "")),
    ("of another version", |host| {
        let text = host.text(JOURNAL).replace("\"version\": 1", "\"version\": 2");
        host.write(JOURNAL, &text);
    }),
    ("for others to write", |host| {
        fs::set_permissions(host.path(JOURNAL), fs::Permissions::from_mode(0o666)).unwrap();
    }),
    ("gone", |host| fs::remove_file(host.path(JOURNAL)).unwrap()),
];

/// In words, and done.
type Loss = (&'static str, fn(&Host));

const JOURNAL: &str = "var/lib/tacenda-system/journal.json";

/// Files with our mark.
fn of_ours(host: &Host) -> Vec<PathBuf> {
    let is_ours = |object: &Option<Object>| {
        let octets = object.as_ref().and_then(Object::octets);
        octets.is_some_and(content::is_ours)
    };
    let tree = host.tree().into_iter();
    tree.filter(|(_, (_, _, _, object))| is_ours(object))
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn everything_is_taken_away_and_resolv_conf_is_as_it_was() {
    for (loss, lose) in LOSSES {
        for (name, mut host) in hosts() {
            let what = format!("{name}, {loss}");
            let before = Object::at(&host.path("etc/resolv.conf")).unwrap();
            host.set().unwrap();
            lose(&host);
            let done = host.restore().unwrap();
            // Where systemd-resolved is, ours is in `/run` alone; where nothing was there before, nobody knows that any more.
            let after = Object::at(&host.path("etc/resolv.conf")).unwrap();
            if before == Object::Nothing {
                assert_eq!(of_ours(&host), [Path::new("etc/resolv.conf")], "{what}");
            } else {
                assert_eq!((after, of_ours(&host)), (before, vec![]), "{what}");
            }
            assert!(done.is_some_and(|done| !done.remarks.is_empty()), "{what}");
            assert_eq!(host.world.openresolv, None, "{what}");
            assert!(
                !host.path("var/lib/tacenda-system/resolv.conf.before").exists(),
                "{what}"
            );
        }
    }
}

#[test]
fn a_second_restore_has_nothing_to_do() {
    for (loss, lose) in LOSSES {
        let mut host = Host::new(&[("etc/resolv.conf", FILE)]);
        host.set().unwrap();
        lose(&host);
        host.restore().unwrap();
        assert_eq!(host.restore().unwrap(), None, "{loss}");
        host.set().unwrap_or_else(|error| panic!("{loss}: {error}"));
        host.restore().unwrap();
        assert_eq!(host.text("etc/resolv.conf"), FILE, "{loss}");
    }
}

#[test]
fn what_others_wrote_since_stays() {
    for (loss, lose) in LOSSES {
        let mut host = Host::new(&[("etc/resolv.conf", FILE)]);
        host.set().unwrap();
        lose(&host);
        host.write("etc/resolv.conf", "nameserver 203.0.113.1\n");
        host.restore().unwrap();
        assert_eq!(host.text("etc/resolv.conf"), "nameserver 203.0.113.1\n", "{loss}");
    }
}

/// The newest of what others wrote is what the next one finds, with the journal or without.
#[test]
fn the_copy_follows_the_journal() {
    let lease = "nameserver 203.0.113.1\n";
    let mut host = Host::new(&[("etc/resolv.conf", FILE)]);
    host.set().unwrap();
    host.write("etc/resolv.conf", lease);
    host.with(Fault::default(), |machine| patiently(|| machine.set_again()))
        .unwrap();
    fs::remove_file(host.path(JOURNAL)).unwrap();
    host.restore().unwrap();
    assert_eq!(host.text("etc/resolv.conf"), lease);
}

#[test]
fn with_the_whole_folder_gone_the_file_stays_and_the_hooks_do_not() {
    let mut host = Host::new(&[
        ("etc/resolv.conf", FILE),
        ("etc/dhcp/dhclient-enter-hooks.d/debug", ""),
        ("proc/8/comm", "NetworkManager\n"),
    ]);
    host.set().unwrap();
    fs::remove_dir_all(host.path("var/lib/tacenda-system")).unwrap();
    let done = host.restore().unwrap().unwrap();
    assert!(
        done.remarks.iter().any(|remark| remark.contains("new DHCP lease")),
        "{done:?}"
    );
    assert_eq!(
        of_ours(&host),
        [Path::new("etc/resolv.conf")],
        "better than nothing at all"
    );
}

/// Who may write beside the journal may say what root puts back.
#[test]
fn a_copy_that_others_could_have_put_there_is_not_believed() {
    let mut host = Host::new(&[("etc/resolv.conf", FILE)]);
    host.set().unwrap();
    fs::remove_file(host.path(JOURNAL)).unwrap();
    fs::set_permissions(host.path(FOLDER), fs::Permissions::from_mode(0o777)).unwrap();
    host.restore().unwrap();
    assert_eq!(of_ours(&host), [Path::new("etc/resolv.conf")]);
}
