//! `tacenda run`: loads the configuration and hands it to `app`.

mod manager;
mod reload;

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::app::doors::Doors;
use crate::app::{App, StartError};
use crate::config::{self, Flags, Loaded, UpstreamFlag};
use crate::os;
use crate::os::signal::{Request, Signals};
use crate::serve::{BindCause, BindError};
use manager::Manager;
use reload::{Reloader, Why};

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Read this file instead of /etc/tacenda/tacenda.toml (and config.d/*.toml beside it)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address; may be given several times
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Ask this upstream, https://host/path or tls://host; several are asked in this order
    #[arg(short, long, value_name = "URL")]
    upstream: Vec<String>,
    /// Where the --upstream is, if it is not a well-known one
    #[arg(short, long, value_name = "IP")]
    address: Vec<String>,
    /// Who may sign the upstreams' certificates: bundled, system or a PEM file
    #[arg(long, value_name = "ROOTS")]
    roots: Option<String>,
    /// Keep all rights after the start, to find out whether the sandbox is in the way of something
    #[arg(long)]
    no_sandbox: bool,
}

impl RunArgs {
    fn flags(&self) -> Flags {
        Flags {
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            address: self.address.clone(),
            roots: self.roots.clone(),
            upstream_flag: UpstreamFlag::Upstream,
        }
    }
}

/// Threads of the runtime. One carries 30,000 misses a second, the second one is there for when the first is held up; more only wake
/// each other.
const MAX_WORKERS: usize = 2;

pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let (manager, inherited) = Manager::of_this_process()?;
    let loaded = config::load(args.config.as_deref(), &args.flags())?;
    for file in &loaded.files {
        tracing::info!(file = %file.display(), "read configuration");
    }
    os::process::forbid_core_dumps();
    let doors = Doors::open(&loaded.config, &inherited, manager.watchdog())?;
    drop(inherited);
    // Asked before the sandbox: the answer stands in files of the kernel's.
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS);
    let doors = if args.no_sandbox {
        doors
    } else {
        doors.confine(&loaded.config, &config::folders(args.config.as_deref()))
    };
    // No thread begins before this.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    runtime.block_on(serve(args, loaded, doors, &manager))
}

/// Serves until it is asked to stop.
async fn serve(args: &RunArgs, loaded: Loaded, doors: Doors, manager: &Manager) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let mut app = App::start(&loaded.config, doors)?;
    for address in app.addresses() {
        tracing::info!(%address, "listening over UDP and TCP");
    }
    if let Some(address) = app.stats_address() {
        tracing::info!(%address, "serving stats");
    }
    manager.show_life(&app);
    manager.ready(&app, &loaded.config);
    let mut reloader = Reloader::new(args, loaded);
    loop {
        let why = tokio::select! {
            request = signals.next() => match request {
                Request::Stop => break,
                Request::Reload => Why::Asked,
            },
            () = reloader.files_changed() => Why::FilesChanged,
        };
        reloader.reload(&mut app, why, manager).await;
    }
    tracing::info!("stopping");
    manager.stopping();
    if !app.stop().await {
        tracing::warn!("some queries were still under way at the end");
    }
    Ok(Exit::Done)
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::Bind(BindError::Address {
                cause: BindCause::NotPermitted,
                ..
            }) => Self::new(Exit::Permission, message).with_help(PORT_53),
            StartError::Bind(BindError::Address {
                cause: BindCause::Taken(_),
                ..
            }) => Self::new(Exit::Io, message).with_help("stop that program, or take another address with --listen"),
            StartError::Bind(BindError::Address {
                cause: BindCause::NoSuchAddress,
                ..
            }) => Self::new(Exit::Io, message).with_help(LATER),
            StartError::Bind(BindError::Stranger { .. }) => Self::new(Exit::Config, message).with_help(UNIT),
            StartError::Bind(BindError::Settings(_))
            | StartError::Upstream { .. }
            | StartError::Route(_)
            | StartError::Records(_)
            | StartError::Lists(_)
            | StartError::Confined(_)
            | StartError::Via => Self::new(Exit::Config, message),
            StartError::Bind(BindError::Address { .. }) | StartError::Stats { .. } | StartError::Serve(_) => {
                Self::new(Exit::Io, message)
            }
        }
    }
}

const LATER: &str = "if it comes later (a container's bridge, a VPN): `sudo tacenda service install` listens there from when it comes; \
or listen at 0.0.0.0 or [::], and say with `allow` who may ask";

const UNIT: &str = "the addresses of the socket unit (ListenDatagram=, ListenStream=) and `listen` must be the same: change one of them, \
then `sudo systemctl daemon-reload` and `sudo systemctl restart tacenda.socket`";

const PORT_53: &str = "ports below 1024 need a right: run as root (sudo), as the service, or once \
`sudo setcap cap_net_bind_service=+ep $(command -v tacenda)`; or take a higher port with --listen 127.0.0.1:5300";

const EXAMPLES: &str = "\
Examples:
  sudo tacenda run
  tacenda run --listen 127.0.0.1:5300 --upstream tls://dns.quad9.net
  tacenda run --upstream https://dns.example/dns-query --address 192.0.2.1 --roots ./ca.pem

Port 53 needs a right: run as root, or as the service (tacenda.service), or once
`sudo setcap cap_net_bind_service=+ep $(command -v tacenda)`, or take a port above 1023.";
