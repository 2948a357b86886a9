//! `[guard]`: the leak guard, as written, checked and shown.

use std::net::SocketAddr;

use super::check::problem;
use super::draft::Reader;
use super::file::GuardSpec;
use super::problem::{Problem, Sourced};
use super::show::{Lines, list, quoted};
use super::values::Complaint;
use super::{Exempt, GuardConfig, GuardMode, Protocol};

/// `[guard]` in the making.
#[derive(Clone, Debug)]
pub(super) struct DraftGuard {
    mode: Sourced<GuardMode>,
    exempt: Sourced<Vec<Sourced<Exempt>>>,
    multicast_dns: Sourced<bool>,
}

impl Default for DraftGuard {
    fn default() -> Self {
        Self {
            mode: Sourced::default_value(GuardMode::Redirect),
            exempt: Sourced::default_value(Vec::new()),
            multicast_dns: Sourced::default_value(false),
        }
    }
}

impl DraftGuard {
    /// Lays a file's table over what is there.
    pub(super) fn lay(&mut self, spec: GuardSpec, reader: &mut Reader<'_>) {
        reader.set(&mut self.mode, spec.mode, |_, text| parse_mode(text));
        reader.set_list(&mut self.exempt, spec.exempt, parse_exempt);
        reader.set_plain(&mut self.multicast_dns, spec.multicast_dns);
    }

    /// Reports what does not fit together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if self.exempt.value.len() > MAX_EXEMPT {
            let help = "each of them is a door for everybody: keep those that you need";
            problems.push(problem(&self.exempt.place, "more than 64 servers", help));
        }
    }

    pub(super) fn to_config(&self) -> GuardConfig {
        GuardConfig {
            mode: self.mode.value,
            exempt: self.exempt.value.iter().map(|exempt| exempt.value).collect(),
            multicast_dns: self.multicast_dns.value,
        }
    }

    /// For `config show`.
    pub(super) fn show(&self, lines: &mut Lines) {
        lines.table("[guard]");
        lines.value("mode", &quoted(self.mode.value.as_str()), &self.mode.place);
        let exempt = self.exempt.value.iter().map(|exempt| exempt.value.to_string());
        lines.value("exempt", &list(exempt), &self.exempt.place);
        lines.value(
            "multicast-dns",
            &self.multicast_dns.value.to_string(),
            &self.multicast_dns.place,
        );
    }
}

/// `redirect` or `reject`.
fn parse_mode(text: &str) -> Result<GuardMode, Complaint> {
    let modes = [GuardMode::Redirect, GuardMode::Reject];
    let found = modes.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| Complaint::new("unknown mode", "write \"redirect\" or \"reject\""))
}

/// `udp://198.51.100.7:53`: with the port, since it is not DNS that sits there.
fn parse_exempt(text: &str) -> Result<Exempt, Complaint> {
    let protocols = [("udp://", Protocol::Udp), ("tcp://", Protocol::Tcp)];
    let read = protocols.into_iter().find_map(|(scheme, protocol)| {
        let server: SocketAddr = text.strip_prefix(scheme)?.parse().ok()?;
        let is_scoped = matches!(server, SocketAddr::V6(v6) if v6.scope_id() != 0);
        let is_one = !server.ip().is_unspecified() && !server.ip().is_multicast() && server.port() != 0;
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        (is_one && !is_scoped).then_some(Exempt { protocol, server })
    });
    read.ok_or_else(|| {
        Complaint::new(
            "not a server with its protocol and port",
            "write for example \"udp://198.51.100.7:53\" for a VPN's server that sits there",
        )
    })
}

/// A VPN has some few.
const MAX_EXEMPT: usize = 64;
