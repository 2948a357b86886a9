//! From a configuration to a resolver: upstreams, strategy, cache, and who keeps the addresses of upstreams that are known by name.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::before::Before;
use super::lists;
use super::portal::PortalWatch;
use super::records::Kept;
use super::remembered::Remembered;
use super::state::State;
use crate::cache::{self, Cache};
use crate::config::{AddressesFrom, Config, PolicyConfig, RouteConfig, Strategy, UpstreamConfig};
use crate::os::host::host_names;
use crate::os::socket::KNOWS_NEXT_HOPS;
use crate::policy::Policy;
use crate::policy::blocking::Blocking;
use crate::policy::local::LocalNames;
use crate::policy::rebind::Rebind;
use crate::policy::routes::Routes;
use crate::resolve::{Resolver, Road};
use crate::stats::Counter;
use crate::transport::keyed::fresh_secret;
use crate::transport::tls::{Dates, Trust};
use crate::upstream::Upstream;
use crate::upstream::bootstrap::{Bootstrap, First};
use crate::upstream::connect::{self, Exit, Leave, PlainSettings, RouteOnly};
use crate::upstream::endpoint::Host;
use crate::upstream::pool::Pool;
use crate::upstream::route_endpoint::RouteEndpoint;
use crate::upstream::select;
use crate::upstream::undated::Undated;
use crate::wire::answer::TtlLimits;
use crate::wire::domains::canonical;

/// Keeps the addresses of one upstream, or the lists; to be run as long as that is in use. Never ends by itself.
pub(super) type Follower = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is made of one configuration.
pub(super) struct House {
    pub(super) followers: Vec<Follower>,
    /// For the next one.
    pub(super) known: Before,
}

impl House {
    /// Opens no connection; reads what an earlier run remembered, if that is of use, and the user's records. What the configuration
    /// before said too is taken over as it is.
    pub(super) fn build(config: &Config, before: Option<&Before>) -> Result<Self, StartError> {
        let state = State::of_this_host();
        let ttls = ttls(config);
        let upstream = |upstream: &UpstreamConfig| {
            let known = before.and_then(|before| before.upstream(upstream));
            known.map_or_else(|| connect(upstream), Ok)
        };
        let built: Vec<_> = config.upstreams.iter().map(upstream).collect::<Result<_, _>>()?;
        let mut followers = followers(&config.upstreams, &built, &state)?;
        let strategy = strategy(config, &state)?;
        let undated = undated(config, &built, &strategy, ttls);
        let kept = Kept::read(&config.policy).map_err(StartError::Records)?;
        let meter = before.map_or_else(Arc::default, |before| Arc::clone(&before.meter));
        let portal = before.map_or_else(
            || Arc::new(PortalWatch::of_this_host()),
            |before| Arc::clone(&before.portal),
        );
        let routes = roads(&config.routes, ttls, before, &meter)?;
        let pool = Pool::new(built, &strategy, ttls);
        let public = Road::new(public_cache(config, ttls, before), pool).with_time_servers(undated);
        let blocking = before.map_or_else(
            || Blocking::new(config.policy.block_answer),
            |before| before.blocking(config),
        );
        followers.extend(keeper(&config.policy, &blocking));
        let epoch = before.map_or(0, |before| before.epoch.wrapping_add(1));
        let policy = policy(config)
            .of_epoch(epoch)
            .with_records(kept.records())
            .with_routes(zones(&config.routes))
            .with_blocking(blocking.clone());
        followers.extend(kept.keep().map(|keeper| Box::pin(keeper) as Follower));
        let resolver = Arc::new(Resolver::with_routes(policy, public, routes).with_portal(portal.portal()));
        let tend = Arc::clone(&portal).tend(Arc::clone(&resolver), config.portal.clone());
        followers.push(Box::pin(tend));
        Ok(Self {
            followers,
            known: Before {
                config: config.clone(),
                resolver,
                blocking,
                epoch,
                meter,
                portal,
            },
        })
    }

    /// Reads the lists now, unless they are those in force already: a name that is to be blocked must not pass for a moment.
    pub(super) async fn read_lists(&self) -> Result<(), StartError> {
        if self.known.blocking.count() > 0 {
            return Ok(());
        }
        let (lists, blocking) = (lists::lists_of(&self.known.config.policy), self.known.blocking.clone());
        let read = tokio::task::spawn_blocking(move || lists::read_once(&lists, &blocking)).await;
        let lost = |_| Err("the lists cannot be read".to_owned());
        read.unwrap_or_else(lost).map_err(StartError::Lists)
    }
}

