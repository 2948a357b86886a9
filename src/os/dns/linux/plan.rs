//! From facts to what is done, or why it cannot be: one pure decision.

use std::fmt;
use std::net::IpAddr;

use super::facts::{Access, Facts, Hook, ManagerDns, OPENRESOLV, Place, Program, Resolvconf, Wsl};
use crate::os::dns::system::BackEnd;

/// What is done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whom most of it is told.
    pub back_end: BackEnd,
    /// The steps.
    pub steps: Vec<Planned>,
    /// What it does not do, for the user to know.
    pub notes: Vec<Note>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// A drop-in for NetworkManager, gone with the next start.
    NetworkManager,
    /// The same where it wins over what the user's files say about DNS.
    NetworkManagerInEtc,
    /// A hook for dhclient's script.
    DhclientHook,
    /// A hook for dhcpcd's script.
    DhcpcdHook,
    /// A drop-in for systemd-resolved.
    Resolved,
    /// Its links lose their servers.
    Links,
    /// An entry for openresolv.
    Openresolv,
    /// `/etc/resolv.conf`.
    ResolvConf,
}

impl Planned {
    /// In words, after "this would".
    pub fn words(self) -> &'static str {
        match self {
            Self::NetworkManager => {
                "tell NetworkManager to leave DNS alone (/run/NetworkManager/conf.d/zz-tacenda.conf)"
            }
            Self::NetworkManagerInEtc => {
                "tell NetworkManager to leave DNS alone (/etc/NetworkManager/conf.d/zz-tacenda.conf)"
            }
            Self::DhclientHook => "tell dhclient to leave DNS alone (/etc/dhcp/dhclient-enter-hooks.d/zz-tacenda)",
            Self::DhcpcdHook => "tell dhcpcd to leave DNS alone (/etc/dhcpcd.enter-hook)",
            Self::Resolved => "have systemd-resolved ask tacenda (/run/systemd/resolved.conf.d/zz-tacenda.conf)",
            Self::Links => "take away the servers that links gave to systemd-resolved",
            Self::Openresolv => "hand tacenda in at openresolv, before all others (resolvconf -x -a lo.tacenda)",
            Self::ResolvConf => "make tacenda the only server in /etc/resolv.conf",
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What the user should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// udhcpc writes the file at each lease.
    Udhcpc,
    /// The file can only be written in place.
    Mount,
    /// What is in `/run` is gone with the next start.
    UntilRestart,
    /// A DHCP client has written through a link into a file of systemd-resolved's, which writes it anew at its next start.
    WrittenThrough,
    /// The servers to be put back may be another network's by then.
    DhcpServers,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udhcpc => {
                "udhcpc has no switch for DNS: it writes /etc/resolv.conf again at its next lease; `tacenda system watch` sets it again at once, `system set` when you run it"
            }
            Self::Mount => "/etc/resolv.conf is a mount of its own: it is written in place, and only its content is put back",
            Self::UntilRestart => "this holds until the machine restarts; `tacenda system watch` sets it again then, or `sudo tacenda system set`",
            Self::WrittenThrough => {
                "a DHCP client has written over systemd-resolved's own file, and its restart undoes that: ask for a new lease after `restore`"
            }
            Self::DhcpServers => {
                "what `restore` puts back are the servers of now: in another network ask for a new lease after it"
            }
        })
    }
}

