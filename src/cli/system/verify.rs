//! Whether names that are asked on this host arrive at this tacenda: a fresh name that only it knows is asked directly and then by every way
//! that programs take, and the address must be the same ([`crate::policy::probe`]).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Exit, Failure, Output};
use crate::cli::query::ask::exchange;
use crate::os::dns::system::Picture;
use crate::os::process::{HAS_OWN_LIBC, needed_variables};
use crate::policy::probe::ZONE;
use crate::upstream::records::{Question, Reply};

/// systemd-resolved's own listener.
pub(in crate::cli) const RESOLVED_STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// getaddrinfo asks two servers twice, 5 s each, where nobody answers.
const LIBC_PATIENCE: Duration = Duration::from_secs(21);

/// A manager that was just told may still be reading; a name that arrives at last has arrived.
const MAX_ATTEMPTS: u32 = 3;

/// Between them. Windows reads its settings anew within a second, and tells nobody.
const BREATH: Duration = Duration::from_millis(500);

const A: u16 = 1;
const AAAA: u16 = 28;
/// RFC 6895 section 3.1: types for private use. One at random of the root is in no cache, and no name.
const PRIVATE_TYPES: std::ops::Range<u16> = 65_280..65_535;
const SERVFAIL: u16 = 2;

/// Asks on this host.
pub(in crate::cli) struct Asking {
    runtime: Runtime,
}

/// One way by which names are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether they arrive; if not, why.
    pub(super) arrives: Result<(), String>,
}

impl Asking {
    pub(in crate::cli) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime })
    }

    /// Whether a tacenda answers there, over UDP and TCP.
    pub(in crate::cli) fn is_tacenda(&self, listen: IpAddr) -> Result<(), String> {
        self.is_tacenda_at(SocketAddr::new(listen, DNS_PORT))
    }

    /// The same on another port.
    pub(in crate::cli) fn is_tacenda_at(&self, listen: SocketAddr) -> Result<(), String> {
        self.runtime.block_on(known(listen, &nonce())).map(|_| ())
    }

    /// What the tacenda there says to this label of its own zone.
    #[cfg(unix)]
    pub(in crate::cli) fn known(&self, listen: IpAddr, label: &str) -> Result<Vec<IpAddr>, String> {
        let listen = SocketAddr::new(listen, DNS_PORT);
        self.runtime.block_on(known(listen, &format!("{label}.{ZONE}")))
    }

    /// Waits for another question.
    #[cfg(unix)]
    pub(in crate::cli) fn wait_for<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime.block_on(question)
    }

    /// Whether it gets answers from any upstream.
    pub(in crate::cli) fn reaches_upstream(&self, listen: IpAddr) -> Result<(), String> {
        let span = u64::from(PRIVATE_TYPES.end - PRIVATE_TYPES.start);
        let question = Question {
            labels: Vec::new(),
            qtype: PRIVATE_TYPES.start + u16::try_from(random() % span).unwrap_or(0),
        };
        let listen = SocketAddr::new(listen, DNS_PORT);
        let reply = self.runtime.block_on(reply(listen, &question, false))?;
        if reply.rcode != SERVFAIL {
            return Ok(());
        }
        let reasons: Vec<_> = reply.extended_errors.iter().map(|(_, text)| text.as_str()).collect();
        let reasons: Vec<_> = reasons.into_iter().filter(|text| !text.is_empty()).collect();
        Err(if reasons.is_empty() {
            "tacenda reaches no upstream".to_owned()
        } else {
            format!("tacenda reaches no upstream ({})", reasons.join("; "))
        })
    }

    /// Whether every way leads to the tacenda there.
    pub(super) fn verify(&self, listen: IpAddr, facts: &impl Picture) -> Result<(), String> {
        let mut why = None;
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                self.runtime.block_on(async { tokio::time::sleep(BREATH).await });
            }
            let ways = self.ways(listen, facts);
            let wrong = ways.into_iter().find_map(|way| Some((way.name, way.arrives.err()?)));
            let Some((name, reason)) = wrong else { return Ok(()) };
            why = Some(format!(
                "names that are asked {name} do not arrive at tacenda: {reason}"
            ));
        }
        why.map_or(Ok(()), Err)
    }

    /// Every way, tried once.
    pub(super) fn ways(&self, listen: IpAddr, facts: &impl Picture) -> Vec<Way> {
        let name = nonce();
        self.runtime.block_on(async {
            let known = known(SocketAddr::new(listen, DNS_PORT), &name).await;
            let mut ways = vec![Way {
                name: "directly",
                arrives: known.clone().map(|_| ()),
            }];
            let Ok(known) = known else { return ways };
            // Promise 1: a question that would leave in clear text is not asked, not even this one.
            let arrives = if facts.stays_here() {
                same(&known, through_libc(&name).await)
            } else {
                Err(format!("{} (so it was not tried)", facts.elsewhere()))
            };
            ways.push(Way {
                name: "through libc",
                arrives,
            });
            if facts.has_resolved()
                && let Some(found) = through_resolved(&name).await
            {
                ways.push(Way {
                    name: "through 127.0.0.53",
                    arrives: same(&known, found),
                });
            }
            ways
        })
    }
}

