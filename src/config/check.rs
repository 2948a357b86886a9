//! What values mean together, and the configuration made of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::draft::{Draft, DraftUpstream, default_listen};
use super::problem::{Place, Problem, Sourced};
use super::route;
use super::units::{ByteSize, TimeSpan};
use super::{AddressesFrom, CacheConfig, ChosenBy, Config, Listen, UpstreamConfig, UpstreamFlag};
use crate::upstream::endpoint::Host;

impl Draft {
    /// Reports everything that does not fit together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        self.check_listen(problems);
        self.check_rate_limit(problems);
        self.check_upstreams(problems);
        self.check_cache(problems);
        self.policy.check(problems);
        self.guard.check(problems);
        route::check(&self.routes, &self.policy.let_out.value, problems);
        if self.time_servers.value.len() > MAX_TIME_SERVERS {
            let help = "a name stands for all names below it";
            problems.push(problem(&self.time_servers.place, "more than 32 time servers", help));
        }
    }

    fn check_listen(&self, problems: &mut Vec<Problem>) {
        let listen = &self.listen;
        if listen.value.len() > MAX_LISTEN {
            problems.push(problem(
                &listen.place,
                "more than 64 listen addresses",
                "\"0.0.0.0:53\" stands for all of IPv4",
            ));
        }
        for (index, Sourced { value: address, place }) in listen.value.iter().enumerate() {
            let others = &listen.value[..index];
            if let Some(other) = others.iter().find(|other| collide(other.value, *address)) {
                let message = format!("{} is in the list already and takes this port there", other.value);
                problems.push(problem(place, &message, "leave one of the two out"));
            }
            if self.stats.value.is_some_and(|stats| collide(stats, *address)) {
                let message = format!("the stats endpoint listens on this port too ({})", self.stats.place);
                problems.push(problem(
                    place,
                    &message,
                    "give [stats] another port, or listen = \"off\"",
                ));
            }
            if !address.ip().to_canonical().is_loopback() && self.allow.value.as_ref().is_some_and(Vec::is_empty) {
                problems.push(problem(
                    place,
                    "this address can be reached from other machines, and nobody said who may ask",
                    "say it in the config file, for example allow = [\"192.168.0.0/16\"], or listen on 127.0.0.1 and [::1]",
                ));
            }
        }
    }

    fn check_rate_limit(&self, problems: &mut Vec<Problem>) {
        let Sourced { value: rate, place } = &self.rate_limit;
        if *rate != 0 && !RATES.contains(rate) {
            let (low, high) = RATES.into_inner();
            let message = format!("{rate} queries a second are no rate that could be kept to");
            let help = format!("write {low} to {high}, or 0 for no limit");
            problems.push(problem(place, &message, &help));
        }
    }

    fn check_upstreams(&self, problems: &mut Vec<Problem>) {
        let upstreams = &self.upstreams;
        if upstreams.value.len() > MAX_UPSTREAMS {
            problems.push(problem(
                &upstreams.place,
                "more than 16 upstreams",
                "keep the ones you trust most",
            ));
        }
        let mut seen = BTreeSet::new();
        for (upstream, name) in upstreams.value.iter().zip(names(&upstreams.value)) {
            if !seen.insert(name.clone()) {
                let (place, help) = match &upstream.name {
                    Some(given) => (
                        &given.place,
                        "names tell upstreams apart in logs and metrics: give it another",
                    ),
                    None => (
                        &upstream.endpoint.place,
                        "leave one out, or tell them apart by a `name` each",
                    ),
                };
                problems.push(problem(place, &format!("a second upstream is called `{name}`"), help));
            }
            upstream.check_addresses(problems);
            upstream.check_pins(problems);
        }
    }

    fn check_cache(&self, problems: &mut Vec<Problem>) {
        if !CACHE_BYTES.contains(&self.max_bytes.value) {
            let (low, high) = (ByteSize(*CACHE_BYTES.start()), ByteSize(*CACHE_BYTES.end()));
            problems.push(problem(
                &self.max_bytes.place,
                "a cache of this size is of no use",
                &format!("write {low} to {high}"),
            ));
        }
        for (ttl, limit, law) in [
            (
                &self.min_ttl,
                MAX_MIN_TTL,
                "a longer one serves addresses their owner has given up",
            ),
            (&self.max_ttl, MAX_TTL, "RFC 8767 section 4"),
            (&self.max_negative_ttl, MAX_NEGATIVE_TTL, "RFC 2308 section 5"),
        ] {
            if ttl.value.subsec_nanos() != 0 {
                problems.push(problem(
                    &ttl.place,
                    "TTLs count whole seconds",
                    "write for example \"1s\"",
                ));
            }
            if ttl.value > limit {
                let message = format!("more than {} ({law})", TimeSpan(limit));
                problems.push(problem(
                    &ttl.place,
                    &message,
                    &format!("write at most \"{}\"", TimeSpan(limit)),
                ));
            }
        }
        if self.serve_stale.value > MAX_STALE {
            let message = format!("more than {} (RFC 8767 section 5)", TimeSpan(MAX_STALE));
            let help = format!("write at most \"{}\", or false", TimeSpan(MAX_STALE));
            problems.push(problem(&self.serve_stale.place, &message, &help));
        }
        for (key, ceiling) in [("max-ttl", &self.max_ttl), ("max-negative-ttl", &self.max_negative_ttl)] {
            if ceiling.value < self.min_ttl.value {
                // Point at what the user wrote, not at the default it collides with.
                let place = if ceiling.place == Place::Default {
                    &self.min_ttl.place
                } else {
                    &ceiling.place
                };
                let (low, high) = (TimeSpan(self.min_ttl.value), TimeSpan(ceiling.value));
                let message = format!(
                    "{key} ({high}, {}) is smaller than min-ttl ({low}, {})",
                    ceiling.place, self.min_ttl.place
                );
                problems.push(problem(place, &message, "raise the one or lower the other"));
            }
        }
    }

    /// The configuration. Sound only after [`Draft::check`] found nothing.
    pub(super) fn to_config(&self) -> Config {
        let addresses: Vec<_> = self.listen.value.iter().map(|address| address.value).collect();
        // The shipped file writes the defaults out; installing it must not turn a missing IPv6 into an error.
        let chosen_by = if addresses == default_listen() {
            ChosenBy::Default
        } else {
            ChosenBy::User
        };
        let upstreams = self.upstreams.value.iter().zip(names(&self.upstreams.value));
        Config {
            listen: Listen {
                addresses: self.listen.value.iter().map(|address| address.value).collect(),
                chosen_by,
            },
            allow: self.allow.value.clone().unwrap_or_default(),
            rate_limit: u32::try_from(self.rate_limit.value).ok().and_then(NonZeroU32::new),
            strategy: self.strategy.value,
            time_servers: self.time_servers.value.iter().map(|name| name.value.clone()).collect(),
            upstreams: upstreams.map(|(upstream, name)| upstream.to_config(name)).collect(),
            routes: route::to_config(&self.routes.value),
            policy: self.policy.to_config(),
            cache: CacheConfig {
                max_bytes: self.max_bytes.value,
                min_ttl: self.min_ttl.value,
                max_ttl: self.max_ttl.value,
                max_negative_ttl: self.max_negative_ttl.value,
                serve_stale: self.serve_stale.value,
                prefetch: self.prefetch.value,
            },
            guard: self.guard.to_config(),
            stats: self.stats.value,
        }
    }
}

