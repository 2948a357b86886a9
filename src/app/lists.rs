//! Reads the user's lists in the background, and again when one of them has changed.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::records;
use super::watched::{self, Stamp};
use crate::config::PolicyConfig;
use crate::os::file::open_regular;
use crate::policy::blocking::Blocking;
use crate::policy::list::{Action, Tally};
use crate::policy::rules::{Builder, MAX_SOURCES, Rules};

/// A file or a folder of the configuration.
#[derive(Clone, Debug)]
pub(super) struct ListPath {
    pub(super) path: PathBuf,
    pub(super) action: Action,
}

/// Keeps the rules in force. Never ends by itself. Cancel-safe.
pub(super) async fn keep(lists: Vec<ListPath>, blocking: Blocking) {
    let take = {
        let lists = lists.clone();
        move |files: &[Stamp]| {
            let rules = load(&lists, files, blocking.count())?;
            tracing::info!(rules = rules.len(), files = files.len(), "lists are in force");
            blocking.publish(rules, names(files));
            Ok(())
        }
    };
    watched::keep(only_paths(&lists), None, take).await;
}

/// Puts the rules in force, once.
pub(super) fn read_once(lists: &[ListPath], blocking: &Blocking) -> Result<(), String> {
    let files = watched::stamps(&only_paths(lists));
    if !files.is_empty() {
        blocking.publish(load(lists, &files, 0)?, names(&files));
    }
    Ok(())
}

fn only_paths(lists: &[ListPath]) -> Vec<PathBuf> {
    lists.iter().map(|list| list.path.clone()).collect()
}

/// As the user wrote them, or what is in a folder that he wrote.
fn names(files: &[Stamp]) -> Vec<String> {
    files.iter().map(|file| file.path.display().to_string()).collect()
}

/// All or nothing. Where rules are in force, a list without any is taken for a download that failed.
fn load(lists: &[ListPath], files: &[Stamp], in_force: usize) -> Result<Rules, String> {
    if files.len() > usize::from(MAX_SOURCES) {
        return Err(format!("more than {MAX_SOURCES} lists"));
    }
    let (mut builder, mut tallies) = (Builder::new(), Vec::new());
    for (Stamp { item, path, .. }, source) in files.iter().zip(0..) {
        let action = lists[*item].action;
        let tally = read(&mut builder, source, action, path)?;
        if tally.rules == 0 && in_force > 0 && action == Action::Block {
            return Err(format!("list {}: it is empty", path.display()));
        }
        tallies.push((path, tally));
    }
    tallies.iter().for_each(|(path, tally)| tell_skipped(path, tally));
    Ok(builder.build())
}

/// Reads one list.
fn read(builder: &mut Builder, source: u16, action: Action, path: &Path) -> Result<Tally, String> {
    let told = |why: &dyn std::fmt::Display| format!("list {}: {why}", path.display());
    let file = open_regular(path).map_err(|error| told(&error))?;
    let tally = builder
        .read(source, action, BufReader::new(file))
        .map_err(|error| told(&error))?;
    if tally.is_no_list() {
        return Err(told(&"no line of it is a name"));
    }
    Ok(tally)
}

/// A file of the user's, and what is in it.
#[derive(Debug)]
pub struct Surveyed {
    /// Which.
    pub path: PathBuf,
    /// Its rules, or the names of a hosts file, and the lines that are none.
    pub tally: Tally,
}

/// What is in the lists and hosts files of a configuration, as they are now.
///
/// # Errors
/// What cannot be used, one line for each file.
pub fn survey(config: &PolicyConfig) -> Result<Vec<Surveyed>, Vec<String>> {
    let (mut surveyed, mut errors) = (Vec::new(), Vec::new());
    let mut builder = Builder::new();
    let lists = lists_of(config);
    for (Stamp { item, path, .. }, source) in watched::stamps(&only_paths(&lists)).into_iter().zip(0..) {
        match read(&mut builder, source, lists[item].action, &path) {
            Ok(tally) => surveyed.push(Surveyed { path, tally }),
            Err(error) => errors.push(error),
        }
    }
    match records::read(config) {
        Ok(read) => surveyed.extend(read.tallies.into_iter().map(|(path, tally)| Surveyed { path, tally })),
        Err(error) => errors.push(error),
    }
    if errors.is_empty() { Ok(surveyed) } else { Err(errors) }
}

/// The lists of a configuration, those that block first.
pub(super) fn lists_of(config: &PolicyConfig) -> Vec<ListPath> {
    let list = |action: Action| {
        move |path: &PathBuf| ListPath {
            path: path.clone(),
            action,
        }
    };
    let blocked = config.block.iter().map(list(Action::Block));
    blocked.chain(config.allow.iter().map(list(Action::Allow))).collect()
}

/// Half a list is better than none, but somebody should know.
fn tell_skipped(path: &Path, tally: &Tally) {
    if tally.skipped > 0 {
        let lines: Vec<_> = tally.first_skipped.iter().map(|(line, _)| line.to_string()).collect();
        let lines = lines.join(", ");
        tracing::info!(file = %path.display(), skipped = tally.skipped, first = lines, "lines that are no rules here");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::watched::{LOOK_INTERVAL, stamps};
    use super::*;

    fn paths(folder: &Path, names: &[(&str, Action)]) -> Vec<ListPath> {
        let path = |(name, action): &(&str, Action)| ListPath {
            path: folder.join(name),
            action: *action,
        };
        names.iter().map(path).collect()
    }

    fn count(folder: &Path, names: &[(&str, Action)]) -> Result<usize, String> {
        load(&paths(folder, names), &stamps(&only_paths(&paths(folder, names))), 0).map(|rules| rules.len())
    }

    #[test]
    fn files_and_folders_are_read_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        for (name, text) in [
            ("ads.txt", "a.example\nb.example\n"),
            ("more/1.txt", "c.example\n"),
            ("more/2.txt", "0.0.0.0 d.example e.example\n"),
            ("more/.hidden", "f.example\n"),
            ("allow", "b.example\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let all = [
            ("ads.txt", Action::Block),
            ("more", Action::Block),
            ("allow", Action::Allow),
        ];
        assert_eq!(count(folder.path(), &all), Ok(6));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_for_all() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good"), "a.example\n").unwrap();
        fs::write(folder.path().join("page"), "<html><body>sign in</body></html>\n").unwrap();
        for (name, words) in [("none", "No such file"), ("page", "no line of it is a name")] {
            let error = count(folder.path(), &[("good", Action::Block), (name, Action::Block)]).unwrap_err();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_keeps_the_old_list_and_a_mended_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ads");
        fs::write(&file, "a.example\n").unwrap();
        let blocking = Blocking::default();
        let keeper = tokio::spawn(keep(paths(folder.path(), &[("ads", Action::Block)]), blocking.clone()));
        let until = async |rules: usize| {
            while blocking.count() != rules {
                sleep(Duration::from_millis(100)).await;
            }
        };
        until(1).await;
        fs::write(&file, "<html>nothing here</html>\n").unwrap();
        sleep(LOOK_INTERVAL * 3).await;
        assert_eq!(blocking.count(), 1, "the old list");
        fs::write(&file, "").unwrap();
        sleep(LOOK_INTERVAL * 3).await;
        assert_eq!(blocking.count(), 1, "a download that failed");
        fs::write(&file, "a.example\nb.example\nc.example\n").unwrap();
        until(3).await;
        keeper.abort();
    }
}
