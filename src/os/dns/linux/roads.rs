//! Which of several files is to stand at `/etc/resolv.conf` again: the newest whose server is reached as it was when it was written. A VPN that
//! has gone took the way to its server along. Pure but for who knows the roads.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::object::Object;

/// Who knows by which link packets leave. Sends none.
pub trait Roads {
    /// The name of the link by which packets to this address would leave now, empty where the system does not say; none without a way.
    fn link_to(&self, server: IpAddr) -> Option<String>;

    /// Whether it is in a network of this host's own, without a router in between.
    fn is_near(&self, server: IpAddr) -> bool;

    /// Whether there is a link of this name.
    fn has_link(&self, name: &str) -> bool;
}

/// What somebody put there, and we replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Note {
    /// Never ours.
    pub object: Object,
    /// By which link its first server was reached then. None if it was not, if it names none, and in journals from before this was noted.
    pub link: Option<String>,
}

impl Note {
    /// What stands there now.
    pub(super) fn of(object: Object, roads: &impl Roads) -> Self {
        let link = first_server(&object).and_then(|server| server.link(roads));
        Self { object, link }
    }

    /// Whether its server is reached, and as it was then.
    fn is_reached(&self, roads: &impl Roads) -> bool {
        let Some(server) = first_server(&self.object) else {
            return true;
        };
        let link = server.link(roads);
        link.is_some() && (self.link.is_none() || self.link == link)
    }

    /// Whether its link is there, up or down.
    fn may_come_back(&self, roads: &impl Roads) -> bool {
        self.link.as_ref().is_none_or(|link| roads.has_link(link))
    }
}

/// Adds a note to those that are known, the newest last. Of one link the newest counts alone: it is in another network by now.
pub(super) fn add(notes: &mut Vec<Note>, note: Note) {
    notes.retain(|known| known.link != note.link);
    notes.push(note);
    let too_many = notes.len().saturating_sub(MAX_NOTES);
    notes.drain(..too_many);
}

/// What is to stand there again. A link is somebody's decision and stays it; a file that was written over is out of date.
pub(super) fn choose<'a>(before: &'a Object, notes: &'a [Note], roads: &impl Roads) -> &'a Object {
    if !matches!(before, Object::File { .. }) {
        return before;
    }
    let newest = || notes.iter().rev();
    let is_certain = |object: &Object| first_server(object).is_none_or(|server| server.is_certain(roads));
    if let Some(note) = newest().find(|note| note.is_reached(roads) && is_certain(&note.object)) {
        return &note.object;
    }
    if is_certain(before) {
        return before;
    }
    let chosen = newest().find(|note| note.is_reached(roads)).or_else(|| {
        // If nobody is reached the network is down, and comes back. A link that is gone does not.
        let is_down = first_server(before).is_some_and(|server| server.link(roads).is_none());
        newest().find(|note| is_down && note.may_come_back(roads))
    });
    chosen.map_or(before, |note| &note.object)
}

/// A server, and the link that it names itself if it is link-local.
struct Server(IpAddr, Option<String>);

impl Server {
    fn link(&self, roads: &impl Roads) -> Option<String> {
        match &self.1 {
            Some(link) => roads.has_link(link).then(|| link.clone()),
            None => roads.link_to(self.0),
        }
    }

    /// Whether it is whom the file means. A private address behind a router may be anybody's: so a VPN's is reached when the VPN has gone, or
    /// was not there yet when its script wrote.
    fn is_certain(&self, roads: &impl Roads) -> bool {
        let is_private = match self.0 {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        };
        self.link(roads).is_some() && (!is_private || self.1.is_some() || roads.is_near(self.0))
    }
}

/// The one that libc asks first; none if it is nothing to go by.
fn first_server(object: &Object) -> Option<Server> {
    let servers = object.servers();
    let first = servers.first()?;
    let (address, link) = first.split_once('%').unzip();
    let address = address.unwrap_or(first).parse().ok()?;
    Some(Server(address, link.map(str::to_owned)))
}

