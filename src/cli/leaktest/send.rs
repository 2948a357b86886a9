//! Sends one canary by one way, and says what became of it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::paths::{Form, Way};
use super::watch::CABLE;
use crate::cli::system::verify;
use crate::os::socket::{Interface, datagrams_to, stream_to};
use crate::os::{command, link};
use crate::policy::probe::ZONE;
use crate::upstream::records::{Padding, Question, Reply};
use crate::wire::frame::{FrameReader, write_frame};

/// What became of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Fate {
    /// tacenda answered.
    Arrived,
    /// Somebody else did.
    Answered,
    /// It was refused.
    Refused,
    /// Nobody answered, or nobody has to.
    Silence,
    /// There is no way there from here.
    NoWay,
    /// It could not be tried, and proves nothing.
    Untried(String),
}

impl Fate {
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Arrived => "reached tacenda",
            Self::Answered => "answered by another",
            Self::Refused => "refused",
            Self::Silence => "no answer",
            Self::NoWay => "no way there",
            Self::Untried(_) => "not tried",
        }
    }
}

/// A canary: its label, and what tacenda says to it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Canary {
    pub(in crate::cli) label: String,
    pub(in crate::cli) known: Vec<IpAddr>,
}

impl Canary {
    fn name(&self) -> String {
        format!("{}.{ZONE}", self.label)
    }

    fn judge(&self, found: &[IpAddr]) -> Fate {
        match found {
            [] => Fate::Silence,
            found if found.iter().all(|address| self.known.contains(address)) => Fate::Arrived,
            _ => Fate::Answered,
        }
    }
}

/// Sends it.
pub(super) async fn send(way: &Way, canary: &Canary, listen: IpAddr) -> Fate {
    let fate = match way {
        Way::Control(to) => tell(*to, None, canary.name().as_bytes()).await,
        Way::Stub => ask(SocketAddr::new(listen, DNS), false, None, canary).await,
        Way::Upstream => upstream(listen, canary).await,
        Way::Libc => Ok(libc(&canary.name(), canary).await),
        Way::Bare => Ok(libc(&canary.label, canary).await),
        Way::Ask {
            server,
            over_tcp,
            interface,
        } => ask(*server, *over_tcp, interface.as_deref(), canary).await,
        Way::Tell { to, interface, form } => {
            let octets = match form {
                Form::Dns => question(&canary.name()).write(ID, Padding::None),
                Form::NetBios => netbios(&canary.label),
                Form::Tls => return tell_over_tcp(*to, interface.as_deref(), &client_hello(&canary.name())).await,
            };
            tell(*to, interface.as_deref(), &octets).await
        }
        Way::Container(server) => Ok(from_container(*server, canary).await),
    };
    fate.unwrap_or_else(|error| of_error(&error))
}

fn of_error(error: &io::Error) -> Fate {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied | io::ErrorKind::ConnectionReset => {
            Fate::Refused
        }
        io::ErrorKind::TimedOut => Fate::Silence,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable => {
            Fate::NoWay
        }
        _ => Fate::Untried(error.to_string()),
    }
}

fn question(name: &str) -> Question {
    Question {
        labels: name.split('.').map(|label| label.as_bytes().to_vec()).collect(),
        qtype: A,
    }
}

/// Asks as a program would that has this server written in.
pub(in crate::cli) async fn ask(
    server: SocketAddr,
    over_tcp: bool,
    interface: Option<&str>,
    canary: &Canary,
) -> io::Result<Fate> {
    let query = question(&canary.name()).write(ID, Padding::None);
    let exchange = async {
        if over_tcp {
            ask_over_tcp(server, interface, &query).await
        } else {
            ask_over_udp(server, interface, &query).await
        }
    };
    let octets = timeout(PATIENCE, exchange).await??;
    let reply = Reply::read(&octets).map_err(io::Error::other)?;
    let found: Vec<_> = reply.addresses().collect();
    Ok(canary.judge(&found))
}

async fn ask_over_udp(server: SocketAddr, interface: Option<&str>, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = open(server, interface)?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_REPLY];
    let len = socket.recv(&mut buffer).await?;
    buffer.truncate(len);
    Ok(buffer)
}

async fn ask_over_tcp(server: SocketAddr, interface: Option<&str>, query: &[u8]) -> io::Result<Vec<u8>> {
    let interface = named(interface)?;
    let mut stream = stream_to(scoped(server, interface.as_ref()), interface.as_ref()).await?;
    let mut framed = Vec::new();
    write_frame(query, &mut framed).ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&framed).await?;
    let mut reader = FrameReader::new();
    let mut buffer = vec![0; MAX_REPLY];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        reader.push(&buffer[..len]);
        if let Some(message) = reader.next_message() {
            return Ok(message.to_vec());
        }
    }
}

