//! Split DNS: which names go to a resolver of their own and nowhere else.

use std::collections::HashMap;

use super::local::Labels;

/// The zones of all routes.
#[derive(Clone, Debug, Default)]
pub struct Routes(HashMap<Box<[u8]>, usize>);

impl Routes {
    /// Zones in wire form, canonical, each with the number of its route. Of a zone that is there twice the first counts.
    pub fn new(zones: impl Iterator<Item = (Box<[u8]>, usize)>) -> Self {
        let mut routes = HashMap::new();
        for (zone, number) in zones {
            routes.entry(zone).or_insert(number);
        }
        Self(routes)
    }

    /// The route of a canonical name in wire form: the one with the longest zone that the name is in. Allocates nothing.
    pub(super) fn find(&self, qname: &[u8]) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        Labels::of(qname).find_map(|label| self.0.get(&qname[label.at..]).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::name;

    #[test]
    fn the_longest_zone_counts() {
        let zones = [
            ("corp.example", 0),
            ("lab.corp.example", 1),
            ("10.in-addr.arpa", 0),
            ("corp.example", 2),
        ];
        let routes = Routes::new(zones.into_iter().map(|(zone, number)| (name(zone).into(), number)));
        for (qname, route) in [
            ("corp.example", Some(0)),
            ("a.b.corp.example", Some(0)),
            ("lab.corp.example", Some(1)),
            ("x.lab.corp.example", Some(1)),
            ("xlab.corp.example", Some(0)),
            ("4.3.2.10.in-addr.arpa", Some(0)),
            ("example", None),
            ("xcorp.example", None),
            ("corp.example.com", None),
            ("", None),
        ] {
            assert_eq!(routes.find(&name(qname)), route, "{qname}");
        }
        assert_eq!(Routes::default().find(&name("corp.example")), None);
    }
}
