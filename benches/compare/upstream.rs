//! The upstream of the rows about cost: a real Unbound that answers every name of `bench.example` at once, on a core of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::children::Running;
use crate::configs::Address;
use crate::peers::{self, Kind};
use crate::{clock, options::Options, tls};

/// It runs as long as this value is there.
#[derive(Debug)]
pub(crate) struct Upstream {
    _running: Running,
    pub(crate) address: Address,
}

impl Upstream {
    pub(crate) fn start(folder: &Path, core: usize, options: &Options) -> Result<Self, String> {
        let program = Kind::Unbound
            .program(options)
            .ok_or("the bench upstream is unbound, which is not installed")?;
        let address = Address {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            plain: peers::free_port()?,
            dot: peers::free_port()?,
            doh: peers::free_port()?,
        };
        let folder = folder.join("upstream");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let config = folder.join("config");
        std::fs::write(&config, text(address)).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config);
        peers::pin_self(vec![core])?;
        let running = Running::start(&mut command, &folder.join("log"));
        peers::pin_self(peers::all_cores())?;
        let mut running = running?;
        wait(&mut running, address).map_err(|why| {
            let said = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            format!("the bench upstream {why}: {}", said.lines().last().unwrap_or_default())
        })?;
        Ok(Self {
            _running: running,
            address,
        })
    }
}

fn wait(running: &mut Running, address: Address) -> Result<(), String> {
    let target = SocketAddr::new(address.ip, address.doh);
    let step = std::time::Duration::from_millis(10);
    let up = clock::until(step * 500, step, || {
        if running.ended().is_some() {
            return Some(false);
        }
        std::net::TcpStream::connect(target).is_ok().then_some(true)
    });
    match up {
        Some(true) => Ok(()),
        Some(false) => Err("ended".to_owned()),
        None => Err("does not listen".to_owned()),
    }
}

fn text(address: Address) -> String {
    let Address { ip, plain, dot, doh } = address;
    format!(
        "server:\n directory: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n \
         num-threads: 1\n interface: {ip}@{plain}\n interface: {ip}@{dot}\n interface: {ip}@{doh}\n tls-port: {dot}\n \
         https-port: {doh}\n tls-service-key: \"{}\"\n tls-service-pem: \"{}\"\n incoming-num-tcp: 400\n \
         http-max-streams: 1000\n so-rcvbuf: 4m\n module-config: \"iterator\"\n\
         \x20local-zone: \"bench.example.\" redirect\n local-data: \"bench.example. 86400 A 192.0.2.1\"\n \
         local-zone: \"tacenda.test.\" static\n local-data: \"dns.tacenda.test. 86400 A 127.0.0.1\"\n \
         local-zone: \".\" static\n local-data: \". 3600 SOA . . 1 3600 600 86400 3600\"\n\
         remote-control:\n control-enable: no\n",
        tls::file("server.key").display(),
        tls::file("server.pem").display(),
    )
}