impl DraftUpstream {
    /// The addresses as given, else the built-in ones.
    pub(super) fn resolved_addresses(&self) -> Vec<IpAddr> {
        match &self.addresses {
            Some(given) => given.value.clone(),
            None => self.endpoint.value.built_in_addresses(),
        }
    }

    fn addresses_from(&self) -> AddressesFrom {
        let built_in = self.endpoint.value.built_in_addresses();
        match &self.addresses {
            // The shipped file writes the table's out; installing it must not change what is done.
            Some(given) if given.value != built_in => AddressesFrom::User,
            _ if matches!(self.endpoint.value.host, Host::Address(_)) => AddressesFrom::User,
            _ if built_in.is_empty() => AddressesFrom::Nobody,
            _ => AddressesFrom::Table,
        }
    }

    /// Whether it is the one of `tacenda query --via`.
    fn is_via(&self) -> bool {
        matches!(self.endpoint.place, Place::Flag { name, .. } if name == UpstreamFlag::Via.name())
    }

    fn check_addresses(&self, problems: &mut Vec<Problem>) {
        let url = &self.endpoint;
        match &self.addresses {
            Some(given) if given.value.len() > MAX_ADDRESSES => {
                problems.push(problem(
                    &given.place,
                    "more than 16 addresses for one upstream",
                    "keep the nearest",
                ));
            }
            // One question is no reason to ask a third party where to put it.
            None if self.is_via() && self.resolved_addresses().is_empty() => {
                let host = &url.value.host;
                let message = format!("`{host}` is not among the well-known resolvers");
                let help = format!("say where it is: --address IP (this is what `{host}` resolves to)");
                problems.push(problem(&url.place, &message, &help));
            }
            _ => {}
        }
        for address in self.resolved_addresses() {
            if address.is_unspecified() || address.is_multicast() {
                let place = self.addresses.as_ref().map_or(&url.place, |given| &given.place);
                problems.push(problem(
                    place,
                    &format!("{address} is nobody's address"),
                    "write the resolver's own",
                ));
            }
        }
    }

