//! `tacenda man [PAGE]...`: manual pages in roff.

mod settings;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;

use super::output::Output;
use super::{Exit, Failure};
use crate::config::DEFAULT_FILE;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tacenda man | man -l -
  tacenda man config show | man -l -
  tacenda man tacenda.toml | man -l -
  tacenda man --to /usr/local/share/man")]
pub(super) struct ManArgs {
    /// The command whose page is wanted, or `tacenda.toml`; tacenda's own if left out
    #[arg(value_name = "PAGE", conflicts_with = "to")]
    path: Vec<String>,
    /// Write all pages below this folder, in man1 and man5
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, mut definition: clap::Command, mut output: Output<'_>) -> Result<Exit, Failure> {
    // Fills in what subcommands inherit: version, global flags, the name with its parents.
    definition = definition.disable_help_subcommand(true);
    definition.build();
    if let Some(folder) = &args.to {
        write_all(&definition, folder)?;
        return Ok(Exit::Done);
    }
    if args.path == [SETTINGS] {
        output.write(settings::page(DEFAULT_FILE))?;
        return Ok(Exit::Done);
    }
    let mut command = &definition;
    for word in &args.path {
        command = command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
            let help = if known.is_empty() {
                "it has no commands".to_owned()
            } else {
                known.join(", ")
            };
            Failure::new(Exit::Usage, format!("no command `{word}` in `{}`", command.get_name()))
                .with_help(format!("known: {help}; and {SETTINGS}"))
        })?;
    }
    output.write(page(command)?)?;
    Ok(Exit::Done)
}

/// The page of one command.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = format!("tacenda {}", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone())
        .source(source)
        .manual(settings::MANUAL)
        .render(&mut page)?;
    let others = if command.get_name() == "tacenda" {
        "\\fBtacenda.toml\\fR(5)"
    } else {
        "\\fBtacenda\\fR(1), \\fBtacenda.toml\\fR(5)"
    };
    page.extend_from_slice(format!(".SH \"SEE ALSO\"\n{others}\n").as_bytes());
    Ok(page)
}

/// Every page, where a package or a user's own `MANPATH` has them.
fn write_all(definition: &clap::Command, folder: &Path) -> Result<(), Failure> {
    let (commands, files) = (folder.join("man1"), folder.join("man5"));
    for made in [&commands, &files] {
        fs::create_dir_all(made).map_err(|error| cannot_write(made, &error))?;
    }
    let write = |path: PathBuf, page: &[u8]| fs::write(&path, page).map_err(|error| cannot_write(&path, &error));
    write(
        files.join(format!("{SETTINGS}.5")),
        settings::page(DEFAULT_FILE).as_bytes(),
    )?;
    let mut left = vec![definition];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        write(commands.join(format!("{name}.1")), &page(command)?)?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot write {}: {error}", path.display()))
}

/// The page of the configuration file, tacenda.toml(5).
const SETTINGS: &str = "tacenda.toml";
