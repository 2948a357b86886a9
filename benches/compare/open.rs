//! The open-loop generator: queries go out when they are due, whatever became of those before, and a query's time counts from when it was
//! due. A server that stalls cannot hide it by stalling the generator too.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::clock;
use crate::closed::Names;
use crate::latency::Latencies;
use crate::sys::{self, Batch, Wait};
use crate::wire::{self, MAX_QUERY, Wrong};

/// What is asked of whom, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) names: Names,
    pub(crate) order: Order,
    pub(crate) per_second: f64,
    pub(crate) time: Duration,
    /// The echo's answers are compared with the query itself.
    pub(crate) echo: bool,
}

/// Which name is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Random,
    InTurn,
}

/// One query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, after the beginning.
    pub(crate) due: Duration,
    /// Its time from then on, if it was answered rightly and before a client gives up.
    pub(crate) latency: Option<Duration>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) begun: Instant,
    pub(crate) samples: Vec<Sample>,
    pub(crate) first_wrong: Option<Wrong>,
    /// How late the generator itself was at worst: the machine's fault, not the server's.
    pub(crate) late: Duration,
}

/// What glibc waits for.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// Queries that can be told apart by their ids.
const SLOTS: usize = 1 << 16;

/// Datagrams taken or sent at once.
const BATCH: usize = 64;

impl Outcome {
    /// Queries that got no right answer.
    pub(crate) fn failures(&self) -> usize {
        self.samples.iter().filter(|sample| sample.latency.is_none()).count()
    }

    /// The times of those that did.
    pub(crate) fn latencies(&self) -> Latencies {
        let mut latencies = Latencies::default();
        self.samples
            .iter()
            .filter_map(|sample| sample.latency)
            .for_each(|latency| latencies.add(latency));
        latencies
    }
}

#[derive(Clone, Copy)]
struct Slot {
    query: [u8; MAX_QUERY],
    len: usize,
    sample: usize,
    outstanding: bool,
}

struct Generator<'a> {
    plan: &'a Plan,
    socket: &'a UdpSocket,
    begun: Instant,
    slots: Vec<Slot>,
    samples: Vec<Sample>,
    outstanding: usize,
    first_wrong: Option<Wrong>,
    late: Duration,
    batch: Batch,
    random: u64,
}

/// Asks over this socket, which is connected to the target here.
pub(crate) fn run(plan: &Plan, socket: &UdpSocket) -> Result<Outcome, String> {
    let failed = |error: io::Error| format!("the generator: {error}");
    socket.connect(plan.target).map_err(failed)?;
    sys::receive_buffer(socket.as_fd(), crate::BUFFER);
    let slot = Slot {
        query: [0; MAX_QUERY],
        len: 0,
        sample: 0,
        outstanding: false,
    };
    let mut generator = Generator {
        plan,
        socket,
        begun: clock::now(),
        slots: vec![slot; SLOTS],
        samples: Vec::new(),
        outstanding: 0,
        first_wrong: None,
        late: Duration::ZERO,
        batch: Batch::new(BATCH),
        random: 0x9e37_79b9_7f4a_7c15,
    };
    generator.run().map_err(failed)?;
    Ok(Outcome {
        begun: generator.begun,
        samples: generator.samples,
        first_wrong: generator.first_wrong,
        late: generator.late,
    })
}

impl Generator<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let elapsed = self.begun.elapsed();
            let sending = elapsed < self.plan.time;
            if sending {
                self.send_due(elapsed)?;
            } else if self.outstanding == 0 || elapsed > self.plan.time + CLIENT_PATIENCE {
                return Ok(());
            }
            let next = if sending {
                self.due(self.samples.len())
            } else {
                elapsed + Duration::from_millis(10)
            };
            let longest = next.saturating_sub(self.begun.elapsed());
            let [readable] = sys::wait_readable([self.socket.as_fd()], Some(longest))?;
            if readable {
                self.receive()?;
            }
        }
    }

    /// When the query with this number is due.
    fn due(&self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.plan.per_second)
    }

    fn send_due(&mut self, elapsed: Duration) -> io::Result<()> {
        let mut ready = 0;
        while ready < BATCH {
            let number = self.samples.len();
            let due = self.due(number);
            if due > elapsed {
                break;
            }
            self.late = self.late.max(elapsed - due);
            let id = u16::try_from(number % SLOTS).expect("sixteen bits");
            let name = self.name(number);
            let slot = &mut self.slots[usize::from(id)];
            if !slot.outstanding {
                self.outstanding += 1;
            }
            slot.len = wire::write_query(&mut slot.query, id, self.plan.names.prefix, name);
            (slot.sample, slot.outstanding) = (number, true);
            self.batch.room(ready)[..slot.len].copy_from_slice(&slot.query[..slot.len]);
            self.batch.set_len(ready, slot.len);
            self.samples.push(Sample { due, latency: None });
            ready += 1;
        }
        if ready == 0 {
            return Ok(());
        }
        match self.batch.send(self.socket.as_fd(), ready, false) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    }

    fn name(&mut self, number: usize) -> u64 {
        let Names { first, count, .. } = self.plan.names;
        if self.plan.order == Order::InTurn {
            return first + number as u64 % count;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        first + (self.random >> 16) % count
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            let got = match self.batch.receive(self.socket.as_fd(), BATCH, false, Wait::Never) {
                Ok(got) => got,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let elapsed = self.begun.elapsed();
            for index in 0..got {
                self.settle(index, elapsed);
            }
            if got < BATCH {
                return Ok(());
            }
        }
    }

    fn settle(&mut self, index: usize, elapsed: Duration) {
        let response = self.batch.datagram(index);
        let Some(id) = response.first_chunk::<2>() else { return };
        let slot = &mut self.slots[usize::from(u16::from_be_bytes(*id))];
        if !slot.outstanding {
            return;
        }
        slot.outstanding = false;
        self.outstanding -= 1;
        let sample = &mut self.samples[slot.sample];
        let latency = elapsed.saturating_sub(sample.due);
        let query = &slot.query[..slot.len];
        let checked = if self.plan.echo {
            wire::check_echo(response, query)
        } else {
            wire::check(response, query)
        };
        match checked {
            Ok(()) if latency <= CLIENT_PATIENCE => sample.latency = Some(latency),
            Ok(()) => {}
            Err(wrong) => {
                self.first_wrong.get_or_insert(wrong);
            }
        }
    }
}
