//! The whole pipeline of one query: policy, cache, in-flight table, upstream.
//!
//! Cannot see how a query came in or over what an answer goes out. Never waits in [`Resolver::answer_now`].

mod failure;
mod inflight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{Cache, CachedFailure, Entry, Found};
use crate::policy::{Policy, Synthesis, Verdict};
use crate::upstream::pool::Pool;
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;
use crate::wire::query::Query;
use crate::wire::question::QuestionKey;
use crate::wire::synth;

pub use failure::Failure;
use inflight::{Inflight, Joined, Landing, MAX_FLIGHTS, Ticket};

/// A question ends this long before the first client that asked it gives up, so that the reason arrives, not just the end.
const LANDING_TIME: Duration = Duration::from_millis(100);

/// Policy, cache, in-flight table and upstream pool, behind two calls. Clones share everything.
#[derive(Clone, Debug)]
pub struct Resolver {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    policy: Policy,
    cache: Arc<Cache>,
    pool: Pool,
    inflight: Inflight<Settled>,
}

/// What [`Resolver::answer_now`] could do without waiting.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would put a heap allocation on every miss to save a move"
)]
pub enum Now {
    /// The response is in `out`, this long.
    Ready(usize, Outcome),
    /// Go on with [`Resolver::answer_later`].
    Wait(Pending),
}

/// How a query was answered; the stats count queries by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the cache.
    Hit,
    /// Not in the cache: asked upstream, joined to a running question, or refused for want of RD.
    Miss,
    /// By policy.
    Synthesized,
    /// Malformed, not served, or not allowed.
    Rejected,
}

/// A query that must wait for an upstream.
#[derive(Debug)]
pub struct Pending {
    key: QuestionKey,
}

/// How a pending query ended. Write it with the client's own query.
#[derive(Clone, Debug)]
pub enum Settled {
    /// With an answer.
    Answer(Arc<Entry>),
    /// Without one.
    Failure(Failure),
}

impl Resolver {
    /// Puts the parts together.
    pub fn new(policy: Policy, cache: Arc<Cache>, pool: Pool) -> Self {
        Self {
            parts: Arc::new(Parts {
                policy,
                cache,
                pool,
                inflight: Inflight::new(MAX_FLIGHTS),
            }),
        }
    }

    /// Answers without waiting where that can be done: no heap, no await, no lock held across I/O on a hit.
    /// `out` is cut by the caller to the largest response the client takes; a longer answer is truncated with TC=1.
    pub fn answer_now(&self, query: &Query<'_>, now: Instant, out: &mut [u8]) -> Now {
        let Parts {
            policy, cache, pool, ..
        } = &*self.parts;
        let key = query.key();
        match policy.verdict(&key) {
            Verdict::Synthesize(synthesis) => return Now::Ready(write(synthesis, query, out), Outcome::Synthesized),
            Verdict::Ask => {}
        }
        match cache.get(&key, now, pool.recoveries()) {
            Found::Fresh(entry) => Now::Ready(entry.write(query, now, out), Outcome::Hit),
            Found::Failure(failure) => Now::Ready(write_cached(failure, query, out), Outcome::Hit),
            Found::Nothing if !query.recursion_desired() => Now::Ready(
                synth::write_error(query, Rcode::REFUSED, Some(Ede::NOT_AUTHORITATIVE), out),
                Outcome::Miss,
            ),
            Found::Nothing => Now::Wait(Pending { key }),
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
        let landing = match self.parts.inflight.join(&pending.key, Settled::Failure(Failure::Shed)) {
            Joined::Follower(landing) => landing,
            Joined::Leader(ticket, landing) => {
                let question_ends = deadline.checked_sub(LANDING_TIME).unwrap_or(deadline);
                self.launch(pending.key, ticket, question_ends);
                landing
            }
        };
        async move {
            let landed = tokio::time::timeout_at(deadline, landed(landing)).await;
            landed.unwrap_or(Settled::Failure(Failure::Deadline))
        }
    }

    /// The network may have changed: see [`Pool::network_changed`].
    pub fn network_changed(&self) {
        self.parts.pool.network_changed();
    }

    /// The upstreams.
    pub fn pool(&self) -> &Pool {
        &self.parts.pool
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.parts.cache
    }

    /// Questions under way at upstreams.
    pub fn inflight(&self) -> usize {
        self.parts.inflight.len()
    }

    /// Questions that had to give way to newer ones.
    pub fn shed(&self) -> u64 {
        self.parts.inflight.shed()
    }

    /// Questions whose task died of a panic: always a bug of ours.
    pub fn panics(&self) -> u64 {
        self.parts.inflight.panics()
    }

    /// Runs a question in a task of its own, so that it goes on whoever leaves.
    fn launch(&self, key: QuestionKey, ticket: Ticket<Settled>, deadline: tokio::time::Instant) {
        let parts = Arc::clone(&self.parts);
        let (name, number) = (key.clone(), ticket.number());
        let task = tokio::spawn(async move {
            let settled = parts.ask(&key, deadline).await;
            ticket.land(settled);
        });
        self.parts.inflight.runs_in(&name, number, task.abort_handle());
    }
}

impl Parts {
    async fn ask(&self, key: &QuestionKey, deadline: tokio::time::Instant) -> Settled {
        let roads = self.pool.recoveries();
        // Between the asker's own look into the cache and its turn here, the same question may have been answered.
        match self.cache.get(key, tokio::time::Instant::now().into_std(), roads) {
            Found::Fresh(entry) => return Settled::Answer(entry),
            Found::Failure(failure) => return Settled::Failure(Failure::Cached(failure.ede)),
            Found::Nothing => {}
        }
        match self.pool.ask(key, deadline).await {
            Ok(answered) => Settled::Answer(self.cache.put(key, answered.answer, answered.stored.into_std())),
            Err(error) => {
                let failure = Failure::Upstream(error);
                if let Some(origin) = failure.origin() {
                    let now = tokio::time::Instant::now().into_std();
                    self.cache.put_failure(key, origin, failure.response().1[0], now, roads);
                }
                Settled::Failure(failure)
            }
        }
    }
}

/// How the question ends; a closed channel means that its task died.
async fn landed(mut landing: Landing<Settled>) -> Settled {
    match landing.wait_for(Option::is_some).await {
        Ok(settled) => settled.clone().unwrap_or(Settled::Failure(Failure::Internal)),
        Err(_) => Settled::Failure(Failure::Internal),
    }
}

fn write(synthesis: Synthesis, query: &Query<'_>, out: &mut [u8]) -> usize {
    match synthesis {
        Synthesis::Any => synth::write_any(query, out),
        Synthesis::Error(rcode, ede) => synth::write_error(query, rcode, Some(ede), out),
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
            Self::Failure(failure) => {
                let (rcode, reasons) = failure.response();
                synth::write_failure(query, rcode, reasons, out)
            }
        }
    }

    /// Octets of `out` that hold the whole response, at most 65,535.
    pub fn max_len(&self) -> usize {
        match self {
            Self::Answer(entry) => entry.answer().max_len().clamp(512, 65_535),
            Self::Failure(_) => 512,
        }
    }
}

#[cfg(test)]
mod tests;
