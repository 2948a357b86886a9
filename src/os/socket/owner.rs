//! Who holds a port: `/proc/net` says which socket, `/proc/*/fd` whose it is. Linux only, and best effort: another
//! user's process can be looked into by root alone.

use std::fmt;
use std::net::SocketAddr;

use super::Transport;

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// Its name, as `ps` shows it.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn find(_transport: Transport, _address: SocketAddr) -> Option<PortOwner> {
    None
}

#[cfg(target_os = "linux")]
pub(super) fn find(transport: Transport, address: SocketAddr) -> Option<PortOwner> {
    // The kernel lists living tables: a line can be passed over when others open and close sockets meanwhile.
    (0..ATTEMPTS).find_map(|_| linux::process_with_socket(linux::socket_in_the_way(transport, address)?))
}

/// Looks at the tables of `/proc` before we say that we do not know.
#[cfg(target_os = "linux")]
const ATTEMPTS: u32 = 3;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::{PortOwner, Transport};

    /// The inode of the socket that stands in the way of binding `address`.
    pub(super) fn socket_in_the_way(transport: Transport, address: SocketAddr) -> Option<u64> {
        // A v6 wildcard socket may hold the v4 port too, so both tables are read.
        let tables: [&str; 2] = match transport {
            Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
            Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        };
        tables.iter().find_map(|path| {
            let table = fs::read_to_string(path).ok()?;
            table.lines().skip(1).find_map(|line| holder(line, transport, address))
        })
    }

    /// The inode of the socket in this line of a `/proc/net` table, if it stands in the way of binding `address`:
    /// same port, and the same address or one of the two a wildcard.
    fn holder(line: &str, transport: Transport, address: SocketAddr) -> Option<u64> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = socket_address(fields.next()?)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let listens = transport == Transport::Udp || state == TCP_LISTEN;
        let ip = local.ip().to_canonical();
        let same = ip == address.ip().to_canonical() || ip.is_unspecified() || address.ip().is_unspecified();
        (listens && same && local.port() == address.port()).then_some(inode)
    }

    /// `0100007F:0035`: the address in words of the machine's own octet order, then the port.
    fn socket_address(field: &str) -> Option<SocketAddr> {
        let (address, port) = field.split_once(':')?;
        let word = |index: usize| {
            let digits = address.get(index * 8..index * 8 + 8)?;
            u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
        };
        let ip = match address.len() {
            8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
            32 => {
                let mut octets = [0; 16];
                for (index, chunk) in octets.chunks_exact_mut(4).enumerate() {
                    chunk.copy_from_slice(&word(index)?);
                }
                IpAddr::V6(Ipv6Addr::from(octets))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
    }

    pub(super) fn process_with_socket(inode: u64) -> Option<PortOwner> {
        let target = format!("socket:[{inode}]");
        let pids = fs::read_dir("/proc")
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.into_iter().find_map(|pid: u32| {
            let mut links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
            links.find(|link| fs::read_link(link.path()).is_ok_and(|to| to.as_os_str() == target.as_str()))?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            // A process names itself: nothing it writes there may reach a terminal as more than text.
            let name = name
                .trim_end()
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            Some(PortOwner { name, pid })
        })
    }

    /// TCP_LISTEN in `/proc/net/tcp`.
    const TCP_LISTEN: &str = "0A";

    #[cfg(test)]
    mod tests {
        use super::*;

        // As the kernel prints them, but for zeros that nobody reads.
        const UDP: &str = "  12: 0100007F:0035 00000000:0000 07 0:0 0:0 0 0 0 4242 2 0 0";
        const TCP: &str = "   1: 00000000000000000000000001000000:0035 0:0000 0A 0:0 0:0 0 101 0 777 1 0";
        const ESTABLISHED: &str = "   2: 0100007F:0035 0100007F:9C40 01 0:0 0:0 0 0 0 888 1 0";
        const WILDCARD: &str = "   3: 00000000000000000000000000000000:0035 0:0000 07 0:0 0:0 0 0 0 999 2 0 0";

        fn check(line: &str, transport: Transport, address: &str, expected: Option<u64>) {
            assert_eq!(holder(line, transport, address.parse().unwrap()), expected, "{address}");
        }

        #[test]
        fn a_table_line_names_the_socket_in_the_way() {
            check(UDP, Transport::Udp, "127.0.0.1:53", Some(4242));
            check(UDP, Transport::Udp, "0.0.0.0:53", Some(4242));
            check(UDP, Transport::Udp, "127.0.0.2:53", None);
            check(UDP, Transport::Udp, "127.0.0.1:54", None);
            check(TCP, Transport::Tcp, "[::1]:53", Some(777));
            check(ESTABLISHED, Transport::Tcp, "127.0.0.1:53", None);
            check(WILDCARD, Transport::Udp, "127.0.0.1:53", Some(999));
        }

        #[test]
        fn a_line_that_cannot_be_read_is_passed_over() {
            for line in [
                "",
                "1:",
                "1: xyz:0035 0 07 0 0 0 0 0 1",
                "1: 0100007F 0 07",
                "1: é100007:0035 0 07 0 0 0 0 0 1",
            ] {
                check(line, Transport::Udp, "127.0.0.1:53", None);
            }
        }
    }
}
