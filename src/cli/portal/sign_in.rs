//! In an open window: what the network's API says, and the name of the page that it alone may know.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::api::{Api, Way, Word, is_here, trust};
use super::status::Status;
use super::{Failure, Here, MAX_NAMES, told_name, wait};
use crate::app::portal::reply::host_of;
use crate::cli::terminal::confirmed;
use crate::config::units::TimeSpan;
use crate::os::guard::window::Window;
use crate::os::socket::Interface;
use crate::os::terminal::forget_typed;

/// Asks the network's API, once the window is open; none if there is none, or if it says nothing that is of use, which is said.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn told(
    here: &Here,
    urls: &[String],
    window: &Window,
    interface: &Interface,
    yes: bool,
) -> Result<Option<Word>, Failure> {
    let is_open = wait(here.stats, Status::is_taken_up)?.is_open();
    let (Ok(listen), true) = (&here.server, is_open) else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for url in urls {
        let Some(api) = Api::at(url) else { continue };
        let is_seen = match api.host.parse::<IpAddr>() {
            Ok(_) => !yes,
            Err(_) => window.names.contains(&api.host),
        };
        if !is_seen {
            let how = told_name(url).map_or_else(String::new, |name| format!(": --name {name}"));
            eprintln!(
                "note: this network tells of its sign-in page at {url}, which nobody has allowed to be asked{how}"
            );
            continue;
        }
        let said = trust().and_then(|tls| {
            runtime.block_on(api.ask(&Way {
                listen: *listen,
                interface: Some(interface),
                tls: &tls,
                is_here,
            }))
        });
        match said {
            Ok(word) => return Ok(Some(word)),
            Err(why) => eprintln!("note: this network's API for its sign-in page at {}: {why}", api.host),
        }
    }
    Ok(None)
}

/// Whether this name may be asked too.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn is_agreed(yes: bool, name: &str) -> io::Result<bool> {
    if yes {
        eprintln!("note: this network's API says that its page is at {name}, which nobody has allowed: --name {name}");
        return Ok(false);
    }
    // What was typed before it was asked is no answer to it.
    forget_typed();
    confirmed([format!(
        "This network's API says that its page is at {name}. Allow look-ups of that name too?"
    )])
}

/// The window has closed meanwhile.
#[expect(clippy::print_stderr, reason = "this is where the program talks to its user")]
pub(super) fn is_late() {
    eprintln!("note: no name was added: that window is closed");
}

impl Word {
    /// The name of its page, if it is to be asked for and not among these.
    pub(super) fn name_beside(&self, names: &[String]) -> Option<String> {
        let name = told_name(self.page.as_deref().filter(|_| self.is_captive)?)?;
        (names.len() < MAX_NAMES && !names.contains(&name)).then_some(name)
    }

    /// What it says, where these names are allowed.
    pub(super) fn to_text(&self, names: &[(&str, Option<u64>)]) -> String {
        let is_reached = |page: &str| {
            let host = host_of(page).unwrap_or_default();
            host.parse::<IpAddr>().is_ok() || names.iter().any(|(name, _)| *name == host)
        };
        match (self.is_captive, &self.page, self.left) {
            (true, Some(page), _) if is_reached(page) => format!("sign in at {page}\n"),
            (true, Some(page), _) => format!("its page is at {page}, whose name is not allowed\n"),
            (true, None, _) => "its API says that you have to sign in, and names no page over TLS\n".to_owned(),
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
            (word(true, Some("https://fileserver/x"), None), None),
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
        for (word, names, expected) in [
            (
                &page,
                &[("portal.example", Some(0))][..],
                "sign in at https://portal.example/x\n",
            ),
            (
                &page,
                &[],
                "its page is at https://portal.example/x, whose name is not allowed\n",
            ),
            (
                &word(true, Some("https://192.168.77.1/"), None),
                &[],
                "sign in at https://192.168.77.1/\n",
            ),
            (
                &word(false, None, Some(3_725)),
                &[],
                "its API says that you are let through, for 62m more\n",
            ),
        ] {
            assert_eq!(word.to_text(names), expected);
        }
    }
}
