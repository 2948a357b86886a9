use super::fake::{Behaviour, Fake};
use super::pool::Pool;
use super::*;
use crate::wire::testkit::{A, key};

fn pool(behaviours: &[Behaviour]) -> (Pool, Vec<Arc<Fake>>) {
    let fakes: Vec<_> = behaviours
        .iter()
        .map(|behaviour| Arc::new(Fake::new(*behaviour)))
        .collect();
    let upstreams = fakes.iter().enumerate().map(|(index, fake)| {
        Upstream::new(
            format!("fake{index}"),
            Arc::clone(fake) as Arc<dyn Exchange>,
            Keepalive::Omit,
        )
    });
    (
        Pool::new(
            upstreams.collect(),
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
        silent.upstreams().iter().map(Upstream::is_up).collect::<Vec<_>>(),
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
