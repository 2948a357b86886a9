//! What happens when a connection falls silent, ends, or stands on another network than ours.

use super::*;

fn silent() -> Dial {
    Dial::Open(vec![Act::Hold; 100])
}

/// The rig's connection, oldest first.
fn connection(rig: &Rig, index: usize) -> Arc<Fake> {
    Arc::clone(&rig.world.opened.lock().unwrap()[index])
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_connection_that_falls_silent_is_succeeded_and_its_query_answered() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(250), 2));
    assert_eq!((rig.stats.hedged.value(), rig.stats.doubted.value()), (1, 1));
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!(
        (start.elapsed(), rig.dialled()),
        (ms(0), 2),
        "the successor takes the next one"
    );
}

#[tokio::test(start_paused = true)]
async fn t_silent_all_who_wait_on_a_dead_connection_move_when_its_successor_answers() {
    let mut acts = vec![Act::Answer];
    acts.extend([Act::Hold; 100]);
    let rig = rig([Dial::Open(acts)]);
    rig.ask().await.unwrap();
    let mut askers = JoinSet::new();
    let start = Instant::now();
    for _ in 0..100 {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert_eq!((start.elapsed(), rig.dialled()), (ms(250), 3), "and a third stands by");
    assert!(rig.stats.hedged.value() <= 10, "{} hedged", rig.stats.hedged.value());
    assert!(rig.stats.resent.value() >= 90);
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_resolver_that_never_answers_is_dialled_ever_more_rarely() {
    let rig = rig(vec![silent(); 100]);
    for _ in 0..2 {
        assert_eq!(rig.ask().await.unwrap_err().kind, Silent);
    }
    let before = rig.dialled();
    let start = Instant::now();
    while start.elapsed() < ms(60_000) {
        assert!(rig.ask().await.is_err());
    }
    let dials = rig.dialled() - before;
    assert!((10..=100).contains(&dials), "{dials} dials in a minute");
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_resolver_that_comes_back_is_found_within_a_second() {
    let rig = rig(vec![silent(); 20]);
    let mut askers = JoinSet::new();
    while !rig.world.dials.lock().unwrap().is_empty() {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
        sleep(ms(50)).await;
    }
    let back = Instant::now();
    while rig.ask_within(ms(4_500)).await.is_err() {}
    assert!(back.elapsed() < ms(1_000), "{:?}", back.elapsed());
}

/// Pings, empty frames, an answer that drips: for 4.5 seconds each query heard them and believed in an answer, for ever.
#[tokio::test(start_paused = true)]
async fn t_silent_octets_that_answer_nothing_excuse_a_connection_only_for_a_while() {
    let mut acts = vec![Act::Answer];
    acts.extend([Act::Drip; 100]);
    let rig = rig([Dial::Open(acts)]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(500), 2));
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!(start.elapsed(), ms(0), "the successor takes the next one");
}

/// The drip goes on, and is no reason to trust the connection again.
#[tokio::test(start_paused = true)]
async fn t_silent_a_connection_that_drips_is_not_asked_again() {
    let mut acts = vec![Act::Answer];
    acts.extend([Act::Drip; 100]);
    let rig = rig([Dial::Open(acts), Dial::Slow(ms(500))]);
    rig.ask().await.unwrap();
    let link = Arc::clone(&rig.link);
    let dripped = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(800)).await;
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!(start.elapsed(), ms(200), "it waited for the successor");
    dripped.await.unwrap().unwrap();
}

/// Two connections, both dead, and one query at a time: the second one is found out by the query that was hedged to it.
#[tokio::test(start_paused = true)]
async fn t_silent_where_a_hedge_heard_nothing_the_query_goes_on_to_a_third_connection() {
    let mut acts = vec![Act::Answer];
    acts.extend([Act::Hold; 100]);
    let rig = rig([Dial::Open(acts), silent()]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert!(start.elapsed() <= ms(800), "{:?}", start.elapsed());
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!(start.elapsed(), ms(0), "the next one is asked there at once");
}

/// Whatever dies: nobody sends a query a fourth time.
#[tokio::test(start_paused = true)]
async fn r9520_2_a_query_is_sent_three_times_at_most() {
    let rig = rig(vec![silent(); 100]);
    for asked in 1..=20 {
        rig.ask().await.unwrap_err();
        let sends = asked + rig.stats.hedged.value() + rig.stats.resent.value();
        assert!(sends <= 3 * asked, "{sends} sends of {asked} queries");
    }
}

#[tokio::test(start_paused = true)]
async fn one_slow_name_among_answered_ones_costs_no_connection() {
    let rig = rig([Dial::Open(vec![Act::After(ms(1_400)), Act::Answer])]);
    let link = Arc::clone(&rig.link);
    let slow = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(10)).await;
    rig.ask().await.unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!((rig.dialled(), rig.stats.hedged.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_ends_the_doubt() {
    // Its successor takes long; the connection was only slow.
    let rig = rig([Dial::Open(vec![Act::Answer, Act::After(ms(300))]), Dial::Slow(ms(600))]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    let link = Arc::clone(&rig.link);
    let slow = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(260)).await;
    rig.ask().await.unwrap();
    assert_eq!(start.elapsed(), ms(300), "it waited for the sign of life");
    slow.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn hedges_go_to_a_connection_that_stands_by_and_stay_within_the_budget() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    rig.ask().await.unwrap();
    rig.ask().await.unwrap();
    // The dead one is gone; because there was trouble, a second one stands by again.
    rig.ask().await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(rig.dialled(), 3);
    let first = connection(&rig, 1);
    for _ in 0..1_000 {
        first.acts.lock().unwrap().push_back(Act::After(ms(100)));
    }
    let before = rig.stats.hedged.value();
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert!(start.elapsed() <= ms(25), "{:?}", start.elapsed());
    for _ in 0..999 {
        rig.ask().await.unwrap();
    }
    let hedged = rig.stats.hedged.value() - before;
    assert!((1..=62).contains(&hedged), "{hedged} of 1,000");
}

#[tokio::test(start_paused = true)]
async fn r9113_1_a_goodbye_while_people_browse_opens_the_next_connection_at_once() {
    let rig = rig([]);
    rig.ask().await.unwrap();
    sleep(ms(20_000)).await;
    connection(&rig, 0).close();
    sleep(ms(1)).await;
    assert_eq!(rig.dialled(), 2);
    sleep(ms(70_000)).await;
    connection(&rig, 1).close();
    sleep(ms(1)).await;
    assert_eq!(rig.dialled(), 2, "nobody browses any more");
    rig.ask().await.unwrap();
    assert_eq!(rig.dialled(), 3);
}

#[tokio::test(start_paused = true)]
async fn r7858_2_a_server_with_four_seconds_of_patience_is_not_dialled_for_nothing() {
    let rig = rig([]);
    for n in 0..10 {
        rig.ask().await.unwrap();
        sleep(ms(4_000)).await;
        connection(&rig, n).close();
        sleep(ms(1_000)).await;
    }
    assert_eq!(rig.dialled(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_worn_connection_gets_a_successor_before_it_ends() {
    let rig = rig([]);
    rig.ask().await.unwrap();
    for _ in 0..61 {
        sleep(ms(60_000)).await;
        rig.ask().await.unwrap();
    }
    assert_eq!(rig.dialled(), 1, "one handshake an hour at most");
    for _ in 0..60 {
        sleep(ms(60_000)).await;
        rig.ask().await.unwrap();
    }
    sleep(ms(1)).await;
    assert_eq!((rig.dialled(), rig.closed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn t_queue_a_crowded_connection_is_given_company() {
    let rig = rig([]);
    rig.ask().await.unwrap();
    connection(&rig, 0).crowded.store(true, Ordering::SeqCst);
    rig.ask().await.unwrap();
    sleep(ms(1)).await;
    let second = connection(&rig, 1);
    assert_eq!(second.reads(), 0);
    rig.ask().await.unwrap();
    assert_eq!((second.reads(), rig.dialled()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lost_its_path_is_left_at_once_with_all_who_wait_on_it() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    rig.ask().await.unwrap();
    let link = Arc::clone(&rig.link);
    let held = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(10)).await;
    rig.link.network_changed();
    sleep(ms(10)).await;
    assert_eq!(rig.dialled(), 1, "its path is as it was");
    connection(&rig, 0).lost.store(true, Ordering::SeqCst);
    let start = Instant::now();
    rig.link.network_changed();
    held.await.unwrap().unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(0), 2));
}

#[tokio::test(start_paused = true)]
async fn a_dial_on_the_old_network_begins_anew_and_no_pause_holds() {
    let rig = rig([Dial::Slow(ms(600)), Dial::Slow(ms(100))]);
    let link = Arc::clone(&rig.link);
    let asker = tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    sleep(ms(50)).await;
    let start = Instant::now();
    rig.link.network_changed();
    asker.await.unwrap().unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(100), 2));
}

#[tokio::test(start_paused = true)]
async fn a_silent_dial_gets_another_one_beside_it() {
    let rig = rig([Dial::Slow(ms(100_000))]);
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(700), 2));
}

#[tokio::test(start_paused = true)]
async fn t_silent_a_connection_that_stood_by_and_died_with_the_first_is_succeeded_too() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    for _ in 0..3 {
        rig.ask().await.unwrap();
    }
    sleep(ms(1)).await;
    assert_eq!(rig.dialled(), 3, "one stands by");
    for index in [1, 2] {
        connection(&rig, index).acts.lock().unwrap().extend([Act::Hold; 10]);
    }
    let (start, hedged) = (Instant::now(), rig.stats.hedged.value());
    rig.ask().await.unwrap();
    assert_eq!(
        (start.elapsed(), rig.dialled()),
        (ms(270), 4),
        "hedged after 20 ms, 250 ms for that one"
    );
    assert_eq!(rig.stats.hedged.value() - hedged, 2, "R9520-2: three sends in all");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_does_not_go_where_its_query_waits_already() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    for _ in 0..3 {
        rig.ask().await.unwrap();
    }
    sleep(ms(1)).await;
    for index in [1, 2] {
        connection(&rig, index).acts.lock().unwrap().extend([Act::Hold; 10]);
    }
    let mut askers = JoinSet::new();
    let start = Instant::now();
    // The first is hedged after 20 ms. Then several wait on the one that stood by, and put it in doubt before the first one is.
    for time in [0, 21, 21, 21, 21, 21] {
        sleep_until(start + ms(time)).await;
        connection(&rig, 1).crowded.store(time > 0, Ordering::SeqCst);
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert!(start.elapsed() < ms(700), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_final_on_a_hedge_is_final() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold]), Dial::Open(vec![Act::Fail])]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    assert_eq!(rig.ask().await.unwrap_err().detail, "not ours");
    assert_eq!((start.elapsed(), rig.dialled()), (ms(250), 2));
}

#[tokio::test(start_paused = true)]
async fn a_doubt_makes_all_look_again_who_wait_on_the_connection() {
    // The first is answered beside the second, which is slow then; the third puts the connection in doubt.
    let acts = vec![Act::Answer, Act::After(ms(30)), Act::Hold, Act::Hold];
    let rig = rig([Dial::Open(acts), Dial::Slow(ms(100))]);
    rig.ask().await.unwrap();
    let mut askers = JoinSet::new();
    let start = Instant::now();
    for time in [0, 10, 100] {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move {
            sleep(ms(time)).await;
            link.exchange(b"query", Instant::now() + ms(4_500)).await
        });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), ms(600), "250 ms after the doubt, not at 1,760 ms");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_on_a_connection_that_closes_is_not_the_last() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold]), Dial::Open(vec![Act::Close])]);
    rig.ask().await.unwrap();
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.dialled()), (ms(500), 3));
}

