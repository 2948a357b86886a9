//! A configuration in the making: layer upon layer, each value with its place. Values are read here one by one; what
//! they mean together is judged in `check`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::file::{CacheSpec, FileSpec, Quantity, UpstreamSpec};
use super::guard::DraftGuard;
use super::load::Flags;
use super::policy::DraftPolicy;
use super::problem::{Place, Problem, Source, Sourced};
use super::route::DraftRoute;
use super::units::{ByteSize, TimeSpan, UnitError};
use super::values::{
    Complaint, parse_address, parse_domain, parse_listen, parse_name, parse_pin, parse_roots, parse_stats,
    parse_strategy,
};
use super::{Pin, Roots, Strategy};
use crate::serve::{DEFAULT_RATE_LIMIT, Network, NetworkError};
use crate::upstream::endpoint::{Endpoint, Host};

/// Every value of the configuration and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) listen: Sourced<Vec<Sourced<SocketAddr>>>,
    /// `None` when one of the networks could not be read, which is reported.
    pub(super) allow: Sourced<Option<Vec<Network>>>,
    /// Any number at all until `check` has seen it.
    pub(super) rate_limit: Sourced<i64>,
    pub(super) strategy: Sourced<Strategy>,
    pub(super) upstreams: Sourced<Vec<DraftUpstream>>,
    pub(super) time_servers: Sourced<Vec<Sourced<String>>>,
    pub(super) routes: Sourced<Vec<DraftRoute>>,
    pub(super) policy: DraftPolicy,
    pub(super) max_bytes: Sourced<u64>,
    pub(super) min_ttl: Sourced<Duration>,
    pub(super) max_ttl: Sourced<Duration>,
    pub(super) max_negative_ttl: Sourced<Duration>,
    pub(super) serve_stale: Sourced<Duration>,
    pub(super) prefetch: Sourced<bool>,
    pub(super) guard: DraftGuard,
    pub(super) stats: Sourced<Option<SocketAddr>>,
}

/// An upstream in the making; what is `None` follows from the endpoint.
#[derive(Clone, Debug)]
pub(super) struct DraftUpstream {
    pub(super) endpoint: Sourced<Endpoint>,
    pub(super) addresses: Option<Sourced<Vec<IpAddr>>>,
    pub(super) name: Option<Sourced<String>>,
    pub(super) server_name: Option<Sourced<Host>>,
    pub(super) roots: Sourced<Roots>,
    pub(super) pins: Sourced<Vec<Sourced<Pin>>>,
}

impl Default for Draft {
    fn default() -> Self {
        let endpoint = |url: &&str| Sourced::default_value(url.parse().expect("a constant URL"));
        let upstreams = DEFAULT_UPSTREAMS.iter().map(endpoint).map(DraftUpstream::at);
        let name = |name: &&str| Sourced::default_value((*name).to_owned());
        let time_servers = DEFAULT_TIME_SERVERS.iter().map(name);
        Self {
            listen: Sourced::default_value(default_listen().map(Sourced::default_value).to_vec()),
            allow: Sourced::default_value(Some(Vec::new())),
            rate_limit: Sourced::default_value(DEFAULT_RATE_LIMIT.get().into()),
            strategy: Sourced::default_value(Strategy::InOrder),
            upstreams: Sourced::default_value(upstreams.collect()),
            time_servers: Sourced::default_value(time_servers.collect()),
            routes: Sourced::default_value(Vec::new()),
            policy: DraftPolicy::default(),
            max_bytes: Sourced::default_value(64 << 20),
            min_ttl: Sourced::default_value(Duration::ZERO),
            max_ttl: Sourced::default_value(DAY),
            max_negative_ttl: Sourced::default_value(HOUR),
            serve_stale: Sourced::default_value(DAY),
            prefetch: Sourced::default_value(true),
            guard: DraftGuard::default(),
            stats: Sourced::default_value(Some(SocketAddr::from(([127, 0, 0, 1], 8053)))),
        }
    }
}

