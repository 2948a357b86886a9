use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;
use crate::cache::{self, Cache};
use crate::os::guard::window::Link;
use crate::os::guard::wish::Moment;
use crate::os::link::identity;
use crate::policy::Policy;
use crate::resolve::{Now, Settled};
use crate::transport::Exchange;
use crate::upstream::Upstream;
use crate::upstream::fake::{Behaviour, Fake};
use crate::upstream::select::Strategy;
use crate::wire::query::Query;
use crate::wire::question::Keepalive;
use crate::wire::testkit;

const LOGIN: &str = "login.hotel.example";

/// A daemon's rooms with a fake upstream, and a hotel's resolver on loopback that counts what it is asked.
struct Inn {
    folder: TempDir,
    watch: Arc<PortalWatch>,
    resolver: Resolver,
    public: Arc<Fake>,
    hotel: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

async fn inn(behaviour: Behaviour) -> Inn {
    let folder = tempfile::tempdir().unwrap();
    let watch = Arc::new(PortalWatch::with(Store::at(folder.path())));
    let public = Arc::new(Fake::new(behaviour));
    let upstream = Upstream::new("fake".into(), Arc::clone(&public) as Arc<dyn Exchange>, Keepalive::Omit);
    let settings = cache::Settings::default();
    let pool = Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls);
    let resolver = Resolver::new(Policy::default(), Arc::new(Cache::new(settings)), pool);
    let (hotel, heard) = hotel().await;
    Inn {
        resolver: resolver.with_portal(watch.portal()),
        folder,
        watch,
        public,
        hotel,
        heard,
    }
}

/// Says 192.168.77.1 to everything, and that what is called evil is this host.
async fn hotel() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (server, heard) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            let qname = Query::parse(&buffer[..len]).unwrap().key().qname().to_vec();
            let qname: Vec<_> = qname.iter().map(|octet| char::from(*octet)).collect();
            let dotted: String = qname
                .iter()
                .map(|c| if c.is_ascii_graphic() { *c } else { '.' })
                .collect();
            let dotted = dotted.trim_matches('.').to_owned();
            let address = if dotted.starts_with("evil.") {
                [127, 0, 0, 1]
            } else {
                [192, 168, 77, 1]
            };
            let answer = testkit::record(&dotted, 1, 600, &address);
            let mut reply = testkit::response(&dotted, 1, 0, &[answer], &[]);
            reply[..2].copy_from_slice(&buffer[..2]);
            hears.lock().unwrap().push(dotted);
            socket.send_to(&reply, client).await.unwrap();
        }
    });
    (server, heard)
}

impl Inn {
    fn consent(&self, seconds: u64) -> Window {
        let (index, addresses) = identity(&"lo".parse().unwrap()).unwrap().unwrap();
        let link = Link {
            interface: "lo".into(),
            index,
            addresses,
        };
        let now = Moment::now().unwrap();
        let time = Duration::from_secs(seconds);
        let names = vec![LOGIN.into(), "evil.example".into()];
        Window::new(link, vec![self.hotel], names, &now, time)
    }

    fn open(&self, window: &Window) {
        self.watch.store.save(window).unwrap();
        self.look();
    }

    fn look(&self) {
        self.watch.look(self.resolver.public().pool());
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn closed(&self) -> Option<&'static str> {
        self.watch.figures().window.unwrap().closed
    }

    async fn ask(&self, qname: &str) -> Option<(u32, Vec<u8>)> {
        ask(&self.resolver, qname).await
    }
}

/// The address that is answered, if any is, and for how many seconds.
async fn ask(resolver: &Resolver, qname: &str) -> Option<(u32, Vec<u8>)> {
    let octets = testkit::query(qname, 1, None);
    let query = Query::parse(&octets).unwrap();
    let (now, mut out) = (Instant::now(), vec![0; 512]);
    let len = match resolver.answer_now(&query, now.into_std(), &mut out) {
        Now::Ready(len, _) | Now::ReadyThenRefresh(len, ..) => len,
        Now::Wait(pending) => {
            let settled: Settled = resolver.answer_later(pending, now + Duration::from_secs(4)).await;
            settled.write(&query, Instant::now().into_std(), &mut out)
        }
    };
    let reply = &out[..len];
    // The record of an answer with one ends the message, as there is no OPT.
    let is_one = reply[3] & 15 == 0 && reply[6..8] == [0, 1];
    let ttl = |at: usize| u32::from_be_bytes(reply[at..at + 4].try_into().unwrap());
    is_one.then(|| (ttl(len - 10), reply[len - 4..].to_vec()))
}