/// What the tacenda there says, over UDP and TCP alike.
async fn known(listen: SocketAddr, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut known = Vec::new();
    for (qtype, tcp) in [(A, false), (AAAA, false), (A, true), (AAAA, true)] {
        let reply = reply(listen, &question(name, qtype), tcp).await?;
        let found: Vec<_> = reply.addresses().collect();
        let [address] = found[..] else {
            return Err(format!(
                "what answers at {listen} is no tacenda that knows this command"
            ));
        };
        if !is_of_probe(address) {
            return Err(format!("what answers at {listen} is another resolver"));
        }
        if tcp && !known.contains(&address) {
            return Err(format!("another one answers over TCP at {listen} than over UDP"));
        }
        known.push(address);
    }
    Ok(known)
}

async fn through_resolved(name: &str) -> Option<Result<Vec<IpAddr>, String>> {
    let server = SocketAddr::new(RESOLVED_STUB, DNS_PORT);
    let (octets, _) = exchange(server, &question(name, AAAA), false).await;
    match octets {
        // Its listener is off: nobody asks there.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(octets) => Some(Reply::read(&octets).map(|reply| reply.addresses().collect())),
    }
}

/// In a program of its own: libc reads the host's settings once, at its first question. A tacenda with a libc of its own has the host's
/// `getent` ask, if there is one: only that heeds `nsswitch.conf`.
pub(in crate::cli) async fn through_libc(name: &str) -> Result<Vec<IpAddr>, String> {
    if HAS_OWN_LIBC && let Some(found) = said_by(Command::new("getent").args(["ahosts", name])).await? {
        return Ok(found);
    }
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let found = said_by(Command::new(program).args(["system", "ask-libc", name])).await?;
    found.ok_or_else(|| "cannot find this program".to_owned())
}

