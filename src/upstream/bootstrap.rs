//! Where a resolver is that is known by its name only: asked of resolvers that are reached by address, over TLS like every question,
//! never in clear text and never of the system (RFC 8484 section 10: that would be us). Those asked are never known by name only
//! themselves, so that nobody's address can hang on his own answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::pool::Pool;
use super::select::Strategy;
use super::{Answered, AskError, Upstream};
use crate::wire::answer::TtlLimits;
use crate::wire::header::Rcode;
use crate::wire::question::QuestionKey;
use crate::wire::record::RecordType;

/// Keeps the addresses of one upstream.
#[derive(Debug)]
pub struct Bootstrap {
    host: String,
    port: u16,
    upstream: Arc<Upstream>,
    /// Addresses from our own table: they stay, behind what is learned.
    built_in: Vec<IpAddr>,
    /// Those reached by address.
    sources: Pool,
    /// The upstream itself, then those: what it sees of its own users, nobody else needs to see.
    tunnel: Pool,
    first: First,
}

/// When the addresses are looked up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// After this time, or when none of them can be connected to.
    After(Duration),
    /// Only when none of them can be connected to.
    InTrouble,
}

impl Bootstrap {
    /// For an `upstream` whose URL names `host` and `port`. `sources` are reached by address; at least one.
    pub fn new(upstream: Arc<Upstream>, host: &str, port: u16, sources: Vec<Arc<Upstream>>, first: First) -> Self {
        let with_itself = std::iter::once(&upstream).chain(&sources).cloned().collect();
        let known = upstream.addresses.current();
        Self {
            host: host.to_owned(),
            port,
            // What is known and need not be looked up is in our own table.
            built_in: match first {
                First::InTrouble => known.iter().map(SocketAddr::ip).collect(),
                First::After(_) => Vec::new(),
            },
            sources: Pool::new(sources, &Strategy::InOrder, TTLS),
            tunnel: Pool::new(with_itself, &Strategy::InOrder, TTLS),
            upstream,
            first,
        }
    }

    /// Looks the addresses up when it is time, and hands those that are new to the upstream and to `learned`, with the host. Never
    /// ends by itself. Cancel-safe.
    pub async fn follow(self, mut learned: impl FnMut(&str, &[IpAddr])) {
        let addresses = &self.upstream.addresses;
        let mut last_failure = None;
        let mut not_before = Instant::now();
        let mut due = match self.first {
            First::After(time) => Some(not_before + time),
            First::InTrouble => None,
        };
        loop {
            let is_unreachable = tokio::select! {
                () = sleep_until(due.unwrap_or(not_before)), if due.is_some() => false,
                () = addresses.in_trouble() => {
                    sleep_until(not_before).await;
                    addresses.is_known()
                }
            };
            addresses.searching();
            match self.look_up(Instant::now() + LOOK_UP_LIMIT).await {
                Ok((found, lifetime)) => {
                    self.learn(&found);
                    last_failure = None;
                    learned(&self.host, &found);
                    due = due.map(|_| Instant::now() + lifetime);
                }
                Err(why) => {
                    // One line for one reason: people may ask twice a second.
                    if last_failure.as_ref() != Some(&why) {
                        self.complain(is_unreachable, &why);
                    }
                    last_failure = Some(why.clone());
                    addresses.failed(why);
                    due = due.map(|_| Instant::now() + RETRY);
                }
            }
            // Those who waited for this search have its outcome, and time to see it before the next one.
            addresses.trouble_is_over();
            let pause = if addresses.is_known() {
                PAUSE_IF_KNOWN
            } else {
                PAUSE_IF_UNKNOWN
            };
            not_before = Instant::now() + pause;
        }
    }

    fn complain(&self, is_unreachable: bool, why: &str) {
        let upstream = self.upstream.name();
        if is_unreachable {
            tracing::warn!(
                upstream,
                "it cannot be reached at the addresses that are known, and {why}"
            );
        } else {
            tracing::warn!(upstream, "{why}");
        }
    }

    fn learn(&self, found: &[IpAddr]) {
        let mut all = found.to_vec();
        all.extend(self.built_in.iter().filter(|address| !found.contains(address)));
        all.truncate(MAX_ADDRESSES);
        let all = all.into_iter().map(|address| SocketAddr::new(address, self.port));
        if self.upstream.addresses.learned(all.collect()) {
            tracing::info!(upstream = self.upstream.name(), "learned where this resolver is");
            self.upstream.has_moved();
        }
    }