fn ttls(config: &Config) -> TtlLimits {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    TtlLimits {
        min: seconds(config.cache.min_ttl),
        max: seconds(config.cache.max_ttl),
        max_negative: seconds(config.cache.max_negative_ttl),
    }
}

fn public_cache(config: &Config, ttls: TtlLimits, before: Option<&Before>) -> Arc<Cache> {
    let settings = cache::Settings {
        max_bytes: config.cache.max_bytes,
        ttls,
        serve_stale: config.cache.serve_stale,
        prefetch: config.cache.prefetch,
    };
    let known = before.and_then(|before| before.cache(config, &settings));
    known.unwrap_or_else(|| Arc::new(Cache::new(settings)))
}

/// What needs no file: local names and rebinding protection.
pub(super) fn policy(config: &Config) -> Policy {
    // To another machine our own name is not 127.0.0.1.
    let is_ours_alone = config
        .listen
        .addresses
        .iter()
        .all(|address| address.ip().to_canonical().is_loopback());
    let own = if is_ours_alone { host_names() } else { Vec::new() };
    let config = &config.policy;
    let local = if config.local_names {
        LocalNames::new(&config.let_out, own.iter().map(String::as_str))
    } else {
        LocalNames::none()
    };
    let rebind = if config.rebind_protection {
        Rebind::on(config.rebind_allow.iter().map(String::as_str))
    } else {
        Rebind::off()
    };
    Policy::new(local, rebind)
}

/// Who keeps the lists in force, if there are any.
fn keeper(config: &PolicyConfig, blocking: &Blocking) -> Option<Follower> {
    let keeper: Follower = Box::pin(lists::keep(lists::lists_of(config), blocking.clone()));
    (!config.block.is_empty()).then_some(keeper)
}

/// The zones of all routes, by the route's number.
pub(super) fn zones(routes: &[RouteConfig]) -> Routes {
    let zones = routes.iter().enumerate().flat_map(|(number, route)| {
        let zones = route.zones.iter().filter_map(|zone| canonical(zone));
        zones.map(move |zone| (zone, number))
    });
    Routes::new(zones)
}

/// The roads of split DNS, by number. Nothing past its end is given there: a name space that is gone is gone.
fn roads(
    routes: &[RouteConfig],
    ttls: TtlLimits,
    before: Option<&Before>,
    meter: &Arc<Counter>,
) -> Result<Vec<Road>, StartError> {
    if !KNOWS_NEXT_HOPS && routes.iter().any(|route| route.exit.via.is_some()) {
        return Err(StartError::Via);
    }
    let settings = cache::Settings {
        max_bytes: ROUTE_CACHE,
        ttls,
        serve_stale: Duration::ZERO,
        prefetch: true,
    };
    let road = |(number, route): (usize, &RouteConfig)| {
        let known = before.and_then(|before| before.route(number, route, &settings));
        let (cache, upstreams) = match known {
            Some(known) => known,
            None => {
                let upstreams = route
                    .upstreams
                    .iter()
                    .map(|upstream| route_upstream(number, route, upstream, meter));
                (Arc::new(Cache::new(settings)), upstreams.collect::<Result<_, _>>()?)
            }
        };
        Ok(Road::new(cache, Pool::new(upstreams, &select::Strategy::InOrder, ttls)))
    };
    routes.iter().enumerate().map(road).collect()
}

fn route_upstream(
    number: usize,
    route: &RouteConfig,
    endpoint: &RouteEndpoint,
    meter: &Arc<Counter>,
) -> Result<Arc<Upstream>, StartError> {
    let name = format!("route {}: {endpoint}", number + 1);
    let exit = route.exit.clone();
    let endpoint = match endpoint {
        RouteEndpoint::Encrypted(endpoint) => endpoint.clone(),
        RouteEndpoint::Plain(endpoint) => {
            let only = RouteOnly::for_zones(route.zones.iter().map(String::as_str)).map_err(StartError::Route)?;
            return Ok(Arc::new(connect::connect_plain(PlainSettings {
                name,
                endpoint: *endpoint,
                exit,
                leave: Leave::Route(only),
                meter: Arc::clone(meter),
            })));
        }
    };
    let settings = connect::Settings {
        name: name.clone(),
        addresses: endpoint.built_in_addresses(),
        server_name: endpoint.host.clone(),
        endpoint,
        trust: Trust {
            roots: route.roots.clone(),
            ..Trust::default()
        },
        exit,
    };
    let refused = |error| StartError::Upstream { name, error };
    connect::connect(settings).map(Arc::new).map_err(refused)
}

/// Octets of memory for the answers of one route: a company has some thousand names.
const ROUTE_CACHE: u64 = 4 << 20;

