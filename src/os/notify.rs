//! What the service manager is told (sd_notify(3)): that it begins, reads its configuration again, works, stops.
//!
//! Lines of our own and no crate: the socket is opened once, at the start, so that it works on when the sandbox lets nothing be opened, and
//! a manager that does not read holds nobody up for long.

use std::fmt;
use std::io;
use std::time::Duration;

#[cfg(unix)]
mod socket;
#[cfg(unix)]
use socket::Manager;

/// Who started us, if he wants to know.
#[derive(Debug, Default)]
pub struct Notifier {
    #[cfg(unix)]
    manager: Option<Manager>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that the environment names, and what of it cannot be used. Without one nobody is told anything.
    pub fn from_environment() -> (Self, Vec<NotifyError>) {
        let variable = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
        let own = std::process::id();
        let mut wrong = Vec::new();
        let mut usable = |found: Result<Option<Duration>, NotifyError>| found.map_err(|error| wrong.push(error)).ok();
        let interval = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            own,
        );
        let watchdog = usable(interval).flatten();
        let notifier = Self {
            #[cfg(unix)]
            manager: match Manager::at(std::env::var_os(SOCKET).as_deref()) {
                Ok(manager) => manager,
                Err(error) => {
                    wrong.push(error);
                    None
                }
            },
            watchdog,
        };
        (notifier, wrong)
    }

    /// Within which time it wants a sign of life, or starts us anew.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// From now on we serve. `status` is a line for people.
    ///
    /// # Errors
    /// The system's own, here and below: the manager is gone, or does not read.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// The configuration is read again. [`Notifier::ready`] says that it is done, whatever came of it.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()))
    }

    /// From now on no query is taken.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn stopping(&self) -> io::Result<()> {
        self.tell("STOPPING=1\nSTATUS=stopping")
    }

    /// A sign of life.
    ///
    /// # Errors
    /// As [`Notifier::ready`].
    pub fn alive(&self) -> io::Result<()> {
        self.tell("WATCHDOG=1")
    }

    #[cfg(unix)]
    fn tell(&self, lines: &str) -> io::Result<()> {
        self.manager.as_ref().map_or(Ok(()), |manager| manager.tell(lines))
    }

    #[cfg(not(unix))]
    fn tell(&self, _lines: &str) -> io::Result<()> {
        Ok(())
    }
}

/// How long the manager waits for a sign of life from the process with this number, if it does.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Result<Option<Duration>, NotifyError> {
    let Some(usec) = usec else { return Ok(None) };
    // It is for another process that handed its environment on.
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return Ok(None);
    }
    match usec.parse::<u64>() {
        Ok(usec) if usec >= MIN_WATCHDOG_USEC => Ok(Some(Duration::from_micros(usec))),
        _ => Err(NotifyError::Watchdog(one_line(usec))),
    }
}

/// A line within the manager's message: no second line can begin in it, and it is not so long that the message is thrown away.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text[..text.floor_char_boundary(MAX_LINE_LEN)].to_owned()
}

/// CLOCK_MONOTONIC, by which the manager tells this reload from an older one.
#[cfg(unix)]
fn monotonic_usec() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[allow(unsafe_code, reason = "std's Instant does not say its number")]
    // SAFETY: the call writes one timespec, which outlives it.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time)
    };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(not(unix))]
fn monotonic_usec() -> u64 {
    0
}

/// Where the manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// systemd takes messages of 4096 octets.
const MAX_LINE_LEN: usize = 1024;

/// Half of it must be enough for every thread to be woken and looked at, on a busy machine too.
const MIN_WATCHDOG_USEC: u64 = 200_000;

/// What of the manager's wishes cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyError {
    /// Its socket cannot be used.
    Socket {
        /// As the variable has it.
        address: String,
        /// Why.
        cause: String,
    },
    /// The watchdog's time is no number, or too short.
    Watchdog(String),
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { address, cause } => write!(f, "{SOCKET}={address}: {cause}"),
            Self::Watchdog(usec) => write!(
                f,
                "WATCHDOG_USEC={usec}: expected a number of microseconds, {MIN_WATCHDOG_USEC} at least"
            ),
        }
    }
}

impl std::error::Error for NotifyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let check = |usec, pid, expected| assert_eq!(watchdog(usec, pid, 7), expected, "{usec:?} {pid:?}");
        let second = Ok(Some(Duration::from_secs(1)));
        check(None, None, Ok(None));
        check(Some("1000000"), None, second.clone());
        check(Some("1000000"), Some("7"), second);
        check(Some("1000000"), Some("8"), Ok(None));
        check(Some("1000000"), Some("x"), Ok(None));
        for wrong in ["", "0", "-1", "1s", "199999", "99999999999999999999"] {
            check(Some(wrong), None, Err(NotifyError::Watchdog(wrong.to_owned())));
        }
    }

    #[test]
    fn a_status_is_one_line_and_no_message_of_its_own() {
        assert_eq!(one_line("asking a\nSTOPPING=1\r"), "asking a STOPPING=1 ");
        assert_eq!(one_line(&"ü".repeat(900)).len(), MAX_LINE_LEN);
    }

    #[cfg(unix)]
    #[test]
    fn time_goes_on() {
        let first = monotonic_usec();
        assert!(first > 0 && monotonic_usec() >= first);
    }
}
