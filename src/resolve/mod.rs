//! The whole pipeline of one query: policy, cache, in-flight table, upstream.
//!
//! Cannot see how a query came in or over what an answer goes out. Never waits in [`Resolver::answer_now`].

mod asked;
mod failure;
mod inflight;
mod road;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{Cache, CachedFailure, Entry, Found};
use crate::policy::blocking::BlockAnswer;
use crate::policy::records::{DEFAULT_TTL, End};
use crate::policy::{Own, Policy, Synthesis, Verdict};
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;
use crate::wire::query::Query;
use crate::wire::question::QuestionKey;
use crate::wire::record::RecordType;
use crate::wire::synth::{self, About, Alias};

use asked::{Asked, By, Flight};
pub use failure::Failure;
use inflight::{Joined, Landing, Ticket};
pub use road::Road;
pub use window::Portal;

/// A question ends this long before the first client that asked it gives up, so that the reason arrives, not just the end.
const LANDING_TIME: Duration = Duration::from_millis(100);

/// How long an answer past its end is held back for a newer one (RFC 8767 section 5: the client response timer, 1.8 s).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// Policy and the roads that questions take, behind two calls. Clones share everything.
#[derive(Clone, Debug)]
pub struct Resolver {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    policy: Policy,
    /// To the public; all names that no rule sends elsewhere.
    public: Road,
    /// Split DNS, by the numbers that the policy gives. Nothing that came by one is ever given for another.
    routes: Vec<Road>,
    /// For a sign-in page, while a window is open.
    portal: Portal,
}

/// What [`Resolver::answer_now`] could do without waiting.
#[derive(Debug)]
pub enum Now {
    /// The response is in `out`, this long.
    Ready(usize, Outcome),
    /// The same, and the answer should be made new: send it, then go on with [`Resolver::refresh`].
    ReadyThenRefresh(usize, Outcome, Pending),
    /// Go on with [`Resolver::answer_later`].
    Wait(Pending),
}

/// How a query was answered; the stats count queries by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the cache, at once: a fresh answer, a failure, or a stale answer because nothing better can be had.
    Hit,
    /// Not in the cache: asked upstream, joined to a running question, or refused for want of RD.
    Miss,
    /// By policy.
    Synthesized,
    /// Malformed, not served, not allowed, or more than a client network may ask.
    Rejected,
}

/// A query that must wait for an upstream, or an answer that should be renewed by one.
#[derive(Debug)]
pub struct Pending {
    asked: Asked,
    held: Held,
}

/// What the cache holds of a pending question.
#[derive(Debug)]
enum Held {
    Nothing,
    /// An answer past its end, and when it is given if no newer one has come.
    Stale(Entry, tokio::time::Instant),
    /// A fresh answer that ends soon.
    Ending,
}

/// How a pending query ended. Write it with the client's own query.
#[derive(Clone, Debug)]
pub enum Settled {
    /// With an answer.
    Answer(Entry),
    /// With an answer past its end, because no newer one came (RFC 8767).
    Stale(Entry),
    /// Without one.
    Failure(Failure),
}

impl Resolver {
    /// One road to the public, and nothing else.
    pub fn new(policy: Policy, cache: Arc<Cache>, pool: Pool) -> Self {
        Self::with_routes(policy, Road::new(cache, pool), Vec::new())
    }

    /// The road to the public, and those that the policy's routes lead to, by number.
    pub fn with_routes(policy: Policy, public: Road, routes: Vec<Road>) -> Self {
        Self {
            parts: Arc::new(Parts {
                policy,
                public,
                routes,
                portal: Portal::default(),
            }),
        }
    }

    /// The same with what is done for a sign-in page. Before it has clones.
    #[must_use]
    pub fn with_portal(mut self, portal: Portal) -> Self {
        let parts = Arc::get_mut(&mut self.parts);
        debug_assert!(parts.is_some(), "it has clones");
        if let Some(parts) = parts {
            parts.policy = std::mem::take(&mut parts.policy).with_portal(portal.gate());
            parts.portal = portal;
        }
        self
    }

