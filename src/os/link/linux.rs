//! Changes as the kernel tells them: an rtnetlink socket that is a member of the groups that matter (rtnetlink(7)).
//! Neighbours are not among them: they change all the time and move no route.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Clocks;
use super::netlink::Sieve;
use crate::os::socket::netlink::Socket;

/// The kernel's events.
#[derive(Debug)]
pub(super) struct Source {
    socket: AsyncFd<Socket>,
    sieve: Sieve,
    buffer: Box<[u8]>,
}

impl Source {
    pub(super) fn new() -> io::Result<Self> {
        let socket = Socket::new()?;
        socket.set_nonblocking()?;
        socket.bind()?;
        for group in GROUPS {
            socket.join(group)?;
        }
        #[allow(unsafe_code, reason = "tokio trusts the descriptor to stay open")]
        // SAFETY: the socket owns its descriptor, is moved in here, and nothing replaces or closes it before the drop.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self {
            socket,
            sieve: Sieve::default(),
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
        })
    }

    /// Waits for an event that says something new. Cancel-safe: nothing is awaited between reading and telling.
    pub(super) async fn event(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            match ready.try_io(|socket| socket.get_ref().receive(buffer)) {
                // Not ready after all.
                Err(_) => {}
                Ok(Ok(len)) => {
                    if self.sieve.is_news(&self.buffer[..len]) {
                        return Ok(());
                    }
                }
                Ok(Err(error)) => match error.raw_os_error() {
                    // More came than the socket's buffer holds: surely a change, and what we kept is out of date.
                    Some(libc::ENOBUFS) => {
                        self.sieve = Sieve::default();
                        return Ok(());
                    }
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

#[allow(unsafe_code, reason = "std reads neither clock by itself")]
fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours and outlives the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    if failed {
        return Duration::ZERO;
    }
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

pub(super) fn clocks() -> Clocks {
    Clocks {
        awake: read(libc::CLOCK_MONOTONIC),
        all: read(libc::CLOCK_BOOTTIME),
    }
}

/// Links, addresses, routes and rules of both families (linux/rtnetlink.h, `enum rtnetlink_groups`).
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
];

/// The kernel sends link messages of at most some 16 KiB; one that is longer is cut, and a cut one counts as a change.
const BUFFER_LEN: usize = 32 << 10;
