//! Answers past their end (RFC 8767), and answers renewed before it.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::time::{Instant, advance, sleep};

use super::{edes, exchange, resolver, resolver_with, with_opt};
use crate::cache;
use crate::resolve::{Now, Outcome, Resolver};
use crate::upstream::fake::{Behaviour, Fake};
use crate::wire::query::Query;
use crate::wire::testkit::{A, message, opt, query, question};

const NAME: &str = "www.example";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A resolver that has an answer for [`NAME`], just past its end.
async fn past_its_end(first: Behaviour) -> (Resolver, Arc<Fake>) {
    let (resolver, fake) = resolver(first);
    exchange(&resolver, &with_opt(NAME)).await;
    advance(seconds(60)).await;
    (resolver, fake)
}

/// Asks and says how long it took.
async fn timed(resolver: &Resolver, octets: &[u8]) -> (Message, Outcome, Duration) {
    let begin = Instant::now();
    let (response, outcome) = exchange(resolver, octets).await;
    (response, outcome, begin.elapsed())
}

/// Asks for [`NAME`]: RCODE, reasons, TTLs of all records, and the time it took in milliseconds.
async fn asked(resolver: &Resolver) -> (ResponseCode, Vec<u16>, Vec<u32>, u128) {
    let (response, _, time) = timed(resolver, &with_opt(NAME)).await;
    let records = response.answers.iter().chain(&response.authorities);
    let ttls = records.map(|record| record.ttl).collect();
    (response.metadata.response_code, edes(&response), ttls, time.as_millis())
}

fn stale(millis: u128) -> (ResponseCode, Vec<u16>, Vec<u32>, u128) {
    (ResponseCode::NoError, vec![3], vec![30], millis)
}

/// Lets what runs in the background do what it can.
async fn rest() {
    sleep(Duration::from_millis(1)).await;
}

fn stale_hits(resolver: &Resolver) -> u64 {
    resolver.cache().stats().stale_hits.value()
}

#[tokio::test(start_paused = true)]
async fn r8767_1_upstream_is_tried_first_and_after_1_8_s_the_old_answer_is_given() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Silent);
    assert_eq!(asked(&resolver).await, stale(1800));
    assert_eq!(fake.asked(), 2, "tried");
    assert_eq!(
        asked(&resolver).await,
        stale(0),
        "who comes later waits no longer than the first"
    );
    sleep(seconds(4)).await;
    assert_eq!(resolver.inflight(), 0, "the question has failed");
    assert_eq!(asked(&resolver).await, stale(0));
    assert_eq!((fake.asked(), stale_hits(&resolver)), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_the_question_runs_on_behind_the_old_answer() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Slow(seconds(3)));
    assert_eq!(asked(&resolver).await, stale(1800));
    sleep(seconds(2)).await;
    let (response, outcome, _) = timed(&resolver, &with_opt(NAME)).await;
    assert_eq!((outcome, edes(&response).len(), fake.asked()), (Outcome::Hit, 0, 2));
    assert!(response.answers[0].ttl > 50);
}

#[tokio::test(start_paused = true)]
async fn r8767_1_a_fresh_answer_in_time_is_preferred() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Slow(Duration::from_millis(1700)));
    let fresh = (ResponseCode::NoError, vec![], vec![60], 1700);
    assert_eq!(asked(&resolver).await, fresh);
    assert_eq!(stale_hits(&resolver), 0);
}

