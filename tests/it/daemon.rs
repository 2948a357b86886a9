//! The real binary under test: a config of its own, ephemeral loopback ports, stderr collected, killed by its own id.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::{Ask, CHAOS, PATIENCE, TXT, tick};
use crate::upstream::{SERVER_NAME, Upstream};

/// The binary.
const TACENDA: &str = env!("CARGO_BIN_EXE_tacenda");

/// The CA of every in-process upstream.
pub(crate) const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem");

/// The longest that a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A configuration in the making; the order of `upstream` calls is the order of the resolvers.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) dns: SocketAddr,
    pub(crate) stats: SocketAddr,
    also: Option<SocketAddr>,
    lines: String,
    tables: String,
    upstreams: String,
    environment: Vec<(String, String)>,
    flags: Vec<&'static str>,
}

impl Config {
    pub(crate) fn new() -> Self {
        let dns = free_port();
        let stats = free_port();
        Self {
            dns,
            stats,
            also: None,
            lines: String::new(),
            tables: String::new(),
            upstreams: String::new(),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Whatever a later configuration needs, it gets.
    pub(crate) fn without_sandbox(mut self) -> Self {
        self.flags.push("--no-sandbox");
        self
    }

    /// Lines after all upstreams.
    pub(crate) fn table(mut self, lines: &str) -> Self {
        writeln!(self.tables, "{lines}").unwrap();
        self
    }

    /// A variable of the daemon's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A second listen address.
    pub(crate) fn also_at(mut self, address: SocketAddr) -> Self {
        self.also = Some(address);
        self
    }

    /// A line before all tables.
    pub(crate) fn line(mut self, line: &str) -> Self {
        writeln!(self.lines, "{line}").unwrap();
        self
    }

    /// An upstream of which only the name is known.
    pub(crate) fn nameless(mut self, url: &str) -> Self {
        writeln!(self.upstreams, "[[upstream]]\nurl = \"{url}\"\nroots = \"{CA}\"\n").unwrap();
        self
    }

    /// Any upstream on 127.0.0.1.
    pub(crate) fn upstream(mut self, url: &str, roots: &str) -> Self {
        writeln!(
            self.upstreams,
            "[[upstream]]\nurl = \"{url}\"\naddresses = [\"127.0.0.1\"]\nroots = \"{roots}\"\n"
        )
        .unwrap();
        self
    }

    /// One more line for the upstream named last.
    pub(crate) fn key(mut self, line: &str) -> Self {
        writeln!(self.upstreams, "{line}\n").unwrap();
        self
    }

    pub(crate) fn dot(self, upstream: &Upstream) -> Self {
        self.upstream(&format!("tls://{SERVER_NAME}:{}", upstream.dot.port()), CA)
    }

    /// DoH with POST.
    pub(crate) fn doh(self, upstream: &Upstream) -> Self {
        self.upstream(&format!("https://{SERVER_NAME}:{}/dns-query", upstream.doh.port()), CA)
    }

    /// DoH with GET.
    pub(crate) fn doh_get(self, upstream: &Upstream) -> Self {
        self.upstream(
            &format!("https://{SERVER_NAME}:{}/dns-query{{?dns}}", upstream.doh.port()),
            CA,
        )
    }

    pub(crate) fn text(&self) -> String {
        let Self {
            dns,
            stats,
            also,
            lines,
            tables,
            upstreams,
            environment: _,
            flags: _,
        } = self;
        // Whoever has no upstream that works would else look at strangers' web servers.
        let portal = if tables.contains("[portal]") {
            ""
        } else {
            "[portal]\ndetect = false\n"
        };
        let also = also.map_or_else(String::new, |also| format!(", \"{also}\""));
        format!(
            "version = 1\nlisten = [\"{dns}\"{also}]\n{lines}\n{upstreams}\n{tables}\n{portal}\n[stats]\nlisten = \"{stats}\"\n"
        )
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&self) -> Daemon {
        let mut daemon = Daemon::spawn(self);
        daemon.wait_ready();
        daemon
    }
}

/// A running daemon over one upstream.
pub(crate) fn over_dot(upstream: &Upstream) -> Daemon {
    Config::new().dot(upstream).start()
}

pub(crate) fn over_doh(upstream: &Upstream) -> Daemon {
    Config::new().doh(upstream).start()
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) dns: SocketAddr,
    stats: SocketAddr,
    stderr: Arc<Mutex<String>>,
    lines: Receiver<()>,
    folder: TempDir,
}

impl Daemon {
    /// Sends it a signal, `HUP` for one.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// What Prometheus reads.
    pub(crate) fn metrics(&self) -> String {
        self.get("/metrics").1
    }

    /// The configuration that it runs with.
    pub(crate) fn config_path(&self) -> String {
        self.folder.path().join("tacenda.toml").display().to_string()
    }

    /// Starts the binary without waiting for it.
    pub(crate) fn spawn(config: &Config) -> Self {
        let mut command = Command::new(TACENDA);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::spawn_by(command, config)
    }

