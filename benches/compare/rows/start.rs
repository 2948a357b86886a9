//! B10: from exec to the first answer that came from the upstream, over a way of 40 ms; and the memory of a server that does nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::configs::{Address, CacheSize, Setting, Transport};
use crate::lab::Lab;
use crate::path::{self, Path};
use crate::peers::{Kind, Place, Program};
use crate::report::{Row, Table, short};
use crate::rounds::{bounds, median};
use crate::source::{Doors, Source};
use crate::{clock, cpu, sys, wire};

/// The way to the upstream and back.
pub(crate) const RTT: Duration = Duration::from_millis(40);

/// TCP's handshake, TLS's, the query: nobody can be faster with a cold connection.
const ROUND_TRIPS: u32 = 3;

/// What may come on top.
const OVERHEAD_MS: f64 = 10.0;

/// How often the query is asked until it is answered.
const STEP: Duration = Duration::from_millis(1);

/// How long a start is waited for.
const PATIENCE: Duration = Duration::from_secs(8);

/// B10.
pub(crate) fn row(lab: &Lab) -> Result<Row, String> {
    let mut row = Row::new("B10", "from exec to the first forwarded answer; memory when idle");
    let path = Path::new(RTT);
    let near = path.as_ref().ok();
    let (ip, rtt) = near.map_or((IpAddr::V4(Ipv4Addr::LOCALHOST), Duration::ZERO), |_| (path::FAR, RTT));
    let doors = match near {
        Some(path) => path.far.inside(|| Doors::open(ip, 0, 0))?,
        None => Doors::open(ip, 0, 0)?,
    };
    let source = Source::start(doors, false)?;
    let mut kinds = vec![(Kind::LimitRelay, Transport::Dot)];
    kinds.extend([(Kind::Tacenda, Transport::Dot), (Kind::Tacenda, Transport::Doh)]);
    kinds.extend(lab.chosen(&Kind::PEERS, Transport::Dot));
    kinds.extend(lab.chosen(&[Kind::Dnsdist], Transport::Doh));
    let mut lines = Vec::new();
    let floor = rtt.as_secs_f64() * 1000.0 * f64::from(ROUND_TRIPS);
    for (kind, transport) in kinds {
        let outcome = measure(lab, kind, transport, source.address, near);
        let name = if transport == Transport::Doh { "DoH" } else { "DoT" };
        lines.push(match outcome {
            Ok((times, resident)) => {
                let (middle, (low, high)) = (median(&times), bounds(&times));
                if kind == Kind::Tacenda {
                    row.hold_value(&format!("first answer, {name}"), middle, floor + OVERHEAD_MS, "ms");
                    row.hold_value(&format!("memory when idle, {name}"), resident, 8.0, "MiB");
                }
                vec![
                    format!("{kind} {name}"),
                    short(middle),
                    short(low),
                    short(high),
                    short(middle - floor),
                    short(resident),
                ]
            }
            Err(why) => vec![format!("{kind} {name}"), why],
        });
    }
    let title = match &path {
        Ok(_) => format!("over a way of {} ms", RTT.as_millis()),
        Err(why) => format!("over loopback, RTT 0 ({why})"),
    };
    let columns = ["program", "ms", "min", "max", "above 3 RTT", "MiB idle"];
    row.tables.push(Table::new(&title, &columns, lines));
    Ok(row)
}

/// The times of some starts, and memory after the last.
fn measure(
    lab: &Lab,
    kind: Kind,
    transport: Transport,
    upstream: Address,
    path: Option<&Path>,
) -> Result<(Vec<f64>, f64), String> {
    let namespace = path.map(|path| &path.near);
    let mut times = Vec::new();
    let mut resident = f64::NAN;
    for _ in 0..lab.options.rounds(3) {
        let setting: Setting = lab.setting(upstream, transport, CacheSize::Small(64))?;
        let socket = match namespace {
            Some(namespace) => namespace.inside(|| asking(setting.listen))?,
            None => asking(setting.listen)?,
        };
        let mut program = Program::start(kind, &setting, Place { core: None, namespace }, &lab.options)?;
        let answered = clock::until(PATIENCE, Duration::ZERO, || {
            let ended = program.running.ended().map(Err);
            ended.or_else(|| ask(&socket).then(|| Ok(program.running.begun.elapsed())))
        });
        let time = answered.ok_or("no answer")??;
        times.push(time.as_secs_f64() * 1000.0);
        resident = cpu::resident(program.running.pid())? as f64 / 1_048_576.0;
    }
    Ok((times, resident))
}

/// Connected, so that a refusal is heard of; and not waiting, because a socket's own time-outs are as coarse as the kernel's ticks.
fn asking(target: SocketAddr) -> Result<UdpSocket, String> {
    let open = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|error: std::io::Error| error.to_string())
}

/// Asks the one name, and looks at whatever answers come within a step.
fn ask(socket: &UdpSocket) -> bool {
    let mut query = [0; wire::MAX_QUERY];
    let len = wire::write_query(&mut query, 9, b's', 1);
    let end = clock::now() + STEP;
    // Refused until it listens.
    let _ = socket.send(&query[..len]);
    loop {
        let left = end.saturating_duration_since(clock::now());
        let mut response = [0; 1500];
        match socket.recv(&mut response) {
            Ok(got) if wire::check(&response[..got], &query[..len]).is_ok() => return true,
            Ok(_) => {}
            // A refusal comes at once: not faster than a step.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                clock::rest(left);
                return false;
            }
            Err(_) if left.is_zero() => return false,
            Err(_) => {
                if sys::wait_readable([socket.as_fd()], Some(left)).is_err() {
                    return false;
                }
            }
        }
    }
}
