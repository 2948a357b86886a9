//! A read-only mount over `/etc/resolv.conf`, for the time that a program rewrites it without end. It changes no file, and is gone with the
//! next start.

use std::path::Path;

#[cfg(target_os = "linux")]
mod imp {
    #![allow(unsafe_code, reason = "std has no mount")]

    use std::ffi::CString;
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    /// Where the file is that lies over the other.
    const SHIELD: &str = "/run/tacenda-system/resolv.conf";

    fn c_path(path: &Path) -> io::Result<CString> {
        Ok(CString::new(path.as_os_str().as_bytes())?)
    }

    fn mount(from: &Path, to: &Path, flags: libc::c_ulong) -> io::Result<()> {
        let (from, to) = (c_path(from)?, c_path(to)?);
        // SAFETY: both paths end with a zero and live until the call returns; type and data may be null for these flags.
        let done = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(super) fn raise(file: &Path, octets: &[u8]) -> io::Result<()> {
        if is_up(file) {
            return Ok(());
        }
        let shield = PathBuf::from(SHIELD);
        if let Some(folder) = shield.parent() {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        fs::write(&shield, octets)?;
        // Whatever our own mask is: every user's programs look for their server there.
        fs::set_permissions(&shield, Permissions::from_mode(0o644))?;
        // Read-only before it is laid over the file: services with a view of their own of the file system get it as it is then, and no
        // change after it.
        mount(&shield, &shield, libc::MS_BIND)?;
        let raised = mount(&shield, &shield, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY)
            .and_then(|()| mount(&shield, file, libc::MS_BIND));
        unmount(&shield).and(raised)
    }

    fn unmount(path: &Path) -> io::Result<()> {
        let path = c_path(path)?;
        // SAFETY: the path ends with a zero and lives until the call returns.
        let done = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(super) fn lower(file: &Path) -> io::Result<()> {
        // Somebody may have raised one upon another.
        while is_up(file) {
            unmount(file)?;
        }
        Ok(())
    }

    /// Whether ours lies over the file: the root of the mount is our file's path on its file system (`proc(5)`, mountinfo).
    pub(super) fn is_up(file: &Path) -> bool {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let end = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, point) = (fields.next(), fields.next());
            let root = root.map(|root| root.trim_end_matches("//deleted"));
            root.is_some_and(|root| root.ends_with("/tacenda-system/resolv.conf"))
                && point.is_some_and(|point| Path::new(point) == end || Path::new(point) == file)
        })
    }
}

/// Lays a read-only copy of `octets` over the file: whoever writes to it, replaces or removes it is refused.
///
/// # Errors
/// The system's own: no right, no such file.
#[cfg(target_os = "linux")]
pub fn raise(file: &Path, octets: &[u8]) -> std::io::Result<()> {
    imp::raise(file, octets)
}

/// Takes it away, if it is there.
///
/// # Errors
/// The system's own.
#[cfg(target_os = "linux")]
pub fn lower(file: &Path) -> std::io::Result<()> {
    imp::lower(file)
}

/// Whether it is there.
#[cfg(target_os = "linux")]
pub fn is_up(file: &Path) -> bool {
    imp::is_up(file)
}

/// Nothing of the kind on this system.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn raise(_file: &Path, _octets: &[u8]) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Nothing to take away.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn lower(_file: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Never.
#[cfg(not(target_os = "linux"))]
pub fn is_up(_file: &Path) -> bool {
    false
}