    fn check_pins(&self, problems: &mut Vec<Problem>) {
        let pins = &self.pins.value;
        for (index, pin) in pins.iter().enumerate() {
            if pins[..index].iter().any(|other| other.value == pin.value) {
                let help = "a second pin is for the key that comes after this one";
                problems.push(problem(&pin.place, "this pin is in the list already", help));
            }
        }
        if pins.len() == 1 {
            problems.push(problem(
                &self.pins.place,
                "one pin alone: when the server gets another key, nothing will resolve (RFC 7469 section 4.3)",
                "add the pin of a second key that the operator holds in reserve",
            ));
        }
        if pins.len() > MAX_PINS {
            problems.push(problem(
                &self.pins.place,
                "more than 16 pins for one upstream",
                "keep the keys in use and their successors",
            ));
        }
    }

    fn to_config(&self, name: String) -> UpstreamConfig {
        let endpoint = self.endpoint.value.clone();
        UpstreamConfig {
            name,
            addresses: self.resolved_addresses(),
            addresses_from: self.addresses_from(),
            server_name: self
                .server_name
                .as_ref()
                .map_or_else(|| endpoint.host.clone(), |given| given.value.clone()),
            roots: self.roots.value.clone(),
            pins: self.pins.value.iter().map(|pin| pin.value).collect(),
            endpoint,
        }
    }
}

/// Each upstream's name: as given, else its host, else, when the host's name is taken (the same resolver by DoH and by
/// DoT), its URL.
pub(super) fn names(upstreams: &[DraftUpstream]) -> Vec<String> {
    let given: Vec<_> = upstreams
        .iter()
        .filter_map(|upstream| upstream.name.as_ref())
        .map(|name| &name.value)
        .collect();
    let mut names: Vec<String> = Vec::with_capacity(upstreams.len());
    for upstream in upstreams {
        let endpoint = &upstream.endpoint.value;
        let host = endpoint.host.to_string();
        names.push(match &upstream.name {
            Some(name) => name.value.clone(),
            None if names.contains(&host) || given.contains(&&host) => endpoint.to_string(),
            None => host,
        });
    }
    names
}

/// Whether one of the two could not be bound beside the other. IPv6 sockets take IPv6 only; port 0 is any free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.is_ipv4() == b.is_ipv4() && same_address && a.port() == b.port() && a.port() != 0
}

pub(super) fn problem(place: &Place, message: &str, help: &str) -> Problem {
    Problem {
        place: place.clone(),
        message: message.to_owned(),
        help: Some(help.to_owned()),
    }
}

/// Sockets are opened for each, two per core.
const MAX_LISTEN: usize = 64;

/// Queries a second of one client network: no machine that runs a stub answers more than a million.
const RATES: RangeInclusive<i64> = 1..=1_000_000;

/// Each holds connections and a row of metrics.
const MAX_UPSTREAMS: usize = 16;

/// Compared one by one, only while dates cannot be judged.
const MAX_TIME_SERVERS: usize = 32;

/// Tried one after the other within one deadline of five seconds.
const MAX_ADDRESSES: usize = 16;

/// Compared one by one in every full handshake.
const MAX_PINS: usize = 16;

/// From a few thousand answers to more than a machine that runs a stub has to spare.
const CACHE_BYTES: RangeInclusive<u64> = (1 << 20)..=(64 << 30);

/// Operators move services on the scale of an hour.
const MAX_MIN_TTL: Duration = Duration::from_secs(3600);

/// "on the order of days to weeks, with a recommended cap of 604,800 seconds" (RFC 8767 section 4).
const MAX_TTL: Duration = Duration::from_secs(604_800);

/// "The suggested value is between 1 and 3 days" (RFC 8767 section 5, the maximum stale timer).
const MAX_STALE: Duration = Duration::from_secs(3 * 86_400);

/// "values exceeding one day have been found to be problematic" (RFC 2308 section 5).
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(86_400);
