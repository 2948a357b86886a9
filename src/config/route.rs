//! `[[route]]`: split DNS, as written, checked and shown.

use std::net::IpAddr;

use toml::Spanned;

use super::check::problem;
use super::draft::Reader;
use super::file::RouteSpec;
use super::problem::{Place, Problem, Sourced};
use super::show::{Lines, list, quoted};
use super::values::{Complaint, parse_domain, parse_roots};
use super::{Roots, RouteConfig};
use crate::policy::local;
use crate::serve::{Network, NetworkError};
use crate::upstream::connect::{Exit, Gateway, GatewayError, Interface};
use crate::upstream::endpoint::Host;
use crate::upstream::route_endpoint::{RouteEndpoint, RouteEndpointError};

/// A route in the making.
#[derive(Clone, Debug)]
pub(super) struct DraftRoute {
    place: Place,
    zones: Sourced<Vec<Sourced<String>>>,
    networks: Sourced<Vec<Sourced<Network>>>,
    upstreams: Sourced<Vec<Sourced<RouteEndpoint>>>,
    /// `None` in it is any.
    interface: Option<Sourced<Option<Interface>>>,
    via: Option<Sourced<Gateway>>,
    roots: Sourced<Roots>,
}

impl DraftRoute {
    /// What can be read of a `[[route]]`; the rest is reported.
    pub(super) fn read(spec: Spanned<RouteSpec>, reader: &mut Reader<'_>) -> Self {
        let mut route = Self {
            place: reader.place(&spec),
            zones: Sourced::default_value(Vec::new()),
            networks: Sourced::default_value(Vec::new()),
            upstreams: Sourced::default_value(Vec::new()),
            interface: None,
            via: None,
            roots: Sourced::default_value(Roots::Bundled),
        };
        let spec = spec.into_inner();
        reader.set_list(&mut route.zones, spec.zones, parse_domain);
        reader.set_list(&mut route.networks, spec.networks, |text| {
            text.parse()
                .map_err(|error: NetworkError| Complaint::from(error.to_string()))
        });
        reader.set_list(&mut route.upstreams, spec.upstream, parse_upstream);
        route.interface = spec
            .interface
            .and_then(|text| reader.read(text, |_, text| parse_interface(text)));
        route.via = spec.via.and_then(|text| reader.read(text, |_, text| parse_via(text)));
        reader.set(&mut route.roots, spec.roots, |directory, text| {
            parse_roots(text, directory)
        });
        route
    }

    /// Those written and those of the networks.
    fn all_zones(&self) -> impl Iterator<Item = (String, &Place)> {
        let written = self.zones.value.iter().map(|zone| (zone.value.clone(), &zone.place));
        let reverse = self.networks.value.iter().flat_map(|network| {
            let zones = network.value.reverse_zones();
            zones.into_iter().map(|zone| (zone, &network.place))
        });
        written.chain(reverse)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        if self.zones.value.is_empty() && self.networks.value.is_empty() {
            let help = "write for example zones = [\"corp.example\"]";
            problems.push(problem(&self.place, "a route without names", help));
        }
        if self.upstreams.value.is_empty() {
            let help = "write for example upstream = [\"udp://10.8.0.1\"]";
            problems.push(problem(&self.place, "a route without a resolver", help));
        }
        if self.upstreams.value.len() > MAX_UPSTREAMS {
            problems.push(problem(
                &self.upstreams.place,
                "more than 8 resolvers of one route",
                "keep the nearest",
            ));
        }
        for upstream in &self.upstreams.value {
            match &upstream.value {
                RouteEndpoint::Encrypted(endpoint) => check_host(&endpoint.host, upstream, problems),
                RouteEndpoint::Plain(endpoint) => self.check_exit(endpoint.server.ip(), &upstream.place, problems),
            }
        }
        if let Some(via) = &self.via {
            self.check_via(via, problems);
        }
    }

    /// Without a way of its own, a question in clear text goes wherever the routes lead.
    fn check_exit(&self, server: IpAddr, place: &Place, problems: &mut Vec<Problem>) {
        let has_way = self.interface.is_some() || self.via.is_some();
        if !has_way && !server.to_canonical().is_loopback() {
            let message = "classic DNS without an interface: when the VPN is down these names leave by the LAN";
            let help = "write for example interface = \"tun0\", or via = \"192.168.1.2\" if the VPN is on a router of its own, or \
                        interface = \"any\" if that is what you want";
            problems.push(problem(place, message, help));
        }
    }

