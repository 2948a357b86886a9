//! What the process may do, what it allows to be done with its memory, and what of its environment it keeps.
#![allow(
    unsafe_code,
    reason = "std has neither setrlimit, prctl nor geteuid, and no way to prove that there is one thread"
)]

/// Whether this program was linked with a libc of its own (`crt-static`), which need not ask as the host's does.
pub const HAS_OWN_LIBC: bool = cfg!(all(unix, target_feature = "crt-static"));

/// Has no core file written if the program crashes: there are query names in its memory (T-CORE). Best effort.
#[cfg(target_os = "linux")]
pub fn forbid_core_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: setrlimit reads the struct, which lives until it returns.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    // The limit does not hold where cores are piped to a program, as systemd does; this does.
    // SAFETY: PR_SET_DUMPABLE takes one integer and no pointer.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong) };
}

/// Has no core file written if the program crashes. Nothing on this system.
#[cfg(not(target_os = "linux"))]
pub fn forbid_core_dumps() {}

/// Whether this process may change what belongs to the system.
#[cfg(unix)]
pub fn is_root() -> bool {
    user() == 0
}

/// The number of the user whose rights this process has: nobody has one there.
#[cfg(not(unix))]
pub fn user() -> u32 {
    0
}

/// The number of the user whose rights this process has.
#[cfg(unix)]
pub fn user() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

/// Whether this process may change what belongs to the system: whether it runs with an administrator's full rights.
#[cfg(windows)]
pub fn is_root() -> bool {
    use windows_sys::Win32::Foundation::CloseHandle;
    use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation};
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
    let (mut token, mut elevation, mut len) = (std::ptr::null_mut(), TOKEN_ELEVATION::default(), 0);
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).unwrap_or_default();
    // SAFETY: all places live until the calls return, the struct has the size that is said, and the token is closed once, if there is one.
    unsafe {
        if OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) == 0 {
            return false;
        }
        let place = (&raw mut elevation).cast();
        let is_told = GetTokenInformation(token, TokenElevation, place, size, &raw mut len) != 0;
        CloseHandle(token);
        is_told && elevation.TokenIsElevated != 0
    }
}

/// How a command is typed by whoever may change what belongs to the system, for a sentence.
pub fn as_root(command: &str) -> String {
    if cfg!(windows) {
        format!("`{command}` as administrator")
    } else {
        format!("`sudo {command}`")
    }
}

/// The variables without which no program starts, whatever else is kept from it: Windows finds its sockets by one.
pub fn needed_variables() -> Vec<(&'static str, std::ffi::OsString)> {
    let needed: &[&str] = if cfg!(windows) { &["SystemRoot"] } else { &[] };
    let known = needed.iter().map(|name| (*name, std::env::var_os(name)));
    known.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Takes variables out of the environment that were meant for this process and nobody after it. Only while it has a single thread: another
/// one may be reading (setenv(3)). Says whether it was done; it matters to whoever is started by us, and we start nobody.
pub fn forget_variables(names: &[&str]) -> bool {
    let is_alone = has_one_thread();
    if is_alone {
        for name in names {
            // SAFETY: no other thread is there to read or write the environment, and none can begin meanwhile.
            unsafe { std::env::remove_var(name) };
        }
    }
    is_alone
}

#[cfg(target_os = "linux")]
fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Nobody says.
#[cfg(not(target_os = "linux"))]
fn has_one_thread() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn t_core_no_core_is_dumped() {
        forbid_core_dumps();
        // SAFETY: PR_GET_DUMPABLE takes no argument.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"));
    }
}
