//! What a host says about who answers its programs: by reading only, so that `system status` may be run by anyone at any time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::content;

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its system, `linux` or another.
    pub system: &'static str,
    /// `/etc/resolv.conf`.
    pub resolv_conf: ResolvConf,
    /// The sources of host names in `/etc/nsswitch.conf`, in their order; empty without such a file.
    pub sources: Vec<String>,
    /// Whether files in `/etc` can be changed at all.
    pub etc: Access,
    /// The container engine that we run under.
    pub container: Option<&'static str>,
    /// Windows' Linux, and whether it writes `/etc/resolv.conf` at each start.
    pub wsl: Option<Wsl>,
    /// Programs that run and have a say in DNS.
    pub running: Vec<Program>,
    /// The tool through which programs hand in servers.
    pub resolvconf: Option<Resolvconf>,
    /// DHCP clients that are installed and leave their script's work to hooks.
    pub hooks: Vec<Hook>,
    /// Where NetworkManager's own files say something about DNS.
    pub manager_dns: ManagerDns,
    /// Whether there is a journal: something is set, or was begun. Also if we may not look.
    pub is_set: bool,
}

impl Facts {
    /// Whether `/etc/resolv.conf` sends questions to this host alone. Without a server libc asks 127.0.0.1.
    pub(super) fn asks_this_host(&self) -> bool {
        let is_here = |server: &String| server.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.resolv_conf.servers.iter().all(is_here)
    }

    /// Whether a program runs.
    pub fn runs(&self, program: Program) -> bool {
        self.running.contains(&program)
    }
}

/// `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// What it is.
    pub place: Place,
    /// Where it leads in the end, if it is a link.
    pub leads_to: Option<PathBuf>,
    /// Its `nameserver` lines.
    pub servers: Vec<String>,
    /// Whether we wrote it.
    pub is_ours: bool,
    /// Whether it is a mount of its own, which cannot be replaced but only written to.
    pub is_mount: bool,
    /// Who says in it that he wrote it.
    pub writer: Option<&'static str>,
}

/// What a path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    #[default]
    Missing,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A folder, a device.
    Odd,
}

/// Whether files can be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// They can.
    #[default]
    Writable,
    /// They are on a read-only file system.
    ReadOnly,
}

/// Where NetworkManager's files say something about DNS. Those in `/etc` are read after those in `/run`, and win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagerDns {
    /// Nowhere that wins over `/run`.
    #[default]
    Elsewhere,
    /// In `/etc`.
    InEtc,
}

/// Windows' Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wsl {
    /// It writes `/etc/resolv.conf` itself.
    Writes,
    /// `/etc/wsl.conf` tells it not to.
    LeavesAlone,
}

/// A program that has a say in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// systemd-resolved.
    Resolved,
    /// systemd-networkd.
    Networkd,
    /// NetworkManager.
    NetworkManager,
    /// ConnMan.
    Connman,
    /// wicked, with netconfig.
    Wicked,
    /// ISC's DHCP client.
    Dhclient,
    /// dhcpcd.
    Dhcpcd,
    /// busybox' DHCP client.
    Udhcpc,
}

impl Program {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        PROGRAMS
            .iter()
            .find(|(_, _, program)| *program == self)
            .map_or("", |(_, name, _)| name)
    }
}

/// As the kernel cuts their names (15 octets), as people know them.
const PROGRAMS: [(&str, &str, Program); 8] = [
    ("systemd-resolve", "systemd-resolved", Program::Resolved),
    ("systemd-network", "systemd-networkd", Program::Networkd),
    ("NetworkManager", "NetworkManager", Program::NetworkManager),
    ("connmand", "ConnMan", Program::Connman),
    ("wickedd", "wicked", Program::Wicked),
    ("dhclient", "dhclient", Program::Dhclient),
    ("dhcpcd", "dhcpcd", Program::Dhcpcd),
    ("udhcpc", "udhcpc", Program::Udhcpc),
];

/// Who handles `resolvconf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolvconf {
    /// openresolv.
    Openresolv,
    /// Debian's.
    Debian,
    /// systemd-resolved's.
    Resolved,
}

/// DHCP clients whose script asks hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// ISC's, with a folder of hooks.
    Dhclient,
    /// dhcpcd.
    Dhcpcd,
}

