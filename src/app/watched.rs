//! Files of the user's that are read again when they change. A set that cannot be read whole changes nothing.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::os::file::files_of;

/// How often the files are looked at for a change; a changed one is read once two looks agree.
/// Whoever edits a file tries it within a minute, and a look costs one system call a file.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A file, and what tells that it is another one: its time, its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the path of the configuration that it belongs to.
    pub(super) item: usize,
    pub(super) path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Stamp {
    fn len(&self) -> Option<u64> {
        self.seen.map(|(_, len)| len)
    }
}

/// The files that these paths stand for, folders among them.
pub(super) fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let files = paths.iter().enumerate().flat_map(|(item, path)| {
        let files = files_of(path);
        files.into_iter().map(move |path| (item, path))
    });
    let stamp = |(item, path): (usize, PathBuf)| {
        let seen = fs::metadata(&path).and_then(|data| Ok((data.modified()?, data.len())));
        let seen = seen.ok();
        Stamp { item, path, seen }
    };
    files.map(stamp).collect()
}

/// Hands the files of `paths` to `take` when they are others than those `in_force`: at once for the first time. What it refuses keeps
/// what was before. Never ends by itself. Cancel-safe.
pub(super) async fn keep<F>(paths: Vec<PathBuf>, in_force: Option<Vec<Stamp>>, take: F)
where
    F: Fn(&[Stamp]) -> Result<(), String> + Send + Sync + 'static,
{
    let take = Arc::new(take);
    let mut keeper = Keeper {
        last: in_force.clone(),
        in_force,
        problem: None,
    };
    loop {
        let look = paths.clone();
        // What cannot be found out now is found out next time.
        if let Ok(stamps) = spawn_blocking(move || stamps(&look)).await
            && keeper.wants(&stamps)
        {
            if let Some(lost) = keeper.lost(&stamps, &paths) {
                keeper.complain(lost);
                sleep(LOOK_INTERVAL).await;
                continue;
            }
            let (take, files) = (Arc::clone(&take), stamps.clone());
            let taken = spawn_blocking(move || take(&files)).await;
            match taken.unwrap_or_else(|_| Err("files of the configuration cannot be read".to_owned())) {
                Ok(()) => {
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

    /// What was there and is nothing now: a folder without its files (a disk that is not mounted), a file without its octets (a full disk, an
    /// editor that was cut). Nobody who wants nothing to count writes that; a comment in the file, or the configuration, says so.
    fn lost(&self, stamps: &[Stamp], paths: &[PathBuf]) -> Option<String> {
        let before = self.in_force.as_deref()?;
        let emptied = stamps.iter().find(|stamp| {
            let had = before.iter().find(|old| old.path == stamp.path);
            stamp.len() == Some(0) && had.is_some_and(|had| had.len() != Some(0))
        });
        if let Some(emptied) = emptied {
            return Some(format!("{} is empty", emptied.path.display()));
        }
        let has = |stamps: &[Stamp], item: usize| stamps.iter().any(|stamp| stamp.item == item);
        let folder = (0..paths.len()).find(|item| has(before, *item) && !has(stamps, *item))?;
        Some(format!("{} has no files any more", paths[folder].display()))
    }

    /// One line for one problem: it is tried again with every look, because not everything that mends a file changes its stamp.
    fn complain(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!("{problem}: what was read before stays in force");
        }
        self.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_without_its_files_and_a_link_to_nowhere_keep_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let (zone, kept) = (folder.path().join("d/zone"), folder.path().join("kept"));
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(&zone, "x").unwrap();
        let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&taken);
        let paths = vec![folder.path().join("d")];
        let in_force = Some(stamps(&paths));
        let take = move |files: &[Stamp]| {
            let read = files.iter().map(|file| fs::read_to_string(&file.path));
            let read = read.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            seen.lock().unwrap().push(read.concat());
            Ok(())
        };
        let keeper = tokio::spawn(keep(paths, in_force, take));
        let look = async || sleep(LOOK_INTERVAL * 3).await;
        fs::rename(&zone, &kept).unwrap();
        look().await;
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("gone"), &zone).unwrap();
        look().await;
        assert!(taken.lock().unwrap().is_empty(), "{:?}", taken.lock().unwrap());
        let _ = fs::remove_file(&zone);
        fs::write(&kept, "xyz").unwrap();
        fs::rename(&kept, &zone).unwrap();
        look().await;
        assert_eq!(*taken.lock().unwrap(), ["xyz"]);
        keeper.abort();
    }

    #[test]
    fn files_that_are_being_written_are_waited_for_and_failures_are_tried_again() {
        let stamp = |len| {
            vec![Stamp {
                item: 0,
                path: PathBuf::from("x"),
                seen: Some((SystemTime::UNIX_EPOCH, len)),
            }]
        };
        let mut keeper = Keeper::default();
        assert!(keeper.wants(&stamp(1)), "at once");
        assert!(keeper.wants(&stamp(1)), "again, because it failed");
        keeper.in_force = Some(stamp(1));
        assert_eq!(
            [1, 2, 3, 3].map(|len| keeper.wants(&stamp(len))),
            [false, false, false, true]
        );
    }
}
