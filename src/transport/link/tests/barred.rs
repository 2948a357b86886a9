//! Where packets may not leave: the link of a route is gone, or its way leads elsewhere.

use super::*;

impl Rig {
    /// The way is another now, or none at all.
    fn moves(&self, is_barred: bool) {
        self.world.barred.store(is_barred, Ordering::SeqCst);
        for fake in self.world.opened.lock().unwrap().iter() {
            fake.lost.store(true, Ordering::SeqCst);
        }
        self.link.network_changed();
    }

    async fn fails_at_once(&self, asked: impl Future<Output = Result<Response, ExchangeError>>) {
        let start = Instant::now();
        let error = asked.await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (Network, "the way is barred"));
        assert_eq!(start.elapsed(), ms(0));
    }

    fn asking(&self) -> tokio::task::JoinHandle<Result<Response, ExchangeError>> {
        let link = Arc::clone(&self.link);
        tokio::spawn(async move { link.exchange(b"query", Instant::now() + ms(5_000)).await })
    }
}

#[tokio::test(start_paused = true)]
async fn p1_a_barred_way_ends_questions_at_once_and_is_dialled_anew_when_it_is_back() {
    let rig = rig([Dial::Open(vec![Act::Answer, Act::Hold])]);
    rig.ask().await.unwrap();
    let waiting = rig.asking();
    sleep(ms(10)).await;
    rig.moves(true);
    rig.fails_at_once(async { waiting.await.unwrap() }).await;
    for _ in 0..20 {
        rig.fails_at_once(rig.ask()).await;
    }
    assert_eq!((rig.dialled(), rig.closed()), (1, 1));
    assert!(rig.link.is_in_doubt());
    rig.moves(false);
    let start = Instant::now();
    rig.ask().await.unwrap();
    assert_eq!(
        (start.elapsed(), rig.dialled()),
        (ms(0), 2),
        "and no pause is left over"
    );
}

#[tokio::test(start_paused = true)]
async fn p1_a_question_does_not_wait_for_word_that_the_network_changed() {
    let rig = rig([]);
    rig.ask().await.unwrap();
    rig.world.barred.store(true, Ordering::SeqCst);
    rig.fails_at_once(rig.ask()).await;
    assert!(rig.link.is_in_doubt(), "an open connection is no use");
    rig.world.barred.store(false, Ordering::SeqCst);
    rig.ask().await.unwrap();
    assert_eq!(rig.dialled(), 1, "the way was the same all the time");
}

#[tokio::test(start_paused = true)]
async fn p1_a_dial_under_way_ends_with_the_way() {
    let rig = rig([Dial::Slow(ms(3_000))]);
    let waiting = rig.asking();
    sleep(ms(10)).await;
    rig.moves(true);
    rig.fails_at_once(async { waiting.await.unwrap() }).await;
}

#[tokio::test(start_paused = true)]
async fn p1_questions_on_connections_that_gave_way_end_too() {
    let rig = rig(vec![Dial::Open(vec![Act::Hold; 9]); 9]);
    let waiting: Vec<_> = (0..3).map(|_| rig.asking()).collect();
    sleep(ms(3_000)).await;
    assert!(rig.dialled() > 2, "more than are kept");
    rig.moves(true);
    let start = Instant::now();
    for asked in waiting {
        assert_eq!(asked.await.unwrap().unwrap_err().kind, Network);
    }
    assert_eq!(start.elapsed(), ms(0));
}