#[tokio::test]
async fn p1_in_a_window_its_names_go_to_the_hotel_and_no_other_name_does() {
    let inn = inn(Behaviour::Broken).await;
    assert_eq!(inn.ask(LOGIN).await, None);
    inn.look();
    inn.open(&inn.consent(300));
    assert_eq!(inn.watch.figures().state, "window");
    assert_eq!(
        inn.ask(LOGIN).await,
        Some((30, vec![192, 168, 77, 1])),
        "whatever failed before"
    );
    for other in ["www.login.hotel.example", "hotel.example", "bank.example"] {
        assert_eq!(inn.ask(other).await, None, "{other}");
    }
    assert_eq!(inn.heard(), [LOGIN]);
    assert_eq!(inn.ask(LOGIN).await.unwrap().1, [192, 168, 77, 1]);
    assert_eq!(
        (inn.heard().len(), inn.watch.clear_packets()),
        (1, 1),
        "from the window's own cache"
    );
    assert_eq!(inn.watch.figures().window.unwrap().sent, [1, 0]);
    let settings = cache::Settings::default();
    let upstreams = inn.resolver.public().pool().upstreams().to_vec();
    let pool = Pool::new(upstreams, &Strategy::InOrder, settings.ttls);
    let reloaded = Resolver::new(Policy::default(), Arc::new(Cache::new(settings)), pool);
    let reloaded = reloaded.with_portal(inn.watch.portal());
    let answer = ask(&reloaded, LOGIN).await.unwrap().1;
    assert_eq!(answer, [192, 168, 77, 1], "under another configuration too");
    inn.watch.store.remove().unwrap();
    inn.look();
    assert_eq!(
        (inn.watch.figures().state, inn.closed()),
        ("suspect", Some("taken-back"))
    );
    assert_eq!(inn.ask(LOGIN).await, None, "what the hotel said is forgotten");
    assert_eq!(inn.heard().len(), 1);
    assert_eq!(inn.watch.figures().window.unwrap().sent, [1, 0], "still told");
}

#[tokio::test]
async fn a_window_goes_on_with_more_names_and_what_was_sent_is_counted_on() {
    let inn = inn(Behaviour::Broken).await;
    let consent = inn.consent(300);
    inn.open(&consent);
    assert!(inn.ask(LOGIN).await.is_some());
    let more = consent.with("cdn.example".into());
    inn.open(&more);
    assert_eq!(inn.closed(), None);
    assert!(inn.ask("cdn.example").await.is_some() && inn.ask("bank.example").await.is_none());
    assert_eq!(inn.watch.figures().window.unwrap().sent, [1, 0, 1]);
    assert!(inn.ask(LOGIN).await.is_some());
    assert_eq!(inn.watch.figures().window.unwrap().sent, [2, 0, 1]);
    // Once closed, it does not open by that.
    inn.public.behave(Behaviour::Answer);
    assert!(inn.ask("b.example").await.is_some());
    inn.look();
    inn.open(&more.with("more.example".into()));
    assert_eq!(inn.closed(), Some("upstream-works"));
    assert_eq!(inn.watch.figures().window.unwrap().sent, [2, 0, 1]);
    // Nor in the place of a later one.
    inn.public.behave(Behaviour::Broken);
    inn.open(&Window {
        given: consent.given + 1,
        names: vec!["later.example".into()],
        ..consent.clone()
    });
    assert_eq!(inn.closed(), None);
    inn.open(&consent.with("cdn.example".into()));
    assert_eq!(inn.closed(), Some("taken-back"));
    assert_eq!(inn.watch.figures().window.unwrap().sent, [0]);
}

#[tokio::test]
async fn what_the_public_says_of_a_name_is_not_given_in_a_window_nor_the_other_way_round() {
    let inn = inn(Behaviour::Answer).await;
    assert_eq!(inn.ask(LOGIN).await.unwrap().1, [192, 0, 2, 1]);
    inn.open(&inn.consent(300));
    assert_eq!(inn.ask(LOGIN).await.unwrap().1, [192, 168, 77, 1]);
    inn.watch.store.remove().unwrap();
    inn.look();
    assert_eq!(inn.ask(LOGIN).await.unwrap().1, [192, 0, 2, 1]);
    assert_eq!(inn.public.queries().len(), 1, "its answer was kept");
}

