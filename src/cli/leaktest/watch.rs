//! Looks at every link while the canaries are out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{Exit, Failure};
use crate::cli::leak::{Needle, search};
use crate::os::capture::{Capture, Next, Packet};
use crate::os::link;

/// A canary where somebody could read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) label: String,
    /// The link's name.
    pub(super) link: String,
    /// Address and port.
    pub(super) to: String,
    /// How it was written.
    pub(super) form: String,
}

/// A thread that takes packets.
#[derive(Debug)]
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Taken>>,
}

struct Taken {
    packets: Vec<Packet>,
    /// Their links' names, taken while they were there.
    links: HashMap<u32, String>,
    lost: bool,
}

impl Watch {
    /// From now on.
    pub(super) fn begin() -> Result<Self, Failure> {
        let capture = Capture::new().map_err(|error| {
            let failure = Failure::new(Exit::Permission, format!("packets cannot be looked at: {error}"));
            failure.with_help("use sudo; in a container it needs CAP_NET_RAW")
        })?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let thread = std::thread::Builder::new()
            .name("observer".into())
            .spawn(move || take(&capture, &until))?;
        Ok(Self { is_over, thread })
    }

    /// What was seen of the canaries whose labels begin with `run`, and how many packets there were.
    pub(super) fn end(self, run: &str) -> Result<(Vec<Sighting>, usize), Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        let taken = self
            .thread
            .join()
            .map_err(|_| Failure::new(Exit::Failed, "the observer panicked"))??;
        if taken.lost {
            let failure = Failure::new(Exit::Failed, "void: there was too much traffic to look at all of it");
            return Err(failure.with_help("stop downloads, and try again"));
        }
        let mut found: Vec<Sighting> = Vec::new();
        for packet in &taken.packets {
            for sighting in sightings(packet, run, &taken.links) {
                if !found.contains(&sighting) {
                    found.push(sighting);
                }
            }
        }
        Ok((found, taken.packets.len()))
    }
}

/// Until it is over and the last packet is taken.
fn take(capture: &Capture, is_over: &AtomicBool) -> std::io::Result<Taken> {
    let (mut packets, mut links, mut lost) = (Vec::new(), HashMap::new(), false);
    loop {
        match capture.next()? {
            Next::Left(packet) if packets.len() < MAX_PACKETS => {
                let name = || link::name_of(packet.link).unwrap_or_else(|| format!("link {}", packet.link));
                links.entry(packet.link).or_insert_with(name);
                packets.push(packet);
            }
            Next::Left(_) => lost = true,
            // What was sent before it was over has been taken by now.
            Next::Quiet if is_over.load(Ordering::Relaxed) => break,
            Next::Quiet | Next::Other => {}
        }
    }
    lost |= capture.lost()? > 0;
    Ok(Taken { packets, links, lost })
}

fn sightings(packet: &Packet, run: &str, links: &HashMap<u32, String>) -> Vec<Sighting> {
    let link = links.get(&packet.link).map_or("?", String::as_str);
    // Nobody is on loopback, and the cable to the container of this very test is none.
    if link == "lo" || link.starts_with(CABLE) || search(&packet.octets, &[Needle::new(run)]).is_empty() {
        return Vec::new();
    }
    let labels: Vec<_> = (0..=u8::MAX).map(|number| format!("{run}{number:02x}")).collect();
    let needles: Vec<_> = labels.iter().map(|label| Needle::new(label)).collect();
    let mut found: Vec<Sighting> = Vec::new();
    for finding in search(&packet.octets, &needles) {
        // In base64, some octets are another name's: the plainest form is the first.
        if !found.iter().any(|one| one.label == finding.name) {
            found.push(Sighting {
                label: finding.name,
                link: link.to_owned(),
                to: destination(&packet.octets),
                form: finding.view.to_owned(),
            });
        }
    }
    found
}

/// Address and port, as far as they can be read.
fn destination(octets: &[u8]) -> String {
    read_destination(octets).unwrap_or_else(|| "?".to_owned())
}

fn read_destination(octets: &[u8]) -> Option<String> {
    let (protocol, to, rest) = match octets.first()? >> 4 {
        4 => {
            let header = usize::from(octets[0] & 15) * 4;
            let to: [u8; 4] = octets.get(16..20)?.try_into().ok()?;
            (*octets.get(9)?, std::net::IpAddr::from(to), octets.get(header..)?)
        }
        6 => {
            let to: [u8; 16] = octets.get(24..40)?.try_into().ok()?;
            (*octets.get(6)?, std::net::IpAddr::from(to), octets.get(40..)?)
        }
        _ => return None,
    };
    let name = match protocol {
        6 => "TCP",
        17 => "UDP",
        _ => return Some(to.to_string()),
    };
    let port = u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?);
    Some(format!("{to} port {port} ({name})"))
}

/// How the cable's end on this side is called.
pub(super) const CABLE: &str = "taclt";

/// Half a kilobyte each: a quarter of a gigabyte, or ten seconds of a link that is full.
const MAX_PACKETS: usize = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(link: u32, payload: &[u8]) -> Packet {
        let mut octets = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 77, 50, 192, 168, 77, 1, 0x80, 0, 0, 53, 0, 0, 0, 0,
        ];
        octets.extend(payload);
        Packet { link, octets }
    }

    fn links() -> HashMap<u32, String> {
        HashMap::from([(1, "lo"), (2, "h0"), (3, "taclt7")].map(|(index, name)| (index, name.to_owned())))
    }

    #[test]
    fn a_canary_is_known_by_its_number_and_place() {
        let found = sightings(&packet(2, b"\x0cabcdef01230f\x06verify"), "abcdef0123", &links());
        let expected = Sighting {
            label: "abcdef01230f".into(),
            link: "h0".into(),
            to: "192.168.77.1 port 53 (UDP)".into(),
            form: "as it is".into(),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn loopback_the_own_cable_and_other_packets_are_not_seen() {
        for (link, payload) in [
            (1, &b"abcdef01230f"[..]),
            (3, b"abcdef01230f"),
            (2, b"abcdef012"),
            (2, b""),
        ] {
            assert_eq!(
                sightings(&packet(link, payload), "abcdef0123", &links()),
                [],
                "{link} {payload:?}"
            );
        }
    }

    #[test]
    fn what_is_no_packet_has_no_destination() {
        let whole = packet(2, b"").octets;
        for cut in 0..24 {
            assert_eq!(read_destination(&whole[..cut]), None, "cut to {cut}");
        }
        assert_eq!(destination(&[0]), "?");
    }
}
