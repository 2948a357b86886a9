//! One question over UDP: sent, and sent again on a fresh socket under a fresh ID when nothing comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::deaf::Deaf;
use super::reply::{Reply, sort};
use super::{MAX_MISMATCHES, Plain, Protocol};
use crate::os::socket::datagrams_to;
use crate::transport::ExchangeError;
use crate::transport::way::Way;

/// What came of a question over UDP.
pub(super) enum Told {
    /// The answer, ID 0.
    Answer(Vec<u8>),
    /// It does not fit, or somebody forges.
    AskOverTcp,
}

/// A question that was sent.
struct Sent<'a> {
    socket: Option<UdpSocket>,
    id: u16,
    way: Way,
    is_answered: AtomicBool,
    deaf: &'a Deaf,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let may_be_answered = !*self.is_answered.get_mut();
        if let (true, true, Some(socket)) = (self.way.is_wanted(), may_be_answered, self.socket.take()) {
            self.deaf.keep(socket, Instant::now());
        }
    }
}

impl Plain {
    /// Asks over UDP. A socket is left before the next one is opened: to listen on two were two questions for a forger to hit. An answer that
    /// comes after that is lost, so the second wait is longer than the first.
    pub(super) async fn over_udp(&self, query: &[u8], deadline: Instant) -> Result<Told, ExchangeError> {
        self.deaf.close_old(Instant::now());
        let mut mismatches = 0;
        for (number, wait) in WAITS.into_iter().enumerate() {
            let mut changes = self.changes.subscribe();
            let sent = self.send(query, deadline, number == 0).await?;
            let until = wait.map_or(deadline, |wait| deadline.min(Instant::now() + wait));
            tokio::select! {
                heard = timeout_at(until, self.hear(&sent, query, &mut mismatches)) => match heard {
                    Ok(told) => return told,
                    Err(_) if until == deadline => break,
                    Err(_) => {}
                },
                moved = self.moved(&sent.way, &mut changes) => moved?,
            }
        }
        Err(ExchangeError::silent("no answer in time"))
    }

    async fn send(&self, query: &[u8], deadline: Instant, is_first: bool) -> Result<Sent<'_>, ExchangeError> {
        let way = self.way(Protocol::Udp)?;
        let failed = |error| self.failed("send to", &error);
        let socket = datagrams_to(self.target.server, self.target.exit.interface.as_ref()).map_err(failed)?;
        let (id, message) = self.sealed(query)?;
        match timeout_at(deadline, socket.send(&message)).await {
            Ok(sent) => drop(sent.map_err(failed)?),
            Err(_) => return Err(ExchangeError::network("no room to send in time")),
        }
        self.count_sent(query, is_first);
        Ok(Sent {
            socket: Some(socket),
            id,
            way,
            is_answered: AtomicBool::new(false),
            deaf: &self.deaf,
        })
    }

    /// Waits for the answer; what is none is dropped, and the wait goes on.
    async fn hear(&self, sent: &Sent<'_>, query: &[u8], mismatches: &mut u32) -> Result<Told, ExchangeError> {
        let mut buffer = vec![0; BUFFER_LEN];
        // Only its end takes the socket away.
        let Some(socket) = &sent.socket else {
            return Err(ExchangeError::network("the socket is closed"));
        };
        loop {
            // A connected socket reports here that nobody listens at the server's port (ICMP).
            let received = socket.recv(&mut buffer).await;
            let len = received.map_err(|error| self.failed("ask", &error))?;
            let reply = sort(query, sent.id, &buffer[..len]);
            sent.is_answered.store(reply != Reply::Stranger, Ordering::Relaxed);
            match reply {
                Reply::Answer => {
                    buffer.truncate(len);
                    buffer[..2].fill(0);
                    return Ok(Told::Answer(buffer));
                }
                Reply::Oversized => return Ok(Told::AskOverTcp),
                Reply::Stranger => {
                    self.stats.violations.increment();
                    *mismatches += 1;
                    if *mismatches >= MAX_MISMATCHES {
                        return Ok(Told::AskOverTcp);
                    }
                }
            }
        }
    }
}

/// How long each sending waits for its answer; the last one to the deadline. With the five seconds that clients wait, three sendings survive
/// a loss of two packets, and the second and third wait long enough for any road on this planet and a satellite.
const WAITS: [Option<Duration>; 3] = [Some(Duration::from_secs(1)), Some(Duration::from_secs(2)), None];

/// Three times what we say we take: a response that is longer than that is still known as one.
const BUFFER_LEN: usize = 4096;