#[tokio::test]
async fn t_reb_a_hotel_does_not_lead_to_this_host() {
    let inn = inn(Behaviour::Broken).await;
    inn.open(&inn.consent(300));
    assert_eq!(inn.ask("evil.example").await, None);
    assert_eq!(inn.heard(), ["evil.example"]);
}

#[tokio::test]
async fn a_window_closes_when_an_upstream_works_and_does_not_open_again() {
    let inn = inn(Behaviour::Broken).await;
    let consent = inn.consent(300);
    inn.open(&consent);
    assert_eq!(inn.ask("a.example").await, None);
    inn.look();
    assert_eq!(inn.closed(), None);
    inn.public.behave(Behaviour::Answer);
    assert!(inn.ask("b.example").await.is_some());
    for _ in 0..2 {
        inn.look();
        assert_eq!(
            (inn.closed(), inn.watch.figures().state),
            (Some("upstream-works"), "ok")
        );
    }
    // Another consent is another window.
    inn.public.behave(Behaviour::Broken);
    inn.open(&Window {
        names: vec!["other.example".into()],
        ..consent
    });
    assert_eq!(inn.closed(), None);
}

#[tokio::test]
async fn a_window_closes_with_its_network_and_its_time() {
    let inn = inn(Behaviour::Broken).await;
    for elsewhere in [
        Window {
            addresses: vec!["192.0.2.7".parse().unwrap()],
            ..inn.consent(300)
        },
        Window {
            interface: "tacenda-none".into(),
            ..inn.consent(300)
        },
        Window {
            index: 7_000_000,
            ..inn.consent(300)
        },
    ] {
        inn.open(&elsewhere);
        assert!(inn.watch.figures().window.is_none(), "{elsewhere:?}");
    }
    inn.open(&inn.consent(300));
    assert_eq!(inn.ask(LOGIN).await.unwrap().1, [192, 168, 77, 1]);
    // As if its time were over: the leave ends by itself, whatever the file says.
    inn.watch.seen().opened.as_ref().unwrap().leave.take_back();
    assert_eq!(
        inn.ask("login.hotel.example").await.map(|_| ()),
        Some(()),
        "from its cache"
    );
    inn.look();
    assert_eq!((inn.closed(), inn.ask(LOGIN).await), (Some("time"), None));
    assert_eq!(inn.heard().len(), 1);
}

#[tokio::test]
async fn a_consent_that_others_could_have_written_opens_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let inn = inn(Behaviour::Broken).await;
    inn.watch.store.save(&inn.consent(300)).unwrap();
    let file = inn.folder.path().join("window.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    inn.look();
    assert!(inn.watch.figures().window.is_none());
}

#[tokio::test]
async fn probes_of_systems_are_answered_while_nothing_works_and_not_otherwise() {
    let inn = inn(Behaviour::Answer).await;
    let probe = "captive.apple.com";
    inn.look();
    assert_eq!(inn.ask(probe).await.unwrap().1, [192, 0, 2, 1]);
    inn.public.behave(Behaviour::Broken);
    assert_eq!(inn.ask("a.example").await, None);
    inn.look();
    assert_eq!(inn.watch.figures().state, "suspect");
    assert_eq!(inn.ask(probe).await, Some((1, vec![17, 253, 109, 201])));
    inn.public.behave(Behaviour::Answer);
    // A trial is due after a change of network.
    inn.resolver.network_changed();
    assert!(inn.ask("b.example").await.is_some());
    inn.look();
    assert_eq!(inn.watch.figures().state, "ok");
    assert_eq!(inn.ask(probe).await.unwrap().1, [192, 0, 2, 1]);
}

#[tokio::test]
async fn what_was_found_is_shown_until_the_network_changes_or_an_upstream_works() {
    let inn = inn(Behaviour::Broken).await;
    assert_eq!(inn.ask("a.example").await, None);
    inn.look();
    inn.watch.has_found(Found::Page(Some(LOGIN.into())));
    inn.look();
    let figures = inn.watch.figures();
    assert_eq!((figures.state, figures.host.as_deref()), ("portal", Some(LOGIN)));
    inn.open(&inn.consent(300));
    let figures = inn.watch.figures();
    assert_eq!((figures.state, figures.host.as_deref()), ("window", Some(LOGIN)));
    inn.watch.store.remove().unwrap();
    inn.watch.network_changed();
    inn.look();
    assert_eq!((inn.watch.figures().state, inn.watch.figures().host), ("suspect", None));
}
