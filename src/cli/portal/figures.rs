//! What the running tacenda says of sign-in pages.

use std::io;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::cli::stats;

/// `portal` in `/stats`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) state: String,
    pub(super) probe: Option<String>,
    pub(super) host: Option<String>,
    pub(super) window: Option<WindowFigures>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct WindowFigures {
    pub(super) until: u64,
    pub(super) sent: Vec<u64>,
    pub(super) closed: Option<String>,
}

#[derive(Deserialize)]
struct Stats {
    portal: Figures,
}

impl Figures {
    /// The page's host, if it is a name: an address needs nobody to be asked.
    pub(super) fn host_name(&self) -> Option<&str> {
        self.host.as_deref().filter(|host| host.parse::<IpAddr>().is_err())
    }
}

/// Asks the tacenda whose stats endpoint is there.
///
/// # Errors
/// See [`stats::read`].
pub(super) fn read(address: SocketAddr) -> io::Result<Figures> {
    stats::read(address).map(|Stats { portal }| portal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(octets: &[u8]) -> Option<Figures> {
        stats::parse(octets).map(|Stats { portal }| portal)
    }

    #[test]
    fn what_is_needed_is_read_and_nothing_else_is() {
        let json = r#"{"version":"x","portal":{"state":"portal","probe":"page","host":"login.example","window":null,"more":1}}"#;
        let figures = parse(format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{json}").as_bytes()).unwrap();
        assert_eq!(
            (figures.state.as_str(), figures.host_name()),
            ("portal", Some("login.example"))
        );
        for octets in [
            "",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 404 x\r\n\r\ntacenda",
            &json[5..],
        ] {
            assert_eq!(parse(octets.as_bytes()), None, "{octets}");
        }
        let figures = Figures {
            host: Some("192.168.77.1".into()),
            ..figures
        };
        assert_eq!(figures.host_name(), None);
    }
}