    /// Answers without waiting where that can be done: no heap, no await, no lock held across I/O on a hit.
    /// `out` is cut by the caller to the largest response the client takes; a longer answer is truncated with TC=1.
    pub fn answer_now(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> Now {
        let key = query.key();
        // Before the verdict: what changes meanwhile has the answer looked at again.
        let generation = self.parts.policy.generation();
        let cache = &self.parts.public.cache;
        let fresh = cache.fresh(&key, now).filter(|entry| entry.is_of(generation));
        let Some(entry) = fresh else {
            return self.answer_by_rules(key, generation, query, now, out);
        };
        // It was decided on under these very rules, and they say the same of the same question.
        let len = entry.write(query, now, out);
        if query.recursion_desired() && cache.wants_renewal(&entry, now) {
            return match self.decide(key, generation, query, out) {
                Ok(asked) => Now::ReadyThenRefresh(
                    len,
                    Outcome::Hit,
                    Pending {
                        asked,
                        held: Held::Ending,
                    },
                ),
                Err(len) => Now::Ready(len, Outcome::Synthesized),
            };
        }
        Now::Ready(len, Outcome::Hit)
    }

    /// What the rules make of a question; the length of the response if they answer it.
    fn decide(&self, key: QuestionKey, generation: u64, query: &Query<'_>, out: &mut [u8]) -> Result<Asked, usize> {
        let (by, aliases) = match self.parts.policy.verdict(&key) {
            Verdict::Synthesize(synthesis) => return Err(write(synthesis, query, &[], out)),
            Verdict::Own(own) => return Err(write_own(&own, &key, query, out)),
            Verdict::Ask => (By::Public, None),
            Verdict::Route(number) => (By::Route(number), None),
            Verdict::Window => match self.parts.portal.road() {
                Some(road) => (By::Window(road), None),
                // Closed between the two looks.
                None => {
                    return Err(synth::write_error(
                        query,
                        Rcode::SERVFAIL,
                        Some(Ede::NETWORK_ERROR),
                        out,
                    ));
                }
            },
            Verdict::Behind(records, route) => (By::route(route), Some(records)),
        };
        Ok(Asked::new(key, by, generation, aliases))
    }

    /// Like [`Resolver::answer_now`], for what is not at hand under the present rules.
    fn answer_by_rules(
        &self,
        key: QuestionKey,
        generation: u64,
        query: &Query<'_>,
        now: Instant,
        out: &mut [u8],
    ) -> Now {
        let asks = query.recursion_desired();
        let asked = match self.decide(key, generation, query, out) {
            Ok(asked) => asked,
            Err(len) => return Now::Ready(len, Outcome::Synthesized),
        };
        let Road { cache, pool, .. } = self.parts.road(&asked.by);
        let look = asked.look(&self.parts.policy);
        let found = cache.get(asked.key(), now, asked.since(pool));
        let found = match found {
            // Rules that came after it do not let it pass: it is asked for anew.
            Found::Fresh(entry) | Found::Stale(entry, _) if !look.allows(asked.key(), &entry) => Found::Nothing,
            found => found,
        };
        match found {
            Found::Fresh(entry) => {
                let len = entry.write(query, now, out);
                if asks && cache.wants_renewal(&entry, now) {
                    let held = Held::Ending;
                    Now::ReadyThenRefresh(len, Outcome::Hit, Pending { asked, held })
                } else {
                    Now::Ready(len, Outcome::Hit)
                }
            }
            Found::Failure(failure) => Now::Ready(write_cached(failure, query, out), Outcome::Hit),
            // RFC 8767 section 5: who does not want recursion gets nothing past its end.
            Found::Nothing | Found::Stale(..) if !asks => Now::Ready(
                synth::write_error(query, Rcode::REFUSED, Some(Ede::NOT_AUTHORITATIVE), out),
                Outcome::Miss,
            ),
            Found::Nothing => Now::Wait(Pending {
                asked,
                held: Held::Nothing,
            }),
            Found::Stale(entry, Some(_)) => Now::Ready(write_old(cache, &entry, query, out), Outcome::Hit),
            Found::Stale(entry, None) if pool.has_hope(tokio::time::Instant::from_std(now)) => {
                let due = tokio::time::Instant::from_std(now + STALE_AFTER);
                let held = Held::Stale(entry, due);
                Now::Wait(Pending { asked, held })
            }
            // Nobody but real questions finds out that an upstream is back.
            Found::Stale(entry, None) => {
                let held = Held::Nothing;
                Now::ReadyThenRefresh(
                    write_old(cache, &entry, query, out),
                    Outcome::Hit,
                    Pending { asked, held },
                )
            }
        }
    }

    /// Joins the others who ask the same, or asks the upstream, at once; the future waits for the answer. It ends by `deadline`,
    /// always with something to send. Cancel-safe: dropping it cancels nobody else's wait. Needs a tokio runtime around it.
    ///
    /// Not an `async fn`, which would carry the question key through the wait: many may wait, so the future is kept small.
    pub fn answer_later(
        &self,
        pending: Pending,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Settled> + Send + use<> {
        let now = tokio::time::Instant::now();
        let shed = Settled::Failure(Failure::Shed);
        let road = self.parts.road(&pending.asked.by);
        let cache = Arc::clone(&road.cache);
        let joined = road.inflight.join(&pending.asked.flight, now, shed);
        let (landing, begun) = match joined {
            Joined::Follower(landing, begun) => (landing, begun),
            Joined::Leader(ticket, landing) => {
                self.launch(pending.asked, ticket, deadline, Purpose::Answer);
                (landing, now)
            }
        };
        let stale = match pending.held {
            // Who joins late waits no longer than the first.
            Held::Stale(entry, due) => Some((entry, due.min(begun + STALE_AFTER), cache)),
            Held::Nothing | Held::Ending => None,
        };
        async move {
            let until = stale.as_ref().map_or(deadline, |(_, due, _)| deadline.min(*due));
            let landed = tokio::time::timeout_at(until, landed(landing)).await;
            match (landed.unwrap_or(Settled::Failure(Failure::Deadline)), stale) {
                (Settled::Failure(failure), Some((entry, _, cache))) if !failure.is_final() => {
                    cache.stats().stale_hits.increment();
                    Settled::Stale(entry)
                }
                (settled, _) => settled,
            }
        }
    }

    /// The first question may find a connection to the public's upstream: see [`Pool::warm_up`].
    pub fn warm_up(&self) {
        self.parts.public.pool.warm_up();
    }

    /// The network may have changed: see [`Pool::network_changed`].
    pub fn network_changed(&self) {
        self.parts.roads().for_each(|road| road.pool.network_changed());
    }

    /// The link of a route is gone: what came by it is forgotten.
    pub fn route_is_down(&self, number: usize) {
        if let Some(road) = self.parts.routes.get(number) {
            road.cache.forget_all();
        }
    }

    /// Answers a pending query that there is no room for to wait: with the answer past its end if there is one, else with
    /// SERVFAIL. Nobody is asked.
    pub fn answer_shed(&self, pending: &Pending, query: &Query<'_>, out: &mut [u8]) -> usize {
        match &pending.held {
            Held::Stale(entry, _) => write_old(&self.parts.road(&pending.asked.by).cache, entry, query, out),
            Held::Nothing | Held::Ending => synth::write_error(query, Rcode::SERVFAIL, Some(Ede::OTHER), out),
        }
    }

    /// Asks the upstream at once, for the cache and nobody else; the question ends by `deadline`. Does nothing if the same
    /// question is under way, or if so many are that somebody would have to give way. Needs a tokio runtime around it.
    pub fn refresh(&self, pending: Pending, deadline: tokio::time::Instant) {
        let road = self.parts.road(&pending.asked.by);
        let Some(ticket) = road.inflight.start(&pending.asked.flight, tokio::time::Instant::now()) else {
            return;
        };
        let purpose = match pending.held {
            Held::Ending => {
                road.cache.stats().prefetches.increment();
                Purpose::Renewal
            }
            Held::Nothing | Held::Stale(..) => Purpose::Answer,
        };
        self.launch(pending.asked, ticket, deadline, purpose);
    }

    /// What decides before anybody is asked.
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// The road to the public.
    pub fn public(&self) -> &Road {
        &self.parts.public
    }

    /// The upstreams of all roads, the public ones first.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.parts.roads().flat_map(|road| road.pool.upstreams())
    }

    /// The roads of split DNS.
    pub fn routes(&self) -> &[Road] {
        &self.parts.routes
    }

    /// The cache of public names.
    pub fn cache(&self) -> &Cache {
        &self.parts.public.cache
    }

    /// Questions under way at upstreams.
    pub fn inflight(&self) -> usize {
        self.parts.roads().map(|road| road.inflight.len()).sum()
    }

    /// Questions that had to give way to newer ones.
    pub fn shed(&self) -> u64 {
        self.parts.roads().map(|road| road.inflight.shed()).sum()
    }

    /// Questions whose task died of a panic: always a bug of ours.
    pub fn panics(&self) -> u64 {
        self.parts.roads().map(|road| road.inflight.panics()).sum()
    }

    /// Runs a question in a task of its own, so that it goes on whoever leaves. Who waits for it waits until `deadline`.
    fn launch(&self, asked: Asked, ticket: Ticket<Flight, Settled>, deadline: tokio::time::Instant, purpose: Purpose) {
        let question_ends = deadline.checked_sub(LANDING_TIME).unwrap_or(deadline);
        let parts = Arc::clone(&self.parts);
        let (flight, number, by) = (Arc::clone(&asked.flight), ticket.number(), asked.by.clone());
        let task = tokio::spawn(async move {
            let settled = parts
                .road(&asked.by)
                .ask(&parts.policy, &asked, question_ends, purpose)
                .await;
            ticket.land(settled);
        });
        self.parts
            .road(&by)
            .inflight
            .runs_in(&flight, number, task.abort_handle());
    }
}

/// What a question is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// For an answer where there is none, or none that is fresh.
    Answer,
    /// To renew a fresh answer before its end.
    Renewal,
}

