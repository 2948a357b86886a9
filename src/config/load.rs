//! Finds the files, reads them, lays the layers and checks the whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::Draft;
use super::problem::{Place, Problem, Source};
use super::{Config, ConfigError, UpstreamConfig, file};

/// Where the main file is looked for without `--config`.
pub const DEFAULT_PATH: &str = "/etc/tacenda/tacenda.toml";

/// What the command line says, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen`, replaces the list.
    pub listen: Vec<String>,
    /// `--upstream`, or `--via` in `query`; replaces the list.
    pub upstream: Vec<String>,
    /// `--address`, of the one upstream.
    pub address: Vec<String>,
    /// `--roots`, for every upstream.
    pub roots: Option<String>,
    /// Which flag the upstreams came by; errors name it.
    pub upstream_flag: UpstreamFlag,
}

/// The flag that names an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamFlag {
    /// `--upstream`, of `run`.
    #[default]
    Upstream,
    /// `--via`, of `query`.
    Via,
}

impl UpstreamFlag {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Upstream => "--upstream",
            Self::Via => "--via",
        }
    }
}

/// A configuration and the story of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// The files that were read, in the order in which they were laid.
    pub files: Vec<PathBuf>,
    /// What they say.
    sources: Vec<Arc<Source>>,
    pub(super) draft: Draft,
}

impl Loaded {
    /// Whether the files, with `main` as it was given to [`load`], are the same and say the same still, to the letter.
    pub fn is_current(&self, main: Option<&Path>) -> bool {
        let sources = sources(main);
        sources.is_ok_and(|sources| sources.iter().eq(self.sources.iter().map(|source| &**source)))
    }
}

/// The folders in which a change may be one of the configuration, be they there or not.
pub fn folders(main: Option<&Path>) -> [PathBuf; 2] {
    let main = main.unwrap_or_else(|| Path::new(DEFAULT_PATH));
    let folder = match main.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    [folder.to_owned(), folder.join(DROP_INS)]
}

/// Beside the main file.
const DROP_INS: &str = "config.d";

/// Loads the configuration: `main` must exist if it is given, [`DEFAULT_PATH`] need not.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(main: Option<&Path>, flags: &Flags) -> Result<Loaded, ConfigError> {
    assemble(sources(main)?, flags)
}

fn sources(main: Option<&Path>) -> Result<Vec<Source>, ConfigError> {
    match main {
        Some(path) => read_layers(path, Missing::IsAnError),
        None => read_layers(Path::new(DEFAULT_PATH), Missing::IsFine),
    }
}

/// The one upstream that `query --via` names, checked as one of the configuration's is. Reads no configuration.
///
/// # Errors
/// See [`ConfigError`].
pub fn upstream_from_flags(flags: &Flags) -> Result<UpstreamConfig, ConfigError> {
    let config = assemble(Vec::new(), flags)?.config;
    Ok(config
        .upstreams
        .into_iter()
        .next()
        .expect("a checked configuration has an upstream"))
}

/// Lays files and flags over the defaults.
pub(super) fn assemble(sources: Vec<Source>, flags: &Flags) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut draft = Draft::default();
    let sources: Vec<Arc<Source>> = sources.into_iter().map(Arc::new).collect();
    let mut unread = Vec::new();
    for source in &sources {
        match file::parse(source) {
            Ok(spec) => draft.lay_file(spec, source, &mut problems),
            Err(problem) => unread.push(problem),
        }
    }
    draft.lay_flags(flags, &mut problems);
    // What a file says that could not be read is not held against the rest: its `allow` may be the one that is missing.
    if unread.is_empty() {
        draft.check(&mut problems);
    }
    problems.extend(unread);
    if problems.is_empty() {
        let files = sources.iter().map(|source| source.path.clone()).collect();
        Ok(Loaded {
            config: draft.to_config(),
            files,
            sources,
            draft,
        })
    } else {
        problems.sort_by_key(|problem| reading_order(problem, &sources));
        Err(ConfigError::Invalid(problems))
    }
}

/// File by file from the top, then the flags.
fn reading_order(problem: &Problem, sources: &[Arc<Source>]) -> (usize, usize) {
    match &problem.place {
        Place::At { source, span } => {
            let layer = sources.iter().position(|known| Arc::ptr_eq(known, source));
            (layer.unwrap_or(sources.len()), span.start)
        }
        Place::Default | Place::Flag { .. } | Place::File(_) => (sources.len(), 0),
    }
}

enum Missing {
    IsFine,
    IsAnError,
}

/// The main file and `config.d/*.toml` beside it, sorted by name. The drop-ins count without a main file too.
fn read_layers(main: &Path, missing: Missing) -> Result<Vec<Source>, ConfigError> {
    let mut sources = Vec::new();
    match (read_text(main), missing) {
        (Ok(text), _) => sources.push(Source {
            path: main.to_owned(),
            text,
        }),
        (Err(error), Missing::IsFine) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => return Err(unreadable(main, &error)),
    }
    let directory = main.parent().unwrap_or_else(|| Path::new("")).join(DROP_INS);
    for path in drop_ins(&directory).map_err(|error| unreadable(&directory, &error))? {
        let text = read_text(&path).map_err(|error| unreadable(&path, &error))?;
        sources.push(Source { path, text });
    }
    Ok(sources)
}

fn drop_ins(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Editors leave `.x.toml.swp` and `x.toml~` behind; neither ends so, and a hidden file is nobody's wish.
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension() == Some(OsStr::new("toml")) && !hidden {
            paths.push(path);
        }
        if paths.len() > MAX_DROP_INS {
            return Err(io::Error::other("more than 100 drop-ins"));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a text file of at most [`MAX_FILE_LEN`] octets.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    read_text_of(path, MAX_FILE_LEN)
}

/// Reads a text file of at most `max_len` octets, whole MiB.
pub(super) fn read_text_of(path: &Path, max_len: u64) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    let mut octets = Vec::new();
    file.take(max_len + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > max_len {
        return Err(io::Error::other(format!("larger than {} MiB", max_len >> 20)));
    }
    String::from_utf8(octets).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let problem = Problem {
        place: Place::File(path.to_owned()),
        message,
        help: None,
    };
    ConfigError::Unreadable {
        problem,
        kind: error.kind(),
    }
}

/// A bundle of all public authorities in PEM is a quarter of this; a mistaken /dev/zero is more.
const MAX_FILE_LEN: u64 = 1 << 20;

/// More is a mistaken directory.
const MAX_DROP_INS: usize = 100;