    /// Asks for both families at once. Gives at least one address, and how long until they should be looked up again.
    async fn look_up(&self, deadline: Instant) -> Result<(Vec<IpAddr>, Duration), String> {
        let is_usable = self.upstream.addresses.is_known() && self.upstream.is_up();
        let pool = if is_usable { &self.tunnel } else { &self.sources };
        let ask = async |rtype| {
            let key = QuestionKey::of_host(&self.host, rtype).ok_or(AskError::Garbage)?;
            pool.ask(&key, deadline).await
        };
        let (v6, v4) = tokio::join!(ask(RecordType::AAAA), ask(RecordType::A));
        let answers: Vec<_> = [&v6, &v4]
            .into_iter()
            .filter_map(|answer| answer.as_ref().ok())
            .collect();
        let found = answers.iter().flat_map(|answered| answered.answer.addresses());
        let mut found: Vec<_> = found.filter(is_a_host).collect();
        found.truncate(MAX_ADDRESSES);
        if found.is_empty() {
            return Err(self.in_words(&answers, &v4));
        }
        let ttl = answers
            .iter()
            .filter_map(|answered| answered.answer.facts().min_ttl)
            .min();
        let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
        Ok((found, ttl.clamp(MIN_LIFETIME, MAX_LIFETIME)))
    }

    fn in_words(&self, answers: &[&Answered], v4: &Result<Answered, AskError>) -> String {
        let host = &self.host;
        match (answers, v4) {
            ([], Err(AskError::Failed { rcode, .. })) => format!("the address of {host} cannot be had: {rcode}"),
            ([], _) => format!("nobody could be asked for the address of {host}"),
            ([first, ..], _) if first.answer.facts().rcode == Rcode::NXDOMAIN => format!("{host} does not exist"),
            _ => format!("{host} has no address"),
        }
    }
}

