//! `tacenda completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::output::Output;
use super::{Exit, Failure};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tacenda completions bash > /usr/share/bash-completion/completions/tacenda
  tacenda completions zsh  > /usr/share/zsh/site-functions/_tacenda
  tacenda completions fish > ~/.config/fish/completions/tacenda.fish")]
pub(super) struct CompletionsArgs {
    /// Whose
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(
    args: &CompletionsArgs,
    definition: &mut clap::Command,
    mut output: Output<'_>,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, definition, "tacenda", &mut script);
    output.write(script)?;
    Ok(Exit::Done)
}
