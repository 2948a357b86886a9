//! One open connection and its vital signs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Carry;

/// A connection that queries were or are on.
#[derive(Debug)]
pub(super) struct Live<C> {
    pub(super) carrier: C,
    opened: Instant,
    max_age: Duration,
    queries: AtomicU64,
    answers: AtomicU64,
    /// How much had been read when it fell under suspicion; [`TRUSTED`] if it never did, [`STALLED`] if reads are no excuse.
    doubted_at: AtomicU64,
    /// When that was, in milliseconds of its life.
    doubted_since: AtomicU64,
    /// When the last doubt ended, in milliseconds of its life.
    trusted_since: AtomicU64,
    waiting: AtomicUsize,
    given_up: AtomicBool,
    /// Wakes those who wait for its answers when it is in doubt or given up, and those who wait for a sign of life.
    wake: Notify,
}

impl<C: Carry> Live<C> {
    /// `jitter` is a random number: successors of many connections must not all be dialled at one time.
    pub(super) fn new(carrier: C, now: Instant, jitter: u8) -> Self {
        Self {
            carrier,
            opened: now,
            max_age: MAX_AGE.mul_f64(1.0 - f64::from(jitter) / 1024.0),
            queries: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            doubted_at: AtomicU64::new(TRUSTED),
            doubted_since: AtomicU64::new(0),
            trusted_since: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// A query goes out on it, and waits as long as what is given back lives.
    pub(super) fn asked(&self) -> Waiting<'_> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// Queries that wait on it.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// An answer to a query sent at `asked` came; says whether it is the first, and whether its time tells of the resolver: of those
    /// that waited for the end of one doubt the first does, the others tell of the connection.
    pub(super) fn answered(&self, asked: Instant, now: Instant) -> (bool, bool) {
        let is_first = self.answers.fetch_add(1, Ordering::Relaxed) == 0;
        if self.doubted_at.swap(TRUSTED, Ordering::Relaxed) == TRUSTED {
            return (
                is_first,
                self.millis(asked) >= self.trusted_since.load(Ordering::Relaxed),
            );
        }
        self.trusted_since.store(self.millis(now), Ordering::Relaxed);
        self.wake.notify_waiters();
        (is_first, true)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answers() > 0
    }

    /// Answers that came on it.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Nothing was read on it for too long, or nothing that answers anything for longer.
    pub(super) fn doubt(&self, why: Doubt, now: Instant) {
        if !self.is_doubted() {
            self.doubted_since.store(self.millis(now), Ordering::Relaxed);
        } else if why == Doubt::Silent {
            return;
        }
        let at = match why {
            Doubt::Silent => self.carrier.reads(),
            Doubt::Stalled => STALLED,
        };
        self.doubted_at.store(at, Ordering::Relaxed);
        self.wake.notify_waiters();
    }

    /// Whether it has been in doubt for so long.
    pub(super) fn is_doubted_for(&self, time: Duration, now: Instant) -> bool {
        let since = Duration::from_millis(self.doubted_since.load(Ordering::Relaxed));
        self.is_doubted() && self.age(now) >= since + time
    }

    /// Whether the doubt began before, or at, this time.
    pub(super) fn was_doubted_before(&self, time: Instant) -> bool {
        self.is_doubted() && self.doubted_since.load(Ordering::Relaxed) <= self.millis(time)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it is in doubt and nothing has been read on it since that ends the doubt.
    pub(super) fn is_doubted(&self) -> bool {
        let at = self.doubted_at.load(Ordering::Relaxed);
        at == STALLED || at == self.carrier.reads()
    }

    /// It is dead: those who wait on it go elsewhere.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }

    /// Ends when it is given up. Cancel-safe.
    pub(super) async fn until_given_up(&self) {
        self.until(|| self.given_up.load(Ordering::Acquire)).await;
    }

    /// Ends when it is in doubt. Cancel-safe.
    pub(super) async fn until_doubted(&self) {
        self.until(|| self.is_doubted()).await;
    }

    /// Ends when it is in no doubt any more. Cancel-safe.
    pub(super) async fn until_trusted(&self) {
        self.until(|| !self.is_doubted()).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let woken = self.wake.notified();
            if is_so() {
                return;
            }
            woken.await;
        }
    }

    /// Whether it should be replaced before something breaks: its age, or the end of its stream IDs.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= self.max_age
            || self.queries.load(Ordering::Relaxed) >= MAX_STREAMS
    }

    /// Whether it was open before this time.
    pub(super) fn is_older_than(&self, time: Instant) -> bool {
        self.opened < time
    }

    /// How long it has been open.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }
}

/// Why a connection is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing is read: the next octet ends the doubt.
    Silent,
    /// Octets come, and none of them answers anything (pings, a drip): only an answer ends the doubt.
    Stalled,
}

/// A query that waits.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// No count of reads.
const TRUSTED: u64 = u64::MAX;

/// Neither is this.
const STALLED: u64 = u64::MAX - 1;

/// A connection is replaced after 90 to 120 minutes: often enough that a resolver's retired machine or address does not keep us
/// for ever, rarely enough that light browsing costs one handshake an hour.
const MAX_AGE: Duration = Duration::from_secs(120 * 60);

/// Queries on one connection: HTTP/2 has 2^30 stream IDs for a client (RFC 9113 section 5.1.1).
const MAX_STREAMS: u64 = 1 << 29;
