//! What root's helpers say of themselves, for those who may not look: short files that everybody may read, and that are true for a while only.

pub mod system;

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{clock, file};

/// Their folder: the daemon's sandbox lets it read there.
pub const FOLDER: &str = "/run/tacenda-guard";

/// Some numbers and a line of words.
const MAX_LEN: u64 = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Dated<T> {
    /// Seconds that the machine had been awake when it was written: a sleep makes nobody silent.
    at: u64,
    #[serde(flatten)]
    said: T,
}

/// The last report; none if there is none, or if it is older than this: whoever was killed does not take it away.
///
/// # Errors
/// The system's own, and `InvalidData`.
pub(super) fn read<T: DeserializeOwned>(file: &str, max_age: Duration) -> io::Result<Option<T>> {
    read_at(&Path::new(FOLDER).join(file), max_age)
}

fn read_at<T: DeserializeOwned>(path: &Path, max_age: Duration) -> io::Result<Option<T>> {
    // Elsewhere the folder is not root's alone, and nobody writes it.
    let octets = if cfg!(target_os = "linux") {
        file::read(path, MAX_LEN)?
    } else {
        None
    };
    let Some(octets) = octets else {
        return Ok(None);
    };
    let report: Dated<T> = serde_json::from_slice(&octets)?;
    let is_true = clock::awake().as_secs() <= report.at.saturating_add(max_age.as_secs());
    Ok(is_true.then_some(report.said))
}

/// In the place of the last one, for everybody to read.
///
/// # Errors
/// The system's own.
pub(super) fn write(file: &str, said: &impl Serialize) -> io::Result<()> {
    write_at(&Path::new(FOLDER).join(file), said)
}

/// Whoever said it does not any more.
pub(super) fn take_away(file: &str) {
    // Whoever was never able to write it has nothing to take away; the folder is the service manager's.
    let _ = std::fs::remove_file(Path::new(FOLDER).join(file));
}

fn write_at(path: &Path, said: &impl Serialize) -> io::Result<()> {
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    let at = clock::awake().as_secs();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    file::replace_public(path, &serde_json::to_vec(&Dated { at, said })?)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Said {
        words: Option<String>,
    }

    #[test]
    fn it_is_true_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/report.json");
        let age = Duration::from_secs(3600);
        assert_eq!(read_at::<Said>(&path, age).unwrap(), None);
        let said = Said {
            words: Some("x".into()),
        };
        write_at(&path, &said).unwrap();
        assert_eq!(read_at(&path, age).unwrap(), Some(said));
        // A machine that was started anew has a younger clock: what was said before it is of the future, and gone with /run.
        let before = clock::awake().as_secs().saturating_sub(2);
        std::fs::write(&path, format!("{{\"at\":{before},\"words\":null}}")).unwrap();
        assert_eq!(
            read_at(&path, Duration::from_secs(60)).unwrap(),
            Some(Said { words: None })
        );
        assert_eq!(read_at::<Said>(&path, Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        for text in ["", "{}", "[1]", "{\"at\":-1}"] {
            std::fs::write(&path, text).unwrap();
            assert!(read_at::<Said>(&path, Duration::MAX).is_err(), "{text}");
        }
    }
}
