//! `tacenda system`: what it says, and that names by which it verifies itself are the daemon's own. What it changes is tested in
//! `os::dns` on file trees, and by the laboratory in machines of their own.

use serde_json::Value;

use crate::client::{A, AAAA, Ask, TXT};
use crate::daemon::{Config, lab, over_dot, run};
use crate::upstream::Upstream;

const NAME: &str = "0123456789abcdef.verify.tacenda.test";

#[test]
fn a_name_to_verify_by_has_the_same_address_by_udp_and_tcp_and_another_one_elsewhere() {
    let upstream = Upstream::honest();
    let (daemon, other) = (over_dot(&upstream), over_dot(&upstream));
    for qtype in [A, AAAA] {
        let ask = Ask::new(NAME, qtype);
        let said = ask.udp(daemon.dns).answers();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said, ask.tcp(daemon.dns).answers());
        assert_ne!(said, ask.udp(other.dns).answers());
    }
    let text = Ask::new(NAME, TXT).udp(daemon.dns);
    assert_eq!((text.rcode(), text.answers().len()), (0, 0));
    assert!(upstream.heard().is_empty(), "it never leaves");
}

#[test]
fn neither_records_nor_routes_nor_what_is_let_out_speaks_for_it() {
    let upstream = Upstream::honest();
    let table = format!("[policy]\nlocal-names = false\nrecords = [\"{NAME} A 192.0.2.9\"]\n");
    let daemon = Config::new().dot(&upstream).table(&table).start();
    let said = Ask::new(NAME, A).udp(daemon.dns).answers();
    assert!(said.len() == 1 && !said[0].contains("192.0.2.9"), "{said:?}");
    assert!(upstream.heard().is_empty(), "it never leaves");
}

#[test]
fn status_reads_and_prints_json() {
    let (code, stdout, stderr) = run(&["system", "status", "--json"]);
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!(value["format"], 1);
    assert_eq!(value["ways"][0]["way"], "directly");
    assert!(value["facts"]["resolv_conf"]["servers"].is_array(), "{value}");
    assert_ne!(value["would"].is_null(), value["refused"].is_null(), "{value}");
    let is_set_and_fails = value["set"] == true && value["asks_tacenda"] == false;
    assert_eq!(code, i32::from(is_set_and_fails));
    let (_, text, _) = run(&["system", "status", "--explain"]);
    assert!(
        text.starts_with("system DNS: ") && text.contains("/etc/resolv.conf: "),
        "{text}"
    );
}

#[test]
fn libc_is_asked_for_no_other_name() {
    let (code, _, stderr) = run(&["system", "ask-libc", "www.example"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
#[ignore = "needs root, network namespaces, Debian's packages, strace, dnsmasq, python3, openssl"]
fn a_host_is_set_and_given_back_beside_everything_that_writes_its_dns() {
    lab("system.sh", &[]);
}
