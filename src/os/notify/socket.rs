//! The datagram socket on which a service manager listens.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::NotifyError;

/// A service manager that listens.
#[derive(Debug)]
pub(super) struct Manager(UnixDatagram);

impl Manager {
    /// The one at this address, if there is one: a path, or with `@` in front a name in Linux's own space.
    pub(super) fn at(address: Option<&OsStr>) -> Result<Option<Self>, NotifyError> {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(None);
        };
        let unusable = |error: io::Error| NotifyError::Socket {
            address: address.display().to_string(),
            cause: error.to_string(),
        };
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect_addr(&parse(address)?)?;
            Ok(Self(socket))
        };
        connect().map(Some).map_err(unusable)
    }

    pub(super) fn tell(&self, lines: &str) -> io::Result<()> {
        self.0.send(lines.as_bytes()).map(drop)
    }
}

fn parse(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(address),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected an absolute path, or @ and a name",
        )),
    }
}

/// Longer than a manager that lives lets a message wait.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Result<Option<Manager>, NotifyError> {
        Manager::at(Some(OsStr::new(address)))
    }

    fn hears(socket: &UnixDatagram, address: &str) {
        at(address).unwrap().unwrap().tell("READY=1\nSTATUS=x").unwrap();
        let mut buffer = [0; 99];
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1\nSTATUS=x");
    }

    #[test]
    fn a_manager_is_told_at_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        hears(&UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_is_told_at_a_name() {
        let name = format!("tacenda-test-{}", std::process::id());
        let address = <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name).unwrap();
        hears(&UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
    }

    #[test]
    fn what_is_no_manager_is_said() {
        assert!(Manager::at(None).unwrap().is_none() && at("").unwrap().is_none());
        for address in [
            "notify",
            "vsock:2:1234",
            "/there/is/none",
            &format!("/{}", "x".repeat(200)),
        ] {
            let error = at(address).unwrap_err().to_string();
            assert!(error.starts_with(&format!("NOTIFY_SOCKET={address}: ")), "{error}");
        }
    }
}
