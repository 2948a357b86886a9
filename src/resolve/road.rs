//! One way for questions to take: the upstreams of one name space, what they have answered, and what they are being asked.

use std::sync::Arc;

use tokio::time::Instant;

use super::inflight::{Inflight, MAX_FLIGHTS};
use super::{Failure, Purpose, Settled};
use crate::cache::{Cache, Entry, Found};
use crate::policy::{Outward, Policy};
use crate::upstream::pool::Pool;
use crate::upstream::undated::Undated;
use crate::upstream::{Answered, AskError, Upstream};
use crate::wire::answer::Answer;
use crate::wire::question::QuestionKey;

/// Seconds for which a withheld answer is kept: a site that mends its addresses need not wait long.
const WITHHELD_TTL: u32 = 60;

/// See the module.
#[derive(Debug)]
pub struct Road {
    pub(super) cache: Arc<Cache>,
    pub(super) pool: Pool,
    undated: Option<Undated>,
    pub(super) inflight: Inflight<Settled>,
}

/// How answers are looked at before they are given.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) policy: &'a Policy,
    /// What comes from the public is inspected. A route's resolver is trusted with its own names.
    pub(super) is_public: bool,
}

impl Look<'_> {
    /// Whether an answer from the cache may be given: rules that are newer than its last look are applied once.
    pub(super) fn allows(self, key: &QuestionKey, entry: &Entry) -> bool {
        let generation = self.policy.generation();
        if entry.is_of(generation) {
            return true;
        }
        let answer = entry.answer();
        // The user's aliases may be others now, or none.
        let is_as_before = !answer.facts().is_behind_aliases && self.policy.outward(key).is_none();
        let is_allowed = is_as_before && self.allows_new(key, answer);
        if is_allowed {
            entry.passed(generation);
        }
        is_allowed
    }

    fn allows_new(self, key: &QuestionKey, answer: &Answer) -> bool {
        !self.is_public || self.policy.allows(key, answer)
    }
}

impl Road {
    /// A road over these upstreams, with a cache of its own.
    pub fn new(cache: Arc<Cache>, pool: Pool) -> Self {
        Self {
            cache,
            pool,
            undated: None,
            inflight: Inflight::new(MAX_FLIGHTS),
        }
    }

    /// The same, with the way out for a host whose clock is wrong.
    #[must_use]
    pub fn with_time_servers(self, undated: Option<Undated>) -> Self {
        Self { undated, ..self }
    }

    /// Its upstreams.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What they have answered.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The same, for a road that takes this one's place.
    pub fn shared_cache(&self) -> Arc<Cache> {
        Arc::clone(&self.cache)
    }

    /// Asks, unless the answer has come meanwhile.
    pub(super) async fn ask(&self, look: Look<'_>, key: &QuestionKey, deadline: Instant, purpose: Purpose) -> Settled {
        let now = Instant::now().into_std();
        let roads = self.pool.recoveries();
        // Between the asker's own look into the cache and its turn here, the same question may have been answered.
        match self.cache.get(key, now, roads) {
            Found::Fresh(entry) if purpose == Purpose::Renewal && entry.is_ending(now) => {}
            Found::Fresh(entry) if look.allows(key, &entry) => return Settled::Answer(entry),
            Found::Fresh(_) => {}
            Found::Failure(failure) | Found::Stale(_, Some(failure)) => {
                return Settled::Failure(Failure::Cached(failure.ede));
            }
            Found::Nothing | Found::Stale(_, None) => {}
        }
        // Before the answer is looked at: what changes meanwhile has it looked at again.
        let generation = look.policy.generation();
        match self.ask_outward(look, key, deadline).await {
            Ok(Answered { answer, stored }) => {
                let entry = self.cache.put(key, answer, stored.into_std());
                entry.passed(generation);
                Settled::Answer(entry)
            }
            Err(error) => {
                let failure = Failure::Upstream(error);
                if let Some(origin) = failure.origin() {
                    let now = Instant::now().into_std();
                    self.cache.put_failure(key, origin, failure.response().1[0], now, roads);
                }
                Settled::Failure(failure)
            }
        }
    }

    /// Asks for the name, or for the one that the user's aliases lead to, and looks at what comes.
    async fn ask_outward(&self, look: Look<'_>, key: &QuestionKey, deadline: Instant) -> Result<Answered, AskError> {
        let outward = look.policy.outward(key);
        let asked_for = outward.as_ref().map_or(key, |outward| &outward.key);
        let Answered { mut answer, stored } = self.ask_upstream(asked_for, deadline).await?;
        if !look.allows_new(asked_for, &answer) {
            answer = answer.withheld(WITHHELD_TTL);
        }
        if let Some(Outward { records, .. }) = &outward
            && let Some(found) = records.find(key.qname(), key.qtype())
        {
            answer = answer.behind(key, found.aliases()).map_err(|_| AskError::Garbage)?;
        }
        Ok(Answered { answer, stored })
    }

    async fn ask_upstream(&self, key: &QuestionKey, deadline: Instant) -> Result<Answered, AskError> {
        let asked = self.pool.ask(key, deadline).await;
        match &self.undated {
            Some(undated) if self.must_ignore_dates(&asked) && undated.is_for(key) => undated.ask(key, deadline).await,
            _ => asked,
        }
    }

    fn must_ignore_dates(&self, asked: &Result<Answered, AskError>) -> bool {
        let refused = |upstream: &Arc<Upstream>| upstream.is_refused_for_dates();
        matches!(asked, Err(AskError::Network)) && self.pool.upstreams().iter().any(refused)
    }
}
