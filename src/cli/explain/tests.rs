use super::*;
use crate::config::RouteConfig;
use crate::upstream::connect;
use crate::upstream::records::RecordText;

fn rule(kind: RuleKind, place: &str) -> Rule {
    Rule {
        kind,
        place: place.into(),
        text: "text".into(),
    }
}

fn with_routes(upstreams: &[&str]) -> Config {
    let route = |upstream: &&str| RouteConfig {
        zones: vec!["corp.example".into()],
        upstreams: vec![upstream.parse().unwrap()],
        exit: connect::Exit {
            interface: None,
            via: None,
        },
        roots: config::Roots::Bundled,
    };
    Config {
        routes: upstreams.iter().map(route).collect(),
        ..Config::default()
    }
}

fn reply(rcode: u16, ttls: &[u32]) -> Reply {
    let record = |ttl: &u32| RecordText {
        name: "www.example.".into(),
        ttl: *ttl,
        class: "IN".into(),
        rtype: "A".into(),
        data: "192.0.2.1".into(),
    };
    Reply {
        id: 7,
        rcode,
        flags: vec!["qr"],
        question: Some(("www.example.".into(), "A".into(), "IN".into())),
        extended_errors: Vec::new(),
        answers: ttls.iter().map(record).collect(),
        authorities: Vec::new(),
        additionals: Vec::new(),
    }
}

fn upstream(name: &str, queries: u64) -> Upstream {
    Upstream {
        name: name.into(),
        transport: "doh".into(),
        state: "up".into(),
        rtt_ms: Some(12.54),
        queries,
        failures: 0,
        last_error: None,
    }
}

/// After another moment at which they had been asked 7 and 3 times, and a window none.
fn seen(first: u64, portal: u64) -> Seen {
    let stats = |first, portal| Stats {
        upstreams: vec![upstream("quad9", first), upstream("mullvad", 3)],
        clear_packets: ClearPackets { portal },
    };
    Seen::between(stats(7, 0), stats(first, portal))
}

fn with_error(code: u16) -> Reply {
    Reply {
        extended_errors: vec![(code, String::new())],
        ..reply(0, &[3600])
    }
}

fn explained(road: Road, held: Option<u32>, rules: Vec<Rule>) -> Explained {
    Explained {
        question: Question {
            labels: vec![b"www".to_vec(), b"example".to_vec()],
            qtype: 1,
        },
        rules: Ok(rules),
        held,
        road,
        upstreams: Some(seen(8, 0).upstreams),
        reply: reply(0, &[300, 5]),
        took: Duration::from_micros(12_640),
    }
}

#[test]
fn the_road_is_told_by_the_last_rule_and_the_cache() {
    let config = with_routes(&["udp://10.8.0.1", "tls://192.0.2.53"]);
    let asked = seen(8, 0);
    let road = |rules: &[Rule], held| road(&config, rules, held, &reply(0, &[5]), Some(&asked));
    assert_eq!(road(&[], None), Road::Upstream);
    assert_eq!(road(&[], Some(3)), Road::Cache);
    assert_eq!(road(&[rule(RuleKind::Allow, "good:2")], None), Road::Upstream);
    for kind in [RuleKind::Record, RuleKind::Local, RuleKind::Block] {
        assert_eq!(road(&[rule(kind, "x:1")], Some(3)), Road::Here);
    }
    let by = |number| rule(RuleKind::Route, number);
    assert_eq!(road(&[by("route 1")], None), Road::Route { is_clear: true });
    assert_eq!(road(&[by("route 2")], None), Road::Route { is_clear: false });
    // A record of one's own that leads to a name of others.
    let behind = [rule(RuleKind::Record, "x:1"), by("route 2")];
    assert_eq!(road(&behind, None), Road::Route { is_clear: false });
    // One that cannot be found is not called private.
    assert_eq!(road(&[by("route 9")], None), Road::Route { is_clear: true });
}

