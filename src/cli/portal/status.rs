//! `tacenda portal status`: what is known of a sign-in page, and what was sent for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::choice::{Choice, Network};
use crate::cli::stats::portal::{Figures, WindowFigures};
use crate::config::units::TimeSpan;
use crate::os::dns::handed_out::Source;
use crate::os::guard::window::Window;

/// Everything that is printed.
#[derive(Debug)]
pub(super) struct Status {
    /// None if no tacenda says.
    pub(super) figures: Option<Figures>,
    /// The last consent.
    pub(super) consent: Option<Window>,
    /// How long that is good yet.
    pub(super) left: Duration,
    /// None if it was not looked.
    pub(super) network: Option<Network>,
}

impl Status {
    /// What the running tacenda says of the window of this consent.
    fn window(&self) -> Option<&WindowFigures> {
        let (figures, consent) = (self.figures.as_ref()?, self.consent.as_ref()?);
        figures
            .window
            .as_ref()
            .filter(|window| window.until == consent.until.seconds())
    }

    /// Whether the daemon uses the consent with all its names, or has used it.
    pub(super) fn is_taken_up(&self) -> bool {
        let names = self.consent.as_ref().map(|consent| consent.names.len());
        let is_whole = |window: &WindowFigures| window.closed.is_some() || Some(window.sent.len()) == names;
        self.window().is_some_and(is_whole)
    }

    /// Whether the window is open.
    pub(super) fn is_open(&self) -> bool {
        self.window().is_some_and(|window| window.closed.is_none())
    }

    /// Whether the daemon uses none.
    pub(super) fn is_given_up(&self) -> bool {
        let window = self.figures.as_ref().and_then(|figures| figures.window.as_ref());
        window.is_none_or(|window| window.closed.is_some())
    }

    /// Its names, and how often each was sent.
    pub(super) fn names(&self) -> Vec<(&str, Option<u64>)> {
        let Some(consent) = &self.consent else {
            return Vec::new();
        };
        let sent = |at| Some(*self.window()?.sent.get(at)?);
        let names = consent.names.iter().enumerate();
        names.map(|(at, name)| (name.as_str(), sent(at))).collect()
    }

    fn headline(&self) -> String {
        let Some(figures) = &self.figures else {
            return "not known: no tacenda answers at its stats endpoint".to_owned();
        };
        match (figures.state.as_str(), figures.host.as_deref()) {
            ("ok", _) => "none: upstreams work".to_owned(),
            ("portal", Some(host)) => format!("this network asks you to sign in at {host}"),
            ("portal", None) => "this network asks you to sign in; it does not say where".to_owned(),
            ("window", Some(host)) => format!("a window is open; this network asks you to sign in at {host}"),
            ("window", None) => "a window is open".to_owned(),
            _ => match figures.probe.as_deref() {
                Some("open") => "none: this network lets everybody through, and no upstream works".to_owned(),
                Some("silent") => "none found: no upstream works, and nobody answers".to_owned(),
                _ => "no upstream works".to_owned(),
            },
        }
    }

