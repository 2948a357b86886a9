use super::fake::{Behaviour, Fake};
use super::pool::Pool;
use super::select::Strategy;
use super::*;
use crate::wire::testkit::{A, key};

fn pool(behaviours: &[Behaviour]) -> (Pool, Vec<Arc<Fake>>) {
    pool_with(&Strategy::InOrder, behaviours)
}

fn pool_with(strategy: &Strategy, behaviours: &[Behaviour]) -> (Pool, Vec<Arc<Fake>>) {
    let fakes: Vec<_> = behaviours
        .iter()
        .map(|behaviour| Arc::new(Fake::new(*behaviour)))
        .collect();
    let upstreams = fakes.iter().enumerate().map(|(index, fake)| {
        Arc::new(Upstream::new(
            format!("fake{index}"),
            Arc::clone(fake) as Arc<dyn Exchange>,
            Keepalive::Omit,
        ))
    });
    (
        Pool::new(
            upstreams.collect(),
            strategy,
            TtlLimits {
                min: 0,
                max: 86_400,
                max_negative: 3600,
            },
        ),
        fakes,
    )
}

async fn ask(pool: &Pool) -> Result<(), AskError> {
    let deadline = Instant::now() + Duration::from_millis(4500);
    let result = pool.ask(&key("www.example", A), deadline).await;
    assert!(Instant::now() <= deadline, "in time");
    result.map(|_| ())
}

fn asked(fakes: &[Arc<Fake>]) -> Vec<usize> {
    fakes.iter().map(|fake| fake.asked()).collect()
}

