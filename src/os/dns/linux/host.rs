//! The programs of this host: commands, and the system's bus.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::runtime::Runtime;

use super::bus::Bus;
use super::roads::Roads;
use super::services::{Link, OPENRESOLV_NAME, Service, Services};
use crate::os::command::run;
use crate::os::link;
use crate::os::socket::{is_near, path_to};

const DNS_PORT: u16 = 53;

/// The programs of this host.
#[derive(Debug)]
pub struct Host {
    runtime: Runtime,
}

impl Host {
    /// Starts nothing.
    ///
    /// # Errors
    /// When the system gives no event queue.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime })
    }

    fn on_bus<T>(&self, work: impl AsyncFnOnce(&Bus) -> Result<T, String>) -> Result<T, String> {
        self.runtime.block_on(async {
            let bus = Bus::connect().await?;
            work(&bus).await
        })
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Result<(), String> {
        self.runtime.block_on(run(words, input)).map(drop)
    }
}

impl Roads for Host {
    fn link_to(&self, server: IpAddr) -> Option<String> {
        let path = path_to(SocketAddr::new(server, DNS_PORT)).ok()?;
        Some(link::name_of(path.interface).unwrap_or_default())
    }

    fn is_near(&self, server: IpAddr) -> bool {
        is_near(server)
    }

    fn has_link(&self, name: &str) -> bool {
        name.is_empty() || link::index_of(name).is_some()
    }
}

impl Services for Host {
    fn reload(&self, service: Service) -> Result<(), String> {
        match service {
            Service::Resolved => self.run(&["systemctl", "reload-or-restart", "systemd-resolved.service"], &[]),
            Service::NetworkManager => self.run(&["nmcli", "general", "reload"], &[]),
        }
    }

    fn openresolv_add(&self, octets: &[u8]) -> Result<(), String> {
        self.run(&["resolvconf", "-x", "-a", OPENRESOLV_NAME], octets)
    }

    fn openresolv_delete(&self) -> Result<(), String> {
        self.run(&["resolvconf", "-f", "-d", OPENRESOLV_NAME], &[])
    }

    fn links(&self) -> Result<Vec<Link>, String> {
        self.on_bus(async |bus| bus.links().await)
    }

    fn strip_link(&self, link: &Link) -> Result<(), String> {
        self.on_bus(async |bus| bus.strip(link).await)
    }

    fn put_back_link(&self, link: &Link) -> Result<(), String> {
        self.on_bus(async |bus| bus.put_back(link).await)
    }
}
