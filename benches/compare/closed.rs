//! The closed-loop generator: a fixed number of queries outstanding, a new one for each answer. Every answer is compared with what it
//! must be while the clock runs; what is not answered in time is counted and asked again.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::clock;
use crate::latency::Latencies;
use crate::sys::{self, Batch, Wait};
use crate::wire::{self, MAX_QUERY, Wrong};

/// Which names are asked: `<prefix><first..first + count>.bench.example`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) prefix: u8,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// When it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time; names are drawn at random.
    Time(Duration),
    /// When each name has been answered; names are asked in turn.
    All,
    /// After this time; names are asked in turn and never again.
    TimeUnique(Duration),
}

/// What is asked of whom, and how hard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) target: SocketAddr,
    pub(crate) names: Names,
    /// Source ports.
    pub(crate) sockets: usize,
    /// Source ports that have queries outstanding at the same moment.
    pub(crate) active: usize,
    /// Queries outstanding at each of those.
    pub(crate) window: usize,
    /// Answers taken at one go, and so queries sent at one go.
    pub(crate) at_once: usize,
    pub(crate) until: Until,
    /// The echo's answers are compared with the query itself.
    pub(crate) echo: bool,
    /// Whether each query's time is taken.
    pub(crate) timed: bool,
}

impl Load {
    /// Saturation from eight source ports, 128 queries outstanding.
    pub(crate) fn saturated(target: SocketAddr, names: Names, time: Duration) -> Self {
        Self {
            target,
            names,
            sockets: 8,
            active: 8,
            window: 16,
            at_once: 16,
            until: Until::Time(time),
            echo: false,
            timed: false,
        }
    }

    /// As many queries outstanding, about ten from each source port.
    pub(crate) fn outstanding(mut self, count: usize) -> Self {
        let sockets = count.div_ceil(10).max(1);
        (self.sockets, self.active, self.window) = (sockets, sockets, count.div_ceil(sockets));
        self.at_once = self.window;
        self
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<Wrong>,
    pub(crate) latencies: Latencies,
    pub(crate) elapsed: Duration,
}

impl Tally {
    /// The number of answers, if all were right and few were lost: a fast wrong answer counts as none.
    pub(crate) fn checked(&self) -> Result<u64, String> {
        if let Some(wrong) = self.first_wrong {
            return Err(format!(
                "{} of {} answers wrong: {wrong}",
                self.wrong,
                self.answered + self.wrong
            ));
        }
        if self.answered == 0 {
            return Err("no answers".to_owned());
        }
        if self.lost * 100 > self.answered {
            return Err(format!("{} queries lost beside {} answers", self.lost, self.answered));
        }
        Ok(self.answered)
    }
}

/// How long an answer is waited for. Longer than any round trip here, shorter than a client's patience.
const PATIENCE: Duration = Duration::from_secs(1);

/// Times that one query of `Until::All` is asked before its name is given up.
const TRIES: u64 = 20;

/// Asks.
pub(crate) fn run(load: &Load) -> Result<Tally, String> {
    let mut generator = Generator::new(load).map_err(|error| format!("the generator: {error}"))?;
    generator.run().map_err(|error| format!("the generator: {error}"))?;
    Ok(generator.tally)
}

/// One query that may be outstanding.
#[derive(Clone, Copy)]
struct Slot {
    query: [u8; MAX_QUERY],
    len: usize,
    outstanding: bool,
    sent: Instant,
}

struct Generator<'a> {
    load: &'a Load,
    sockets: Vec<UdpSocket>,
    slots: Vec<Slot>,
    batch: Batch,
    random: u64,
    asked: u64,
    generation: u16,
    end: Option<Instant>,
    tally: Tally,
}

