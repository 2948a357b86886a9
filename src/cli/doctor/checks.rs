//! What is looked at on this host. Nothing here changes anything, nor asks anybody but this host.

use std::net::SocketAddr;

use crate::admin::protection::{Part, help};
use crate::cli::query::on_this_host;
use crate::cli::service;
use crate::cli::stats::portal;
use crate::cli::system::verify::Asking;
use crate::config::{ChosenBy, ConfigError, Listen, Loaded};
use crate::os::dns::handed_out::{Host, Links, Said, handed_out};
use crate::os::dns::here;
use crate::os::dns::system::Picture;
use crate::os::link::{index_of, name_of};
use crate::os::socket::{Transport, port_owner};
use crate::transport::tls::is_before_release;

pub(super) fn configuration(loaded: &Loaded) -> Part {
    let files: Vec<_> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let text = if files.is_empty() {
        "the built-in defaults".to_owned()
    } else {
        format!("as in {}", files.join(", "))
    };
    Part::good("configuration", text)
}

pub(super) fn configuration_error(error: &ConfigError) -> Part {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    Part::bad("configuration", first, help::CHECK)
}

pub(super) fn clock() -> Part {
    if is_before_release() {
        let text =
            "this host's clock shows a time before this tacenda was made: certificates are judged by that day instead";
        return Part::bad("clock", text, "timedatectl set-ntp true, or set it by hand");
    }
    Part::good("clock", "not before the day on which this tacenda was made")
}

/// Whether tacenda answers where it should, or who sits there.
pub(super) fn listeners(listen: &Listen, asking: &Asking) -> Vec<Part> {
    let is_default = listen.chosen_by == ChosenBy::Default;
    let look = |address: &SocketAddr| {
        let own = on_this_host(*address);
        if !own.ip().is_loopback() {
            let text = format!("{address}: not asked, since it is no address of this host alone");
            return Part::unknown(LISTENS, text);
        }
        match asking.is_tacenda_at(own) {
            Ok(()) => Part::good(LISTENS, format!("{address}: tacenda answers over UDP and TCP")),
            Err(why) => nobody_there(*address, is_default, why),
        }
    };
    listen.addresses.iter().map(look).collect()
}

const LISTENS: &str = "listens";

/// What systemd says of the service, where there is one.
pub(super) fn service() -> Option<Part> {
    let word = service::state()?;
    Some(if word == "active" {
        Part::good("service", "tacenda.service runs")
    } else {
        let text = format!("tacenda.service: systemd says {word}; `journalctl -u tacenda` says why");
        Part::bad("service", text, "mend that, then: sudo tacenda service install")
    })
}

fn nobody_there(address: SocketAddr, is_default: bool, why: String) -> Part {
    let owner = [Transport::Udp, Transport::Tcp].into_iter();
    let owner = owner.filter_map(|transport| port_owner(transport, address)).next();
    match owner {
        Some(owner) => Part::bad(
            LISTENS,
            format!("{address} is taken by {owner}"),
            "stop it, or give tacenda another `listen`",
        ),
        // A host without IPv6 is served without it.
        None if is_default && address.is_ipv6() => Part::unknown(LISTENS, format!("{why}: does this host have IPv6?")),
        None => Part::bad(LISTENS, why, "sudo tacenda run, or its service"),
    }
}

/// Whose settings they are, and whether they name others beside tacenda.
pub(super) fn settings() -> Part {
    const NAME: &str = "settings";
    let facts = match here() {
        Ok(machine) => machine.facts(),
        Err(error) => return Part::unknown(NAME, error.to_string()),
    };
    let others: Vec<_> = facts
        .servers()
        .into_iter()
        .filter(|server| !server.is_loopback())
        .collect();
    if others.is_empty() {
        return Part::good(NAME, facts.headline());
    }
    let names = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let beside = if facts.named().is_some() { " beside tacenda" } else { "" };
    let text = format!("{}: programs ask {names}{beside}", facts.headline());
    Part::bad(NAME, text, help::SYSTEM_SET)
}

/// What this network hands out: programs that read that for themselves go there.
pub(super) fn network(is_guarded: Option<bool>) -> Part {
    const NAME: &str = "network";
    let Said { servers, .. } = handed_out(&Host::this(Links { name_of, index_of }), &[]);
    let others: Vec<_> = servers.iter().filter(|one| !one.server.is_loopback()).collect();
    if others.is_empty() {
        return Part::good(NAME, "hands out no resolver that this host has written down");
    }
    let words = others.iter().map(|one| {
        let by = one
            .interface
            .as_ref()
            .map_or_else(String::new, |interface| format!(" on {interface}"));
        format!("{}{by} ({})", one.server, one.by.words())
    });
    let text = format!("resolvers known here: {}", words.collect::<Vec<_>>().join(", "));
    match is_guarded {
        Some(true) => Part::good(
            NAME,
            format!("{text}; the guard keeps programs from asking them in clear text, but for what you exempt"),
        ),
        Some(false) => {
            let text = format!("{text}; nothing keeps a program from asking them in clear text");
            Part::gap(NAME, text, help::GUARD_ON)
        }
        None => Part::unknown(
            NAME,
            format!("{text}; only root may know whether the guard keeps programs from them"),
        ),
    }
}

/// Whether this network wants somebody to sign in, as the running tacenda knows.
pub(super) fn sign_in(endpoint: Option<SocketAddr>) -> Part {
    const NAME: &str = "sign-in";
    let Some(endpoint) = endpoint else {
        return Part::unknown(NAME, "the stats endpoint is off");
    };
    match portal::read(endpoint) {
        Ok(figures) => match figures.state.as_str() {
            "ok" => Part::good(NAME, "none is in the way"),
            "window" => Part::gap(NAME, "a window for it is open, in clear text", help::PORTAL_STATUS),
            "portal" => {
                let host = figures.host.map_or_else(String::new, |host| format!(" at {host}"));
                let text = format!("this network wants you to sign in{host}");
                Part::bad(NAME, text, help::PORTAL_OPEN)
            }
            "suspect" => Part::bad(NAME, "none was found, and no upstream works", help::PORTAL_STATUS),
            _ => Part::unknown(NAME, format!("who answers at http://{endpoint} is no tacenda of today")),
        },
        Err(error) => Part::unknown(NAME, format!("no tacenda says at http://{endpoint}: {error}")),
    }
}
