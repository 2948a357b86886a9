//! Networks of their own for tests, which need root: a namespace for a thread.

use std::future::Future;
use std::io;
use std::process::Command;

/// Runs `ip` with these arguments in this thread's network.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Runs the future in a thread with a network of its own, which ends with the thread: nothing is left to clean up.
pub(crate) fn in_own_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        #[allow(unsafe_code, reason = "std cannot leave a namespace")]
        // SAFETY: no pointers. Moves this thread alone.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "{}", io::Error::last_os_error());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    });
    thread.join().unwrap();
}