    /// What could never hold, or would hold of any router.
    fn check_via(&self, via: &Sourced<Gateway>, problems: &mut Vec<Problem>) {
        if via.value.is_link_local() && self.bound_to().is_none() {
            let message = format!("every network may have a router with the address {}", via.value);
            problems.push(problem(&via.place, &message, "write interface = \"eth0\" as well"));
        }
        for upstream in &self.upstreams.value {
            let servers = upstream.value.servers();
            let ips = || servers.iter().map(|(server, _)| server.ip().to_canonical());
            let router = via.value.address();
            if ips().any(|ip| ip == router) {
                let message = format!("{router} is not reached through itself");
                problems.push(problem(
                    &upstream.place,
                    &message,
                    "leave via out, and write an interface",
                ));
            } else if router.is_ipv4() && !servers.is_empty() && ips().all(|ip| ip.is_ipv6()) {
                let message = format!("an IPv6 server is not reached through {router}");
                problems.push(problem(&upstream.place, &message, "write the router's IPv6 address"));
            }
        }
    }

    fn bound_to(&self) -> Option<&Interface> {
        self.interface.as_ref().and_then(|interface| interface.value.as_ref())
    }

    fn to_config(&self) -> RouteConfig {
        RouteConfig {
            zones: self.all_zones().map(|(zone, _)| zone).collect(),
            upstreams: self
                .upstreams
                .value
                .iter()
                .map(|upstream| upstream.value.clone())
                .collect(),
            exit: Exit {
                interface: self.bound_to().cloned(),
                via: self.via.as_ref().map(|via| via.value),
            },
            roots: self.roots.value.clone(),
        }
    }

    pub(super) fn show(&self, lines: &mut Lines) {
        lines.table("[[route]]");
        lines.value(
            "zones",
            &list(self.zones.value.iter().map(|zone| zone.value.clone())),
            &self.zones.place,
        );
        let networks = self.networks.value.iter().map(|network| network.value.to_string());
        lines.value("networks", &list(networks), &self.networks.place);
        let upstreams = self.upstreams.value.iter().map(|upstream| upstream.value.to_string());
        lines.value("upstream", &list(upstreams), &self.upstreams.place);
        if let Some(interface) = &self.interface {
            let name = interface.value.as_ref().map_or("any", Interface::name);
            lines.value("interface", &quoted(name), &interface.place);
        }
        if let Some(via) = &self.via {
            lines.value("via", &quoted(&via.value.to_string()), &via.place);
        }
        lines.value("roots", &quoted(&self.roots.value.to_string()), &self.roots.place);
    }
}

fn check_host(host: &Host, upstream: &Sourced<RouteEndpoint>, problems: &mut Vec<Problem>) {
    if let Host::Name(name) = host
        && upstream.value.servers().is_empty()
    {
        let message = format!("where `{name}` is would have to be asked of somebody else");
        let help = "write its address, as in \"tls://10.8.0.1\"";
        problems.push(problem(&upstream.place, &message, help));
    }
}

/// Reports what does not fit together in the routes.
pub(super) fn check(routes: &Sourced<Vec<DraftRoute>>, let_out: &[Sourced<String>], problems: &mut Vec<Problem>) {
    if routes.value.len() > MAX_ROUTES {
        problems.push(problem(
            &routes.place,
            "more than 32 routes",
            "one route may have many zones",
        ));
    }
    let mut seen: Vec<String> = Vec::new();
    for route in &routes.value {
        route.check(problems);
        for (zone, place) in route.all_zones() {
            let top = zone.rsplit('.').next().unwrap_or_default().to_owned();
            if local::is_never_asked(&zone) && !let_out.iter().any(|out| out.value == top) {
                let message = format!("names of `{top}` are never asked");
                problems.push(problem(
                    place,
                    &message,
                    &format!("let-out = [\"{top}\"] under [policy] opens them"),
                ));
            }
            if seen.contains(&zone) {
                let message = format!("`{zone}` has a route already");
                problems.push(problem(
                    place,
                    &message,
                    "a name goes one way: leave one of the two out",
                ));
            } else {
                seen.push(zone);
            }
        }
    }
    if seen.len() > MAX_ZONES {
        problems.push(problem(
            &routes.place,
            "more than 1024 zones in all routes",
            "a zone stands for all below it",
        ));
    }
}

/// The routes, in order. Sound only after [`check`] found nothing.
pub(super) fn to_config(routes: &[DraftRoute]) -> Vec<RouteConfig> {
    routes.iter().map(DraftRoute::to_config).collect()
}

fn parse_upstream(text: &str) -> Result<RouteEndpoint, Complaint> {
    text.parse()
        .map_err(|error: RouteEndpointError| error.to_string().into())
}

fn parse_interface(text: &str) -> Result<Option<Interface>, Complaint> {
    if text == "any" {
        return Ok(None);
    }
    let wrong = |_| Complaint::new("not the name of an interface", "write for example \"tun0\"");
    text.parse().map(Some).map_err(wrong)
}

fn parse_via(text: &str) -> Result<Gateway, Complaint> {
    text.parse().map_err(|error: GatewayError| error.to_string().into())
}

/// Each has a cache and sockets of its own.
const MAX_ROUTES: usize = 32;

/// Tried one after the other within one deadline.
const MAX_UPSTREAMS: usize = 8;

/// Compared one by one here; looked up by hash later.
const MAX_ZONES: usize = 1024;
