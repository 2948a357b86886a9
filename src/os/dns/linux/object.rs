//! What stands at a path (nothing, a file, a symbolic link), looked at whole and put back whole: octets, mode, owner, target.
//!
//! Nothing here follows a link at the path itself: who writes through one destroys another's file (`/usr/lib/systemd/resolv.conf` was lost
//! that way).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::facts;
use crate::os::dns::fault::Fault;

/// The longest file that is kept to be put back. Real ones have a few hundred octets; a hook or a `resolv.conf` with long comments a few
/// thousand.
pub const MAX_LEN: u64 = 256 * 1024;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// Nothing.
    Nothing,
    /// A regular file.
    File {
        /// All of it.
        octets: Octets,
        /// The permission bits.
        mode: u32,
        /// The owner's number.
        owner: u32,
        /// The group's number.
        group: u32,
    },
    /// A symbolic link, wherever it leads.
    Link {
        /// Where it leads, as written.
        target: Octets,
        /// The owner's number.
        owner: u32,
        /// The group's number.
        group: u32,
    },
}

impl Object {
    /// A file of ours: root's, for everybody to read.
    pub fn ours(octets: Vec<u8>, mode: u32) -> Self {
        Self::File {
            octets: Octets(octets),
            mode,
            owner: own_number(),
            group: own_group(),
        }
    }

    /// Looks at a path.
    ///
    /// # Errors
    /// What is neither nothing, a file nor a link; a file longer than [`MAX_LEN`]; else the system's own.
    pub fn at(path: &Path) -> io::Result<Self> {
        let data = match fs::symlink_metadata(path) {
            Err(error) if is_absent(&error) => return Ok(Self::Nothing),
            data => data?,
        };
        let (owner, group) = (data.uid(), data.gid());
        if data.is_symlink() {
            let target = Octets(fs::read_link(path)?.into_os_string().into_vec());
            return Ok(Self::Link { target, owner, group });
        }
        if !data.is_file() {
            return Err(io::Error::other("neither a file nor a symbolic link"));
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let mut octets = Vec::new();
        file.take(MAX_LEN + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > MAX_LEN {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("longer than {MAX_LEN} octets"),
            ));
        }
        let mode = data.permissions().mode() & PERMISSIONS;
        Ok(Self::File {
            octets: Octets(octets),
            mode,
            owner,
            group,
        })
    }

    /// Puts this in the place of whatever stands at the path: beside it, synced, renamed, the folder synced. Where the file is a mount of
    /// its own (containers, `ip netns`) a rename is refused, and its octets are written in place.
    ///
    /// # Errors
    /// The system's own; what stood there stands there still, but for a cut in the middle of writing in place ([`Object::is_part_of`]).
    pub(super) fn put(&self, path: &Path, fault: &Fault) -> io::Result<()> {
        if Self::at(path).is_ok_and(|there| there == *self) {
            return sync_folder(path);
        }
        match self {
            Self::Nothing => fs::remove_file(path)?,
            Self::Link { target, owner, group } => {
                let beside = beside(path);
                clear(&beside)?;
                symlink(Path::new(std::ffi::OsStr::from_bytes(&target.0)), &beside)?;
                lchown(&beside, Some(*owner), Some(*group))?;
                fault.point()?;
                rename(&beside, path)?;
            }
            Self::File { octets, .. } => {
                let beside = beside(path);
                match self.write_new(&beside, fault).and_then(|()| rename(&beside, path)) {
                    Err(error) if is_mount(&error) => write_in_place(path, &octets.0, fault)?,
                    // The disk is full. What stands there has a block already, which a file of the usual length fits into.
                    Err(error) if is_full(&error) && is_file(path) && octets.0.len() <= BLOCK_LEN => {
                        write_in_place(path, &octets.0, fault)?;
                        self.own(&File::open(path)?)?;
                    }
                    put => put?,
                }
            }
        }
        fault.point()?;
        sync_folder(path)
    }

    fn write_new(&self, path: &Path, fault: &Fault) -> io::Result<()> {
        let Self::File { octets, .. } = self else {
            return Ok(());
        };
        clear(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = file
            .write_all(&octets.0)
            .and_then(|()| self.own(&file))
            .and_then(|()| file.sync_all());
        if written.is_err() {
            // A full disk: what was begun only makes it fuller.
            let _ = fs::remove_file(path);
        }
        written?;
        fault.point()
    }

    /// Gives a file its owner and mode.
    fn own(&self, file: &File) -> io::Result<()> {
        let Self::File { mode, owner, group, .. } = self else {
            return Ok(());
        };
        fchown(file, Some(*owner), Some(*group))?;
        // After the owner: a change of owner takes away set-id bits.
        file.set_permissions(fs::Permissions::from_mode(*mode))
    }

    /// Whether this is the same, or the beginning of it: what a cut in the middle of writing in place leaves.
    pub fn is_part_of(&self, whole: &[u8]) -> bool {
        matches!(self, Self::File { octets, .. } if whole.starts_with(&octets.0))
    }

    /// What somebody wrote into a file of `ours` without making it his: its octets in a file like the one that was there `before` ours.
    #[must_use]
    pub(super) fn written_over(self, ours: &Self, before: &Self) -> Self {
        match (&self, before) {
            (Self::File { octets, .. }, Self::File { .. }) if self.with(&Octets(Vec::new())) == *ours => {
                before.with(octets)
            }
            _ => self,
        }
    }

    /// The same with other octets.
    fn with(&self, other: &Octets) -> Self {
        let mut file = self.clone();
        if let Self::File { octets, .. } = &mut file {
            *octets = other.clone();
        }
        file
    }

    /// The servers that it names, if it is a `resolv.conf`.
    pub(super) fn servers(&self) -> Vec<String> {
        facts::servers(&String::from_utf8_lossy(self.octets().unwrap_or_default()))
    }

    /// The octets of a file.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::File { octets, .. } => Some(&octets.0),
            Self::Nothing | Self::Link { .. } => None,
        }
    }
}

