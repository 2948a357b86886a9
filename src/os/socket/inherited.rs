//! Sockets that the service manager has opened for us (sd_listen_fds(3)). They are bound whether we run or not, so that what comes while we
//! are started anew waits in the kernel and is not lost; and whoever gets them needs no right to a port below 1024.
//!
//! Their open file is shared with the manager: nothing may be done to it that outlives us, a shutdown least of all.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::Socket;

use super::Transport;

/// What was passed to this process.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Passed>);

/// One socket of the manager's.
#[derive(Debug)]
struct Passed {
    socket: Socket,
    name: String,
    descriptor: i32,
    transport: Transport,
    local: SocketAddr,
}

/// Those of one listen address.
#[derive(Debug, Default)]
pub struct Given {
    pub(super) udp: Vec<Socket>,
    pub(super) tcp: Option<Socket>,
}

impl Inherited {
    /// Whether the manager passed none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one for this address.
    pub fn has(&self, transport: Transport, address: SocketAddr) -> bool {
        self.of(transport, address).next().is_some()
    }

    /// The sockets of an address. They can be given again, to whoever tries once more.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn given(&self, address: SocketAddr) -> io::Result<Given> {
        let clones = |transport| {
            self.of(transport, address)
                .map(|passed| passed.socket.try_clone())
                .collect::<io::Result<Vec<_>>>()
        };
        Ok(Given {
            udp: clones(Transport::Udp)?,
            tcp: clones(Transport::Tcp)?.pop(),
        })
    }

    /// In words, one that is for none of these addresses.
    pub fn stranger_to(&self, listen: &[SocketAddr]) -> Option<String> {
        let stranger = self.0.iter().find(|passed| !listen.contains(&passed.local));
        stranger.map(ToString::to_string)
    }

    fn of(&self, transport: Transport, address: SocketAddr) -> impl Iterator<Item = &Passed> {
        let is_it = move |passed: &&Passed| passed.transport == transport && passed.local == address;
        self.0.iter().filter(is_it)
    }
}

/// By the name that the socket unit gave it (`FileDescriptorName=`), and where it is.
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            descriptor,
            transport,
            local,
            ..
        } = self;
        write!(f, "{name:?} (descriptor {descriptor}, {local}/{})", transport.as_str())
    }
}

/// systemd runs on Linux alone.
#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    use socket2::{Domain, Socket, Type};

    use super::{FIRST, Inherited, InheritedError, Passed, Unusable, announced};
    use crate::os::socket::Transport;

    impl Inherited {
        /// Takes over what the environment announces. Must come before anything is opened, and gives nothing the second time.
        ///
        /// # Errors
        /// See [`InheritedError`]; those that were taken already are closed again.
        pub fn from_environment() -> Result<Self, InheritedError> {
            static IS_TAKEN: AtomicBool = AtomicBool::new(false);
            if IS_TAKEN.swap(true, Ordering::Relaxed) {
                return Ok(Self::default());
            }
            let variable = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
            let names = announced(
                variable("LISTEN_PID").as_deref(),
                variable("LISTEN_FDS").as_deref(),
                variable("LISTEN_FDNAMES").as_deref(),
                std::process::id(),
            )?;
            let mut passed = Vec::new();
            for (name, descriptor) in names.into_iter().zip(FIRST..) {
                let unusable = |why| InheritedError::Socket {
                    name: name.clone(),
                    descriptor,
                    why,
                };
                let one = take(descriptor, &name).map_err(unusable)?;
                let is_twice = |other: &Passed| other.transport == Transport::Tcp && other.local == one.local;
                if one.transport == Transport::Tcp && passed.iter().any(is_twice) {
                    return Err(unusable(Unusable::Repeated));
                }
                passed.push(one);
            }
            Ok(Self(passed))
        }
    }

    /// The socket behind a descriptor that is ours by the manager's word. Others than TCP listeners and UDP sockets are refused.
    fn take(descriptor: RawFd, name: &str) -> Result<Passed, Unusable> {
        #[allow(unsafe_code, reason = "std cannot take over a descriptor by its number")]
        // SAFETY: fcntl with F_GETFD only looks. A descriptor that is open was passed to us by whoever started us, as the variables say
        // with our own number; nothing of ours is opened yet, and this is done once, so nobody else owns it.
        let owned = unsafe {
            if libc::fcntl(descriptor, libc::F_GETFD) < 0 {
                return Err(Unusable::Closed);
            }
            OwnedFd::from_raw_fd(descriptor)
        };
        let socket = Socket::from(owned);
        let domain = socket.domain().map_err(|_| Unusable::NoSocket)?;
        if ![Domain::IPV4, Domain::IPV6].contains(&domain) {
            return Err(Unusable::Family);
        }
        let system = |error: std::io::Error| Unusable::System(error.to_string());
        let transport = match socket.r#type().map_err(system)? {
            Type::DGRAM => Transport::Udp,
            Type::STREAM => Transport::Tcp,
            _ => return Err(Unusable::Family),
        };
        if transport == Transport::Tcp && !socket.is_listener().map_err(system)? {
            return Err(Unusable::NotListening);
        }
        if transport == Transport::Udp && socket.peer_addr().is_ok() {
            return Err(Unusable::Connected);
        }
        let local = socket
            .local_addr()
            .map_err(system)?
            .as_socket()
            .ok_or(Unusable::Family)?;
        // A bound socket cannot be told any more, and one for both families is more than `listen` says.
        if local.is_ipv6() && local.ip().is_unspecified() && !socket.only_v6().map_err(system)? {
            return Err(Unusable::BothFamilies);
        }
        socket.set_cloexec(true).map_err(system)?;
        Ok(Passed {
            socket,
            name: name.to_owned(),
            descriptor,
            transport,
            local,
        })
    }
}