#[tokio::test(start_paused = true)]
async fn r8767_1_a_name_that_did_not_exist_has_a_reason_of_its_own() {
    let (resolver, fake) = past_its_end(Behaviour::NxDomain).await;
    fake.behave(Behaviour::Broken);
    assert_eq!(asked(&resolver).await, (ResponseCode::NXDomain, vec![19], vec![30], 0));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_without_edns_there_is_no_opt() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Broken);
    let (response, ..) = timed(&resolver, &query(NAME, A, None)).await;
    assert_eq!((response.answers[0].ttl, response.edns), (30, None));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_every_failure_but_a_failed_validation_brings_the_old_answer_at_once() {
    for behaviour in [
        Behaviour::Broken,
        Behaviour::Garbage,
        Behaviour::Fail(2, None),
        Behaviour::Fail(2, Some(22)),
        Behaviour::Fail(5, None),
        Behaviour::Busy(seconds(5)),
    ] {
        let (resolver, fake) = past_its_end(Behaviour::Answer).await;
        fake.behave(behaviour);
        assert_eq!(asked(&resolver).await, stale(0), "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r8767_1_bogus_is_told_and_the_old_answer_is_never_given_again() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Fail(2, Some(6)));
    let bogus = |reasons: &[u16]| (ResponseCode::ServFail, reasons.to_vec(), vec![], 0);
    assert_eq!(asked(&resolver).await, bogus(&[6]));
    assert_eq!(asked(&resolver).await, bogus(&[13, 6]));
    fake.behave(Behaviour::Broken);
    sleep(seconds(40)).await;
    assert_eq!(asked(&resolver).await, bogus(&[23]));
    assert_eq!(stale_hits(&resolver), 0);
}

#[tokio::test(start_paused = true)]
async fn r8767_1_what_failed_is_asked_again_after_30_s() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Fail(2, None));
    for second in 0..60 {
        assert_eq!(asked(&resolver).await, stale(0));
        assert_eq!(fake.asked(), 2 + second / 30, "{second}");
        advance(seconds(1)).await;
    }
    fake.behave(Behaviour::Answer);
    assert_eq!(asked(&resolver).await, (ResponseCode::NoError, vec![], vec![60], 0));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_a_road_that_comes_back_ends_the_wait_at_once() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Broken);
    assert_eq!(asked(&resolver).await, stale(0));
    fake.behave(Behaviour::Answer);
    assert_eq!(asked(&resolver).await, stale(0));
    exchange(&resolver, &with_opt("other.example")).await;
    assert_eq!(asked(&resolver).await, (ResponseCode::NoError, vec![], vec![60], 0));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_without_hope_the_old_answer_goes_first_and_the_question_behind_it() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Broken);
    exchange(&resolver, &with_opt("other.example")).await;
    assert!(!resolver.public().pool().has_hope(Instant::now()));
    let (response, outcome, time) = timed(&resolver, &with_opt(NAME)).await;
    assert_eq!(
        (edes(&response), outcome, time),
        (vec![3], Outcome::Hit, Duration::ZERO)
    );
    rest().await;
    assert_eq!(fake.asked(), 3, "a real question is the only probe");
    assert_eq!(resolver.cache().stats().prefetches.value(), 0);
}