/// Why it cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A container engine decides.
    Container(&'static str),
    /// Windows does.
    Wsl,
    /// `/etc` cannot be changed.
    ReadOnly,
    /// A manager that we do not speak to decides.
    Manager(Program),
    /// `/etc/resolv.conf` is something that we cannot put back.
    Odd,
    /// Another system that has such a file.
    System,
    /// It names tacenda already, and nobody knows what it said before.
    NothingBefore,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(engine) => write!(f, "this is a container, and {engine} decides whom it asks"),
            Self::System => f.write_str("this tacenda can be set as system DNS on Linux, macOS and Windows only"),
            Self::Wsl => f.write_str("Windows writes /etc/resolv.conf at each start"),
            Self::ReadOnly => f.write_str("/etc is on a read-only file system"),
            Self::Manager(program) => write!(f, "{} decides about DNS here, and this tacenda does not speak to it", program.name()),
            Self::Odd => f.write_str("/etc/resolv.conf is neither a file nor a symbolic link"),
            Self::NothingBefore => f.write_str("/etc/resolv.conf names tacenda already, and what it said before is not known: there would be nothing to put back"),
        }
    }
}

impl Refusal {
    /// The way out.
    pub fn help(self) -> &'static str {
        match self {
            Self::Container(_) => {
                "set tacenda on the host, or start the container with its address (docker run --dns ...)"
            }
            Self::Wsl => {
                "write `[network]` and `generateResolvConf = false` into /etc/wsl.conf, then `wsl --shutdown` in Windows, then set it again"
            }
            Self::ReadOnly => {
                "make /etc writable (`mount -o remount,rw /`), or make it a link to a file that is: /etc/resolv.conf with `nameserver 127.0.0.1` alone"
            }
            Self::Manager(Program::Connman) => {
                "connmanctl config SERVICE --nameservers 127.0.0.1, with `connmand --nodnsproxy` so that it leaves port 53"
            }
            Self::Manager(_) => {
                "write NETCONFIG_DNS_POLICY=\"\" and NETCONFIG_DNS_STATIC_SERVERS=\"127.0.0.1\" into /etc/sysconfig/network/config, then `netconfig update -f`"
            }
            Self::System => "set 127.0.0.1 as the only DNS server by hand, in the settings of every network",
            Self::NothingBefore => {
                "`sudo tacenda system restore` takes it away as far as it can; or write your network's own server into it, and set it again"
            }
            Self::Odd => "look what it is (`ls -ld /etc/resolv.conf`), take it away, and set it again",
        }
    }
}

/// Decides.
///
/// # Errors
/// Why it cannot be done here. Nothing is done by halves.
pub fn plan(facts: &Facts, listen: IpAddr) -> Result<Plan, Refusal> {
    if facts.system != "linux" {
        return Err(Refusal::System);
    }
    if let Some(engine) = facts.container {
        return Err(Refusal::Container(engine));
    }
    if facts.wsl == Some(Wsl::Writes) {
        return Err(Refusal::Wsl);
    }
    if let Some(manager) = [Program::Connman, Program::Wicked]
        .into_iter()
        .find(|one| facts.runs(*one))
    {
        return Err(Refusal::Manager(manager));
    }
    let (resolved, file) = (facts.runs(Program::Resolved), needs_file(facts));
    let mut steps = Vec::new();
    if facts.runs(Program::NetworkManager) {
        steps.push(match facts.manager_dns {
            ManagerDns::Elsewhere => Planned::NetworkManager,
            ManagerDns::InEtc => Planned::NetworkManagerInEtc,
        });
    }
    if file != Some(Planned::Openresolv) {
        steps.extend(hooks(facts));
    }
    if resolved {
        steps.extend([Planned::Resolved, Planned::Links]);
    }
    let back_end = match (file, resolved) {
        (None, _) => BackEnd::Resolved,
        (Some(Planned::Openresolv), _) => BackEnd::Openresolv,
        (Some(_), true) => BackEnd::Resolved,
        (Some(_), false) => BackEnd::File,
    };
    steps.extend(file);
    check_etc(facts, &steps)?;
    if file == Some(Planned::ResolvConf) {
        check_file(facts, listen)?;
    }
    let notes = notes(facts, &steps);
    Ok(Plan { back_end, steps, notes })
}

