//! The configuration of each program at its best: cache on, no log, one thread, room for all that is asked at once.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers::Kind;
use crate::tls;

/// How the upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Dot,
    Doh,
}

/// Where an upstream is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) plain: u16,
    pub(crate) dot: u16,
    pub(crate) doh: u16,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheSize {
    /// A million answers.
    Large,
    /// This many MiB, or what about fits into them.
    Small(u32),
}

/// What a program is told.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: Address,
    pub(crate) transport: Transport,
    pub(crate) cache: CacheSize,
    pub(crate) folder: PathBuf,
}

impl Setting {
    fn upstream_port(&self) -> u16 {
        match self.transport {
            Transport::Plain => self.upstream.plain,
            Transport::Dot => self.upstream.dot,
            Transport::Doh => self.upstream.doh,
        }
    }

    /// Entries that a cache may have which counts in entries.
    fn entries(&self) -> u32 {
        match self.cache {
            CacheSize::Large => 1_200_000,
            // 300 octets each.
            CacheSize::Small(mib) => mib * 3_500,
        }
    }

    fn mib(&self) -> u32 {
        match self.cache {
            CacheSize::Large => 1024,
            CacheSize::Small(mib) => mib,
        }
    }
}

/// Writes what the program reads; gives its arguments.
pub(crate) fn write(kind: Kind, setting: &Setting, folder: &Path, file: &Path) -> Result<Vec<String>, String> {
    let text = match kind {
        Kind::Tacenda => tacenda(setting),
        Kind::Unbound => unbound(setting),
        Kind::Dnsdist => dnsdist(setting),
        Kind::Kresd => kresd(setting),
        Kind::Smartdns => smartdns(setting, folder),
        Kind::Dnsmasq => dnsmasq(setting),
        Kind::Stubby => stubby(setting),
        Kind::DnscryptProxy => dnscrypt_proxy(setting),
        Kind::Dnsproxy | Kind::LimitEcho | Kind::LimitRelay => String::new(),
    };
    let save = |text: &str| std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()));
    save(&text)?;
    if kind == Kind::Unbound && !unbound_takes(file) {
        save(&text.replace(WAIT_LIMIT, ""))?;
    }
    let at = |flags: &[&str]| {
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        all.push(file.display().to_string());
        all
    };
    let listen = setting.listen.to_string();
    let upstream = SocketAddr::new(setting.upstream.ip, setting.upstream_port()).to_string();
    Ok(match kind {
        Kind::LimitEcho => vec!["limit-echo".to_owned(), listen],
        Kind::LimitRelay => vec!["limit-relay".to_owned(), listen, upstream],
        Kind::Tacenda => at(&["run", "-q", "--config"]),
        Kind::Unbound => at(&["-d", "-c"]),
        Kind::Dnsdist => at(&["--supervised", "--disable-syslog", "-C"]),
        Kind::Kresd => [at(&["-n", "-c"]), vec![folder.display().to_string()]].concat(),
        Kind::Smartdns => [
            at(&["-f", "-x", "-c"]),
            vec!["-p".into(), folder.join("pid").display().to_string()],
        ]
        .concat(),
        Kind::Dnsmasq => at(&["-k", "-C"]),
        Kind::Stubby => at(&["-C"]),
        Kind::DnscryptProxy => at(&["-config"]),
        Kind::Dnsproxy => dnsproxy(setting, folder),
    })
}

fn ca() -> String {
    tls::file("ca.pem").display().to_string()
}

fn tacenda(setting: &Setting) -> String {
    let (port, name) = (setting.upstream_port(), tls::NAME);
    let url = match setting.transport {
        Transport::Doh => format!("https://{name}:{port}/dns-query"),
        Transport::Dot | Transport::Plain => format!("tls://{name}:{port}"),
    };
    format!(
        "version = 1\nlisten = [\"{}\"]\n[[upstream]]\nurl = \"{url}\"\naddresses = [\"{}\"]\nroots = \"{}\"\n\
         [cache]\nmax-bytes = \"{} MiB\"\n[stats]\nlisten = \"off\"\n",
        setting.listen,
        setting.upstream.ip,
        ca(),
        setting.mib()
    )
}

