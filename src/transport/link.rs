//! The road to one resolver, the same for every transport: one connection, opened when somebody asks, dialled by one
//! task for all who wait, replaced when it closes, and one second send for a query that it left unanswered.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::redial::Redial;
use super::tls::{self, Session};
use super::{ExchangeError, ExchangeErrorKind, Response, Stats, Target};

/// Opens connections of one transport.
pub(super) trait Open: Send + Sync + 'static {
    /// What is opened.
    type Connection: Carry;

    /// Opens one; ends by `deadline`.
    fn open(&self, deadline: Instant) -> impl Future<Output = Result<Self::Connection, ExchangeError>> + Send;
}

/// One connection. Dropping it lets it close once its queries are done.
pub(super) trait Carry: Send + Sync + 'static {
    /// Whether it takes new queries.
    fn is_open(&self) -> bool;

    /// Asks; ends by `deadline`. Cancel-safe.
    fn ask(&self, query: &[u8], deadline: Instant) -> impl Future<Output = Result<Response, AskError>> + Send;
}

/// Why a connection gave no answer, sorted by whether to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskError {
    /// It closed before the query was sent, or the server says that it never looked at it (GOAWAY).
    Unsent(ExchangeError),
    /// The query was sent, and the connection ended or shows signs of it.
    Unanswered(ExchangeError),
    /// The server refused this one query unprocessed (REFUSED_STREAM); the connection may be as good as ever.
    Refused(ExchangeError),
    /// Asking again would not help.
    Failed(ExchangeError),
}

/// TCP and TLS to a target: what every transport here begins with.
#[derive(Debug)]
pub(super) struct Road {
    dialer: Dialer,
    target: Target,
    stats: Arc<Stats>,
}

impl Road {
    pub(super) fn new(target: Target, stats: Arc<Stats>) -> Self {
        Self {
            dialer: Dialer::new(target.addresses.clone()),
            target,
            stats,
        }
    }

    /// Connects and shakes hands; `check` may refuse the session (ALPN).
    pub(super) async fn open(
        &self,
        check: fn(&Session) -> Result<(), ExchangeError>,
        deadline: Instant,
    ) -> Result<Session, ExchangeError> {
        let (stream, address) = self.dialer.connect(deadline).await?;
        let session = tls::handshake(
            stream,
            &self.target.server_name,
            &self.target.tls,
            deadline,
            &self.stats,
        )
        .await;
        match session.and_then(|session| check(&session).map(|()| session)) {
            Ok(session) => {
                self.dialer.worked(address);
                Ok(session)
            }
            Err(error) => {
                self.dialer.failed(address);
                Err(error)
            }
        }
    }
}

/// See the module.
pub(super) struct Link<O: Open> {
    shared: Arc<Shared<O>>,
    places: Semaphore,
}

struct Shared<O: Open> {
    opener: O,
    stats: Arc<Stats>,
    slot: Mutex<Slot<O::Connection>>,
}

struct Slot<C> {
    live: Option<Arc<Live<C>>>,
    dialing: Option<watch::Receiver<Dialed<C>>>,
    redial: Redial,
    /// Why there is no connection, for those who ask while dialling pauses.
    last_error: String,
    opened: u64,
}

/// `None` until the dial has ended.
type Dialed<C> = Option<Result<Arc<Live<C>>, ExchangeError>>;

struct Live<C> {
    carrier: C,
    answers: AtomicU64,
}

impl<O: Open> Link<O> {
    /// A link that opens nothing until it is asked.
    pub(super) fn new(opener: O, stats: Arc<Stats>) -> Self {
        let slot = Slot {
            live: None,
            dialing: None,
            redial: Redial::default(),
            last_error: "not connected".to_owned(),
            opened: 0,
        };
        Self {
            shared: Arc::new(Shared {
                opener,
                stats,
                slot: Mutex::new(slot),
            }),
            places: Semaphore::new(MAX_QUERIES),
        }
    }

    /// [`super::Exchange::exchange`].
    pub(super) async fn exchange(&self, query: &[u8], deadline: Instant) -> Result<Response, ExchangeError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(ExchangeError::full("too many queries wait for this resolver"));
        };
        let mut sent = 0;
        let mut last = ExchangeError::network("the connection closes before anything can be sent");
        for attempt in 0..MAX_ATTEMPTS {
            // A query that has met no connection yet waits for the next dial; one that met a bad one has had its chance.
            let live = if attempt == 0 {
                self.connection_after_pause(deadline).await
            } else {
                self.connection(deadline).await
            }?;
            match self.ask(&live, query, deadline).await {
                Ok(response) => return Ok(response),
                Err(AskError::Failed(error)) => return Err(error),
                Err(AskError::Unsent(error)) => {
                    self.shared.lock().replace(&live, &error);
                    last = error;
                    continue;
                }
                // Whether it knows already that it is closed or not: the second try must not meet the same end.
                Err(AskError::Unanswered(error)) => {
                    self.shared.lock().replace(&live, &error);
                    last = error;
                }
                Err(AskError::Refused(error)) => {
                    self.shared.replace_if_closed(&live, &error);
                    last = error;
                }
            }
            sent += 1;
            if sent == MAX_SENDS {
                break;
            }
            self.shared.stats.resent.increment();
        }
        Err(last)
    }

    async fn ask(
        &self,
        live: &Arc<Live<O::Connection>>,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Response, AskError> {
        let answers = live.answers.load(Ordering::Relaxed);
        let start = Instant::now();
        let result = live.carrier.ask(query, deadline).await;
        match &result {
            Ok(_) if live.answers.fetch_add(1, Ordering::Relaxed) == 0 => self.shared.lock().redial.answered(),
            // Nobody on it heard anything for as long as we waited: the path may be gone without a word. New queries go
            // another way; whoever still waits there may yet be answered.
            Err(AskError::Failed(error))
                if error.kind == ExchangeErrorKind::Silent
                    && start.elapsed() >= SUSPECT_AFTER
                    && live.answers.load(Ordering::Relaxed) == answers =>
            {
                self.shared.lock().replace(live, error);
            }
            _ => {}
        }
        result
    }

    /// The same, after the pause between dials if there is one and it ends before `deadline`: it is under a second.
    async fn connection_after_pause(&self, deadline: Instant) -> Result<Arc<Live<O::Connection>>, ExchangeError> {
        if let Some(end) = self.shared.pause().filter(|end| *end < deadline) {
            tokio::time::sleep_until(end).await;
        }
        self.connection(deadline).await
    }

    /// The open connection, or the one that is being dialled.
    async fn connection(&self, deadline: Instant) -> Result<Arc<Live<O::Connection>>, ExchangeError> {
        let mut dialing = match self.shared.connection_or_dial()? {
            Connection::Open(live) => return Ok(live),
            Connection::Dialing(dialing) => dialing,
        };
        let ended = timeout_at(deadline, dialing.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(dialed)) => dialed
                .clone()
                .unwrap_or_else(|| Err(ExchangeError::network("the dial was stopped"))),
            Ok(Err(_)) => Err(ExchangeError::network("the dial was stopped")),
            Err(_) => Err(ExchangeError::network("not connected in time")),
        }
    }
}