impl Draft {
    /// Lays a file over what is there. A value that cannot be read is reported and leaves the old one.
    pub(super) fn lay_file(&mut self, spec: FileSpec, source: &Arc<Source>, problems: &mut Vec<Problem>) {
        let mut reader = Reader { source, problems };
        if let Some(version) = spec.version
            && *version.get_ref() != FORMAT_VERSION
        {
            let place = reader.place(&version);
            reader.report(
                place,
                "unknown version of the file format",
                Some("this tacenda reads `version = 1`".into()),
            );
        }
        if let Some(texts) = spec.listen {
            let place = reader.place(&texts);
            reader.refuse_empty(
                &texts,
                "nothing to listen on",
                "write for example listen = [\"127.0.0.1:53\"]",
            );
            self.listen = Sourced {
                value: reader.each(texts.into_inner(), |_, text| parse_listen(text)),
                place,
            };
        }
        if let Some(texts) = spec.allow {
            let place = reader.place(&texts);
            let wanted = texts.get_ref().len();
            let networks = reader.each(texts.into_inner(), |_, text| {
                text.parse()
                    .map_err(|error: NetworkError| Complaint::from(error.to_string()))
            });
            let networks: Vec<_> = networks.into_iter().map(|network| network.value).collect();
            self.allow = Sourced {
                value: (networks.len() == wanted).then_some(networks),
                place,
            };
        }
        reader.set_plain(&mut self.rate_limit, spec.rate_limit);
        reader.set(&mut self.strategy, spec.strategy, |_, text| parse_strategy(text));
        reader.set_list(&mut self.time_servers, spec.time_servers, parse_domain);
        if let Some(tables) = spec.upstream {
            let place = reader.place(&tables);
            reader.refuse_empty(&tables, "no upstream to ask", "leave the key out for the defaults");
            let upstreams = tables
                .into_inner()
                .into_iter()
                .filter_map(|table| reader.upstream(table.into_inner()));
            self.upstreams = Sourced {
                value: upstreams.collect(),
                place,
            };
        }
        if let Some(tables) = spec.route {
            let place = reader.place(&tables);
            let routes = tables
                .into_inner()
                .into_iter()
                .map(|table| DraftRoute::read(table, &mut reader));
            self.routes = Sourced {
                value: routes.collect(),
                place,
            };
        }
        self.policy.lay(spec.policy, &mut reader);
        self.lay_cache(spec.cache, &mut reader);
        self.guard.lay(spec.guard, &mut reader);
        reader.set(&mut self.stats, spec.stats.listen, |_, text| parse_stats(text));
    }

    fn lay_cache(&mut self, spec: CacheSpec, reader: &mut Reader<'_>) {
        reader.set_quantity(&mut self.max_bytes, spec.max_bytes, |text| {
            text.parse().map(|ByteSize(n)| n)
        });
        let time = |text: &str| text.parse().map(|TimeSpan(time)| time);
        reader.set_quantity(&mut self.min_ttl, spec.min_ttl, time);
        reader.set_quantity(&mut self.max_ttl, spec.max_ttl, time);
        reader.set_quantity(&mut self.max_negative_ttl, spec.max_negative_ttl, time);
        let serve_stale = spec
            .serve_stale
            .map(|spanned| Spanned::new(spanned.span(), spanned.into_inner().0));
        reader.set_quantity(&mut self.serve_stale, serve_stale, time);
        reader.set_plain(&mut self.prefetch, spec.prefetch);
    }

    /// Lays the flags over everything.
    pub(super) fn lay_flags(&mut self, flags: &Flags, problems: &mut Vec<Problem>) {
        if !flags.listen.is_empty() {
            let listen = read_flags("--listen", &flags.listen, problems, parse_listen);
            self.listen = Sourced {
                place: flag("--listen", &flags.listen.join(" ")),
                value: listen,
            };
        }
        self.lay_upstream_flags(flags.upstream_flag.name(), &flags.upstream, &flags.address, problems);
        if let Some(text) = &flags.roots {
            let place = flag("--roots", text);
            match parse_roots(text, Path::new("")) {
                Ok(roots) => {
                    for upstream in &mut self.upstreams.value {
                        upstream.roots = Sourced {
                            value: roots.clone(),
                            place: place.clone(),
                        };
                    }
                }
                Err(complaint) => problems.push(complaint.at(place)),
            }
        }
    }