/// Newer ones answer no more than a thousand waiting queries of one address, unless told to. Older ones do not know the word.
const WAIT_LIMIT: &str = " wait-limit: 0\n";

/// Whether this Unbound knows all words of the file. Without its checker the newer ones are assumed.
fn unbound_takes(file: &Path) -> bool {
    let checked = Command::new("unbound-checkconf").arg(file).output();
    checked.map_or(true, |output| output.status.success())
}

fn unbound(setting: &Setting) -> String {
    let Setting { listen, upstream, .. } = setting;
    // Of an answer here the message takes as much as its records.
    let mib = (setting.mib() / 2).max(1);
    let (tls, name) = match setting.transport {
        Transport::Plain => ("no", String::new()),
        Transport::Dot | Transport::Doh => ("yes", format!("#{}", tls::NAME)),
    };
    format!(
        "server:\n directory: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
         num-threads: 1\n interface: {}@{}\n do-not-query-localhost: no\n module-config: \"iterator\"\n \
         tls-cert-bundle: \"{}\"\n msg-cache-size: {mib}m\n rrset-cache-size: {mib}m\n outgoing-range: 4096\n \
         num-queries-per-thread: 20000\n so-rcvbuf: 4m\n incoming-num-tcp: 600\n minimal-responses: yes\n{WAIT_LIMIT}\
         forward-zone:\n name: \".\"\n forward-tls-upstream: {tls}\n forward-addr: {}@{}{name}\n\
         remote-control:\n control-enable: no\n",
        listen.ip(),
        listen.port(),
        ca(),
        upstream.ip,
        setting.upstream_port(),
    )
}

/// With recvmmsg and sendmmsg, which are off by default: a third less CPU for a hit.
fn dnsdist(setting: &Setting) -> String {
    let encrypted = match setting.transport {
        Transport::Plain => String::new(),
        Transport::Dot | Transport::Doh => format!(
            ", tls=\"openssl\", subjectName=\"{}\", caStore=\"{}\", validateCertificates=true, maxInFlight=1000",
            tls::NAME,
            ca()
        ),
    };
    let path = match setting.transport {
        Transport::Doh => ", dohPath=\"/dns-query\"",
        Transport::Plain | Transport::Dot => "",
    };
    format!(
        "setSecurityPollSuffix(\"\")\nsetLocal(\"{}\")\nsetACL({{\"127.0.0.0/8\"}})\nsetMaxTCPClientThreads(1)\n\
         setMaxTCPQueuedConnections(1000)\nsetTCPRecvTimeout(60)\nsetUDPMultipleMessagesVectorSize(32)\nsetUDPSocketBufferSizes(4194304, 1048576)\n\
         pc = newPacketCache({}, {{maxTTL=86400}})\ngetPool(\"\"):setCache(pc)\n\
         newServer({{address=\"{}:{}\"{encrypted}{path}, checkName=\"www.bench.example.\", mustResolve=false}})\n",
        setting.listen,
        setting.entries(),
        setting.upstream.ip,
        setting.upstream_port(),
    )
}

fn kresd(setting: &Setting) -> String {
    let (ip, port) = (setting.upstream.ip, setting.upstream_port());
    let forward = match setting.transport {
        Transport::Plain => format!("policy.FORWARD({{'{ip}@{port}'}})"),
        Transport::Dot | Transport::Doh => {
            format!(
                "policy.TLS_FORWARD({{{{'{ip}@{port}', hostname='{}', ca_file='{}'}}}})",
                tls::NAME,
                ca()
            )
        }
    };
    format!(
        "net.listen('{}', {}, {{ kind = 'dns' }})\n\
         modules.unload('ta_signal_query'); modules.unload('priming'); modules.unload('ta_update')\n\
         modules.unload('detect_time_skew')\ntrust_anchors.remove('.')\n\
         policy.add(policy.all({forward}))\ncache.size = {}*MB\n",
        setting.listen.ip(),
        setting.listen.port(),
        setting.mib(),
    )
}

