//! `tacenda leaktest`: canary names by every way a program could take, while every link is looked at. Whoever is there could have read what
//! was seen.

mod paths;
mod report;
pub(super) mod send;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;

use super::output::Output;
use super::progress::Progress;
use super::system::verify::{Asking, RESOLVED_STUB};
use super::terminal::need_root;
use super::{Exit, Failure};
use crate::os::dns::here;
use crate::os::dns::system::Picture;
use crate::os::guard::Guard;
use crate::os::link;
use paths::{Path, Surroundings, Way, paths};
use report::{Line, Report};
use send::{Canary, Fate, control_of, send};
use watch::{CABLE, Sighting, Watch};

#[derive(Args, Debug)]
#[command(after_help = "\
Sends random names that mean nothing (below verify.tacenda.test) by every way a program could take:
libc, systemd-resolved, the servers that networks handed out and the router over UDP and TCP, public
resolvers, sockets for one interface, multicast DNS, LLMNR, NetBIOS, DNS over TLS and QUIC, tacenda's
own way to its upstream (below example.com), and from a container if this host forwards for some. All
links are looked at meanwhile. What was seen on one in clear text could be read by whoever is there,
and the command says where it went.

Ends with 0 if nothing was seen, with 1 if something was, or if not even the control was. A way that
could not be tried is named, and proves nothing.

Examples:
  sudo tacenda leaktest
  sudo tacenda leaktest --json

JSON:
  {\"format\":1, \"leaks\":0, \"untried\":0, \"void\":null, \"packets\":120,
  \"paths\":[{\"path\",\"fate\",\"why\",\"seen\":[{\"link\",\"to\",\"form\"}]}]}")]
pub(super) struct LeaktestArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Where tacenda listens, on port 53
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen_at: IpAddr,
    /// The side in a network of its own
    #[arg(long, hide = true, requires = "label")]
    from_container: Option<SocketAddr>,
    /// The canary to send there
    #[arg(long, hide = true, requires = "from_container")]
    label: Option<String>,
}

pub(super) fn run(args: &LeaktestArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let (Some(server), Some(label)) = (args.from_container, &args.label) {
        output.write(format!("{}\n", send::READY))?;
        // Until the cable is there.
        let mut input = Vec::new();
        std::io::stdin().take(MAX_INPUT).read_to_end(&mut input)?;
        output.write(runtime.block_on(send::in_container(server, label)))?;
        return Ok(Exit::Done);
    }
    need_root("leaktest")?;
    let paths = paths(&surroundings()?);
    let run = fresh_label();
    let asking = Asking::new()?;
    let canaries: Vec<_> = (0..paths.len())
        .map(|number| {
            let label = format!("{run}{number:02x}");
            let known = asking.known(args.listen_at, &label).unwrap_or_default();
            Canary { label, known }
        })
        .collect();
    let watch = Watch::begin()?;
    let fates = {
        let progress = Progress::begin("sending canaries by every way");
        runtime.block_on(all(&paths, &canaries, args.listen_at, &progress))
    };
    let (sightings, packets) = watch.end(&run)?;
    let seen = |label: &str| {
        sightings
            .iter()
            .filter(|seen| seen.label == label)
            .cloned()
            .collect::<Vec<_>>()
    };
    let lines = paths
        .into_iter()
        .zip(fates)
        .zip(&canaries)
        .map(|((path, fate), canary)| {
            let is_mute = matches!(path.way, Way::Container(_)) && seen(&control_of(&canary.label)).is_empty();
            Line {
                seen: seen(&canary.label),
                is_control: matches!(path.way, Way::Control(_)),
                what: path.what,
                fate: if is_mute { Fate::Untried(MUTE.to_owned()) } else { fate },
            }
        });
    let report = Report {
        lines: lines.collect(),
        has_stub: canaries.iter().all(|canary| !canary.known.is_empty()),
        is_guarded: Guard::new()?.look().is_ok_and(|there| there.is_some()),
        packets,
    };
    if args.json {
        output.write_json(&report.to_json())?;
    } else {
        output.write(report.to_text())?;
    }
    Ok(if report.is_clean() { Exit::Done } else { Exit::Failed })
}

/// All at once: what takes long is silence.
async fn all(paths: &[Path], canaries: &[Canary], listen: IpAddr, progress: &Progress) -> Vec<Fate> {
    let mut tasks = Vec::new();
    for (path, canary) in paths.iter().zip(canaries) {
        let (way, canary) = (path.way.clone(), canary.clone());
        tasks.push(tokio::spawn(async move { send(&way, &canary, listen).await }));
    }
    let mut fates = Vec::new();
    for (number, task) in (1..).zip(tasks) {
        let panicked = |error: tokio::task::JoinError| Fate::Untried(error.to_string());
        fates.push(task.await.unwrap_or_else(panicked));
        progress.say(&format!("sending canaries: {number} of {} ways are done", paths.len()));
    }
    fates
}

fn surroundings() -> Result<Surroundings, Failure> {
    let machine = here()?;
    let facts = machine.facts();
    let is_one = |(link, ip): &(String, IpAddr)| !ip.is_loopback() && !link.starts_with(CABLE);
    let links = link::addresses()?.into_iter().filter(is_one);
    let is_on = |path| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    Ok(Surroundings {
        links: links.collect(),
        routers: link::routers(),
        handed_out: machine.servers_of_others().unwrap_or_default(),
        named: facts.servers(),
        runs_resolved: facts.has_resolved() && std::net::TcpStream::connect((RESOLVED_STUB, 53)).is_ok(),
        forwards: FORWARDING.into_iter().any(is_on),
    })
}

/// Whether this host is a router, by family.
const FORWARDING: [&str; 2] = [
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
];

/// Ten letters that nobody has seen before. Twelve with the path's number: a NetBIOS name has fifteen.
pub(super) fn fresh_label() -> String {
    format!("{:010x}", RandomState::new().hash_one(0) & 0xff_ffff_ffff)
}

const MUTE: &str = "no packet of this container leaves the host: a firewall of others shuts it in";

/// "go".
const MAX_INPUT: u64 = 16;
