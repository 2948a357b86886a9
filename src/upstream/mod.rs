//! The resolvers we ask: where they are, whether they work, which one gets a question, and the check of what comes back.
//!
//! Never sends anything of a client's: the query is made of the question key alone.

pub mod bootstrap;
pub mod connect;
pub mod endpoint;
mod health;
pub mod iana;
pub mod pool;
pub mod presentation;
pub mod records;
pub mod route_endpoint;
pub mod select;
pub mod undated;
mod well_known;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::stats::{Counter, Gauge, Histogram};
use crate::transport::{self, Addresses, Exchange, ExchangeError, ExchangeErrorKind};
use crate::wire::answer::{Answer, TtlLimits, Unusable};
use crate::wire::edns::Ede;
use crate::wire::header::Rcode;
use crate::wire::question::{Keepalive, MAX_QUERY_LEN, QuestionKey};
use health::{Health, Standing};
use select::{Candidate, Pace};

/// One resolver behind one transport.
pub struct Upstream {
    name: String,
    transport: &'static str,
    exchange: Arc<dyn Exchange>,
    addresses: Arc<Addresses>,
    keepalive: Keepalive,
    health: Mutex<Health>,
    pace: Mutex<Pace>,
    in_flight: Gauge,
    stats: Stats,
    road: Arc<transport::Stats>,
}

/// Figures of one upstream.
#[derive(Debug, Default)]
pub struct Stats {
    /// Questions put to it.
    pub queries: Counter,
    /// Of these, how many brought no usable answer.
    pub failures: Counter,
    /// Smoothed time to a response, in microseconds (RFC 6298: an eighth of each new sample); 0 before the first.
    pub smoothed_rtt_us: Gauge,
    /// Times to a response.
    pub duration: Histogram,
    /// What went wrong last, in words without names.
    last_error: Mutex<Option<String>>,
}

impl Stats {
    /// What went wrong last, in words; never a query name.
    pub fn last_error(&self) -> Option<String> {
        locked(&self.last_error).clone()
    }

    fn observe(&self, duration: Duration) {
        self.duration.observe(duration);
        let sample = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.smoothed_rtt_us.value();
        self.smoothed_rtt_us
            .set(if old == 0 { sample } else { old - old / 8 + sample / 8 });
    }
}

/// An answer from an upstream.
#[derive(Debug)]
pub struct Answered {
    /// Checked, for the question that was asked.
    pub answer: Answer,
    /// When its TTLs began to run: its arrival, less the time it spent in HTTP caches (RFC 8484 section 5.1).
    pub stored: Instant,
}

/// Why an upstream gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// The road failed: connect, TLS, HTTP, or it wants to be left alone.
    Network,
    /// Nothing came back in time.
    Silent,
    /// Our own queue to it is full.
    Full,
    /// What came back was no answer to the question.
    Garbage,
    /// The resolver says that it failed.
    Failed {
        /// Its RCODE.
        rcode: Rcode,
        /// Its reason.
        ede: Option<Ede>,
    },
}

