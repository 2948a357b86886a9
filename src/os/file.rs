//! Small private files that survive a power cut: either the old octets or the new ones, never half of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where a service keeps what outlives it, unless its manager says otherwise.
#[cfg(target_os = "macos")]
pub const STATE_FOLDER: &str = "/Library/Application Support/tacenda";
/// Where a service keeps what outlives it, unless its manager says otherwise.
#[cfg(windows)]
pub const STATE_FOLDER: &str = r"C:\ProgramData\tacenda";
/// Where a service keeps what outlives it, unless its manager says otherwise (FHS 3.0 section 5.8).
#[cfg(not(any(target_os = "macos", windows)))]
pub const STATE_FOLDER: &str = "/var/lib/tacenda";

/// Makes a folder, and those above it, readable by this user alone. One that is there keeps its mode.
///
/// # Errors
/// The system's own.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Makes a folder, and those above it, for everybody to look into, whatever the umask is. One that is there keeps its mode.
///
/// # Errors
/// The system's own.
pub fn make_public_folder(path: &Path) -> io::Result<()> {
    for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        match fs::create_dir(folder) {
            #[cfg(unix)]
            Ok(()) => fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !folder.is_dir() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The octets of a file, `None` if there is none.
///
/// # Errors
/// `FileTooLarge` if it is longer than `max_len` octets; else the system's own.
pub fn read(path: &Path, max_len: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    read_to_end(file, max_len).map(Some)
}

fn read_to_end(file: File, max_len: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let len = file.take(max_len + 1).read_to_end(&mut octets)?;
    if u64::try_from(len).unwrap_or(u64::MAX) > max_len {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {max_len} octets"),
        ));
    }
    Ok(octets)
}

/// Opens a file that can be read to an end: no folder, and no pipe, which would wait for a writer for ever.
///
/// # Errors
/// The system's own, and one for what is no file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let is_file = |data: fs::Metadata| {
        data.is_file()
            .then_some(())
            .ok_or_else(|| io::Error::other("not a file"))
    };
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    // Before, since opening a device may do something; and after, since it may be another by then.
    is_file(fs::metadata(path)?)?;
    let file = options.open(path)?;
    is_file(file.metadata()?)?;
    Ok(file)
}

/// The octets of a file that others than root may have put there: see [`open_regular`].
///
/// # Errors
/// As [`read`], `NotFound` too, and one for what is no file.
pub fn read_regular(path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    read_to_end(open_regular(path)?, max_len)
}

/// Opens a file to be locked, makes it if need be. Only its owner can, so nobody else holds the lock.
///
/// # Errors
/// The system's own.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The files that a path stands for: those of a folder by name, without hidden ones and folders; else itself, be it there or not. What
/// cannot be looked at is among them, so that whoever opens it finds out.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    let is_hidden = |path: &Path| {
        path.file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let is_folder = |path: &Path| fs::metadata(path).is_ok_and(|data| data.is_dir());
    // A folder that cannot be read to its end stands for itself, which is no file.
    let paths = entries.map(|entry| entry.map_or_else(|_| path.to_owned(), |entry| entry.path()));
    let mut files: Vec<_> = paths
        .filter(|file| file == path || !is_hidden(file) && !is_folder(file))
        .collect();
    files.sort();
    files
}

/// Whether users other than its own may read this file, or look into this folder, by its mode. What cannot be looked at is not judged.
pub fn others_may_read(path: &Path) -> bool {
    #[cfg(unix)]
    return fs::metadata(path).map_or(true, |data| {
        let wanted = if data.is_dir() { 0o005 } else { 0o004 };
        std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & wanted == wanted
    });
    #[cfg(not(unix))]
    {
        let _ = path;
        true
    }
}

/// Whether nobody but this user can have written it: what root does because of it, others could else have root do. On Windows the folders above
/// decide, and nothing is looked at.
///
/// # Errors
/// `InvalidData` if others can; else the system's own.
pub fn is_of_this_user_alone(path: &Path) -> io::Result<()> {
    is_alone_of(&[super::process::user()], path)
}

/// The same for what root may have written too: it can do as this user anyway.
///
/// # Errors
/// As [`is_of_this_user_alone`].
pub fn is_of_root_or_this_user_alone(path: &Path) -> io::Result<()> {
    is_alone_of(&[0, super::process::user()], path)
}

fn is_alone_of(users: &[u32], path: &Path) -> io::Result<()> {
    let data = fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if !users.contains(&data.uid()) || data.mode() & OTHERS_WRITE != 0 {
            let text = format!(
                "{}: others than root can write it, so it is not believed",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    #[cfg(not(unix))]
    let _ = (data, users);
    Ok(())
}

/// The number of the user whose file or folder this is; none if there is none.
#[cfg(unix)]
pub fn owner(path: &Path) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).ok()?))
}

/// Permission bits of group and others to write.
#[cfg(unix)]
const OTHERS_WRITE: u32 = 0o022;

/// Has what was renamed and removed in a folder be so on the disk. Windows opens no folders, and sees to it itself.
///
/// # Errors
/// The system's own.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return File::open(path)?.sync_all();
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

/// Puts `octets` in the place of the file, readable by this user alone: written beside it, synced, renamed, the folder synced.
///
/// # Errors
/// The system's own (no space, read-only, no permission); the old file then stands as it was.
pub fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    replace_as(path, octets, 0o600)
}

/// As [`replace`], but for everybody to read.
///
/// # Errors
/// As [`replace`].
pub fn replace_public(path: &Path, octets: &[u8]) -> io::Result<()> {
    replace_as(path, octets, 0o644)
}

fn replace_as(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = write_new(&beside, octets, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What was begun is of no use; that it may not be there either is no news.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // A rename is on the disk once its folder is. Not every system opens folders, and the file itself is whole by now.
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_new(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    // Left by a run that was cut off; its mode is unknown.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    // Whatever the umask is: what is for everybody must not become ours alone.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(octets)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_looked_at_in_a_folder_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("b"), "").unwrap();
        fs::write(at(".hidden"), "").unwrap();
        fs::create_dir(at("sub")).unwrap();
        std::os::unix::fs::symlink(at("gone"), at("a")).unwrap();
        assert_eq!(files_of(folder.path()), [at("a"), at("b")]);
        assert!(open_regular(&at("a")).is_err() && open_regular(&at("sub")).is_err());
        assert_eq!(files_of(&at("none")), [at("none")]);
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/secret");
        make_private_folder(path.parent().unwrap()).unwrap();
        assert_eq!(read(&path, 9).unwrap(), None);
        fs::write(path.with_extension("new"), "left by a power cut").unwrap();
        for octets in [&b"first"[..], b"2nd"] {
            replace(&path, octets).unwrap();
            assert_eq!(read(&path, 9).unwrap().unwrap(), octets);
        }
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing beside it"
        );
        #[cfg(unix)]
        for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        fs::write(&path, [0; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap().len(), 10);
        assert_eq!(read(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        replace(&path, b"old").unwrap();
        fs::create_dir(path.with_extension("new")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"old");
        assert!(replace(&folder.path().join("none/x"), b"").is_err());
    }
}
