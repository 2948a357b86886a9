//! What differs between operating systems: the only place of `unsafe` and `cfg(target_os)`.

#[cfg(unix)]
pub mod capture;
pub mod clock;
pub mod command;
pub mod dns;
pub mod file;
pub mod guard;
pub mod host;
pub mod link;
pub mod notify;
pub mod process;
pub mod report;
pub mod sandbox;
pub mod signal;
pub mod socket;
pub mod systemd;
pub mod terminal;
pub mod usage;
pub mod watch;

#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod testing;