#[test]
fn nothing_is_called_sealed_that_nobody_saw_and_clear_text_is_told() {
    let config = with_routes(&[]);
    let road = |held, reply: &Reply, seen: Option<Seen>| road(&config, &[], held, reply, seen.as_ref());
    let plain = reply(0, &[5]);
    assert_eq!(road(None, &plain, None), Road::Unseen);
    assert_eq!(road(None, &plain, Some(seen(7, 0))), Road::Unseen);
    assert_eq!(road(None, &plain, Some(seen(8, 1))), Road::Window);
    // ANY, and the names by which systems look for a sign-in page.
    assert_eq!(road(held(&with_error(29)), &with_error(29), None), Road::Here);
    assert_eq!(road(None, &with_error(13), Some(seen(8, 0))), Road::CachedFailure);
    let json = explained(Road::Unseen, None, Vec::new()).to_json();
    assert!(json["road"]["encrypted"].is_null(), "{json}");
    let json = explained(Road::Window, None, Vec::new()).to_json();
    assert_eq!(json["road"]["encrypted"], false);
}

#[test]
fn what_the_cache_holds_ends_with_its_first_record() {
    assert_eq!(held(&reply(0, &[300, 5])), Some(5));
    assert_eq!(held(&reply(3, &[])), Some(0));
    assert_eq!((held(&reply(5, &[])), held(&reply(2, &[]))), (None, None));
}

#[test]
fn the_cache_is_asked_without_recursion() {
    let question = Question {
        labels: vec![b"example".to_vec()],
        qtype: 1,
    };
    let query = question.write(7, Padding::None);
    let without = without_recursion(&query);
    assert_eq!((query[2] & 1, without[2] & 1), (1, 0));
    assert_eq!((&query[..2], &query[3..]), (&without[..2], &without[3..]));
}

#[test]
fn text_says_it_from_rule_to_answer() {
    let expected = "\
www.example. A
rule      none: it is asked like any other name
cache     not held
road      to an upstream over TLS, padded: who is on the way sees no name
asked     quad9 over HTTPS, usually 12.5 ms
answer    NOERROR, 2 records, 12.6 ms
";
    assert_eq!(explained(Road::Upstream, None, Vec::new()).to_text(), expected);
    let blocked = explained(Road::Here, None, vec![rule(RuleKind::Block, "ads:3")]);
    let expected = "\
www.example. A
rule      blocked by ads:3: text
road      answered on this host: nobody is asked
answer    NOERROR, 2 records, 12.6 ms
";
    assert_eq!(blocked.to_text(), expected);
    let mut failed = explained(
        Road::Route { is_clear: true },
        None,
        vec![rule(RuleKind::Route, "route 1")],
    );
    failed.reply = reply(2, &[]);
    failed.reply.extended_errors = vec![(23, "link down".into())];
    failed.upstreams = None;
    let text = failed.to_text();
    assert!(
        text.contains("IN CLEAR TEXT") && text.contains("why       EDE 23 (Network Error): link down\n"),
        "{text}"
    );
    assert!(
        text.contains("answer    SERVFAIL, no record") && text.contains("asked     not known"),
        "{text}"
    );
}

#[test]
fn json_is_as_the_help_says() {
    let json = explained(Road::Upstream, Some(212), Vec::new()).to_json();
    assert_eq!(json["cache"], serde_json::json!({"held": true, "ttl": 212}));
    assert_eq!(json["road"]["kind"], "upstream");
    assert_eq!(json["road"]["upstreams"][0]["asked"], true);
    assert_eq!(json["road"]["upstreams"][1]["asked"], false);
    assert_eq!(
        (&json["answer"]["rcode"], &json["answer"]["time_ms"]),
        (&0.into(), &12.64.into())
    );
    let here = explained(Road::Here, None, Vec::new()).to_json();
    assert!(here["cache"].is_null() && here["road"]["encrypted"].is_null());
}
