use super::*;

fn facts() -> Facts {
    Facts {
        mode: Mode::Redirect,
        stub: 990,
        listen: vec!["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
        served: BTreeSet::new(),
        ways: BTreeSet::new(),
        exempt: BTreeSet::new(),
        sealed: BTreeSet::new(),
        lets_mdns_out: false,
    }
}

fn text(facts: &Facts) -> String {
    ruleset(facts).text
}

/// The rules of one chain, in order.
fn chain<'a>(text: &'a str, chain: &str) -> Vec<&'a str> {
    let start = format!("add rule inet tacenda {chain} ");
    text.lines().filter_map(|line| line.strip_prefix(&start)).collect()
}

fn way(server: &str, interface: Option<&str>, router: Option<&str>) -> Way {
    Way {
        server: server.parse().unwrap(),
        interface: interface.map(Into::into),
        router: router.map(|router| router.parse().unwrap()),
    }
}

#[test]
fn nothing_is_opened_by_what_a_packet_is_not() {
    let mut facts = facts();
    facts.ways.insert(way("10.8.0.1:53", Some("tun0"), None));
    facts.exempt.insert(Exempt {
        protocol: Protocol::Udp,
        server: "198.51.100.7:53".parse().unwrap(),
    });
    // A packet that is forwarded has no user: `skuid != 990 return` let it out.
    assert!(!text(&facts).contains("skuid !="));
    for line in text(&facts).lines().filter(|line| line.contains("accept")) {
        let opens_by_absence = line.contains("!=")
            && ![
                " oifname != \"lo\" accept",
                "l4proto != { udp, tcp } accept",
                "th dport != {",
            ]
            .iter()
            .any(|known| line.contains(known));
        assert!(!opens_by_absence, "{line}");
    }
}

#[test]
fn own_addresses_are_known_by_the_routing_and_not_by_the_interface_that_a_redirection_leaves_behind() {
    let text = text(&facts());
    assert_eq!(chain(&text, "out")[1], "fib daddr type local accept");
    assert_eq!(chain(&text, "after"), ["oifname \"lo\" accept", "goto judge_silently"]);
}

#[test]
fn every_chain_is_emptied_before_it_is_filled_and_used_after_it_is_there() {
    let text = text(&facts());
    for (name, _) in CHAINS {
        let at = |start: &str| {
            text.find(&format!("{start} inet tacenda {name}\n"))
                .or_else(|| text.find(&format!("{start} inet tacenda {name} ")))
        };
        let (added, flushed) = (at("add chain").unwrap(), at("flush chain").unwrap());
        assert!(
            added < flushed && at("add rule").is_none_or(|rule| flushed < rule),
            "{name}"
        );
        let used = ["jump", "goto"]
            .iter()
            .filter_map(|verb| text.find(&format!("{verb} {name}\n")));
        assert!(used.into_iter().all(|used| added < used), "{name}");
    }
}

#[test]
fn all_ports_are_judged_and_multicast_dns_is_let_out_by_choice_and_to_its_groups() {
    let lets_mdns_out = Facts {
        lets_mdns_out: true,
        ..facts()
    };
    for facts in [facts(), lets_mdns_out] {
        let text = text(&facts);
        assert_eq!(
            chain(&text, "judge")[2],
            "th dport != { 53, 137, 138, 853, 5353, 5355 } accept"
        );
        let groups: Vec<_> = chain(&text, "allowed")
            .into_iter()
            .filter(|rule| rule.contains("5353"))
            .collect();
        let expected = [
            "ip daddr 224.0.0.251 udp dport 5353 accept",
            "ip6 daddr ff02::fb udp dport 5353 accept",
        ];
        assert_eq!(
            groups,
            if facts.lets_mdns_out {
                expected.to_vec()
            } else {
                Vec::new()
            }
        );
    }
}

