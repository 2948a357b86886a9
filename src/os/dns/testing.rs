//! What tests of every system need.

use std::path::Path;

use super::Error;

/// In memory where there is such a place: thousands of syncs cost a minute on a disk.
pub(super) fn quick_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = memory.is_dir().then(|| tempfile::tempdir_in(memory));
    made.and_then(Result::ok)
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Another test that forks at this moment holds our lock until its child runs its program.
pub(super) fn patiently<T>(mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match work() {
            Err(Error::Busy) => std::thread::yield_now(),
            done => return done,
        }
    }
}
