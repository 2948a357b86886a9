//! The user's own records, and aliases of his that lead to names which others know.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::{edes, exchange, with_opt};
use crate::cache::{self, Cache};
use crate::policy::Policy;
use crate::policy::blocking::{BlockAnswer, Blocking};
use crate::policy::list::Action;
use crate::policy::local::LocalNames;
use crate::policy::rebind::Rebind;
use crate::policy::records::{Builder, Records};
use crate::policy::routes::Routes;
use crate::policy::rules;
use crate::policy::swap::Swap;
use crate::resolve::{Now, Outcome, Resolver, Road};
use crate::transport::Exchange;
use crate::upstream::Upstream;
use crate::upstream::fake::{Behaviour, Fake};
use crate::upstream::pool::Pool;
use crate::upstream::select::Strategy;
use crate::wire::query::Query;
use crate::wire::question::{Keepalive, read_question};
use crate::wire::testkit::{A, lines, name, query};

fn records(text: &str) -> Records {
    let mut builder = Builder::new();
    builder.read_records(0, text).unwrap();
    builder.build().unwrap()
}

fn road(fake: &Arc<Fake>) -> Road {
    let upstream = Upstream::new("fake".into(), Arc::clone(fake) as Arc<dyn Exchange>, Keepalive::Omit);
    let settings = cache::Settings::default();
    let pool = Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls);
    Road::new(Arc::new(Cache::new(settings)), pool)
}

/// A resolver with records, a route for `corp.example`, a list that blocks `ads.example`, and local names.
struct House {
    resolver: Resolver,
    records: Swap<Records>,
    public: Arc<Fake>,
    route: Arc<Fake>,
}

fn house(text: &str) -> House {
    let (public, route) = (
        Arc::new(Fake::new(Behaviour::Answer)),
        Arc::new(Fake::new(Behaviour::Answer)),
    );
    let own = Swap::default();
    own.publish(records(text));
    let blocking = Blocking::new(BlockAnswer::Null);
    let mut rules = rules::Builder::new();
    rules.read(0, Action::Block, b"ads.example\n".as_slice()).unwrap();
    blocking.publish(rules.build(), vec!["list".to_owned()]);
    let policy = Policy::new(
        LocalNames::new(&[], std::iter::empty()),
        Rebind::on(std::iter::once("trusted.example")),
    )
    .with_records(own.clone())
    .with_routes(Routes::new(std::iter::once((name("corp.example").into(), 0))))
    .with_blocking(blocking);
    House {
        resolver: Resolver::with_routes(policy, road(&public), vec![road(&route)]),
        records: own,
        public,
        route,
    }
}

/// What an upstream was asked for, in wire form.
fn asked(fake: &Fake) -> Vec<Vec<u8>> {
    let name = |query: &Vec<u8>| {
        let question = read_question(query).unwrap();
        question[..question.len() - 4].to_vec()
    };
    fake.queries().iter().map(name).collect()
}

async fn told(house: &House, qname: &str) -> (Vec<String>, Outcome) {
    let (message, outcome) = exchange(&house.resolver, &with_opt(qname)).await;
    (lines(&message), outcome)
}

#[tokio::test(start_paused = true)]
async fn the_users_records_come_before_everything_else() {
    let text = "nas.example A 192.168.1.5\nbox.lan A 10.0.0.1\nx.ads.example A 192.0.2.7\nx.corp.example A 10.1.1.1\n\
                printer A 10.0.0.2\n10.0.0.2 PTR printer\n";
    let house = house(text);
    for (qname, address) in [
        ("Nas.Example", "192.168.1.5"),
        ("box.lan", "10.0.0.1"),
        ("x.ads.example", "192.0.2.7"),
        ("x.corp.example", "10.1.1.1"),
        ("printer", "10.0.0.2"),
    ] {
        let (lines, outcome) = told(&house, qname).await;
        assert_eq!(lines, [format!("{qname}. 300 IN A {address}")]);
        assert_eq!(outcome, Outcome::Synthesized);
    }
    let (message, _) = exchange(&house.resolver, &query("2.0.0.10.in-addr.arpa", 12, None)).await;
    assert_eq!(lines(&message), ["2.0.0.10.in-addr.arpa. 300 IN PTR printer."]);
    let (message, _) = exchange(&house.resolver, &query("nas.example", 28, None)).await;
    assert_eq!(
        (message.answers.len(), message.authorities.len()),
        (0, 1),
        "NODATA with its SOA"
    );
    assert!(asked(&house.public).is_empty() && asked(&house.route).is_empty());
    assert_eq!(
        told(&house, "other.lan").await.0.len(),
        1,
        "the SOA: nothing else is below lan"
    );
}

