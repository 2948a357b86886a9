//! What programs say on the system's bus that may change whom this host asks. Only listens; without a bus nobody says anything.
//!
//! Any program may send a signal to us alone, whatever we asked the bus for: it costs a look, and how often there is one is limited by who
//! waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep, timeout};
use zbus::conn::Builder;
use zbus::export::futures_core::Stream;
use zbus::{Address, Message, MessageStream};

/// Each is worth a look: a program that starts has read its files anew; NetworkManager has decided about servers; a machine has slept.
const RULES: [&str; 5] = [
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.resolve1'",
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.NetworkManager'",
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.network1'",
    "type='signal',sender='org.freedesktop.NetworkManager',path='/org/freedesktop/NetworkManager/DnsManager',member='PropertiesChanged'",
    "type='signal',sender='org.freedesktop.login1',path='/org/freedesktop/login1',member='PrepareForSleep'",
];

/// The bus is on this host: who needs longer does not answer at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries to connect: the first one, which is doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where signals come from.
pub(in crate::os::dns) trait Source {
    /// Connects, if that can be done.
    async fn connect(&mut self) -> bool;

    /// Waits for one; false if none will come any more. Cancel-safe.
    async fn signal(&mut self) -> bool;
}

/// The programs on the system's bus.
pub(in crate::os::dns) type Programs = BusEvents<SystemBus>;

/// Listens, and connects again after an end.
#[derive(Debug)]
pub(in crate::os::dns) struct BusEvents<S> {
    source: S,
    is_connected: bool,
    /// Ends when a try to connect is due.
    due: Pin<Box<Sleep>>,
    /// Until the try after that one.
    pause: Duration,
}

impl<S: Source> BusEvents<S> {
    pub(in crate::os::dns) fn of(source: S) -> Self {
        Self {
            source,
            is_connected: false,
            due: Box::pin(sleep(Duration::ZERO)),
            pause: FIRST_PAUSE,
        }
    }

    /// Ends when a look is worth while: also at each new connection, since what was said before it was not heard. Cancel-safe.
    pub(in crate::os::dns) async fn event(&mut self) {
        loop {
            if self.is_connected {
                self.is_connected = self.source.signal().await;
            }
            if self.is_connected {
                // A bus that says something is a good one.
                self.pause = FIRST_PAUSE;
                return;
            }
            self.due.as_mut().await;
            // Before the try, which may be cancelled: the next one is later in any case.
            self.due = Box::pin(sleep(self.pause));
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.is_connected = self.source.connect().await;
            if self.is_connected {
                return;
            }
        }
    }
}

impl Default for Programs {
    fn default() -> Self {
        Self::of(SystemBus::default())
    }
}

/// The system's bus.
#[derive(Debug, Default)]
pub(in crate::os::dns) struct SystemBus {
    /// Another bus, for tests.
    address: Option<Address>,
    streams: Vec<MessageStream>,
}

impl SystemBus {
    async fn listen(&self) -> zbus::Result<Vec<MessageStream>> {
        let builder = self.address.clone().map_or_else(Builder::system, Builder::address);
        let connection = builder.build().await?;
        let mut streams = Vec::new();
        for rule in RULES {
            streams.push(MessageStream::for_match_rule(rule, &connection, None).await?);
        }
        Ok(streams)
    }
}

impl Source for SystemBus {
    async fn connect(&mut self) -> bool {
        self.streams.clear();
        if let Ok(Ok(streams)) = timeout(PATIENCE, self.listen()).await {
            self.streams = streams;
        }
        !self.streams.is_empty()
    }