/// What `/etc/resolv.conf` needs; nothing if it leads to systemd-resolved, which keeps it.
fn needs_file(facts: &Facts) -> Option<Planned> {
    let file = &facts.resolv_conf;
    let is_resolveds =
        |path: &std::path::Path| path.starts_with("/run/systemd/resolve") || path.starts_with(RESOLVED_OWN);
    if facts.runs(Program::Resolved) && file.leads_to.as_deref().is_some_and(is_resolveds) {
        return None;
    }
    // Installed is not enough: it takes the file only from its own hand.
    if facts.resolvconf == Some(Resolvconf::Openresolv) && file.place == Place::File && file.writer == Some(OPENRESOLV)
    {
        return Some(Planned::Openresolv);
    }
    Some(Planned::ResolvConf)
}

/// Where systemd ships a `resolv.conf` that names the stub.
const RESOLVED_OWN: &str = "/usr/lib/systemd";

fn check_file(facts: &Facts, listen: IpAddr) -> Result<(), Refusal> {
    let names_us = facts
        .resolv_conf
        .servers
        .iter()
        .any(|server| *server == listen.to_string());
    if !facts.is_set && (names_us || facts.resolv_conf.is_ours) {
        return Err(Refusal::NothingBefore);
    }
    if facts.resolv_conf.place == Place::Odd {
        return Err(Refusal::Odd);
    }
    Ok(())
}

fn check_etc(facts: &Facts, steps: &[Planned]) -> Result<(), Refusal> {
    let is_in_etc = |step: &Planned| match step {
        Planned::DhclientHook | Planned::DhcpcdHook | Planned::NetworkManagerInEtc => true,
        // A mount of its own may be writable all the same; if not, the step says so.
        Planned::ResolvConf => !facts.resolv_conf.is_mount,
        Planned::NetworkManager | Planned::Resolved | Planned::Links | Planned::Openresolv => false,
    };
    if facts.etc == Access::ReadOnly && steps.iter().any(is_in_etc) {
        return Err(Refusal::ReadOnly);
    }
    Ok(())
}

/// Debian's resolvconf collects what dhclient hands in, in a file that the link to it leads to: left alone, so that what `restore` finds is of
/// the network that the host is in by then.
fn hooks(facts: &Facts) -> impl Iterator<Item = Planned> {
    let hook = |hook: &Hook| match hook {
        Hook::Dhclient => (Planned::DhclientHook, Program::Dhclient),
        Hook::Dhcpcd => (Planned::DhcpcdHook, Program::Dhcpcd),
    };
    // A client that is installed may be started any time; where no hook can be written, one that does not run is no reason to refuse.
    let is_wanted = |program| {
        facts.resolvconf != Some(Resolvconf::Debian) && (facts.etc == Access::Writable || facts.runs(program))
    };
    let wanted = facts
        .hooks
        .iter()
        .map(hook)
        .filter(move |(_, program)| is_wanted(*program));
    wanted.map(|(step, _)| step)
}

fn notes(facts: &Facts, steps: &[Planned]) -> Vec<Note> {
    let does = |step| steps.contains(&step);
    let writes = does(Planned::ResolvConf);
    let from_dhcp = [Program::Dhclient, Program::Dhcpcd]
        .into_iter()
        .any(|one| facts.runs(one));
    let is_file = facts.resolv_conf.place == Place::File && !facts.resolv_conf.is_ours;
    let is_written_through = does(Planned::Resolved) && !writes && !facts.asks_this_host();
    let all = [
        (is_written_through && from_dhcp, Note::WrittenThrough),
        (writes && facts.runs(Program::Udhcpc), Note::Udhcpc),
        (writes && facts.resolv_conf.is_mount, Note::Mount),
        (writes && from_dhcp && is_file, Note::DhcpServers),
        (
            does(Planned::Resolved) || does(Planned::Openresolv) || does(Planned::NetworkManager),
            Note::UntilRestart,
        ),
    ];
    all.into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, note)| note)
        .collect()
}

#[cfg(test)]
mod tests;
