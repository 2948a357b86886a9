//! B12: thousands ask one cold name in the same moment, then ten each of a thousand names. The upstream counts.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::configs::{CacheSize, Transport};
use crate::lab::{Lab, fill};
use crate::latency::Latencies;
use crate::peers::{Kind, Place, Program};
use crate::report::{Met, Row, Table, short};
use crate::source::Source;
use crate::sys::{self, Batch, Wait};
use crate::wire::Wrong;
use crate::{clock, wire};

/// Queries in all, in both halves.
const QUERIES: usize = 10_000;

/// Names of the second half; each is asked as often as this fits into [`QUERIES`].
const NAMES: u64 = 1000;

/// Source ports. Each asks in one system call.
const SOCKETS: usize = 250;

/// What an answer of the upstream takes, so that all have asked before the first is there.
const DELAY_MS: u32 = 100;

/// Names that each program asks for before, with that delay.
const LEARNING: u64 = 100;

/// What is waited for answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// After this time without any answer no more will come: what is lost, is lost.
const QUIET: Duration = Duration::from_millis(1500);

/// B12.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new(
        "B12",
        "a herd: 10000 queries at once of one cold name, then of 1000 names",
    );
    let source = Source::on_loopback(true)?;
    let mut kinds = vec![(Kind::Tacenda, Transport::Dot), (Kind::Tacenda, Transport::Doh)];
    kinds.extend(lab.chosen(
        &[Kind::Unbound, Kind::Dnsdist, Kind::Kresd, Kind::Smartdns],
        Transport::Dot,
    ));
    let fleet = lab.fleet(None, &kinds, source.address, CacheSize::Large, Place::default())?;
    source.set_delay_ms(DELAY_MS);
    let mut lines = Vec::new();
    for program in &fleet.programs {
        // Who asks twice when an answer is late has learnt by now what is late.
        let _ = fill(program, lab.new_names(LEARNING), 20);
        for names in [1, NAMES] {
            let outcome = stampede(lab, program, &source, names);
            if program.kind == Kind::Tacenda {
                judge(&mut row, &program.label, names, &outcome);
            }
            lines.push(match outcome {
                Ok(seen) => seen.line(&program.label, names),
                Err(why) => vec![program.label.clone(), names.to_string(), why],
            });
        }
    }
    let columns = [
        "program",
        "names",
        "sent in ms",
        "answered",
        "wrong",
        "p99 ms",
        "upstream queries/name",
        "most",
    ];
    row.tables.push(Table::new(
        &format!("an upstream that answers after {DELAY_MS} ms"),
        &columns,
        lines,
    ));
    row.notes.extend(fleet.absent);
    Ok(row)
}

struct Seen {
    sent_in: Duration,
    answered: usize,
    wrong: usize,
    first_wrong: Option<Wrong>,
    latencies: Latencies,
    /// For each name, how often the upstream was asked.
    counts: Vec<u32>,
}

impl Seen {
    fn most(&self) -> u32 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    fn line(mut self, label: &str, names: u64) -> Vec<String> {
        let most = self.most();
        let each = f64::from(self.counts.iter().sum::<u32>()) / names as f64;
        vec![
            label.to_owned(),
            names.to_string(),
            short(self.sent_in.as_secs_f64() * 1000.0),
            self.answered.to_string(),
            self.first_wrong
                .map_or_else(|| "0".to_owned(), |wrong| format!("{} ({wrong})", self.wrong)),
            short(self.latencies.quantile_ms(0.99)),
            short(each),
            most.to_string(),
        ]
    }
}

fn judge(row: &mut Row, label: &str, names: u64, outcome: &Result<Seen, String>) {
    let what = format!("{label}, {names} names: upstream queries of each");
    match outcome {
        Ok(seen) => {
            let once = seen.most() == 1 && seen.counts.len() as u64 == names;
            row.judge(&what, "exactly 1", format!("{} at most", seen.most()), Met::of(once));
            let all = seen.answered == QUERIES;
            row.judge(
                &format!("{label}, {names} names: answered"),
                "all",
                format!("{} of {QUERIES}", seen.answered),
                Met::of(all),
            );
        }
        Err(why) => row.judge(&what, "exactly 1", why.clone(), Met::Void(why.clone())),
    }
}

fn stampede(lab: &Lab, program: &Program, source: &Source, names: u64) -> Result<Seen, String> {
    let first = lab.new_names(names).first;
    let failed = |error: io::Error| format!("the herd: {error}");
    let sockets = (0..SOCKETS)
        .map(|_| connected(program))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    source.take_counts(b'u');
    let mut batch = Batch::new(QUERIES / SOCKETS);
    let name_of = |socket: usize, index: usize| first + ((index * SOCKETS + socket) as u64 % names);
    let begun = clock::now();
    for (socket, from) in sockets.iter().enumerate() {
        for index in 0..QUERIES / SOCKETS {
            let id = u16::try_from(index).expect("few for each socket");
            let len = wire::write_query(batch.room(index), id, b'u', name_of(socket, index));
            batch.set_len(index, len);
        }
        batch.send(from.as_fd(), QUERIES / SOCKETS, false).map_err(failed)?;
    }
    let mut seen = Seen {
        sent_in: begun.elapsed(),
        answered: 0,
        wrong: 0,
        first_wrong: None,
        latencies: Latencies::default(),
        counts: Vec::new(),
    };
    let mut last = (0, clock::now());
    let _ = clock::until(PATIENCE, Duration::from_millis(1), || {
        for (socket, from) in sockets.iter().enumerate() {
            take(&mut batch, from, begun, &mut seen, |index| name_of(socket, index));
        }
        let got = seen.answered + seen.wrong;
        if got > last.0 {
            last = (got, clock::now());
        }
        (got >= QUERIES || last.1.elapsed() > QUIET).then_some(())
    });
    seen.counts = source.take_counts(b'u');
    Ok(seen)
}

/// Takes the answers that are there at one socket.
fn take(batch: &mut Batch, from: &UdpSocket, begun: Instant, seen: &mut Seen, name: impl Fn(usize) -> u64) {
    let Ok(got) = batch.receive(from.as_fd(), QUERIES / SOCKETS, false, Wait::Never) else {
        return;
    };
    for index in 0..got {
        let response = batch.datagram(index);
        let Some(id) = response.first_chunk::<2>() else {
            continue;
        };
        let mut query = [0; wire::MAX_QUERY];
        let id = u16::from_be_bytes(*id);
        let len = wire::write_query(&mut query, id, b'u', name(usize::from(id)));
        match wire::check(response, &query[..len]) {
            Ok(()) => {
                seen.answered += 1;
                seen.latencies.add(begun.elapsed());
            }
            Err(wrong) => {
                seen.wrong += 1;
                seen.first_wrong.get_or_insert(wrong);
            }
        }
    }
}

fn connected(program: &Program) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(program.address)?;
    sys::receive_buffer(socket.as_fd(), crate::BUFFER);
    Ok(socket)
}
