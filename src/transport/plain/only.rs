//! Leave to ask in clear text, and for which names.

use std::fmt;
use std::sync::Arc;

use crate::wire::domains::{Domains, canonical};

/// Leave to send classic DNS, for the names of a route's zones and no other. Only what reads a `[[route]]` makes one: a test of the house
/// reads the source for it. And should it come into other hands, it opens no more than those zones.
#[derive(Clone)]
pub struct RouteOnly {
    zones: Arc<Domains>,
}

/// Why there is no leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteOnlyError {
    /// No zone at all.
    NoZone,
    /// The root is no zone of one's own: every name is below it.
    Root,
    /// Not a name.
    BadName(String),
}

impl RouteOnly {
    /// Leave for these zones: the names themselves and all below them.
    ///
    /// # Errors
    /// See [`RouteOnlyError`].
    pub fn for_zones<'a>(zones: impl IntoIterator<Item = &'a str>) -> Result<Self, RouteOnlyError> {
        let zones: Domains = zones.into_iter().map(wire_form).collect::<Result<_, _>>()?;
        if zones.is_empty() {
            return Err(RouteOnlyError::NoZone);
        }
        Ok(Self { zones: Arc::new(zones) })
    }

    /// Whether this canonical name is in one of the zones.
    pub(super) fn covers(&self, qname: &[u8]) -> bool {
        self.zones.cover(qname)
    }
}

fn wire_form(zone: &str) -> Result<Box<[u8]>, RouteOnlyError> {
    if zone == "." {
        return Err(RouteOnlyError::Root);
    }
    let labels = zone.strip_suffix('.').unwrap_or(zone);
    canonical(labels).ok_or_else(|| RouteOnlyError::BadName(zone.to_owned()))
}

/// Zones are parts of query names, and debug output ends up in logs.
impl fmt::Debug for RouteOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteOnly")
            .field("zones", &self.zones.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RouteOnlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoZone => f.write_str("a route needs at least one zone"),
            Self::Root => {
                f.write_str("the root is every name there is: not even a route may ask them all in clear text")
            }
            Self::BadName(name) => write!(f, "`{}` is not a domain name", name.escape_debug()),
        }
    }
}

impl std::error::Error for RouteOnlyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_a_zone_covers_itself_and_what_is_below_it_and_nothing_else() {
        let only = RouteOnly::for_zones(["Corp.Example.", "10.in-addr.arpa"]).unwrap();
        for (name, expected) in [
            ("corp.example", true),
            ("a.b.corp.example", true),
            ("1.0.0.10.in-addr.arpa", true),
            ("example", false),
            ("xcorp.example", false),
            ("corp.example.com", false),
            ("11.in-addr.arpa", false),
        ] {
            assert_eq!(only.covers(&wire_form(name).unwrap()), expected, "{name}");
        }
        // A label that looks like two, and the root.
        assert!(!only.covers(b"\x0ccorp.example\x00") && !only.covers(b"\x00") && !only.covers(b""));
    }

    #[test]
    fn p1_there_is_no_leave_for_everything_or_for_nothing() {
        let refused = |zones: &[&str]| RouteOnly::for_zones(zones.iter().copied()).unwrap_err();
        assert_eq!(refused(&[]), RouteOnlyError::NoZone);
        assert_eq!(refused(&["corp.example", "."]), RouteOnlyError::Root);
        for name in ["", "a..b", ".corp.example", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(refused(&[name]), RouteOnlyError::BadName(name.to_owned()));
        }
    }
}
