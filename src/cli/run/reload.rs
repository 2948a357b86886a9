//! The configuration again: when it is asked for, and when its files change. One that is wrong changes nothing.

use std::path::PathBuf;

use super::RunArgs;
use super::manager::Manager;
use crate::app::App;
use crate::cli::Failure;
use crate::config::{self, Flags, Loaded};
use crate::os::watch::FolderWatcher;

/// Why the configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// By SIGHUP: files that say the same count too, because what they name may have changed.
    Asked,
    /// Something changed in its folders.
    FilesChanged,
}

pub(super) struct Reloader {
    main: Option<PathBuf>,
    flags: Flags,
    in_force: Loaded,
    /// What was said of the last one that was refused.
    refused: Option<String>,
    watcher: Option<FolderWatcher>,
}

impl Reloader {
    pub(super) fn new(args: &RunArgs, in_force: Loaded) -> Self {
        let mut reloader = Self {
            main: args.config.clone(),
            flags: args.flags(),
            in_force,
            refused: None,
            watcher: None,
        };
        reloader.watch();
        reloader
    }

    /// Ends when the files may say something else. Cancel-safe.
    pub(super) async fn files_changed(&mut self) {
        match &mut self.watcher {
            Some(watcher) => watcher.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Reads the files and puts them in force. The service manager is told when that begins and when it ends, in whatever way.
    pub(super) async fn reload(&mut self, app: &mut App, why: Why, manager: &Manager) {
        // Anew, and before the files are read: a folder may be there now that was not, and a change meanwhile is told.
        self.watch();
        let main = self.main.as_deref();
        if why == Why::FilesChanged && self.refused.is_none() && self.in_force.is_current(main) {
            return;
        }
        manager.reloading();
        match config::load(main, &self.flags) {
            Ok(loaded) => self.put_in_force(app, why, loaded).await,
            Err(error) => self.refuse(app, why, &Failure::from(error).to_string()),
        }
        match self.refused {
            None => manager.ready(app, &self.in_force.config),
            Some(_) => manager.ready_as_before(app, &self.in_force.config),
        }
    }

    async fn put_in_force(&mut self, app: &mut App, why: Why, loaded: Loaded) {
        match app.reload(&loaded.config).await {
            Ok(for_later) => {
                tracing::info!("the configuration was read again and is in force");
                for key in for_later {
                    tracing::warn!(key, "this part of it counts after a restart only");
                }
                self.in_force = loaded;
                self.refused = None;
            }
            Err(error) => self.refuse(app, why, &error.to_string()),
        }
    }

    /// Files that are wrong in the same way are spoken of once.
    fn refuse(&mut self, app: &App, why: Why, problem: &str) {
        if why == Why::Asked || self.refused.as_deref() != Some(problem) {
            // Without the lines of the file, which may have names of the user's in them.
            let line = headline(problem);
            let is_kept_out = app.is_confined() && problem.contains("ermission denied");
            let problem = &format!("{line}{}", if is_kept_out { KEPT_OUT } else { "" });
            tracing::error!(
                problem,
                "the new configuration is refused, the one before stays in force; see `tacenda check`"
            );
            app.reload_failed(problem);
        }
        self.refused = Some(problem.to_owned());
    }

    fn watch(&mut self) {
        let folders = config::folders(self.main.as_deref());
        self.watcher = match FolderWatcher::new(&folders) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "changes of the configuration are not noticed: send SIGHUP after one");
                None
            }
        };
    }
}

/// A file that was not named at the start may be readable for everybody but a process that has given that up.
const KEPT_OUT: &str = " (if others may read it, this run's sandbox keeps it out: it counts after a restart, \
unless it is below /home or /tmp, which the service never sees)";

/// The first line that says what is wrong and where; before several there is one that counts them.
fn headline(problem: &str) -> &str {
    let mut lines = problem.lines();
    let first = lines.next().unwrap_or_default();
    let is_count = first.ends_with(" mistakes in the configuration");
    let next = lines.find(|line| !line.is_empty());
    next.filter(|_| is_count).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::headline;

    #[test]
    fn of_several_mistakes_the_first_is_named() {
        for (problem, expected) in [
            ("t.toml:1:1: x\n  |\n1 | x", "t.toml:1:1: x"),
            (
                "2 mistakes in the configuration\n\nt.toml:1:1: x\n  |\n\nt.toml:2:1: y",
                "t.toml:1:1: x",
            ),
            ("upstream \"x\": no", "upstream \"x\": no"),
            ("", ""),
        ] {
            assert_eq!(headline(problem), expected);
        }
    }
}
