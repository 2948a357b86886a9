//! `tacenda guard`: questions in clear text leave this host for nobody, whoever asks them.

mod facts;
pub(super) mod led;
pub(super) mod status;
mod watch;
mod ways;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::keeper;
use super::output::Output;
use super::system::verify::Asking;
use super::terminal::{confirmed, need_root, time_of};
use super::{Exit, Failure};
use crate::os::guard::report::Report;
use crate::os::guard::ruleset::{Mode, Ruleset, ruleset};
use crate::os::guard::window;
use crate::os::guard::wish::{Moment, Store, Until, Wish};
use crate::os::guard::{Error, Guard};
use facts::Gathered;

#[derive(Debug, Subcommand)]
pub(super) enum GuardCommand {
    /// Refuse questions in clear text to anybody but tacenda, or lead them here
    On(OnArgs),
    /// Let them out again
    Off(OffArgs),
    /// Say whether it holds, and what it has held back
    Status(StatusArgs),
    /// Keep it: put it in force again whoever takes it away; for the service, as root
    Watch(WatchArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Packet rules in the kernel (nftables, table `inet tacenda`) for DNS (port 53), DNS over TLS (853),
multicast DNS (5353), LLMNR (5355) and NetBIOS (137, 138), over UDP and TCP, IPv4 and IPv6, of this
host and of what it forwards (containers, virtual machines). They hold while tacenda is stopped or
killed; where the kernel can (6.9 and later) `nft flush ruleset` of others passes them by. What
tacenda itself may do is in [guard] and [[route]] of the configuration, and nothing else.

It is on after a restart of the machine too, before the network is (tacenda-guard.service).

Examples:
  sudo tacenda guard on
  sudo tacenda guard on --for 5m        a trial: as before after it, or after a restart
  sudo tacenda guard on --mode reject")]
pub(super) struct OnArgs {
    /// redirect: tacenda answers what others are asked; reject: it is refused; as configured if left out
    #[arg(long, value_name = "MODE", value_parser = read_mode)]
    mode: Option<Mode>,
    /// As before by itself after this time (5m, 1h), or when the machine is started anew
    #[arg(long = "for", value_name = "TIME", value_parser = read_time)]
    time: Option<Duration>,
    /// Read this file instead of /etc/tacenda/tacenda.toml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Even if tacenda does not answer, or reaches no upstream
    #[arg(long)]
    offline: bool,
    /// Do not ask on the terminal before anything is changed
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sudo tacenda guard off
  sudo tacenda guard off --for 10m      on again after it, or after a restart")]
pub(super) struct OffArgs {
    /// On again by itself after this time (5m, 1h), or when the machine is started anew
    #[arg(long = "for", value_name = "TIME", value_parser = read_time)]
    time: Option<Duration>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Ends with 0 if the guard is as it is wanted, else with 1. Root sees the rules themselves, others
what tacenda-guard.service says of them.

JSON:
  {\"format\":1, \"on\":true, \"wanted\":true, \"mode\":\"redirect\", \"held\":true, \"kept\":true,
  \"seconds_left\":null, \"redirected\":12, \"rejected\":3, \"repaired\":0, \"problem\":null}; null for what is
  not known")]
pub(super) struct StatusArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Does nothing until `tacenda guard on`. When this ends, the rules stay as they are.

Examples:
  sudo tacenda guard watch")]
pub(super) struct WatchArgs {
    /// Do not hold the rules, as on a kernel before 6.9: whatever others do to them is put right at once
    #[arg(long)]
    loose: bool,
}

pub(super) fn run(command: &GuardCommand, output: Output<'_>) -> Result<Exit, Failure> {
    match command {
        GuardCommand::On(args) => on(args, output),
        GuardCommand::Off(args) => off(args, output),
        GuardCommand::Status(args) => status::run(args.json, output),
        GuardCommand::Watch(WatchArgs { loose }) => {
            need_root("guard watch")?;
            watch::run(if *loose { Guard::loose()? } else { Guard::new()? })
        }
    }
}

fn on(args: &OnArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("guard on")?;
    let store = Store::of_this_host();
    let before = wanted(&store)?;
    let until = until(args.time, &store)?;
    let config = args.config.as_deref().map(std::path::absolute).transpose()?;
    let wish = for_a_time(Wish::new(true, args.mode, config), until, &before);
    let gathered = facts::of_this_host(&wish)?;
    let asking = Asking::new()?;
    if !args.offline {
        asking_works(&asking, &gathered)?;
    }
    let notes = gathered.notes.iter().map(|note| format!("Note: {note}"));
    let plan = std::iter::once(what(&gathered).to_owned()).chain(notes);
    if !args.yes && !confirmed(plan)? {
        return Err(Failure::new(Exit::Failed, "nothing was changed: not confirmed"));
    }
    // First, so that a restart in between finds it.
    store.save(&wish).map_err(not_written)?;
    if let Err(failure) = in_force(&mut Guard::new()?, &store, &ruleset(&gathered.facts)) {
        store.save(&before).map_err(not_written)?;
        return Err(failure);
    }
    output.write(format!("on: {}\n", what(&gathered)))?;
    for note in &gathered.notes {
        output.write(format!("note: {note}\n"))?;
    }
    if gathered.facts.mode == Mode::Redirect
        && let Some(note) = gathered.asked_at.and_then(|listen| led::shortfall(listen, &asking))
    {
        output.write(format!("note: {note}\n"))?;
    }
    if !store.is_kept() {
        output.write(NOBODY_KEEPS_IT)?;
    }
    Ok(Exit::Done)
}

/// What is wanted now. What cannot be read is written anew.
fn wanted(store: &Store) -> Result<Wish, Failure> {
    let now = Moment::now()?;
    let wish = store.load().ok().flatten().map(|wish| wish.at(&now));
    Ok(wish.unwrap_or_else(|| Wish::new(false, None, None)))
}

/// Has whoever keeps the guard see to it, or does it here.
fn in_force(guard: &mut Guard, store: &Store, rules: &Ruleset) -> Result<(), Failure> {
    if !store.is_kept() {
        let window = ways::window(&window::Store::of_this_host());
        return guard.put(rules, &ways::ways(window.as_ref())).map_err(Failure::from);
    }
    kept_as(guard, |guard| {
        Ok(guard.look()?.and_then(|there| there.mark) == Some(rules.mark.clone()))
    })?;
    wait_for_report(true);
    Ok(())
}

fn wait_for_report(is_on: bool) {
    keeper::wait_until(Report::read, |report| report.mode.is_some() == is_on);
}

/// Waits until it is so.
fn kept_as(guard: &Guard, is_so: impl Fn(&Guard) -> Result<bool, Error>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for _ in 0..LOOKS {
        if is_so(guard)? {
            return Ok(());
        }
        runtime.block_on(async { tokio::time::sleep(LOOK_INTERVAL).await });
    }
    let problem = Report::read().ok().flatten().and_then(|report| report.problem);
    let why = problem.unwrap_or_else(|| "it does not say why".to_owned());
    let failure = Failure::new(
        Exit::Failed,
        format!("what keeps the guard did not do it in time: {why}"),
    );
    Err(failure.with_help("journalctl -u tacenda-guard"))
}

fn off(args: &OffArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("guard off")?;
    let store = Store::of_this_host();
    let before = wanted(&store)?;
    if args.time.is_some() && !before.is_on {
        output.write("it is off, and stays off\n")?;
        return Ok(Exit::Done);
    }
    let until = until(args.time, &store)?;
    let is_timed = until.is_some();
    let wish = Wish::new(false, before.mode, before.config.clone());
    let wish = for_a_time(wish, until, &before);
    store.save(&wish).map_err(not_written)?;
    output.write(match (take_away(&store)?, is_timed) {
        (true, false) => "off: questions in clear text leave this host again\n",
        (true, true) => "off for a time: questions in clear text leave this host until then\n",
        (false, _) => "it was off\n",
    })?;
    Ok(Exit::Done)
}

/// Takes the rules away, by whoever keeps them; false if there were none.
fn take_away(store: &Store) -> Result<bool, Failure> {
    let mut guard = Guard::new()?;
    if !store.is_kept() {
        return Ok(guard.lift()?);
    }
    let was_on = guard.look()?.is_some();
    kept_as(&guard, |guard| Ok(guard.look()?.is_none()))?;
    wait_for_report(false);
    Ok(was_on)
}

/// For whoever takes tacenda away: off for good, without anybody who keeps it. Gives back what was wanted before, for [`want_again`].
///
/// Where it was not wanted and packet rules cannot be looked at (no nft, a container), there are none of ours.
pub(super) fn give_back(output: &mut Output<'_>) -> Result<Option<Wish>, Failure> {
    let store = Store::of_this_host();
    let off = Wish::new(false, None, None);
    let before = match store.load() {
        Ok(wish) => wish.filter(|wish| wish.is_on),
        // Somebody wanted something.
        Err(_) => Some(Wish::new(true, None, None)),
    };
    let Some(before) = before else {
        if store.folder().exists() && Guard::can_be() {
            // It may be off for a time only.
            let _ = store.save(&off);
            let _ = take_away(&store);
        }
        return Ok(None);
    };
    store.save(&off).map_err(not_written)?;
    match take_away(&store) {
        Ok(true) => output.write("the leak guard is off\n")?,
        Ok(false) => {}
        Err(failure) => {
            want_again(Some(before));
            return Err(failure);
        }
    }
    Ok(Some(before))
}

/// The rest could not be given back, and everything is to go on: whoever keeps the guard puts it in force again.
pub(super) fn want_again(before: Option<Wish>) {
    if let Some(wish) = before {
        // Nothing more can be done about it; what failed is said.
        let _ = Store::of_this_host().save(&wish);
    }
}

/// Has the kernel let a window's packets out, or no more, if nobody keeps the guard who would do it. Says whether the guard is on.
pub(super) fn window_changed() -> Result<bool, Failure> {
    let mut guard = Guard::new()?;
    let is_on = match guard.look() {
        Ok(there) => there.is_some(),
        // In a container, say: the host's rules are not ours to see, nor to open.
        Err(Error::Permission(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if is_on && !Store::of_this_host().is_kept() {
        let window = ways::window(&window::Store::of_this_host());
        guard.open(&ways::ways(window.as_ref()))?;
    }
    Ok(is_on)
}

fn for_a_time(wish: Wish, until: Option<Until>, before: &Wish) -> Wish {
    match until {
        Some(until) => wish.until(until, before.clone()),
        None => wish,
    }
}

fn until(time: Option<Duration>, store: &Store) -> Result<Option<Until>, Failure> {
    let Some(time) = time else { return Ok(None) };
    if !store.is_kept() {
        let failure = Failure::new(
            Exit::Unavailable,
            "nothing was changed: nobody would end it after that time",
        );
        return Err(
            failure.with_help("`sudo tacenda service install`, or `sudo tacenda guard watch` in another terminal")
        );
    }
    Ok(Some(Until::after(&Moment::now()?, time)))
}

/// Refused questions are of no use to anybody unless they can be asked here.
fn asking_works(asking: &Asking, gathered: &Gathered) -> Result<(), Failure> {
    let Some(listen) = gathered.asked_at else {
        let failure = Failure::new(
            Exit::Unavailable,
            "nothing was changed: tacenda does not listen on port 53 of this host",
        );
        return Err(failure.with_help("see `listen` in the configuration; --offline puts it in force all the same"));
    };
    let failed = |why: String| {
        Failure::new(Exit::Unavailable, format!("nothing was changed: {why}")).with_help(
            "every name would fail; `tacenda status` and `tacenda doctor` say why; or put it in force all the same with --offline",
        )
    };
    asking.is_tacenda(listen).map_err(failed)?;
    asking.reaches_upstream(listen).map_err(failed)
}

fn what(gathered: &Gathered) -> &'static str {
    match gathered.facts.mode {
        Mode::Redirect => "DNS to other servers is answered by tacenda, and what cannot be led to it is refused",
        Mode::Reject => "DNS to other servers is refused",
    }
}

fn not_written(error: std::io::Error) -> Failure {
    Failure::new(
        Exit::Io,
        format!("nothing was changed: what is wanted cannot be written down: {error}"),
    )
}

fn read_mode(text: &str) -> Result<Mode, String> {
    let modes = [Mode::Redirect, Mode::Reject];
    let found = modes.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| "write redirect or reject".to_owned())
}

fn read_time(text: &str) -> Result<Duration, String> {
    time_of(SHORTEST..=LONGEST, text)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Permission(_) => {
                Self::new(Exit::Permission, message).with_help("use sudo; in a container, it is the host's business")
            }
            Error::Held => Self::new(Exit::Failed, message)
                .with_help("`nft list table inet tacenda` says which program; stop that one first"),
            Error::Failed(_) => {
                Self::new(Exit::Failed, message).with_help("is nftables installed? `apt install nftables`")
            }
        }
    }
}

/// Whoever keeps the guard is woken at once; a busy machine takes its time: ten seconds together.
const LOOKS: u32 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

const NOBODY_KEEPS_IT: &str = "note: nobody keeps it: it is gone after a restart of the machine, or when others flush their rules; \
`sudo tacenda service install` brings tacenda-guard.service\n";
