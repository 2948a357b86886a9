//! Several resolvers in order (promise 4).

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, SERVFAIL, tick};
use crate::daemon::{CA, Config, free_port};
use crate::script::{Reply, normal};
use crate::upstream::{SERVER_NAME, Upstream};

/// An address where nobody listens.
fn nobody() -> String {
    format!("tls://{SERVER_NAME}:{}", free_port().port())
}

#[test]
fn the_second_resolver_sees_no_name_while_the_first_answers() {
    let (first, second) = (Upstream::honest(), Upstream::honest());
    let daemon = Config::new().dot(&first).doh(&second).start();
    for i in 0..50 {
        assert_eq!(Ask::new(&format!("n{i}.example"), A).udp(daemon.dns).rcode(), 0);
    }
    assert_eq!((first.heard().len(), second.heard().len()), (50, 0));
}

#[test]
fn the_second_resolver_is_asked_when_the_first_is_down() {
    let second = Upstream::honest();
    let daemon = Config::new().upstream(&nobody(), CA).doh(&second).start();
    for i in 0..10 {
        let begin = Instant::now();
        assert_eq!(Ask::new(&format!("n{i}.example"), A).udp(daemon.dns).rcode(), 0);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(second.heard().len(), 10);
}

#[test]
fn the_second_resolver_is_asked_when_the_first_fails() {
    for fault in [|| Reply::Close, || Reply::Silence, || Reply::Dns(b"garbage".to_vec())] {
        let first = Upstream::start(move |_| fault());
        let second = Upstream::honest();
        let daemon = Config::new().dot(&first).dot(&second).start();
        let begin = Instant::now();
        assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), 0);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(second.heard().len(), 1);
    }
}

#[test]
fn all_down_is_servfail_with_its_reason_in_time() {
    let daemon = Config::new().upstream(&nobody(), CA).upstream(&nobody(), CA).start();
    for i in 0..5 {
        let begin = Instant::now();
        let response = Ask::new(&format!("n{i}.example"), A).edns().udp(daemon.dns);
        assert_eq!((response.rcode(), response.ede()), (SERVFAIL, Some(23)));
        assert!(begin.elapsed() < Duration::from_millis(5500));
    }
}

#[test]
fn a_resolver_that_comes_back_is_asked_again() {
    // R9520-2: three tries of one question at the most, so the first asker fails.
    let upstream = Upstream::start(|heard| if heard.nth < 3 { Reply::Close } else { normal(heard) });
    let daemon = Config::new().dot(&upstream).start();
    assert_eq!(Ask::new("www.example", A).udp(daemon.dns).rcode(), SERVFAIL);
    let begin = Instant::now();
    while Ask::new("www.example", A).udp(daemon.dns).rcode() != 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(15),
            "still failing after {:?}",
            begin.elapsed()
        );
        tick();
    }
}
