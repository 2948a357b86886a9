use super::*;
use crate::transport::testing::{answer, answer_with_keepalive, query};

use proptest::prelude::*;

type Table = Pipeline<u32>;

fn table() -> (Table, Instant) {
    let now = Instant::now();
    (Pipeline::new(now), now)
}

/// Draws ascending IDs.
fn counting() -> impl FnMut() -> Option<u16> {
    let mut next = 100;
    move || {
        next += 1;
        Some(next)
    }
}

fn sent(table: &mut Table) -> Vec<Vec<u8>> {
    let mut octets = Vec::new();
    table.take_outgoing(&mut octets);
    let mut frames = crate::wire::frame::FrameReader::new();
    frames.push(&octets);
    let queries = std::iter::from_fn(|| frames.next_message().map(<[u8]>::to_vec)).collect();
    assert!(!frames.is_mid_message());
    queries
}

#[test]
fn r7766_10_answers_out_of_order_find_their_askers_and_lose_our_id() {
    let (mut table, now) = table();
    let mut draw = counting();
    for (waiter, name) in [(1, "a.example"), (2, "b.example"), (3, "c.example")] {
        table.start(&query(name), waiter, &mut draw).unwrap();
    }
    let queries = sent(&mut table);
    assert_eq!(
        queries.iter().map(|query| query[1]).collect::<Vec<_>>(),
        [101, 102, 103]
    );
    for (index, waiter) in [(2, 3), (0, 1), (1, 2)] {
        let mut response = answer(&queries[index]);
        assert_eq!(table.receive(&mut response, now), Received::Answer(waiter));
        assert_eq!(response[..2], [0, 0]);
    }
    assert!(table.idle_deadline().is_some());
}

#[test]
fn t_poi_1_a_mismatch_is_dropped_and_the_wait_goes_on() {
    let (mut table, now) = table();
    table.start(&query("right.example"), 7, counting()).unwrap();
    let asked = sent(&mut table).remove(0);
    let mut wrong_id = answer(&asked);
    wrong_id[1] ^= 1;
    let mut wrong_question = answer(&query("wrong.example"));
    wrong_question[1] = 101;
    let mut not_a_response = asked.clone();
    for wrong in [
        &mut wrong_id[..],
        &mut wrong_question,
        &mut not_a_response,
        &mut [],
        &mut [0; 11],
    ] {
        assert_eq!(table.receive(wrong, now), Received::Violation);
    }
    assert_eq!(table.receive(&mut answer(&asked), now), Received::Answer(7));
}

#[test]
fn the_eighth_violation_is_one_too_many() {
    let (mut table, now) = table();
    for _ in 1..MAX_VIOLATIONS {
        assert_eq!(table.receive(&mut [], now), Received::Violation);
    }
    assert_eq!(table.receive(&mut [], now), Received::TooManyViolations);
}

#[test]
fn a_late_answer_is_no_violation_and_its_id_is_not_used_again_before() {
    let (mut table, now) = table();
    let ticket = table.start(&query("late.example"), 1, || Some(5)).unwrap();
    table.abandon(ticket, now);
    let late = sent(&mut table).remove(0);
    assert_eq!(
        table.start(&query("next.example"), 2, || Some(5)),
        Err(StartError::Impossible)
    );
    let mut ids = [5, 5, 6].into_iter();
    table.start(&query("next.example"), 2, || ids.next()).unwrap();
    assert_eq!(sent(&mut table).remove(0)[..2], [0, 6]);
    assert_eq!(table.receive(&mut answer(&late), now), Received::Late);
    assert_eq!(table.receive(&mut answer(&late), now), Received::Violation);
    table.start(&query("third.example"), 3, || Some(5)).unwrap();
}

#[test]
fn a_ticket_that_was_answered_cannot_abandon_the_next_user_of_its_id() {
    let (mut table, now) = table();
    let old = table.start(&query("a.example"), 1, || Some(5)).unwrap();
    let asked = sent(&mut table).remove(0);
    table.receive(&mut answer(&asked), now);
    table.start(&query("b.example"), 2, || Some(5)).unwrap();
    table.abandon(old, now);
    let asked = sent(&mut table).remove(0);
    assert_eq!(table.receive(&mut answer(&asked), now), Received::Answer(2));
}

#[test]
fn places_are_bounded_and_an_abandoned_one_is_free_at_once() {
    let (mut table, now) = table();
    let mut draw = counting();
    let tickets: Vec<Ticket> = (0..MAX_IN_FLIGHT)
        .map(|_| table.start(&query("x.example"), 0, &mut draw).unwrap())
        .collect();
    assert_eq!(table.start(&query("x.example"), 0, &mut draw), Err(StartError::Full));
    table.abandon(tickets[0], now);
    table.abandon(tickets[0], now);
    table.start(&query("x.example"), 0, &mut draw).unwrap();
    assert_eq!(table.start(&query("x.example"), 0, &mut draw), Err(StartError::Full));
}

