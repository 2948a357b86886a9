//! `tacenda service`: the units of systemd, written and taken away again. What somebody else wrote or changed is never touched.

mod sight;
mod units;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Output;
use super::{Exit, Failure};
use crate::config::{self, Config, Flags};
use crate::os::{file, systemd};
use units::{GUARD, SERVICE, SOCKET, WATCH, Whose};

#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// Write the units for systemd and start them: from then on tacenda runs from boot to shutdown
    Install(InstallArgs),
    /// Stop it, and take away what `install` wrote
    Uninstall(UninstallArgs),
    /// Say what is installed and whether it runs
    Status(StatusArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Writes tacenda.service, tacenda.socket, tacenda-system.service and tacenda-guard.service to
/etc/systemd/system, for this very program and for the `listen` addresses of the configuration; run
it again after a change of those, or of the program's place. A unit that a package brings and that
says the same is not written a second time. A unit that somebody else wrote or changed is left
alone, and then nothing is done at all. The machine's DNS settings are not changed:
`tacenda system set` does that, tacenda-system.service keeps them then, over restarts too, as
tacenda-guard.service does what `tacenda guard on` says, and `uninstall` gives everything back first.

Examples:
  sudo tacenda service install
  sudo tacenda service install --config /etc/tacenda/tacenda.toml
  tacenda service install --root ./image")]
pub(super) struct InstallArgs {
    /// Have the service read this file instead of /etc/tacenda/tacenda.toml (and config.d/*.toml beside it)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Args, Debug)]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Before a package is removed: also without systemd, and its units stay enabled until it is gone, since it may stay after all
    #[arg(long, hide = true)]
    for_package: bool,
}

#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// Write below this folder, the root of an image, and start and stop nothing
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
JSON:
  {\"format\":1, \"systemd\":true, \"units\":[{\"file\",\"whose\",\"active\",\"enabled\"}]}; whose: nobodys, ours,
  changed, anothers or packages; active and enabled are systemctl's words or null")]
pub(super) struct StatusArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(command: &ServiceCommand, output: Output<'_>) -> Result<Exit, Failure> {
    match command {
        ServiceCommand::Install(args) => install(args, output),
        ServiceCommand::Uninstall(args) => uninstall(args, output),
        ServiceCommand::Status(args) => status(args, output),
    }
}

/// What systemd says of the service, in its own word (`active`, `failed`, ...); none where it does not run this host or nobody has installed it.
pub(super) fn state() -> Option<String> {
    is_installed().then(|| systemd::word("is-active", SERVICE)).flatten()
}

/// What the service could not read of this configuration, if there is a service on this host.
pub(super) fn sees(config: &Config) -> Result<(), Failure> {
    if is_installed() {
        sight::of_files(None, config)?;
    }
    Ok(())
}

fn is_installed() -> bool {
    let place = Place::of(&PlaceArgs { root: None });
    place.is_live && place.whose(SERVICE).is_ok_and(|whose| whose != Whose::Nobodys)
}

/// Where the units are, and whether anything may be started and stopped.
struct Place {
    folder: PathBuf,
    /// Where a package's are.
    packaged: PathBuf,
    is_live: bool,
}

impl Place {
    /// An image, or this host if systemd runs it.
    fn to_change(args: &PlaceArgs) -> Result<Self, Failure> {
        let place = Self::of(args);
        if args.root.is_none() && !place.is_live {
            let failure = Failure::new(Exit::Unavailable, "systemd does not run this host");
            return Err(failure.with_help(NO_SYSTEMD));
        }
        Ok(place)
    }

    fn of(args: &PlaceArgs) -> Self {
        let root = args.root.as_deref().unwrap_or_else(|| Path::new("/"));
        let below = |folder: &str| root.join(folder.trim_start_matches('/'));
        Self {
            folder: below(systemd::UNIT_FOLDER),
            packaged: below(systemd::PACKAGE_FOLDER),
            is_live: args.root.is_none() && systemd::runs(),
        }
    }

    fn path(&self, unit: &str) -> PathBuf {
        self.folder.join(unit)
    }

    fn whose(&self, unit: &str) -> Result<Whose, Failure> {
        Ok(match read(&self.path(unit))? {
            Some(text) => units::whose(&text),
            None if self.packaged(unit)?.is_some() => Whose::Packages,
            None => Whose::Nobodys,
        })
    }

    /// What a package has brought, which counts where nobody has written another.
    fn packaged(&self, unit: &str) -> Result<Option<String>, Failure> {
        read(&self.packaged.join(unit))
    }

    /// Has this text in force: a package's, if it brings the same, or else a file of ours.
    fn put(&self, unit: &str, text: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        let path = self.path(unit);
        if self.packaged(unit)?.as_deref() != Some(text) {
            let written = fs::create_dir_all(&self.folder)
                .and_then(|()| file::replace_public(&path, units::sealed(text).as_bytes()));
            written.map_err(|error| failed("write", &path, &error))?;
            return output.write(format!("wrote {}\n", path.display()));
        }
        if path.exists() {
            self.remove(unit, output)?;
        }
        output.write(format!("{unit} is there, from a package\n"))
    }

    fn remove(&self, unit: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        let path = self.path(unit);
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        output.write(format!("removed {}\n", path.display()))
    }

    /// Runs `systemctl`, if this is the host, and says so.
    fn systemctl(&self, arguments: &[&str], output: &mut Output<'_>) -> Result<(), Failure> {
        if !self.is_live {
            return Ok(());
        }
        let line = format!("systemctl {}", arguments.join(" "));
        match systemd::systemctl(arguments) {
            Ok(()) => output.write(format!("ran {line}\n")),
            Err(words) => Err(Failure::new(Exit::Failed, format!("{line}: {words}")).with_help(SEE_JOURNAL)),
        }
    }

    /// Does something while these units are stopped. If that fails everything is to go on as before, and they are started again.
    fn without(
        &self,
        units: &[&str],
        output: &mut Output<'_>,
        work: impl FnOnce(&mut Output<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if units.is_empty() {
            return work(output);
        }
        self.systemctl(&[&["stop"], units].concat(), output)?;
        let done = work(output);
        if done.is_err() {
            self.systemctl(&[&["start"], units].concat(), output)?;
        }
        done
    }
}

fn install(args: &InstallArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let place = Place::to_change(&args.place)?;
    let program = std::env::current_exe()?.canonicalize()?;
    let given = args.config.as_deref().map(std::path::absolute).transpose()?;
    let config = config::load(given.as_deref(), &Flags::default())?.config;
    if args.place.root.is_none() {
        within_sight(&program, given.as_deref(), &config)?;
    }
    let texts = [
        (SOCKET, units::socket(&config.listen.addresses)),
        (SERVICE, units::service(&program, given.as_deref())),
        (WATCH, units::watch(&program)),
        (GUARD, units::guard(&program)),
    ];
    let mut running = Vec::new();
    for (unit, _) in &texts {
        let path = place.path(unit);
        let how = match place.whose(unit)? {
            Whose::Nobodys => continue,
            Whose::Ours | Whose::Packages => {
                running.push(*unit);
                continue;
            }
            Whose::Changed => "was changed by hand",
            Whose::Anothers => "was not written by tacenda",
        };
        let failure = Failure::new(Exit::Failed, format!("{} {how}: nothing is done", path.display()));
        return Err(failure.with_help("move it away, and keep what you need of it with `systemctl edit`"));
    }
    // First, so that nothing is stopped if a file cannot be written.
    for (unit, text) in &texts {
        place.put(unit, text, &mut output)?;
    }
    // Anew, because a socket that listens already keeps its addresses.
    if !running.is_empty() {
        place.systemctl(&[&["stop"], &running[..]].concat(), &mut output)?;
    }
    place.systemctl(&["daemon-reload"], &mut output)?;
    for verb in ["enable", "start"] {
        place.systemctl(&[&[verb], &UNITS[..]].concat(), &mut output)?;
    }
    Ok(Exit::Done)
}

fn uninstall(args: &UninstallArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    if args.for_package && !systemd::runs() {
        give_back(&mut output)?;
        return Ok(Exit::Done);
    }
    let place = Place::to_change(&args.place)?;
    let mut found = Vec::new();
    for unit in [WATCH, GUARD, SOCKET, SERVICE] {
        let path = place.path(unit);
        let whose = place.whose(unit)?;
        found.push((unit, whose));
        match whose {
            Whose::Ours | Whose::Packages => {}
            Whose::Nobodys => output.write(format!("{} is not there\n", path.display()))?,
            Whose::Changed => output.write(format!("{} was changed by hand: it stays\n", path.display()))?,
            Whose::Anothers => output.write(format!("{} was not written by tacenda: it stays\n", path.display()))?,
        }
    }
    let of = |wanted: &[Whose]| -> Vec<&str> {
        let these = found.iter().filter(|(_, whose)| wanted.contains(whose));
        these.map(|(unit, _)| *unit).collect()
    };
    let ours = of(&[Whose::Ours, Whose::Packages]);
    // First of all, whosever the units are: nobody may be left asking a tacenda that is gone.
    if place.is_live && found.iter().any(|(_, whose)| *whose != Whose::Nobodys) {
        let keepers = [WATCH, GUARD].into_iter().filter(|unit| ours.contains(unit));
        place.without(&keepers.collect::<Vec<_>>(), &mut output, give_back)?;
    }
    if ours.is_empty() {
        return Ok(Exit::Done);
    }
    // The socket with the service, in one call: the one would start the other again.
    let verb: &[&str] = if args.for_package {
        &["stop"]
    } else {
        &["disable", "--now"]
    };
    place.systemctl(&[verb, &ours[..]].concat(), &mut output)?;
    for unit in of(&[Whose::Ours]) {
        place.remove(unit, &mut output)?;
    }
    for unit in ours {
        if !args.for_package && place.packaged(unit)?.is_some() {
            output.write(format!("{unit} stays, with its package, and is off\n"))?;
        }
    }
    place.systemctl(&["daemon-reload"], &mut output)?;
    output.write("configuration and state (/etc/tacenda, /var/lib/tacenda) stay\n")?;
    Ok(Exit::Done)
}

/// The ways to others, and the system's DNS, if it was set; both or neither. The guard goes first: while DNS is set names are still private
/// without it, and not the other way round.
fn give_back(output: &mut Output<'_>) -> Result<(), Failure> {
    #[cfg(unix)]
    let before = super::guard::give_back(output)?;
    let done = super::system::give_back(output);
    #[cfg(unix)]
    if done.is_err() {
        super::guard::want_again(before);
    }
    done
}

fn status(args: &StatusArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let place = Place::of(&args.place);
    let mut found = Vec::new();
    for unit in UNITS {
        let word = |question| place.is_live.then(|| systemd::word(question, unit)).flatten();
        let whose = place.whose(unit)?;
        let path = match whose {
            Whose::Packages => place.packaged.join(unit),
            _ => place.path(unit),
        };
        found.push((path, whose, word("is-active"), word("is-enabled")));
    }
    if args.json {
        let units: Vec<_> = found
            .iter()
            .map(|(path, whose, active, enabled)| {
                json!({"file": path.display().to_string(), "whose": whose.as_str(), "active": active, "enabled": enabled})
            })
            .collect();
        output.write_json(&json!({"format": 1, "systemd": place.is_live, "units": units}))?;
        return Ok(Exit::Done);
    }
    for (path, whose, active, enabled) in found {
        let words: Vec<_> = [active, enabled].into_iter().flatten().collect();
        let state = if words.is_empty() {
            String::new()
        } else {
            format!("; {}", words.join(", "))
        };
        output.write(format!("{}: {}{state}\n", path.display(), whose.in_words()))?;
    }
    Ok(Exit::Done)
}

/// The service sees neither home folders nor this moment's /tmp (`ProtectHome=`, `PrivateTmp=`): what it needs from there would be missing, and
/// nobody would know why.
fn within_sight(program: &Path, given: Option<&Path>, config: &Config) -> Result<(), Failure> {
    if sight::is_out(program) {
        let help = format!(
            "sudo install -m 755 {} /usr/local/bin/tacenda && sudo /usr/local/bin/tacenda service install",
            program.display()
        );
        let message = format!(
            "the service cannot see {}: it is kept out of {}",
            program.display(),
            sight::OUT_OF_SIGHT.join(", ")
        );
        return Err(Failure::new(Exit::Config, message).with_help(help));
    }
    sight::of_files(given, config)
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    let octets = file::read(path, MAX_UNIT_LEN).map_err(|error| failed("read", path, &error))?;
    Ok(octets.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Io,
    };
    let failure = Failure::new(exit, format!("cannot {what} {}: {error}", path.display()));
    match exit {
        Exit::Permission => failure.with_help("units are root's: use sudo"),
        _ => failure,
    }
}

/// In the order in which they are started.
const UNITS: [&str; 4] = [SOCKET, SERVICE, WATCH, GUARD];

/// Ours has 4 KiB.
const MAX_UNIT_LEN: u64 = 1 << 20;

const NO_SYSTEMD: &str = "--root FOLDER only writes the units; another service manager runs `tacenda run` as it is";

const SEE_JOURNAL: &str = "`systemctl status tacenda.socket tacenda.service` and `journalctl -u tacenda` say more; \
`sudo tacenda service uninstall` takes the units away again";

#[cfg(test)]
mod tests;