impl AskError {
    /// Whether another upstream would say the same: DNSSEC validation failed. Asking it would only show it the name.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Failed { ede: Some(ede), .. } if ede.is_validation_failure())
    }

    /// Of two failures the one that tells the user more.
    fn more_telling(self, other: Self) -> Self {
        let rank = |error: &Self| match error {
            Self::Full => 0,
            Self::Silent => 1,
            Self::Network => 2,
            Self::Garbage => 3,
            Self::Failed { .. } => 4,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
}

impl Upstream {
    /// An upstream by the name it has in the stats. `keepalive` says whether its queries ask for an idle time: over DoT.
    pub fn new(name: String, exchange: Arc<dyn Exchange>, keepalive: Keepalive) -> Self {
        Self {
            name,
            transport: "none",
            exchange,
            addresses: Arc::new(Addresses::new(Vec::new())),
            keepalive,
            health: Mutex::default(),
            pace: Mutex::default(),
            in_flight: Gauge::default(),
            stats: Stats::default(),
            road: Arc::default(),
        }
    }

    /// Its name in the stats.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `dot` or `doh`; `udp` or `tcp` for a route's server of classic DNS.
    pub fn transport(&self) -> &'static str {
        self.transport
    }

    /// The figures of its connections.
    pub fn road(&self) -> &transport::Stats {
        &self.road
    }

    /// Its figures.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether it counts as working.
    pub fn is_up(&self) -> bool {
        locked(&self.health).is_up()
    }

    /// The network may have changed: its connections are looked at, and what is known of its health is forgiven. Says whether
    /// it was down.
    pub fn network_changed(&self) -> bool {
        self.exchange.network_changed();
        locked(&self.health).network_changed(Instant::now())
    }

    async fn ask(&self, key: &QuestionKey, deadline: Instant, ttls: &TtlLimits) -> Result<Answered, AskError> {
        let mut query = [0; MAX_QUERY_LEN];
        let len = key.write_query(self.keepalive, &mut query);
        self.stats.queries.increment();
        let sent = Instant::now();
        let _in_flight = self.in_flight.hold();
        let response = match self.exchange.exchange(&query[..len], deadline).await {
            Ok(response) => response,
            Err(error) => return Err(self.note(&error)),
        };
        let arrived = Instant::now();
        self.stats.observe(arrived - sent);
        let stored = arrived
            .checked_sub(Duration::from_secs(response.age.into()))
            .unwrap_or(arrived);
        match Answer::check(&response.octets, key, ttls) {
            Ok(answer) => Ok(Answered { answer, stored }),
            Err(Unusable::Malformed(error)) => {
                self.remember(format!("unusable response: {error}"));
                Err(AskError::Garbage)
            }
            Err(Unusable::Failed { rcode, ede }) => {
                self.remember(format!("the resolver answered {rcode}"));
                Err(AskError::Failed { rcode, ede })
            }
        }
    }

    fn note(&self, error: &ExchangeError) -> AskError {
        self.remember(error.to_string());
        let now = Instant::now();
        match error.kind {
            ExchangeErrorKind::Network => {
                locked(&self.health).broke(now, None);
                AskError::Network
            }
            ExchangeErrorKind::Full => AskError::Full,
            ExchangeErrorKind::Busy { retry_after } => {
                locked(&self.health).broke(now, retry_after);
                AskError::Network
            }
            ExchangeErrorKind::Silent => AskError::Silent,
            ExchangeErrorKind::Garbage => AskError::Garbage,
        }
    }

    /// As one of those that may be asked now, unless it asked to be left alone.
    fn candidate(&self, index: usize, now: Instant) -> Option<Candidate> {
        let health = locked(&self.health);
        let is_avoided = health.is_avoided(now);
        (!health.must_be_left_alone(now)).then(|| Candidate {
            index,
            is_avoided,
            is_on_trial: !health.is_up() && !is_avoided,
            cost: locked(&self.pace).cost(self.in_flight.value(), now),
        })
    }

    /// It is at these addresses, as far as is known.
    pub fn is_at(&self, addresses: &[IpAddr], port: u16) {
        let addresses = addresses.iter().map(|address| SocketAddr::new(*address, port));
        self.addresses.learned(addresses.collect());
    }

    /// Whether its certificate was refused last for nothing but its dates.
    pub fn is_refused_for_dates(&self) -> bool {
        self.road.refused_for_dates.value() > 0
    }

    /// Where it is, as far as is known.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.current().iter().map(SocketAddr::ip).collect()
    }

    /// Its addresses are others than before: whether it works there is not known.
    fn has_moved(&self) {
        locked(&self.health).network_changed(Instant::now());
    }

    fn warm_up(&self) {
        self.exchange.warm_up();
    }

    fn standing(&self, now: Instant) -> Standing {
        locked(&self.health).standing(now)
    }

    fn is_in_doubt(&self) -> bool {
        self.exchange.is_in_doubt()
    }

    /// Whether it is down and no trial is due.
    fn is_avoided(&self, now: Instant) -> bool {
        locked(&self.health).is_avoided(now)
    }

    /// Whether it has asked not to be asked.
    fn must_be_left_alone(&self, now: Instant) -> bool {
        locked(&self.health).must_be_left_alone(now)
    }

    /// It was given up while it was silent.
    fn gave_nothing(&self) {
        self.stats.failures.increment();
        locked(&self.pace).failed(Instant::now());
        self.remember("no answer in time".to_owned());
    }

    fn was_silent(&self, sent: Instant, now: Instant) {
        locked(&self.health).was_silent(sent, now);
    }

    /// Counts a result; says whether the upstream came back with it.
    fn judge(&self, result: &Result<Answered, AskError>, sent: Instant, now: Instant) -> bool {
        match result {
            Ok(_) => locked(&self.pace).observe(now.saturating_duration_since(sent), now),
            Err(error) => {
                self.stats.failures.increment();
                // Our own full queue says nothing about it.
                if *error != AskError::Full {
                    locked(&self.pace).failed(now);
                }
            }
        }
        let responded = matches!(result, Ok(_) | Err(AskError::Failed { .. }));
        responded && locked(&self.health).responded(now)
    }

    fn remember(&self, error: String) {
        *locked(&self.stats.last_error) = Some(error);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A lock held for a few instructions, never across an await. What it guards stays whole even if a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
