//! Single values, each read from its text: addresses, names, roots, the strategy. What they mean together is judged in
//! `check`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};
use super::units::UnitError;
use super::{BlockAnswer, Pin, RecordsFrom, Roots, Strategy, load};
use crate::policy::local;
use crate::transport::tls::PinError;
use crate::upstream::endpoint::{EndpointError, Host};

/// What is wrong with one value, before it is known where it stands.
pub(super) struct Complaint {
    message: String,
    help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: &str, help: &str) -> Self {
        Self {
            message: message.to_owned(),
            help: Some(help.to_owned()),
        }
    }

    pub(super) fn at(self, place: Place) -> Problem {
        Problem {
            place,
            message: self.message,
            help: self.help,
        }
    }
}

impl From<String> for Complaint {
    fn from(message: String) -> Self {
        Self { message, help: None }
    }
}

impl From<UnitError> for Complaint {
    fn from(error: UnitError) -> Self {
        error.to_string().into()
    }
}

impl From<EndpointError> for Complaint {
    fn from(error: EndpointError) -> Self {
        error.to_string().into()
    }
}

/// `127.0.0.1:53`, `[::1]:53`, or an address alone, which means port 53.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, Complaint> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(address, 53)),
        Err(_) => Err(Complaint::new(
            "not an IP address with a port",
            "write for example \"127.0.0.1:53\" or \"[::1]:53\"; names are not looked up here",
        )),
    }
}

pub(super) fn parse_address(text: &str) -> Result<IpAddr, Complaint> {
    text.parse()
        .map_err(|_| Complaint::new("not an IP address", "write for example \"9.9.9.9\" or \"2620:fe::fe\""))
}

pub(super) fn parse_strategy(text: &str) -> Result<Strategy, Complaint> {
    match text {
        "in-order" => Ok(Strategy::InOrder),
        "fastest" => Ok(Strategy::Fastest),
        "spread" => Ok(Strategy::Spread),
        _ => Err(Complaint::new(
            "unknown strategy",
            "write \"in-order\", \"fastest\" or \"spread\"",
        )),
    }
}

pub(super) fn parse_domain(text: &str) -> Result<String, Complaint> {
    match text.parse::<Host>() {
        Ok(Host::Name(name)) => Ok(name),
        _ => Err(Complaint::new("not a host name", "write for example \"home.example\"")),
    }
}

/// A file or folder that is there; `help` says what belongs into it. A relative path counts from the file that says it.
pub(super) fn parse_path(text: &str, directory: &Path, help: &str) -> Result<PathBuf, Complaint> {
    let path = directory.join(text);
    match std::fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(Complaint::new(
            &format!("cannot read {}: {error}", path.display()),
            help,
        )),
    }
}

/// A record has blanks in it, a path has not, or begins as paths do.
pub(super) fn parse_records(text: &str, directory: &Path) -> Result<RecordsFrom, Complaint> {
    let is_path = !text.trim().contains([' ', '\t']) || text.starts_with(['/', '.', '\\']);
    if is_path {
        parse_path(text, directory, RECORDS_HELP).map(RecordsFrom::Path)
    } else {
        Ok(RecordsFrom::Line(text.to_owned()))
    }
}

/// What belongs into a list.
pub(super) const LISTS_HELP: &str =
    "lists are files with one domain a line, hosts files, adblock's ||domain^, or a folder of those";

/// What belongs into `hosts`.
pub(super) const HOSTS_HELP: &str = "hosts files have lines such as \"192.168.1.5 nas.example\"";

const RECORDS_HELP: &str =
    "write a record such as \"nas.example A 192.168.1.5\", a file with one a line, or a folder of such files";

pub(super) fn parse_block_answer(text: &str) -> Result<BlockAnswer, Complaint> {
    match text {
        "null" => Ok(BlockAnswer::Null),
        "nxdomain" => Ok(BlockAnswer::NxDomain),
        _ => Err(Complaint::new("unknown answer", "write \"null\" or \"nxdomain\"")),
    }
}

/// A zone that is answered here, or a sort of names.
pub(super) fn parse_let_out(text: &str) -> Result<String, Complaint> {
    let word = text.trim_end_matches('.').to_ascii_lowercase();
    if local::is_known(&word) {
        return Ok(word);
    }
    let sorts = local::SORTS.join(", ");
    Err(Complaint::new(
        "nothing of this name is answered here",
        &format!("write a zone such as \"lan\" or \"168.192.in-addr.arpa\", or one of: {sorts}"),
    ))
}

pub(super) fn parse_stats(text: &str) -> Result<Option<SocketAddr>, Complaint> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        Ok(_) => Err(Complaint::new(
            "the stats endpoint has no password and only listens on loopback",
            "write \"127.0.0.1:8053\" or \"off\"; to read it from elsewhere, forward the port with ssh",
        )),
        Err(_) => Err(Complaint::new(
            "not a loopback address with a port",
            "write \"127.0.0.1:8053\" or \"off\"",
        )),
    }
}

/// A name is a metric label and a word in logs.
pub(super) fn parse_name(text: &str) -> Result<String, Complaint> {
    let sound = !text.is_empty() && text.chars().count() <= MAX_NAME_LEN && !text.contains(char::is_control);
    if sound {
        Ok(text.to_owned())
    } else {
        Err(Complaint::new(
            "a name has 1 to 64 printable characters",
            "write for example \"quad9\"",
        ))
    }
}

/// A relative path counts from the file that says it. The file is looked into, so that `check` finds out and not the
/// first handshake.
pub(super) fn parse_roots(text: &str, directory: &Path) -> Result<Roots, Complaint> {
    match text {
        "bundled" => return Ok(Roots::Bundled),
        "system" => return Ok(Roots::System),
        _ => {}
    }
    let path = directory.join(text);
    let help = "roots are \"bundled\", \"system\" or the path of a PEM file";
    match load::read_text(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(Roots::File(path)),
        Ok(_) => Err(Complaint::new(
            &format!("no PEM certificate in {}", path.display()),
            help,
        )),
        Err(error) => Err(Complaint::new(
            &format!("cannot read {}: {error}", path.display()),
            help,
        )),
    }
}

/// As curl and HTTP write it: `sha256/` and base64.
pub(super) fn parse_pin(text: &str) -> Result<Pin, Complaint> {
    text.parse().map_err(|error: PinError| {
        Complaint::new(
            &error.to_string(),
            "write \"sha256/\" and the 44 characters of base64 that the README's openssl line prints",
        )
    })
}

/// Characters of an upstream's name: room for a host name of usual length, and a table column stays a column.
const MAX_NAME_LEN: usize = 64;