#[cfg(not(target_os = "linux"))]
impl Inherited {
    /// Nothing: there is no such manager here.
    ///
    /// # Errors
    /// None.
    pub fn from_environment() -> Result<Self, InheritedError> {
        Ok(Self::default())
    }
}

/// The names of what is passed to the process with this number, in order. Nothing if the variables are another's, handed on.
#[cfg(any(target_os = "linux", test))]
fn announced(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Vec<String>, InheritedError> {
    let Some(count) = count.filter(|_| pid.is_some_and(|pid| pid.parse() == Ok(own))) else {
        return Ok(Vec::new());
    };
    let number = count.parse().ok().filter(|number| *number <= MAX_SOCKETS);
    let number: usize = number.ok_or_else(|| InheritedError::Count(count.to_owned()))?;
    // As sd_listen_fds_with_names(3) calls them.
    let names = names.map_or_else(
        || vec!["unknown".to_owned(); number],
        |names| names.split(':').filter(|_| number > 0).map(str::to_owned).collect(),
    );
    if names.len() != number {
        return Err(InheritedError::Names {
            names: names.len(),
            sockets: number,
        });
    }
    Ok(names)
}

/// The first descriptor that a manager passes, behind the standard three (SD_LISTEN_FDS_START).
#[cfg(target_os = "linux")]
const FIRST: i32 = 3;

/// Two for each of sixteen addresses; nobody listens on more.
const MAX_SOCKETS: usize = 32;

/// What of the manager's sockets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InheritedError {
    /// Their number is none, or too large.
    Count(String),
    /// Not as many names as sockets.
    Names {
        /// In LISTEN_FDNAMES.
        names: usize,
        /// In LISTEN_FDS.
        sockets: usize,
    },
    /// One of them.
    Socket {
        /// What the manager calls it.
        name: String,
        /// Its number.
        descriptor: i32,
        /// Why.
        why: Unusable,
    },
}

/// Why a socket cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No such descriptor is open.
    Closed,
    /// A file or a pipe.
    NoSocket,
    /// Neither UDP nor TCP.
    Family,
    /// A connection instead of a listener.
    NotListening,
    /// A UDP socket that hears one client alone.
    Connected,
    /// A wildcard that takes IPv4 beside IPv6.
    BothFamilies,
    /// Another TCP listener has the same address.
    Repeated,
    /// The system's own words.
    System(String),
}

impl fmt::Display for InheritedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(
                f,
                "LISTEN_FDS={count}: expected a number of sockets up to {MAX_SOCKETS}"
            ),
            Self::Names { names, sockets } => {
                write!(
                    f,
                    "LISTEN_FDNAMES has {names} names for the {sockets} sockets of LISTEN_FDS"
                )
            }
            Self::Socket { name, descriptor, why } => {
                write!(
                    f,
                    "the service manager's socket {name:?} (descriptor {descriptor}) {why}"
                )
            }
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "is not open",
            Self::NoSocket => "is no socket",
            Self::Family => {
                "is neither UDP nor TCP: use ListenDatagram= and ListenStream= with an IP address and a port"
            }
            Self::NotListening => "is a connection and no listener: the socket unit needs Accept=no",
            Self::Connected => "is connected to one client: the socket unit needs Accept=no",
            Self::BothFamilies => "takes IPv4 too: the socket unit needs BindIPv6Only=ipv6-only",
            Self::Repeated => "has the address of another one that was passed",
            Self::System(words) => words,
        })
    }
}

impl std::error::Error for InheritedError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        let check = |pid, count, names, expected: Result<&[&str], InheritedError>| {
            let found = announced(pid, count, names, 7);
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(found, expected, "{pid:?} {count:?} {names:?}");
        };
        check(None, None, None, Ok(&[]));
        check(Some("8"), Some("2"), None, Ok(&[]));
        check(None, Some("2"), None, Ok(&[]));
        check(Some("7"), None, Some("udp"), Ok(&[]));
        check(Some("7"), Some("0"), None, Ok(&[]));
        check(Some("7"), Some("0"), Some(""), Ok(&[]));
        check(Some("7"), Some("2"), None, Ok(&["unknown", "unknown"]));
        check(Some("7"), Some("2"), Some("udp:tcp"), Ok(&["udp", "tcp"]));
        check(Some("7"), Some("1"), Some(""), Ok(&[""]));
        let names = |names, sockets| Err(InheritedError::Names { names, sockets });
        check(Some("7"), Some("2"), Some("udp"), names(1, 2));
        check(Some("7"), Some("1"), Some("udp:tcp"), names(2, 1));
        for wrong in ["", "-1", "x", "33", "99999999999999999999"] {
            check(
                Some("7"),
                Some(wrong),
                None,
                Err(InheritedError::Count(wrong.to_owned())),
            );
        }
    }
}
