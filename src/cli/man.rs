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
    let man = Man::new(command.clone())
        .source(format!("tacenda {}", env!("CARGO_PKG_VERSION")))
        .manual(settings::MANUAL);
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_help() {
        page.extend_from_slice(behind(&text.to_string()).as_bytes());
    }
    let others = if command.get_name() == "tacenda" {
        "\\fBtacenda.toml\\fR(5)"
    } else {
        "\\fBtacenda\\fR(1), \\fBtacenda.toml\\fR(5)"
    };
    page.extend_from_slice(format!(".SH \"SEE ALSO\"\n{others}\n").as_bytes());
    Ok(page)
}

/// What stands behind the options in the help: a word with a colon is a heading, and what is indented stands as it is.
fn behind(text: &str) -> String {
    let heading = |line: &str| {
        line.strip_suffix(':')
            .filter(|word| !word.contains(' '))
            .map(str::to_uppercase)
    };
    let mut roff = String::new();
    if text.lines().next().is_some_and(|line| heading(line).is_none()) {
        roff += ".SH NOTES\n";
    }
    let mut is_literal = false;
    for line in text.lines() {
        let is_indented = line.starts_with("  ");
        if is_indented != is_literal {
            roff += if is_indented { ".nf\n" } else { ".fi\n" };
            is_literal = is_indented;
        }
        roff += &match heading(line) {
            Some(word) => format!(".SH {word}\n"),
            None if line.is_empty() => ".PP\n".to_owned(),
            None => format!("{}\n", settings::escaped(line.trim_start())),
        };
    }
    if is_literal {
        roff += ".fi\n";
    }
    roff
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_indented_stands_as_it_is() {
        let roff = behind("Sets it -\nall.\n\nExamples:\n  tacenda a   one\n  tacenda b\n\nJSON:\n  {}");
        let expected = ".SH NOTES\nSets it \\-\nall.\n.PP\n.SH EXAMPLES\n.nf\ntacenda a   one\ntacenda b\n.fi\n.PP\n.SH JSON\n.nf\n{}\n.fi\n";
        assert_eq!(roff, expected);
        assert!(behind("Examples:\n  x").starts_with(".SH EXAMPLES\n"));
    }
}