    fn window_line(&self) -> Option<String> {
        let consent = self.consent.as_ref()?;
        let left = TimeSpan(Duration::from_secs(self.left.as_secs()));
        let way = format!("{} ({})", servers(consent), consent.interface);
        Some(match self.window() {
            Some(WindowFigures { closed: None, .. }) => format!("window: open for {left} more, by {way}"),
            Some(WindowFigures { closed: Some(why), .. }) => {
                format!("window: closed ({}), it was by {way}", in_words(why))
            }
            None if self.left.is_zero() => format!("window: its time is over, it was by {way}"),
            None => format!("window: allowed for {left} more by {way}, and no tacenda says that it uses it"),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("sign-in page: {}\n", self.headline());
        if let Some(line) = self.window_line() {
            text.push_str(&format!("{line}\n{}", self.list()));
        }
        if let Some(network) = &self.network {
            text.push_str(&in_lines(network));
        }
        text
    }

    /// A line for each name.
    pub(super) fn list(&self) -> String {
        let line = |(name, sent): (&str, Option<u64>)| match sent {
            Some(1) => format!("  {name}: sent once\n"),
            Some(0) => format!("  {name}: not sent\n"),
            Some(sent) => format!("  {name}: sent {sent} times\n"),
            None => format!("  {name}\n"),
        };
        self.names().into_iter().map(line).collect()
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let figures = self.figures.as_ref();
        let names = || {
            self.names()
                .into_iter()
                .map(|(name, sent)| json!({"name": name, "sent": sent}))
        };
        let window = self.consent.as_ref().map(|consent| {
            json!({
                "interface": consent.interface,
                "servers": consent.servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>(),
                "seconds_left": self.left.as_secs(),
                "open": self.window().map(|window| window.closed.is_none()),
                "closed": self.window().and_then(|window| window.closed.clone()),
                "names": names().collect::<Vec<_>>(),
            })
        });
        json!({
            "format": 1,
            "state": figures.map(|figures| &figures.state),
            "host": figures.and_then(|figures| figures.host.as_ref()),
            "probe": figures.and_then(|figures| figures.probe.as_ref()),
            "window": window,
            "network": self.network.as_ref().map(to_json),
        })
    }
}

fn in_lines(network: &Network) -> String {
    let mut text = match &network.choice {
        Ok(Choice { interface, servers, by }) => {
            let by = by.map_or("you", Source::words);
            format!(
                "this network's resolver: {} ({interface}), by the word of {by}\n",
                listed(servers.iter().copied())
            )
        }
        Err(_) => "this network's resolver: not known\n".to_owned(),
    };
    for url in &network.urls {
        text.push_str(&format!("it tells of its sign-in page at {url}\n"));
    }
    text
}

fn to_json(network: &Network) -> serde_json::Value {
    let choice = network.choice.as_ref().ok();
    let servers = choice.map(|choice| choice.servers.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "interface": choice.map(|choice| choice.interface.name()),
        "servers": servers,
        "by": choice.and_then(|choice| choice.by).map(Source::words),
        "urls": network.urls,
    })
}

pub(super) fn servers(consent: &Window) -> String {
    listed(consent.servers.iter().map(SocketAddr::ip))
}

pub(super) fn listed(servers: impl Iterator<Item = IpAddr>) -> String {
    let servers: Vec<_> = servers.map(|server| server.to_string()).collect();
    servers.join(", ")
}

fn in_words(closed: &str) -> &str {
    match closed {
        "time" => "its time is over",
        "taken-back" => "taken back",
        "link" => "the network is another, or gone",
        "upstream-works" => "an upstream works again",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::guard::window::Link;
    use crate::os::guard::wish::Moment;

    fn status(state: &str, closed: Option<&str>) -> Status {
        let link = Link {
            interface: "h0".into(),
            index: 7,
            addresses: vec!["192.168.77.50".parse().unwrap()],
        };
        let names = vec!["login.hotel.example".into(), "cdn.example".into()];
        let server = "192.168.77.1:53".parse().unwrap();
        let consent = Window::new(
            link,
            vec![server],
            names,
            &Moment::now().unwrap(),
            Duration::from_secs(300),
        );
        Status {
            figures: Some(Figures {
                state: state.into(),
                probe: Some("page".into()),
                host: Some("login.hotel.example".into()),
                window: Some(WindowFigures {
                    until: consent.until.seconds(),
                    sent: vec![3, 0],
                    closed: closed.map(str::to_owned),
                }),
            }),
            consent: Some(consent),
            left: Duration::from_secs(120),
            network: None,
        }
    }

    #[test]
    fn it_says_what_was_sent_to_whom() {
        assert_eq!(
            status("window", None).to_text(),
            "sign-in page: a window is open; this network asks you to sign in at login.hotel.example\n\
             window: open for 2m more, by 192.168.77.1 (h0)\n  login.hotel.example: sent 3 times\n  cdn.example: not sent\n"
        );
        let closed = status("ok", Some("upstream-works"));
        assert!(closed.to_text().contains("window: closed (an upstream works again)"));
        assert!(closed.to_text().starts_with("sign-in page: none: upstreams work\n"));
        let json = closed.to_json();
        assert_eq!(
            json["window"]["names"][0],
            json!({"name": "login.hotel.example", "sent": 3})
        );
        assert_eq!(json["window"]["open"], false);
    }

    #[test]
    fn the_counts_of_another_window_are_not_this_ones() {
        let mut other = status("window", None);
        other.figures.as_mut().unwrap().window.as_mut().unwrap().until += 1;
        assert_eq!(other.names()[0], ("login.hotel.example", None));
        assert!(other.to_text().contains("no tacenda says that it uses it"));
        assert!(other.to_json()["window"]["open"].is_null());
    }

    #[test]
    fn without_a_daemon_nothing_is_known_but_the_consent() {
        let alone = Status {
            figures: None,
            consent: None,
            left: Duration::ZERO,
            network: None,
        };
        assert!(alone.to_text().starts_with("sign-in page: not known"));
        assert!(alone.to_json()["state"].is_null() && alone.to_json()["window"].is_null());
    }
}
