//! From settings to an [`Upstream`] that can be asked. Opens no connection: that waits for the first question.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::Upstream;
use super::endpoint::{Endpoint, Host, Transport};
use super::route_endpoint::PlainEndpoint;
use crate::stats::Counter;
use crate::transport::doh::{Doh, Template, TemplateError, Verb};
use crate::transport::dot::Dot;
use crate::transport::plain::{Plain, PlainTarget};
use crate::transport::tls::{Alpn, RootsError, Tls, Trust};
use crate::transport::{self, Addresses, Exchange, Target};
use crate::wire::question::Keepalive;

pub use crate::transport::plain::{Leave, RouteOnly, RouteOnlyError, WindowOnly};
pub use crate::transport::{Exit, Gateway, GatewayError, Interface, InterfaceError};

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
    /// By which way packets may leave for it; nothing is wanted but of a route's.
    pub exit: Exit,
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

/// A server of classic DNS, as its user wants it.
#[derive(Clone, Debug)]
pub struct PlainSettings {
    /// Its name in stats and logs.
    pub name: String,
    /// Protocol, address and port.
    pub endpoint: PlainEndpoint,
    /// By which way it may be asked.
    pub exit: Exit,
    /// The names it may be asked: those of its route, or of a window while that is open.
    pub leave: Leave,
    /// Counts with all others what leaves in clear text.
    pub meter: Arc<Counter>,
}

/// Builds an upstream that is asked in clear text. In whatever pool it stands: it asks for the names of `settings.leave` and fails
/// for every other one (promise 1).
pub fn connect_plain(settings: PlainSettings) -> Upstream {
    let road = Arc::<transport::Stats>::default();
    let PlainEndpoint { protocol, server } = settings.endpoint;
    let target = PlainTarget {
        protocol,
        server,
        exit: settings.exit,
        leave: settings.leave,
        meter: settings.meter,
    };
    let exchange = Arc::new(Plain::new(target, Arc::clone(&road)));
    Upstream {
        transport: protocol.word(),
        road,
        addresses: Arc::new(Addresses::new(vec![server])),
        ..Upstream::new(settings.name, exchange, Keepalive::Bare)
    }
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
        exit: settings.exit.clone(),
        server_name,
        tls: Arc::new(tls),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UdpSocket;
    use tokio::time::Instant;

    use super::*;
    use crate::transport::plain::Protocol;
    use crate::upstream::AskError;
    use crate::wire::answer::TtlLimits;
    use crate::wire::question::QuestionKey;
    use crate::wire::record::RecordType;

    const TTLS: TtlLimits = TtlLimits {
        min: 0,
        max: 86_400,
        max_negative: 3_600,
    };

    #[tokio::test]
    async fn p1_an_upstream_in_clear_text_knows_its_route_and_nothing_else() {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let server = socket.local_addr().unwrap();
        let meter = Arc::<Counter>::default();
        let upstream = connect_plain(PlainSettings {
            name: "office".to_owned(),
            endpoint: PlainEndpoint {
                protocol: Protocol::Udp,
                server,
            },
            exit: Exit::default(),
            leave: Leave::Route(RouteOnly::for_zones(["corp.example"]).unwrap()),
            meter: Arc::clone(&meter),
        });
        assert_eq!((upstream.transport(), upstream.addresses()), ("udp", vec![server.ip()]));
        let ask = async |name: &str| {
            let key = QuestionKey::of_host(name, RecordType::A).unwrap();
            let deadline = Instant::now() + Duration::from_secs(2);
            upstream.ask(&key, deadline, &TTLS).await.map(drop)
        };
        assert_eq!(ask("www.example.com").await, Err(AskError::Network));
        assert_eq!(upstream.road().clear_packets.value(), 0);
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (len, client) = socket.recv_from(&mut buffer).await.unwrap();
            let query = buffer[..len].to_vec();
            buffer[2] |= 0x80;
            buffer[3] |= 3;
            socket.send_to(&buffer[..len], client).await.unwrap();
            query
        });
        assert_eq!(ask("www.corp.example").await, Ok(()));
        let query = serving.await.unwrap();
        // A header, the question and an empty OPT: no padding (R8467-1).
        assert_eq!(query.len(), 12 + 18 + 4 + 11);
        assert_eq!((upstream.road().clear_packets.value(), meter.value()), (1, 1));
    }
}
