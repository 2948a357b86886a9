//! What a config file may say: the TOML keys, each with its position. Nothing is judged here but shape; values stay text.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use toml::Spanned;

use super::problem::{Place, Problem, Source};

/// A file's content, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileSpec {
    pub(super) version: Option<Spanned<i64>>,
    pub(super) listen: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) allow: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) rate_limit: Option<Spanned<i64>>,
    pub(super) strategy: Option<Spanned<String>>,
    pub(super) time_servers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) upstream: Option<Spanned<Vec<Spanned<UpstreamSpec>>>>,
    pub(super) route: Option<Spanned<Vec<Spanned<RouteSpec>>>>,
    #[serde(default)]
    pub(super) policy: PolicySpec,
    #[serde(default)]
    pub(super) cache: CacheSpec,
    #[serde(default)]
    pub(super) guard: GuardSpec,
    #[serde(default)]
    pub(super) portal: PortalSpec,
    #[serde(default)]
    pub(super) stats: StatsSpec,
}

/// `[[upstream]]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UpstreamSpec {
    pub(super) url: Spanned<String>,
    pub(super) addresses: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) server_name: Option<Spanned<String>>,
    pub(super) roots: Option<Spanned<String>>,
    pub(super) pins: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[[route]]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RouteSpec {
    pub(super) zones: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) networks: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) upstream: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) interface: Option<Spanned<String>>,
    pub(super) via: Option<Spanned<String>>,
    pub(super) roots: Option<Spanned<String>>,
}

/// `[policy]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PolicySpec {
    pub(super) local_names: Option<Spanned<bool>>,
    pub(super) let_out: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) rebind_protection: Option<Spanned<bool>>,
    pub(super) rebind_allow: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) block: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) allow: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) block_answer: Option<Spanned<String>>,
    pub(super) hosts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) records: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[guard]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct GuardSpec {
    pub(super) mode: Option<Spanned<String>>,
    pub(super) exempt: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) multicast_dns: Option<Spanned<bool>>,
}

/// `[portal]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PortalSpec {
    pub(super) detect: Option<Spanned<bool>>,
    pub(super) probe: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[cache]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct CacheSpec {
    pub(super) max_bytes: Option<Spanned<Quantity>>,
    pub(super) min_ttl: Option<Spanned<Quantity>>,
    pub(super) max_ttl: Option<Spanned<Quantity>>,
    pub(super) max_negative_ttl: Option<Spanned<Quantity>>,
    pub(super) serve_stale: Option<Spanned<QuantityOrFalse>>,
    pub(super) prefetch: Option<Spanned<bool>>,
}

/// `[stats]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct StatsSpec {
    pub(super) listen: Option<Spanned<String>>,
}

/// A size or a time. A bare number is taken in as text, so that the complaint about its missing unit comes together with
/// all others and not as a type error that hides them.
#[derive(Debug)]
pub(super) struct Quantity(pub(super) String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl Visitor<'_> for TextOrNumber {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number with its unit in quotes, such as \"64 MiB\" or \"30s\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(TextOrNumber).map_err(D::Error::custom)
    }
}

/// A time, or `false`, which is read as no time at all.
#[derive(Debug)]
pub(super) struct QuantityOrFalse(pub(super) Quantity);

impl<'de> Deserialize<'de> for QuantityOrFalse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeOrFalse;
        impl Visitor<'_> for TimeOrFalse {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"1d\", or false")
            }

            fn visit_bool<E: serde::de::Error>(self, is_on: bool) -> Result<Quantity, E> {
                if is_on {
                    return Err(E::invalid_type(serde::de::Unexpected::Bool(true), &self));
                }
                Ok(Quantity("0s".to_owned()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer
            .deserialize_any(TimeOrFalse)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// Reads a file's text.
///
/// # Errors
/// The first thing whose shape is wrong: TOML itself, an unknown key, a number where a text belongs.
pub(super) fn parse(source: &Arc<Source>) -> Result<FileSpec, Problem> {
    toml::from_str(&source.text).map_err(|error| Problem {
        place: Place::At {
            source: Arc::clone(source),
            span: error.span().unwrap_or(0..0),
        },
        message: plain_words(error.message()),
        help: None,
    })
}

/// serde speaks of Rust's types; the user knows TOML's.
fn plain_words(message: &str) -> String {
    message
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
        .replace("duplicate field", "duplicate key")
        .replace(
            "invalid type: map, expected a sequence",
            "this table may stand several times: write it in double brackets, as in [[upstream]]",
        )
        .replace(
            "expected a sequence",
            "expected a list in square brackets, such as [\"one\", \"two\"]",
        )
        .replace("invalid type: sequence, expected", "found a list, expected")
        .replace("expected struct CacheSpec", "expected the table [cache]")
        .replace("expected struct GuardSpec", "expected the table [guard]")
        .replace("expected struct PolicySpec", "expected the table [policy]")
        .replace("expected struct PortalSpec", "expected the table [portal]")
        .replace("expected struct StatsSpec", "expected the table [stats]")
        .replace("expected struct UpstreamSpec", "expected a table with at least `url`")
        .replace("expected i64", "expected a whole number")
        // `tls://...` begins like `true`.
        .replace(
            "invalid boolean, expected `true`",
            "expected `true`, or a text in quotes",
        )
        .replace(
            "string values must be quoted, expected literal string",
            "a text stands in quotes",
        )
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let source = Arc::new(Source {
            path: "t.toml".into(),
            text: text.into(),
        });
        parse(&source).unwrap_err().to_string()
    }

    #[test]
    fn a_typo_lists_what_was_expected() {
        let error = error("version = 1\n[cahce]\nmax-ttl = \"1d\"\n");
        assert!(
            error.starts_with("t.toml:2:2: unknown key `cahce`, expected one of `version`, `listen`"),
            "{error}"
        );
        assert!(error.contains("2 | [cahce]\n  |  ^^^^^"), "{error}");
    }

    #[test]
    fn shapes_are_named_in_the_users_words() {
        assert!(error("[upstream]\nurl = \"x\"\n").contains("[[upstream]]"));
        assert!(error("listen = \"127.0.0.1:53\"\n").contains("expected a list in square brackets"));
        assert!(error("[[upstream]]\nname = \"x\"\n").contains("missing key `url`"));
        assert!(error("version = \"1\"\n").contains("expected a whole number"));
        assert!(error("rate-limit = \"1000\"\n").contains("expected a whole number"));
        assert!(error("cache = 5\n").contains("expected the table [cache]"));
        assert!(error("[cache]\nmax-bytes = true\n").contains("a number with its unit in quotes"));
        assert!(error("[cache]\nserve-stale = true\n").contains("expected a time such as \"1d\", or false"));
        assert!(error("[cache]\nprefetch = \"yes\"\n").contains("expected a boolean"));
        assert!(error("listen = [\n").starts_with("t.toml:"));
        assert!(error("[[upstream]]\nurl = tls://x.example\n").contains("or a text in quotes"));
        assert!(error("[[upstream]]\nurl = https://x.example\n").contains("a text stands in quotes"));
        assert!(error("strategy = \"a\"\nstrategy = \"b\"\n").contains("duplicate key"));
    }

    #[test]
    fn consent_is_no_configuration() {
        assert!(error("[portal]\nopen = true\n").contains("unknown key `open`"));
    }
}
