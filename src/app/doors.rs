//! The sockets that clients and readers of the figures come to: opened before anything else, while there are the rights for it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use super::{StartError, confines};
use crate::admin;
use crate::config::{ChosenBy, Config};
use crate::os::sandbox::{self, Held, Layer, Needs};
use crate::os::socket::{Inherited, Transport};
use crate::os::usage::Meter;
use crate::serve::{self, BindCause, BindError, Bound};

/// Bound and not yet served: what comes waits in the kernel. Needs no runtime, so that threads can begin after rights are given up.
#[derive(Debug)]
pub struct Doors {
    pub(super) dns: Bound,
    pub(super) stats: Option<TcpListener>,
    /// What the sandbox gives, if it is on.
    pub(super) confined: Option<Needs>,
    /// What this process takes, where the system says it.
    pub(super) usage: Option<Meter>,
}

impl Doors {
    /// Binds what the configuration says, but for what the service manager has bound. `watchdog` is how often it wants a sign of life of
    /// every receiving thread.
    ///
    /// # Errors
    /// See [`StartError`]; nothing of ours stays bound then.
    pub fn open(config: &Config, inherited: &Inherited, watchdog: Option<Duration>) -> Result<Self, StartError> {
        let dns = bind(config, inherited, watchdog)?;
        tell_whose(&dns.addresses(), inherited);
        let open = |address| admin::bind(address).map_err(|error| StartError::Stats { address, error });
        let stats = config.stats.map(open).transpose()?;
        Ok(Self {
            dns,
            stats,
            confined: None,
            usage: Meter::open().ok(),
        })
    }

    /// Gives up, for good and for all threads that begin afterwards, whatever this configuration does not need; `folders` are those that it
    /// stands in. Says what holds, because an old kernel may give less.
    #[must_use]
    pub fn confine(self, config: &Config, folders: &[PathBuf]) -> Self {
        confines::make_ready(config);
        let needs = confines::needs(config, folders);
        let held = sandbox::enter(&needs);
        let Held { files, calls, rights } = held;
        if held.is_whole() {
            tracing::info!("sandboxed: no files but its own, no other ports, programs or rights");
        } else {
            tracing::warn!(%files, %calls, %rights, "sandboxed as far as this kernel can");
        }
        Self {
            confined: (files != Layer::Missing).then_some(needs),
            ..self
        }
    }
}

/// Binds the listen addresses. One of the built-in ones that this host lacks (no IPv6, say) is left out with a line.
fn bind(config: &Config, inherited: &Inherited, watchdog: Option<Duration>) -> Result<Bound, StartError> {
    let mut settings = serve::Settings {
        listen: config.listen.addresses.clone(),
        allow: config.allow.clone(),
        rate_limit: config.rate_limit,
        patience: watchdog.map(|interval| interval / TURNS_OF_AN_INTERVAL),
        ..serve::Settings::default()
    };
    loop {
        match serve::bind_with(&settings, inherited) {
            Err(BindError::Address {
                address,
                cause: BindCause::NoSuchAddress,
                ..
            }) if config.listen.chosen_by == ChosenBy::Default && settings.listen.len() > 1 => {
                tracing::warn!(%address, "this host has no such address: not listening there");
                settings.listen.retain(|listen| *listen != address);
            }
            bound => return bound.map_err(StartError::Bind),
        }
    }
}

/// Which sockets are whose, if any is the manager's: a unit that lacks one, or an address, is found by this.
fn tell_whose(addresses: &[SocketAddr], inherited: &Inherited) {
    if inherited.is_empty() {
        return;
    }
    for (address, transport) in addresses
        .iter()
        .flat_map(|address| BOTH.map(|transport| (address, transport)))
    {
        let transport_name = transport.as_str();
        if inherited.has(transport, *address) {
            tracing::info!(%address, transport = transport_name, "taken over from the service manager");
        } else {
            tracing::warn!(%address, transport = transport_name, "bound here: the service manager passes no socket for it");
        }
    }
}

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// The look is at half the interval; by then an idle thread has come round twice.
const TURNS_OF_AN_INTERVAL: u32 = 4;
