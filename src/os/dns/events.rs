//! When it is worth while to look whether what was set stands: files in its folders, the network, and on Linux programs on the bus tell of it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

#[cfg(all(unix, not(target_os = "macos")))]
use super::linux::bus_events::Programs;
use crate::os::link;
use crate::os::watch::FolderWatcher;

/// Whoever may tell. What cannot be heard of is missed, and nothing fails for it.
#[derive(Debug)]
pub struct Events {
    folders: Option<FolderWatcher>,
    network: link::Watcher,
    programs: Programs,
}

impl Events {
    /// From now on. Must be called inside a tokio runtime with I/O and time.
    pub fn listen() -> Self {
        Self {
            folders: None,
            network: link::Watcher::new().unwrap_or_else(|_| link::Watcher::polling()),
            programs: Programs::default(),
        }
    }

    /// Hears of these folders from now on, and of no others.
    pub fn watch_folders(&mut self, folders: &[PathBuf]) {
        self.folders = FolderWatcher::new(folders).ok();
    }

    /// Ends when something may have changed, or after `patience`. Cancel-safe: what comes in between is told next time.
    pub async fn next(&mut self, patience: Duration) {
        let files = async {
            match &mut self.folders {
                Some(folders) => folders.changed_at_all(patience).await,
                None => std::future::pending().await,
            }
        };
        let any = async {
            tokio::select! {
                () = files => {}
                _ = self.network.changed() => {}
                () = self.programs.event() => {}
            }
        };
        // Nobody has told: it is looked all the same.
        let _ = timeout(patience, any).await;
    }
}

/// Nobody but files and the network tells there.
#[cfg(not(all(unix, not(target_os = "macos"))))]
#[derive(Debug, Default)]
struct Programs(());

#[cfg(not(all(unix, not(target_os = "macos"))))]
impl Programs {
    async fn event(&mut self) {
        std::future::pending::<()>().await;
    }
}