impl<'a> Generator<'a> {
    fn new(load: &'a Load) -> io::Result<Self> {
        let sockets = (0..load.sockets)
            .map(|_| connect(load.target))
            .collect::<io::Result<Vec<_>>>()?;
        let now = clock::now();
        let slot = Slot {
            query: [0; MAX_QUERY],
            len: 0,
            outstanding: false,
            sent: now,
        };
        Ok(Self {
            load,
            slots: vec![slot; load.sockets * load.window],
            sockets,
            batch: Batch::new(load.window),
            random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()),
            asked: 0,
            generation: 0,
            end: match load.until {
                Until::Time(time) | Until::TimeUnique(time) => Some(now + time),
                Until::All => None,
            },
            tally: Tally::default(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let start = clock::now();
        let (count, active) = (self.load.sockets, self.load.active);
        for socket in 0..active {
            self.ask(socket)?;
        }
        let mut turn = 0;
        while !self.is_over() {
            // The oldest of those that have something outstanding; then the next one asks.
            self.collect(turn % count)?;
            self.ask((turn + active) % count)?;
            turn += 1;
        }
        self.tally.elapsed = start.elapsed();
        Ok(())
    }

    fn is_over(&self) -> bool {
        match self.end {
            // Names that are asked once may come to their end before the time does.
            Some(end) => clock::now() >= end || (self.asked > self.load.names.count && self.is_idle()),
            None => {
                self.tally.answered + self.tally.wrong >= self.load.names.count
                    || self.tally.lost > self.load.names.count * TRIES
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| !slot.outstanding)
    }

    /// Asks with every free slot of a socket.
    fn ask(&mut self, socket: usize) -> io::Result<()> {
        let now = clock::now();
        let first = socket * self.load.window;
        let mut ready = 0;
        for index in 0..self.load.window {
            if self.slots[first + index].outstanding {
                continue;
            }
            let Some(number) = self.next_name() else { break };
            self.generation = self.generation.wrapping_add(1);
            let id = self.generation << 8 | u16::try_from(index & 0xff).expect("eight bits");
            let slot = &mut self.slots[first + index];
            slot.len = wire::write_query(&mut slot.query, id, self.load.names.prefix, number);
            slot.outstanding = true;
            slot.sent = now;
            self.stage(ready, first + index);
            ready += 1;
        }
        self.send(socket, ready)
    }

    fn stage(&mut self, at: usize, slot: usize) {
        let Slot { query, len, .. } = self.slots[slot];
        self.batch.room(at)[..len].copy_from_slice(&query[..len]);
        self.batch.set_len(at, len);
    }

    fn send(&mut self, socket: usize, ready: usize) -> io::Result<()> {
        if ready == 0 {
            return Ok(());
        }
        match self.batch.send(self.sockets[socket].as_fd(), ready, false) {
            // A server that has ended shows as silence, which is counted.
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    }

    fn next_name(&mut self) -> Option<u64> {
        let Names { first, count, .. } = self.load.names;
        if let Until::Time(_) = self.load.until {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            return Some(first + (self.random >> 16) % count);
        }
        let next = self.asked;
        self.asked += 1;
        (next < count).then_some(first + next)
    }

    /// Takes what is there for a socket, waiting for the first.
    fn collect(&mut self, socket: usize) -> io::Result<()> {
        let first = socket * self.load.window;
        let slots = first..first + self.load.window;
        if !self.slots[slots].iter().any(|slot| slot.outstanding) {
            return Ok(());
        }
        let fd = self.sockets[socket].as_fd();
        match self.batch.receive(fd, self.load.at_once, false, Wait::ForOne) {
            Ok(got) => {
                let now = clock::now();
                for index in 0..got {
                    self.settle(first, index, now);
                }
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
                ) =>
            {
                self.give_up(socket)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn settle(&mut self, first: usize, index: usize, now: Instant) {
        let response = self.batch.datagram(index);
        let Some(low) = response.get(1) else { return };
        let within = usize::from(*low);
        if within >= self.load.window {
            return;
        }
        let slot = &mut self.slots[first + within];
        // An answer to what was given up before counts for nothing.
        if !slot.outstanding || response[..2] != slot.query[..2] {
            return;
        }
        slot.outstanding = false;
        let query = &slot.query[..slot.len];
        let outcome = if self.load.echo {
            wire::check_echo(response, query)
        } else {
            wire::check(response, query)
        };
        match outcome {
            Ok(()) => self.tally.answered += 1,
            Err(wrong) => {
                self.tally.wrong += 1;
                self.tally.first_wrong.get_or_insert(wrong);
            }
        }
        if self.load.timed {
            self.tally.latencies.add(now - slot.sent);
        }
    }

    /// Nothing came for long: what is outstanding is lost, and asked once more if each name must be answered.
    fn give_up(&mut self, socket: usize) -> io::Result<()> {
        let first = socket * self.load.window;
        let mut ready = 0;
        for index in first..first + self.load.window {
            if !self.slots[index].outstanding {
                continue;
            }
            self.tally.lost += 1;
            if let Until::All = self.load.until {
                self.stage(ready, index);
                ready += 1;
            } else {
                self.slots[index].outstanding = false;
            }
        }
        if ready > 0 {
            // A server that is not there refuses at once: no reason to spin.
            clock::rest(Duration::from_millis(5));
        }
        self.send(socket, ready)
    }
}

fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    sys::receive_buffer(socket.as_fd(), crate::BUFFER);
    Ok(socket)
}
