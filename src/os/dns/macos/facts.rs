//! What a Mac says about who answers its programs: by reading only.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::resolvers::{self, Resolver};
use super::scutil::Scutil;
use super::text::{self, Dictionary};
use crate::os::dns::system::Picture;

/// What is known of a Mac.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its network services, those that are off too.
    pub services: Vec<Service>,
    /// Who is asked in the end.
    pub resolvers: Vec<Resolver>,
    /// Domains that a file in `/etc/resolver` sends elsewhere.
    pub files: Vec<String>,
    /// Whether there is a journal.
    pub is_set: bool,
}

/// A network service: a network card's settings, a VPN's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// How the system knows it.
    pub id: String,
    /// What its network gave it: DHCP, a VPN.
    pub state: Option<Dictionary>,
    /// What its user set by hand, which wins.
    pub setup: Option<Dictionary>,
}

impl Service {
    /// The servers in force.
    pub fn servers<'a>(&'a self) -> &'a [String] {
        let of = |dictionary: &'a Option<Dictionary>| dictionary.as_ref().map(text::servers).unwrap_or_default();
        match of(&self.setup) {
            [] => of(&self.state),
            by_hand => by_hand,
        }
    }
}

/// Where a service's dictionary is.
pub(super) fn key(place: &str, id: &str) -> String {
    format!("{place}:/Network/Service/{id}/DNS")
}

/// More than any real host has, VPNs included.
const MAX_SERVICES: usize = 64;

/// Those of services in the current location, and of what only runs.
const TO_LIST: &str = "list State:/Network/Service/[^/]+/DNS\nlist Setup:/Network/Service/[^/]+/DNS\n\
                       list Setup:/Network/Service/[^/]+/Interface\n";

/// Looks. What cannot be read is not there.
pub(super) fn gather(scutil: &impl Scutil, root: &Path) -> Facts {
    let keys = text::keys(&scutil.run(&[], TO_LIST).unwrap_or_default());
    let mut ids: Vec<_> = keys.iter().filter_map(|key| key.split('/').nth(3)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(MAX_SERVICES);
    let wanted = ids.iter().flat_map(|id| [key("State", id), key("Setup", id)]);
    let there = read(scutil, &wanted.collect::<Vec<_>>()).unwrap_or_default();
    let services = ids.iter().zip(there.chunks(2)).map(|(id, there)| Service {
        id: (*id).to_owned(),
        state: there.first().cloned().flatten(),
        setup: there.get(1).cloned().flatten(),
    });
    Facts {
        services: services.collect(),
        resolvers: resolvers::read(&scutil.run(&["--dns"], "").unwrap_or_default()),
        files: files(root),
        is_set: false,
    }
}

/// The values of some keys: all at once, or one by one where a network's own words make that ambiguous.
pub(super) fn read(scutil: &impl Scutil, keys: &[String]) -> Result<Vec<Option<Dictionary>>, String> {
    let said = scutil.run(&[], &text::to_show(keys)?)?;
    if let Some(all) = text::shown(&said, keys.len()) {
        return Ok(all);
    }
    let one = |key: &String| {
        let said = scutil.run(&[], &text::to_show(std::slice::from_ref(key))?)?;
        let shown = text::shown(&said, 1).and_then(|mut one| one.pop());
        shown.ok_or_else(|| format!("scutil shows {key} in a way that is not understood"))
    };
    keys.iter().map(one).collect()
}

/// The files of `/etc/resolver` (resolver(5)): each is named after a domain.
fn files(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("etc/resolver")).into_iter().flatten().flatten();
    let names = entries
        .take(MAX_SERVICES)
        .map(|entry| entry.file_name().to_string_lossy().to_ascii_lowercase());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

impl Facts {
    /// Resolvers for all names of programs that choose no interface.
    fn for_all(&self) -> impl Iterator<Item = &Resolver> {
        let all = self.resolvers.iter();
        all.filter(|resolver| resolver.domain.is_empty() && !resolver.is_scoped)
    }

    /// Whether those that are asked are those that services name: what was written has been taken in.
    pub fn is_settled(&self) -> bool {
        let named = |server: &String| self.services.iter().any(|service| service.servers().contains(server));
        let mut asked = self.for_all().filter(|resolver| !resolver.is_multicast);
        asked.all(|resolver| resolver.servers.iter().all(named))
    }

    /// Every service that has servers, with them.
    fn in_words(&self) -> String {
        let with = self.services.iter().filter(|service| !service.servers().is_empty());
        let words = with.map(|service| format!("{} names {}", service.id, service.servers().join(", ")));
        let words: Vec<_> = words.collect();
        if words.is_empty() {
            return "none names a server".to_owned();
        }
        words.join("; ")
    }
}

impl Picture for Facts {
    fn stays_here(&self) -> bool {
        self.for_all().all(|resolver| !resolver.leaves())
    }

    fn elsewhere(&self) -> String {
        let leaves = self.for_all().filter(|resolver| resolver.leaves());
        let servers: Vec<_> = leaves.flat_map(|resolver| resolver.servers.clone()).collect();
        format!("macOS asks {}", servers.join(", "))
    }

    fn named(&self) -> Option<IpAddr> {
        let mut named = self.services.iter().filter_map(|service| match service.servers() {
            [only] => only.parse().ok(),
            _ => None,
        });
        named.find(IpAddr::is_loopback)
    }

    fn place(&self) -> &'static str {
        "a network service"
    }

    fn servers(&self) -> Vec<IpAddr> {
        let asked = self.resolvers.iter().filter(|resolver| !resolver.is_multicast);
        let servers = asked.flat_map(|resolver| &resolver.servers);
        servers.filter_map(|server| server.parse().ok()).collect()
    }

    fn headline(&self) -> String {
        format!("network services: {}", self.in_words())
    }

    fn explained(&self) -> String {
        let mut text = String::new();
        for resolver in self.resolvers.iter().filter(|resolver| resolver.leaves()) {
            let names = match (resolver.domain.as_str(), resolver.is_scoped) {
                ("", false) => "all names".to_owned(),
                ("", true) => "names that a program asks on one interface".to_owned(),
                (domain, _) => format!("names below {domain}"),
            };
            text.push_str(&format!("{names}: asked at {}\n", resolver.servers.join(", ")));
        }
        if !self.files.is_empty() {
            text.push_str(&format!("files in /etc/resolver: {}\n", self.files.join(", ")));
        }
        text
    }

    fn to_json(&self) -> Value {
        let service = |one: &Service| json!({ "id": one.id, "servers": one.servers() });
        let resolver = |one: &Resolver| {
            json!({
                "domain": one.domain, "servers": one.servers, "multicast": one.is_multicast,
                "scoped": one.is_scoped,
            })
        };
        json!({
            "services": self.services.iter().map(service).collect::<Vec<_>>(),
            "resolvers": self.resolvers.iter().map(resolver).collect::<Vec<_>>(),
            "resolver_files": self.files,
        })
    }
}
