//! From settings to an [`Upstream`] that can be asked. Opens no connection: that waits for the first question.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::Upstream;
use super::endpoint::{Endpoint, Host, Transport};
use crate::transport::doh::{Doh, Template, TemplateError, Verb};
use crate::transport::dot::Dot;
use crate::transport::tls::{Alpn, RootsError, Tls, Trust};
use crate::transport::{self, Addresses, Exchange, Target};
use crate::wire::question::Keepalive;

/// One upstream as its user wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in stats and logs.
    pub name: String,
    /// Transport, host, port and path.
    pub endpoint: Endpoint,
    /// Where to connect; none if that is to be learned ([`super::bootstrap`]).
    pub addresses: Vec<IpAddr>,
    /// Whom the certificate must name.
    pub server_name: Host,
    /// Whom to believe.
    pub trust: Trust,
}

/// Why an upstream cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The server name cannot stand in a certificate.
    ServerName,
    /// The path cannot be asked.
    Template(TemplateError),
    /// The certificate authorities cannot be had.
    Roots(RootsError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerName => f.write_str("the server name cannot stand in a certificate"),
            Self::Template(error) => error.fmt(f),
            Self::Roots(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Builds the upstream: reads its roots, gives it a session store of its own.
///
/// # Errors
/// See [`ConnectError`].
pub fn connect(settings: Settings) -> Result<Upstream, ConnectError> {
    let road = Arc::<transport::Stats>::default();
    let target = target(&settings)?;
    let addresses = Arc::clone(&target.addresses);
    let (exchange, keepalive) = open(&settings.endpoint, target, &road)?;
    Ok(Upstream {
        transport: settings.endpoint.transport.word(),
        road,
        addresses,
        ..Upstream::new(settings.name, exchange, keepalive)
    })
}

/// The bare transport to a resolver, for one question of a user's.
///
/// # Errors
/// See [`ConnectError`].
pub fn bare(settings: &Settings) -> Result<Arc<dyn Exchange>, ConnectError> {
    open(&settings.endpoint, target(settings)?, &Arc::default()).map(|(exchange, _)| exchange)
}

/// The transport, and whether its queries ask for an idle time.
fn open(
    endpoint: &Endpoint,
    target: Target,
    road: &Arc<transport::Stats>,
) -> Result<(Arc<dyn Exchange>, Keepalive), ConnectError> {
    let road = Arc::clone(road);
    let verb = match endpoint.transport {
        Transport::Dot => return Ok((Arc::new(Dot::new(target, road)), Keepalive::Ask)),
        Transport::DohPost => Verb::Post,
        Transport::DohGet => Verb::Get,
    };
    let template = Template::new(&endpoint.authority(), &endpoint.path, verb).map_err(ConnectError::Template)?;
    Ok((Arc::new(Doh::new(target, template, road)), Keepalive::Omit))
}

fn target(settings: &Settings) -> Result<Target, ConnectError> {
    let server_name = match &settings.server_name {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| ConnectError::ServerName)?,
    };
    let alpn = match settings.endpoint.transport {
        Transport::Dot => Alpn::Dot,
        Transport::DohPost | Transport::DohGet => Alpn::H2,
    };
    let tls = Tls::new(settings.trust.clone(), alpn).map_err(ConnectError::Roots)?;
    let port = settings.endpoint.port;
    let addresses = settings.addresses.iter().map(|ip| SocketAddr::new(*ip, port));
    Ok(Target {
        addresses: Arc::new(Addresses::new(addresses.collect())),
        server_name,
        tls: Arc::new(tls),
    })
}
