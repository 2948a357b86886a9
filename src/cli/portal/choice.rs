//! Whom a window may ask, and by which interface: as its user says, else as the network said.

use std::net::{IpAddr, SocketAddr};

use super::{Exit, Failure};
use crate::os::dns::handed_out::{HandedOut, Host, Links, Source, handed_out};
use crate::os::dns::here;
use crate::os::dns::system::Picture;
use crate::os::guard::window::MAX_SERVERS;
use crate::os::link::{addresses, index_of, name_of};
use crate::os::socket::{Interface, is_near, path_to};

/// What this network says of itself.
#[derive(Debug)]
pub(super) struct Network {
    /// Whom a window may ask.
    pub(super) choice: Result<Choice, Failure>,
    /// Where it tells of its sign-in page (RFC 8910).
    pub(super) urls: Vec<String>,
}

impl Network {
    /// Looks; `server` and `interface` are what its user knows better. For root.
    pub(super) fn of_this_host(server: Option<IpAddr>, interface: Option<&Interface>) -> Self {
        let settings = here().map_or_else(
            |_| Vec::new(),
            |machine| {
                let mut settings = machine.servers_of_others().unwrap_or_default();
                settings.extend(machine.facts().servers());
                settings
            },
        );
        let mut said = handed_out(&Host::this(Links { name_of, index_of }), &settings);
        let own = addresses().unwrap_or_default();
        let servers = &mut said.servers;
        // Nobody else's resolver is here, whatever a network says.
        servers.retain(|one| !own.iter().any(|(_, own)| *own == one.server));
        if let Some(wanted) = interface {
            let is_elsewhere = |one: &HandedOut| one.interface.as_deref().is_some_and(|name| name != wanted.name());
            servers.retain(|one| !is_elsewhere(one));
        }
        // Who is in this very network comes first, and a guess last: settings and leases may be of another one.
        servers.sort_by_cached_key(|one| (one.by == Source::Router, !is_near(one.server)));
        if servers.first().is_some_and(|one| is_near(one.server)) {
            servers.retain(|one| is_near(one.server));
        }
        let choice = choose(server, interface, &said.servers, leads_by);
        let urls = choice.as_ref().map_or_else(
            |_| Vec::new(),
            |choice| said.urls(choice.interface.name(), &choice.servers),
        );
        let urls = urls.into_iter().map(str::to_owned).collect();
        Self { choice, urls }
    }
}

/// The way of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) interface: Interface,
    pub(super) servers: Vec<IpAddr>,
    /// Who says so; nobody but its user.
    pub(super) by: Option<Source>,
}

impl Choice {
    /// Whether these are of the network at that interface, and of no other that this host is in; `is_named`: its user has said which.
    pub(super) fn is_near(&self, is_named: bool) -> bool {
        // What is good on one link only is asked on that one.
        let is_of_link = |server: &IpAddr| matches!(server, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let leads_there = |server: &IpAddr| leads_by(*server).as_ref() == Some(&self.interface);
        let is_there = |server: &IpAddr| is_of_link(server) || (is_near(*server) && (is_named || leads_there(server)));
        self.servers.iter().all(is_there)
    }
}

/// Decides. `leads_by` says by which interface the kernel sends packets to an address.
fn choose(
    server: Option<IpAddr>,
    interface: Option<&Interface>,
    handed_out: &[HandedOut],
    leads_by: impl Fn(IpAddr) -> Option<Interface>,
) -> Result<Choice, Failure> {
    if let Some(server) = server {
        let interface = interface.cloned().or_else(|| leads_by(server));
        let interface = interface.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("nothing was changed: no way leads to {server}"))
                .with_help("say by which interface, with --interface")
        })?;
        return Ok(Choice {
            interface,
            servers: vec![server],
            by: None,
        });
    }
    let way = |one: &HandedOut| {
        let named = one.interface.as_deref().and_then(|name| name.parse().ok());
        named.or_else(|| leads_by(one.server))
    };
    let found = handed_out.iter().map(|one| (way(one), one));
    let ways: Vec<(Interface, &HandedOut)> = found.filter_map(|(way, one)| Some((way?, one))).collect();
    let mut fitting = ways
        .iter()
        .filter(|(found, _)| interface.is_none_or(|wanted| wanted == found));
    let Some((interface, first)) = fitting.next() else {
        let failure = Failure::new(
            Exit::Failed,
            "nothing was changed: this network's resolver is not known",
        );
        return Err(failure.with_help("say where it is, with --server and --interface; often it is the router"));
    };
    // Those that the same source hands out for the same interface.
    let same = ways
        .iter()
        .filter(|(found, one)| found == interface && one.by == first.by);
    Ok(Choice {
        interface: interface.clone(),
        servers: same.map(|(_, one)| one.server).take(MAX_SERVERS).collect(),
        by: Some(first.by),
    })
}

/// By which interface the kernel sends packets to `server`, known by the address that they have.
fn leads_by(server: IpAddr) -> Option<Interface> {
    let path = path_to(SocketAddr::new(server, 53)).ok()?;
    let own = addresses().ok()?;
    let (name, _) = own.iter().find(|(_, address)| *address == path.source)?;
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(servers: &[(Option<&str>, &str, Source)]) -> Vec<HandedOut> {
        let one = |(interface, server, by): &(Option<&str>, &str, Source)| HandedOut {
            interface: interface.map(str::to_owned),
            server: server.parse().unwrap(),
            by: *by,
        };
        servers.iter().map(one).collect()
    }

    fn by_h0(server: IpAddr) -> Option<Interface> {
        server.is_ipv4().then(|| "h0".parse().unwrap())
    }

    fn check(server: Option<&str>, interface: Option<&str>, expected: Option<(&str, &[&str], Option<Source>)>) {
        let said = said(&[
            (None, "fd00::9", Source::Settings),
            (None, "192.168.77.1", Source::Settings),
            (None, "192.168.77.2", Source::Settings),
            (Some("w0"), "10.0.0.1", Source::Dhclient),
            (Some("h0"), "192.168.77.254", Source::Router),
        ]);
        let interface: Option<Interface> = interface.map(|name| name.parse().unwrap());
        let server = server.map(|server| server.parse().unwrap());
        let chosen = choose(server, interface.as_ref(), &said, by_h0);
        let expected = expected.map(|(interface, servers, by)| Choice {
            interface: interface.parse().unwrap(),
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            by,
        });
        assert_eq!(chosen.ok(), expected);
    }

    #[test]
    fn the_user_knows_best_and_then_the_best_source_with_a_way() {
        let settings = Some(Source::Settings);
        check(None, None, Some(("h0", &["192.168.77.1", "192.168.77.2"], settings)));
        check(None, Some("w0"), Some(("w0", &["10.0.0.1"], Some(Source::Dhclient))));
        check(None, Some("x0"), None);
        check(Some("192.0.2.1"), None, Some(("h0", &["192.0.2.1"], None)));
        check(Some("fd00::1"), Some("w0"), Some(("w0", &["fd00::1"], None)));
        check(Some("fd00::1"), None, None);
    }
}
