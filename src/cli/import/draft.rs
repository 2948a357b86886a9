//! A configuration in the making, and what could not be taken.

use std::fmt::{Display, Write};
use std::net::IpAddr;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) listen: Vec<String>,
    pub(super) strategy: Option<&'static str>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) routes: Vec<Route>,
    /// Keys of `[cache]` and their values.
    pub(super) cache: Vec<(&'static str, String)>,
    /// Files of `[policy]`.
    pub(super) block: Vec<String>,
    pub(super) allow: Vec<String>,
    notes: Vec<String>,
}

/// A resolver to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) url: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) roots: Option<String>,
    pub(super) pins: Vec<String>,
}

/// Zones that go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) zone: String,
    pub(super) upstreams: Vec<String>,
}

impl Draft {
    /// Something that was not taken, and why.
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Adds a resolver; the addresses of one that is there already go with it.
    pub(super) fn add(&mut self, upstream: Upstream) {
        match self.upstreams.iter_mut().find(|known| known.url == upstream.url) {
            Some(known) => {
                let new = upstream.addresses.iter().filter(|one| !known.addresses.contains(one));
                let new: Vec<_> = new.copied().collect();
                known.addresses.extend(new);
                let pins: Vec<_> = upstream
                    .pins
                    .into_iter()
                    .filter(|pin| !known.pins.contains(pin))
                    .collect();
                known.pins.extend(pins);
            }
            None => self.upstreams.push(upstream),
        }
    }

    /// The file, with what was not taken at its end.
    pub(super) fn to_toml(&self, from: &str) -> String {
        let mut text = format!(
            "# From {}, by `tacenda import`. `tacenda check` says whether it is right.\n",
            one_line(from)
        );
        text.push_str("version = 1\n");
        // Writing into a String cannot fail.
        if !self.listen.is_empty() {
            let _ = writeln!(text, "listen = {}", list(&self.listen));
        }
        if let Some(strategy) = self.strategy {
            let _ = writeln!(text, "strategy = {}", quoted(strategy));
        }
        for upstream in &self.upstreams {
            let _ = write!(text, "\n[[upstream]]\nurl = {}\n", quoted(&upstream.url));
            if !upstream.addresses.is_empty() {
                let _ = writeln!(text, "addresses = {}", list(&upstream.addresses));
            }
            if let Some(roots) = &upstream.roots {
                let _ = writeln!(text, "roots = {}", quoted(roots));
            }
            match &upstream.pins[..] {
                [] => {}
                [only] => {
                    let _ = writeln!(
                        text,
                        "# not taken: one pin alone ({}): two are needed, the other for the day the key changes",
                        one_line(only)
                    );
                }
                pins => {
                    let _ = writeln!(text, "pins = {}", list(pins));
                }
            }
        }
        for route in &self.routes {
            let _ = write!(
                text,
                "\n[[route]]\nzones = {}\nupstream = {}\n# In clear text by any way: write the VPN's interface here if it is one's.\ninterface = \"any\"\n",
                list(&[&route.zone]),
                list(&route.upstreams)
            );
        }
        if !self.cache.is_empty() {
            text.push_str("\n[cache]\n");
            for (key, value) in &self.cache {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
        }
        if !self.block.is_empty() || !self.allow.is_empty() {
            text.push_str("\n[policy]\n");
        }
        for (key, files) in [("block", &self.block), ("allow", &self.allow)] {
            if !files.is_empty() {
                let _ = writeln!(text, "{key} = {}", list(files));
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\n# Not taken:\n");
            for note in &self.notes {
                let _ = writeln!(text, "#   {}", one_line(note));
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(all: &[impl Display]) -> String {
    let all: Vec<_> = all.iter().map(|one| quoted(&one.to_string())).collect();
    format!("[{}]", all.join(", "))
}

/// A comment ends with its line: what stands in a file of others must not go on as configuration.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
