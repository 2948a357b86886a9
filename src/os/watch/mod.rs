//! Tells that something in a folder has changed: a file was written, replaced, made or removed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;

#[cfg(target_os = "linux")]
pub mod writers;
#[cfg(not(target_os = "linux"))]
#[path = "no_writers.rs"]
pub mod writers;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as imp;

/// An editor makes several changes of one: it is done once nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(200);

/// Whoever writes without a pause is not waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Even if the system says nothing, a look is worth while after this time: a folder may not have been there, or lie on a disk of somebody
/// else's, of whose changes no system tells.
const NET: Duration = Duration::from_secs(60);

/// Watches folders, not what is below them. Watch first, then read: what changes in between is told.
#[derive(Debug)]
pub struct FolderWatcher(imp::Watcher);

impl FolderWatcher {
    /// Watches those that are there.
    ///
    /// # Errors
    /// When the system has no watch left for us.
    pub fn new(folders: &[PathBuf]) -> io::Result<Self> {
        imp::Watcher::new(folders).map(Self)
    }

    /// Ends when something has changed, or after `patience`. Cancel-safe.
    pub async fn changed_at_all(&mut self, patience: Duration) {
        let _ = timeout(patience, self.0.event()).await;
    }

    /// Ends when something has changed, or may have, and it is quiet again. Cancel-safe: what has changed is told next time.
    pub async fn changed(&mut self) {
        // Sorted by who can tell: an event, or nobody for a while.
        let _ = timeout(NET, self.0.event()).await;
        let quiet = async {
            while timeout(QUIET, self.0.event()).await.is_ok() {
                // Not even a stream of events is answered faster than it can be written down.
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(PATIENCE, quiet).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::Instant;

    use super::*;

    async fn is_told(watcher: &mut FolderWatcher) -> bool {
        timeout(Duration::from_secs(10), watcher.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut watcher = FolderWatcher::new(&[folder.path().to_owned(), at("none")]).unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(at("a"), "1").unwrap(),
            &|| fs::write(at("a"), "2").unwrap(),
            &|| {
                fs::write(at("b"), "3").unwrap();
                fs::rename(at("b"), at("a")).unwrap();
            },
            &|| fs::remove_file(at("a")).unwrap(),
        ];
        for change in changes {
            change();
            assert!(is_told(&mut watcher).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_event_it_is_worth_a_look_after_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        for folders in [vec![folder.path().to_owned()], vec![folder.path().join("none")]] {
            let mut watcher = FolderWatcher::new(&folders).unwrap();
            let begin = Instant::now();
            watcher.changed().await;
            assert_eq!(begin.elapsed().as_secs(), NET.as_secs());
        }
    }
}
