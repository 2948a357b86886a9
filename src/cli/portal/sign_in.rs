//! In an open window: what the network's API says, and the name of the page that it alone may know.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::api::{Api, Word, trust};
use super::{MAX_NAMES, read_name};
use crate::app::portal::reply::host_of;
use crate::cli::terminal::confirmed;
use crate::config::units::TimeSpan;
use crate::os::socket::Interface;

/// Asks the API; none if it says nothing that is of use, which is said.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn told(api: &Api, server: SocketAddr, interface: &Interface) -> Option<Word> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let said = trust().and_then(|tls| runtime.block_on(api.ask(server, Some(interface), &tls)));
    match said {
        Ok(word) => Some(word),
        Err(why) => {
            eprintln!("note: this network's API for its sign-in page at {}: {why}", api.host);
            None
        }
    }
}

/// Whether this name may be asked too.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn is_agreed(yes: bool, name: &str) -> io::Result<bool> {
    if yes {
        eprintln!("allowed too, as this network's API names it: {name}");
        return Ok(true);
    }
    confirmed([format!(
        "This network's API says that its page is at {name}. Allow look-ups of that name too?"
    )])
}

impl Word {
    /// The name of its page, if it is to be asked for and not among these.
    pub(super) fn name_beside(&self, names: &[String]) -> Option<String> {
        let host = self.page.as_deref().filter(|_| self.is_captive).and_then(host_of)?;
        let name = read_name(&host).ok().filter(|name| name.parse::<IpAddr>().is_err())?;
        (names.len() < MAX_NAMES && !names.contains(&name)).then_some(name)
    }

    pub(super) fn to_text(&self) -> String {
        match (self.is_captive, &self.page, self.left) {
            (true, Some(page), _) => format!("sign in at {page}\n"),
            (true, None, _) => "its API says that you have to sign in, and not where\n".to_owned(),
            (false, _, Some(left)) => format!("its API says that you are let through, for {} more\n", rough(left)),
            (false, _, None) => "its API says that you are let through\n".to_owned(),
        }
    }
}

/// In minutes where there are some.
fn rough(time: Duration) -> TimeSpan {
    let seconds = time.as_secs();
    TimeSpan(Duration::from_secs(if seconds < 60 {
        seconds
    } else {
        seconds - seconds % 60
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(is_captive: bool, page: Option<&str>, left: Option<u64>) -> Word {
        Word {
            is_captive,
            page: page.map(str::to_owned),
            left: left.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_name_that_is_not_allowed_yet_is_asked_about_and_nothing_else_is() {
        let names = ["api.hotel.example".to_owned()];
        for (word, expected) in [
            (
                word(true, Some("https://Portal.example:8443/x"), None),
                Some("portal.example"),
            ),
            (word(true, Some("https://api.hotel.example/x"), None), None),
            (word(true, Some("https://192.168.77.1/x"), None), None),
            (word(true, Some("https://wpad.hotel.example/x"), None), None),
            (word(true, None, None), None),
            (word(false, Some("https://portal.example/x"), None), None),
        ] {
            assert_eq!(word.name_beside(&names).as_deref(), expected, "{word:?}");
        }
        let full = vec![String::new(); MAX_NAMES];
        assert_eq!(
            word(true, Some("https://portal.example/"), None).name_beside(&full),
            None
        );
    }

    #[test]
    fn it_is_said_where_to_sign_in_or_for_how_long_it_is_done() {
        let page = word(true, Some("https://portal.example/x"), Some(9));
        assert_eq!(page.to_text(), "sign in at https://portal.example/x\n");
        assert_eq!(
            word(false, None, Some(3_725)).to_text(),
            "its API says that you are let through, for 62m more\n"
        );
    }
}
