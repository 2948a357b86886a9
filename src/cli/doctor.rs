//! `tacenda doctor`: everything that must work for names to be private and answered, one after the other, each with what to do about it.

mod checks;
mod upstream;

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::output::Output;
use super::progress::Progress;
#[cfg(unix)]
use super::query::local_server;
use super::status::print::{Paint, part_lines};
use super::system::verify::Asking;
use super::{Color, Exit, Failure, stats};
use crate::admin::protection::{Part, Protection, State};
use crate::config::{self, Flags};

#[derive(Args, Debug)]
#[command(after_help = "\
Looks at the configuration, the clock, who listens where tacenda should, whom programs ask and by
which settings, what this network hands out, the leak guard, a sign-in page, and at each upstream:
whether its TLS handshake goes well, whether it pads what it answers, and whether it checks DNSSEC.
Nothing is changed, and no name of yours is asked: upstreams are asked over TLS for the root and for
dnssec-failed.org, whose signatures are wrong on purpose.

As root it sees more: who holds a port, and the packet rules themselves.

Ends with 1 if something is bad, 78 if the configuration is, else with 0.

Examples:
  sudo tacenda doctor
  tacenda doctor --json | jq '.parts[] | select(.state != \"good\")'

JSON:
  {\"format\":1, \"state\":\"good|unknown|gap|bad\", \"parts\":[{\"name\",\"state\",\"text\",\"help\"}]}")]
pub(super) struct DoctorArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// The configuration to look at; else /etc/tacenda/tacenda.toml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Stats {
    upstreams: Vec<stats::Upstream>,
}

/// What was found so far; shown as it is found, since an upstream that is silent takes seconds.
struct Findings<'a> {
    output: Output<'a>,
    paint: Option<Paint>,
    parts: Vec<Part>,
}

impl Findings<'_> {
    fn add(&mut self, part: Part) -> Result<(), Failure> {
        if let Some(paint) = self.paint {
            let mut text = String::new();
            part_lines(&mut text, &part, paint);
            self.output.write(text)?;
        }
        self.parts.push(part);
        Ok(())
    }

    fn end(mut self) -> Result<State, Failure> {
        let state = Protection::of(self.parts.clone()).state;
        match self.paint {
            Some(paint) => {
                let words = format!("\n{}\n", paint.of(state, &summary(&self.parts)));
                self.output.write(words)?;
            }
            None => self
                .output
                .write_json(&json!({ "format": 1, "state": state, "parts": self.parts }))?,
        }
        Ok(state)
    }
}

pub(super) fn run(args: &DoctorArgs, color: Color, output: Output<'_>) -> Result<Exit, Failure> {
    let mut findings = Findings {
        output,
        paint: (!args.json).then(|| Paint(color.on_stdout())),
        parts: Vec::new(),
    };
    let loaded = match config::load(args.config.as_deref(), &Flags::default()) {
        Ok(loaded) => loaded,
        Err(error) => {
            findings.add(checks::configuration_error(&error))?;
            findings.end()?;
            return Ok(Failure::from(error).exit);
        }
    };
    findings.add(checks::configuration(&loaded))?;
    findings.add(checks::clock())?;
    let asking = Asking::new()?;
    for part in checks::listeners(&loaded.config.listen, &asking) {
        findings.add(part)?;
    }
    if let Some(part) = checks::service() {
        findings.add(part)?;
    }
    findings.add(super::system::status::part())?;
    findings.add(checks::settings())?;
    #[cfg(unix)]
    let is_guarded = super::guard::status::is_on();
    #[cfg(not(unix))]
    let is_guarded = Some(false);
    #[cfg(unix)]
    findings.add(super::guard::status::part(|| {
        let server = local_server(&loaded.config).ok()?;
        super::guard::led::shortfall(server.ip(), &asking)
    }))?;
    findings.add(checks::network(is_guarded))?;
    findings.add(checks::sign_in(loaded.config.stats))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said = loaded.config.stats.and_then(|stats| stats::read(stats).ok());
    let said = said.map_or_else(Vec::new, |Stats { upstreams }| upstreams);
    for upstream in &loaded.config.upstreams {
        let progress = Progress::begin(&format!("asking {}", upstream.name));
        let said = said.iter().find(|said| said.name == upstream.name);
        let part = runtime.block_on(upstream::look(upstream, is_guarded, said));
        drop(progress);
        findings.add(part)?;
    }
    Ok(match findings.end()? {
        State::Bad => Exit::Failed,
        State::Good | State::Unknown | State::Gap => Exit::Done,
    })
}

fn summary(parts: &[Part]) -> String {
    let count = |state| parts.iter().filter(|part| part.state == state).count();
    match (count(State::Bad), count(State::Gap), count(State::Unknown)) {
        (0, 0, 0) => "nothing is wrong".to_owned(),
        (bad, gap, unknown) => format!("bad: {bad}, gaps: {gap}, not known: {unknown}"),
    }
}

#[cfg(test)]
mod tests;
