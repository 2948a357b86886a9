//! What is known of a host, in words and for programs.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::facts::{Access, Facts, Place, Program, Wsl};
use crate::os::dns::system::Picture;

impl Picture for Facts {
    fn stays_here(&self) -> bool {
        self.asks_this_host()
    }

    fn elsewhere(&self) -> String {
        format!("/etc/resolv.conf names {}", self.resolv_conf.servers.join(", "))
    }

    fn named(&self) -> Option<IpAddr> {
        let named = self.resolv_conf.servers.first().filter(|_| self.resolv_conf.is_ours);
        named.and_then(|server| server.parse().ok())
    }

    fn place(&self) -> &'static str {
        "/etc/resolv.conf"
    }

    fn servers(&self) -> Vec<IpAddr> {
        let servers = self.resolv_conf.servers.iter();
        servers.filter_map(|server| server.parse().ok()).collect()
    }

    fn has_resolved(&self) -> bool {
        self.runs(Program::Resolved)
    }

    fn headline(&self) -> String {
        let file = &self.resolv_conf;
        let mut text = "/etc/resolv.conf: ".to_owned();
        text.push_str(&match (file.place, &file.leads_to) {
            (Place::Missing, _) => "there is none".to_owned(),
            (Place::File, _) => "a file".to_owned(),
            (Place::Link, Some(end)) => format!("a link to {}", end.display()),
            (Place::Link, None) => "a link that leads nowhere".to_owned(),
            (Place::Odd, _) => "neither a file nor a link".to_owned(),
        });
        if let Some(writer) = file.writer {
            text.push_str(&format!(", written by {writer}"));
        }
        if file.is_mount {
            text.push_str(", a mount of its own");
        }
        match file.servers.as_slice() {
            [] => text.push_str(", names no server"),
            servers => text.push_str(&format!(", names {}", servers.join(", "))),
        }
        text
    }

    fn explained(&self) -> String {
        let running: Vec<_> = self.running.iter().map(|program| program.name()).collect();
        let or_none = |words: Vec<&str>| {
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join(", ")
            }
        };
        let mut text = format!(
            "sources of names (nsswitch.conf): {}\nrunning, with a say in DNS: {}\n",
            or_none(self.sources.iter().map(String::as_str).collect()),
            or_none(running)
        );
        if let Some(resolvconf) = self.resolvconf {
            text.push_str(&format!("resolvconf: {resolvconf:?}\n"));
        }
        if self.etc == Access::ReadOnly {
            text.push_str("/etc: read-only\n");
        }
        if let Some(engine) = self.container {
            text.push_str(&format!("container: {engine}\n"));
        }
        text
    }

    fn to_json(&self) -> Value {
        let file = &self.resolv_conf;
        json!({
            "resolv_conf": {
                "is": format!("{:?}", file.place).to_lowercase(),
                "leads_to": file.leads_to,
                "servers": file.servers,
                "written_by": file.writer,
                "is_mount": file.is_mount,
            },
            "sources": self.sources,
            "etc_read_only": self.etc == Access::ReadOnly,
            "container": self.container,
            "wsl_writes": self.wsl.map(|wsl| wsl == Wsl::Writes),
            "running": self.running.iter().map(|program| program.name()).collect::<Vec<_>>(),
            "resolvconf": self.resolvconf.map(|one| format!("{one:?}").to_lowercase()),
        })
    }
}
