//! Addresses of resolvers that were learned, kept for the next start: a line each with host, time and addresses. Holds hosts of the
//! configuration only, never a name that was asked for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::state::State;
use crate::os::clock::seconds_since_1970;

/// The file in the state folder.
const FILE: &str = "resolvers";

/// Octets of it: the most upstreams that a configuration may have, with as many addresses each, take a third.
const MAX_LEN: u64 = 64 * 1024;

/// Addresses that were learned longer ago than this are looked up at the start, beside being used.
const FRESH: Duration = Duration::from_secs(86_400);

/// What is known of the hosts of this configuration.
#[derive(Debug)]
pub(super) struct Remembered {
    state: State,
    hosts: Mutex<BTreeMap<String, Learned>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Learned {
    /// Seconds since 1970.
    at: u64,
    addresses: Vec<IpAddr>,
}

impl Remembered {
    /// Reads what there is on these hosts; with none, no file is touched.
    pub(super) fn read(state: State, hosts: &[String]) -> Self {
        let text = if hosts.is_empty() {
            None
        } else {
            state.read(FILE, MAX_LEN)
        };
        let text = text
            .and_then(|octets| String::from_utf8(octets).ok())
            .unwrap_or_default();
        let known = text.lines().filter_map(parse).filter(|(host, _)| hosts.contains(host));
        Self {
            hosts: Mutex::new(known.collect()),
            state,
        }
    }

    /// A host's addresses, and how long they count as fresh.
    pub(super) fn addresses(&self, host: &str) -> Option<(Vec<IpAddr>, Duration)> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = hosts.get(host)?;
        // A time in the future is a clock that was wrong.
        let age = seconds_since_1970()
            .checked_sub(learned.at)
            .map_or(FRESH, Duration::from_secs);
        Some((learned.addresses.clone(), FRESH.saturating_sub(age)))
    }

    /// Keeps a host's addresses, on the disk too if that can be written; it blocks for as long as that takes.
    pub(super) fn learned(&self, host: &str, addresses: &[IpAddr]) {
        let addresses = addresses.to_vec();
        // Held until it is written: a second writer would take the same file beside it.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(
            host.to_owned(),
            Learned {
                at: seconds_since_1970(),
                addresses,
            },
        );
        let mut text = String::new();
        for (host, learned) in hosts.iter() {
            let addresses: Vec<_> = learned.addresses.iter().map(ToString::to_string).collect();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{host} {} {}", learned.at, addresses.join(","));
        }
        // Logged there; this run knows the addresses all the same.
        let _ = self.state.write(FILE, text.as_bytes());
    }
}

/// `None` for a line that we did not write.
fn parse(line: &str) -> Option<(String, Learned)> {
    let mut words = line.split(' ');
    let (host, at, addresses) = (words.next()?, words.next()?, words.next()?);
    let addresses: Vec<IpAddr> = addresses.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let learned = Learned {
        at: at.parse().ok()?,
        addresses,
    };
    Some((host.to_owned(), learned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HOST: &str = "dns.example";

    fn reread(folder: &std::path::Path) -> Remembered {
        Remembered::read(State::at(folder), &[HOST.to_owned()])
    }

    #[test]
    fn what_is_learned_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<IpAddr> = ["2001:db8::1", "192.0.2.1"].map(|text| text.parse().unwrap()).to_vec();
        reread(folder.path()).learned(HOST, &addresses);
        let (known, left) = reread(folder.path()).addresses(HOST).unwrap();
        assert_eq!(known, addresses);
        assert!(left > FRESH - Duration::from_secs(60), "{left:?}");
        assert_eq!(reread(folder.path()).addresses("other.example"), None);
    }

    #[test]
    fn hosts_that_are_configured_no_more_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        reread(folder.path()).learned(HOST, &[[192, 0, 2, 1].into()]);
        let other = Remembered::read(State::at(folder.path()), &["other.example".to_owned()]);
        other.learned("other.example", &[[192, 0, 2, 2].into()]);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            text.starts_with("other.example ") && text.lines().count() == 1,
            "{text}"
        );
    }

    #[test]
    fn a_file_that_somebody_spoiled_costs_only_its_bad_lines() {
        let folder = tempfile::tempdir().unwrap();
        let text = "\n\u{0}\ndns.example\ndns.example x 192.0.2.1\ndns.example 5 192.0.2.300\ndns.example 5 \ndns.example 99999999999 192.0.2.1\n";
        fs::write(folder.path().join(FILE), text).unwrap();
        let (known, left) = reread(folder.path()).addresses(HOST).unwrap();
        assert_eq!(
            (known.len(), left),
            (1, Duration::ZERO),
            "a time in the future is not fresh"
        );
        for spoiled in [&[0xff; 100][..], &vec![b'x'; 100_000]] {
            fs::write(folder.path().join(FILE), spoiled).unwrap();
            assert_eq!(reread(folder.path()).addresses(HOST), None);
        }
    }
}
