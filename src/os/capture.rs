//! Every packet that leaves this host by any link, as an observer there sees it. Root's to see.

use std::io;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The number of the link by which it left.
    pub link: u32,
    /// From its IP header on, cut off after [`SNAP_LEN`] octets.
    pub octets: Vec<u8>,
}

/// A canary is a short packet: it is within its first half kilobyte.
pub const SNAP_LEN: usize = 512;

/// What there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// One that left the host.
    Left(Packet),
    /// One that did not.
    Other,
    /// None within a tenth of a second.
    Quiet,
}

/// Looks at every packet from now on.
#[derive(Debug)]
pub struct Capture(system::Capture);

impl Capture {
    /// Begins.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; `Unsupported` on other systems than Linux.
    pub fn new() -> io::Result<Self> {
        system::Capture::new().map(Self)
    }

    /// The next packet.
    ///
    /// # Errors
    /// The system's own.
    pub fn next(&self) -> io::Result<Next> {
        self.0.next()
    }

    /// How many packets the system threw away since the last time, because they were not taken fast enough.
    ///
    /// # Errors
    /// The system's own.
    pub fn lost(&self) -> io::Result<u32> {
        self.0.lost()
    }
}

/// packet(7).
#[cfg(target_os = "linux")]
mod system {
    #![allow(unsafe_code, reason = "std has no packet sockets")]

    use std::io;
    use std::mem::{size_of, zeroed};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use socket2::{Domain, Protocol, Socket, Type};

    use super::{Next, Packet, SNAP_LEN};

    #[derive(Debug)]
    pub(super) struct Capture(Socket);

    impl Capture {
        pub(super) fn new() -> io::Result<Self> {
            let all = i32::from(u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be());
            // Without the link's own header: tunnels have none.
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(all)))?;
            // More, if root may.
            let _ = socket.set_recv_buffer_size(BUFFER);
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Self(socket))
        }

        pub(super) fn next(&self) -> io::Result<Next> {
            let mut octets = vec![0; SNAP_LEN];
            // SAFETY: all zeros is a valid address of this kind.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut from_len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
            // SAFETY: the kernel writes at most `octets.len()` and `from_len` octets, both ours for the call.
            let len = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    octets.as_mut_ptr().cast(),
                    octets.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut from_len,
                )
            };
            let Ok(len) = usize::try_from(len) else {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(Next::Quiet),
                    io::ErrorKind::Interrupted => Ok(Next::Other),
                    _ => Err(error),
                };
            };
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                return Ok(Next::Other);
            }
            octets.truncate(len);
            let link = u32::try_from(from.sll_ifindex).unwrap_or(0);
            Ok(Next::Left(Packet { link, octets }))
        }

        pub(super) fn lost(&self) -> io::Result<u32> {
            // SAFETY: all zeros is a valid `tpacket_stats`.
            let mut stats: libc::tpacket_stats = unsafe { zeroed() };
            let mut len = libc::socklen_t::try_from(size_of::<libc::tpacket_stats>()).unwrap_or(0);
            // SAFETY: the kernel writes at most `len` octets into `stats`, which outlives the call.
            let failed = unsafe {
                libc::getsockopt(
                    self.0.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_STATISTICS,
                    (&raw mut stats).cast(),
                    &raw mut len,
                )
            } != 0;
            if failed {
                return Err(io::Error::last_os_error());
            }
            Ok(stats.tp_drops)
        }
    }

    /// Some seconds of a busy link.
    const BUFFER: usize = 16 << 20;

    /// How often it is looked whether it is over.
    const PATIENCE: Duration = Duration::from_millis(100);
}

/// Nobody looks there.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use super::Next;

    #[derive(Debug)]
    pub(super) struct Capture(());

    impl Capture {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "only on Linux packets can be looked at",
            ))
        }

        pub(super) fn next(&self) -> io::Result<Next> {
            Ok(Next::Quiet)
        }

        pub(super) fn lost(&self) -> io::Result<u32> {
            Ok(0)
        }
    }
}
