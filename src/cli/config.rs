//! `tacenda config show` and `tacenda config default`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::Output;
use super::{Exit, Failure};
use crate::config::{self, DEFAULT_FILE, Flags};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the merged configuration, and behind each value where it comes from
    Show(ShowArgs),
    /// Print the commented default file: `tacenda config default > tacenda.toml`
    Default,
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// Read this file instead of /etc/tacenda/tacenda.toml (and config.d/*.toml beside it)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the values as JSON, with the keys of the file
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &ConfigCommand, mut output: Output<'_>) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Default => output.write(DEFAULT_FILE)?,
        ConfigCommand::Show(args) => {
            let shown = config::load(args.config.as_deref(), &Flags::default())?.to_string();
            if args.json {
                let value = toml::from_str(&shown).expect("config show writes TOML; a test loads it");
                output.write_json(&value)?;
            } else {
                output.write(shown)?;
            }
        }
    }
    Ok(Exit::Done)
}