impl Parts {
    /// `number` comes from the policy, which has as many routes.
    fn road<'a>(&'a self, by: &'a By) -> &'a Road {
        match by {
            By::Public => &self.public,
            By::Route(number) => &self.routes[*number],
            By::Window(road) => road,
        }
    }

    fn roads(&self) -> impl Iterator<Item = &Road> {
        std::iter::once(&self.public).chain(&self.routes)
    }
}

fn write_old(cache: &Cache, entry: &Entry, query: &Query<'_>, out: &mut [u8]) -> usize {
    cache.stats().stale_hits.increment();
    entry.write_stale(query, out)
}

/// How the question ends; a closed channel means that its task died.
async fn landed(mut landing: Landing<Settled>) -> Settled {
    match landing.wait_for(Option::is_some).await {
        Ok(settled) => settled.clone().unwrap_or(Settled::Failure(Failure::Internal)),
        Err(_) => Settled::Failure(Failure::Internal),
    }
}

/// Writes what is said of the name that QNAME leads to by `aliases`.
fn write(synthesis: Synthesis, query: &Query<'_>, aliases: &[Alias<'_>], out: &mut [u8]) -> usize {
    let about = About::new(query, aliases);
    match synthesis {
        Synthesis::Any => synth::write_any(query, out),
        Synthesis::Error(rcode, ede) => synth::write_error(query, rcode, Some(ede), out),
        Synthesis::Negative(rcode, zone_at) => about.write_negative(rcode, zone_at, out),
        Synthesis::Brief(rtype, rdata) => about.write_brief(rtype, rdata, out),
        Synthesis::Record(rtype, rdata) => about.write_record(rtype, rdata, out),
        Synthesis::Probe(rtype @ RecordType::A, address) => about.write_record(rtype, &address[..4], out),
        Synthesis::Probe(rtype @ RecordType::AAAA, address) => about.write_record(rtype, &address, out),
        Synthesis::Probe(..) => about.write_negative(Rcode::NOERROR, 0, out),
        Synthesis::Soa => about.write_soa(out),
        Synthesis::Ns => about.write_ns(out),
        Synthesis::Blocked(answer, qtype) => about.write_blocked(qtype, answer == BlockAnswer::Null, out),
    }
}