    /// Starts it as systemd does with a socket unit: sockets from descriptor 3 on, and their number with the process they are for. Two at the
    /// most: a shell moves its standard input and output there and becomes the daemon.
    pub(crate) fn spawn_with(sockets: Vec<OwnedFd>, names: &str, config: &Config) -> Self {
        let move_there = ["", "exec 3<&0 </dev/null", "exec 3<&0 4>&1 </dev/null >/dev/null"][sockets.len()];
        let count = sockets.len();
        let script =
            format!("{move_there}; LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$0\" \"$@\"");
        let mut sockets = sockets.into_iter().map(Stdio::from);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, TACENDA]);
        command.stdin(sockets.next().unwrap_or_else(Stdio::null));
        command.stdout(sockets.next().unwrap_or_else(Stdio::null));
        Self::spawn_by(command, config)
    }

    fn spawn_by(mut command: Command, config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tacenda.toml");
        std::fs::write(&path, config.text()).unwrap();
        command
            .args(["run", "--config"])
            .arg(path)
            .args(&config.flags)
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped());
        let mut child = begin(&mut command);
        let (stderr, lines) = collect(child.stderr.take().unwrap());
        Self {
            child,
            dns: config.dns,
            stats: config.stats,
            stderr,
            lines,
            folder,
        }
    }

    /// Asks for what is always refused at once and never forwarded until it is refused.
    pub(crate) fn wait_ready(&mut self) {
        let begin = Instant::now();
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        probe.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let query = Ask::new("version.bind", TXT).class(CHAOS).octets();
        while begin.elapsed() < START_LIMIT {
            if probe.send_to(&query, self.dns).is_ok() && probe.recv(&mut [0; 512]).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", self.stderr());
            }
            // Waits for a line of log or 20 ms; a daemon that went away has closed the channel and is seen above.
            let _: Result<(), RecvTimeoutError> = self.lines.recv_timeout(Duration::from_millis(20));
        }
        panic!("the daemon does not answer on {}:\n{}", self.dns, self.stderr());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends by itself; returns its status and all of its log.
    pub(crate) fn wait_exit(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The collector ends with the pipe.
                while self.lines.recv_timeout(PATIENCE).is_ok() {}
                return (status, self.stderr());
            }
            let _: Result<(), RecvTimeoutError> = self.lines.recv_timeout(Duration::from_millis(20));
        }
        panic!("the daemon still runs:\n{}", self.stderr());
    }

    /// Resident memory in octets.
    pub(crate) fn resident(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident, in octets.
    pub(crate) fn peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
    }

    /// Processor time it has taken so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name, which may hold anything: user and system time are the 12th and 13th field, in hundredths (proc(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// `/stats`, read.
    pub(crate) fn stats(&self) -> Value {
        serde_json::from_str(&self.get("/stats").1).unwrap()
    }

    pub(crate) fn stats_address(&self) -> SocketAddr {
        self.stats
    }

    /// A GET from the stats endpoint: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.stats).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.stats
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP response");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one of the laboratories, which says itself what went wrong.
pub(crate) fn lab(script: &str, arguments: &[&str]) {
    let output = Command::new(format!("{}/tests/lab/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(env!("CARGO_BIN_EXE_tacenda"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the binary to its end with these arguments, [`START_LIMIT`] at the longest: exit code, stdout, stderr.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(TACENDA);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = begin(&mut command);
    let (stdout, _) = collect(child.stdout.take().unwrap());
    let (stderr, lines) = collect(child.stderr.take().unwrap());
    let text = |collected: &Mutex<String>| collected.lock().unwrap().clone();
    let begin = Instant::now();
    while begin.elapsed() < START_LIMIT {
        if let Some(status) = child.try_wait().unwrap() {
            // The collectors end with their pipes.
            while lines.recv_timeout(PATIENCE).is_ok() {}
            while Arc::strong_count(&stdout) > 1 && begin.elapsed() < START_LIMIT {
                tick();
            }
            return (status.code().expect("no signal"), text(&stdout), text(&stderr));
        }
        tick();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("{arguments:?} still runs: {}", text(&stderr));
}

/// Reads a pipe to its end in the background; a line sends a token.
fn collect(pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, Receiver<()>) {
    let (text, (sender, lines)) = (Arc::new(Mutex::new(String::new())), channel());
    let collected = Arc::clone(&text);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            writeln!(collected.lock().unwrap(), "{line}").unwrap();
            // Nobody may be waiting.
            let _ = sender.send(());
        }
    });
    (text, lines)
}

/// Held while a program is begun, and while it is tried whether a port is free: until it is another program, the new process has every socket of
/// ours too, and keeps its port.
static BEGINNING: Mutex<()> = Mutex::new(());

fn begin(command: &mut Command) -> Child {
    let _alone = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// A loopback port free for UDP and TCP, outside the kernel's ephemeral range so that no client's socket takes it meanwhile.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several test processes start elsewhere in the range.
    let offset = u16::try_from(std::process::id() % 97).unwrap() * 100;
    let _alone = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..10_000 {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}
