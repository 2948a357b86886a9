//! What the service manager is told by `tacenda run`, and when.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::os::notify::Notifier;
use crate::os::process;
use crate::os::socket::Inherited;

pub(super) struct Manager(Arc<Notifier>);

impl Manager {
    /// Takes what the environment says of one, and the sockets that it passes. Must come before anything is opened and before any thread,
    /// so that nobody else takes it too.
    pub(super) fn of_this_process() -> Result<(Self, Inherited), Failure> {
        let inherited = Inherited::from_environment()
            .map_err(|error| Failure::new(Exit::Config, error.to_string()).with_help(SOCKET_UNIT))?;
        let (notifier, wrong) = Notifier::from_environment();
        for error in wrong {
            tracing::warn!(%error, "the service manager asks for something that cannot be done");
        }
        process::forget_variables(&VARIABLES);
        Ok((Self(Arc::new(notifier)), inherited))
    }

    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.0.watchdog()
    }

    pub(super) fn show_life(&self, app: &App) {
        app.show_life(&self.0);
    }

    /// Sockets are bound and served.
    pub(super) fn ready(&self, app: &App, config: &Config) {
        told(self.0.ready(&status(app, config)));
    }

    /// The same, after a configuration that was refused. Not why: the reason may have names in it.
    pub(super) fn ready_as_before(&self, app: &App, config: &Config) {
        let status = status(app, config);
        told(self.0.ready(&format!(
            "the new configuration is refused, see `tacenda check`; {status}"
        )));
    }

    pub(super) fn reloading(&self) {
        told(self.0.reloading());
    }

    pub(super) fn stopping(&self) {
        told(self.0.stopping());
    }
}

/// For this process alone.
const VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

const SOCKET_UNIT: &str = "see `systemctl cat tacenda.socket`; without that unit tacenda binds its sockets itself";

/// A manager that is gone keeps nobody from serving.
fn told(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// One line: listening where, asking whom.
fn status(app: &App, config: &Config) -> String {
    let join = |list: Vec<String>| list.join(", ");
    let listen = join(app.addresses().iter().map(ToString::to_string).collect());
    let asked = join(config.upstreams.iter().map(|upstream| upstream.name.clone()).collect());
    let routes = match config.routes.len() {
        0 => String::new(),
        1 => "; 1 route".to_owned(),
        count => format!("; {count} routes"),
    };
    format!("listening at {listen}; asking {asked} ({}){routes}", config.strategy)
}
