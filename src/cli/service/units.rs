//! The units as they are written: the shipped ones, with this program's path and the configuration's addresses in them, and a seal that
//! tells whether somebody has changed them since.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

pub(super) const SERVICE: &str = "tacenda.service";
pub(super) const SOCKET: &str = "tacenda.socket";
/// Keeps what `tacenda system set` has set.
pub(super) const WATCH: &str = "tacenda-system.service";

/// Keeps what `tacenda guard on` has put in force.
pub(super) const GUARD: &str = "tacenda-guard.service";

const SHIPPED_SERVICE: &str = include_str!("../../../config/tacenda.service");
const SHIPPED_SOCKET: &str = include_str!("../../../config/tacenda.socket");
const SHIPPED_WATCH: &str = include_str!("../../../config/tacenda-system.service");
const SHIPPED_GUARD: &str = include_str!("../../../config/tacenda-guard.service");

/// The service unit for this program and configuration file, without its seal.
pub(super) fn service(program: &Path, config: Option<&Path>) -> String {
    let mut start = format!("ExecStart={} run", quoted(program));
    if let Some(config) = config {
        // Writing into a String cannot fail.
        let _ = write!(start, " --config {}", quoted(config));
    }
    with_lines(SHIPPED_SERVICE, "ExecStart=", &[start])
}

/// The socket unit for these addresses, without its seal.
pub(super) fn socket(listen: &[SocketAddr]) -> String {
    let both = listen
        .iter()
        .flat_map(|address| [format!("ListenDatagram={address}"), format!("ListenStream={address}")]);
    with_lines(SHIPPED_SOCKET, "Listen", &both.collect::<Vec<_>>())
}

/// The unit that keeps the system's DNS as it was set, by this program, without its seal.
pub(super) fn watch(program: &Path) -> String {
    with_command(SHIPPED_WATCH, program, "system watch")
}

/// The unit that keeps the leak guard, by this program, without its seal.
pub(super) fn guard(program: &Path) -> String {
    with_command(SHIPPED_GUARD, program, "guard watch")
}

fn with_command(unit: &str, program: &Path, command: &str) -> String {
    with_lines(
        unit,
        "ExecStart=",
        &[format!("ExecStart={} {command}", quoted(program))],
    )
}

/// The text with `lines` in the place of those that begin with `key`.
fn with_lines(text: &str, key: &str, lines: &[String]) -> String {
    let mut lines = Some(lines);
    let mut out = String::new();
    for line in text.lines() {
        if !line.starts_with(key) {
            out += line;
            out.push('\n');
        } else if let Some(lines) = lines.take() {
            for line in lines {
                out += line;
                out.push('\n');
            }
        }
    }
    out
}

/// A path as one word of a command line in a unit (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers").
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        return path;
    }
    let mut out = "\"".to_owned();
    for c in path.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a file is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// There is none.
    Nobodys,
    /// We wrote it, and it says what we wrote.
    Ours,
    /// We wrote it, and somebody has changed it.
    Changed,
    /// Somebody else wrote it.
    Anothers,
    /// Nobody wrote one, and a package has brought one.
    Packages,
}

impl Whose {
    /// For machines.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nobodys => "nobodys",
            Self::Ours => "ours",
            Self::Changed => "changed",
            Self::Anothers => "anothers",
            Self::Packages => "packages",
        }
    }

    /// For people.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Nobodys => "not there",
            Self::Ours => "as `tacenda service install` wrote it",
            Self::Changed => "changed by hand since `tacenda service install` wrote it",
            Self::Anothers => "not written by `tacenda service install`",
            Self::Packages => "as its package brought it",
        }
    }
}

/// The text with a line before it that says who wrote it and what.
pub(super) fn sealed(text: &str) -> String {
    format!("{SEAL_BEFORE}{:016x}{SEAL_BEHIND}\n{text}", checksum(text))
}

/// Whose this is.
pub(super) fn whose(content: &str) -> Whose {
    let Some((seal, text)) = content.strip_prefix(SEAL_BEFORE).and_then(|rest| rest.split_once('\n')) else {
        return Whose::Anothers;
    };
    let is_intact = seal.strip_suffix(SEAL_BEHIND) == Some(&format!("{:016x}", checksum(text)));
    if is_intact { Whose::Ours } else { Whose::Changed }
}

/// FNV-1a. It finds what a person has changed; nobody gains anything by forging it.
fn checksum(text: &str) -> u64 {
    let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

const SEAL_BEFORE: &str = "# Written by `tacenda service install` (";
const SEAL_BEHIND: &str = "). Once changed by hand, it is left alone; `systemctl edit` adds without changing it.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_shipped_units_are_those_of_the_default_configuration() {
        assert_eq!(socket(&Config::default().listen.addresses), SHIPPED_SOCKET);
        // Word for word: what a package brings must be known as the same.
        let program = Path::new("/usr/bin/tacenda");
        assert_eq!(service(program, None), SHIPPED_SERVICE);
        assert_eq!(watch(program), SHIPPED_WATCH);
        assert_eq!(guard(program), SHIPPED_GUARD);
    }

    #[test]
    fn program_configuration_and_addresses_are_in_them() {
        let unit = service(Path::new("/opt/my $100%/taç\"enda"), Some(Path::new("/etc/t\n.toml")));
        let line = "\nExecStart=\"/opt/my $$100%%/taç\\\"enda\" run --config \"/etc/t\\x0a.toml\"\n";
        assert!(unit.contains(line), "{unit}");
        let unit = socket(&["192.0.2.1:53".parse().unwrap()]);
        let listens: Vec<_> = unit.lines().filter(|line| line.starts_with("Listen")).collect();
        assert_eq!(listens, ["ListenDatagram=192.0.2.1:53", "ListenStream=192.0.2.1:53"]);
    }

    #[test]
    fn a_change_by_hand_is_seen() {
        let unit = sealed("[Unit]\nDescription=x\n");
        assert_eq!(whose(&unit), Whose::Ours);
        assert_eq!(whose(&unit.replace("=x", "=y")), Whose::Changed);
        assert_eq!(whose(&format!("{unit}\n")), Whose::Changed);
        assert_eq!(whose("[Unit]\n"), Whose::Anothers);
        assert_eq!(whose(""), Whose::Anothers);
    }
}
