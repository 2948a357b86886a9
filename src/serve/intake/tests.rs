use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::os::socket::Transport;
use crate::serve::Network;
use crate::serve::tests::support::{FakeUpstream, Query as Ask, Response, test_resolver};

/// Queries a second of one network; twice as many at once.
const RATE: NonZeroU32 = NonZeroU32::new(10).unwrap();

fn gate(allow: &[Network], rate_limit: Option<RateLimit>) -> Gate {
    Gate {
        access: AccessList::new(allow),
        rate_limit,
    }
}

struct Desk {
    intake: Intake,
    /// When every message comes.
    now: Instant,
    resolver: Arc<Resolver>,
    tally: Tally,
}

impl Desk {
    fn new(allow: &[&str]) -> Self {
        let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        let start = Instant::now();
        let rate_limit = RateLimit::new(RATE, start);
        Self {
            intake: Intake::new(gate(&allow, Some(rate_limit)), Arc::default()),
            now: start,
            resolver: test_resolver(&FakeUpstream::new()),
            tally: Tally::default(),
        }
    }

    fn ask(&mut self, client: &str, octets: &[u8], via: Via) -> (Step, Vec<u8>) {
        self.ask_at("192.168.0.1", client, octets, via)
    }

    fn ask_at(&mut self, asked_at: &str, client: &str, octets: &[u8], via: Via) -> (Step, Vec<u8>) {
        let message = Message {
            octets,
            client: from(client, asked_at),
            via,
            received: self.now,
        };
        let mut out = vec![0; 1232];
        let step = self.intake.answer(&self.resolver, message, &mut out, &mut self.tally);
        out.truncate(if let Step::Done(len) = step { len } else { 0 });
        self.tally.flush(&self.intake.stats, Transport::Udp, Duration::ZERO);
        (step, out)
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.intake.stats.queries(Transport::Udp, outcome)
    }
}

#[test]
fn t_amp_who_may_not_ask_is_refused_with_the_reason() {
    let mut desk = Desk::new(&["192.168.0.0/16"]);
    let ask = Ask::new("quick.example").with_edns(1232);
    for stranger in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::9"] {
        let (step, out) = desk.ask(stranger, &ask.octets(7), Via::Udp);
        assert!(matches!(step, Step::Done(_)));
        let response = Response::read(&out);
        assert_eq!(
            (response.id, response.rcode, response.ede),
            (7, Rcode::REFUSED, Some(Ede::PROHIBITED))
        );
    }
    for friend in ["192.168.3.4", "::ffff:192.168.3.4", "127.0.0.1", "::1"] {
        let (step, _) = desk.ask(friend, &ask.octets(7), Via::Udp);
        assert!(matches!(step, Step::Wait(_)), "{friend}");
    }
    assert_eq!((desk.count(Outcome::Rejected), desk.count(Outcome::Miss)), (3, 4));
    assert_eq!(desk.intake.stats.responses(Some(Rcode::REFUSED)), 3);
}

#[test]
fn t_amp_t_spoof_a_network_that_asks_too_much_over_udp_is_sent_to_tcp() {
    let mut desk = Desk::new(&["192.168.0.0/16"]);
    let ask = Ask::new("quick.example").with_edns(1232).octets(7);
    for _ in 0..RATE.get() {
        for client in ["192.168.7.1", "::ffff:192.168.7.9"] {
            let (step, _) = desk.ask(client, &ask, Via::Udp);
            assert!(matches!(step, Step::Wait(_)));
        }
    }
    let client = "192.168.7.1";
    for _ in 0..5 {
        let (_, out) = desk.ask(client, &ask, Via::Udp);
        let response = Response::read(&out);
        assert_eq!(
            (response.id, response.rcode, response.len),
            (7, Rcode::NOERROR, ask.len())
        );
        assert!(response.is_truncated && response.answers == 0);
    }
    let (step, _) = desk.ask(client, &ask, Via::Tcp { keepalive: 100 });
    assert!(matches!(step, Step::Wait(_)), "over TCP the address is proven");
    let (_, out) = desk.ask("10.0.0.1", &ask, Via::Udp);
    assert_eq!(Response::read(&out).rcode, Rcode::REFUSED, "who may not ask is told so");
    assert_eq!(
        (desk.intake.stats.limited.value(), desk.count(Outcome::Rejected)),
        (5, 6)
    );
    // What would be refused, or cannot be read, is answered at the rate and not beyond: a victim's address may be on it.
    let broken = &ask[..ask.len() - 3];
    let answered = |desk: &mut Desk, client: &str, octets: &[u8]| {
        let asked = 0..4 * RATE.get();
        asked
            .filter(|_| !desk.ask(client, octets, Via::Udp).1.is_empty())
            .count()
    };
    let at_once = 2 * RATE.get() as usize;
    assert_eq!(answered(&mut desk, "10.0.0.2", &ask), at_once - 1);
    assert_eq!(answered(&mut desk, "10.1.0.1", broken), at_once);
    assert_eq!(answered(&mut desk, "192.168.7.1", broken), 0);
    assert_eq!(answered(&mut desk, "127.0.0.1", broken), 4 * RATE.get() as usize);
    desk.now += Duration::from_secs(1);
    let (step, _) = desk.ask(client, &ask, Via::Udp);
    assert!(matches!(step, Step::Wait(_)), "a second later");
}

