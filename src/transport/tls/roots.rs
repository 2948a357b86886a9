//! Certificate authorities: where they come from, and a file of them that changes while we run.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::words::words;
use crate::transport::dial::plain;

/// Which certificate authorities are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's, compiled in: the same on every OS and there before the disk is.
    #[default]
    Bundled,
    /// The host's own store.
    System,
    /// A PEM file, and nothing but it.
    File(PathBuf),
    /// PEM text, and nothing but it: the demo carries its own authority.
    Pem(&'static str),
}

/// As the configuration writes it.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::System => f.write_str("system"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Pem(_) => f.write_str("(built in)"),
        }
    }
}

/// Why no roots could be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootsError {
    /// The file could not be read.
    Unreadable(PathBuf, String),
    /// The file is not PEM.
    NotPem(PathBuf),
    /// The file holds no certificate.
    NoCertificate(PathBuf),
    /// A certificate in the file cannot be used as a root.
    BadCertificate(PathBuf, String),
    /// The host has no store, or an empty one.
    NoSystemRoots(String),
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, cause) => write!(f, "read roots from {}: {cause}", path.display()),
            Self::NotPem(path) => write!(f, "read roots from {}: not a PEM file", path.display()),
            Self::NoCertificate(path) => write!(f, "read roots from {}: it holds no certificate", path.display()),
            Self::BadCertificate(path, cause) => write!(f, "read roots from {}: {cause}", path.display()),
            Self::NoSystemRoots(cause) => write!(f, "the host's certificate store gave no root: {cause}"),
        }
    }
}

impl std::error::Error for RootsError {}

fn system_roots() -> Result<RootCertStore, RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A host's store may hold a few that rustls cannot read; the others are as good without them.
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "it is empty".to_owned(), ToString::to_string);
        return Err(RootsError::NoSystemRoots(cause));
    }
    Ok(store)
}

/// Authorities, and what was read from the file that holds them, if it is one.
pub(super) type Loaded = (RootCertStore, Option<Fingerprint>);

/// Reads them for the first time.
///
/// # Errors
/// See [`RootsError`].
pub(super) fn load(roots: &Roots) -> Result<Loaded, RootsError> {
    Ok(match roots {
        Roots::Bundled => (
            RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
            None,
        ),
        Roots::System => (system_roots()?, None),
        Roots::File(path) => {
            let octets = read(path)?;
            (pem_roots(&octets, path)?, Some(Fingerprint::of(&octets)))
        }
        Roots::Pem(text) => (pem_roots(text.as_bytes(), Path::new("(built in)"))?, None),
    })
}

/// What a file said when it was last read. Its time of change would not do: it is as coarse as a second on some file
/// systems, and a restored file brings an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl Fingerprint {
    fn of(octets: &[u8]) -> Self {
        let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
        Self(fingerprint)
    }
}

/// A file of authorities that was read again.
#[derive(Debug)]
pub(super) enum Reread {
    /// It says what it said.
    Same,
    /// It says something else, and that can be used or not.
    Changed(Fingerprint, Result<RootCertStore, RootsError>),
    /// It cannot be read: it may be between two versions.
    Unreadable(RootsError),
}

/// Reads the file again; whatever is no file stays as it is.
pub(super) fn reread(roots: &Roots, last: Option<Fingerprint>) -> Reread {
    let Roots::File(path) = roots else { return Reread::Same };
    match read(path) {
        Ok(octets) => {
            let now = Fingerprint::of(&octets);
            if last == Some(now) {
                Reread::Same
            } else {
                Reread::Changed(now, pem_roots(&octets, path))
            }
        }
        Err(error) => Reread::Unreadable(error),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RootsError> {
    let unreadable = |cause: String| RootsError::Unreadable(path.to_owned(), cause);
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_end(&mut octets))
        .map_err(|error| unreadable(plain(&error)))?;
    if octets.len() as u64 > MAX_FILE_LEN {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    Ok(octets)
}

/// The certificates of a PEM text; `path` is for the words of an error.
fn pem_roots(octets: &[u8], path: &Path) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(octets) {
        let certificate = certificate.map_err(|error| match error {
            pem::Error::Io(error) => RootsError::Unreadable(path.to_owned(), plain(&error)),
            _ => RootsError::NotPem(path.to_owned()),
        })?;
        store
            .add(certificate)
            .map_err(|error| RootsError::BadCertificate(path.to_owned(), words(&error)))?;
    }
    if store.is_empty() {
        return Err(RootsError::NoCertificate(path.to_owned()));
    }
    Ok(store)
}

/// All public authorities in PEM are a quarter of this; a mistaken /dev/zero is more. The configuration has the same limit.
const MAX_FILE_LEN: u64 = 1 << 20;
