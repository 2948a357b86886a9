//! macOS: every network service names tacenda alone, in the dynamic store.
//!
//! That store is what macOS asks by, and it is gone at the next start: a crash leaves no Mac without DNS. `scutil` on its standard input, and
//! not the framework behind it: no dependency and no unsafe code, and what it says is text, which is tested on any system.

pub mod facts;
pub mod plan;
pub mod resolvers;
pub mod scutil;
pub mod text;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::system::{Outline, Refused};
use super::table::Table;
use facts::Facts;
use plan::Planned;
use scutil::Scutil;
use text::Dictionary;

/// A Mac.
#[derive(Debug)]
pub struct Mac<S> {
    root: PathBuf,
    scutil: S,
}

impl<S: Scutil> Mac<S> {
    /// The one whose file tree is at `root`.
    pub fn at(root: &Path, scutil: S) -> Self {
        Self {
            root: root.to_owned(),
            scutil,
        }
    }
}

impl<S: Scutil> Table for Mac<S> {
    const NAME: &'static str = "macos";

    /// Four short programs: what is set by hand wins over what DHCP brings, so there is no hurry.
    const LOOK_INTERVAL: Duration = Duration::from_secs(5);

    const OUTLIVES_A_START: bool = false;

    type Facts = Facts;
    type Planned = Planned;
    type Key = String;
    type Value = Dictionary;

    fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    fn facts(&self, is_set: bool) -> Facts {
        Facts {
            is_set,
            ..facts::gather(&self.scutil, &self.root)
        }
    }

    fn boot_id(&self) -> String {
        self.scutil.boot_id()
    }

    fn plan(facts: &Facts, listen: IpAddr) -> Result<Outline<Planned>, Refused> {
        plan::plan(facts, listen)
    }

    fn rows(facts: &Facts, step: Planned, listen: IpAddr) -> Vec<(String, Dictionary)> {
        match step {
            Planned::Services => plan::rows(facts, listen),
        }
    }

    fn leads_to_us(value: &Dictionary, ours: &Dictionary) -> bool {
        let ours = text::servers(ours);
        text::servers(value).iter().any(|server| ours.contains(server))
    }

    fn servers(value: &Dictionary) -> Vec<String> {
        text::servers(value).to_vec()
    }

    fn name_of(step: Planned) -> &'static str {
        match step {
            Planned::Services => "the servers of a network service",
        }
    }

    fn read(&self, keys: &[String]) -> Result<Vec<Option<Dictionary>>, String> {
        facts::read(&self.scutil, keys)
    }

    fn write(&self, key: &String, value: Option<&Dictionary>) -> Result<(), String> {
        let said = self.scutil.run(&[], &text::to_write(key, value)?)?;
        let there = self.read(std::slice::from_ref(key))?.pop().flatten();
        // It says what went wrong, but not by its exit code.
        if there.as_ref() == value.map(text::writable).as_ref() {
            return Ok(());
        }
        Err(format!("macOS did not take {key}: {}", said.trim()))
    }

    /// What is written counts a moment later. A configuration profile's servers would never be those of a service: it goes on then too.
    fn announce(&self) {
        for _ in 0..MAX_PAUSES {
            if facts::gather(&self.scutil, &self.root).is_settled() {
                break;
            }
            self.scutil.pause();
        }
        self.scutil.flush();
    }

    /// The store is gone with the next start; till then it is not known what stood there.
    fn salvage(&self) -> Result<Vec<String>, Vec<String>> {
        Ok(vec![
            "what network services named before is not known: restart this Mac, and they name it again".to_owned(),
        ])
    }
}

/// Two seconds, many times what it takes.
const MAX_PAUSES: u32 = 20;

/// Where root keeps the journal.
const FOLDER: &str = "Library/Application Support/tacenda-system";

#[cfg(test)]
mod tests;
