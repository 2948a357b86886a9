use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::*;
use crate::os::socket::Path;

const NETWORK: Change = Change { cause: Cause::Network };

fn awake() -> Clocks {
    Clocks {
        awake: Duration::ZERO,
        all: Duration::ZERO,
    }
}

fn watcher() -> (UnboundedSender<io::Result<()>>, Watcher) {
    let (events, source) = unbounded_channel();
    (events, Watcher::of(Source::Fake(source), awake))
}

/// Sends an event every so often, and says after how long the watcher told of the first.
async fn told_after(every_ms: u64, count: usize) -> Duration {
    let (events, mut watcher) = watcher();
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            events.send(Ok(())).unwrap();
            sleep(Duration::from_millis(every_ms)).await;
        }
        events
    });
    assert_eq!(watcher.changed().await, NETWORK);
    let told = start.elapsed();
    let _events = sending.await.unwrap();
    told
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_change() {
    let (events, mut watcher) = watcher();
    for _ in 0..100 {
        events.send(Ok(())).unwrap();
    }
    assert_eq!(watcher.changed().await, NETWORK);
    let more = timeout(Duration::from_secs(60), watcher.changed()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_after_a_moment_of_quiet() {
    let near = |told: Duration, ms: u64| told.as_millis().abs_diff(ms.into()) <= 2;
    let (single, three) = (told_after(1000, 1).await, told_after(40, 3).await);
    assert!(near(single, 50) && near(three, 130), "{single:?} {three:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flapping_link_does_not_hold_the_news_back() {
    let told = told_after(20, 200).await;
    assert!(told.as_millis().abs_diff(500) <= 2, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_loses_no_change() {
    let (events, mut watcher) = watcher();
    events.send(Ok(())).unwrap();
    assert!(timeout(Duration::from_millis(20), watcher.changed()).await.is_err());
    let start = Instant::now();
    assert_eq!(watcher.changed().await, NETWORK);
    assert!(start.elapsed() <= Duration::from_millis(32), "the wait goes on");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_a_change_and_polling_goes_on() {
    let (events, mut watcher) = watcher();
    events.send(Err(io::ErrorKind::Other.into())).unwrap();
    assert_eq!(watcher.changed().await, NETWORK);
    assert!(matches!(watcher.source, Source::Polling(_)));
}

/// Each reading is a second after the last one, which the machine spent asleep.
fn sleepy() -> Clocks {
    use std::sync::atomic::{AtomicU64, Ordering};
    static READINGS: AtomicU64 = AtomicU64::new(0);
    Clocks {
        awake: Duration::ZERO,
        all: Duration::from_secs(READINGS.fetch_add(1, Ordering::Relaxed)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_is_told_within_a_second_of_its_end() {
    let (_events, source) = unbounded_channel();
    let mut watcher = Watcher::of(Source::Fake(source), sleepy);
    for _ in 0..3 {
        let change = timeout(Duration::from_millis(1002), watcher.changed()).await;
        assert_eq!(change, Ok(Change { cause: Cause::Slept }));
    }
}

#[test]
fn sleeps_and_stops_are_seen_and_busy_machines_are_not() {
    let clocks = |awake, all| Clocks {
        awake: Duration::from_millis(awake),
        all: Duration::from_millis(all),
    };
    for (awake, all, expected) in [
        (1000, 1000, false),
        (1000, 1900, false),
        (1000, 2000, true),
        (1000, 3_600_000, true),
        (5900, 5900, false),
        (6100, 6100, true),
        (0, 0, false),
    ] {
        let (before, after) = (clocks(500, 9000), clocks(500 + awake, 9000 + all));
        assert_eq!(before.slept_until(after), expected, "{awake} ms awake of {all} ms");
    }
    assert!(!clocks(5, 9000).slept_until(clocks(0, 0)), "a clock set back");
}

fn wandering() -> portable::Paths {
    use std::sync::atomic::{AtomicU32, Ordering};
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let path = |interface| Path {
        source: [127, 0, 0, 1].into(),
        interface,
    };
    // The first two looks see the same; the third one sees another path, the fourth none, and then none again.
    match LOOKS.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => [Some(path(1)), None],
        2 => [Some(path(2)), None],
        _ => [None, None],
    }
}

#[tokio::test(start_paused = true)]
async fn polling_tells_when_the_path_moves_and_when_it_goes() {
    let mut source = portable::Source::looking(wandering);
    let wait = Duration::from_secs(60);
    assert!(timeout(wait, source.event()).await.is_ok(), "moved");
    assert!(timeout(wait, source.event()).await.is_ok(), "gone");
    assert!(timeout(wait, source.event()).await.is_err(), "still gone");
}

#[tokio::test(start_paused = true)]
async fn the_portable_twin_is_whole() {
    let mut source = portable::Source::new().unwrap();
    let (before, after) = (portable::clocks(), portable::clocks());
    assert!(!before.slept_until(after) && before.all > Duration::ZERO);
    // The machine's own routes are what they are; looking at them neither fails nor sends.
    let _ = timeout(Duration::from_secs(3), source.event()).await;
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use crate::os::link::netlink::Sieve;
    use crate::os::socket::path_to;
    use crate::os::testing::{in_own_network, ip};

    /// A message of this type with the body's octets.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(16 + body.len()).unwrap();
        let header = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body];
        header.concat()
    }

    /// `struct ifinfomsg`.
    fn link(interface: u32, flags: u32) -> Vec<u8> {
        let body = [[0; 4], interface.to_ne_bytes(), flags.to_ne_bytes(), [0xff; 4]];
        message(libc::RTM_NEWLINK, &body.concat())
    }

    /// `struct ifaddrmsg` with IFA_LOCAL.
    fn address(kind: u16, flags: u8, last: u8) -> Vec<u8> {
        let attribute = [
            &8u16.to_ne_bytes()[..],
            &libc::IFA_LOCAL.to_ne_bytes(),
            &[192, 0, 2, last],
        ]
        .concat();
        message(
            kind,
            &[&[2, 24, flags, 0][..], &7u32.to_ne_bytes(), &attribute].concat(),
        )
    }

    #[test]
    fn what_the_kernel_repeats_is_no_news() {
        let mut sieve = Sieve::default();
        assert!(sieve.is_news(&link(2, 0x1003)));
        assert!(!sieve.is_news(&link(2, 0x1003)), "a scan for wireless networks");
        assert!(sieve.is_news(&link(2, 0x11043)), "the carrier came");
        assert!(sieve.is_news(&link(3, 0x11043)), "another interface");
        assert!(sieve.is_news(&address(libc::RTM_NEWADDR, 0, 1)));
        assert!(
            !sieve.is_news(&address(libc::RTM_NEWADDR, 0, 1)),
            "a router advertisement"
        );
        assert!(sieve.is_news(&address(libc::RTM_NEWADDR, 0x20, 1)), "deprecated now");
        assert!(sieve.is_news(&address(libc::RTM_NEWADDR, 0x20, 2)), "another address");
        assert!(sieve.is_news(&address(libc::RTM_DELADDR, 0, 1)));
        assert!(sieve.is_news(&address(libc::RTM_NEWADDR, 0x20, 1)), "it came back");
        let route = |flags: u32| message(libc::RTM_NEWROUTE, &[&[0; 8][..], &flags.to_ne_bytes()].concat());
        assert!(sieve.is_news(&route(0)));
        assert!(!sieve.is_news(&route(libc::RTM_F_CLONED)), "a path MTU");
        let both = [link(2, 0x11043), link(3, 0)].concat();
        assert!(sieve.is_news(&both), "the second message is read too");
        assert!(!sieve.is_news(&both));
    }

    #[test]
    fn hostile_octets_are_news_and_end() {
        let whole = [link(2, 1), address(libc::RTM_NEWADDR, 0, 1)].concat();
        let mut known = Sieve::default();
        known.is_news(&whole);
        assert!(!known.is_news(&whole) && !known.is_news(&[]));
        for cut in (1..whole.len()).filter(|cut| *cut != 32) {
            assert!(known.is_news(&whole[..cut]), "cut to {cut}");
        }
        for len in [0u32, 1, 15, 33, u32::MAX] {
            let mut lying = link(2, 1);
            lying[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(known.is_news(&lying), "nlmsg_len {len}");
        }
        for kind in 0..=u8::MAX {
            for body_len in 0..24 {
                known.is_news(&message(kind.into(), &vec![kind; body_len]));
                known.is_news(&message(kind.into(), &vec![0xff; body_len]));
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_lets_anybody_listen() {
        assert!(matches!(Watcher::new().unwrap().source, Source::System(_)));
    }

    /// What the kernel does on its own after the last command, such as the check for duplicate addresses, is over.
    async fn settle(watcher: &mut Watcher) {
        while timeout(Duration::from_millis(1500), watcher.changed()).await.is_ok() {}
    }

    /// One change follows the command, soon, and no second one.
    async fn one_change(watcher: &mut Watcher, command: &str) {
        ip(command);
        let change = timeout(Duration::from_millis(700), watcher.changed()).await;
        assert_eq!(change, Ok(NETWORK), "ip {command}");
        let more = timeout(Duration::from_millis(700), watcher.changed()).await;
        assert!(more.is_err(), "ip {command}: {more:?}");
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn addresses_routes_and_rules_are_one_change_each() {
        in_own_network(|| async {
            // IPv6 would add its own addresses at its own times.
            ip("link add ta0 type veth peer name ta1");
            ip("link set ta0 addrgenmode none");
            ip("link set ta1 addrgenmode none");
            ip("link set ta1 up");
            let mut watcher = Watcher::new().unwrap();
            one_change(&mut watcher, "link set ta0 up").await;
            settle(&mut watcher).await;
            for command in [
                "addr add 10.77.0.2/24 dev ta0",
                "route add default via 10.77.0.1",
                "rule add to 10.99.0.0/16 lookup 99",
                "rule del to 10.99.0.0/16 lookup 99",
                "-6 rule add to fd99::/16 lookup 99",
                "route del default via 10.77.0.1",
                "addr del 10.77.0.2/24 dev ta0",
                "-6 addr add fd77::2/64 dev ta0 nodad",
                "-6 route add default via fd77::1",
                "-6 route del default via fd77::1",
                "link set ta0 down",
            ] {
                one_change(&mut watcher, command).await;
            }
        });
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn the_path_follows_routes_and_rules() {
        in_own_network(|| async {
            let to = |address: &str| path_to(address.parse().unwrap());
            for address in ["192.0.2.1:853", "[2001:db8::1]:853"] {
                let kind = to(address).unwrap_err().kind();
                assert_eq!(kind, io::ErrorKind::NetworkUnreachable, "{address}");
            }
            ip("link add ta0 type veth peer name ta1");
            ip("link set ta0 up");
            ip("link set ta1 up");
            ip("addr add 10.77.0.2/24 dev ta0");
            ip("addr add 10.78.0.2/24 dev ta1");
            ip("-6 addr add fd77::2/64 dev ta0 nodad");
            ip("route add default via 10.77.0.1");
            ip("-6 route add default via fd77::1");
            let first = to("192.0.2.1:853").unwrap();
            assert_eq!(first.source, IpAddr::from([10, 77, 0, 2]));
            let six = to("[2001:db8::1]:853").unwrap();
            assert_eq!(six.source.to_string(), "fd77::2");
            assert_eq!(six.interface, first.interface);
            ip("route replace default via 10.78.0.1");
            let second = to("192.0.2.1:853").unwrap();
            assert_eq!(second.source, IpAddr::from([10, 78, 0, 2]));
            assert_ne!(second.interface, first.interface);
            ip("route add default via 10.77.0.1 table 99");
            ip("rule add to 192.0.2.0/24 lookup 99");
            assert_eq!(to("192.0.2.1:853").unwrap(), first, "a rule counts");
            assert_eq!(to("198.51.100.1:853").unwrap(), second);
        });
    }
}
