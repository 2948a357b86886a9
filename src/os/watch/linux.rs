//! inotify(7).

use std::io;
use std::path::PathBuf;

use inotify::{Inotify, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::NET;

/// Events of one read; their names are not looked at.
const BUFFER: usize = 4096;

#[derive(Debug)]
pub(super) struct Watcher(AsyncFd<Inotify>);

impl Watcher {
    pub(super) fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        for folder in folders {
            match inotify.watches().add(folder, mask) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(error),
            }
        }
        #[allow(unsafe_code, reason = "tokio trusts the descriptor to stay open")]
        // SAFETY: `Inotify` owns its descriptor, and it is neither replaced nor closed while `AsyncFd` owns it.
        let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        Ok(Self(registered))
    }

    /// Ends when something has happened since the last time. Cancel-safe.
    pub(super) async fn event(&mut self) {
        loop {
            let Ok(mut ready) = self.0.readable_mut().await else {
                return sleep(NET).await;
            };
            let mut buffer = [0; BUFFER];
            match ready.try_io(|inotify| inotify.get_mut().read_events(&mut buffer).map(drop)) {
                Ok(Ok(())) => return,
                Ok(Err(_)) => return sleep(NET).await,
                // Nothing to read after all.
                Err(_) => {}
            }
        }
    }
}
