//! What one query knows of the connection that it waits on, and when that becomes suspicious.

use std::time::Duration;

use tokio::time::Instant;

use super::Carry;
use super::live::{Doubt, Live};
use super::rtt::{MAX_SUSPICION, Rtt};

/// See the module.
pub(super) struct Patience {
    /// When the query left, as far as is known.
    pub(super) began: Instant,
    /// When to look next.
    pub(super) next: Instant,
    /// When silence becomes suspicious.
    pub(super) suspect_at: Instant,
    /// When octets that answer nobody become suspicious.
    stalled_at: Instant,
    /// What had been read when it was asked or last looked at, and answered.
    pub(super) reads: u64,
    answers: u64,
    /// Octets came since the last answer.
    dripped: bool,
    /// It is asked elsewhere once at a time.
    pub(super) may_hedge: bool,
    /// Its connection is known to be in doubt.
    pub(super) is_alarmed: bool,
}

/// Who has a place at once leaves in microseconds, on a busy machine in milliseconds.
const IN_LINE: Duration = Duration::from_millis(10);

impl Patience {
    pub(super) fn new<C: Carry>(live: &Live<C>, rtt: &Rtt) -> Self {
        let now = Instant::now();
        let mut patience = Self {
            began: now,
            next: now,
            suspect_at: now,
            stalled_at: now,
            reads: live.carrier.reads(),
            answers: live.answers(),
            dripped: false,
            may_hedge: true,
            is_alarmed: false,
        };
        patience.begin(now, rtt);
        patience
    }

    /// Gives it its time from then on.
    fn begin(&mut self, from: Instant, rtt: &Rtt) {
        self.began = from;
        self.suspect_at = from + rtt.suspect_after();
        self.next = self.suspect_at.min(from + rtt.hedge_after());
        self.stalled_at = from + rtt.stalled_after();
    }

    /// Whether the query stood in line when this began: it is given its time from when it left, or from now on as long as the line moves. What
    /// had been read before excuses it once.
    pub(super) fn excuses_line<C: Carry>(&mut self, departure: Option<Instant>, live: &Live<C>, rtt: &Rtt) -> bool {
        let from = match departure {
            Some(time) if time > self.began + IN_LINE => time,
            None if self.reads != live.carrier.reads() => {
                self.reads = live.carrier.reads();
                Instant::now()
            }
            _ => return false,
        };
        self.begin(from, rtt);
        true
    }

    pub(super) fn hedge_if(&mut self, is_due: impl FnOnce() -> bool) -> bool {
        let hedges = self.may_hedge && is_due();
        self.may_hedge &= !hedges;
        hedges
    }

    /// Somebody else put the connection in doubt: what was read before tells nothing any more.
    pub(super) fn alarm<C: Carry>(&mut self, live: &Live<C>, rtt: &Rtt) {
        self.is_alarmed = true;
        self.reads = live.carrier.reads();
        self.suspect_at = self.suspect_at.min(Instant::now() + rtt.suspect_after());
        self.next = self.next.min(self.suspect_at);
    }

    /// Takes down what came since the last look, and sets the time of the next; says what is suspicious. Octets alone excuse a
    /// connection only for a while: a peer that drips or pings without ever answering would keep every query to itself (T-SILENT).
    pub(super) fn note<C: Carry>(&mut self, live: &Live<C>, rtt: &Rtt, now: Instant) -> Option<Doubt> {
        let (reads, answers) = (live.carrier.reads(), live.answers());
        let is_silent = self.reads == reads;
        if self.answers != answers {
            // Where others were answered meanwhile, this name is slow, not the connection: that may change, but not so soon.
            self.stalled_at = now + MAX_SUSPICION;
            self.dripped = false;
        } else {
            self.dripped |= !is_silent;
        }
        (self.reads, self.answers) = (reads, answers);
        let doubt = if self.dripped && now >= self.stalled_at {
            Some(Doubt::Stalled)
        } else {
            is_silent.then_some(Doubt::Silent)
        };
        self.is_alarmed = doubt.is_some();
        self.suspect_at = doubt.map_or(self.stalled_at, |_| now + rtt.suspect_after());
        self.next = self.suspect_at;
        doubt
    }
}
