//! What a `[[route]]` may say.

use super::*;
use crate::policy::local;

const ROUTE: &str = "[[route]]\nzones = [\"Corp.Example\"]\nnetworks = [\"10.8.0.0/16\"]\nupstream = [\"udp://127.0.0.1\", \"tls://10.8.0.2\"]\n";

#[test]
fn a_route_is_read_and_shown() {
    let loaded = read(ROUTE).unwrap();
    let route = &loaded.config.routes[0];
    assert_eq!(route.zones, ["corp.example", "8.10.in-addr.arpa"]);
    assert_eq!(
        route.upstreams.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["udp://127.0.0.1", "tls://10.8.0.2"]
    );
    assert_eq!(config(&loaded.to_string()), loaded.config, "what is shown loads again");
    let bound = config(&format!("{ROUTE}interface = \"tun0\"\n"));
    assert_eq!(
        bound.routes[0]
            .exit
            .interface
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("tun0")
    );
    assert!(config("").routes.is_empty());
    let any = config("[[route]]\nzones = [\"lan\"]\nupstream = [\"udp://192.168.1.1\"]\ninterface = \"any\"\n");
    assert_eq!(any.routes[0].exit.interface, None);
    let plain =
        "[[route]]\nzones = [\"lan\"]\nupstream = [\"udp://10.9.0.1\", \"tcp://10.9.0.1\"]\nvia = \"192.168.1.2\"\n";
    let through = read(plain).unwrap();
    let exit = &through.config.routes[0].exit;
    assert_eq!(exit.via.map(|via| via.to_string()).as_deref(), Some("192.168.1.2"));
    assert_eq!(config(&through.to_string()), through.config);
    let both = config(&format!("{ROUTE}via = \"fe80::1\"\ninterface = \"eth0\"\n"));
    assert!(both.routes[0].exit.via.is_some() && both.routes[0].exit.interface.is_some());
}

#[test]
fn routes_that_cannot_be_used() {
    for (text, position, words) in [
        (
            "[[route]]\nupstream = [\"udp://10.8.0.1\"]\n",
            "1:1",
            "a route without names",
        ),
        (
            "[[route]]\nzones = [\"corp.example\"]\n",
            "1:1",
            "a route without a resolver",
        ),
        (
            "[[route]]\nzones = [\".\"]\nupstream = [\"udp://10.8.0.1\"]\n",
            "2:10",
            "not a host name",
        ),
        (
            "[[route]]\nzones = [\"a.example\"]\nupstream = [\"udp://dns.example\"]\n",
            "3:13",
            "address",
        ),
        (
            "[[route]]\nzones = [\"a.example\"]\nupstream = [\"tls://dns.example\"]\n",
            "3:13",
            "write its address",
        ),
        (
            "[[route]]\nzones = [\"a.example\", \"A.example.\"]\nupstream = [\"udp://10.8.0.1\"]\n",
            "2:23",
            "has a route already",
        ),
        (
            "[[route]]\nzones = [\"a.example\"]\nupstream = [\"udp://10.8.0.1\"]\n",
            "3:13",
            "these names leave by the LAN",
        ),
        (
            "[[route]]\nzones = [\"x.onion\"]\nupstream = [\"udp://127.0.0.1:9053\"]\n",
            "2:10",
            "let-out = [\"onion\"]",
        ),
    ] {
        let problems = problems(text);
        let expected = format!("t.toml:{position}: ");
        let is_told = |problem: &String| problem.starts_with(&expected) && problem.contains(words);
        assert!(problems.iter().any(is_told), "{text}\n{problems:#?}");
    }
    check(
        &format!("{ROUTE}interface = \"a/b\"\n"),
        "5:13",
        "not the name of an interface",
    );
}

#[test]
fn routers_that_cannot_be_used() {
    for (via, words) in [
        ("router.lan", "IP address alone"),
        ("fe80::1%eth0", "IP address alone"),
        ("192.168.1.2:53", "IP address alone"),
        ("0.0.0.0", "unspecified, multicast or broadcast"),
        ("::", "unspecified, multicast or broadcast"),
        ("224.0.0.1", "unspecified, multicast or broadcast"),
        ("ff02::1", "unspecified, multicast or broadcast"),
        ("127.0.0.2", "it is this host"),
        ("::1", "it is this host"),
        ("fe80::1", "every network may have a router"),
        ("169.254.1.1", "every network may have a router"),
    ] {
        check(&format!("{ROUTE}via = \"{via}\"\n"), "5:7", words);
    }
    check(
        &format!("{ROUTE}via = \"10.8.0.2\"\n"),
        "4:32",
        "not reached through itself",
    );
    let v6 = "[[route]]\nzones = [\"a.example\"]\nupstream = [\"udp://[fd00::1]\"]\nvia = \"10.8.0.2\"\n";
    check(v6, "3:13", "an IPv6 server is not reached");
}

#[test]
fn names_that_may_be_let_out() {
    for word in local::SORTS.iter().chain(&["lan", "168.192.in-addr.arpa", "Test."]) {
        let config = config(&format!("[policy]\nlet-out = [\"{word}\"]\n"));
        assert_eq!(config.policy.let_out.len(), 1, "{word}");
    }
    check(
        "[policy]\nlet-out = [\"example\"]\n",
        "2:12",
        "single-labels, private-reverse",
    );
    check("[policy]\nrebind-allow = [\"a b\"]\n", "2:17", "not a host name");
    check("[policy]\nblock = [\"/no/such\"]\n", "2:10", "cannot read /no/such");
    check(
        "[policy]\nblock-answer = \"refused\"\n",
        "2:16",
        "write \"null\" or \"nxdomain\"",
    );
    let here = config("[policy]\nblock = [\"/dev\"]\nblock-answer = \"nxdomain\"\n").policy;
    assert_eq!((here.block.len(), here.block_answer), (1, BlockAnswer::NxDomain));
}
