//! What the running tacenda says of sign-in pages.

use std::io;
#[cfg(unix)]
use std::net::IpAddr;
use std::net::SocketAddr;

use serde::Deserialize;

/// `portal` in `/stats`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::cli) struct Figures {
    pub(in crate::cli) state: String,
    pub(in crate::cli) probe: Option<String>,
    pub(in crate::cli) host: Option<String>,
    pub(in crate::cli) window: Option<WindowFigures>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::cli) struct WindowFigures {
    pub(in crate::cli) until: u64,
    pub(in crate::cli) sent: Vec<u64>,
    pub(in crate::cli) closed: Option<String>,
}

#[derive(Deserialize)]
struct Stats {
    portal: Figures,
}

#[cfg(unix)]
impl Figures {
    /// The page's host, if it is a name: an address needs nobody to be asked.
    pub(in crate::cli) fn host_name(&self) -> Option<&str> {
        self.host.as_deref().filter(|host| host.parse::<IpAddr>().is_err())
    }
}

/// Asks the tacenda whose stats endpoint is there.
///
/// # Errors
/// See [`super::read`].
pub(in crate::cli) fn read(address: SocketAddr) -> io::Result<Figures> {
    super::read(address).map(|Stats { portal }| portal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stats;

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
