//! B11: many clients: hits for ten thousand source ports, and memory of connections over TCP that ask nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::closed::Load;
use crate::lab::{Fleet, Lab, SERVER_CORE};
use crate::peers::{self, Kind, Program};
use crate::report::{Met, Row, Table, short};
use crate::rounds::{self, median};
use crate::rows::hit::{self, HOT};
use crate::{cpu, wire};

/// Source ports, and how many of them have a query outstanding at once. One port has them all.
const CLIENTS: [(usize, usize, usize); 3] = [(1, 1, 100), (100, 100, 1), (10_000, 100, 1)];

/// Idle connections: tacenda lets 512 in, and 256 of one address.
const CONNECTIONS: usize = 500;

/// Connections from each of 127.0.0.1, 127.0.0.2, and so on.
const PER_ADDRESS: usize = 125;

/// B11.
pub(crate) fn row(lab: &Lab, fleet: &Fleet) -> Result<Row, String> {
    let mut row = Row::new("B11", "many clients: source ports over UDP, idle connections over TCP");
    let kinds = [Kind::Tacenda, Kind::Unbound, Kind::Dnsdist, Kind::Kresd];
    let programs: Vec<&Program> = fleet
        .programs
        .iter()
        .filter(|program| kinds.contains(&program.kind))
        .collect();
    ports(lab, fleet, &programs, &mut row)?;
    let mut lines = Vec::new();
    let mut ours = Err("tacenda does not run".to_owned());
    for program in &programs {
        let outcome = idle(program);
        lines.push(match &outcome {
            Ok((each, open)) => vec![program.label.clone(), short(*each), open.to_string()],
            Err(why) => vec![program.label.clone(), "void".to_owned(), why.clone()],
        });
        if program.kind == Kind::Tacenda {
            ours = outcome;
        }
    }
    let title = format!("{CONNECTIONS} connections over TCP that have asked once");
    row.tables
        .push(Table::new(&title, &["program", "KiB/connection", "still open"], lines));
    match ours {
        Ok((each, open)) if open == CONNECTIONS => row.hold_value("memory of an idle connection", each, 4.0, "KiB"),
        Ok((_, open)) => {
            let why = format!("{open} of {CONNECTIONS} open");
            row.judge("memory of an idle connection", "<= 4 KiB", why.clone(), Met::Void(why));
        }
        Err(why) => row.judge(
            "memory of an idle connection",
            "<= 4 KiB",
            "-".to_owned(),
            Met::Void(why),
        ),
    }
    row.notes
        .push("10000 connections are beyond tacenda's limit of 512: measured with what it lets in".to_owned());
    Ok(row)
}

fn ports(lab: &Lab, fleet: &Fleet, programs: &[&Program], row: &mut Row) -> Result<(), String> {
    let time = Duration::from_millis(lab.options.size(150, 1000));
    let target = fleet.any_address()?;
    let mut outcomes = Vec::new();
    peers::pin_self(vec![SERVER_CORE])?;
    for (sockets, active, window) in CLIENTS {
        let load = Load {
            sockets,
            active,
            window,
            // The same rhythm for one port as for many: the ports alone are to differ.
            at_once: 1,
            ..Load::saturated(target, HOT, time)
        };
        let mut measured = rounds::interleave(fleet.floor.as_ref(), programs, lab.options.rounds(3), |program| {
            hit::cost(program, &load).map(|(cost, _)| vec![cost])
        });
        outcomes.push(measured.swap_remove(0));
    }
    peers::pin_self(peers::all_cores())?;
    for ((sockets, ..), outcome) in CLIENTS.iter().zip(&outcomes) {
        row.tables.push(Table::of_costs(
            &format!("CPU of the server, {sockets} source ports"),
            "us/query",
            outcome,
        ));
    }
    let [one, _, many] = &outcomes[..] else {
        return Err("nothing was measured".to_owned());
    };
    let growth = |kind: Kind| match (one.of(kind), many.of(kind)) {
        (Some(one), Some(many)) => median(&many.values) / median(&one.values),
        _ => f64::NAN,
    };
    match one.void.as_ref().or(many.void.as_ref()) {
        None => row.hold_value("CPU(10000 ports)/CPU(1 port)", growth(Kind::Tacenda), 1.10, "x"),
        Some(why) => row.judge(
            "CPU(10000 ports)/CPU(1 port)",
            "<= 1.10 x",
            short(growth(Kind::Tacenda)),
            Met::Void(why.clone()),
        ),
    }
    let of_floor = match (&one.floor, &many.floor) {
        (Some(one), Some(many)) => median(&many.values) / median(&one.values),
        _ => f64::NAN,
    };
    row.notes.push(format!(
        "CPU(10000 ports)/CPU(1 port) of the floor itself: {}",
        short(of_floor)
    ));
    Ok(())
}

/// KiB of the server's memory for each connection that is open and idle, and how many stayed open.
fn idle(program: &Program) -> Result<(f64, usize), String> {
    let before = cpu::resident(program.running.pid())?;
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let address = Ipv4Addr::new(
            127,
            0,
            0,
            u8::try_from(1 + number / PER_ADDRESS).expect("few addresses"),
        );
        let mut stream = connect(address, program.address).map_err(|error| format!("connection {number}: {error}"))?;
        ask(&mut stream, u64::try_from(number).expect("few"))
            .map_err(|error| format!("connection {number}: {error}"))?;
        open.push(stream);
    }
    let after = cpu::resident(program.running.pid())?;
    let still = open.iter().filter(|stream| is_open(stream)).count();
    Ok((after.saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64, still))
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket.into())
}

fn ask(stream: &mut TcpStream, number: u64) -> std::io::Result<()> {
    let mut framed = [0; 2 + wire::MAX_QUERY];
    let len = wire::write_query(&mut framed[2..], 1, HOT.prefix, number);
    framed[1] = u8::try_from(len).expect("our own queries are short");
    stream.write_all(&framed[..2 + len])?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut response)?;
    wire::check(&response, &framed[2..2 + len]).map_err(|wrong| std::io::Error::other(wrong.to_string()))
}

/// Whether the server has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    let mut one = [0];
    stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut one), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