#[tokio::test(start_paused = true)]
async fn in_order_only_the_first_sees_names_while_it_works() {
    let (pool, fakes) = pool(&[Behaviour::Answer, Behaviour::Answer]);
    for _ in 0..5 {
        ask(&pool).await.unwrap();
    }
    assert_eq!(asked(&fakes), [5, 0]);
    assert_eq!(pool.upstreams()[0].stats().queries.value(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_answers_and_of_questions_that_nobody_answered() {
    let (pool, fakes) = pool(&[Behaviour::Broken]);
    let is_told = async |news: &mut (dyn Future<Output = ()> + Unpin)| {
        let told = tokio::time::timeout(Duration::from_millis(1), news).await;
        told.is_ok()
    };
    assert!(!pool.is_down(), "nobody was asked yet");
    assert!(!is_told(&mut Box::pin(pool.has_failed())).await);
    ask(&pool).await.unwrap_err();
    assert_eq!((pool.is_down(), pool.answers()), (true, 0));
    // What happened before the wait is told once.
    assert!(is_told(&mut Box::pin(pool.has_failed())).await && !is_told(&mut Box::pin(pool.has_failed())).await);
    fakes[0].behave(Behaviour::Answer);
    pool.network_changed();
    ask(&pool).await.unwrap();
    assert_eq!((pool.is_down(), pool.answers()), (false, 1));
    assert!(is_told(&mut Box::pin(pool.has_answered())).await);
    assert!(!is_told(&mut Box::pin(pool.has_failed())).await);
}

#[tokio::test(start_paused = true)]
async fn a_broken_upstream_is_passed_over_at_once_and_taken_back_after_a_trial() {
    let (pool, fakes) = pool(&[Behaviour::Broken, Behaviour::Answer]);
    ask(&pool).await.unwrap();
    ask(&pool).await.unwrap();
    assert_eq!(asked(&fakes), [1, 2], "the second query goes to the second at once");
    assert!(!pool.upstreams()[0].is_up());
    assert_eq!(pool.upstreams()[0].stats().last_error().as_deref(), Some("as told"));
    fakes[0].behave(Behaviour::Answer);
    tokio::time::advance(Duration::from_secs(1)).await;
    ask(&pool).await.unwrap();
    ask(&pool).await.unwrap();
    assert_eq!(asked(&fakes), [3, 2]);
    assert_eq!(pool.recoveries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_costs_its_head_start_and_then_counts_as_down() {
    let (pool, fakes) = pool(&[Behaviour::Silent, Behaviour::Answer]);
    let start = Instant::now();
    ask(&pool).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
    ask(&pool).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(3000));
    assert!(!pool.upstreams()[0].is_up());
    ask(&pool).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(3000), "no more waiting");
    assert_eq!(asked(&fakes), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_upstream_may_still_win() {
    let (pool, fakes) = pool(&[Behaviour::Slow(Duration::from_secs(2)), Behaviour::Silent]);
    let start = Instant::now();
    ask(&pool).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(asked(&fakes), [1, 1]);
    assert!(pool.upstreams()[0].is_up());
}

#[tokio::test(start_paused = true)]
async fn all_down_fails_fast_and_is_still_tried() {
    let (pool, fakes) = pool(&[Behaviour::Broken, Behaviour::Broken]);
    let start = Instant::now();
    assert_eq!(ask(&pool).await, Err(AskError::Network));
    assert_eq!(ask(&pool).await, Err(AskError::Network));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(asked(&fakes), [2, 2]);
    fakes[1].behave(Behaviour::Answer);
    ask(&pool).await.unwrap();
    assert_eq!(pool.recoveries(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (pool, _) = pool(&[Behaviour::Silent]);
    assert_eq!(ask(&pool).await, Err(AskError::Silent));
}

#[tokio::test(start_paused = true)]
async fn servfail_is_asked_elsewhere_but_not_a_failed_validation() {
    let (pool, fakes) = pool(&[Behaviour::Fail(2, None), Behaviour::Answer]);
    ask(&pool).await.unwrap();
    assert!(pool.upstreams()[0].is_up(), "a resolver that says SERVFAIL is there");
    fakes[0].behave(Behaviour::Fail(2, Some(6)));
    assert_eq!(
        ask(&pool).await,
        Err(AskError::Failed {
            rcode: Rcode::SERVFAIL,
            ede: Some(Ede(6))
        })
    );
    assert_eq!(asked(&fakes), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_silence_counts_once_and_a_given_up_upstream_has_failed() {
    let (silent, _) = pool(&[Behaviour::Silent, Behaviour::Silent]);
    assert_eq!(ask(&silent).await, Err(AskError::Silent));
    assert_eq!(
        silent
            .upstreams()
            .iter()
            .map(|upstream| upstream.is_up())
            .collect::<Vec<_>>(),
        [true, true]
    );
    let (pool, _) = pool(&[Behaviour::Silent, Behaviour::Answer]);
    ask(&pool).await.unwrap();
    let stats = pool.upstreams()[0].stats();
    assert_eq!((stats.queries.value(), stats.failures.value()), (1, 1));
    assert_eq!(stats.last_error().as_deref(), Some("no answer in time"));
}

#[tokio::test(start_paused = true)]
async fn r8484_8_who_asked_to_be_left_alone_is_not_asked_even_if_alone() {
    let (pool, fakes) = pool(&[Behaviour::Busy(Duration::from_secs(20))]);
    for _ in 0..50 {
        assert_eq!(ask(&pool).await, Err(AskError::Network));
    }
    assert_eq!(asked(&fakes), [1]);
    fakes[0].behave(Behaviour::Answer);
    tokio::time::advance(Duration::from_secs(20)).await;
    ask(&pool).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r8484_8_nor_is_it_asked_by_a_question_that_was_under_way() {
    let (pool, fakes) = pool(&[Behaviour::Silent, Behaviour::Busy(Duration::from_secs(20))]);
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&pool).await
    };
    let (first, second) = tokio::join!(ask(&pool), later);
    assert_eq!((first, second), (Err(AskError::Network), Err(AskError::Silent)));
    assert_eq!(asked(&fakes), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn r9520_2_a_question_is_put_to_each_upstream_once() {
    for behaviour in [
        Behaviour::Broken,
        Behaviour::Garbage,
        Behaviour::Silent,
        Behaviour::Fail(2, None),
    ] {
        let (pool, fakes) = pool(&[behaviour; 3]);
        ask(&pool).await.unwrap_err();
        assert_eq!(asked(&fakes), [1, 1, 1], "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_telling_failure_is_reported() {
    let (pool, _) = pool(&[Behaviour::Fail(5, None), Behaviour::Broken, Behaviour::Garbage]);
    assert_eq!(
        ask(&pool).await,
        Err(AskError::Failed {
            rcode: Rcode::REFUSED,
            ede: None
        })
    );
}

#[tokio::test(start_paused = true)]
async fn promise_2_the_upstream_gets_the_question_key_and_no_more() {
    let (pool, fakes) = pool(&[Behaviour::NxDomain]);
    ask(&pool).await.unwrap();
    let query = fakes[0].queries().remove(0);
    assert_eq!(query.len(), 128);
    let mut expected = [0; MAX_QUERY_LEN];
    let len = key("WWW.Example", A).write_query(Keepalive::Omit, &mut expected);
    assert_eq!(query, expected[..len]);
}

#[tokio::test(start_paused = true)]
async fn r9520_3_a_change_of_network_voids_failures_only_if_somebody_was_down() {
    let (pool, fakes) = pool(&[Behaviour::Broken, Behaviour::Answer]);
    pool.network_changed();
    assert_eq!((pool.recoveries(), fakes[0].changes()), (0, 1), "nobody was down");
    tokio::time::advance(Duration::from_secs(2)).await;
    ask(&pool).await.unwrap();
    fakes[0].behave(Behaviour::Answer);
    tokio::time::advance(Duration::from_millis(10)).await;
    ask(&pool).await.unwrap();
    assert_eq!(asked(&fakes), [1, 2], "the first is down");
    pool.network_changed();
    assert_eq!((pool.recoveries(), fakes[0].changes()), (1, 2));
    ask(&pool).await.unwrap();
    assert_eq!(asked(&fakes), [2, 2], "the first has its trial");
    assert_eq!(fakes[1].changes(), 2, "all are told");
}

fn names(range: std::ops::Range<u32>) -> impl Iterator<Item = QuestionKey> {
    range.map(|n| key(&format!("www.site{n}.example"), A))
}

async fn ask_for(pool: &Pool, key: &QuestionKey) -> Result<(), AskError> {
    let deadline = Instant::now() + Duration::from_millis(4500);
    pool.ask(key, deadline).await.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn fastest_asks_the_faster_one_and_tries_the_slower_one_again() {
    let slow = Behaviour::Slow(Duration::from_millis(60));
    let (pool, fakes) = pool_with(&Strategy::Fastest, &[slow, Behaviour::Slow(Duration::from_millis(20))]);
    for key in names(0..1_000) {
        ask_for(&pool, &key).await.unwrap();
    }
    let [first, second] = asked(&fakes)[..] else { panic!() };
    // Twenty seconds: three times as slow is tried about every fifteen.
    assert!((1..10).contains(&first) && second > 990, "{first} {second}");
    fakes[0].behave(Behaviour::Slow(Duration::from_millis(5)));
    for key in names(0..4_000) {
        ask_for(&pool, &key).await.unwrap();
    }
    assert!(
        asked(&fakes)[0] > 2_000,
        "it became the faster one: {:?}",
        asked(&fakes)
    );
}

#[tokio::test(start_paused = true)]
async fn fastest_makes_nobody_wait_for_one_that_is_on_trial() {
    let fast = Behaviour::Slow(Duration::from_millis(20));
    let (pool, fakes) = pool_with(&Strategy::Fastest, &[Behaviour::Broken, fast]);
    for key in names(0..5) {
        ask_for(&pool, &key).await.unwrap();
    }
    assert_eq!(asked(&fakes), [1, 5]);
    fakes[0].behave(Behaviour::Silent);
    for key in names(0..600) {
        let start = Instant::now();
        ask_for(&pool, &key).await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(21), "{:?}", start.elapsed());
        tokio::time::advance(Duration::from_millis(180)).await;
    }
    // Two minutes of trials that grow apart to one in thirty seconds.
    assert!((5..12).contains(&fakes[0].asked()), "{:?}", asked(&fakes));
    fakes[0].behave(Behaviour::Answer);
    tokio::time::advance(Duration::from_secs(30)).await;
    for key in names(0..3) {
        ask_for(&pool, &key).await.unwrap();
    }
    assert!(pool.upstreams()[0].is_up());
}

#[tokio::test(start_paused = true)]
async fn fastest_does_not_take_a_quick_failure_for_speed() {
    let behaviours = [Behaviour::Fail(2, None), Behaviour::Slow(Duration::from_millis(30))];
    let (pool, fakes) = pool_with(&Strategy::Fastest, &behaviours);
    for key in names(0..1_000) {
        ask_for(&pool, &key).await.unwrap();
    }
    assert!(fakes[0].asked() < 30, "{:?}", asked(&fakes));
}

#[tokio::test(start_paused = true)]
async fn spread_shows_each_domain_to_one_resolver_and_gives_it_back_after_an_outage() {
    let (pool, fakes) = pool_with(&Strategy::Spread([7; 32]), &[Behaviour::Answer; 3]);
    let seen = |fakes: &[Arc<Fake>]| -> Vec<Vec<Vec<u8>>> {
        let questions = |fake: &Arc<Fake>| fake.queries().iter().map(|query| query[12..40].to_vec()).collect();
        fakes.iter().map(questions).collect()
    };
    for key in names(0..60) {
        ask_for(&pool, &key).await.unwrap();
    }
    let before = seen(&fakes);
    assert!(
        before.iter().all(|questions| questions.len() > 8),
        "{:?}",
        asked(&fakes)
    );
    fakes[1].behave(Behaviour::Broken);
    for key in names(0..60) {
        ask_for(&pool, &key).await.unwrap();
    }
    fakes[1].behave(Behaviour::Answer);
    tokio::time::advance(Duration::from_secs(31)).await;
    let third = seen(&fakes);
    for key in names(0..60) {
        ask_for(&pool, &key).await.unwrap();
    }
    let after = seen(&fakes);
    for at in [0, 2] {
        assert_eq!(
            after[at][third[at].len()..],
            before[at],
            "the others have what they had"
        );
    }
    assert_eq!(
        after[1][third[1].len()..],
        before[1],
        "and so has the one that was down"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_change_of_network_the_best_two_are_connected_to_and_only_while_people_ask() {
    let (pool, fakes) = pool(&[
        Behaviour::Broken,
        Behaviour::Answer,
        Behaviour::Answer,
        Behaviour::Answer,
    ]);
    let warmed = || fakes.iter().map(|fake| fake.warmed()).collect::<Vec<_>>();
    pool.network_changed();
    assert_eq!(warmed(), [0, 0, 0, 0], "nobody has asked yet");
    ask(&pool).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    pool.network_changed();
    // A change of network is a trial for the one that was down.
    assert_eq!(warmed(), [1, 1, 0, 0]);
    tokio::time::advance(Duration::from_secs(61)).await;
    pool.network_changed();
    assert_eq!(warmed(), [1, 1, 0, 0], "nobody asks any more");
    assert_eq!(asked(&fakes), [1, 1, 0, 0], "no name is raced");
}
