//! What may be said of upstreams, and how they are chosen.

use super::*;

#[test]
fn an_upstream_that_cannot_be_used() {
    check(
        "[[upstream]]\nurl = \"udp://9.9.9.9\"\n",
        "2:7",
        "only allowed in a `[[route]]`",
    );
    check(
        "[[upstream]]\nurl = \"http://9.9.9.9/dns-query\"\n",
        "2:7",
        "clear text",
    );
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\naddresses = []\n",
        "3:13",
        "no address to connect to",
    );
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\naddresses = [\"nine\"]\n",
        "3:14",
        "not an IP address",
    );
    check(
        "[[upstream]]\nurl = \"tls://x.example\"\naddresses = [\"0.0.0.0\"]\n",
        "3:13",
        "nobody's address",
    );
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nroots = \"/no/such.pem\"\n",
        "3:9",
        "cannot read /no/such.pem",
    );
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nserver-name = \"a b\"\n",
        "3:15",
        "neither a host name",
    );
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nname = \"\"\n",
        "3:8",
        "1 to 64 printable",
    );
    check("upstream = []\n", "1:12", "no upstream to ask");
}

#[test]
fn r8484_10_who_says_where_an_upstream_is() {
    let from = |text: &str| {
        let config = config(&format!("[[upstream]]\n{text}\n"));
        let upstream = &config.upstreams[0];
        (upstream.addresses_from, upstream.addresses.len())
    };
    assert_eq!(from("url = \"tls://9.9.9.9\""), (AddressesFrom::User, 1));
    assert_eq!(from("url = \"tls://dns.quad9.net\""), (AddressesFrom::Table, 4));
    assert_eq!(from("url = \"tls://x.example\""), (AddressesFrom::Nobody, 0));
    let given = "url = \"tls://dns.quad9.net\"\naddresses = [\"192.0.2.1\"]";
    assert_eq!(from(given), (AddressesFrom::User, 1));
    let loaded = read("[[upstream]]\nurl = \"tls://x.example\"\n").unwrap();
    assert_eq!(config(&loaded.to_string()), loaded.config, "what is shown loads again");
}

#[test]
fn every_strategy_is_known_by_its_word() {
    for (word, strategy) in [
        ("in-order", Strategy::InOrder),
        ("fastest", Strategy::Fastest),
        ("spread", Strategy::Spread),
    ] {
        let config = config(&format!("strategy = \"{word}\"\n"));
        assert_eq!((config.strategy, strategy.to_string()), (strategy, word.to_owned()));
    }
}

#[test]
fn names_tell_upstreams_apart() {
    let both = config(
        "[[upstream]]\nurl = \"https://dns.quad9.net/dns-query\"\n[[upstream]]\nurl = \"tls://dns.quad9.net\"\n",
    );
    assert_eq!(both.upstreams[0].name, "dns.quad9.net");
    assert_eq!(both.upstreams[1].name, "tls://dns.quad9.net");
    check(
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nname = \"a\"\n[[upstream]]\nurl = \"tls://1.1.1.1\"\nname = \"a\"\n",
        "6:8",
        "a second upstream is called `a`",
    );
    let twice = "[[upstream]]\nurl = \"tls://9.9.9.9\"\n";
    check(&twice.repeat(3), "6:7", "a second upstream is called `tls://9.9.9.9`");
}
