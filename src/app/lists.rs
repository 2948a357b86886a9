//! Reads the user's lists in the background, and again when one of them has changed. A set that cannot be read whole changes nothing.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::policy::blocking::Blocking;
use crate::policy::list::Action;
use crate::policy::rules::{Builder, MAX_SOURCES, Rules};

/// How often the files are looked at for a change; a changed one is read once two looks agree.
/// Whoever edits a list tries it within a minute, and a look costs one system call a file.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A file or a folder of the configuration.
#[derive(Clone, Debug)]
pub(super) struct ListPath {
    pub(super) path: PathBuf,
    pub(super) action: Action,
}

/// What tells that a file is another one: its time, its length.
type Stamp = (PathBuf, Action, Option<(SystemTime, u64)>);

/// Keeps the rules in force. Never ends by itself. Cancel-safe.
pub(super) async fn keep(paths: Vec<ListPath>, blocking: Blocking) {
    let mut keeper = Keeper::default();
    loop {
        let look = paths.clone();
        // What cannot be found out now is found out next time.
        if let Ok(stamps) = spawn_blocking(move || stamps(&look)).await
            && keeper.wants(&stamps)
        {
            let (files, in_force) = (stamps.clone(), blocking.count());
            let loaded = spawn_blocking(move || load(&files, in_force)).await;
            match loaded.unwrap_or_else(|_| Err("the lists cannot be read".to_owned())) {
                Ok(rules) => {
                    tracing::info!(rules = rules.len(), files = stamps.len(), "lists are in force");
                    blocking.publish(rules);
                    keeper.in_force = Some(stamps);
                    keeper.problem = None;
                }
                Err(problem) => keeper.complain(problem),
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// What was seen at earlier looks.
#[derive(Default)]
struct Keeper {
    last: Option<Vec<Stamp>>,
    in_force: Option<Vec<Stamp>>,
    problem: Option<String>,
}

impl Keeper {
    /// Whether these files should be read: they are others than those in force, and nobody is writing them any more. The first time
    /// nobody waits.
    fn wants(&mut self, stamps: &[Stamp]) -> bool {
        let is_first = self.last.is_none();
        let is_calm = self.last.as_deref() == Some(stamps);
        self.last = Some(stamps.to_vec());
        self.in_force.as_deref() != Some(stamps) && (is_first || is_calm)
    }

    /// One line for one problem: it is tried again with every look, because not everything that mends a file changes its stamp.
    fn complain(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("{problem}: the lists from before stay in force");
        }
        self.problem = Some(problem);
    }
}

/// The files, those of folders by name, hidden ones left out.
fn stamps(paths: &[ListPath]) -> Vec<Stamp> {
    let mut files = Vec::new();
    for ListPath { path, action } in paths {
        let mut found = match fs::read_dir(path) {
            Ok(entries) => entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| is_list(path))
                .collect(),
            Err(_) => vec![path.clone()],
        };
        found.sort();
        files.extend(found.into_iter().map(|path| {
            let stamp = fs::metadata(&path).and_then(|data| Ok((data.modified()?, data.len())));
            (path, *action, stamp.ok())
        }));
    }
    files
}

fn is_list(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && path.is_file()
}

/// All or nothing. Where rules are in force, a list without any is taken for a download that failed.
fn load(files: &[Stamp], in_force: usize) -> Result<Rules, String> {
    if files.len() > usize::from(MAX_SOURCES) {
        return Err(format!("more than {MAX_SOURCES} lists"));
    }
    let mut builder = Builder::new();
    for ((path, action, _), source) in files.iter().zip(0..) {
        let told = |why: &dyn std::fmt::Display| format!("list {}: {why}", path.display());
        let file = open(path).map_err(|error| told(&error))?;
        let tally = builder
            .read(source, *action, BufReader::new(file))
            .map_err(|error| told(&error))?;
        if tally.is_no_list() {
            return Err(told(&"no line of it is a name"));
        }
        if tally.rules == 0 && in_force > 0 && *action == Action::Block {
            return Err(told(&"it is empty"));
        }
        if tally.skipped > 0 {
            let lines: Vec<_> = tally.first_skipped.iter().map(|(line, _)| line.to_string()).collect();
            let lines = lines.join(", ");
            tracing::info!(file = %path.display(), skipped = tally.skipped, first = lines, "lines that are no rules here");
        }
    }
    Ok(builder.build())
}

/// A pipe would wait for a writer for ever.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &Path, names: &[(&str, Action)]) -> Vec<ListPath> {
        let path = |(name, action): &(&str, Action)| ListPath {
            path: folder.join(name),
            action: *action,
        };
        names.iter().map(path).collect()
    }

    fn count(folder: &Path, names: &[(&str, Action)]) -> Result<usize, String> {
        load(&stamps(&paths(folder, names)), 0).map(|rules| rules.len())
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
    fn files_that_are_being_written_are_waited_for_and_failures_are_tried_again() {
        let stamp = |len| vec![(PathBuf::from("x"), Action::Block, Some((SystemTime::UNIX_EPOCH, len)))];
        let mut keeper = Keeper::default();
        assert!(keeper.wants(&stamp(1)), "at once");
        assert!(keeper.wants(&stamp(1)), "again, because it failed");
        keeper.in_force = Some(stamp(1));
        assert_eq!(
            [1, 2, 3, 3].map(|len| keeper.wants(&stamp(len))),
            [false, false, false, true]
        );
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