enum Connection<C> {
    Open(Arc<Live<C>>),
    Dialing(watch::Receiver<Dialed<C>>),
}

impl<O: Open> Shared<O> {
    /// Until when nobody dials, if there is neither a connection nor a dial under way.
    fn pause(&self) -> Option<Instant> {
        let slot = self.lock();
        let has_road = slot.live.is_some() || slot.dialing.is_some();
        slot.redial.paused_until(Instant::now()).filter(|_| !has_road)
    }

    fn connection_or_dial(self: &Arc<Self>) -> Result<Connection<O::Connection>, ExchangeError> {
        let mut slot = self.lock();
        if let Some(live) = slot.live.clone() {
            if live.carrier.is_open() {
                return Ok(Connection::Open(live));
            }
            slot.replace(
                &live,
                &ExchangeError::network("the server closes the connection before it answers anything"),
            );
        }
        // A dial whose task is gone without a result has panicked: it must not block the road for ever.
        if let Some(dialing) = slot.dialing.as_ref().filter(|dialing| dialing.has_changed().is_ok()) {
            return Ok(Connection::Dialing(dialing.clone()));
        }
        if slot.redial.paused_until(Instant::now()).is_some() {
            return Err(ExchangeError::network(slot.last_error.as_str()));
        }
        let (result, dialing) = watch::channel(None);
        slot.dialing = Some(dialing.clone());
        drop(slot);
        // A task of its own: whoever asked first may go away, the others still want the connection.
        tokio::spawn(Arc::clone(self).dial(result));
        Ok(Connection::Dialing(dialing))
    }

    async fn dial(self: Arc<Self>, result: watch::Sender<Dialed<O::Connection>>) {
        let opened = self.opener.open(Instant::now() + DIAL_LIMIT).await;
        let opened = opened.map(|carrier| {
            Arc::new(Live {
                carrier,
                answers: AtomicU64::new(0),
            })
        });
        let mut slot = self.lock();
        slot.dialing = None;
        match &opened {
            Ok(live) => {
                if slot.opened > 0 {
                    self.stats.reconnects.increment();
                }
                slot.opened += 1;
                slot.live = Some(Arc::clone(live));
            }
            Err(error) => {
                self.stats.dial_failures.increment();
                slot.last_error.clone_from(&error.detail);
                slot.redial.failed(Instant::now());
                tracing::debug!(%error, "cannot open a connection to a resolver");
            }
        }
        drop(slot);
        // Nobody waiting any more is fine.
        let _ = result.send(Some(opened));
    }

    fn replace_if_closed(&self, live: &Arc<Live<O::Connection>>, error: &ExchangeError) {
        if !live.carrier.is_open() {
            self.lock().replace(live, error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<O::Connection>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Slot<C> {
    /// Takes this connection out of use for new queries, once. One that never answered counts as a failed dial.
    fn replace(&mut self, live: &Arc<Live<C>>, error: &ExchangeError) {
        if !self.live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            return;
        }
        self.live = None;
        if live.answers.load(Ordering::Relaxed) == 0 {
            self.last_error.clone_from(&error.detail);
            self.redial.failed(Instant::now());
        }
    }
}

/// Queries at one resolver, sent or waiting to be: 200 in flight and 1,000 in line, which a resolver that answers at
/// all works off well within a query's five seconds. One more is `Full` at once (T-QUEUE).
const MAX_QUERIES: usize = 1_200;

/// A query is sent once, and once more if the connection closed (RFC 7766 section 6.2.4).
const MAX_SENDS: u64 = 2;

/// Connections that one query may try, the two sends included. All who wait move on together when a server gives a
/// connection up; with one that takes three requests on each (nginx with a low `keepalive_requests`) this serves a
/// hundred at once.
const MAX_ATTEMPTS: u32 = 32;

/// Longest time for TCP and TLS: the patience of the query that caused it. The next one starts afresh.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Silence shorter than this says nothing about a connection: recursion alone may take a second.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
