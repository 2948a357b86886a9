//! A long and lossy way between two network namespaces of our own: packets go out of one TUN device, wait for half a round trip, and come in
//! at the other, or do not. In user space, because not every kernel has netem. Nothing of it touches the host's own network.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::children::Namespace;
use crate::{clock, sys};

/// The stub's end.
const NEAR: &str = "10.199.199.1";

/// The upstream's end.
pub(crate) const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 199, 199, 2));

/// Packets that may be under way in one direction: a router's buffer, far more than is used here.
const MAX_QUEUED: usize = 10_000;

/// How long the relay sleeps at most: it looks then whether it is still wanted.
const TICK: Duration = Duration::from_millis(100);

/// It is there as long as this value.
pub(crate) struct Path {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
    control: Arc<Control>,
    relay: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    /// Of ten thousand packets, in each direction.
    lost: AtomicU32,
    dropped: AtomicU32,
}

impl Path {
    /// A way of this round-trip time without loss.
    pub(crate) fn new(rtt: Duration) -> Result<Self, String> {
        if !sys::is_root() {
            return Err("namespaces and TUN devices need root".to_owned());
        }
        let (near, far) = (Namespace::new("near")?, Namespace::new("far")?);
        let far_address = FAR.to_string();
        let ends = [end(&near, NEAR, &far_address)?, end(&far, &far_address, NEAR)?];
        let control = Arc::new(Control::default());
        let relayed = Arc::clone(&control);
        let relay = std::thread::spawn(move || Relay::new(ends, rtt / 2, relayed).run());
        Ok(Self {
            near,
            far,
            control,
            relay: Some(relay),
        })
    }

    /// From now on this part of all packets, in percent and in each direction, is lost.
    pub(crate) fn lose(&self, percent: u32) {
        self.control.lost.store(percent * 100, Ordering::Relaxed);
    }

    /// Packets lost so far.
    pub(crate) fn dropped(&self) -> u32 {
        self.control.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
    }
}

/// A device inside the namespace, with an address and the way to the other.
fn end(namespace: &Namespace, own: &str, other: &str) -> Result<File, String> {
    let file = namespace.inside(|| sys::open_tun("path").map_err(|error| format!("no TUN device: {error}")))?;
    namespace.ip(&["address", "add", own, "peer", other, "dev", "path"])?;
    namespace.ip(&["link", "set", "path", "up"])?;
    Ok(file)
}

struct Relay {
    ends: [File; 2],
    delay: Duration,
    control: Arc<Control>,
    /// For each end, what is on its way to it.
    queues: [VecDeque<(Instant, Vec<u8>)>; 2],
    random: u64,
}

impl Relay {
    fn new(ends: [File; 2], delay: Duration, control: Arc<Control>) -> Self {
        Self {
            ends,
            delay,
            control,
            queues: Default::default(),
            random: 0x2545_f491_4f6c_dd1d,
        }
    }

    fn run(mut self) {
        while !self.control.stop.load(Ordering::Relaxed) {
            let now = clock::now();
            let next = self
                .queues
                .iter()
                .filter_map(|queue| queue.front())
                .map(|(due, _)| Reverse(*due))
                .max();
            let longest = next.map_or(TICK, |Reverse(due)| due.saturating_duration_since(now).min(TICK));
            let fds = [self.ends[0].as_fd(), self.ends[1].as_fd()];
            let Ok(readable) = sys::wait_readable(fds, Some(longest)) else {
                return;
            };
            for (from, _) in readable.into_iter().enumerate().filter(|(_, readable)| *readable) {
                self.take(from);
            }
            self.deliver();
        }
    }

    /// Takes all packets that leave one end.
    fn take(&mut self, from: usize) {
        let mut packet = [0; 65_536];
        while let Ok(len) = (&self.ends[from]).read(&mut packet) {
            let to = 1 - from;
            // IPv4 alone: neighbour discovery and its like would only spend losses.
            if len == 0 || packet[0] >> 4 != 4 || self.queues[to].len() >= MAX_QUEUED {
                continue;
            }
            if self.is_lost() {
                self.control.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.queues[to].push_back((clock::now() + self.delay, packet[..len].to_vec()));
        }
    }

    fn deliver(&mut self) {
        let now = clock::now();
        for (end, queue) in self.ends.iter().zip(&mut self.queues) {
            while queue.front().is_some_and(|(due, _)| *due <= now) {
                if let Some((_, packet)) = queue.pop_front() {
                    // A device that does not take it has lost it.
                    let _ = (&*end).write(&packet);
                }
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % 10_000 < u64::from(self.control.lost.load(Ordering::Relaxed))
    }
}
