//! Tells that somebody has changed packet rules, be they ours or not.

use std::io;

#[cfg(target_os = "linux")]
use linux as system;

#[cfg(not(target_os = "linux"))]
use super::system_changes as system;

/// Waits for changes.
#[derive(Debug)]
pub struct Changes(system::Source);

impl Changes {
    /// Begins to watch. Must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// The system's own, `Unsupported` where there are no such rules.
    pub fn new() -> io::Result<Self> {
        system::Source::new().map(Self)
    }

    /// Ends when there was one since the last time, our own ones among them; for ever if the system stops telling. Cancel-safe.
    pub async fn next(&mut self) {
        self.0.next().await;
    }
}

/// The kernel's news (linux/netfilter/nfnetlink.h, `NFNLGRP_NFTABLES`).
#[cfg(target_os = "linux")]
mod linux {
    use std::future::pending;
    use std::io;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use crate::os::socket::netlink::Socket;

    #[derive(Debug)]
    pub(super) struct Source(AsyncFd<Socket>);

    impl Source {
        pub(super) fn new() -> io::Result<Self> {
            let socket = Socket::of(libc::NETLINK_NETFILTER)?;
            socket.set_nonblocking()?;
            socket.bind()?;
            socket.join(GROUP)?;
            #[allow(unsafe_code, reason = "tokio trusts the descriptor to stay open")]
            // SAFETY: the socket owns its descriptor, is moved in here, and nothing replaces or closes it before the drop.
            let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
            Ok(Self(socket))
        }

        pub(super) async fn next(&mut self) {
            // What it says is not looked at; what does not fit is news too.
            let mut buffer = [0; 4096];
            loop {
                let Ok(mut ready) = self.0.readable().await else {
                    return pending().await;
                };
                let mut is_news = false;
                // One transaction of another's is thousands of messages, and one piece of news.
                for _ in 0..MAX_MESSAGES {
                    match ready.try_io(|socket| socket.get_ref().receive(&mut buffer)) {
                        Ok(_) => is_news = true,
                        Err(_) => break,
                    }
                }
                if is_news {
                    return;
                }
            }
        }
    }

    const GROUP: u32 = 7;

    /// At once; the rest comes after a pause.
    const MAX_MESSAGES: usize = 10_000;
}