/// One packet. The kernel tells of a refusal when the next thing is done with the socket.
async fn tell(to: SocketAddr, interface: Option<&str>, octets: &[u8]) -> io::Result<Fate> {
    let socket = open(to, interface)?;
    socket.send(octets).await?;
    let mut buffer = [0; 16];
    match timeout(SHORT_PATIENCE, socket.recv(&mut buffer)).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) => Ok(Fate::Answered),
        Err(_) => Ok(Fate::Silence),
    }
}

/// Only who is connected has said something.
async fn tell_over_tcp(to: SocketAddr, interface: Option<&str>, octets: &[u8]) -> Fate {
    let work = async {
        let interface = named(interface)?;
        let mut stream = stream_to(scoped(to, interface.as_ref()), interface.as_ref()).await?;
        stream.write_all(octets).await
    };
    match timeout(PATIENCE, work).await {
        Ok(Ok(())) | Err(_) => Fate::Silence,
        Ok(Err(error)) => of_error(&error),
    }
}

/// A name that no cache has and nobody answers for itself: it goes to the upstream, or nowhere.
async fn upstream(listen: IpAddr, canary: &Canary) -> io::Result<Fate> {
    let query = question(&format!("{}.{PUBLIC_ZONE}", canary.label)).write(ID, Padding::None);
    let server = SocketAddr::new(listen, DNS);
    let octets = timeout(LONG_PATIENCE, ask_over_udp(server, None, &query)).await??;
    let reply = Reply::read(&octets).map_err(io::Error::other)?;
    Ok(if reply.rcode == SERVFAIL {
        Fate::NoWay
    } else {
        Fate::Arrived
    })
}

fn open(to: SocketAddr, interface: Option<&str>) -> io::Result<UdpSocket> {
    let interface = named(interface)?;
    datagrams_to(scoped(to, interface.as_ref()), interface.as_ref())
}

fn named(interface: Option<&str>) -> io::Result<Option<Interface>> {
    let read = |name: &str| name.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    interface.map(read).transpose()
}

/// An address that is good on one link needs the link's number.
fn scoped(to: SocketAddr, interface: Option<&Interface>) -> SocketAddr {
    match (to, interface.and_then(|interface| link::index_of(interface.name()))) {
        (SocketAddr::V6(v6), Some(index)) if v6.ip().is_multicast() || v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into()
        }
        _ => to,
    }
}

async fn libc(name: &str, canary: &Canary) -> Fate {
    match verify::through_libc(name).await {
        Ok(found) => canary.judge(&found),
        // It says that there is no such name, or why it could not ask: no answer.
        Err(_) => Fate::Silence,
    }
}

/// In a network of its own behind this host, which ends with the process that holds it.
async fn from_container(server: SocketAddr, canary: &Canary) -> Fate {
    let mut child = match begin_container(server, canary) {
        Ok(child) => child,
        Err(error) => return Fate::Untried(format!("unshare: {error}")),
    };
    let Some(pid) = child.id() else { return Fate::Silence };
    let end = format!("{CABLE}{}", pid % 100_000);
    let fate = timeout(CONTAINER_PATIENCE, in_touch(&mut child, &end, server, canary)).await;
    // It goes with the network at its other end, if that was ever there.
    let _ = command::run(&["ip", "link", "del", &end], &[]).await;
    match fate {
        Ok(Ok(fate)) => fate,
        Ok(Err(why)) => Fate::Untried(why),
        Err(_) => Fate::Untried("its network is not there in time".to_owned()),
    }
}

