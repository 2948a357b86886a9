//! Who is tried: the real binary, or beside it Unbound and Knot Resolver over DoT, each with a configuration of its own on loopback.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::daemon::free_port;
use crate::load::{ask, fresh};
use crate::upstream::SERVER_NAME;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tacenda,
    Unbound,
    Knot,
}

/// A resolver behind the stub: a port and the addresses that share it.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
}

/// What the stub is told.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) doh: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) behind: Vec<Behind>,
    pub(crate) roots: PathBuf,
    /// What stands before the command, for example `prlimit --nofile=64`. It must exec, so that the pid is the stub's.
    pub(crate) wrap: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Lines of tacenda's configuration before the first table, and after the last.
    pub(crate) head: String,
    pub(crate) tail: String,
    pub(crate) directory: Option<PathBuf>,
}

impl Setup {
    pub(crate) fn new(kind: Kind, doh: bool, roots: &Path) -> Self {
        Self {
            kind,
            doh,
            listen: free_port(),
            behind: Vec::new(),
            roots: roots.to_owned(),
            wrap: Vec::new(),
            env: Vec::new(),
            head: String::new(),
            tail: String::new(),
            directory: None,
        }
    }

    fn tacenda(&self) -> String {
        let mut text = format!("version = 1\nlisten = [\"{}\"]\n{}\n", self.listen, self.head);
        for behind in &self.behind {
            let (scheme, path) = if self.doh { ("https", "/dns-query") } else { ("tls", "") };
            let addresses: Vec<String> = behind.addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
            writeln!(
                text,
                "[[upstream]]\nurl = \"{scheme}://{SERVER_NAME}:{}{path}\"\naddresses = [{}]\nroots = \"{}\"",
                behind.port,
                addresses.join(", "),
                self.roots.display()
            )
            .unwrap();
        }
        format!("{text}{}\n[stats]\nlisten = \"off\"\n", self.tail)
    }

    /// Address and port of everything behind, in order.
    fn targets(&self) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.behind
            .iter()
            .flat_map(|behind| behind.addresses.iter().map(move |ip| (*ip, behind.port)))
    }

    fn unbound(&self) -> String {
        let mut text = format!(
            "server:\n directory: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
             num-threads: 1\n interface: {}@{}\n do-not-query-localhost: no\n module-config: \"iterator\"\n \
             tls-cert-bundle: \"{}\"\n so-rcvbuf: 1m\nremote-control:\n control-enable: no\nforward-zone:\n name: \".\"\n \
             forward-tls-upstream: yes\n",
            self.listen.ip(),
            self.listen.port(),
            self.roots.display()
        );
        for (ip, port) in self.targets() {
            writeln!(text, " forward-addr: {ip}@{port}#{SERVER_NAME}").unwrap();
        }
        text
    }

    fn knot(&self) -> String {
        let target = |(ip, port)| {
            format!(
                "{{'{ip}@{port}', hostname='{SERVER_NAME}', ca_file='{}'}}",
                self.roots.display()
            )
        };
        let targets: Vec<String> = self.targets().map(target).collect();
        format!(
            "net.listen('{}', {}, {{ kind = 'dns' }})\nmodules.unload('ta_signal_query')\nmodules.unload('priming')\n\
             modules.unload('ta_update')\nmodules.unload('detect_time_skew')\ntrust_anchors.remove('.')\n\
             policy.add(policy.all(policy.TLS_FORWARD({{{}}})))\ncache.size = 20*MB\n",
            self.listen.ip(),
            self.listen.port(),
            targets.join(", ")
        )
    }
}

/// A running stub; killed when dropped.
pub(crate) struct Subject {
    child: Child,
    pub(crate) setup: Setup,
    pub(crate) folder: TempDir,
}

impl Subject {
    /// Starts it; the caller waits for it.
    pub(crate) fn spawn(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = match setup.kind {
            Kind::Tacenda => setup.tacenda(),
            Kind::Unbound => setup.unbound(),
            Kind::Knot => setup.knot(),
        };
        fs::write(folder.path().join("stub.conf"), text).unwrap();
        let child = command(&setup, folder.path());
        Self { child, setup, folder }
    }

    /// Waits until a fresh name is answered well.
    pub(crate) async fn ready(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) {
            if ask(self.setup.listen, &fresh(), Duration::from_millis(500)).await == Some(0) {
                return Ok(());
            }
            if !self.is_running() {
                return Err(format!("ended: {}", self.log()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(format!("never answered: {}", self.log()))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let _ = Command::new("kill").args(["-s", name, &pid]).status();
    }

    /// SIGKILL, gone for `pause`, and started again with the same configuration.
    pub(crate) async fn restart(&mut self, pause: Duration) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        sleep(pause).await;
        self.child = command(&self.setup, self.folder.path());
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("stub.conf")
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.chars().skip(text.chars().count().saturating_sub(800)).collect()
    }

    /// Resident memory in octets.
    pub(crate) fn resident(&self) -> Option<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<usize>().ok()? * 1024)
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        Some(fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?.count())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Already gone is as good. A stopped process takes SIGKILL too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(setup: &Setup, folder: &Path) -> Child {
    let configuration = folder.join("stub.conf").display().to_string();
    let program: Vec<String> = match setup.kind {
        Kind::Tacenda => vec![
            env!("CARGO_BIN_EXE_tacenda").into(),
            "run".into(),
            "--config".into(),
            configuration,
        ],
        Kind::Unbound => vec!["unbound".into(), "-d".into(), "-c".into(), configuration],
        Kind::Knot => vec![
            "kresd".into(),
            "-n".into(),
            "-c".into(),
            configuration,
            folder.display().to_string(),
        ],
    };
    let words: Vec<&String> = setup.wrap.iter().chain(&program).collect();
    let log = || {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .unwrap()
    };
    Command::new(words[0])
        .args(&words[1..])
        .envs(setup.env.iter().map(|(key, value)| (key, value)))
        .current_dir(setup.directory.as_deref().unwrap_or(folder))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .unwrap()
}
