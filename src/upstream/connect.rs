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
use crate::transport::{self, Exchange, Target};
use crate::wire::question::Keepalive;

/// One upstream as its user wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in stats and logs.
    pub name: String,
    /// Transport, host, port and path.
    pub endpoint: Endpoint,
    /// Where to connect: at least one.
    pub addresses: Vec<IpAddr>,
    /// Whom the certificate must name.
    pub server_name: Host,
    /// Whom to believe.
    pub trust: Trust,
}

/// Why an upstream cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// No address to connect to.
    NoAddress,
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
            Self::NoAddress => f.write_str("no address to connect to"),
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
    let (exchange, keepalive) = open(&settings, &road)?;
    Ok(Upstream {
        transport: settings.endpoint.transport.word(),
        road,
        ..Upstream::new(settings.name, exchange, keepalive)
    })
}

/// The bare transport to an upstream and whether its queries ask for an idle time: also for `tacenda query --via`.
///
/// # Errors
/// See [`ConnectError`].
pub fn open(settings: &Settings, road: &Arc<transport::Stats>) -> Result<(Arc<dyn Exchange>, Keepalive), ConnectError> {
    let endpoint = &settings.endpoint;
    let verb = match endpoint.transport {
        Transport::Dot => {
            return Ok((
                Arc::new(Dot::new(target(settings, Alpn::Dot)?, Arc::clone(road))),
                Keepalive::Ask,
            ));
        }
        Transport::DohPost => Verb::Post,
        Transport::DohGet => Verb::Get,
    };
    let template = Template::new(&endpoint.authority(), &endpoint.path, verb).map_err(ConnectError::Template)?;
    Ok((
        Arc::new(Doh::new(target(settings, Alpn::H2)?, template, Arc::clone(road))),
        Keepalive::Omit,
    ))
}

fn target(settings: &Settings, alpn: Alpn) -> Result<Target, ConnectError> {
    if settings.addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    let server_name = match &settings.server_name {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| ConnectError::ServerName)?,
    };
    let tls = Tls::new(settings.trust.clone(), alpn).map_err(ConnectError::Roots)?;
    let port = settings.endpoint.port;
    Ok(Target {
        addresses: settings
            .addresses
            .iter()
            .map(|address| SocketAddr::new(*address, port))
            .collect(),
        server_name,
        tls: Arc::new(tls),
    })
}
