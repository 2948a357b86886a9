//! What a cache hit costs in user space, beside what must be done in any case. Ratios count, times do not: run it on a quiet
//! machine with `cargo bench --bench hit_path`. The kernel's share and real peers are measured over sockets, see the README.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tacenda::cache::{self, Cache};
use tacenda::policy::blocking::{BlockAnswer, Blocking};
use tacenda::policy::list::Action;
use tacenda::policy::local::LocalNames;
use tacenda::policy::rebind::Rebind;
use tacenda::policy::routes::Routes;
use tacenda::policy::swap::Swap;
use tacenda::policy::{Policy, records, rules};
use tacenda::resolve::{Now, Resolver};
use tacenda::transport::{BoxFuture, Exchange, ExchangeError, Response};
use tacenda::upstream::Upstream;
use tacenda::upstream::pool::Pool;
use tacenda::upstream::select::Strategy;
use tacenda::wire::domains::canonical;
use tacenda::wire::query::Query;
use tacenda::wire::question::{Keepalive, read_question};
use tokio::time::Instant;

/// Distinct names asked in turn.
const NAMES: usize = 1000;

/// Calls in one round.
const CALLS: u32 = 200_000;

/// Rounds; the best of each kind is shown, because noise only adds.
const ROUNDS: usize = 7;

/// Answers every question with one A record for a day.
struct Answers;

impl Exchange for Answers {
    fn exchange<'a>(&'a self, query: &'a [u8], _: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        let question = read_question(query).expect("our own query");
        let header = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0";
        let answer = b"\xc0\x0c\0\x01\0\x01\0\x01\x51\x80\0\x04\xc0\0\x02\x01";
        let octets = [header.as_slice(), question, answer].concat();
        Box::pin(async move { Ok(Response { octets, age: 0 }) })
    }
}

fn query(number: usize) -> Vec<u8> {
    let label = format!("n{number}");
    let mut octets = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    octets.push(u8::try_from(label.len()).expect("short"));
    octets.extend_from_slice(label.as_bytes());
    octets.extend_from_slice(b"\x05bench\x07example\0\0\x01\0\x01");
    octets
}

fn warm(resolver: &Resolver, queries: &[Vec<u8>]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for octets in queries {
            let query = Query::parse(octets).expect("a query");
            if let Now::Wait(pending) = resolver.answer_now(&query, Instant::now().into_std(), &mut [0; 1232]) {
                resolver
                    .answer_later(pending, Instant::now() + Duration::from_secs(1))
                    .await;
            }
        }
    });
    resolver.cache().maintain();
}

/// Nanoseconds for one call: the best round.
fn measure(mut call: impl FnMut(usize)) -> f64 {
    let round = |call: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        for i in 0..CALLS as usize {
            call(i % NAMES);
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

/// A resolver that has all the answers.
fn resolver(policy: Policy, queries: &[Vec<u8>]) -> Resolver {
    let settings = cache::Settings::default();
    let upstream = Upstream::new("bench".to_owned(), Arc::new(Answers), Keepalive::Omit);
    let resolver = Resolver::new(
        policy,
        Arc::new(Cache::new(settings)),
        Pool::new(vec![Arc::new(upstream)], &Strategy::InOrder, settings.ttls),
    );
    warm(&resolver, queries);
    resolver
}

/// A thousand names of the user's.
fn own_records() -> Swap<records::Records> {
    let text: String = (0..1000)
        .map(|n| format!("nas{n}.home.example A 192.168.1.5\n"))
        .collect();
    let mut builder = records::Builder::new();
    builder.read_records(0, &text).expect("records");
    let own = Swap::default();
    own.publish(builder.build().expect("a table"));
    own
}

/// A hundred thousand names to block.
fn lists() -> Blocking {
    let text: String = (0..100_000).map(|n| format!("ads{n}.tracker.example\n")).collect();
    let mut builder = rules::Builder::new();
    builder
        .read(0, Action::Block, text.as_bytes())
        .expect("memory can be read");
    let blocking = Blocking::new(BlockAnswer::Null);
    blocking.publish(builder.build(), vec!["list".to_owned()]);
    blocking
}

fn own_name(label: &str, n: usize) -> Box<[u8]> {
    canonical(&format!("{label}{n}.example")).expect("a name")
}

#[expect(clippy::print_stdout, reason = "a bench talks to its user")]
fn main() {
    let queries: Vec<_> = (0..NAMES).map(query).collect();
    let bare = resolver(Policy::default(), &queries);
    let rules = Policy::new(
        LocalNames::new(&[], ["host"].into_iter()),
        Rebind::on(std::iter::empty()),
    )
    .with_routes(Routes::new((0..10).map(|n| (own_name("corp", n), n))))
    .with_records(own_records())
    .with_blocking(lists());
    let ruled = resolver(rules, &queries);
    let now = Instant::now().into_std();
    let mut out = [0; 1232];
    let copy = measure(|i| {
        out[..queries[i].len()].copy_from_slice(black_box(&queries[i]));
        black_box(&out);
    });
    let parse = measure(|i| {
        black_box(Query::parse(black_box(&queries[i])).map(|query| query.key()).ok());
    });
    let mut hit_of = |resolver: &Resolver| {
        measure(|i| {
            let query = Query::parse(black_box(&queries[i])).expect("a query");
            assert!(
                matches!(resolver.answer_now(&query, now, &mut out), Now::Ready(..)),
                "a hit"
            );
        })
    };
    let (hit, ruled) = (hit_of(&bare), hit_of(&ruled));
    println!("copy of a query            {copy:8.1} ns");
    println!("parse and key              {parse:8.1} ns  {:5.1} x copy", parse / copy);
    println!(
        "whole hit                  {hit:8.1} ns  {:5.1} x copy, {:4.1} x parse",
        hit / copy,
        hit / parse
    );
    println!(
        "the same with all rules    {ruled:8.1} ns  {:5.3} x whole hit",
        ruled / hit
    );
}
