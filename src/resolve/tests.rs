use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};

use super::*;
use crate::cache;
use crate::transport::Exchange;
use crate::upstream::Upstream;
use crate::upstream::fake::{Behaviour, Fake};
use crate::upstream::select::Strategy;
use crate::wire::question::Keepalive;
use crate::wire::testkit::{A, message, opt, query, question};

mod own;
mod stale;

fn resolver(behaviour: Behaviour) -> (Resolver, Arc<Fake>) {
    resolver_with(behaviour, cache::Settings::default())
}

fn resolver_with(behaviour: Behaviour, settings: cache::Settings) -> (Resolver, Arc<Fake>) {
    let fake = Arc::new(Fake::new(behaviour));
    let upstream = Upstream::new("fake".into(), Arc::clone(&fake) as Arc<dyn Exchange>, Keepalive::Omit);
    let pool = Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls);
    (
        Resolver::new(Policy::default(), Arc::new(Cache::new(settings)), pool),
        fake,
    )
}

/// One query through both calls, with the rest of the clock.
async fn exchange(resolver: &Resolver, octets: &[u8]) -> (Message, Outcome) {
    let query = Query::parse(octets).unwrap();
    let mut out = [0; 1232];
    let now = || tokio::time::Instant::now().into_std();
    let (len, outcome) = match resolver.answer_now(&query, now(), &mut out) {
        Now::Ready(len, outcome) => (len, outcome),
        Now::ReadyThenRefresh(len, outcome, pending) => {
            resolver.refresh(pending, tokio::time::Instant::now() + Duration::from_millis(4500));
            (len, outcome)
        }
        Now::Wait(pending) => {
            let deadline = tokio::time::Instant::now() + Duration::from_millis(4500);
            let settled = resolver.answer_later(pending, deadline).await;
            assert!(settled.max_len() >= 512);
            (settled.write(&query, now(), &mut out), Outcome::Miss)
        }
    };
    assert_eq!(out[..2], octets[..2]);
    (Message::from_vec(&out[..len]).unwrap(), outcome)
}

fn with_opt(qname: &str) -> Vec<u8> {
    query(qname, A, Some(opt(1232, 0, &[])))
}

/// The EDE codes of a response.
fn edes(message: &Message) -> Vec<u16> {
    use hickory_proto::rr::rdata::opt::EdnsOption;
    let options = message
        .edns
        .as_ref()
        .map(|edns| edns.options().options.clone())
        .unwrap_or_default();
    let code = |option: &EdnsOption| match option {
        EdnsOption::Unknown(15, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    };
    options.iter().filter_map(|(_, option)| code(option)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_miss_is_asked_once_and_then_a_hit() {
    let (resolver, fake) = resolver(Behaviour::Answer);
    let (first, outcome) = exchange(&resolver, &query("www.example", A, None)).await;
    assert_eq!((outcome, first.answers[0].ttl), (Outcome::Miss, 60));
    tokio::time::advance(Duration::from_secs(10)).await;
    let (second, outcome) = exchange(&resolver, &query("WWW.example", A, None)).await;
    assert_eq!((outcome, second.answers[0].ttl), (Outcome::Hit, 50));
    assert_eq!(second.queries[0].name().to_string(), "WWW.example.");
    assert_eq!(fake.asked(), 1);
    tokio::time::advance(Duration::from_secs(50)).await;
    assert_eq!(
        exchange(&resolver, &query("www.example", A, None)).await.1,
        Outcome::Miss
    );
}

#[tokio::test(start_paused = true)]
async fn b12_ten_thousand_askers_cost_one_query() {
    let (resolver, fake) = resolver(Behaviour::Slow(Duration::from_millis(40)));
    let askers: Vec<_> = (0..10_000)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move {
                exchange(&resolver, &query("cold.example", A, None))
                    .await
                    .0
                    .answers
                    .len()
            })
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.await.unwrap(), 1);
    }
    assert_eq!(fake.asked(), 1);
    assert_eq!(resolver.inflight(), 0);
}