#[test]
fn a_server_that_answers_nothing_is_left_when_a_thousand_ids_are_lost() {
    let (mut table, now) = table();
    let mut draw = counting();
    for _ in 0..MAX_ABANDONED {
        let ticket = table.start(&query("x.example"), 0, &mut draw).unwrap();
        table.abandon(ticket, now);
    }
    assert!(!table.is_open());
    assert_eq!(table.start(&query("x.example"), 0, &mut draw), Err(StartError::Closing));
}

#[test]
fn no_random_ids_no_query() {
    let (mut table, _) = table();
    assert_eq!(
        table.start(&query("x.example"), 0, || None),
        Err(StartError::Impossible)
    );
    assert_eq!(table.start(&[1], 0, counting()), Err(StartError::Impossible));
    assert!(sent(&mut table).is_empty());
}

#[test]
fn r7828_2_the_servers_time_bounds_our_idle_time_and_zero_closes_when_done() {
    let (mut table, now) = table();
    assert_eq!(table.idle_deadline(), Some(now + IDLE_LIMIT));
    let mut draw = counting();
    let mut ask = |table: &mut Table, units: Option<u8>| {
        table.start(&query("k.example"), 0, &mut draw).unwrap();
        assert_eq!(table.idle_deadline(), None);
        let asked = sent(table).remove(0);
        let mut response = units.map_or_else(|| answer(&asked), |units| answer_with_keepalive(&asked, units));
        table.receive(&mut response, now);
    };
    ask(&mut table, Some(20));
    assert_eq!(table.idle_deadline(), Some(now + Duration::from_secs(2)));
    ask(&mut table, None);
    assert_eq!(table.idle_deadline(), Some(now + Duration::from_secs(2)));
    table.idle_limit = IDLE_LIMIT;
    table.start(&query("other.example"), 0, counting()).unwrap();
    let other = sent(&mut table).remove(0);
    table.start(&query("zero.example"), 0, || Some(9)).unwrap();
    let zero = sent(&mut table).remove(0);
    table.receive(&mut answer_with_keepalive(&zero, 0), now);
    assert!(!table.is_open());
    assert_eq!(table.idle_deadline(), None, "one is still waiting");
    assert_eq!(table.receive(&mut answer(&other), now), Received::Answer(0));
    assert_eq!(table.idle_deadline(), Some(now));
}

#[derive(Clone, Debug)]
enum Step {
    Start(u8),
    Abandon(usize),
    Answer(usize),
    Garbage(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Start),
        any::<usize>().prop_map(Step::Abandon),
        any::<usize>().prop_map(Step::Answer),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Garbage),
    ]
}

proptest! {
    /// Whatever happens, an answer goes to the asker of that very query, and the books balance. IDs come from a pool
    /// of 64, so that they collide all the time.
    #[test]
    fn nobody_gets_anothers_answer(steps in proptest::collection::vec(step(), 1..200), seed in any::<u16>()) {
        let (mut table, now) = table();
        let mut state = seed;
        let mut draw = move || {
            state = state.wrapping_mul(25_173).wrapping_add(13_849);
            Some(state >> 10)
        };
        let mut running: Vec<(u32, Ticket, Vec<u8>)> = Vec::new();
        let mut waiter = 0;
        for step in steps {
            match step {
                Step::Start(name) => {
                    waiter += 1;
                    if let Ok(ticket) = table.start(&query(&format!("n{name}.example")), waiter, &mut draw) {
                        running.push((waiter, ticket, sent(&mut table).remove(0)));
                    }
                }
                Step::Abandon(index) if !running.is_empty() => {
                    let (_, ticket, _) = running.remove(index % running.len());
                    table.abandon(ticket, now);
                }
                Step::Answer(index) if !running.is_empty() => {
                    let (waiter, ticket, asked) = running.remove(index % running.len());
                    prop_assert_eq!(table.receive(&mut answer(&asked), now), Received::Answer(waiter));
                    table.abandon(ticket, now);
                }
                Step::Garbage(mut octets) => {
                    let received = table.receive(&mut octets, now);
                    prop_assert!(!matches!(received, Received::Answer(_)));
                }
                _ => {}
            }
            prop_assert_eq!(table.waiting, running.len());
            prop_assert_eq!(table.idle_deadline().is_none(), !running.is_empty());
        }
        table.close();
        prop_assert_eq!((table.waiting, table.slots.len(), table.is_open()), (0, 0, false));
    }
}