/// One upstream alone is the first whatever the strategy: then no secret is made.
fn strategy(config: &Config, state: &State) -> Result<select::Strategy, StartError> {
    Ok(match config.strategy {
        Strategy::Fastest => select::Strategy::Fastest,
        Strategy::Spread if config.upstreams.len() > 1 => {
            let no_chance = || StartError::Serve(io::Error::other("the system gives no random numbers"));
            select::Strategy::Spread(state.secret(fresh_secret().ok_or_else(no_chance)?))
        }
        Strategy::Spread | Strategy::InOrder => select::Strategy::InOrder,
    })
}

/// The same upstreams once more, built when they are needed, which do not look at the dates of certificates.
fn undated(config: &Config, built: &[Arc<Upstream>], strategy: &select::Strategy, ttls: TtlLimits) -> Option<Undated> {
    if config.time_servers.is_empty() {
        return None;
    }
    let (configs, built, strategy) = (config.upstreams.clone(), built.to_vec(), strategy.clone());
    let build = move || {
        let upstreams = configs.iter().zip(&built).map(|(config, dated)| {
            let mut settings = connect::Settings::from(config);
            settings.addresses = dated.addresses();
            settings.trust.dates = Dates::Ignored;
            connect::connect(settings).map(Arc::new).ok()
        });
        Some(Pool::new(upstreams.collect::<Option<_>>()?, &strategy, ttls))
    };
    let names = config.time_servers.iter().map(String::as_str);
    Some(Undated::new(names, Box::new(build)))
}

fn connect(config: &UpstreamConfig) -> Result<Arc<Upstream>, StartError> {
    let refused = |error| StartError::Upstream {
        name: config.name.clone(),
        error,
    };
    connect::connect(config.into()).map(Arc::new).map_err(refused)
}

impl From<&UpstreamConfig> for connect::Settings {
    fn from(config: &UpstreamConfig) -> Self {
        Self {
            name: config.name.clone(),
            endpoint: config.endpoint.clone(),
            addresses: config.addresses.clone(),
            server_name: config.server_name.clone(),
            trust: Trust {
                roots: config.roots.clone(),
                pins: config.pins.clone(),
                dates: Dates::Checked,
            },
            exit: Exit::default(),
        }
    }
}

/// Who keeps the addresses of the upstreams whose addresses nobody wrote down.
fn followers(configs: &[UpstreamConfig], built: &[Arc<Upstream>], state: &State) -> Result<Vec<Follower>, StartError> {
    let nameless = |config: &&UpstreamConfig| config.addresses_from == AddressesFrom::Nobody;
    let hosts = configs
        .iter()
        .filter(nameless)
        .map(|config| config.endpoint.host.to_string());
    let hosts: Vec<_> = hosts.collect();
    let by_address: Vec<_> = configs
        .iter()
        .zip(built)
        .filter(|(config, _)| config.addresses_from != AddressesFrom::Nobody)
        .map(|(_, upstream)| Arc::clone(upstream))
        .collect();
    let sources = if by_address.is_empty() {
        well_known()?
    } else {
        by_address
    };
    let remembered = Arc::new(Remembered::read(state.clone(), &hosts));
    let mut followers: Vec<Follower> = Vec::new();
    for (config, upstream) in configs.iter().zip(built) {
        let Host::Name(host) = &config.endpoint.host else {
            continue;
        };
        let others: Vec<_> = sources
            .iter()
            .filter(|source| !Arc::ptr_eq(source, upstream))
            .cloned()
            .collect();
        let first = match config.addresses_from {
            AddressesFrom::User => continue,
            AddressesFrom::Table if others.is_empty() => continue,
            AddressesFrom::Table => First::InTrouble,
            AddressesFrom::Nobody => match remembered.addresses(host) {
                Some((addresses, left)) => {
                    upstream.is_at(&addresses, config.endpoint.port);
                    First::After(left)
                }
                None => First::After(Duration::ZERO),
            },
        };
        let bootstrap = Bootstrap::new(Arc::clone(upstream), host, config.endpoint.port, others, first);
        let remembered = Arc::clone(&remembered);
        followers.push(Box::pin(bootstrap.follow(move |host: &str, addresses: &[IpAddr]| {
            let (remembered, host, addresses) = (Arc::clone(&remembered), host.to_owned(), addresses.to_vec());
            // A disk may be slow, and nobody waits for it.
            tokio::task::spawn_blocking(move || remembered.learned(&host, &addresses));
        })));
    }
    Ok(followers)
}

/// The resolvers of the default configuration, for whom the user wrote down none that is reached by address. They are asked for the
/// addresses of resolvers and for nothing else.
fn well_known() -> Result<Vec<Arc<Upstream>>, StartError> {
    Config::default().upstreams.iter().map(connect).collect()
}