    /// Upstreams from a flag of this name, and the addresses of the one if it is one.
    fn lay_upstream_flags(
        &mut self,
        name: &'static str,
        urls: &[String],
        addresses: &[String],
        problems: &mut Vec<Problem>,
    ) {
        if !urls.is_empty() {
            let endpoints = read_flags(name, urls, problems, |url| Ok(url.parse::<Endpoint>()?));
            let upstreams = endpoints.into_iter().map(DraftUpstream::at);
            self.upstreams = Sourced {
                value: upstreams.collect(),
                place: flag(name, &urls.join(" ")),
            };
        }
        if addresses.is_empty() {
            return;
        }
        let place = flag("--address", &addresses.join(" "));
        let addresses = read_flags("--address", addresses, problems, parse_address);
        match (urls.len(), self.upstreams.value.first_mut()) {
            (1, Some(upstream)) => {
                let value = addresses.into_iter().map(|address| address.value).collect();
                upstream.addresses = Some(Sourced { value, place });
            }
            // The one URL was wrong and is reported already.
            (1, None) => {}
            _ => problems.push(Problem {
                place,
                message: format!("`--address` says where the one `{name}` is"),
                help: Some(format!(
                    "give exactly one {name} with it, or write several upstreams into a config file"
                )),
            }),
        }
    }
}

impl DraftUpstream {
    /// An upstream of which only the URL is known.
    fn at(endpoint: Sourced<Endpoint>) -> Self {
        let roots = Sourced::default_value(Roots::Bundled);
        Self {
            endpoint,
            addresses: None,
            name: None,
            server_name: None,
            roots,
            pins: Sourced::default_value(Vec::new()),
        }
    }
}

