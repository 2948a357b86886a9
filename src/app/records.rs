//! The user's records and hosts files: read at the start, before the first query, and again when a file has changed.

use std::path::{Path, PathBuf};

use super::watched::{self, Stamp};
use crate::config::problem::{Place, Problem};
use crate::config::records::{Read, load};
use crate::config::{PolicyConfig, RecordsFrom};
use crate::policy::list::Tally;
use crate::policy::records::Records;
use crate::policy::swap::Swap;

/// The table, and what it was made of.
pub(super) struct Kept {
    records: Swap<Records>,
    config: PolicyConfig,
    stamps: Vec<Stamp>,
}

impl Kept {
    /// Reads all of it. A name that is to stay here must not be asked in the first second, so nobody is served before.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn read(config: &PolicyConfig) -> Result<Self, String> {
        let kept = Self {
            records: Swap::default(),
            config: config.clone(),
            stamps: watched::stamps(&paths(config)),
        };
        if !config.hosts.is_empty() || !config.records.is_empty() {
            take(config, &kept.records)?;
        }
        Ok(kept)
    }

    pub(super) fn records(&self) -> Swap<Records> {
        self.records.clone()
    }

    /// Keeps the table as the files are; `None` if there are no files. Never ends by itself. Cancel-safe.
    pub(super) fn keep(self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let paths = paths(&self.config);
        let Self {
            records,
            config,
            stamps,
        } = self;
        (!paths.is_empty()).then(|| watched::keep(paths, Some(stamps), move |_| take(&config, &records)))
    }
}

/// Reads everything.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn read(config: &PolicyConfig) -> Result<Read, String> {
    let nowhere = Place::Default;
    let hosts = config.hosts.iter().map(|path| (path.as_path(), &nowhere));
    let items = config.records.iter().map(|item| (item, &nowhere));
    load(hosts, items).map_err(|problems| first(&problems))
}

/// Reads everything and puts it in force.
fn take(config: &PolicyConfig, records: &Swap<Records>) -> Result<(), String> {
    let read = read(config)?;
    read.tallies
        .iter()
        .for_each(|(path, tally)| warn_of_skipped(path, tally));
    tracing::info!(names = read.records.len(), "records are in force");
    records.publish(read.records);
    Ok(())
}

/// A name that was to stay here is asked outside then.
fn warn_of_skipped(path: &Path, tally: &Tally) {
    for (line, why) in &tally.first_skipped {
        let file = path.display();
        tracing::warn!(%file, line, "a line of a hosts file does not count: {why}");
    }
}

/// In one line, without the text of the file: names are not for logs.
fn first(problems: &[Problem]) -> String {
    let text = problems.first().map(ToString::to_string).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    format!("records: {line}")
}

fn paths(config: &PolicyConfig) -> Vec<PathBuf> {
    let records = config.records.iter().filter_map(|item| match item {
        RecordsFrom::Path(path) => Some(path.clone()),
        RecordsFrom::Line(_) => None,
    });
    config.hosts.iter().cloned().chain(records).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::config::Config;

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_taken_and_a_broken_one_keeps_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let (hosts, zone) = (folder.path().join("hosts"), folder.path().join("zone"));
        fs::write(&hosts, "192.0.2.1 nas.example\n").unwrap();
        fs::write(&zone, "mail.example A 192.0.2.2\n").unwrap();
        let mut config = Config::default().policy;
        config.hosts = vec![hosts.clone()];
        config.records = vec![
            RecordsFrom::Path(zone.clone()),
            RecordsFrom::Line("x.example A 192.0.2.3".into()),
        ];
        let kept = Kept::read(&config).unwrap();
        let records = kept.records();
        let len = || records.current().map(|records| records.len());
        assert_eq!(len(), Some(4), "three names and one address");
        let keeper = tokio::spawn(kept.keep().unwrap());
        let until = async |names: usize| {
            while len() != Some(names) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        fs::write(&zone, "mail.example A 192.0.2.2\nweb.example A 192.0.2.2\n").unwrap();
        until(5).await;
        fs::write(&zone, "mail.example A nowhere at all\n").unwrap();
        sleep(watched::LOOK_INTERVAL * 3).await;
        assert_eq!(len(), Some(5), "as before");
        for file in [&zone, &hosts] {
            fs::write(file, "").unwrap();
            sleep(watched::LOOK_INTERVAL * 3).await;
            assert_eq!(len(), Some(5), "a disk was full");
            fs::write(file, "# none\n").unwrap();
        }
        until(1).await;
        keeper.abort();
    }

    #[test]
    fn what_is_wrong_at_the_start_is_said_in_one_line_without_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("zone");
        fs::write(&zone, "\nsecret.example A nowhere\n").unwrap();
        let mut config = Config::default().policy;
        config.records = vec![RecordsFrom::Path(zone)];
        let error = Kept::read(&config).err().unwrap();
        assert!(
            error.ends_with("zone:2:18: expected an IPv4 address") && !error.contains("secret"),
            "{error}"
        );
    }
}
