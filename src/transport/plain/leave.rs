//! By whose leave a server is asked in clear text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::RouteOnly;
use crate::os::clock::since_start;
use crate::stats::Counter;
use crate::transport::ExchangeError;

/// The only two there are (promise 1).
#[derive(Clone, Debug)]
pub enum Leave {
    /// A route's, for its zones, as long as the configuration has it.
    Route(RouteOnly),
    /// A person's, for a sign-in page: for some names, for a time.
    Window(WindowOnly),
}

/// Leave to send classic DNS for these names and not even for those below them, until a moment or until it is taken back. Only what reads a
/// consent of root's makes one: a test of the house reads the source for it. Clones share it.
#[derive(Clone)]
pub struct WindowOnly(Arc<Shared>);

struct Shared {
    names: Vec<Name>,
    /// Its number.
    interface: u32,
    until: Instant,
    /// The same since the machine's start: the other clock stands still while the machine sleeps.
    until_since_start: Duration,
    is_taken_back: AtomicBool,
}

/// A canonical name in wire form, and how often it was sent.
struct Name {
    octets: Box<[u8]>,
    sent: Arc<Counter>,
}

impl Leave {
    /// Whether this canonical name may be asked.
    pub(super) fn covers(&self, qname: &[u8]) -> bool {
        match self {
            Self::Route(only) => only.covers(qname),
            Self::Window(only) => only.find(qname).is_some(),
        }
    }

    /// To be looked at before each packet.
    ///
    /// # Errors
    /// `Network` once the leave has ended.
    pub(super) fn holds(&self, now: Instant) -> Result<(), ExchangeError> {
        match self {
            Self::Window(only) if !only.is_open(now) => Err(ExchangeError::network("the leave to ask here has ended")),
            _ => Ok(()),
        }
    }

    /// Whether a packet may leave by this way, bound to the interface with this number or to none.
    ///
    /// # Errors
    /// `Network` for any other interface than the one that a person consented to, whatever its name is now.
    pub(super) fn is_for(&self, bound_to: Option<u32>) -> Result<(), ExchangeError> {
        match self {
            Self::Window(only) if bound_to != Some(only.0.interface) => {
                Err(ExchangeError::network("the network that the leave is for has gone"))
            }
            _ => Ok(()),
        }
    }

    /// A question for this name is on its way.
    pub(super) fn count(&self, qname: &[u8]) {
        if let Self::Window(only) = self
            && let Some(name) = only.find(qname)
        {
            name.sent.increment();
        }
    }
}

impl WindowOnly {
    /// Leave for so long, by the interface with this number, for these names, canonical and in wire form.
    pub fn for_a_time(left: Duration, interface: u32, names: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        Self::of(left, interface, names, |_| Arc::default())
    }

    /// The same, counting on for the names that `self` is for too.
    pub fn going_on(&self, left: Duration, names: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let known = |octets: &[u8]| self.find(octets).map(|name| Arc::clone(&name.sent));
        Self::of(left, self.0.interface, names, |octets| {
            known(octets).unwrap_or_default()
        })
    }

    fn of(
        left: Duration,
        interface: u32,
        names: impl IntoIterator<Item = Box<[u8]>>,
        counter: impl Fn(&[u8]) -> Arc<Counter>,
    ) -> Self {
        let name = |octets: Box<[u8]>| Name {
            sent: counter(&octets),
            octets,
        };
        Self(Arc::new(Shared {
            names: names.into_iter().map(name).collect(),
            interface,
            until: Instant::now() + left,
            until_since_start: since_start() + left,
            is_taken_back: AtomicBool::new(false),
        }))
    }

    /// Whether it has not ended.
    pub fn is_open(&self, now: Instant) -> bool {
        now < self.0.until && since_start() <= self.0.until_since_start && !self.0.is_taken_back.load(Ordering::Acquire)
    }

    /// When it ends.
    pub fn ends(&self) -> Instant {
        self.0.until
    }

    /// It ends now.
    pub fn take_back(&self) {
        self.0.is_taken_back.store(true, Ordering::Release);
    }

    /// How often each was sent, in the order in which they were given: datagrams, and questions over TCP.
    pub fn sent(&self) -> Vec<u64> {
        self.0.names.iter().map(|name| name.sent.value()).collect()
    }

    fn find(&self, qname: &[u8]) -> Option<&Name> {
        self.0.names.iter().find(|name| *name.octets == *qname)
    }
}

/// Its names are query names, and debug output ends up in logs.
impl fmt::Debug for WindowOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowOnly")
            .field("names", &self.0.names.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::wire::testkit::name;

    #[tokio::test(start_paused = true)]
    async fn p1_a_window_is_for_its_names_alone_and_for_its_time() {
        let only = WindowOnly::for_a_time(
            Duration::from_secs(60),
            7,
            [name("login.hotel.example").into(), name("cdn.example").into()],
        );
        let leave = Leave::Window(only.clone());
        assert!(leave.covers(&name("login.hotel.example")));
        for other in ["www.login.hotel.example", "hotel.example", "xcdn.example", ""] {
            assert!(!leave.covers(&name(other)), "{other}");
        }
        leave.count(&name("cdn.example"));
        leave.count(&name("other.example"));
        assert_eq!(only.sent(), [0, 1]);
        assert_eq!(leave.holds(Instant::now()), Ok(()));
        advance(Duration::from_secs(60)).await;
        assert!(leave.holds(Instant::now()).is_err());
        assert!(!format!("{leave:?}").contains("hotel"));
    }

    #[tokio::test]
    async fn p1_a_window_is_for_one_interface_whatever_its_name_is_now() {
        let leave = Leave::Window(WindowOnly::for_a_time(Duration::from_secs(60), 7, []));
        assert_eq!(leave.is_for(Some(7)), Ok(()));
        assert!(leave.is_for(Some(8)).is_err() && leave.is_for(None).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn p1_a_window_that_is_taken_back_is_over_for_all() {
        let only = WindowOnly::for_a_time(Duration::from_secs(60), 7, [name("cdn.example").into()]);
        let leave = Leave::Window(only.clone());
        only.take_back();
        assert!(leave.holds(Instant::now()).is_err() && !only.is_open(Instant::now()));
    }
}
