//! `tacenda import`: a configuration from another program's, with a comment for each thing that could not be taken.

mod cloudflared;
mod dnscrypt_proxy;
mod draft;
mod resolved;
mod stamp;
mod stubby;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::output::Output;
use super::{Exit, Failure};
use crate::os::file;
use draft::Draft;

#[derive(Args, Debug)]
#[command(after_help = "\
Prints a configuration for tacenda; what it could not take stands in comments at its end, each with
the reason. Nothing is changed and nobody is asked.

  cloudflared     config.yml, a file of TUNNEL_DNS_* variables, or a unit with flags of proxy-dns:
                  --address --port --upstream --bootstrap --metrics --max-upstream-conns
  stubby          stubby.yml
  dnscrypt-proxy  dnscrypt-proxy.toml, and the rules of forwarding_rules beside it
  resolved        resolved.conf of systemd-resolved

Examples:
  tacenda import stubby /etc/stubby/stubby.yml | sudo tee /etc/tacenda/tacenda.toml
  tacenda import cloudflared /etc/default/cloudflared > tacenda.toml && tacenda check -c tacenda.toml")]
pub(super) struct ImportArgs {
    /// Whose configuration it is
    #[arg(value_enum)]
    from: Program,
    /// The file
    file: PathBuf,
}

/// Programs that people come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    /// Its `proxy-dns`, which it has no more
    Cloudflared,
    /// Debian's DNS over TLS
    Stubby,
    /// DoH of it; DNSCrypt and its relays tacenda does not speak
    DnscryptProxy,
    /// DNS over TLS of systemd-resolved
    Resolved,
}

pub(super) fn run(args: &ImportArgs, mut output: Output<'_>) -> Result<Exit, Failure> {
    let text = read(&args.file)?;
    let mut draft = Draft::default();
    match args.from {
        Program::Cloudflared => cloudflared::take(&text, &mut draft),
        Program::Stubby => stubby::take(&text, &mut draft),
        Program::DnscryptProxy => {
            let beside = |name: &str| read(&args.file.parent().unwrap_or_else(|| Path::new(".")).join(name)).ok();
            dnscrypt_proxy::take(&text, beside, &mut draft)
                .map_err(|why| Failure::new(Exit::Failed, format!("{}: {why}", args.file.display())))?;
        }
        Program::Resolved => resolved::take(&text, &mut draft),
    }
    if draft.upstreams.is_empty() {
        draft.note("no upstream was found that can be asked over HTTPS or TLS: the built-in ones are asked");
    }
    output.write(draft.to_toml(&args.file.display().to_string()))?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String, Failure> {
    let octets = file::read(path, MAX_LEN)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", path.display())))?
        .ok_or_else(|| Failure::new(Exit::Io, format!("{}: no such file", path.display())))?;
    String::from_utf8(octets).map_err(|_| Failure::new(Exit::Failed, format!("{}: no text", path.display())))
}

/// An address, in brackets or not, with a port or without.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|one| (one.ip(), Some(one.port())));
    bare.parse().ok().map(|ip| (ip, None)).or_else(with_port)
}

/// Without its quotes.
fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

/// A `#` begins a comment at the start or after a space, unless it is quoted.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

/// A configuration with all its examples and comments has 100 KiB.
const MAX_LEN: u64 = 1 << 20;

#[cfg(test)]
mod tests;