fn begin_container(server: SocketAddr, canary: &Canary) -> io::Result<Child> {
    Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .args([
            "leaktest",
            "--from-container",
            &server.to_string(),
            "--label",
            &canary.label,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

async fn in_touch(child: &mut Child, end: &str, server: SocketAddr, canary: &Canary) -> Result<Fate, String> {
    let words = |error: io::Error| error.to_string();
    let (Some(mut stdin), Some(stdout), Some(pid)) = (child.stdin.take(), child.stdout.take(), child.id()) else {
        return Err("it is gone".to_owned());
    };
    let mut lines = BufReader::new(stdout.take(MAX_OUTPUT)).lines();
    // Before that, its number still means this very network.
    if lines.next_line().await.map_err(words)?.as_deref() != Some(READY) {
        return Err("unshare does not give it a network of its own".to_owned());
    }
    let network = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).map_err(words);
    if network(&pid.to_string())? == network("self")? {
        return Err("it is in this host's own network".to_owned());
    }
    connect(pid, end, server).await?;
    // It waits for the end of its input.
    stdin.write_all(b"go").await.map_err(words)?;
    drop(stdin);
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().await.map_err(words)? {
        if line == REFUSED {
            return Ok(Fate::Refused);
        }
        found.extend(line.parse::<IpAddr>());
    }
    Ok(canary.judge(&found))
}

/// A cable between this host and the process's network, with addresses for trials (RFC 2544).
async fn connect(pid: u32, end: &str, server: SocketAddr) -> Result<(), String> {
    let pid = pid.to_string();
    let inside = ["nsenter", "-t", &pid, "-n"];
    let (ours, theirs, router) = if server.is_ipv6() {
        ("2001:2:0:7ac::1/64", "2001:2:0:7ac::2/64", "2001:2:0:7ac::1")
    } else {
        ("198.18.77.1/30", "198.18.77.2/30", "198.18.77.1")
    };
    let nodad: &[&str] = if server.is_ipv6() { &["nodad"] } else { &[] };
    for words in [
        &[
            "ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ][..],
        &[&["ip", "addr", "add", ours, "dev", end][..], nodad].concat(),
        &["ip", "link", "set", end, "up"],
        &[&inside[..], &["ip", "addr", "add", theirs, "dev", "eth0"], nodad].concat(),
        &[&inside[..], &["ip", "link", "set", "eth0", "up"]].concat(),
        &[&inside[..], &["ip", "route", "add", "default", "via", router]].concat(),
    ] {
        command::run(words, &[]).await?;
    }
    Ok(())
}

/// The label of a packet that nobody holds back: without it, the container's silence proves nothing.
pub(super) fn control_of(label: &str) -> String {
    let (run, number) = label.split_at(label.len().saturating_sub(2));
    let number = u8::from_str_radix(number, 16).unwrap_or(0);
    format!("{run}{:02x}", number | 0x80)
}

/// The child's side, once the cable is there: asks, and gives back the addresses or [`REFUSED`].
pub(super) async fn in_container(server: SocketAddr, label: &str) -> String {
    let _ = tell(
        SocketAddr::new(server.ip(), DISCARD),
        None,
        control_of(label).as_bytes(),
    )
    .await;
    let query = question(&format!("{label}.{ZONE}")).write(ID, Padding::None);
    match timeout(PATIENCE, ask_over_udp(server, None, &query)).await {
        Ok(Ok(octets)) => {
            let answers = Reply::read(&octets).map(|reply| reply.answers).unwrap_or_default();
            answers.iter().map(|record| format!("{}\n", record.data)).collect()
        }
        Ok(Err(error)) if of_error(&error) == Fate::Refused => REFUSED.to_owned(),
        _ => String::new(),
    }
}

/// What the child says: that it runs, and what became of its question.
pub(super) const READY: &str = "ready";
const REFUSED: &str = "refused";

/// A name query (RFC 1002 section 4.2.12).
fn netbios(label: &str) -> Vec<u8> {
    let mut name = label.to_ascii_uppercase().into_bytes();
    name.resize(15, b' ');
    name.push(0);
    let encoded = name.iter().flat_map(|octet| [b'A' + (octet >> 4), b'A' + (octet & 15)]);
    let header = [0x7a, 0xce, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 32];
    let mut octets = header.to_vec();
    octets.extend(encoded);
    octets.extend([0, 0, 32, 0, 1]);
    octets
}

/// What an observer reads of a ClientHello: a record, and a server's name in it (RFC 8446, RFC 6066). Not more than he needs.
fn client_hello(name: &str) -> Vec<u8> {
    let len = u16::try_from(name.len()).unwrap_or(0);
    let mut octets = vec![0x16, 3, 1];
    octets.extend((len + 9).to_be_bytes());
    octets.extend([0, 0]);
    octets.extend((len + 5).to_be_bytes());
    octets.extend((len + 3).to_be_bytes());
    octets.push(0);
    octets.extend(len.to_be_bytes());
    octets.extend(name.as_bytes());
    octets
}

/// Reserved for examples (RFC 2606): there is no such name below it.
const PUBLIC_ZONE: &str = "example.com";

const SERVFAIL: u16 = 2;
const A: u16 = 1;
const DNS: u16 = 53;
const DISCARD: u16 = 9;

/// Nothing depends on it: who answers is told by the address.
const ID: u16 = 0x7ace;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// For one that goes to an upstream: tacenda answers within 5 s.
const LONG_PATIENCE: Duration = Duration::from_secs(6);

/// For a refusal, which comes at once.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);

/// Six commands and an answer.
const CONTAINER_PATIENCE: Duration = Duration::from_secs(10);

/// Some addresses.
const MAX_OUTPUT: u64 = 4096;

/// More is not asked for.
const MAX_REPLY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::leak::{Needle, search};

    #[test]
    fn a_netbios_query_is_found_by_the_observer() {
        let found = search(&netbios("zq0123456789"), &[Needle::new("zq0123456789")]);
        assert_eq!(found[0].view, "as NetBIOS");
        assert_eq!(netbios("x").len(), 50);
    }

    #[test]
    fn a_containers_control_has_a_label_of_its_own() {
        assert_eq!(control_of("abcdef01230f"), "abcdef01238f");
    }

    #[test]
    fn only_tacendas_own_answer_has_arrived() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let canary = Canary {
            label: "x".into(),
            known: vec![ip("240.1.2.3")],
        };
        assert_eq!(canary.judge(&[ip("240.1.2.3")]), Fate::Arrived);
        assert_eq!(canary.judge(&[ip("203.0.113.66")]), Fate::Answered);
        assert_eq!(canary.judge(&[]), Fate::Silence);
    }
}