#[test]
fn what_others_have_led_to_another_port_is_a_question_still() {
    let text = text(&facts());
    let rule = "meta l4proto { udp, tcp } ct direction original ct status dnat ct original proto-dst @ports goto";
    for (name, led, verdict) in [
        ("judge", "led", "goto refuse"),
        ("judge_silently", "led_silently", "counter name rejected drop"),
    ] {
        assert_eq!(chain(&text, name)[1], format!("{rule} {led}"));
        assert_eq!(chain(&text, led), ["jump exempted", verdict]);
    }
}

/// Before this, a container with a DNS server could be reached neither by its neighbours nor at a port that Docker publishes.
#[test]
fn whoever_is_exempt_is_reached_by_those_who_are_served_and_behind_a_redirection_of_others() {
    let mut facts = facts();
    facts
        .served
        .insert(("docker0".into(), "172.17.0.1:53".parse().unwrap()));
    facts.exempt.insert(Exempt {
        protocol: Protocol::Udp,
        server: "172.17.0.3:53".parse().unwrap(),
    });
    let text = text(&facts);
    assert!(text.contains("add element inet tacenda exempt4 { 172.17.0.3 . udp . 53 }\n"));
    let exempt = |verdict| {
        [("ip", 4), ("ip6", 6)]
            .map(|(family, n)| format!("{family} daddr . meta l4proto . th dport @exempt{n} {verdict}"))
    };
    assert_eq!(chain(&text, "nat_pre")[..2], exempt("return"));
    assert_eq!(chain(&text, "exempted"), exempt("accept"));
    assert_eq!(chain(&text, "allowed")[0], "jump exempted");
}

/// nft 1.0.6 lists a set without a name here as `{ 0x35 [invalid type], ... }`, and reads none of a file that has it.
#[test]
fn the_ports_of_connections_stand_in_a_set_with_a_name() {
    let text = text(&facts());
    assert!(text.contains("add element inet tacenda ports { 53, 137, 138, 853, 5353, 5355 }\n"));
    assert!(!text.contains("proto-dst {"));
}

