use super::*;

#[test]
fn the_end_counts_what_is_not_good() {
    let good = Part::good("clock", "x");
    assert_eq!(summary(std::slice::from_ref(&good)), "nothing is wrong");
    let parts = [
        good,
        Part::bad("listens", "x", "y"),
        Part::gap("guard", "x", "y"),
        Part::unknown("upstream", "x"),
    ];
    assert_eq!(summary(&parts), "bad: 1, gaps: 1, not known: 1");
}

#[test]
fn findings_are_shown_as_they_come_or_all_at_once_as_json() {
    let mut shown = Vec::new();
    let mut findings = Findings {
        output: Output::buffer(&mut shown),
        paint: Some(Paint(false)),
        parts: Vec::new(),
    };
    findings.add(Part::good("clock", "fine")).unwrap();
    findings
        .add(Part::bad("listens", "127.0.0.1:53 is taken", "stop it"))
        .unwrap();
    assert_eq!(findings.end().unwrap(), State::Bad);
    let expected = "  ok  clock         fine\n  BAD listens       127.0.0.1:53 is taken\n                    = stop it\n\nbad: 1, gaps: 0, not known: 0\n";
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
    let mut shown = Vec::new();
    let mut findings = Findings {
        output: Output::buffer(&mut shown),
        paint: None,
        parts: Vec::new(),
    };
    findings
        .add(Part::gap("guard", "off", "sudo tacenda guard on"))
        .unwrap();
    assert_eq!(findings.end().unwrap(), State::Gap);
    let json: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(
        (&json["state"], &json["parts"][0]["help"]),
        (&"gap".into(), &"sudo tacenda guard on".into())
    );
}

#[test]
fn behind_the_guard_the_word_of_tacenda_counts() {
    let said = |state: &str, error: Option<&str>| {
        serde_json::from_value(serde_json::json!({
            "name": "x", "transport": "dot", "state": state, "rtt_ms": null, "queries": 1, "failures": 1, "last_error": error,
        }))
        .unwrap()
    };
    for (said, state, words) in [
        (Some(said("up", None)), State::Good, "x answers tacenda"),
        (
            Some(said("down", Some("issued by \u{1b}nobody"))),
            State::Bad,
            "x does not answer tacenda: issued by \u{fffd}nobody",
        ),
        (Some(said("unknown", None)), State::Unknown, "x: refused; the guard"),
        (None, State::Unknown, "x: refused; the guard"),
    ] {
        let part = upstream::behind_guard("x", "refused", said.as_ref());
        assert_eq!(part.state, state);
        assert!(part.text.starts_with(words), "{}", part.text);
    }
}