    async fn signal(&mut self) -> bool {
        poll_fn(|context| {
            for stream in &mut self.streams {
                while let Poll::Ready(said) = Pin::new(&mut *stream).poll_next(context) {
                    match said {
                        Some(Ok(message)) if is_news(&message) => return Poll::Ready(true),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(false),
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A program that ends changes nothing: it is looked at when it is there again.
fn is_news(message: &Message) -> bool {
    let owners = message.body().deserialize::<(String, String, String)>();
    owners.map_or(true, |(_, _, new)| !new.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::process::{Child, Command, Stdio};

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::time::Instant;
    use zbus::Connection;

    use super::*;

    /// Connections that are there in this order; `None` is a try that fails.
    #[derive(Default)]
    struct Fake {
        tries: VecDeque<Option<UnboundedReceiver<()>>>,
        tried_at: Vec<Instant>,
        now: Option<UnboundedReceiver<()>>,
    }

    impl Source for Fake {
        async fn connect(&mut self) -> bool {
            self.tried_at.push(Instant::now());
            self.now = self.tries.pop_front().flatten();
            self.now.is_some()
        }

        async fn signal(&mut self) -> bool {
            self.now.as_mut().unwrap().recv().await.is_some()
        }
    }

    fn connection() -> (UnboundedSender<()>, Option<UnboundedReceiver<()>>) {
        let (sender, receiver) = unbounded_channel();
        (sender, Some(receiver))
    }

    fn gaps(events: &BusEvents<Fake>) -> Vec<u64> {
        let times = events.source.tried_at.windows(2);
        times.map(|pair| (pair[1] - pair[0]).as_secs()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bus_it_is_tried_less_and_less_often_and_never_ends() {
        let mut events = BusEvents::of(Fake::default());
        let ended = timeout(Duration::from_secs(300), events.event()).await;
        assert!(ended.is_err());
        assert_eq!(gaps(&events), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    /// As it is used: whatever else happens ends the wait.
    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_cut_off_again_and_again_makes_no_more_tries() {
        let mut events = BusEvents::of(Fake::default());
        for _ in 0..3000 {
            let _ = timeout(Duration::from_millis(100), events.event()).await;
        }
        assert_eq!(gaps(&events), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_signal_and_each_new_connection_is_told() {
        let ((first, one), (second, two)) = (connection(), connection());
        let tries = [one, None, two].into();
        let mut events = BusEvents::of(Fake {
            tries,
            ..Fake::default()
        });
        let told = async |events: &mut BusEvents<Fake>| timeout(Duration::from_secs(30), events.event()).await.is_ok();
        assert!(told(&mut events).await, "connected");
        assert!(!told(&mut events).await, "nothing was said");
        first.send(()).unwrap();
        assert!(told(&mut events).await, "a signal");
        drop(first);
        assert!(told(&mut events).await, "connected again at the second try");
        second.send(()).unwrap();
        assert!(told(&mut events).await, "a signal");
    }

    /// A bus that takes every connection and ends it at once must not have us spin; one that says something is tried soon.
    #[tokio::test(start_paused = true)]
    async fn connections_that_end_at_once_are_made_less_and_less_often() {
        let tries = std::iter::repeat_with(|| connection().1).take(7).collect();
        let mut events = BusEvents::of(Fake {
            tries,
            ..Fake::default()
        });
        for _ in 0..7 {
            events.event().await;
        }
        assert_eq!(gaps(&events), [1, 2, 4, 8, 16, 32]);
        let ((good, one), (_next, two)) = (connection(), connection());
        events.source.tries = [one, None, two].into();
        events.event().await;
        good.send(()).unwrap();
        events.event().await;
        drop(good);
        events.event().await;
        assert_eq!(gaps(&events)[6..], [60, 60, 1]);
    }

    /// A bus of our own; killed when dropped.
    struct Daemon(Child);

    impl Daemon {
        fn at(address: &str) -> Self {
            let child = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--address", address])
                .stderr(Stdio::null())
                .spawn();
            Self(child.unwrap())
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[tokio::test]
    #[ignore = "needs dbus-daemon"]
    async fn a_real_bus_tells_of_programs_that_start_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix:path={}/bus", folder.path().display());
        let source = SystemBus {
            address: Some(address.parse().unwrap()),
            ..SystemBus::default()
        };
        let mut events = BusEvents::of(source);
        let patience = Duration::from_secs(20);
        for _ in 0..2 {
            let _daemon = Daemon::at(&address);
            timeout(patience, events.event()).await.expect("connected");
            let program = Builder::address(address.as_str()).build().await.unwrap();
            let says = async |program: &Connection, name: &str| program.request_name(name.to_owned()).await.unwrap();
            says(&program, "org.freedesktop.resolve1").await;
            timeout(patience, events.event()).await.expect("a program has started");
            says(&program, "org.example.other").await;
            program.release_name("org.freedesktop.resolve1").await.unwrap();
            let more = timeout(Duration::from_millis(300), events.event()).await;
            assert!(more.is_err(), "neither another one nor an end is news");
        }
    }
}
