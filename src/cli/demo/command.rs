//! The demo as a command: the real stub, started in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::report::{self, Style};
use super::{Figures, RunningStub, StubSettings};
use crate::app::App;
use crate::app::doors::Doors;
use crate::cli::output::Output;
use crate::cli::{Exit, Failure};
use crate::config::{AddressesFrom, ChosenBy, Config, Listen, PortalConfig, Roots, UpstreamConfig};
use crate::os::socket::Inherited;
use crate::upstream::endpoint::Endpoint;

/// Runs the demo and prints it. Ends with 1, loudly, if anything is not as it should be.
pub(in crate::cli) fn run(mut output: Output<'_>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime
        .block_on(super::run(start_stub))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let mut text = Vec::new();
    report::write(&report, Style::of_stdout(), &mut text)?;
    output.write(text)?;
    Ok(Exit::Done)
}

/// The stub as `tacenda run` would start it, with another upstream, on another port.
async fn start_stub(settings: StubSettings) -> Result<RunningStub, String> {
    let endpoint: Endpoint = settings.url.parse().map_err(|error| format!("{error}"))?;
    let upstream = UpstreamConfig {
        name: "demo".to_owned(),
        server_name: endpoint.host.clone(),
        endpoint,
        addresses: vec![IpAddr::V4(settings.address)],
        addresses_from: AddressesFrom::User,
        roots: Roots::Pem(settings.ca_pem),
        pins: Vec::new(),
    };
    let listen = Listen {
        addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        chosen_by: ChosenBy::User,
    };
    let config = Config {
        listen,
        upstreams: vec![upstream],
        stats: None,
        portal: PortalConfig {
            detect: false,
            probes: Vec::new(),
        },
        ..Config::default()
    };
    let doors = Doors::open(&config, &Inherited::default(), None).map_err(|error| error.to_string())?;
    let app = App::start(&config, doors).map_err(|error| error.to_string())?;
    let address = *app.addresses().first().ok_or("the stub listens nowhere")?;
    Ok(RunningStub {
        address,
        figures: Box::new(move || figures(&app)),
    })
}

fn figures(app: &App) -> Figures {
    let snapshot = app.snapshot();
    Figures {
        queries: snapshot.queries.total,
        hits: snapshot.cache.hits,
        misses: snapshot.cache.misses,
        entries: snapshot.cache.entries,
        bytes: snapshot.cache.bytes,
    }
}