/// Reads a host whose file tree is at `root`. What cannot be read is not there.
pub fn gather(root: &Path) -> Facts {
    let mounts = read(root, "proc/self/mounts").unwrap_or_default();
    Facts {
        system: std::env::consts::OS,
        resolv_conf: resolv_conf(root, &mounts),
        sources: sources(&read(root, "etc/nsswitch.conf").unwrap_or_default()),
        etc: access(&mounts),
        container: container(root),
        wsl: wsl(root),
        running: running(root),
        resolvconf: resolvconf(root),
        hooks: hooks(root),
        manager_dns: manager_dns(root),
        is_set: false,
    }
}

/// Which start of the machine this is.
pub(super) fn boot_id(root: &Path) -> String {
    read(root, "proc/sys/kernel/random/boot_id").map_or_else(String::new, |id| id.trim().to_owned())
}

fn resolv_conf(root: &Path, mounts: &str) -> ResolvConf {
    let path = root.join("etc/resolv.conf");
    let place = match fs::symlink_metadata(&path) {
        Err(_) => Place::Missing,
        Ok(data) if data.is_symlink() => Place::Link,
        Ok(data) if data.is_file() => Place::File,
        Ok(_) => Place::Odd,
    };
    let end = end_of_links(root, Path::new("/etc/resolv.conf"));
    let text = end.as_deref().and_then(|end| read(root, end)).unwrap_or_default();
    ResolvConf {
        place,
        leads_to: end.filter(|_| place == Place::Link),
        servers: servers(&text),
        is_ours: place == Place::File && content::is_ours(text.as_bytes()),
        is_mount: mounts.lines().any(|line| mount_point(line) == "/etc/resolv.conf"),
        writer: writer(&text),
    }
}

/// Where a path leads, from the root of the file tree.
fn end_of_links(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(inside(root, &path)) else {
            return Some(path);
        };
        path = normal(&path.parent()?.join(target));
    }
    None
}

/// A path of the host in our own tree.
pub(super) fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Without `.` and `..`, so that it can be compared.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// The addresses of `nameserver` lines (resolv.conf(5)).
pub(super) fn servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().unwrap_or_default().to_owned())
    };
    text.lines().filter_map(server).collect()
}

fn writer(text: &str) -> Option<&'static str> {
    let comments = || text.lines().filter(|line| line.starts_with(['#', ';']));
    let known = WRITERS.iter();
    known
        .filter(|(mark, _)| comments().any(|line| line.contains(mark)))
        .map(|(_, name)| *name)
        .next()
}

/// What programs write into the file's comments; the more special first.
const WRITERS: [(&str, &str); 8] = [
    (content::MARK, "tacenda"),
    ("NetworkManager", "NetworkManager"),
    ("systemd-resolved", "systemd-resolved"),
    ("dhcpcd", "dhcpcd"),
    ("resolvconf", OPENRESOLV),
    ("Connection Manager", "ConnMan"),
    ("netconfig", "netconfig"),
    ("tailscale", "tailscale"),
];

/// Who signs as "resolvconf", openresolv and Debian's.
pub(super) const OPENRESOLV: &str = "resolvconf";

fn sources(text: &str) -> Vec<String> {
    let hosts = text.lines().find_map(|line| line.trim_start().strip_prefix("hosts:"));
    let words = hosts.unwrap_or_default().split('#').next().unwrap_or_default();
    let is_source = |word: &&str| !word.starts_with('[') && !word.ends_with(']');
    words.split_whitespace().filter(is_source).map(str::to_owned).collect()
}

fn mount_point(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or_default()
}

/// Of the innermost mount that holds the folder.
fn access(mounts: &str) -> Access {
    let holds = |line: &&str| ["/", "/etc"].contains(&mount_point(line));
    // A later line covers an earlier one of the same place.
    let innermost = mounts.lines().filter(holds).max_by_key(|line| mount_point(line).len());
    let options = innermost.and_then(|line| line.split(' ').nth(3)).unwrap_or_default();
    if options.split(',').any(|option| option == "ro") {
        Access::ReadOnly
    } else {
        Access::Writable
    }
}

fn container(root: &Path) -> Option<&'static str> {
    let marks = [
        ("var/run/secrets/kubernetes.io", "Kubernetes"),
        (".dockerenv", "Docker"),
        ("run/.containerenv", "Podman"),
    ];
    marks
        .iter()
        .find(|(mark, _)| root.join(mark).exists())
        .map(|(_, name)| *name)
}

