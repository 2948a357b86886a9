//! Signals that ask the program to stop.

use std::io;

/// Ends when the user or the service manager asks the program to stop: SIGTERM or SIGINT, Ctrl-C elsewhere. SIGHUP does not
/// end it: it will mean "read the configuration again", and until then nothing.
///
/// # Errors
/// When the system gives no signal handler.
#[cfg(unix)]
pub async fn stop_requested() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => tracing::warn!("this version does not reload its configuration: restart it"),
        }
    }
}

/// Ends when the user or the service manager asks the program to stop: SIGTERM or SIGINT, Ctrl-C elsewhere.
///
/// # Errors
/// When the system gives no signal handler.
#[cfg(not(unix))]
pub async fn stop_requested() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
