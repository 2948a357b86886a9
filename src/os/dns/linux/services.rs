//! The programs that have a say in a host's DNS, as far as we speak to them: behind one trait, so that the steps are tested without them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::roads::Roads;

/// The name under which openresolv knows us. It sorts `lo` first in any case.
pub(super) const OPENRESOLV_NAME: &str = "lo.tacenda";

/// A program that reads files of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// systemd-resolved.
    Resolved,
    /// NetworkManager.
    NetworkManager,
}

impl Service {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolved => "systemd-resolved",
            Self::NetworkManager => "NetworkManager",
        }
    }
}

/// A link as systemd-resolved has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Its number, good until the next start of the machine.
    pub index: i32,
    /// Its name.
    pub name: String,
    /// Its servers: address family, address, port, server name.
    pub servers: Vec<(i32, Vec<u8>, u16, String)>,
    /// Its domains, and whether each is for routing only.
    pub domains: Vec<(String, bool)>,
    /// Whether names of no domain are asked here.
    pub default_route: bool,
    /// LLMNR: yes, no, resolve.
    pub llmnr: String,
    /// Multicast DNS: yes, no, resolve.
    pub multicast_dns: String,
    /// DNS over TLS: yes, no, opportunistic.
    pub dns_over_tls: String,
}

impl Link {
    /// The addresses of its servers.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.servers.iter().filter_map(|(_, octets, _, _)| match octets.len() {
            4 => <[u8; 4]>::try_from(octets.as_slice()).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(octets.as_slice()).ok().map(IpAddr::from),
        })
    }

    /// Without a way to ask anybody.
    #[must_use]
    pub fn stripped(&self) -> Self {
        let no = || "no".to_owned();
        Self {
            index: self.index,
            name: self.name.clone(),
            servers: Vec::new(),
            domains: Vec::new(),
            default_route: false,
            llmnr: no(),
            multicast_dns: no(),
            dns_over_tls: no(),
        }
    }
}

/// What we ask of them, and of the kernel. Every call ends within seconds.
pub trait Services: Roads {
    /// Has it read its files again, and waits until it has.
    ///
    /// # Errors
    /// In words.
    fn reload(&self, service: Service) -> Result<(), String>;

    /// Puts our entry in openresolv's table.
    ///
    /// # Errors
    /// In words.
    fn openresolv_add(&self, octets: &[u8]) -> Result<(), String>;

    /// Takes it out. That it is not there is no error.
    ///
    /// # Errors
    /// In words.
    fn openresolv_delete(&self) -> Result<(), String>;

    /// The links of systemd-resolved but loopback.
    ///
    /// # Errors
    /// In words.
    fn links(&self) -> Result<Vec<Link>, String>;

    /// Takes a link's servers, domains and other ways to ask away; or, for a manager that owns the link, has that done.
    ///
    /// # Errors
    /// In words.
    fn strip_link(&self, link: &Link) -> Result<(), String>;

    /// Makes a link what it was. One that has gone is no error.
    ///
    /// # Errors
    /// In words.
    fn put_back_link(&self, link: &Link) -> Result<(), String>;
}