#[test]
fn this_host_asks_as_much_as_it_likes_and_so_does_everybody_without_a_rate() {
    let mut desk = Desk::new(&["192.168.0.0/16"]);
    let ask = Ask::new("quick.example").octets(7);
    for number in 0..10 * RATE.get() {
        for client in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let (step, _) = desk.ask(client, &ask, Via::Udp);
            assert!(matches!(step, Step::Wait(_)), "{client}, {number}");
        }
    }
    desk.intake.gate.get_mut().unwrap().rate_limit = None;
    for number in 0..10 * RATE.get() {
        let (step, _) = desk.ask("192.168.7.1", &ask, Via::Udp);
        assert!(matches!(step, Step::Wait(_)), "{number}");
    }
    assert_eq!(desk.intake.stats.limited.value(), 0);
}

#[test]
fn an_extended_rcode_is_counted_in_full() {
    let mut desk = Desk::new(&[]);
    let (_, out) = desk.ask(
        "::1",
        &Ask::new("quick.example").with_edns_version(1).octets(1),
        Via::Udp,
    );
    assert_eq!(Response::read(&out).rcode, Rcode::BADVERS);
    assert_eq!(desk.intake.stats.responses(Some(Rcode::BADVERS)), 1);
    assert_eq!(desk.intake.stats.responses(Some(Rcode::NOERROR)), 0);
}

#[test]
fn more_waiting_queries_than_the_limit_are_told_so_at_once() {
    let mut desk = Desk::new(&[]);
    let ask = Ask::new("quick.example").octets(1);
    let mut waiting = Vec::new();
    let last = loop {
        match desk.ask("::1", &ask, Via::Udp) {
            (Step::Wait(one), _) => waiting.push(one),
            (Step::Done(_) | Step::DoneThenRefresh(..), out) => break out,
        }
    };
    assert_eq!(waiting.len(), 32_768);
    assert_eq!(Response::read(&last).rcode, Rcode::SERVFAIL);
    assert_eq!((desk.count(Outcome::Miss), desk.intake.stats.shed.value()), (32_769, 1));
    waiting.pop();
    assert!(
        matches!(desk.ask("::1", &ask, Via::Udp).0, Step::Wait(_)),
        "one place is free again"
    );
}

#[test]
fn a_long_message_takes_its_length_in_places() {
    let desk = Desk::new(&[]);
    let places: Vec<_> = std::iter::from_fn(|| desk.intake.place(65_535)).collect();
    assert_eq!(places.len(), MAX_WAITING_KIB / (63 + 2));
}

#[test]
fn who_may_ask_can_change_while_serving() {
    let mut desk = Desk::new(&["192.168.0.0/16"]);
    let ask = Ask::new("quick.example").octets(1);
    let is_refused = |desk: &mut Desk, client: &str| matches!(desk.ask(client, &ask, Via::Udp).0, Step::Done(_));
    assert_eq!(
        ["192.168.3.4", "10.0.0.1", "::1"].map(|client| is_refused(&mut desk, client)),
        [false, true, false]
    );
    desk.intake.set_gate(gate(&["10.0.0.0/8".parse().unwrap()], None));
    assert_eq!(
        ["192.168.3.4", "10.0.0.1", "::1"].map(|client| is_refused(&mut desk, client)),
        [true, false, false]
    );
    let admits = |client, asked_at| desk.intake.admits(from(client, asked_at));
    assert!(admits("10.0.0.1", "10.0.0.9") && !admits("192.168.3.4", "10.0.0.9"));
}

fn from(client: &str, asked_at: &str) -> Client {
    Client {
        address: client.parse().unwrap(),
        asked_at: asked_at.parse().unwrap(),
    }
}

/// The leak guard leads a program's question to 8.8.8.8 to loopback, and leaves it the address that this host has on that link.
#[test]
fn whoever_asks_at_loopback_is_of_this_host_whatever_its_address() {
    let mut desk = Desk::new(&["10.0.0.0/8"]);
    let ask = Ask::new("quick.example").octets(1);
    for (asked_at, is_answered) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.5", true),
        ("192.168.0.1", false),
    ] {
        let step = desk.ask_at(asked_at, "192.168.88.50", &ask, Via::Udp).0;
        assert_eq!(matches!(step, Step::Wait(_)), is_answered, "{asked_at}");
        assert_eq!(
            desk.intake.admits(from("192.168.88.50", asked_at)),
            is_answered,
            "{asked_at}"
        );
    }
}
