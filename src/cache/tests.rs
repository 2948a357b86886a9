use super::*;
use crate::wire::query::Query;
use crate::wire::testkit::{A, key, query, record, response, soa};

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) fn after(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

pub(super) fn answer(qname: &str, ttl: u32) -> Answer {
    let octets = response(qname, A, 0, &[record(qname, A, ttl, &[192, 0, 2, 1])], &[]);
    Answer::check(&octets, &key(qname, A), &Settings::default().ttls).unwrap()
}

fn since(roads: u64) -> Since {
    Since { roads, rules: 0 }
}

fn is_fresh(found: &Found) -> bool {
    matches!(found, Found::Fresh(_))
}

fn ttl(entry: &Entry, now: Instant) -> u32 {
    let mut out = [0; 512];
    let asked = query("a.example", A, None);
    let len = entry.write(&Query::parse(&asked).unwrap(), now, &mut out);
    u32::from_be_bytes(*out[len - 10..].first_chunk().unwrap())
}

#[test]
fn r1035_12_an_entry_counts_down_and_ends_on_time() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    cache.put(&key("a.example", A), &answer("a.example", 60), start);
    let get = |millis| cache.get(&key("a.example", A), after(start, millis), since(0));
    let Found::Fresh(entry) = get(59_999) else {
        panic!("fresh")
    };
    assert_eq!((ttl(&entry, start), ttl(&entry, after(start, 59_999))), (60, 1));
    assert!(!is_fresh(&get(60_000)));
    assert!(!is_fresh(&cache.get(&key("a.example", 28), start, since(0))));
}

#[test]
fn t_poi_8_a_hit_never_prolongs() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    cache.put(&key("a.example", A), &answer("a.example", 60), start);
    for millis in (0..60_000).step_by(1000) {
        assert!(is_fresh(&cache.get(
            &key("a.example", A),
            after(start, millis),
            since(0)
        )));
    }
    assert!(!is_fresh(&cache.get(
        &key("a.example", A),
        after(start, 60_000),
        since(0)
    )));
}

#[test]
fn ttl_0_is_given_but_not_kept() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    let entry = cache.put(&key("a.example", A), &answer("a.example", 0), start);
    assert_eq!(ttl(&entry, start), 0);
    assert!(!is_fresh(&cache.get(&key("a.example", A), start, since(0))));
}

#[test]
fn r8484_4_time_spent_in_http_caches_counts() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    let arrived = after(start, 50_000);
    let entry = cache.put(&key("a.example", A), &answer("a.example", 60), start);
    assert_eq!(ttl(&entry, arrived), 10);
    assert!(!is_fresh(&cache.get(
        &key("a.example", A),
        after(arrived, 10_000),
        since(0)
    )));
}

#[test]
fn r2308_1_negatives_are_kept_by_their_soa() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    let octets = response("nx.example", A, 3, &[], &[soa("example", 60, 5)]);
    let negative = Answer::check(&octets, &key("nx.example", A), &Settings::default().ttls).unwrap();
    cache.put(&key("nx.example", A), &negative, start);
    assert!(is_fresh(&cache.get(
        &key("nx.example", A),
        after(start, 4999),
        since(0)
    )));
    assert!(!is_fresh(&cache.get(
        &key("nx.example", A),
        after(start, 5000),
        since(0)
    )));
}

#[test]
fn r9520_1_a_failure_is_kept_longer_each_time_and_forgotten_with_the_next_answer() {
    let settings = Settings {
        serve_stale: Duration::ZERO,
        ..Settings::default()
    };
    let (cache, start, asked) = (Cache::new(settings), now(), key("a.example", A));
    let holds = |millis| matches!(cache.get(&asked, after(start, millis), since(0)), Found::Failure(_));
    cache.put_failure(&asked, Origin::Resolver, None, start, since(0));
    assert!(holds(999) && !holds(1000));
    cache.put_failure(&asked, Origin::Resolver, None, after(start, 1000), since(0));
    assert!(holds(2999) && !holds(3000));
    cache.put(&asked, &answer("a.example", 1), after(start, 3000));
    cache.put_failure(&asked, Origin::Resolver, None, after(start, 4000), since(0));
    assert!(holds(4999) && !holds(5000), "starts anew");
}

#[test]
fn r9520_4_a_failed_validation_is_kept_for_seconds_whatever_its_records_say() {
    let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
    for _ in 0..20 {
        cache.put_failure(&asked, Origin::Resolver, Some(Ede(6)), start, since(0));
    }
    assert!(matches!(
        cache.get(&asked, after(start, 29_999), since(0)),
        Found::Failure(_)
    ));
    assert!(matches!(
        cache.get(&asked, after(start, 30_000), since(0)),
        Found::Nothing
    ));
}

