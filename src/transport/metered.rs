//! Counts the octets of an HTTP/2 connection, and puts a ceiling on what a server may send without being asked (T-H2).
//!
//! Floods of PING, SETTINGS, 1xx responses, headers or resets have one thing in common: octets that answer nothing.
//! Each query grants a credit as large as the largest honest answer; a connection whose server has used up all credit
//! is closed. A frame costs as much as the memory that h2 may keep for it: ten octets on the wire can be a kibibyte of
//! headers in a queue, until the asker gets to read them.

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
    fn spend(&self, octets: usize, frames: u64) -> bool {
        if octets > 0 {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        let spend = |credit: u64| credit.checked_sub(octets as u64 + frames * PER_FRAME);
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

/// Finds where frames begin in what is read (RFC 9113 section 4.1).
#[derive(Debug, Default)]
struct Frames {
    /// Octets of the frame under way that are still to come, its header apart.
    payload: usize,
    /// How much of the next frame's header is here, and the length in it.
    head: usize,
    len: usize,
}

impl Frames {
    /// Takes octets; says how many frames' headers were completed by them.
    fn count(&mut self, mut octets: &[u8]) -> u64 {
        let mut frames = 0;
        while let [first, rest @ ..] = octets {
            if self.payload > 0 {
                let skipped = self.payload.min(octets.len());
                self.payload -= skipped;
                octets = &octets[skipped..];
                continue;
            }
            if self.head < 3 {
                self.len = self.len << 8 | usize::from(*first);
            }
            self.head += 1;
            octets = rest;
            if self.head == FRAME_HEADER {
                frames += 1;
                *self = Self {
                    payload: self.len,
                    ..Self::default()
                };
            }
        }
        frames
    }
}

/// A stream that fails when the server has used up its credit.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    frames: Frames,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Arc<Meter>) -> Self {
        let frames = Frames::default();
        Self { stream, meter, frames }
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
        let read = &buf.filled()[before..];
        let frames = self.frames.count(read);
        if self.meter.spend(read.len(), frames) {
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

/// Of the header that begins each frame.
const FRAME_HEADER: usize = 9;

/// What a frame costs beside its octets. Measured: a 1xx response that waits in h2's queue takes 960 octets.
const PER_FRAME: u64 = 1024;

/// Settings, window updates and pings: five hundred of them are more than a server sends in the five minutes without queries
/// after which the connection is closed for idleness.
const AT_START: u64 = 512 * 1024;

/// An answer of 65,535 octets, its headers of 16 KiB, and the frames around them if they carry two kibibytes each. Answers
/// cut finer than that live on what their many smaller neighbours leave over.
const PER_QUERY: u64 = 128 * 1024;

/// Sixty answers of that size at once, or some thousand usual ones; and what a flood may cost at its worst.
const MAX_CREDIT: u64 = 64 * PER_QUERY;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn t_h2_octets_that_nobody_asked_for_end_the_connection() {
        let meter = Arc::new(Meter::default());
        // Every read seems to be within one frame of a mebibyte: the octets alone count.
        let mut metered = Metered::new(tokio::io::repeat(16), Arc::clone(&meter));
        let mut sink = vec![0; usize::try_from(AT_START - PER_FRAME).unwrap()];
        metered.read_exact(&mut sink).await.unwrap();
        assert!(metered.read_exact(&mut [0; 1]).await.is_err());
        meter.grant();
        sink.truncate(usize::try_from(PER_QUERY).unwrap());
        metered.read_exact(&mut sink).await.unwrap();
        assert!(metered.read_exact(&mut [0; 1]).await.is_err());
    }

    #[tokio::test]
    async fn t_h2_small_frames_cost_what_they_weigh_in_memory() {
        let meter = Arc::new(Meter::default());
        // Nothing but empty frames.
        let mut metered = Metered::new(tokio::io::repeat(0), Arc::clone(&meter));
        let affordable = usize::try_from(AT_START / (PER_FRAME + FRAME_HEADER as u64)).unwrap();
        let mut sink = vec![0; affordable * FRAME_HEADER];
        metered.read_exact(&mut sink).await.unwrap();
        assert!(metered.read_exact(&mut sink[..2 * FRAME_HEADER]).await.is_err());
    }

    #[test]
    fn frames_are_found_wherever_reads_begin_and_end() {
        let octets: Vec<u8> = [0, 1, 300, 8, 0, 70_000, 2]
            .into_iter()
            .flat_map(|len: u32| {
                let mut frame = len.to_be_bytes()[1..].to_vec();
                frame.resize(FRAME_HEADER + len as usize, 0xff);
                frame
            })
            .collect();
        for size in [1, 2, 5, 9, 10, 4096, octets.len()] {
            let mut frames = Frames::default();
            let counted: u64 = octets.chunks(size).map(|chunk| frames.count(chunk)).sum();
            assert_eq!(counted, 7, "reads of {size} octets");
        }
    }

    #[test]
    fn credit_does_not_pile_up() {
        let meter = Meter::default();
        (0..1_000).for_each(|_| meter.grant());
        assert!(meter.spend(usize::try_from(MAX_CREDIT).unwrap(), 0));
        assert!(!meter.spend(1, 0));
    }
}
