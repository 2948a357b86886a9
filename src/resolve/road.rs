//! One way for questions to take: the upstreams of one name space, what they have answered, and what they are being asked.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::inflight::{Inflight, MAX_FLIGHTS};
use super::{Asked, Failure, Flight, Purpose, Settled};
use crate::cache::{Cache, Entry, Found};
use crate::policy::Policy;
use crate::policy::rebind::is_this_host;
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
    /// This host's addresses, to which a stranger's answers do not lead.
    pub(super) own: Box<[IpAddr]>,
    undated: Option<Undated>,
    /// By question, and by which rules it is another's.
    pub(super) inflight: Inflight<Flight, Settled>,
}

/// How answers are looked at before they are given.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) policy: &'a Policy,
    pub(super) belief: Belief<'a>,
    /// Of the rules by which the question was decided on.
    pub(super) generation: u64,
}

/// How far an answer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief<'a> {
    /// The public's is inspected.
    Public,
    /// A route's resolver is trusted with its own names.
    Route,
    /// A hotel's leads to the hotel, but never to this host, by loopback or by an address of its own: a page could else speak to what listens
    /// here.
    Window(&'a [IpAddr]),
}

impl Look<'_> {
    /// Whether an answer from the cache may be given: rules that are newer than its last look are applied once.
    pub(super) fn allows(self, key: &QuestionKey, entry: &Entry) -> bool {
        if entry.is_of(self.generation) {
            return true;
        }
        let answer = entry.answer();
        // The user's aliases may be others now, or none.
        let is_as_before = !answer.facts().is_behind_aliases && !self.policy.is_alias(key);
        let is_allowed = is_as_before && self.allows_new(key, answer);
        if is_allowed {
            entry.passed(self.generation);
        }
        is_allowed
    }

    /// The answer, or what is given in its place.
    fn inspected(self, key: &QuestionKey, Answered { answer, stored }: Answered) -> Answered {
        let answer = if self.allows_new(key, answer.view()) {
            answer
        } else {
            answer.withheld(WITHHELD_TTL)
        };
        Answered { answer, stored }
    }

    fn allows_new(self, key: &QuestionKey, answer: Answer<&[u8]>) -> bool {
        match self.belief {
            Belief::Public => self.policy.allows(key, answer),
            Belief::Route => true,
            Belief::Window(own) => !answer.addresses().any(|ip| is_this_host(ip) || own.contains(&ip)),
        }
    }
}

impl Road {
    /// A road over these upstreams, with a cache of its own.
    pub fn new(cache: Arc<Cache>, pool: Pool) -> Self {
        Self {
            cache,
            pool,
            own: Box::default(),
            undated: None,
            inflight: Inflight::new(MAX_FLIGHTS),
        }
    }

    /// The same, for a stranger's answers: these addresses are this host's.
    #[must_use]
    pub fn leading_away_from(self, own: Vec<IpAddr>) -> Self {
        Self {
            own: own.into(),
            ..self
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
    pub(super) async fn ask(&self, policy: &Policy, asked: &Asked, deadline: Instant, purpose: Purpose) -> Settled {
        let now = Instant::now().into_std();
        let (key, look, since) = (asked.key(), asked.look(policy), asked.since(&self.pool));
        // Between the asker's own look into the cache and its turn here, the same question may have been answered.
        match self.cache.get(key, now, since) {
            Found::Fresh(entry) if purpose == Purpose::Renewal && entry.is_ending(now) => {}
            Found::Fresh(entry) if look.allows(key, &entry) => return Settled::Answer(entry),
            Found::Fresh(_) => {}
            Found::Failure(failure) | Found::Stale(_, Some(failure)) => {
                return Settled::Failure(Failure::Cached(failure.ede));
            }
            Found::Nothing | Found::Stale(_, None) => {}
        }
        match self.ask_for_target(look, asked, deadline).await {
            Ok(Answered { answer, stored }) => {
                let entry = self.cache.put(key, &answer, stored.into_std());
                entry.passed(asked.generation);
                Settled::Answer(entry)
            }
            Err(failure) => {
                if let Some(origin) = failure.origin() {
                    let now = Instant::now().into_std();
                    let ede = failure.response().1[0];
                    self.cache.put_failure(key, origin, ede, now, since);
                }
                Settled::Failure(failure)
            }
        }
    }

    /// Asks for the name, or for the one that the user's aliases lead to, and looks at what comes.
    async fn ask_for_target(&self, look: Look<'_>, asked: &Asked, deadline: Instant) -> Result<Answered, Failure> {
        let key = asked.key();
        let found = asked
            .aliases
            .as_ref()
            .and_then(|records| records.find(key.qname(), key.qtype()));
        let Some(found) = found else {
            let answered = self.ask_upstream(key, deadline).await.map_err(Failure::Upstream)?;
            return Ok(look.inspected(key, answered));
        };
        let target = found.target().and_then(|target| key.with_qname(target));
        let target = target.ok_or(Failure::Alias)?;
        let answered = self.ask_upstream(&target, deadline).await.map_err(Failure::Upstream)?;
        let Answered { answer, stored } = look.inspected(&target, answered);
        let answer = answer.behind(key, found.aliases()).map_err(|_| Failure::Alias)?;
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