#[test]
fn r9520_3_a_transport_that_comes_back_lifts_failures_of_the_road() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    cache.put_failure(
        &key("a.example", A),
        Origin::Road,
        Some(Ede::NETWORK_ERROR),
        start,
        since(7),
    );
    cache.put_failure(&key("b.example", A), Origin::Resolver, Some(Ede(6)), start, since(7));
    assert!(matches!(
        cache.get(&key("a.example", A), start, since(7)),
        Found::Failure(_)
    ));
    assert!(matches!(
        cache.get(&key("a.example", A), start, since(8)),
        Found::Nothing
    ));
    assert!(matches!(
        cache.get(&key("b.example", A), start, since(8)),
        Found::Failure(_)
    ));
    // Of another name that the user called so meanwhile.
    let other = Since { roads: 7, rules: 3 };
    assert!(matches!(cache.get(&key("b.example", A), start, other), Found::Nothing));
}

#[test]
fn r8767_1_an_answer_past_its_end_is_found_for_a_day() {
    let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
    cache.put(&asked, &answer("a.example", 60), start);
    let is_stale = |seconds: u64| {
        matches!(
            cache.get(&asked, after(start, seconds * 1000), since(0)),
            Found::Stale(_, None)
        )
    };
    assert!(!is_stale(59) && is_stale(60) && is_stale(60 + 86_399) && !is_stale(60 + 86_400));
    cache.put_failure(&asked, Origin::Road, None, after(start, 60_000), since(0));
    let failed = |millis, roads| {
        matches!(
            cache.get(&asked, after(start, millis), since(roads)),
            Found::Stale(_, Some(_))
        )
    };
    assert!(failed(89_999, 0) && !failed(90_000, 0), "not asked for 30 s");
    assert!(!failed(61_000, 1), "a road that comes back lifts it");
}

#[test]
fn r8767_1_a_failed_validation_or_what_is_not_kept_ends_the_old_answer() {
    let (cache, start) = (Cache::new(Settings::default()), now());
    let [bogus, zero] = ["bogus.example", "zero.example"].map(|name| {
        cache.put(&key(name, A), &answer(name, 60), start);
        key(name, A)
    });
    cache.put_failure(&bogus, Origin::Resolver, Some(Ede(6)), after(start, 50_000), since(0));
    cache.put(&zero, &answer("zero.example", 0), after(start, 50_000));
    for asked in [bogus, zero] {
        assert!(
            is_fresh(&cache.get(&asked, after(start, 59_000), since(0))),
            "to its end"
        );
        assert!(matches!(
            cache.get(&asked, after(start, 60_000), since(0)),
            Found::Nothing
        ));
    }
}

/// A cache of 100,000 octets into which 2,000 answers were put, `n0.example` and so on.
fn overfull() -> (Cache, Instant) {
    let settings = Settings {
        max_bytes: 100_000,
        ..Settings::default()
    };
    let (cache, start) = (Cache::new(settings), now());
    for i in 0..2000 {
        let name = format!("n{i}.example");
        cache.put(&key(&name, A), &answer(&name, 60), start);
    }
    cache.maintain();
    (cache, start)
}

#[test]
fn t_mem_the_bound_in_bytes_holds() {
    let (cache, _) = overfull();
    assert!(cache.bytes() <= 100_000, "{}", cache.bytes());
    assert!(cache.entry_count() > 100);
    assert_eq!(cache.stats().insertions.value(), 2000);
    assert!(cache.stats().evictions.value() >= 1700);
}

#[test]
fn r9520_1_an_answer_that_is_not_kept_ends_the_row_of_failures_too() {
    let (cache, start, asked) = (Cache::new(Settings::default()), now(), key("a.example", A));
    cache.put_failure(&asked, Origin::Resolver, None, start, since(0));
    cache.put(&asked, &answer("a.example", 0), after(start, 1500));
    cache.put_failure(&asked, Origin::Resolver, None, after(start, 3000), since(0));
    let held = matches!(cache.get(&asked, after(start, 4500), since(0)), Found::Failure(_));
    assert!(!held, "one failure after an answer is kept 1 s");
}

#[test]
fn what_is_pushed_out_is_not_found_and_all_else_is() {
    let (cache, start) = overfull();
    let found = || {
        let is_there = |i: &u32| cache.fresh(&key(&format!("n{i}.example"), A), start).is_some();
        (0..2000).filter(is_there).count()
    };
    assert_eq!(found() as u64, cache.entry_count());
    cache.forget_all();
    assert_eq!(found(), 0);
}

#[test]
fn what_is_used_stays_when_many_others_are_asked_for_once() {
    let settings = Settings {
        max_bytes: 100_000,
        ..Settings::default()
    };
    let (cache, start) = (Cache::new(settings), now());
    let used: Vec<_> = (0..50).map(|i| format!("used{i}.example")).collect();
    for name in &used {
        cache.put(&key(name, A), &answer(name, 60), start);
    }
    let hits = || {
        used.iter()
            .filter(|name| cache.fresh(&key(name, A), start).is_some())
            .count()
    };
    for round in 0..2000 {
        if round % 10 == 0 {
            for _ in 0..20 {
                hits();
            }
        }
        let name = format!("once{round}.example");
        cache.put(&key(&name, A), &answer(&name, 60), start);
    }
    assert!(hits() >= 45, "{} of 50 are left", hits());
}
