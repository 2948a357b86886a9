//! systemd-resolved's links, over D-Bus: what they have, and taking it away.
//!
//! A link's servers can be changed by nobody but its owner if systemd-networkd configures it (LinkBusy); then networkd is asked for the same,
//! as `resolvectl` does. It takes the same calls.

use std::ffi::CString;
use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::timeout;
use zbus::wire::{DynamicType, OwnedObjectPath, Type, as_variant};
use zbus::{Connection, Error, Message};

use super::services::Link;

/// D-Bus is on this host, and its calls change a line in a table: who needs longer does not answer at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than a host with hundreds of containers has.
const MAX_INTERFACES: usize = 4096;

/// A destination, its object and its interface.
#[derive(Clone, Copy)]
struct Manager(&'static str, &'static str, &'static str);

const BUS: Manager = Manager("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
const RESOLVED: Manager = Manager(
    "org.freedesktop.resolve1",
    "/org/freedesktop/resolve1",
    "org.freedesktop.resolve1.Manager",
);
const NETWORKD: Manager = Manager(
    "org.freedesktop.network1",
    "/org/freedesktop/network1",
    "org.freedesktop.network1.Manager",
);
const LINK: &str = "org.freedesktop.resolve1.Link";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUSY: &str = "org.freedesktop.resolve1.LinkBusy";
/// A link that is gone; or, for resolved, loopback.
const NO_LINK: [&str; 2] = [
    "org.freedesktop.resolve1.NoSuchLink",
    "org.freedesktop.network1.NoSuchLink",
];

/// The system's bus.
pub(super) struct Bus(Connection);

impl Bus {
    pub(super) async fn connect() -> Result<Self, String> {
        match timeout(PATIENCE, Connection::system()).await {
            Ok(Ok(connection)) => Ok(Self(connection)),
            Ok(Err(error)) => Err(format!("cannot speak to D-Bus: {error}")),
            Err(_) => Err("D-Bus does not answer".to_owned()),
        }
    }

    /// The links but loopback; none if systemd-resolved does not run: asked for one, the bus would start it.
    pub(super) async fn links(&self) -> Result<Vec<Link>, String> {
        if !self.has(RESOLVED).await? {
            return Ok(Vec::new());
        }
        match self.all_links().await {
            // It has ended meanwhile.
            Err(_) if !self.has(RESOLVED).await? => Ok(Vec::new()),
            links => links,
        }
    }

    async fn all_links(&self) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        for (index, name) in interfaces().map_err(|error| format!("cannot list the interfaces: {error}"))? {
            links.extend(self.link(index, &name).await?);
        }
        Ok(links)
    }

    /// Whether a program runs.
    async fn has(&self, Manager(name, _, _): Manager) -> Result<bool, String> {
        let found = self.call(BUS, "NameHasOwner", &(name,)).await;
        let found = found.and_then(|reply| reply.body().deserialize());
        found.map_err(|error| format!("D-Bus does not tell who runs: {error}"))
    }

    /// One link; none if it is gone, or none of resolved's.
    async fn link(&self, index: i32, name: &str) -> Result<Option<Link>, String> {
        let failed = |error: Error| format!("systemd-resolved does not tell about {name}: {error}");
        let found = match self.call(RESOLVED, "GetLink", &(index,)).await {
            Err(error) if is_any(&error, &NO_LINK) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let path: OwnedObjectPath = found.body().deserialize().map_err(failed)?;
        let of = Property(&self.0, &path);
        Ok(Some(Link {
            index,
            name: name.to_owned(),
            servers: of.read("DNSEx").await.map_err(failed)?,
            domains: of.read("Domains").await.map_err(failed)?,
            default_route: of.read("DefaultRoute").await.map_err(failed)?,
            llmnr: of.read("LLMNR").await.map_err(failed)?,
            multicast_dns: of.read("MulticastDNS").await.map_err(failed)?,
            dns_over_tls: of.read("DNSOverTLS").await.map_err(failed)?,
        }))
    }

    /// Takes everything away by which a link can be asked.
    pub(super) async fn strip(&self, link: &Link) -> Result<(), String> {
        self.write(&link.stripped(), None).await
    }

    /// Empties a link, then sets what it had beyond that: so what was never set is unset again.
    pub(super) async fn put_back(&self, link: &Link) -> Result<(), String> {
        let failed = |error: Error| format!("{}: {error}", link.name);
        match self.call(RESOLVED, "RevertLink", &(link.index,)).await {
            Err(error) if is_any(&error, &NO_LINK) => return Ok(()),
            // Its owner knows what it had.
            Err(error) if is_any(&error, &[BUSY]) => {
                let reverted = self.call(NETWORKD, "RevertLinkDNS", &(link.index,)).await;
                return reverted.map(|_| ()).map_err(failed);
            }
            reverted => reverted.map_err(failed)?,
        };
        let now = self.link(link.index, &link.name).await?;
        self.write(link, now.as_ref()).await
    }

    /// Sets what differs from `now`; everything, if that is not known. Servers first: by their absence a stripped link is known again.
    async fn write(&self, link: &Link, now: Option<&Link>) -> Result<(), String> {
        let index = link.index;
        let differs = |same: fn(&Link, &Link) -> bool| now.is_none_or(|now| !same(now, link));
        if differs(|a, b| a.servers == b.servers) {
            self.set(link, "SetLinkDNSEx", &(index, &link.servers)).await?;
        }
        if differs(|a, b| a.domains == b.domains) {
            self.set(link, "SetLinkDomains", &(index, &link.domains)).await?;
        }
        if differs(|a, b| a.default_route == b.default_route) {
            self.set(link, "SetLinkDefaultRoute", &(index, link.default_route))
                .await?;
        }
        for (method, value, is_other) in [
            ("SetLinkLLMNR", &link.llmnr, differs(|a, b| a.llmnr == b.llmnr)),
            (
                "SetLinkMulticastDNS",
                &link.multicast_dns,
                differs(|a, b| a.multicast_dns == b.multicast_dns),
            ),
            (
                "SetLinkDNSOverTLS",
                &link.dns_over_tls,
                differs(|a, b| a.dns_over_tls == b.dns_over_tls),
            ),
        ] {
            if is_other {
                self.set(link, method, &(index, value)).await?;
            }
        }
        Ok(())
    }

    /// At resolved; at networkd, if the link is that one's. A link that is gone has nothing left to take away.
    async fn set<B: serde::Serialize + DynamicType>(&self, link: &Link, method: &str, body: &B) -> Result<(), String> {
        let mut done = self.call(RESOLVED, method, body).await;
        if matches!(&done, Err(error) if is_any(error, &[BUSY])) {
            done = self.call(NETWORKD, method, body).await;
        }
        match done {
            Err(error) if !is_any(&error, &NO_LINK) => Err(format!("{} ({method}): {error}", link.name)),
            _ => Ok(()),
        }
    }

    async fn call<B: serde::Serialize + DynamicType>(
        &self,
        Manager(destination, path, interface): Manager,
        method: &str,
        body: &B,
    ) -> Result<Message, Error> {
        let call = self
            .0
            .call_method(Some(destination), path, Some(interface), method, body);
        in_time(call).await
    }
}

/// A property of one link.
struct Property<'a>(&'a Connection, &'a OwnedObjectPath);

impl Property<'_> {
    async fn read<T: Type + serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let Self(connection, path) = self;
        let of = (LINK, name);
        let call = connection.call_method(Some(RESOLVED.0), path.as_ref(), Some(PROPERTIES), "Get", &of);
        let message = in_time(call).await?;
        let body = message.body();
        let value: as_variant::Deserialize<'_, T> = body.deserialize()?;
        Ok(value.0)
    }
}

async fn in_time(call: impl Future<Output = Result<Message, Error>>) -> Result<Message, Error> {
    timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(Error::Failure("no answer".to_owned())))
}

fn is_any(error: &Error, names: &[&str]) -> bool {
    matches!(error, Error::MethodError(name, _, _) if names.contains(&name.as_str()))
}

/// Numbers and names of this network's interfaces but loopback. Not of /sys, which may show another network.
fn interfaces() -> io::Result<Vec<(i32, String)>> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    let mut found = Vec::new();
    // Two lines of headings.
    for line in table.lines().skip(2).take(MAX_INTERFACES) {
        let name = line.split(':').next().unwrap_or_default().trim();
        let Ok(c_name) = CString::new(name) else { continue };
        #[allow(unsafe_code, reason = "std does not number interfaces")]
        // SAFETY: a string that ends with NUL and lives until the call returns.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        // 0: gone since the table was read.
        if name != "lo" && index != 0 {
            found.push((index.cast_signed(), name.to_owned()));
        }
    }
    Ok(found)
}
