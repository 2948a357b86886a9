//! What becomes of a name, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Explained, Road};
use crate::cli::query::print::{ede_json, ede_words, milliseconds, rounded_ms, rule_words, rules_json};
use crate::cli::stats::{CLEAR_TEXT, Upstream};
use crate::cli::status::print::plain;
use crate::upstream::iana;
use crate::wire::header::Rcode;

impl Explained {
    fn name(&self) -> (String, String) {
        match &self.reply.question {
            Some((name, rtype, _)) => (name.clone(), rtype.clone()),
            None => ("the name".to_owned(), iana::type_name(self.question.qtype)),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let (name, rtype) = self.name();
        let mut text = format!("{name} {rtype}\n");
        // Writing into a String cannot fail.
        let mut line = |head: &str, what: &str| {
            let _ = writeln!(text, "{head:<9} {what}");
        };
        match &self.rules {
            Ok(rules) if rules.is_empty() => line("rule", "none: it is asked like any other name"),
            Ok(rules) => rules.iter().for_each(|rule| line("rule", &rule_words(rule))),
            Err(why) => line("rule", &format!("cannot be told: {why}")),
        }
        match self.held {
            _ if self.road == Road::Here => {}
            None if self.road == Road::CachedFailure => line("cache", "no answer, but that there was none"),
            None => line("cache", "not held"),
            Some(ttl) => line("cache", &format!("held, for {ttl} s more")),
        }
        line("road", self.road_words());
        match &self.upstreams {
            _ if matches!(self.road, Road::Here | Road::Cache | Road::CachedFailure | Road::Window) => {}
            Some(upstreams) => {
                let asked = upstreams.iter().filter(|(_, was_asked)| *was_asked);
                asked.for_each(|(one, _)| line("asked", &upstream_words(one)));
            }
            None => line("asked", "not known: nothing is read from the stats endpoint"),
        }
        line("answer", &self.answer_words());
        for (code, extra) in &self.reply.extended_errors {
            line("why", &ede_words(*code, extra));
        }
        text
    }

    fn road_words(&self) -> &'static str {
        match self.road {
            Road::Here => "answered on this host: nobody is asked",
            Road::Cache => "from the cache: nobody is asked",
            Road::CachedFailure => "from the cache, which remembers a failure: nobody is asked",
            Road::Upstream => "to an upstream over TLS, padded: who is on the way sees no name",
            Road::Unseen => "to an upstream, if to anybody: nobody says that one was asked",
            Road::Window => "to this network's own resolver, IN CLEAR TEXT: a window for a sign-in page is open",
            Road::Route { is_clear: true } => "by the route's way alone, IN CLEAR TEXT: whoever is on it sees the name",
            Road::Route { is_clear: false } => "by the route's way alone, over TLS",
        }
    }

    fn answer_words(&self) -> String {
        let count = match self.reply.answers.len() {
            0 => "no record".to_owned(),
            1 => "1 record".to_owned(),
            count => format!("{count} records"),
        };
        format!(
            "{}, {count}, {:.1} ms",
            Rcode(self.reply.rcode),
            milliseconds(self.took)
        )
    }

    pub(super) fn to_json(&self) -> Value {
        let (name, rtype) = self.name();
        let upstream = |(one, was_asked): &(Upstream, bool)| {
            json!({
                "name": one.name, "transport": one.transport, "state": one.state, "rtt_ms": one.rtt_ms, "asked": was_asked,
            })
        };
        let (kind, encrypted) = match self.road {
            Road::Here => ("here", None),
            Road::Cache | Road::CachedFailure => ("cache", None),
            Road::Unseen => ("unseen", None),
            Road::Window => ("window", Some(false)),
            Road::Upstream => ("upstream", Some(true)),
            Road::Route { is_clear } => ("route", Some(!is_clear)),
        };
        json!({
            "format": 1,
            "name": name,
            "type": rtype,
            "rules": rules_json(&self.rules),
            "rules_error": self.rules.as_ref().err(),
            "cache": (self.road != Road::Here).then(|| json!({ "held": self.held.is_some(), "ttl": self.held })),
            "road": {
                "kind": kind,
                "encrypted": encrypted,
                "upstreams": self.upstreams.as_ref().map(|all| all.iter().map(upstream).collect::<Vec<_>>()),
            },
            "answer": {
                "status": Rcode(self.reply.rcode).to_string(),
                "rcode": self.reply.rcode,
                "ede": ede_json(&self.reply),
                "records": self.reply.answers.len(),
                "time_ms": rounded_ms(self.took),
            },
        })
    }
}

fn upstream_words(one: &Upstream) -> String {
    let over = match one.over() {
        CLEAR_TEXT => format!("in {CLEAR_TEXT}"),
        sealed => format!("over {sealed}"),
    };
    let rtt = one
        .rtt_ms
        .map_or_else(String::new, |ms| format!(", usually {ms:.1} ms"));
    format!("{} {over}{rtt}", plain(&one.name))
}