#[test]
fn as_root_tacenda_is_known_by_whom_it_asks() {
    let root = Facts {
        stub: 0,
        sealed: BTreeSet::from(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
        ..facts()
    };
    let expected = [
        "ip daddr 192.0.2.1 th dport 853 accept",
        "ip6 daddr 2001:db8::1 th dport 853 accept",
    ];
    assert_eq!(chain(&text(&root), "allowed_stub")[..2], expected);
}

#[test]
fn in_mode_reject_nothing_is_led_elsewhere() {
    let facts = Facts {
        mode: Mode::Reject,
        ..facts()
    };
    assert!(chain(&text(&facts), "nat_out").is_empty() && chain(&text(&facts), "nat_pre").is_empty());
    assert!(!chain(&text(&facts), "judge").is_empty());
}

#[test]
fn no_hook_stays_without_a_rule() {
    let idle = |facts: &Facts| {
        let text = text(facts);
        let deleted = |line: &str| Some(line.strip_prefix("delete chain inet tacenda ")?.to_owned());
        text.lines().filter_map(deleted).collect::<Vec<_>>()
    };
    let mut facts = Facts {
        served: BTreeSet::new(),
        ..facts()
    };
    assert_eq!(idle(&facts), ["nat_pre"]);
    facts.mode = Mode::Reject;
    assert_eq!(idle(&facts), ["nat_out", "nat_pre"]);
}

#[test]
fn tacenda_itself_may_ask_only_by_the_ways_that_are_named() {
    let mut facts = facts();
    assert_eq!(chain(&text(&facts), "allowed_stub")[1..], WINDOW);
    facts.ways = BTreeSet::from([
        way("10.8.0.1:53", Some("tun0"), None),
        way("192.168.1.9:53", None, Some("192.168.1.2")),
        way("[fd00::1]:53", Some("eth0"), Some("fe80::2")),
        // Named by nothing, and by a name that nft would read as many.
        way("192.0.2.1:53", None, None),
        way("192.0.2.2:53", Some("tun*"), None),
        way("192.0.2.3:53", Some("a\" accept #"), None),
        way("192.0.2.4:53", Some("vpn+1"), None),
        way("192.0.2.5:53", Some("<mark>"), None),
    ]);
    assert_eq!(
        chain(&text(&facts), "allowed_stub"),
        [
            "th dport 853 accept",
            "th dport 53 ip daddr 10.8.0.1 oifname \"tun0\" accept",
            "th dport 53 ip daddr 192.0.2.4 oifname \"vpn+1\" accept",
            "th dport 53 ip daddr 192.168.1.9 rt ip nexthop 192.168.1.2 accept",
            "th dport 53 ip6 daddr fd00::1 oifname \"eth0\" rt ip6 nexthop fe80::2 accept",
            WINDOW[0],
            WINDOW[1],
        ]
    );
}

const WINDOW: [&str; 2] = [
    "th dport 53 oifname . ip daddr @portal4 accept",
    "th dport 53 oifname . ip6 daddr @portal6 accept",
];

#[test]
fn a_window_is_of_pairs_that_end_by_themselves_and_not_of_the_rules() {
    let text = text(&facts());
    for version in ['4', '6'] {
        assert!(text.contains(&format!(
            "add set inet tacenda portal{version} {{ type ifname . ipv{version}_addr; flags timeout; }}"
        )));
        assert!(!text.contains(&format!("add element inet tacenda portal{version}")));
    }
    let ways = Ways {
        interface: "h0".into(),
        servers: ["192.168.77.1", "fe80::1"]
            .map(|server| server.parse().unwrap())
            .to_vec(),
        left: Duration::from_millis(299_900),
    };
    assert_eq!(
        ways.text().lines().collect::<Vec<_>>(),
        [
            "flush set inet tacenda portal4",
            "flush set inet tacenda portal6",
            "add element inet tacenda portal4 { \"h0\" . 192.168.77.1 timeout 299s }",
            "add element inet tacenda portal6 { \"h0\" . fe80::1 timeout 299s }",
        ]
    );
    for shut in [
        Ways::default(),
        Ways {
            left: Duration::from_millis(999),
            ..ways.clone()
        },
        Ways {
            interface: "h*".into(),
            ..ways
        },
    ] {
        assert!(!shut.text().contains("add element"), "{shut:?}");
    }
}

#[test]
fn tacendas_own_questions_never_come_back_to_it() {
    let returns = |facts: &Facts| chain(&text(facts), "nat_out").contains(&"meta skuid @stub return");
    assert!(returns(&facts()));
    // As root it shares its user with others. Without a route it asks nobody, and they are led to it.
    let mut root = Facts { stub: 0, ..facts() };
    assert!(!returns(&root));
    root.ways.insert(way("10.8.0.1:53", Some("tun0"), None));
    assert!(returns(&root));
}

#[test]
fn questions_are_led_to_where_tacenda_listens() {
    let mut facts = facts();
    facts.listen = vec!["127.0.0.5:5300".parse().unwrap()];
    facts
        .served
        .insert(("docker0".into(), "172.17.0.1:53".parse().unwrap()));
    let text = text(&facts);
    let led = |name: &str| -> Vec<&str> {
        let rules = chain(&text, name).into_iter();
        rules.filter_map(|rule| Some(rule.split_once("dnat ")?.1)).collect()
    };
    assert_eq!(led("nat_out"), ["ip to 127.0.0.5:5300"]);
    assert_eq!(led("nat_pre"), ["ip to 172.17.0.1:53"]);
    assert!(chain(&text, "nat_pre")[2].starts_with("iifname \"docker0\" fib daddr type != local "));
}

#[test]
fn the_mark_is_of_the_rules() {
    let one = ruleset(&facts());
    assert_eq!(one, ruleset(&facts()));
    assert!(one.text.contains(&format!("comment \"tacenda {}\"", one.mark)) && one.mark.starts_with("redirect "));
    let other = ruleset(&Facts { stub: 991, ..facts() });
    assert_ne!(one.mark, other.mark);
    assert!(one.trial.starts_with("add table inet tacenda_trial\n") && !one.trial.contains(" inet tacenda "));
    assert_eq!(one.trial.lines().count(), one.text.lines().count() + 1);
}
