//! What outlives a run: small files in a folder of our own. Nothing is written there unless the configuration needs it, and a
//! folder that cannot be used costs a line in the log and what would have been remembered, never an answer.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use crate::os::file;
use crate::transport::keyed::SECRET_LEN;

/// The secret that `spread` hashes domains with.
const SECRET_FILE: &str = "secret";

/// A folder for small files.
#[derive(Clone, Debug)]
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    /// The folder that systemd made for us, else [`file::STATE_FOLDER`].
    pub(super) fn of_this_host() -> Self {
        Self::chosen(env::var_os("STATE_DIRECTORY"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    #[cfg(test)]
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The first of a list of folders (`systemd.exec(5)`: separated by colons).
    fn chosen(list: Option<std::ffi::OsString>) -> Self {
        let first = list.and_then(|list| env::split_paths(&list).next());
        let named = first.filter(|folder| folder.is_absolute());
        Self {
            folder: named.unwrap_or_else(|| file::STATE_FOLDER.into()),
        }
    }

    /// A file's octets, at most `max_len`; `None` if there is none or it cannot be read, which is logged.
    pub(super) fn read(&self, name: &str, max_len: u64) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        file::read(&path, max_len).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "a remembered file cannot be read");
            None
        })
    }

    /// Puts a file in the place of the old one, on the disk when this returns. A failure is logged and returned.
    pub(super) fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        file::make_private_folder(&self.folder)
            .and_then(|()| file::replace(&path, octets))
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "a file cannot be written: what it holds is forgotten with this run");
            })
    }

    /// The secret of this installation: made with `fresh` the first time, or when the file holds no secret.
    pub(super) fn secret(&self, fresh: [u8; SECRET_LEN]) -> [u8; SECRET_LEN] {
        // Two hexadecimal digits an octet and a line's end.
        let limit = u64::try_from(2 * SECRET_LEN + 1).unwrap_or(u64::MAX);
        let path = self.folder.join(SECRET_FILE);
        match file::read(&path, limit) {
            Ok(text) => {
                if let Some(secret) = text.as_deref().and_then(decode) {
                    return secret;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {}
            // It may be there and whole: another one for this run only, or all domains would move for good.
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the secret cannot be read: domains are spread anew for this run");
                return fresh;
            }
        }
        let text = data_encoding::HEXLOWER.encode(&fresh) + "\n";
        // Logged there; this run has a secret all the same.
        let _ = self.write(SECRET_FILE, text.as_bytes());
        fresh
    }
}

fn decode(text: &[u8]) -> Option<[u8; SECRET_LEN]> {
    let octets = data_encoding::HEXLOWER.decode(text.trim_ascii_end()).ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn systemd_names_the_folder() {
        let chosen = |list: &str| State::chosen(Some(list.into())).folder;
        assert_eq!(
            chosen("/var/lib/private/tacenda"),
            Path::new("/var/lib/private/tacenda")
        );
        assert_eq!(chosen("/a:/b"), Path::new("/a"));
        for nothing in ["", "relative/folder"] {
            assert_eq!(chosen(nothing), Path::new(file::STATE_FOLDER));
        }
        assert_eq!(State::chosen(None).folder, Path::new(file::STATE_FOLDER));
    }

    #[test]
    fn the_secret_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(&folder.path().join("made"));
        assert_eq!(state.secret([7; SECRET_LEN]), [7; SECRET_LEN]);
        assert_eq!(state.secret([8; SECRET_LEN]), [7; SECRET_LEN]);
    }

    #[test]
    fn a_file_without_a_secret_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path());
        for (content, fresh) in [
            ("", 1),
            ("0701\n", 2),
            (&"zz".repeat(SECRET_LEN), 3),
            (&"00".repeat(99), 4),
        ] {
            fs::write(folder.path().join(SECRET_FILE), content).unwrap();
            assert_eq!(state.secret([fresh; SECRET_LEN]), [fresh; SECRET_LEN], "{content:?}");
            assert_eq!(
                state.secret([9; SECRET_LEN]),
                [fresh; SECRET_LEN],
                "kept after {content:?}"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_costs_only_what_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let state = State::at(&folder.path().join("file"));
        assert_eq!(state.secret([7; SECRET_LEN]), [7; SECRET_LEN]);
        assert_eq!(state.secret([8; SECRET_LEN]), [8; SECRET_LEN]);
        assert!(state.write("x", b"y").is_err());
    }
}