/// Writes the user's own records.
fn write_own(own: &Own, key: &QuestionKey, query: &Query<'_>, out: &mut [u8]) -> usize {
    let Some(found) = own.records.find(key.qname(), key.qtype()) else {
        return 0;
    };
    match (found.end, own.then) {
        (End::Outside(_), Some(said)) => write(said, query, found.aliases(), out),
        (End::Data(set), _) => About::new(query, found.aliases()).write_records(Some(set.rrset()), set.ttl, out),
        (End::NoData | End::Outside(_), _) => About::new(query, found.aliases()).write_records(None, DEFAULT_TTL, out),
    }
}

/// "Cached error", and what it was at first (RFC 8914 section 4.14).
fn write_cached(failure: CachedFailure, query: &Query<'_>, out: &mut [u8]) -> usize {
    synth::write_failure(query, Rcode::SERVFAIL, [Some(Ede::CACHED_ERROR), failure.ede], out)
}

impl Settled {
    /// Writes the response for this client's query; returns its length. Truncates with TC=1 to `out`'s length.
    pub fn write(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> usize {
        match self {
            Self::Answer(entry) => entry.write(query, now, out),
            Self::Stale(entry) => entry.write_stale(query, out),
            Self::Failure(failure) => {
                let (rcode, reasons) = failure.response();
                synth::write_failure(query, rcode, reasons, out)
            }
        }
    }

    /// Octets of `out` that hold the whole response, at most 65,535.
    pub fn max_len(&self) -> usize {
        match self {
            Self::Answer(entry) | Self::Stale(entry) => entry.answer().max_len().clamp(512, 65_535),
            Self::Failure(_) => 512,
        }
    }
}

#[cfg(test)]
mod tests;