/// Reads one file's values and knows where each stands.
pub(super) struct Reader<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        Place::At {
            source: Arc::clone(self.source),
            span: spanned.span(),
        }
    }

    fn report(&mut self, place: Place, message: &str, help: Option<String>) {
        self.problems.push(Problem {
            place,
            message: message.to_owned(),
            help,
        });
    }

    /// An empty list replaces the one of the layer below by nothing, which is never meant.
    fn refuse_empty<T>(&mut self, list: &Spanned<Vec<T>>, message: &str, help: &str) {
        if list.get_ref().is_empty() {
            self.report(self.place(list), message, Some(help.to_owned()));
        }
    }

    /// Reads a text; a wrong one is reported where it stands.
    pub(super) fn read<T>(
        &mut self,
        text: Spanned<String>,
        parse: impl FnOnce(&Path, &str) -> Result<T, Complaint>,
    ) -> Option<Sourced<T>> {
        let place = self.place(&text);
        let directory = self.source.path.parent().unwrap_or_else(|| Path::new(""));
        match parse(directory, text.get_ref()) {
            Ok(value) => Some(Sourced { value, place }),
            Err(complaint) => {
                self.problems.push(complaint.at(place));
                None
            }
        }
    }

    pub(super) fn set<T>(
        &mut self,
        slot: &mut Sourced<T>,
        text: Option<Spanned<String>>,
        parse: impl FnOnce(&Path, &str) -> Result<T, Complaint>,
    ) {
        if let Some(value) = text.and_then(|text| self.read(text, parse)) {
            *slot = value;
        }
    }

    /// A flag or a number, which TOML has read already.
    pub(super) fn set_plain<T>(&self, slot: &mut Sourced<T>, value: Option<Spanned<T>>) {
        if let Some(value) = value {
            let place = self.place(&value);
            let value = value.into_inner();
            *slot = Sourced { value, place };
        }
    }

    pub(super) fn set_list<T>(
        &mut self,
        slot: &mut Sourced<Vec<Sourced<T>>>,
        texts: Option<Spanned<Vec<Spanned<String>>>>,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) {
        if let Some(texts) = texts {
            let place = self.place(&texts);
            let value = self.each(texts.into_inner(), |_, text| parse(text));
            *slot = Sourced { value, place };
        }
    }

    /// Like [`Reader::set_list`], for values that are read by the folder of the file they stand in.
    pub(super) fn set_paths<T>(
        &mut self,
        slot: &mut Sourced<Vec<Sourced<T>>>,
        texts: Option<Spanned<Vec<Spanned<String>>>>,
        parse: impl Fn(&str, &Path) -> Result<T, Complaint>,
    ) {
        if let Some(texts) = texts {
            let place = self.place(&texts);
            let value = self.each(texts.into_inner(), |directory, text| parse(text, directory));
            *slot = Sourced { value, place };
        }
    }

    fn set_quantity<T>(
        &mut self,
        slot: &mut Sourced<T>,
        quantity: Option<Spanned<Quantity>>,
        parse: impl FnOnce(&str) -> Result<T, UnitError>,
    ) {
        let text = quantity.map(|quantity| Spanned::new(quantity.span(), quantity.into_inner().0));
        self.set(slot, text, |_, text| Ok(parse(text)?));
    }

    fn each<T>(
        &mut self,
        texts: Vec<Spanned<String>>,
        parse: impl Fn(&Path, &str) -> Result<T, Complaint>,
    ) -> Vec<Sourced<T>> {
        texts.into_iter().filter_map(|text| self.read(text, &parse)).collect()
    }

    /// `None` when one of them could not be read, which is reported: the others are not judged by their number then.
    fn pins(&mut self, texts: Spanned<Vec<Spanned<String>>>) -> Option<Sourced<Vec<Sourced<Pin>>>> {
        let place = self.place(&texts);
        let wanted = texts.get_ref().len();
        let value = self.each(texts.into_inner(), |_, text| parse_pin(text));
        (value.len() == wanted).then_some(Sourced { value, place })
    }

    /// Reads a `[[upstream]]`; `None` when it has no usable URL.
    fn upstream(&mut self, spec: UpstreamSpec) -> Option<DraftUpstream> {
        let endpoint = self.read(spec.url, |_, url| Ok(url.parse::<Endpoint>()?));
        let addresses = spec.addresses.map(|texts| {
            let place = self.place(&texts);
            let help = "write at least one, or leave the key out for a well-known resolver";
            self.refuse_empty(&texts, "no address to connect to", help);
            let addresses = self.each(texts.into_inner(), |_, text| parse_address(text));
            Sourced {
                value: addresses.into_iter().map(|address| address.value).collect(),
                place,
            }
        });
        let name = spec.name.and_then(|text| self.read(text, |_, name| parse_name(name)));
        let server_name = spec
            .server_name
            .and_then(|text| self.read(text, |_, host| Ok(host.parse::<Host>()?)));
        let roots = match spec.roots {
            Some(text) => self.read(text, |directory, text| parse_roots(text, directory)),
            None => Some(Sourced::default_value(Roots::Bundled)),
        };
        let pins = match spec.pins {
            Some(texts) => self.pins(texts),
            None => Some(Sourced::default_value(Vec::new())),
        };
        Some(DraftUpstream {
            endpoint: endpoint?,
            addresses,
            name,
            server_name,
            roots: roots?,
            pins: pins?,
        })
    }
}

/// This host, by IPv4 and IPv6.
pub(super) fn default_listen() -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, 53)),
    ]
}

fn flag(name: &'static str, value: &str) -> Place {
    Place::Flag {
        name,
        value: value.to_owned(),
    }
}

fn read_flags<T>(
    name: &'static str,
    texts: &[String],
    problems: &mut Vec<Problem>,
    parse: impl Fn(&str) -> Result<T, Complaint>,
) -> Vec<Sourced<T>> {
    let mut values = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(value) => values.push(Sourced {
                value,
                place: flag(name, text),
            }),
            Err(complaint) => problems.push(complaint.at(flag(name, text))),
        }
    }
    values
}

/// The file format this version reads.
const FORMAT_VERSION: i64 = 1;

/// Asked in this order.
const DEFAULT_UPSTREAMS: [&str; 3] = [
    "https://dns.quad9.net/dns-query",
    "https://dns.mullvad.net/dns-query",
    "https://cloudflare-dns.com/dns-query",
];

/// Where the usual systems and clients get the time: Linux distributions, BSD, macOS, Windows, and what people set by hand.
const DEFAULT_TIME_SERVERS: [&str; 8] = [
    "pool.ntp.org",
    "ntp.ubuntu.com",
    "time.cloudflare.com",
    "time.google.com",
    "time.nist.gov",
    "time.apple.com",
    "time.windows.com",
    "nts.netnod.se",
];

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