/// Reads what others wrote: a list, or in older journals the newest alone.
pub(super) fn read<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Note>, D::Error> {
    Ok(match Option::<Written>::deserialize(from)? {
        None => Vec::new(),
        Some(Written::Notes(notes)) => notes,
        Some(Written::Newest(object)) => vec![Note { object, link: None }],
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Notes(Vec<Note>),
    Newest(Object),
}

/// A cable, a radio and a VPN.
const MAX_NOTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::dns::linux::object::Octets;

    /// Networks and their links: `h0` has the default route if it is up.
    struct Net(&'static [(&'static str, &'static str)]);

    impl Roads for Net {
        fn link_to(&self, server: IpAddr) -> Option<String> {
            let server = server.to_string();
            let found = self.0.iter().find(|(network, _)| server.starts_with(network));
            found.map(|(_, link)| (*link).to_owned())
        }

        fn is_near(&self, server: IpAddr) -> bool {
            let server = server.to_string();
            let mut networks = self.0.iter().filter(|(network, _)| !network.is_empty());
            networks.any(|(network, _)| server.starts_with(network))
        }

        fn has_link(&self, name: &str) -> bool {
            name == "h0" || self.0.iter().any(|(_, link)| *link == name)
        }
    }

    const HOTEL: Net = Net(&[("192.168.77.", "h0"), ("", "h0")]);
    const WITH_VPN: Net = Net(&[("10.8.", "tun0"), ("192.168.77.", "h0"), ("", "h0")]);
    /// The tunnel is still there, but its routes are not.
    const VPN_DOWN: Net = Net(&[("none", "tun0"), ("", "h0")]);
    const CABLE_OUT: Net = Net(&[]);

    fn file(server: &str) -> Object {
        Object::ours(format!("nameserver {server}\n").into_bytes(), 0o644)
    }

    fn note(server: &str, link: Option<&str>) -> Note {
        Note {
            object: file(server),
            link: link.map(str::to_owned),
        }
    }

    #[test]
    fn the_newest_that_is_reached_as_it_was_is_put_back() {
        let vpn = || note("10.8.0.1", Some("tun0"));
        let hotel = || note("192.168.77.1", Some("h0"));
        let old = || note("10.8.0.1", None);
        for (what, notes, roads, expected) in [
            ("nobody wrote", vec![], &HOTEL, "192.0.2.1"),
            ("a lease", vec![hotel()], &HOTEL, "192.168.77.1"),
            ("the VPN is up", vec![vpn()], &WITH_VPN, "10.8.0.1"),
            ("the VPN is gone", vec![vpn()], &HOTEL, "192.0.2.1"),
            ("the VPN's routes are gone", vec![vpn()], &VPN_DOWN, "192.0.2.1"),
            (
                "the VPN is gone, and a lease was before it",
                vec![hotel(), vpn()],
                &HOTEL,
                "192.168.77.1",
            ),
            (
                "a lease since the VPN is up",
                vec![vpn(), hotel()],
                &WITH_VPN,
                "192.168.77.1",
            ),
            ("nothing is up", vec![hotel()], &CABLE_OUT, "192.168.77.1"),
            (
                "nothing is up, the VPN is gone",
                vec![hotel(), vpn()],
                &CABLE_OUT,
                "192.168.77.1",
            ),
            (
                "nothing is up, there was the VPN alone",
                vec![vpn()],
                &CABLE_OUT,
                "192.0.2.1",
            ),
            ("an old journal", vec![old()], &WITH_VPN, "10.8.0.1"),
            ("an old journal, the VPN is gone", vec![old()], &HOTEL, "192.0.2.1"),
            (
                "a VPN's script wrote before its routes were there",
                vec![vpn(), note("10.8.0.1", Some("h0"))],
                &HOTEL,
                "192.0.2.1",
            ),
            ("link-local", vec![note("fe80::1%h0", Some("h0"))], &HOTEL, "fe80::1%h0"),
            (
                "link-local, of a link that is gone",
                vec![note("fe80::1%h1", Some("h1"))],
                &HOTEL,
                "192.0.2.1",
            ),
        ] {
            assert_eq!(*choose(&file("192.0.2.1"), &notes, roads), file(expected), "{what}");
        }
        // Home's is as far away as the company's: the newest counts.
        let company = [note("10.0.0.53", Some("h0"))];
        assert_eq!(*choose(&file("192.168.1.1"), &company, &HOTEL), file("10.0.0.53"));
        let part = Net(&[("192.0.2.", "h0")]);
        assert_eq!(
            *choose(&file("192.0.2.1"), &[old()], &part),
            file("192.0.2.1"),
            "an old journal, without a way"
        );
    }

    #[test]
    fn a_link_comes_back_as_it_was_and_a_file_without_a_server_as_it_was_last() {
        let link = Object::Link {
            target: Octets(b"t".to_vec()),
            owner: 0,
            group: 0,
        };
        let notes = [note("192.168.77.1", Some("h0"))];
        for before in [link, Object::Nothing] {
            assert_eq!(*choose(&before, &notes, &HOTEL), before);
        }
        let hook = |text: &str| Object::ours(text.as_bytes().to_vec(), 0o644);
        let notes = [Note::of(hook("b"), &CABLE_OUT)];
        assert_eq!(*choose(&hook("a"), &notes, &CABLE_OUT), hook("b"));
    }

    #[test]
    fn of_each_link_the_newest_is_kept_and_not_many() {
        let mut notes = Vec::new();
        for (server, roads) in [
            ("10.8.0.1", &WITH_VPN),
            ("192.168.77.1", &WITH_VPN),
            ("192.168.77.2", &HOTEL),
            ("10.8.0.1", &WITH_VPN),
        ] {
            add(&mut notes, Note::of(file(server), roads));
        }
        assert_eq!(
            notes,
            [note("192.168.77.2", Some("h0")), note("10.8.0.1", Some("tun0"))]
        );
        for link in ["a", "b", "c"] {
            add(&mut notes, note("192.0.2.9", Some(link)));
            add(&mut notes, note("192.0.2.8", Some(link)));
        }
        assert_eq!(notes.len(), MAX_NOTES);
    }

    #[test]
    fn older_journals_are_read() {
        #[derive(Deserialize)]
        struct Journal {
            #[serde(default, deserialize_with = "read")]
            latest: Vec<Note>,
        }
        let one = serde_json::to_string(&file("10.8.0.1")).unwrap();
        let list = serde_json::to_string(&[note("10.8.0.1", Some("tun0"))]).unwrap();
        for (written, expected) in [
            ("{}".to_owned(), vec![]),
            ("{\"latest\":null}".to_owned(), vec![]),
            (format!("{{\"latest\":{one}}}"), vec![note("10.8.0.1", None)]),
            (format!("{{\"latest\":{list}}}"), vec![note("10.8.0.1", Some("tun0"))]),
        ] {
            let journal: Journal = serde_json::from_str(&written).unwrap();
            assert_eq!(journal.latest, expected, "{written}");
        }
    }
}