#[tokio::test(start_paused = true)]
async fn r1035_13_who_looked_before_the_answer_came_and_asks_after_it_asks_nobody() {
    let (resolver, fake) = resolver(Behaviour::Answer);
    let octets = query("www.example", A, None);
    let late = Query::parse(&octets).unwrap();
    let Now::Wait(pending) = resolver.answer_now(&late, tokio::time::Instant::now().into_std(), &mut [0; 512]) else {
        panic!("a cold cache")
    };
    exchange(&resolver, &octets).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    assert!(matches!(
        resolver.answer_later(pending, deadline).await,
        Settled::Answer(_)
    ));
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_nobody() {
    let (resolver, fake) = resolver(Behaviour::Slow(Duration::from_secs(1)));
    let octets = query("www.example", A, None);
    let leaves = tokio::time::timeout(Duration::from_millis(500), exchange(&resolver, &octets));
    let (left, stayed) = tokio::join!(leaves, exchange(&resolver, &octets));
    assert!(left.is_err());
    assert_eq!((stayed.0.answers.len(), fake.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn t_double_who_joins_late_does_not_renew_the_question() {
    let (resolver, _) = resolver(Behaviour::Silent);
    let start = tokio::time::Instant::now();
    let octets = with_opt("www.example");
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        exchange(&resolver, &octets).await
    };
    let (first, late) = tokio::join!(exchange(&resolver, &octets), late);
    assert_eq!(start.elapsed(), Duration::from_millis(4400));
    for (response, _) in [first, late] {
        assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(edes(&response), [22, 23]);
    }
}

#[tokio::test(start_paused = true)]
async fn promise_4_every_failure_has_an_rcode_and_a_reason() {
    for (behaviour, reasons) in [
        (Behaviour::Broken, &[23][..]),
        (Behaviour::Silent, &[22, 23]),
        (Behaviour::Garbage, &[24]),
        (Behaviour::Fail(2, Some(6)), &[6]),
        (Behaviour::Fail(2, None), &[0]),
        (Behaviour::Fail(5, None), &[0]),
    ] {
        let (resolver, fake) = resolver(behaviour);
        let (first, _) = exchange(&resolver, &with_opt("www.example")).await;
        assert_eq!(
            (first.metadata.response_code, edes(&first)),
            (ResponseCode::ServFail, reasons.to_vec()),
            "{behaviour:?}"
        );
        assert!(first.metadata.recursion_available, "R1035-1");
        let (second, outcome) = exchange(&resolver, &with_opt("www.example")).await;
        assert_eq!(
            (edes(&second), outcome),
            (vec![13, reasons[0]], Outcome::Hit),
            "r9520_1"
        );
        assert_eq!(fake.asked(), 1);
        fake.behave(Behaviour::Answer);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(exchange(&resolver, &with_opt("www.example")).await.0.answers.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn r9520_3_recovery_lifts_failures_of_other_names() {
    let (resolver, fake) = resolver(Behaviour::Broken);
    exchange(&resolver, &with_opt("a.example")).await;
    fake.behave(Behaviour::Answer);
    assert_eq!(exchange(&resolver, &with_opt("b.example")).await.0.answers.len(), 1);
    assert_eq!(
        exchange(&resolver, &with_opt("a.example")).await.0.answers.len(),
        1,
        "no second passed"
    );
}

#[tokio::test(start_paused = true)]
async fn r1035_2_without_rd_only_the_cache_answers() {
    let (resolver, fake) = resolver(Behaviour::Answer);
    let without_rd = message([0, 0], &question("www.example", A), [&[], &[], &[opt(1232, 0, &[])]]);
    let (refused, outcome) = exchange(&resolver, &without_rd).await;
    assert_eq!(
        (refused.metadata.response_code, edes(&refused)),
        (ResponseCode::Refused, vec![20])
    );
    assert_eq!(
        (outcome, fake.asked(), refused.metadata.recursion_desired),
        (Outcome::Miss, 0, false)
    );
    exchange(&resolver, &query("www.example", A, None)).await;
    assert_eq!(exchange(&resolver, &without_rd).await.0.answers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_policy_decides_is_not_asked() {
    let (resolver, fake) = resolver(Behaviour::Answer);
    for (qtype, rcode) in [
        (255, ResponseCode::NoError),
        (252, ResponseCode::Refused),
        (41, ResponseCode::FormErr),
    ] {
        let (response, outcome) = exchange(&resolver, &query("www.example", qtype, None)).await;
        assert_eq!(
            (response.metadata.response_code, outcome),
            (rcode, Outcome::Synthesized)
        );
    }
    assert_eq!(fake.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn r4035_2_cd_and_do_have_entries_of_their_own() {
    let (resolver, fake) = resolver(Behaviour::Answer);
    exchange(&resolver, &query("www.example", A, None)).await;
    exchange(
        &resolver,
        &message([1, 0x10], &question("www.example", A), [&[], &[], &[]]),
    )
    .await;
    exchange(&resolver, &query("www.example", A, Some(opt(1232, 0x8000, &[])))).await;
    assert_eq!(fake.asked(), 3);
    let bits: Vec<_> = fake
        .queries()
        .iter()
        .map(|query| (query[3] & 0x10, query[12 + 17 + 7] & 0x80))
        .collect();
    assert_eq!(bits, [(0, 0), (0x10, 0), (0, 0x80)]);
}