#[tokio::test(start_paused = true)]
async fn the_first_queries_wait_for_the_first_answer() {
    let rig = rig([Dial::Open(vec![Act::After(ms(100)); 8])]);
    let mut askers = JoinSet::new();
    for _ in 0..8 {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert_eq!((rig.dialled(), rig.stats.doubted.value()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stood_still_does_not_make_its_resolver_slow() {
    let acts = [vec![Act::After(ms(40)); 20], vec![Act::After(ms(2_000)); 40]].concat();
    let hangs = vec![Dial::Slow(ms(100_000)); 8];
    let rig = rig([vec![Dial::Open(acts)], hangs].concat());
    for _ in 0..20 {
        rig.ask().await.unwrap();
    }
    let mut askers = JoinSet::new();
    for _ in 0..40 {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(rig.link.rtt.suspect_after(), ms(250));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_stands_in_line_is_not_asked_elsewhere_and_says_nothing_of_the_resolver() {
    let steady = vec![Act::After(ms(40)); 21];
    let line = [Act::InLine(ms(700), ms(40)), Act::InLine(ms(700), ms(200))];
    let rig = rig([
        Dial::Open([steady.clone(), line.to_vec()].concat()),
        Dial::Open(vec![Act::After(ms(40)); 20]),
    ]);
    for _ in 0..20 {
        rig.ask().await.unwrap();
    }
    // Another one stands by.
    connection(&rig, 0).crowded.store(true, Ordering::SeqCst);
    rig.ask().await.unwrap();
    connection(&rig, 0).crowded.store(false, Ordering::SeqCst);
    assert_eq!(rig.dialled(), 2);
    // Others are answered meanwhile: the line moves.
    let busy = connection(&rig, 0);
    let others = tokio::spawn(async move {
        loop {
            sleep(ms(10)).await;
            busy.reads.fetch_add(1, Ordering::SeqCst);
        }
    });
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!((start.elapsed(), rig.stats.hedged.value()), (ms(740), 0));
    others.abort();
    // One that stands in a line that does not move is asked elsewhere like any other.
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert!(start.elapsed() < ms(200), "{:?}", start.elapsed());
    assert_eq!((rig.stats.hedged.value(), rig.stats.doubted.value()), (1, 0));
}

/// A resolver nearby that answers from its cache in a millisecond takes a hundred for names that it must look up itself. All of them at once
/// were doubted after 20 ms, on one new connection after another, until there was a pause between dials: SERVFAIL for every fifth name.
#[tokio::test(start_paused = true)]
async fn a_burst_of_names_that_take_long_at_a_fast_resolver_is_answered() {
    let first = [vec![Act::After(ms(1)); 20], vec![Act::After(ms(100)); 50]].concat();
    let rig = rig([
        vec![Dial::Open(first)],
        vec![Dial::Open(vec![Act::After(ms(100)); 50]); 20],
    ]
    .concat());
    for _ in 0..20 {
        rig.ask().await.unwrap();
    }
    let mut askers = JoinSet::new();
    for _ in 0..50 {
        let link = Arc::clone(&rig.link);
        askers.spawn(async move { link.exchange(b"query", Instant::now() + ms(4_500)).await });
    }
    assert!(askers.join_all().await.iter().all(Result::is_ok));
    assert!(rig.dialled() <= 2, "{} connections", rig.dialled());
}