/// Whether somebody can be there.
fn is_a_host(address: &IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// As a query of a client: the pools behind it have their own haste.
const LOOK_UP_LIMIT: Duration = Duration::from_millis(4500);

/// While no address is known and somebody waits for one, a resolver that can be asked again must be found within a second.
const PAUSE_IF_UNKNOWN: Duration = Duration::from_millis(500);

/// Addresses that nobody answers at may be old, or the network may be away.
const PAUSE_IF_KNOWN: Duration = Duration::from_secs(30);

/// When a look-up that failed is tried again if nobody waits for it.
const RETRY: Duration = Duration::from_secs(300);

/// Operators move resolvers on the scale of hours, and those that cannot be reached are looked up at once.
const MIN_LIFETIME: Duration = Duration::from_secs(3600);

/// A day, so that a resolver that moved and left its old machine running is followed.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

/// Tried one after the other within one deadline of five seconds.
const MAX_ADDRESSES: usize = 16;

/// These answers are never shown to a client.
const TTLS: TtlLimits = TtlLimits {
    min: 0,
    max: 86_400,
    max_negative: 86_400,
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use crate::transport::Exchange;
    use crate::upstream::fake::{Behaviour, Fake};
    use crate::wire::question::Keepalive;

    const PORT: u16 = 853;

    fn upstream(name: &str, fake: &Arc<Fake>) -> Arc<Upstream> {
        let exchange = Arc::clone(fake) as Arc<dyn Exchange>;
        Arc::new(Upstream::new(name.to_owned(), exchange, Keepalive::Omit))
    }

    /// An upstream known by name only, and one that knows where it is.
    struct Rig {
        nameless: Arc<Upstream>,
        itself: Arc<Fake>,
        source: Arc<Fake>,
        learned: Arc<Mutex<Vec<Vec<IpAddr>>>>,
        task: tokio::task::JoinHandle<()>,
    }

    fn rig(behaviour: Behaviour, known: &[IpAddr], first: First) -> Rig {
        let (itself, source) = (Arc::new(Fake::new(Behaviour::Answer)), Arc::new(Fake::new(behaviour)));
        let nameless = upstream("nameless", &itself);
        nameless.is_at(known, PORT);
        let sources = vec![upstream("source", &source)];
        let bootstrap = Bootstrap::new(Arc::clone(&nameless), "dns.example", PORT, sources, first);
        let learned = Arc::<Mutex<Vec<_>>>::default();
        let task = tokio::spawn(bootstrap.follow({
            let learned = Arc::clone(&learned);
            move |host, addresses| {
                assert_eq!(host, "dns.example");
                learned.lock().unwrap().push(addresses.to_vec());
            }
        }));
        Rig {
            nameless,
            itself,
            source,
            learned,
            task,
        }
    }

    impl Rig {
        fn addresses(&self) -> Vec<String> {
            let addresses = self.nameless.addresses.current();
            addresses.iter().map(ToString::to_string).collect()
        }

        /// What somebody who dials gets, and after how long.
        async fn dial(&self) -> (Result<(), String>, Duration) {
            let start = Instant::now();
            let ready = self.nameless.addresses.ready(start + Duration::from_secs(5)).await;
            (ready, start.elapsed())
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    const AT_ONCE: First = First::After(Duration::ZERO);

    #[tokio::test(start_paused = true)]
    async fn r8484_10_a_host_is_asked_of_who_is_reached_by_address() {
        let rig = rig(Behaviour::Slow(Duration::from_millis(80)), &[], AT_ONCE);
        assert_eq!(rig.dial().await, (Ok(()), Duration::from_millis(80)));
        assert_eq!(rig.addresses(), ["192.0.2.1:853"]);
        assert_eq!((rig.source.asked(), rig.itself.asked()), (2, 0), "A and AAAA");
        assert_eq!(*rig.learned.lock().unwrap(), [[IpAddr::from([192, 0, 2, 1])]]);
    }

    #[tokio::test(start_paused = true)]
    async fn r8484_10_addresses_are_refreshed_through_the_tunnel() {
        let rig = rig(Behaviour::Answer, &[], AT_ONCE);
        rig.dial().await.0.unwrap();
        tokio::time::sleep(MIN_LIFETIME + Duration::from_secs(1)).await;
        assert_eq!((rig.source.asked(), rig.itself.asked()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn r8484_10_nobody_who_knows_is_an_error_at_once_and_not_a_hang() {
        for (behaviour, words) in [
            (Behaviour::NxDomain, "dns.example does not exist"),
            (
                Behaviour::Fail(5, None),
                "the address of dns.example cannot be had: REFUSED",
            ),
            (
                Behaviour::Broken,
                "nobody could be asked for the address of dns.example",
            ),
        ] {
            let rig = rig(behaviour, &[], AT_ONCE);
            assert_eq!(rig.dial().await, (Err(words.to_owned()), Duration::ZERO));
            rig.source.behave(Behaviour::Answer);
            tokio::time::sleep(PAUSE_IF_UNKNOWN).await;
            // Who asks then begins a new search and waits for it.
            let _ = rig.dial().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(rig.dial().await.0, Ok(()), "{words}");
        }
        let silent = rig(Behaviour::Silent, &[], AT_ONCE);
        let (error, time) = silent.dial().await;
        assert_eq!((error.is_err(), time), (true, LOOK_UP_LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_that_fails_all_the_time_is_made_twice_a_second_at_most() {
        let rig = rig(Behaviour::NxDomain, &[], AT_ONCE);
        for _ in 0..1_000 {
            let _ = rig.dial().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(
            (36..=44).contains(&rig.source.asked()),
            "{} in 10 s",
            rig.source.asked()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_remembered_is_used_and_looked_up_later() {
        let known = [IpAddr::from([192, 0, 2, 77])];
        let rig = rig(Behaviour::Broken, &known, First::After(Duration::from_secs(600)));
        assert_eq!(rig.dial().await, (Ok(()), Duration::ZERO));
        assert_eq!(rig.addresses(), ["192.0.2.77:853"]);
        tokio::time::sleep(Duration::from_secs(601)).await;
        assert_eq!(rig.addresses(), ["192.0.2.1:853"], "it is asked where it is now");
        assert_eq!((rig.source.asked(), rig.itself.asked()), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_well_known_resolver_is_looked_up_only_when_it_is_not_where_it_should_be() {
        let known = [IpAddr::from([192, 0, 2, 77])];
        let rig = rig(Behaviour::Answer, &known, First::InTrouble);
        rig.itself.behave(Behaviour::Broken);
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        assert_eq!((rig.source.asked(), rig.itself.asked()), (0, 0));
        for _ in 0..600 {
            rig.nameless.addresses.report_trouble();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(
            rig.addresses(),
            ["192.0.2.1:853", "192.0.2.77:853"],
            "the old one stays"
        );
        assert!(rig.source.asked() <= 6, "twice a minute: {}", rig.source.asked());
    }

    #[test]
    fn addresses_at_which_nobody_can_be_are_left_out() {
        for address in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(!is_a_host(&address.parse().unwrap()), "{address}");
        }
        assert!(is_a_host(&"127.0.0.1".parse().unwrap()));
    }
}