#[tokio::test(start_paused = true)]
async fn r8767_1_the_question_behind_finds_an_upstream_that_is_back() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Broken);
    exchange(&resolver, &with_opt("other.example")).await;
    fake.behave(Behaviour::Answer);
    assert_eq!(asked(&resolver).await, stale(0));
    rest().await;
    assert_eq!(asked(&resolver).await, (ResponseCode::NoError, vec![], vec![60], 0));
    assert!(resolver.public().pool().has_hope(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_it_can_be_turned_off_and_ends_with_its_time() {
    let failed = (ResponseCode::ServFail, vec![23], vec![], 0);
    for (serve_stale, wait, expected) in [(0, 60, &failed), (600, 659, &stale(0)), (600, 660, &failed)] {
        let settings = cache::Settings {
            serve_stale: seconds(serve_stale),
            ..cache::Settings::default()
        };
        let (resolver, fake) = resolver_with(Behaviour::Answer, settings);
        exchange(&resolver, &with_opt(NAME)).await;
        advance(seconds(wait)).await;
        fake.behave(Behaviour::Broken);
        assert_eq!(asked(&resolver).await, *expected, "{serve_stale} s, after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn r8767_1_who_wants_no_recursion_gets_nothing_past_its_end() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    let without_rd = message([0, 0], &question(NAME, A), [&[], &[], &[opt(1232, 0, &[])]]);
    for behaviour in [Behaviour::Answer, Behaviour::Broken] {
        fake.behave(behaviour);
        let (refused, outcome, _) = timed(&resolver, &without_rd).await;
        assert_eq!(
            (refused.metadata.response_code, outcome, edes(&refused)),
            (ResponseCode::Refused, Outcome::Miss, vec![20])
        );
        exchange(&resolver, &with_opt("other.example")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn r8767_1_cd_and_do_have_old_answers_of_their_own() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    fake.behave(Behaviour::Broken);
    let with_cd = message([1, 0x10], &question(NAME, A), [&[], &[], &[opt(1232, 0, &[])]]);
    let with_do = query(NAME, A, Some(opt(1232, 0x8000, &[])));
    for octets in [with_cd, with_do] {
        let (response, ..) = timed(&resolver, &octets).await;
        assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(asked(&resolver).await, stale(0));
}

#[tokio::test(start_paused = true)]
async fn r8767_1_who_cannot_wait_gets_the_old_answer_too() {
    let (resolver, fake) = past_its_end(Behaviour::Answer).await;
    for (name, expected) in [(NAME, (0, vec![3])), ("other.example", (2, vec![0]))] {
        let (octets, mut out) = (with_opt(name), [0; 512]);
        let query = Query::parse(&octets).unwrap();
        let Now::Wait(pending) = resolver.answer_now(&query, Instant::now().into_std(), &mut out) else {
            panic!("nothing fresh is there");
        };
        let len = resolver.answer_shed(&pending, &query, &mut out);
        let response = Message::from_vec(&out[..len]).unwrap();
        assert_eq!((u16::from(response.metadata.response_code), edes(&response)), expected);
    }
    assert_eq!((fake.asked(), stale_hits(&resolver)), (1, 1));
}

/// A resolver that has an answer for [`NAME`] with a tenth of its 60 seconds left.
async fn near_its_end(prefetch: bool) -> (Resolver, Arc<Fake>) {
    let settings = cache::Settings {
        prefetch,
        ..cache::Settings::default()
    };
    let (resolver, fake) = resolver_with(Behaviour::Answer, settings);
    exchange(&resolver, &with_opt(NAME)).await;
    advance(seconds(54)).await;
    (resolver, fake)
}

/// Asks for [`NAME`]; must be a hit. Gives back its TTL.
async fn hit(resolver: &Resolver) -> u32 {
    let (response, outcome, time) = timed(resolver, &with_opt(NAME)).await;
    assert_eq!(
        (outcome, time, edes(&response).len()),
        (Outcome::Hit, Duration::ZERO, 0)
    );
    response.answers[0].ttl
}

#[tokio::test(start_paused = true)]
async fn many_hits_near_the_end_renew_an_answer_once() {
    let (resolver, fake) = near_its_end(true).await;
    fake.behave(Behaviour::Slow(seconds(1)));
    for _ in 0..100 {
        assert_eq!(hit(&resolver).await, 6);
    }
    rest().await;
    assert_eq!((fake.asked(), resolver.cache().stats().prefetches.value()), (2, 1));
    sleep(seconds(1)).await;
    assert_eq!(hit(&resolver).await, 60, "renewed");
    assert_eq!((fake.asked(), resolver.inflight()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn one_hit_near_the_end_renews_nothing_and_neither_do_hits_without_rd() {
    let (resolver, fake) = near_its_end(true).await;
    hit(&resolver).await;
    let without_rd = message([0, 0], &question(NAME, A), [&[], &[], &[]]);
    for _ in 0..10 {
        exchange(&resolver, &without_rd).await;
    }
    rest().await;
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn prefetch_can_be_turned_off() {
    let (resolver, fake) = near_its_end(false).await;
    for _ in 0..10 {
        hit(&resolver).await;
    }
    rest().await;
    assert_eq!((fake.asked(), resolver.cache().stats().prefetches.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_hides_nothing_and_is_tried_once_more() {
    for behaviour in [Behaviour::Broken, Behaviour::Fail(2, None), Behaviour::Fail(2, Some(6))] {
        let (resolver, fake) = near_its_end(true).await;
        fake.behave(behaviour);
        for left in [6, 5, 4, 3, 2, 1] {
            for _ in 0..5 {
                assert_eq!(hit(&resolver).await, left, "{behaviour:?}");
            }
            rest().await;
            advance(Duration::from_millis(999)).await;
        }
        assert_eq!(fake.asked(), 1 + 2, "{behaviour:?}");
    }
}
