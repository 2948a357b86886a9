//! `tacenda man [COMMAND]...`: manual pages in roff.

use clap::Args;
use clap_mangen::Man;

use super::output::Output;
use super::{Exit, Failure};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tacenda man | man -l -
  tacenda man config show | man -l -
  tacenda man > /usr/share/man/man1/tacenda.1")]
pub(super) struct ManArgs {
    /// The command whose page is wanted; tacenda's own if left out
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

pub(super) fn run(args: &ManArgs, mut definition: clap::Command, mut output: Output<'_>) -> Result<Exit, Failure> {
    // Fills in what subcommands inherit: version, global flags, the name with its parents.
    definition.build();
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
                .with_help(format!("known: {help}"))
        })?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    output.write(page)?;
    Ok(Exit::Done)
}
