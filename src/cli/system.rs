//! `tacenda system`: this host's programs ask tacenda, and everything is given back as it was.

mod confirm;
mod fight;
mod offers;
pub(super) mod status;
pub(super) mod verify;
mod watch;

use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Subcommand};

use super::keeper;
use super::output::Output;
use super::progress::Progress;
use super::terminal::{confirmed, need_root};
use super::{Exit, Failure};
use crate::config::units::TimeSpan;
use crate::os::dns::system::{Outline, Picture};
use crate::os::dns::{Error, here};
use crate::os::guard;
use crate::os::process::as_root;
use crate::os::report::system::Report;
use confirm::{Confirmation, read_patience};
use verify::Asking;

#[derive(Debug, Subcommand)]
pub(super) enum SystemCommand {
    /// Have every program on this host ask tacenda, and nobody else
    Set(SetArgs),
    /// Put back what was there before; needs neither tacenda running nor the network
    Restore(RestoreArgs),
    /// Say who is asked on this host, and by which way
    Status(StatusArgs),
    /// Keep it set: what another program changes is set again; for the service, as root
    Watch(WatchArgs),
    /// Ask for an address as programs do, through libc
    #[command(hide = true)]
    AskLibc(AskLibcArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Set is refused unless tacenda answers there over UDP and TCP and reaches an upstream. Afterwards it
tries whether names asked through libc, and through 127.0.0.53, arrive at this tacenda; if they do
not, everything is put back by itself. What stood there before is written down first, where only
root may write (Linux: /var/lib/tacenda-system/journal.json): whatever happens, `tacenda system
restore` puts it back. Set it again whenever `status` says that something else changed it.

With --confirm, for a machine that is reached over the network: if nobody presses Enter in time, if
the session ends, or the program is killed, everything is put back (if it is killed, by the service
or by the next `system restore`). `y` and Enter, also from a pipe, say yes; anything else says no.

Examples:
  sudo tacenda system set
  sudo tacenda system set --confirm=60s
  sudo tacenda system set --offline --yes
  sudo tacenda system set --if-set --offline --yes")]
pub(super) struct SetArgs {
    /// Where tacenda listens, on port 53
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = read_loopback)]
    listen_at: IpAddr,
    /// Only if it was set before; for the service, since parts of it are gone with a restart of the machine
    #[arg(long)]
    if_set: bool,
    /// Set it even if no upstream can be reached now
    #[arg(long)]
    offline: bool,
    /// Undo everything by itself unless Enter is pressed within this time after it is set
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
        value_parser = read_patience, conflicts_with = "if_set")]
    confirm: Option<TimeSpan>,
    /// Do not ask on the terminal before anything is changed
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Undoes what is still tacenda's. A file that somebody else wrote since stays, which is said.

Examples:
  sudo tacenda system restore")]
pub(super) struct RestoreArgs {}

#[derive(Args, Debug)]
#[command(after_help = "\
Reads, and asks for one name that only tacenda knows and that never leaves this host if it is set.
Ends with 1 if tacenda is set and names go elsewhere, else with 0. What a VPN wanted for domains of
its own is offered as a route to be written down, and never taken by itself.

Examples:
  tacenda system status
  sudo tacenda system status --explain

JSON:
  {\"format\":1, \"set\":true, \"phase\":\"applied\", \"back_end\":\"file\", \"listen\":\"127.0.0.1\",
  \"stands\":true, \"offers\":[], \"shielded\":false, \"asks_tacenda\":true,
  \"ways\":[{\"way\",\"arrives\",\"why\"}], \"facts\":{},
  \"would\":{\"back_end\",\"steps\":[],\"notes\":[]}, \"refused\":{\"why\",\"help\"}}; null for what is not known")]