/// The addresses at the beginning of the lines that this program prints; nothing if there is no such program.
async fn said_by(program: &mut Command) -> Result<Option<Vec<IpAddr>>, String> {
    // What the user set for himself (RES_OPTIONS, HOSTALIASES) is not the host's.
    program.env_clear().envs(needed_variables());
    let child = program
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = match timeout(LIBC_PATIENCE, child).await {
        Err(_) => return Err(format!("no answer within {} s", LIBC_PATIENCE.as_secs())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(output) => output.map_err(|error| format!("cannot ask: {error}"))?,
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().trim_start_matches("error: ");
        return Err(if words.is_empty() {
            "no address was found"
        } else {
            words
        }
        .to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let address = |line: &str| line.split_whitespace().next()?.parse().ok();
    Ok(Some(text.lines().filter_map(address).collect()))
}

/// `tacenda system ask-libc`: the child's side.
pub(super) fn ask_libc(name: &str, mut output: Output<'_>) -> Result<Exit, Failure> {
    // A canary of `tacenda leaktest` goes without, to see what search lists make of it.
    let is_canary = name.len() == CANARY_LEN && name.bytes().all(|octet| octet.is_ascii_hexdigit());
    if !is_canary && !name.ends_with(&format!(".{ZONE}")) {
        return Err(Failure::new(Exit::Usage, format!("only names below {ZONE}")));
    }
    let target = (name, 0);
    #[expect(
        clippy::disallowed_methods,
        reason = "the point is to learn whether the system's way leads to us; the name is random and says nothing"
    )]
    let found = std::net::ToSocketAddrs::to_socket_addrs(&target);
    let found = found.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    for address in addresses {
        output.write(format!("{address}\n"))?;
    }
    Ok(Exit::Done)
}

/// Everything that was found must be what this tacenda says, and something must have been found.
fn same(known: &[IpAddr], found: Result<Vec<IpAddr>, String>) -> Result<(), String> {
    let found = found?;
    if found.is_empty() {
        return Err("no address came back".to_owned());
    }
    if found.iter().all(|address| known.contains(address)) {
        return Ok(());
    }
    Err("somebody else answered".to_owned())
}

async fn reply(listen: SocketAddr, question: &Question, tcp: bool) -> Result<Reply, String> {
    let (octets, transport) = exchange(listen, question, tcp).await;
    let octets = octets.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nobody listens at {listen} ({transport})"),
        io::ErrorKind::TimedOut => format!("no answer from {listen} ({transport})"),
        _ => format!("cannot ask {listen} ({transport}): {error}"),
    })?;
    Reply::read(&octets)
}

/// 240.0.0.0/4 and 100::/64.
fn is_of_probe(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] >= 240,
        IpAddr::V6(address) => address.segments()[..4] == [0x100, 0, 0, 0],
    }
}

fn question(name: &str, qtype: u16) -> Question {
    Question {
        labels: name.split('.').map(|label| label.as_bytes().to_vec()).collect(),
        qtype,
    }
}

/// A name that nobody has asked before: no cache on the way knows it.
fn nonce() -> String {
    format!("{:016x}.{ZONE}", random())
}

/// A new one each time: the hasher's seed is random enough for a name that is used once.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

const DNS_PORT: u16 = 53;

/// Of its label.
const CANARY_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_tacenda_says_has_arrived() {
        let known: Vec<IpAddr> = vec!["240.1.2.3".parse().unwrap(), "100::1".parse().unwrap()];
        let check = |found: &[&str], arrives: bool| {
            let found = found.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(same(&known, Ok(found)).is_ok(), arrives);
        };
        check(&["240.1.2.3"], true);
        check(&["100::1", "240.1.2.3"], true);
        check(&[], false);
        check(&["203.0.113.66"], false);
        check(&["240.1.2.3", "203.0.113.66"], false);
        assert!(same(&known, Err("x".into())).is_err());
    }

    #[test]
    fn names_are_new_each_time_and_below_the_zone() {
        let (one, other) = (nonce(), nonce());
        assert!(one != other && one.ends_with(".verify.tacenda.test"));
        assert_eq!(question(&one, A).labels.len(), 4);
    }

    #[test]
    fn libc_is_asked_for_nothing_else() {
        let mut buffer = Vec::new();
        let refused = ask_libc("www.example", Output::buffer(&mut buffer)).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }

    #[test]
    fn addresses_of_others_are_no_probes() {
        for (address, expected) in [
            ("240.0.0.1", true),
            ("100::5", true),
            ("203.0.113.66", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("100:0:0:1::", false),
        ] {
            assert_eq!(is_of_probe(address.parse().unwrap()), expected, "{address}");
        }
    }
}
