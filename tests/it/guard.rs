//! The leak guard and everything else that keeps names on this host, against a hotel that looks at every packet.

use crate::daemon::{lab, run};

#[test]
#[ignore = "needs root, network namespaces, nft, dnsmasq, unbound, openvpn, tcpdump"]
fn nobody_on_the_way_sees_a_name() {
    lab("leaks.sh", &[concat!(env!("CARGO_MANIFEST_DIR"), "/certs")]);
}

#[test]
#[ignore = "needs root, network namespaces, cgroups, nft, apt-get, dnsmasq, unbound, dbus, tcpdump"]
fn docker_and_firewalld_keep_their_rules_and_open_no_way() {
    lab("firewalls.sh", &[concat!(env!("CARGO_MANIFEST_DIR"), "/certs")]);
}

#[test]
fn a_mode_or_time_that_is_none_is_wrong_usage() {
    for (arguments, words) in [
        (["guard", "on", "--mode", "open"], "redirect or reject"),
        (["guard", "on", "--for", "5"], "unit"),
        (["guard", "off", "--for", "8d"], "between 1s and 7d"),
        (["guard", "off", "--for", "0s"], "between 1s and 7d"),
    ] {
        let (code, _, stderr) = run(&arguments);
        assert!(code == 2 && stderr.contains(words), "{arguments:?}: {code} {stderr}");
    }
}