pub(super) struct StatusArgs {
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Print every fact, and what `set` would do
    #[arg(long)]
    explain: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Does nothing until `tacenda system set` has set something. A program that changes it again and again
is named in the log, and on Linux kept from it by a read-only mount over /etc/resolv.conf, which
`set` and `restore` take away. When this ends, what is set stays set.

Examples:
  sudo tacenda system watch")]
pub(super) struct WatchArgs {}

#[derive(Args, Debug)]
pub(super) struct AskLibcArgs {
    /// The name, below verify.tacenda.test
    name: String,
}

pub(super) fn run(command: &SystemCommand, output: Output<'_>) -> Result<Exit, Failure> {
    match command {
        SystemCommand::Set(args) => set(args, output),
        SystemCommand::Restore(RestoreArgs {}) => restore(output),
        SystemCommand::Status(args) => status::run(args.json, args.explain, &here()?, output),
        SystemCommand::Watch(WatchArgs {}) => {
            need_root("system watch")?;
            watch::run(&here()?)
        }
        SystemCommand::AskLibc(args) => verify::ask_libc(&args.name, output),
    }
}

fn set(args: &SetArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("system set")?;
    let (machine, asking) = (here()?, Asking::new()?);
    if args.if_set {
        match machine.journal().map_err(Failure::from)?.map(|journal| journal.phase) {
            Some(phase) if phase.is_known_to_work() => {}
            Some(_) => return restore(output),
            None => return Ok(Exit::Done),
        }
    }
    let facts = machine.facts();
    let plan = machine.plan(&facts, args.listen_at)?;
    let progress = Progress::begin("asking tacenda");
    asking.is_tacenda(args.listen_at).map_err(no_stub)?;
    if !args.offline {
        progress.say("asking whether an upstream answers");
        asking.reaches_upstream(args.listen_at).map_err(no_upstream)?;
    }
    drop(progress);
    if !args.yes && !confirmed(lines(&plan))? {
        return Err(Failure::new(Exit::Failed, "nothing was changed: not confirmed"));
    }
    let mut confirmation = args.confirm.map(|time| Confirmation::within(time.0)).transpose()?;
    let done = machine.set(args.listen_at, |facts| {
        let progress = Progress::begin("trying whether names arrive");
        asking.verify(args.listen_at, facts)?;
        drop(progress);
        confirmation.as_mut().map_or(Ok(()), Confirmation::wait)
    })?;
    wait_for_report(true);
    output.write(format!(
        "set: programs on this host ask tacenda at {}, by {}; {} gives everything back\n",
        args.listen_at,
        plan.back_end.name(),
        as_root("tacenda system restore")
    ))?;
    output.write(notes(&done.remarks))?;
    Ok(Exit::Done)
}

fn restore(mut output: Output<'_>) -> Result<Exit, Failure> {
    need_root("system restore")?;
    if !put_back(&mut output)? {
        output.write("nothing to restore: tacenda is not set as system DNS\n")?;
    }
    wait_for_report(false);
    if guard_holds() {
        output.write(format!(
            "note: the leak guard is still on, and leads DNS to tacenda: {}\n",
            as_root("tacenda guard off")
        ))?;
    }
    if here()?.facts().named().is_some() {
        // Without a journal and a copy nobody knows what stood there.
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// As its keeper says.
fn guard_holds() -> bool {
    let report = guard::report::Report::read().ok().flatten();
    report.is_some_and(|report| report.mode.is_some())
}

fn wait_for_report(is_set: bool) {
    keeper::wait_until(Report::read, |report| report.by.is_some() == is_set);
}

/// For whoever takes tacenda away: puts back what was set, and says so.
pub(super) fn give_back(output: &mut Output<'_>) -> Result<(), Failure> {
    put_back(output)?;
    let facts = here()?.facts();
    if facts.named().is_some() {
        return Err(Failure::new(
            Exit::Failed,
            format!("{} still names tacenda alone: nothing is stopped", facts.place()),
        )
        .with_help("ask for a new DHCP lease, or write your network's server into it, then try again"));
    }
    Ok(())
}

/// Whether there was something to put back.
fn put_back(output: &mut Output<'_>) -> Result<bool, Failure> {
    match here()?.restore()? {
        None => Ok(false),
        Some(done) => {
            output.write(match done.back_end {
                Some(back_end) => format!("restored: {} is as it was before\n", back_end.name()),
                None => "taken away: everything of tacenda's that was found by its mark\n".to_owned(),
            })?;
            output.write(notes(&done.remarks))?;
            Ok(true)
        }
    }
}

fn notes(remarks: &[String]) -> String {
    remarks.iter().map(|remark| format!("note: {remark}\n")).collect()
}

/// What a plan says to its user.
fn lines<P: std::fmt::Display>(plan: &Outline<P>) -> Vec<String> {
    let steps = plan.steps.iter().map(|step| format!("  - {step}"));
    let notes = plan.notes.iter().map(|note| format!("Note: {note}"));
    std::iter::once("This will".to_owned())
        .chain(steps)
        .chain(notes)
        .collect()
}

fn no_stub(why: String) -> Failure {
    Failure::new(Exit::Unavailable, format!("nothing was changed: {why}")).with_help(format!(
        "start it first ({}, or the service), on port 53; --listen-at says where",
        as_root("tacenda run")
    ))
}

fn no_upstream(why: String) -> Failure {
    Failure::new(Exit::Unavailable, format!("nothing was changed: {why}")).with_help(
        "every name would fail; `tacenda status` and `tacenda doctor` say why; or set it all the same with --offline",
    )
}

fn read_loopback(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => Ok(ip),
        Ok(_) => {
            Err("only an address of this host's own: 127.0.0.1, or another one that begins with 127., or ::1".into())
        }
        Err(_) => Err("not an address: write for example 127.0.0.1; the port is 53".into()),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused(refused) => {
                Self::new(Exit::Failed, format!("nothing was changed: {message}")).with_help(refused.help)
            }
            Error::Journal { error, .. } if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::new(Exit::Io, message).with_help(format!(
                    "{} takes away what it can without it, and says what is left to do",
                    as_root("tacenda system restore")
                ))
            }
            Error::Journal { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::new(Exit::Permission, message)
            }
            Error::Undone { remarks, .. } => Self::new(Exit::Failed, [vec![message], remarks].concat().join("\n  ")),
            Error::NotUndone(_) => Self::new(Exit::Io, message).with_help(format!(
                "put right what is named there and run {} again: it goes on where it stopped",
                as_root("tacenda system restore")
            )),
            Error::Journal { .. } => Self::new(Exit::Io, message),
            Error::Busy | Error::Failed(_) => Self::new(Exit::Failed, message),
        }
    }
}