fn wsl(root: &Path) -> Option<Wsl> {
    let release = read(root, "proc/sys/kernel/osrelease")?.to_ascii_lowercase();
    release.contains("microsoft").then(|| {
        let text = read(root, "etc/wsl.conf").unwrap_or_default().to_ascii_lowercase();
        let is_off = |line: &str| line.replace([' ', '\t'], "").starts_with("generateresolvconf=false");
        if text.lines().any(is_off) {
            Wsl::LeavesAlone
        } else {
            Wsl::Writes
        }
    })
}

/// Of this host, not of containers on it, which are in other process namespaces.
fn running(root: &Path) -> Vec<Program> {
    let proc = root.join("proc");
    let own = fs::read_link(proc.join("self/ns/pid")).ok();
    let is_ours = |process: &Path| {
        let its = fs::read_link(process.join("ns/pid")).ok();
        own.is_none() || its.is_none() || its == own
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&proc).into_iter().flatten().flatten().take(MAX_PROCESSES) {
        let process = entry.path();
        let Some(name) = read(&process, "comm") else { continue };
        let known = PROGRAMS.iter().find(|(comm, _, _)| *comm == name.trim_end());
        if let Some((_, _, program)) = known
            && !found.contains(program)
            && is_ours(&process)
        {
            found.push(*program);
        }
    }
    found.sort_by_key(|program| PROGRAMS.iter().position(|(_, _, other)| other == program));
    found
}

fn resolvconf(root: &Path) -> Option<Resolvconf> {
    let path = SYSTEM_PROGRAMS
        .iter()
        .map(|folder| Path::new("/").join(folder).join("resolvconf"))
        .find(|path| fs::symlink_metadata(inside(root, path)).is_ok())?;
    let end = end_of_links(root, &path)?;
    if end.ends_with("resolvectl") {
        return Some(Resolvconf::Resolved);
    }
    let text = read(root, &end)?;
    Some(if text.contains("openresolv") {
        Resolvconf::Openresolv
    } else {
        Resolvconf::Debian
    })
}

fn hooks(root: &Path) -> Vec<Hook> {
    let mut found = Vec::new();
    if root.join("etc/dhcp/dhclient-enter-hooks.d").is_dir() {
        found.push(Hook::Dhclient);
    }
    if SYSTEM_PROGRAMS
        .iter()
        .any(|folder| root.join(folder).join("dhcpcd").exists())
    {
        found.push(Hook::Dhcpcd);
    }
    found
}

fn manager_dns(root: &Path) -> ManagerDns {
    let folder = root.join("etc/NetworkManager");
    let drop_ins = fs::read_dir(folder.join("conf.d")).into_iter().flatten().flatten();
    let drop_ins = drop_ins.take(MAX_DROP_INS).map(|entry| entry.path());
    let says_dns = |path: PathBuf| {
        let is_ours = path.file_name().is_some_and(|name| name == content::DROP_IN);
        let text = read(&folder, path.strip_prefix(&folder).unwrap_or(&path)).unwrap_or_default();
        let key = |line: &str| {
            line.split('=')
                .next()
                .unwrap_or_default()
                .trim_end_matches(['+', '-'])
                .trim()
                .to_owned()
        };
        let is_key = |line: &str| ["dns", "rc-manager", "systemd-resolved"].contains(&key(line).as_str());
        !is_ours && text.lines().any(is_key)
    };
    if drop_ins.chain([folder.join("NetworkManager.conf")]).any(says_dns) {
        ManagerDns::InEtc
    } else {
        ManagerDns::Elsewhere
    }
}

/// More than anybody writes.
const MAX_DROP_INS: usize = 256;

/// Folders of programs for root.
const SYSTEM_PROGRAMS: [&str; 4] = ["usr/sbin", "sbin", "usr/bin", "bin"];

/// The text of a file at the root; none if it is none, is longer than [`MAX_TEXT`] or no text.
fn read(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let path = inside(root, path.as_ref());
    // A pipe would wait for a writer for ever.
    if !fs::metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut octets = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_TEXT)
        .read_to_end(&mut octets)
        .ok()
        .map(|_| String::from_utf8_lossy(&octets).into_owned())
}

/// What is read of one file: the longest is the table of mounts of a host full of containers.
const MAX_TEXT: u64 = 1024 * 1024;

/// As many links as Linux follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// More than a desktop has by far: `/proc` is looked through once a command.
const MAX_PROCESSES: usize = 32_768;

#[cfg(test)]
mod tests;