/// Takes away what a cut has left beside a path.
pub(super) fn clear_beside(path: &Path) -> io::Result<()> {
    clear(&beside(path))
}

/// Where a new file is written: a hidden name, which no program takes for one of its drop-ins or hooks.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tacenda"))
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let renamed = fs::rename(from, to);
    if renamed.is_err() {
        // Of no use any more; that it may be gone already is no news.
        let _ = fs::remove_file(from);
    }
    renamed
}

/// rename(2) refuses a mount point with EBUSY, and EXDEV if the folder is another mount.
fn is_mount(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
    )
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
}

/// The smallest block of the file systems in use.
const BLOCK_LEN: usize = 1024;

/// Leaves the mode and owner: the file stays the one that somebody mounted.
fn write_in_place(path: &Path, octets: &[u8], fault: &Fault) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    fault.point()?;
    let (first, second) = octets.split_at(octets.len() / 2);
    file.write_all(first)?;
    fault.point()?;
    file.write_all(second)?;
    file.sync_all()
}

/// A rename and a removal are on the disk once their folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().map(File::open) {
        Some(Ok(folder)) => folder.sync_all(),
        // Gone with everything in it.
        Some(Err(error)) if is_absent(&error) => Ok(()),
        Some(Err(error)) => Err(error),
        None => Ok(()),
    }
}

pub(super) fn own_number() -> u32 {
    crate::os::process::user()
}

#[allow(unsafe_code, reason = "std does not tell who we are")]
pub(super) fn own_group() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::getegid() }
}

/// Mode bits without the kind of file.
const PERMISSIONS: u32 = 0o7777;

/// Octets, in JSON as text where they are text, so that a person can put them back by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Octets(pub Vec<u8>);

const AS_TEXT: &str = "text:";
const AS_BASE64: &str = "base64:";

impl From<Octets> for String {
    fn from(octets: Octets) -> Self {
        match Self::from_utf8(octets.0) {
            Ok(text) => format!("{AS_TEXT}{text}"),
            Err(error) => format!("{AS_BASE64}{}", data_encoding::BASE64.encode(error.as_bytes())),
        }
    }
}

impl TryFrom<String> for Octets {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(text) = text.strip_prefix(AS_TEXT) {
            return Ok(Self(text.as_bytes().to_vec()));
        }
        let encoded = text.strip_prefix(AS_BASE64).ok_or("neither text: nor base64:")?;
        let decoded = data_encoding::BASE64.decode(encoded.as_bytes());
        decoded.map(Self).map_err(|_| "wrong base64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> Object {
        Object::ours(text.as_bytes().to_vec(), mode)
    }

    fn link(target: &str) -> Object {
        Object::Link {
            target: Octets(target.into()),
            owner: own_number(),
            group: own_group(),
        }
    }

    #[test]
    fn everything_takes_the_place_of_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let all = [
            Object::Nothing,
            file("a", 0o644),
            file("b", 0o600),
            link("gone"),
            link("/dev/null"),
        ];
        for before in &all {
            for after in &all {
                before.put(&path, &Fault::default()).unwrap();
                after.put(&path, &Fault::default()).unwrap();
                assert_eq!(Object::at(&path).unwrap(), *after, "{before:?}");
                assert!(fs::read_dir(folder.path()).unwrap().count() <= 1, "nothing beside it");
            }
        }
    }

    #[test]
    fn a_link_is_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "others'").unwrap();
        symlink("target", &path).unwrap();
        file("ours", 0o644).put(&path, &Fault::default()).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"others'");
        symlink("target", folder.path().join("again")).unwrap();
        assert!(write_in_place(&folder.path().join("again"), b"x", &Fault::default()).is_err());
    }

    #[test]
    fn what_is_written_into_our_file_gets_the_mode_of_theirs() {
        let (ours, before) = (file("", 0o644), file("before", 0o640));
        let over = |there: Object| there.written_over(&ours, &before);
        assert_eq!(over(file("new", 0o644)), file("new", 0o640));
        assert_eq!(
            over(file("new", 0o600)),
            file("new", 0o600),
            "made anew with a mode of its own"
        );
        assert_eq!(over(link("x")), link("x"));
        assert_eq!(file("new", 0o644).written_over(&ours, &link("x")), file("new", 0o644));
    }

    #[test]
    fn odd_objects_and_long_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Object::at(folder.path()).is_err());
        let path = folder.path().join("long");
        fs::write(&path, vec![0; usize::try_from(MAX_LEN).unwrap() + 1]).unwrap();
        assert_eq!(Object::at(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(Object::at(&path.join("below")).unwrap(), Object::Nothing);
    }

    #[test]
    fn octets_survive_json() {
        for octets in [&b"nameserver 192.0.2.1\n"[..], b"", b"\xff\0\xfe", b"base64:x"] {
            let octets = Octets(octets.to_vec());
            let json = serde_json::to_string(&octets).unwrap();
            assert_eq!(serde_json::from_str::<Octets>(&json).unwrap(), octets, "{json}");
        }
        for wrong in ["\"x\"", "\"base64:?\"", "3"] {
            assert!(serde_json::from_str::<Octets>(wrong).is_err(), "{wrong}");
        }
    }
}
