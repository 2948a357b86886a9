//! `config show`: the merged configuration as TOML that loads again, each value with the place it comes from.

use std::fmt;

use super::check::names;
use super::draft::{Draft, DraftUpstream};
use super::load::Loaded;
use super::problem::{Place, Sourced};
use super::units::{ByteSize, TimeSpan};

/// The configuration as TOML, a comment behind every value: `default`, `file:line` or the flag.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let draft = &self.draft;
        let mut lines = Lines(vec![Line::bare("version = 1")]);
        let listen = draft.listen.value.iter().map(|address| address.value.to_string());
        lines.value("listen", &list(listen), &draft.listen.place);
        lines.value(
            "allow",
            &list(draft.allow.value.iter().flatten().map(ToString::to_string)),
            &draft.allow.place,
        );
        let rate_limit = &draft.rate_limit;
        lines.value("rate-limit", &rate_limit.value.to_string(), &rate_limit.place);
        lines.value(
            "strategy",
            &quoted(&draft.strategy.value.to_string()),
            &draft.strategy.place,
        );
        let time_servers = draft.time_servers.value.iter().map(|name| name.value.clone());
        lines.value("time-servers", &list(time_servers), &draft.time_servers.place);
        for (upstream, name) in draft.upstreams.value.iter().zip(names(&draft.upstreams.value)) {
            lines.upstream(upstream, &name);
        }
        draft.routes.value.iter().for_each(|route| route.show(&mut lines));
        draft.policy.show(&mut lines);
        lines.cache(draft);
        draft.guard.show(&mut lines);
        lines.table("[stats]");
        let stats = draft
            .stats
            .value
            .map_or_else(|| "off".to_owned(), |address| address.to_string());
        lines.value("listen", &quoted(&stats), &draft.stats.place);
        write!(f, "{lines}")
    }
}

pub(super) struct Line {
    text: String,
    origin: Option<String>,
}

impl Line {
    fn bare(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            origin: None,
        }
    }
}

pub(super) struct Lines(Vec<Line>);

impl Lines {
    pub(super) fn table(&mut self, header: &str) {
        self.0.extend([Line::bare(""), Line::bare(header)]);
    }

    pub(super) fn value(&mut self, key: &str, value: &str, place: &Place) {
        self.0.push(Line {
            text: format!("{key} = {value}"),
            origin: Some(place.to_string()),
        });
    }

    fn upstream(&mut self, upstream: &DraftUpstream, name: &str) {
        let url = &upstream.endpoint;
        self.table("[[upstream]]");
        self.value("url", &quoted(&url.value.to_string()), &url.place);
        // What nobody wrote follows from the URL: the table of well-known resolvers, the host.
        let addresses = upstream.resolved_addresses();
        if addresses.is_empty() {
            self.0.push(Line::bare(
                "# addresses: asked of a resolver that is reached by address",
            ));
        } else {
            let given = upstream.addresses.as_ref();
            self.value(
                "addresses",
                &list(addresses.iter().map(ToString::to_string)),
                given.map_or(&Place::Default, |given| &given.place),
            );
        }
        let name_place = upstream.name.as_ref().map_or(&Place::Default, |given| &given.place);
        self.value("name", &quoted(name), name_place);
        let (server_name, place) = match &upstream.server_name {
            Some(Sourced { value, place }) => (value, place),
            None => (&url.value.host, &Place::Default),
        };
        self.value("server-name", &quoted(&server_name.to_string()), place);
        self.value(
            "roots",
            &quoted(&upstream.roots.value.to_string()),
            &upstream.roots.place,
        );
        let pins = upstream.pins.value.iter().map(|pin| pin.value.to_string());
        self.value("pins", &list(pins), &upstream.pins.place);
    }

    fn cache(&mut self, draft: &Draft) {
        self.table("[cache]");
        self.value(
            "max-bytes",
            &quoted(&ByteSize(draft.max_bytes.value).to_string()),
            &draft.max_bytes.place,
        );
        for (key, ttl) in [
            ("min-ttl", &draft.min_ttl),
            ("max-ttl", &draft.max_ttl),
            ("max-negative-ttl", &draft.max_negative_ttl),
            ("serve-stale", &draft.serve_stale),
        ] {
            self.value(key, &quoted(&TimeSpan(ttl.value).to_string()), &ttl.place);
        }
        let prefetch = &draft.prefetch;
        self.value("prefetch", &prefetch.value.to_string(), &prefetch.place);
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self
            .0
            .iter()
            .filter(|line| line.origin.is_some())
            .map(|line| line.text.chars().count());
        let column = widest.filter(|width| *width <= MAX_COLUMN).max().unwrap_or(0);
        for Line { text, origin } in &self.0 {
            match origin {
                Some(origin) => writeln!(f, "{text:column$}  # {origin}")?,
                None => writeln!(f, "{text}")?,
            }
        }
        Ok(())
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    toml::Value::Array(items.map(toml::Value::from).collect()).to_string()
}

/// Comments line up behind all but the longest values.
const MAX_COLUMN: usize = 60;
