//! Counts the octets of an HTTP/2 connection, and puts a ceiling on what a server may send without being asked (T-H2).
//!
//! Floods of PING, SETTINGS, 1xx responses, headers or resets have one thing in common: octets that answer nothing.
//! Each query grants a credit as large as the largest honest answer; a connection whose server has used up all credit
//! is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// What a connection has still to its credit, and what was written on it.
#[derive(Debug)]
pub(super) struct Meter {
    credit: AtomicU64,
    written: AtomicU64,
    reads: AtomicU64,
    wrote: Notify,
}

impl Meter {
    /// A query is sent: its answer may come.
    pub(super) fn grant(&self) {
        let add = |credit: u64| Some((credit + PER_QUERY).min(MAX_CREDIT));
        // `add` never gives `None`.
        let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Reads that brought something.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Octets that h2 has written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Ends when h2 has written so many octets in all, or never will. Cancel-safe.
    pub(super) async fn has_written(&self, octets: u64) {
        loop {
            let wrote = self.wrote.notified();
            if self.written() >= octets {
                return;
            }
            wrote.await;
        }
    }

    /// Takes what was read; false when that was too much.
    fn spend(&self, octets: usize) -> bool {
        if octets > 0 {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        let spend = |credit: u64| credit.checked_sub(octets as u64);
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }

    fn wrote(&self, octets: u64) {
        self.written.fetch_add(octets, Ordering::Release);
        self.wrote.notify_waiters();
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            credit: AtomicU64::new(AT_START),
            written: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            wrote: Notify::new(),
        }
    }
}

/// A stream that fails when the server has used up its credit.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S> Drop for Metered<S> {
    fn drop(&mut self) {
        // Nothing will be written any more: whoever waits for it goes on and finds the connection closed.
        self.meter.wrote(u64::MAX / 2);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.meter.spend(buf.filled().len() - before) {
            return polled;
        }
        Poll::Ready(Err(io::Error::other("the server sent far more than was asked for")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.meter.wrote(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.meter.wrote(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Settings, window updates and pings: at 17 octets each this is far more than a minute without queries can bring,
/// and then the connection is closed for idleness.
const AT_START: u64 = 64 * 1024;

/// An answer of 65,535 octets, its headers of 16 KiB, and the frames around them even if they carry 32 octets each.
const PER_QUERY: u64 = 128 * 1024;

/// As much as 200 answers of that size at once: a second or two of a flood.
const MAX_CREDIT: u64 = 200 * PER_QUERY;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn t_h2_octets_that_nobody_asked_for_end_the_connection() {
        let meter = Arc::new(Meter::default());
        let mut metered = Metered::new(tokio::io::repeat(7), Arc::clone(&meter));
        let mut sink = vec![0; usize::try_from(PER_QUERY).unwrap()];
        metered
            .read_exact(&mut sink[..usize::try_from(AT_START).unwrap()])
            .await
            .unwrap();
        assert!(metered.read_exact(&mut [0; 1]).await.is_err());
        meter.grant();
        metered.read_exact(&mut sink).await.unwrap();
        assert!(metered.read_exact(&mut [0; 1]).await.is_err());
    }

    #[test]
    fn credit_does_not_pile_up() {
        let meter = Meter::default();
        (0..1_000).for_each(|_| meter.grant());
        assert!(meter.spend(usize::try_from(MAX_CREDIT).unwrap()));
        assert!(!meter.spend(1));
    }
}