#[tokio::test(start_paused = true)]
async fn an_alias_to_a_name_of_others_is_followed_and_cached_as_one_answer() {
    let house = house("my.example 100 CNAME two.example\ntwo.example CNAME www.real.example\n");
    let expected = [
        "my.Example. 100 IN CNAME two.Example.",
        "two.Example. 300 IN CNAME www.real.Example.",
        "www.real.Example. 60 IN A 192.0.2.1",
    ];
    let (lines, outcome) = told(&house, "my.Example").await;
    assert_eq!((lines, outcome), (expected.map(str::to_owned).to_vec(), Outcome::Miss));
    assert_eq!(asked(&house.public), [name("www.real.example")]);
    advance(Duration::from_secs(20)).await;
    let (lines, outcome) = told(&house, "my.example").await;
    assert_eq!(outcome, Outcome::Hit);
    assert_eq!(lines[2], "www.real.example. 40 IN A 192.0.2.1");
    assert_eq!(asked(&house.public).len(), 1);
    let (message, _) = exchange(&house.resolver, &query("my.example", 5, None)).await;
    assert_eq!(message.answers.len(), 1, "the alias itself is ours to tell");
    assert_eq!(asked(&house.public).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_target_of_an_alias_goes_by_the_rules_for_its_own_name() {
    let house = house(
        "a.example CNAME wiki.corp.example\nb.example CNAME t.ads.example\nc.example CNAME tv.local\nd.example CNAME localhost\n",
    );
    let (lines, _) = told(&house, "a.example").await;
    assert_eq!(lines[1], "wiki.corp.example. 60 IN A 192.0.2.1");
    assert_eq!(asked(&house.route), [name("wiki.corp.example")]);
    house.resolver.route_is_down(0);
    told(&house, "a.example").await;
    assert_eq!(asked(&house.route).len(), 2, "forgotten with the link");
    let (message, _) = exchange(&house.resolver, &with_opt("b.example")).await;
    assert_eq!(edes(&message), [15]);
    assert_eq!(message.answers[1].to_string(), "t.ads.example. 60 IN A 0.0.0.0");
    let (message, _) = exchange(&house.resolver, &with_opt("c.example")).await;
    assert_eq!(u16::from(message.metadata.response_code), 3);
    assert_eq!(message.authorities[0].name.to_string(), "local.");
    let (lines, _) = told(&house, "d.example").await;
    assert_eq!(lines[1], "localhost. 10800 IN A 127.0.0.1");
    assert!(asked(&house.public).is_empty());
}

#[tokio::test(start_paused = true)]
async fn new_records_count_at_once_whatever_the_cache_holds() {
    let house = house("my.example CNAME one.example\n");
    told(&house, "my.example").await;
    told(&house, "plain.example").await;
    house.records.publish(records(
        "my.example CNAME two.example\nplain.example CNAME three.example\n",
    ));
    for (qname, target) in [("my.example", "two"), ("plain.example", "three")] {
        let (lines, outcome) = told(&house, qname).await;
        assert_eq!(outcome, Outcome::Miss);
        assert_eq!(lines[1], format!("{target}.example. 60 IN A 192.0.2.1"));
    }
    house.records.publish(records("plain.example A 192.0.2.9\n"));
    assert_eq!(
        told(&house, "plain.example").await.0,
        ["plain.example. 300 IN A 192.0.2.9"]
    );
    house.records.publish(Records::default());
    for qname in ["my.example", "plain.example"] {
        assert_eq!(told(&house, qname).await.0, [format!("{qname}. 60 IN A 192.0.2.1")]);
    }
    let ordinary = asked(&house.public).len();
    told(&house, "my.example").await;
    assert_eq!(asked(&house.public).len(), ordinary, "cached again");
}

/// A stranger's answer is inspected under the name that was asked for, whatever the user calls it.
#[tokio::test(start_paused = true)]
async fn t_reb_an_alias_does_not_open_the_way_to_private_addresses() {
    let house = house("my.example CNAME evil.example\n");
    house.public.behave(Behaviour::Private);
    let (message, _) = exchange(&house.resolver, &with_opt("my.example")).await;
    assert_eq!(lines(&message), ["my.example. 300 IN CNAME evil.example."]);
    assert_eq!(edes(&message), [15]);
    let (message, _) = exchange(&house.resolver, &with_opt("my.example")).await;
    assert_eq!(
        (message.answers.len(), edes(&message)),
        (1, vec![15]),
        "from the cache too"
    );
    assert_eq!(asked(&house.public).len(), 1);
}

/// What was decided on a question holds for it, whatever the records say by the time it is asked.
#[tokio::test(start_paused = true)]
async fn a_name_that_stays_here_is_not_asked_when_its_record_goes_meanwhile() {
    for (before, after, qname, target) in [
        (
            "printer.lan CNAME www.real.example\n",
            "",
            "printer.lan",
            "www.real.example",
        ),
        (
            "nas.corp.example CNAME www.real.example\n",
            "",
            "nas.corp.example",
            "www.real.example",
        ),
        (
            "my.example CNAME www.real.example\n",
            "my.example CNAME wiki.corp.example\n",
            "my.example",
            "www.real.example",
        ),
    ] {
        let house = house(before);
        let octets = with_opt(qname);
        let query = Query::parse(&octets).unwrap();
        let mut out = [0; 512];
        let now = Instant::now();
        let Now::Wait(pending) = house.resolver.answer_now(&query, now.into_std(), &mut out) else {
            panic!("nothing is cached");
        };
        house.records.publish(records(after));
        house.resolver.answer_later(pending, now + Duration::from_secs(4)).await;
        assert_eq!(asked(&house.public), [name(target)], "{qname}");
        assert!(asked(&house.route).is_empty());
        // And what it brought is nobody's answer any more.
        let (lines, outcome) = told(&house, qname).await;
        assert_ne!(outcome, Outcome::Hit, "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn new_records_do_not_wait_for_what_is_asked_under_old_ones() {
    let house = house("my.example CNAME one.example\n");
    house.public.behave(Behaviour::Slow(Duration::from_secs(3)));
    let resolver = house.resolver.clone();
    let early = tokio::spawn(async move {
        let (message, _) = exchange(&resolver, &with_opt("my.example")).await;
        lines(&message)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.records.publish(records("my.example CNAME two.example\n"));
    let (late, _) = told(&house, "my.example").await;
    assert_eq!(late[1], "two.example. 60 IN A 192.0.2.1");
    assert_eq!(early.await.unwrap()[1], "one.example. 60 IN A 192.0.2.1");
    assert_eq!(told(&house, "my.example").await.0[1], late[1], "nor is it kept");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_old_target_is_not_the_new_ones() {
    let house = house("my.example CNAME one.example\n");
    house.public.behave(Behaviour::Fail(2, Some(6)));
    for _ in 0..3 {
        told(&house, "my.example").await;
    }
    house.public.behave(Behaviour::Answer);
    house.records.publish(records("my.example CNAME two.example\n"));
    assert_eq!(told(&house, "my.example").await.0.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_apex_of_ours_behind_an_alias_names_itself() {
    let house = house("my.example CNAME 10.in-addr.arpa\n");
    let (message, _) = exchange(&house.resolver, &query("my.example", 2, None)).await;
    assert_eq!(
        message.answers[1].to_string(),
        "10.in-addr.arpa. 10800 IN NS 10.in-addr.arpa."
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_an_alias_is_told_as_any_other() {
    let house = house("my.example CNAME www.real.example\n");
    house.public.behave(Behaviour::Fail(2, Some(6)));
    let (message, _) = exchange(&house.resolver, &query("my.example", A, None)).await;
    assert_eq!(u16::from(message.metadata.response_code), 2);
    house.public.behave(Behaviour::Answer);
    advance(Duration::from_secs(2)).await;
    assert_eq!(told(&house, "my.example").await.0.len(), 2);
}
