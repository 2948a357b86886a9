//! The command line: one file a command. Parses, calls, prints; decides nothing about DNS.
//!
//! Data goes to stdout, talk to stderr. Help, completions and the man page come from the definitions here.

mod check;
mod completions;
mod config;
pub mod demo;
mod doctor;
mod exit;
mod explain;
#[cfg(unix)]
mod guard;
mod import;
mod keeper;
pub mod leak;
#[cfg(unix)]
mod leaktest;
mod logging;
mod man;
mod output;
#[cfg(unix)]
mod portal;
mod progress;
mod query;
mod run;
mod service;
mod stats;
mod status;
mod system;
mod terminal;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};
pub use logging::Color;
use output::Output;

/// Encrypted DNS for this machine: programs ask it in classic DNS, it asks a resolver you trust over HTTPS or TLS.
#[derive(Debug, Parser)]
#[command(
    name = "tacenda",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the resolver
    Run(run::RunArgs),
    /// Show offline what programs ask and what an observer on the link sees
    Demo,
    /// Check the configuration and say what is wrong with it, where
    Check(check::CheckArgs),
    /// Ask one question, through the running tacenda or straight to an upstream
    Query(query::QueryArgs),
    /// Look over everything that must work, and say what to do where it does not
    Doctor(doctor::DoctorArgs),
    /// What becomes of one name: rule, cache, who is asked, what came back
    Explain(explain::ExplainArgs),
    /// Say whether names are kept private now, and what tacenda does
    Status(status::StatusArgs),
    /// Have systemd run it: write its units, take them away, say what is there
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Have this host's programs ask tacenda, and give everything back
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Have questions in clear text leave this host for nobody: packet rules in the kernel
    #[cfg(unix)]
    #[command(subcommand)]
    Guard(guard::GuardCommand),
    /// A hotel's sign-in page: whether there is one, and a window to reach it through
    #[cfg(unix)]
    #[command(subcommand)]
    Portal(portal::PortalCommand),
    /// Send canary names by every way a program could take, and say who on a link could read one
    #[cfg(unix)]
    Leaktest(leaktest::LeaktestArgs),
    /// Make a configuration from another program's
    Import(import::ImportArgs),
    /// Print the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, of tacenda or of one command
    Man(man::ManArgs),
}

/// How much is said, and in which colours.
#[derive(Args, Clone, Copy, Debug)]
struct Talk {
    /// Say more on stderr; never a query name
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say less on stderr: warnings only; twice, errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// Colours: auto, always or never; auto heeds NO_COLOR
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", hide_possible_values = true)]
    color: Color,
}

/// The whole program: reads the command line, runs the command, gives back its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors of clap's with exit code 0. If the terminal is gone, nobody is left to tell.
            let _ = error.print();
            if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
                tip(word);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    logging::init(cli.talk);
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo => demo::command::run(Output::stdout()),
        Command::Check(args) => check::run(&args, Output::stdout()),
        Command::Query(args) => query::run(&args, Output::stdout()),
        Command::Doctor(args) => doctor::run(&args, cli.talk.color, Output::stdout()),
        Command::Explain(args) => explain::run(&args, Output::stdout()),
        Command::Status(args) => status::run(&args, cli.talk.color, Output::stdout()),
        Command::Service(command) => service::run(&command, Output::stdout()),
        Command::System(command) => system::run(&command, Output::stdout()),
        #[cfg(unix)]
        Command::Guard(command) => guard::run(&command, Output::stdout()),
        #[cfg(unix)]
        Command::Portal(command) => portal::run(&command, Output::stdout()),
        #[cfg(unix)]
        Command::Leaktest(args) => leaktest::run(&args, Output::stdout()),
        Command::Import(args) => import::run(&args, Output::stdout()),
        Command::Config(command) => config::run(&command, Output::stdout()),
        Command::Completions(args) => completions::run(&args, &mut definition(), Output::stdout()),
        Command::Man(args) => man::run(&args, definition(), Output::stdout()),
    };
    result.unwrap_or_else(|failure| failure.report(cli.talk.color)).into()
}

/// What somebody may have meant who types what other programs have.
#[expect(clippy::print_stderr, reason = "behind clap's own words")]
fn tip(word: &str) {
    let meant = match word {
        "install" | "enable" | "start" => "tacenda service install",
        "uninstall" | "disable" | "stop" => "tacenda service uninstall",
        "set" | "activate" => "tacenda system set",
        "restore" | "unset" | "deactivate" => "tacenda system restore",
        "test" | "leak" => "tacenda leaktest",
        "reload" | "restart" => "a file that is saved counts a moment later; sudo systemctl restart tacenda",
        "log" | "logs" => "journalctl -u tacenda",
        "resolve" | "dig" | "lookup" => "tacenda query",
        "stats" | "metrics" => "tacenda status, or http://127.0.0.1:8053/",
        _ => return,
    };
    eprintln!("\n  = {meant}");
}

/// The command line's definition, for help, completions and the manual.
fn definition() -> clap::Command {
    Cli::command()
}

const EXAMPLES: &str = "\
Examples:
  sudo tacenda run                                    with the built-in defaults: Quad9, Mullvad, Cloudflare
  tacenda run --listen 127.0.0.1:5300                 without root, on another port
  sudo tacenda system set                             this host's programs ask it; `system restore` gives back
  tacenda status                                      whether names are kept private now
  sudo tacenda portal open                            a hotel's sign-in page, with your consent
  tacenda query example.com AAAA                      through the running tacenda
  tacenda query example.com --via tls://dns.quad9.net straight to an upstream
  tacenda check                                       after a change of its file, which counts at once

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no upstream answers, 74 input or output failed,
77 no permission, 78 the configuration is wrong.";

#[cfg(test)]
mod tests;
