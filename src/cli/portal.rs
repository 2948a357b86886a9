//! `tacenda portal`: a hotel's sign-in page, reached through a window that a person opens for some names and some minutes.

mod api;
mod choice;
mod sign_in;
mod status;

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::Output;
use super::query::local_server;
use super::stats::portal::{self as figures, Figures};
use super::terminal::{confirmed, need_root, time_of};
use super::{Exit, Failure, guard};
use crate::app::portal::reply::host_of;
use crate::config::units::TimeSpan;
use crate::config::{Flags, load};
use crate::os::clock::since_start;
use crate::os::dns::handed_out::Source;
use crate::os::guard::window::{LONGEST, Link, MAX_NAMES, Store, Window};
use crate::os::guard::wish::Moment;
use crate::os::link::identity;
use crate::os::process::is_root;
use crate::os::socket::Interface;
use crate::wire::domains::canonical;
use choice::{Choice, Network};
use status::{Status, listed, servers};

#[derive(Debug, Subcommand)]
pub(super) enum PortalCommand {
    /// Allow the page's names to be asked of this network's resolver, for some minutes
    Open(OpenArgs),
    /// End that now, and say what was sent
    Close(CloseArgs),
    /// Say whether there is a sign-in page, and what was sent for it
    Status(StatusArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Where a hotel lets nobody through before he has signed in, no upstream can be reached, and the page
for that has a name that only the hotel's resolver may know. In a window, the names that you allow,
and no other ones, not even those below them, are asked of that resolver in clear text, by that
network's interface. The hotel sees them, and no other name.

It ends after its time (5m, at most 1h) though tacenda is dead: the leak guard's rules let nothing
out any more. Before that with `portal close`, a change of the network, or the first answer of an
upstream. `portal status` says how often each name was sent.

Where the network tells of an API for its page (RFC 8910, 8908), its name is among those, and root
asks it in the window, over TLS, at an address that the network chooses. If it names another host
for the page, you are asked about that name too.

--yes is consent to the page's name as it was found, and to those of --name: to no other that the
network tells of, and to no API whose name is not among these.

Examples:
  sudo tacenda portal open
  sudo tacenda portal open --for 10m --name cdn.hotel.example
  sudo tacenda portal open --name login.hotel.example --server 192.168.1.1 --interface wlan0")]
pub(super) struct OpenArgs {
    /// Close it after this time (30s, 10m), at most 1h
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = read_time)]
    time: Duration,
    /// Allow this name too; again for more
    #[arg(long = "name", value_name = "NAME", value_parser = read_name)]
    names: Vec<String>,
    /// The network's resolver, if what its DHCP said is not known or not right
    #[arg(long, value_name = "IP")]
    server: Option<IpAddr>,
    /// The interface to that network
    #[arg(long, value_name = "NAME", value_parser = read_interface)]
    interface: Option<Interface>,
    /// Read this file instead of /etc/tacenda/tacenda.toml, for the address of the stats endpoint
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not ask on the terminal: this is my consent
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sudo tacenda portal close")]
pub(super) struct CloseArgs {
    /// Read this file instead of /etc/tacenda/tacenda.toml, for the address of the stats endpoint
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
JSON:
  {\"format\":1, \"state\":\"ok\" | \"suspect\" | \"portal\" | \"window\", \"host\":\"login.hotel.example\",
  \"probe\":\"open\" | \"page\" | \"silent\", \"window\":{\"interface\":\"wlan0\", \"servers\":[\"192.168.1.1\"],
  \"seconds_left\":280, \"open\":true, \"closed\":null, \"names\":[{\"name\":\"login.hotel.example\", \"sent\":2}]},
  \"network\":{\"interface\":\"wlan0\", \"servers\":[\"192.168.1.1\"], \"by\":\"NetworkManager\", \"urls\":[\"https://...\"]}};
  null for what is not known; of the network, root is told")]
pub(super) struct StatusArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Read this file instead of /etc/tacenda/tacenda.toml, for the address of the stats endpoint
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(command: &PortalCommand, mut output: Output<'_>) -> Result<Exit, Failure> {
    match command {
        PortalCommand::Open(args) => open(args, output),
        PortalCommand::Close(args) => close(args, output),
        PortalCommand::Status(args) => {
            let mut status = look(ask(args.config.as_deref())?.figures)?;
            // Others may not read what there is to read.
            if is_root() {
                status.network = Some(Network::of_this_host(None, None));
            }
            if args.json {
                output.write_json(&status.to_json())?;
            } else {
                output.write(status.to_text())?;
            }
            Ok(Exit::Done)
        }
    }
}

fn open(args: &OpenArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("portal open")?;
    let here = ask(args.config.as_deref())?;
    let figures = here.figures.as_ref();
    let network = Network::of_this_host(args.server, args.interface.as_ref());
    let names = names(args, figures, &network.urls);
    if args.names.is_empty() && figures.is_some_and(|figures| figures.state == "ok") {
        let failure = Failure::new(Exit::Failed, "nothing was changed: nothing is in the way of upstreams");
        return Err(failure.with_help("the first answer of one would close the window; see `tacenda portal status`"));
    }
    if names.is_empty() {
        return nothing_to_allow(figures, &network.urls, output);
    }
    let choice = network.choice?;
    consent(args, &names, &choice, figures)?;
    let servers = choice.servers.iter();
    let window = Window::new(
        link(&choice.interface)?,
        servers.map(|server| SocketAddr::new(*server, DNS_PORT)).collect(),
        names,
        &Moment::now()?,
        args.time,
    );
    let store = Store::of_this_host();
    store.save(&window).map_err(not_written)?;
    let_out(&store)?;
    let told = sign_in::told(&here, &network.urls, &window, &choice.interface, args.yes)?;
    if let Some(name) = told.as_ref().and_then(|told| told.name_beside(&window.names))
        && sign_in::is_agreed(args.yes, &name)?
    {
        here.add_name(&store, &window, name)?;
    }
    let status = wait(here.stats, Status::is_taken_up)?;
    output.write(status.to_text())?;
    if let Some(told) = told {
        output.write(told.to_text(&status.names()))?;
    }
    Ok(if status.is_taken_up() {
        Exit::Done
    } else {
        Exit::Unavailable
    })
}

/// Has the kernel let out what is allowed; else nothing is.
fn let_out(store: &Store) -> Result<(), Failure> {
    if let Err(failure) = guard::window_changed() {
        store.remove().map_err(not_written)?;
        return Err(failure);
    }
    Ok(())
}

/// The page's own name, and those that its user adds. By `--yes`, no other that the network tells of: nobody has seen those.
fn names(args: &OpenArgs, figures: Option<&Figures>, urls: &[String]) -> Vec<String> {
    // A name of one label is somebody's at home: a person has to see it.
    let found = figures.and_then(Figures::host_name);
    let found = found.filter(|name| !args.yes || name.contains('.'));
    // Whoever hands out where it tells of a page (RFC 8910) means this one.
    let hosts: Vec<_> = urls
        .iter()
        .filter(|_| !args.yes)
        .filter_map(|url| told_name(url))
        .collect();
    let all = args.names.iter().map(String::as_str).chain(found);
    let mut names: Vec<String> = all.filter_map(|name| read_name(name).ok()).chain(hosts).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(MAX_NAMES);
    names
}

/// The name in a URL of the network's, if it can be one of the network's own: a name of one label is somebody's at home.
fn told_name(url: &str) -> Option<String> {
    let host = host_of(url).filter(|host| host.contains('.') && host.parse::<IpAddr>().is_err())?;
    read_name(&host).ok()
}

fn nothing_to_allow(figures: Option<&Figures>, urls: &[String], mut output: Output<'_>) -> Result<Exit, Failure> {
    if let Some(address) = figures.and_then(|figures| figures.host.as_deref()) {
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        output.write(format!("sign in at http://{host}/: nobody has to be asked for it\n"))?;
        return Ok(Exit::Done);
    }
    let failure = Failure::new(
        Exit::Failed,
        "nothing was changed: no sign-in page was found whose name could be allowed",
    );
    let told = urls.iter().find_map(|url| Some((url, told_name(url)?)));
    Err(failure.with_help(told.map_or_else(
        || "if you know its name: --name login.hotel.example; see `tacenda portal status`".to_owned(),
        |(url, name)| format!("this network tells of one at {url}: --name {name}, or without --yes"),
    )))
}

/// A person says yes: on the terminal, or by the flag.
fn consent(args: &OpenArgs, names: &[String], choice: &Choice, figures: Option<&Figures>) -> Result<(), Failure> {
    if args.yes {
        return match choice.by {
            Some(Source::Router) => Err(
                not_agreed("this network's resolver is not known, and the router is a guess")
                    .with_help("--server and --interface say where it is"),
            ),
            Some(_) if !choice.is_near(args.interface.is_some()) => Err(not_agreed(
                "what is known as this network's resolver is behind its router, or in another network of this host's",
            )
            .with_help("--server and --interface say where it is")),
            _ => Ok(()),
        };
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(not_agreed("there is no terminal to ask on").with_help("--yes says yes"));
    }
    let asks = figures
        .and_then(Figures::host_name)
        .map(|host| format!("This network asks you to sign in at {host}."));
    let lines = [
        format!(
            "Allow look-ups of these names through {} ({}) for {}?",
            listed(choice.servers.iter().copied()),
            choice.interface,
            TimeSpan(args.time)
        ),
        format!("  {}", names.join("\n  ")),
        "They are asked in clear text: everybody on the way there sees them, and no other name.".to_owned(),
    ];
    let by = choice
        .by
        .map(|by| format!("Who says that this is its resolver: {}.", by.words()));
    if confirmed(asks.into_iter().chain(lines).chain(by))? {
        return Ok(());
    }
    Err(not_agreed("not confirmed"))
}

fn not_agreed(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("nothing was changed: {why}"))
}

fn link(interface: &Interface) -> Result<Link, Failure> {
    match identity(interface)? {
        Some((index, addresses)) if !addresses.is_empty() => Ok(Link {
            interface: interface.name().to_owned(),
            index,
            addresses,
        }),
        _ => Err(not_agreed(&format!(
            "{interface} is not there, not up, or has no address"
        ))),
    }
}

fn close(args: &CloseArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("portal close")?;
    let store = Store::of_this_host();
    let consent = store.load().ok().flatten();
    if !store.remove().map_err(not_written)? {
        output.write("no window was open\n")?;
        return Ok(Exit::Done);
    }
    let kernel = guard::window_changed();
    let stats = ask(args.config.as_deref())?.stats;
    let mut last = wait(stats, |status| status.is_given_up())?;
    let word = if last.is_given_up() {
        "closed"
    } else {
        "taken back, which no tacenda confirms"
    };
    last.consent = consent;
    output.write(match &last.consent {
        Some(consent) => format!(
            "{word}; asked of {} ({}):\n{}",
            servers(consent),
            consent.interface,
            last.list()
        ),
        None => format!("{word}\n"),
    })?;
    kernel.map(|_| Exit::Done)
}

/// Looks until it is so, or for a while: then it says itself what is not.
fn wait(stats: Option<SocketAddr>, is_so: impl Fn(&Status) -> bool) -> Result<Status, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for _ in 0..LOOKS {
        let status = look(stats.and_then(|address| figures::read(address).ok()))?;
        if is_so(&status) || status.figures.is_none() {
            return Ok(status);
        }
        runtime.block_on(async { tokio::time::sleep(LOOK_INTERVAL).await });
    }
    look(stats.and_then(|address| figures::read(address).ok()))
}

/// The tacenda of this host.
struct Here {
    /// Where it answers questions.
    server: Result<SocketAddr, Failure>,
    /// Where it was asked for its figures.
    stats: Option<SocketAddr>,
    /// What it says.
    figures: Option<Figures>,
}

impl Here {
    /// Where a window is open still, it is open for this name too.
    fn add_name(&self, store: &Store, window: &Window, name: String) -> Result<(), Failure> {
        let is_open = look(self.stats.and_then(|stats| figures::read(stats).ok()))?.is_open();
        if is_open && store.add_name(window, name).map_err(not_written)? {
            return let_out(store);
        }
        sign_in::is_late();
        Ok(())
    }
}

fn ask(config: Option<&Path>) -> Result<Here, Failure> {
    let config = load(config, &Flags::default())?.config;
    Ok(Here {
        server: local_server(&config),
        stats: config.stats,
        figures: config.stats.and_then(|address| figures::read(address).ok()),
    })
}

fn look(figures: Option<Figures>) -> Result<Status, Failure> {
    let consent = Store::of_this_host().load();
    let consent = consent.map_err(|error| Failure::new(Exit::Io, format!("the last window: {error}")))?;
    Ok(Status {
        left: consent
            .as_ref()
            .map_or(Duration::ZERO, |consent| consent.left(since_start())),
        figures,
        consent,
        network: None,
    })
}

fn not_written(error: std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("what is allowed cannot be written down: {error}"))
}

fn read_time(text: &str) -> Result<Duration, String> {
    time_of(SHORTEST..=LONGEST, text)
}

fn read_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let first = name.split('.').next().unwrap_or_default();
    if ["wpad", "isatap"].contains(&first) {
        return Err(format!("whoever answers for {first} leads the whole host's traffic"));
    }
    if canonical(&name).is_some() && name.bytes().all(is_plain) {
        return Ok(name);
    }
    Err("not a host name, such as login.hotel.example".to_owned())
}

fn read_interface(text: &str) -> Result<Interface, String> {
    text.parse()
        .map_err(|error: crate::os::socket::InterfaceError| error.to_string())
}

const DNS_PORT: u16 = 53;

const SHORTEST: Duration = Duration::from_secs(1);

/// The daemon is told at once; a busy machine takes its time: five seconds together.
const LOOKS: u32 = 50;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
