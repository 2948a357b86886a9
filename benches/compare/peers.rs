//! Who is compared: tacenda, whichever peers are installed, and the floors. Where each is found, which version it is, how it is started.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::children::{Namespace, Running};
use crate::configs::{self, Setting, Transport};
use crate::options::Options;
use crate::wire::Wrong;
use crate::{clock, sys, wire};

/// One program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    LimitEcho,
    LimitRelay,
    Tacenda,
    Unbound,
    Dnsdist,
    Kresd,
    Smartdns,
    Dnsmasq,
    Stubby,
    DnscryptProxy,
    Dnsproxy,
}

impl Kind {
    /// All peers, best known first.
    pub(crate) const PEERS: [Self; 8] = [
        Self::Unbound,
        Self::Dnsdist,
        Self::Kresd,
        Self::Smartdns,
        Self::Dnsmasq,
        Self::Stubby,
        Self::DnscryptProxy,
        Self::Dnsproxy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LimitEcho => "limit-echo",
            Self::LimitRelay => "limit-relay",
            Self::Tacenda => "tacenda",
            Self::Unbound => "unbound",
            Self::Dnsdist => "dnsdist",
            Self::Kresd => "kresd",
            Self::Smartdns => "smartdns",
            Self::Dnsmasq => "dnsmasq",
            Self::Stubby => "stubby",
            Self::DnscryptProxy => "dnscrypt-proxy",
            Self::Dnsproxy => "dnsproxy",
        }
    }

    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::LimitEcho | Self::LimitRelay)
    }

    pub(crate) fn is_peer(self) -> bool {
        !self.is_floor() && self != Self::Tacenda
    }

    /// Whether it keeps answers.
    pub(crate) fn caches(self) -> bool {
        self != Self::Stubby
    }

    /// Whether it can ask in this way. smartdns's DoH is HTTP/1.1 alone, which the bench upstream does not speak.
    pub(crate) fn speaks(self, transport: Transport) -> bool {
        match transport {
            Transport::Plain => true,
            Transport::Dot => !matches!(self, Self::Dnsmasq | Self::DnscryptProxy),
            Transport::Doh => matches!(
                self,
                Self::Tacenda | Self::Dnsdist | Self::DnscryptProxy | Self::Dnsproxy
            ),
        }
    }

    fn version_flag(self) -> &'static str {
        match self {
            Self::Unbound | Self::Stubby => "-V",
            Self::Smartdns => "-v",
            Self::DnscryptProxy => "-version",
            _ => "--version",
        }
    }

    /// The program's file, if it is here.
    pub(crate) fn program(self, options: &Options) -> Option<PathBuf> {
        if self == Self::Tacenda {
            return Some(env!("CARGO_BIN_EXE_tacenda").into());
        }
        if self.is_floor() {
            return std::env::current_exe().ok();
        }
        if let Some(path) = options.binaries.get(self.name()) {
            return path.exists().then(|| path.clone());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
            .map(|folder: PathBuf| folder.join(self.name()))
            .find(|file| file.is_file())
    }

    /// What it says of itself.
    pub(crate) fn version(self, program: &Path) -> String {
        let Ok(output) = Command::new(program).arg(self.version_flag()).output() else {
            return "no version".to_owned();
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
        let line = line.unwrap_or("no version").split("  ").next().unwrap_or_default();
        line.split(" (Lua").next().unwrap_or_default().trim().to_owned()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A program that runs and answers.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// Shown instead of the kind's name where one runs several times.
    pub(crate) label: String,
    pub(crate) running: Running,
    pub(crate) log: PathBuf,
    pub(crate) config: PathBuf,
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// On this core alone; anywhere if `None`.
    pub(crate) core: Option<usize>,
    pub(crate) namespace: Option<&'a Namespace>,
}

impl Program {
    /// Starts it, without waiting for anything.
    pub(crate) fn start(kind: Kind, setting: &Setting, place: Place<'_>, options: &Options) -> Result<Self, String> {
        let file = kind.program(options).ok_or("not installed")?;
        let label = match (kind.is_floor() || kind == Kind::Dnsmasq, setting.transport) {
            (true, _) | (_, Transport::Plain) => kind.name().to_owned(),
            (_, Transport::Dot) => format!("{kind} DoT"),
            (_, Transport::Doh) => format!("{kind} DoH"),
        };
        let folder = setting.folder.join(format!("{kind}-{}", setting.listen.port()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // stubby tells the format by the name.
        let config = folder.join("config.yml");
        let arguments = configs::write(kind, setting, &folder, &config)?;
        let mut command = Command::new(&file);
        if let Some(namespace) = place.namespace {
            namespace.hold(&mut command)?;
        }
        command.args(arguments).current_dir(&folder);
        command.env("SSL_CERT_FILE", crate::tls::file("ca.pem"));
        // tacenda's: nothing is written outside our folder.
        command.env("STATE_DIRECTORY", &folder);
        let log = folder.join("log");
        // A process inherits the cores of the thread that starts it, and counts them to choose its number of threads.
        pin_self(place.core.map_or_else(all_cores, |core| vec![core]))?;
        let running = Running::start(&mut command, &log);
        pin_self(all_cores())?;
        Ok(Self {
            kind,
            address: setting.listen,
            label,
            running: running?,
            log,
            config,
        })
    }

    /// Waits until it answers a name that nobody asked before.
    pub(crate) fn wait_ready(&mut self, socket: &UdpSocket) -> Result<(), String> {
        let mut number = u64::from(self.address.port());
        let mut wrong = None;
        let ready = clock::until(READY, Duration::from_millis(10), || {
            if self.running.ended().is_some() {
                return Some(false);
            }
            number += 100_000;
            match ask_once(socket, self.address, number, self.kind == Kind::LimitEcho)? {
                Ok(()) => Some(true),
                Err(why) => {
                    wrong = Some(why);
                    None
                }
            }
        });
        match ready {
            Some(true) => Ok(()),
            Some(false) => Err(format!("it ended: {}", self.last_words())),
            None => {
                let answer = wrong.map_or_else(|| "no answer".to_owned(), |wrong| format!("no right answer ({wrong})"));
                Err(format!("{answer} within {} s: {}", READY.as_secs(), self.last_words()))
            }
        }
    }

    /// The last line that it wrote.
    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = said
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        last.chars().take(120).collect()
    }
}

/// How long a program may take to give its first answer: stubby and dnscrypt-proxy look at their upstream first.
const READY: Duration = Duration::from_secs(8);

/// Asks for one name; what is wrong with the answer, if there is one.
fn ask_once(socket: &UdpSocket, target: SocketAddr, number: u64, echo: bool) -> Option<Result<(), Wrong>> {
    let mut query = [0; wire::MAX_QUERY];
    let len = wire::write_query(&mut query, 7, b'r', number);
    let mut response = [0; 1500];
    socket.send_to(&query[..len], target).ok()?;
    let (got, _) = socket.recv_from(&mut response).ok()?;
    let (response, query) = (&response[..got], &query[..len]);
    Some(if echo {
        wire::check_echo(response, query)
    } else {
        wire::check(response, query)
    })
}

/// A socket for [`Program::wait_ready`], of the calling thread's namespace.
pub(crate) fn asking_socket() -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .map_err(|error| error.to_string())?;
    Ok(socket)
}

/// All cores that are there.
pub(crate) fn all_cores() -> Vec<usize> {
    // Not `available_parallelism`: that counts the cores we are pinned to.
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = text
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    (0..cores.max(1)).collect()
}

/// Pins the calling thread.
pub(crate) fn pin_self(cores: Vec<usize>) -> Result<(), String> {
    sys::pin(0, &cores).map_err(|error| format!("cannot choose a core: {error}"))
}

/// A port that is free for both UDP and TCP on loopback.
pub(crate) fn free_port() -> Result<u16, String> {
    for _ in 0..100 {
        let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else {
            continue;
        };
        let Ok(address) = socket.local_addr() else { continue };
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
    Err("no free port".to_owned())
}