fn smartdns(setting: &Setting, folder: &Path) -> String {
    let (ip, port, name) = (setting.upstream.ip, setting.upstream_port(), tls::NAME);
    let server = match setting.transport {
        Transport::Plain => format!("server {ip}:{port}"),
        Transport::Dot | Transport::Doh => format!("server-tls {ip}:{port} -host-name {name} -no-check-certificate"),
    };
    format!(
        "bind {}\n{server}\nspeed-check-mode none\nresponse-mode fastest-response\ncache-size {}\ncache-persist no\n\
         prefetch-domain no\nserve-expired no\nlog-level error\nlog-file {}\ndualstack-ip-selection no\n",
        setting.listen,
        setting.entries(),
        folder.join("smartdns.log").display(),
    )
}

fn dnsmasq(setting: &Setting) -> String {
    format!(
        "port={}\nlisten-address={}\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\nserver={}#{}\ncache-size=10000\n\
         dns-forward-max=10000\npid-file=\nuser=\n",
        setting.listen.port(),
        setting.listen.ip(),
        setting.upstream.ip,
        setting.upstream.plain,
    )
}

fn stubby(setting: &Setting) -> String {
    format!(
        "resolution_type: GETDNS_RESOLUTION_STUB\ndns_transport_list: [GETDNS_TRANSPORT_TLS]\n\
         tls_authentication: GETDNS_AUTHENTICATION_REQUIRED\ntls_query_padding_blocksize: 128\nidle_timeout: 10000\n\
         tls_ca_file: \"{}\"\nlisten_addresses: [{}@{}]\nupstream_recursive_servers:\n  - address_data: {}\n    \
         tls_port: {}\n    tls_auth_name: \"{}\"\n",
        ca(),
        setting.listen.ip(),
        setting.listen.port(),
        setting.upstream.ip,
        setting.upstream.dot,
        tls::NAME,
    )
}

fn dnscrypt_proxy(setting: &Setting) -> String {
    let mut stamp = vec![2];
    stamp.extend_from_slice(&0_u64.to_le_bytes());
    let host = format!("{}:{}", tls::NAME, setting.upstream.doh);
    for part in [
        setting.upstream.ip.to_string(),
        String::new(),
        host,
        "/dns-query".to_owned(),
    ] {
        stamp.push(u8::try_from(part.len()).expect("short names"));
        stamp.extend_from_slice(part.as_bytes());
    }
    format!(
        "listen_addresses = ['{}']\nserver_names = ['bench']\nmax_clients = 100000\ncache = true\ncache_size = {}\n\
         bootstrap_resolvers = ['{}:{}']\nnetprobe_timeout = 0\nrequire_nolog = false\nrequire_nofilter = false\n\
         block_undelegated = false\nblock_unqualified = false\nlog_level = 2\n[static]\n[static.bench]\n\
         stamp = 'sdns://{}'\n",
        setting.listen,
        setting.entries(),
        setting.upstream.ip,
        setting.upstream.plain,
        data_encoding::BASE64URL_NOPAD.encode(&stamp),
    )
}

fn dnsproxy(setting: &Setting, folder: &Path) -> Vec<String> {
    let (ip, name) = (setting.upstream.ip, tls::NAME);
    let upstream = match setting.transport {
        Transport::Plain => format!("{ip}:{}", setting.upstream.plain),
        Transport::Dot => format!("tls://{name}:{}", setting.upstream.dot),
        Transport::Doh => format!("https://{name}:{}/dns-query", setting.upstream.doh),
    };
    vec![
        format!("--listen={}", setting.listen.ip()),
        format!("--port={}", setting.listen.port()),
        "--cache".to_owned(),
        format!("--cache-size={}", u64::from(setting.mib()) << 19),
        format!("--bootstrap={ip}:{}", setting.upstream.plain),
        format!("--upstream={upstream}"),
        format!("--output={}", folder.join("dnsproxy.log").display()),
    ]
}
