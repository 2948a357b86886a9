//! Sockets that nobody listens to any more, kept open until no answer can be on its way to them.
//!
//! When an answer comes to a port that is closed, the kernel tells the server so, and quotes the answer with the name in it. That ICMP message
//! follows the routes and not the interface that the question was bound to: a late answer out of a tunnel would show its name to the LAN.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deaf(Mutex<VecDeque<(Instant, UdpSocket)>>);

impl Deaf {
    /// Keeps a socket for a while.
    pub(super) fn keep(&self, socket: UdpSocket, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((now + LATEST, socket));
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
    }

    /// Closes those that have been kept long enough.
    pub(super) fn close_old(&self, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.front().is_some_and(|(until, _)| *until <= now) {
            kept.pop_front();
        }
    }
}

/// A resolver that has not answered by then gives up itself: clients wait five seconds.
const LATEST: Duration = Duration::from_secs(10);

/// Two for each socket that may be open. Past it the oldest is closed: descriptors are for questions.
const MAX_KEPT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    async fn socket() -> UdpSocket {
        UdpSocket::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn sockets_are_kept_for_a_time_and_up_to_a_number() {
        let (deaf, now) = (Deaf::default(), Instant::now());
        let len = || deaf.0.lock().unwrap().len();
        deaf.keep(socket().await, now);
        deaf.close_old(now + LATEST - Duration::from_millis(1));
        assert_eq!(len(), 1);
        deaf.close_old(now + LATEST);
        assert_eq!(len(), 0);
        for _ in 0..MAX_KEPT + 2 {
            deaf.keep(socket().await, now);
        }
        assert_eq!(len(), MAX_KEPT);
    }
}
