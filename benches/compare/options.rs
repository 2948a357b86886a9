//! What the one who calls wants.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::peers::Kind;

/// The command line of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// More rounds and more names.
    pub(crate) long: bool,
    /// Rows to run; all if empty.
    pub(crate) rows: Vec<String>,
    /// Peers to compare with; all that are installed if `None`.
    pub(crate) peers: Option<Vec<String>>,
    /// Where peers are that no package brings, or other versions of them.
    pub(crate) binaries: BTreeMap<String, PathBuf>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
    rounds: Option<usize>,
}

/// How it is called.
pub(crate) const USAGE: &str = "\
cargo bench --bench compare -- [--long] [--rows B1,B6] [--peers unbound,dnsdist | --peers none]
                               [--peer-binary dnsproxy=/path]... [--json FILE] [--rounds N]";

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo says so to every bench.
                "--bench" => {}
                "--long" => options.long = true,
                "--rows" => options.rows = list(&value()?.to_uppercase()),
                "--peers" => options.peers = Some(list(&value()?)),
                "--json" => options.json = Some(value()?.into()),
                "--rounds" => {
                    let text = value()?;
                    let rounds = text.parse().ok().filter(|rounds| (1..=100).contains(rounds));
                    options.rounds = Some(rounds.ok_or_else(|| format!("--rounds {text}: 1 to 100"))?);
                }
                "--peer-binary" => {
                    let text = value()?;
                    let (name, path) = text
                        .split_once('=')
                        .ok_or_else(|| format!("{text}: expected NAME=/path"))?;
                    options.binaries.insert(name.to_owned(), path.into());
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        options.check()?;
        Ok(options)
    }

    /// A name that is misspelt would else just be missing from the report.
    fn check(&self) -> Result<(), String> {
        let is_row = |row: &String| {
            row.strip_prefix('B')
                .and_then(|n| n.parse().ok())
                .is_some_and(|n| (1..=12).contains(&n))
        };
        if let Some(row) = self.rows.iter().find(|row| !is_row(row)) {
            return Err(format!("{row}: no such row, there are B1 to B12"));
        }
        let is_peer = |name: &String| Kind::PEERS.iter().any(|kind| kind.name() == name);
        let named = self.peers.iter().flatten().filter(|name| *name != "none");
        match named.chain(self.binaries.keys()).find(|name| !is_peer(name)) {
            Some(name) => Err(format!("{name}: no such peer")),
            None => Ok(()),
        }
    }

    pub(crate) fn wants_row(&self, id: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == id)
    }

    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        self.peers
            .as_ref()
            .is_none_or(|peers| peers.iter().any(|peer| peer == name))
    }

    /// Rounds of a row that takes `short` of them by default.
    pub(crate) fn rounds(&self, short: usize) -> usize {
        self.rounds.unwrap_or(if self.long { 2 * short + 1 } else { short })
    }

    /// One of two sizes.
    pub(crate) fn size<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).collect()
}
