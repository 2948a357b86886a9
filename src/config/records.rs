//! Reads the user's records and hosts files, and says what is wrong with them and where.

use std::io::{self, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RecordsFrom;
use super::load::read_text_of;
use super::problem::{Place, Problem, Source};
use crate::os::file::{files_of, open_regular};
use crate::policy::list::Tally;
use crate::policy::records::{Builder, RecordError, Records};

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// The table.
    pub records: Records,
    /// Hosts files, and what is to be said of their lines.
    pub tallies: Vec<(PathBuf, Tally)>,
    /// The sources, by their numbers in the table.
    pub sources: Vec<RecordSource>,
}

/// Where records stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordSource {
    /// The configuration: the item of `records` with this number, counted from 1.
    Item(usize),
    /// A file.
    File(PathBuf),
}

/// Reads all of it, each item with the place where the configuration names it.
///
/// # Errors
/// Everything that could be found wrong at once.
pub fn load<'a>(
    hosts: impl Iterator<Item = (&'a Path, &'a Place)>,
    records: impl Iterator<Item = (&'a RecordsFrom, &'a Place)>,
) -> Result<Read, Vec<Problem>> {
    let mut loader = Loader::default();
    for (number, (item, place)) in (1..).zip(records) {
        match item {
            RecordsFrom::Line(line) => loader.read_line(line, number, place),
            RecordsFrom::Path(path) => files_of(path).iter().for_each(|file| loader.read_file(file, place)),
        }
    }
    for (path, place) in hosts {
        files_of(path).iter().for_each(|file| loader.read_hosts(file, place));
    }
    loader.finish()
}

/// Where a source's lines are.
enum Origin {
    /// One line in the configuration: which, and where.
    Line(usize, Place),
    File(Arc<Source>),
    /// A hosts file, whose text is not kept: its lines are never wrong together.
    Hosts(PathBuf),
}

impl Origin {
    fn into_source(self) -> RecordSource {
        match self {
            Self::Line(number, _) => RecordSource::Item(number),
            Self::File(source) => RecordSource::File(source.path.clone()),
            Self::Hosts(path) => RecordSource::File(path),
        }
    }
}

#[derive(Default)]
struct Loader {
    builder: Builder,
    /// By the number that they are read under.
    origins: Vec<Origin>,
    tallies: Vec<(PathBuf, Tally)>,
    problems: Vec<Problem>,
}

impl Loader {
    fn read_line(&mut self, line: &str, number: usize, place: &Place) {
        self.read(line, Origin::Line(number, place.clone()));
    }

    fn read_file(&mut self, file: &Path, place: &Place) {
        match open_regular(file).and_then(|_| read_text_of(file, MAX_FILE_LEN)) {
            Ok(text) => {
                let path = file.to_owned();
                let source = Arc::new(Source { path, text });
                self.read(&source.text, Origin::File(Arc::clone(&source)));
            }
            Err(error) => self.complain(file, place, &error),
        }
    }

    fn read(&mut self, text: &str, origin: Origin) {
        let Some(number) = self.begin(origin) else { return };
        if let Err(errors) = self.builder.read_records(number, text) {
            self.problems
                .extend(errors.iter().map(|error| problem(&self.origins, error)));
        }
    }

    fn read_hosts(&mut self, file: &Path, place: &Place) {
        let Some(number) = self.begin(Origin::Hosts(file.to_owned())) else {
            return;
        };
        let read = open_regular(file).and_then(|open| self.builder.read_hosts(number, BufReader::new(open)));
        match read {
            Ok(tally) if tally.is_no_list() => {
                self.complain(file, place, &io::Error::other("no line of it is a hosts line"));
            }
            Ok(tally) => self.tallies.push((file.to_owned(), tally)),
            Err(error) => self.complain(file, place, &error),
        }
    }

    /// The number of the next source; `None` if there are too many, which is reported once.
    fn begin(&mut self, origin: Origin) -> Option<u16> {
        let number = u16::try_from(self.origins.len())
            .ok()
            .filter(|number| *number < MAX_SOURCES);
        match number {
            Some(_) => self.origins.push(origin),
            None if self.problems.iter().any(|problem| problem.message == TOO_MANY) => {}
            None => self.problems.push(Problem {
                place: Place::Default,
                message: TOO_MANY.to_owned(),
                help: Some("put the records into one file".to_owned()),
            }),
        }
        number
    }

    fn complain(&mut self, file: &Path, place: &Place, error: &io::Error) {
        self.problems.push(Problem {
            place: place.clone(),
            message: format!("{}: {error}", file.display()),
            help: None,
        });
    }

    fn finish(mut self) -> Result<Read, Vec<Problem>> {
        if self.problems.is_empty() {
            match self.builder.build() {
                Ok(records) => {
                    return Ok(Read {
                        records,
                        tallies: self.tallies,
                        sources: self.origins.into_iter().map(Origin::into_source).collect(),
                    });
                }
                Err(errors) => self
                    .problems
                    .extend(errors.iter().map(|error| problem(&self.origins, error))),
            }
        }
        Err(self.problems)
    }
}

fn problem(origins: &[Origin], error: &RecordError) -> Problem {
    let place = match origins.get(usize::from(error.source)) {
        Some(Origin::Line(_, place)) => within(place, error.column),
        Some(Origin::File(source)) => Place::At {
            span: span_of(&source.text, error),
            source: Arc::clone(source),
        },
        Some(Origin::Hosts(_)) | None => Place::Default,
    };
    // Somebody may have meant a path.
    let is_line = matches!(origins.get(usize::from(error.source)), Some(Origin::Line(..)));
    let help = "a record is \"name [ttl] type data\"; a path with blanks in it begins with / or ./";
    Problem {
        place,
        message: error.what.to_owned(),
        help: is_line.then(|| help.to_owned()),
    }
}

/// The word of a quoted record that is wrong, if the text between the quotes is the record as it is (no escapes).
fn within(place: &Place, column: u32) -> Place {
    let Place::At { source, span } = place else {
        return place.clone();
    };
    let quoted = source.text.get(span.clone()).unwrap_or_default();
    let is_verbatim =
        quoted.len() >= 2 && !quoted.contains('\\') && !quoted.starts_with("\"\"\"") && !quoted.starts_with("'''");
    if !is_verbatim {
        return place.clone();
    }
    let line = &quoted[1..quoted.len() - 1];
    let word = word_at(line, column);
    let begin = span.start + 1;
    Place::At {
        source: Arc::clone(source),
        span: begin + word.start..begin + word.end,
    }
}

/// Where in its file the word is that is wrong.
fn span_of(text: &str, error: &RecordError) -> Range<usize> {
    let line = text
        .lines()
        .nth((error.line as usize).saturating_sub(1))
        .unwrap_or_default();
    let begin = line.as_ptr() as usize - text.as_ptr() as usize;
    let word = word_at(line, error.column);
    begin + word.start..begin + word.end
}

/// The octets of the word that begins in this column, counted from 1 in characters.
fn word_at(line: &str, column: u32) -> Range<usize> {
    let (start, _) = line
        .char_indices()
        .nth((column as usize).saturating_sub(1))
        .unwrap_or((line.len(), ' '));
    let len = line[start..].find(char::is_whitespace).unwrap_or(line.len() - start);
    start..start + len
}

/// Octets of a file: the most records that there may be, of usual length.
const MAX_FILE_LEN: u64 = 16 << 20;

/// Lines in the configuration, files, and hosts files.
const MAX_SOURCES: u16 = 4096;

const TOO_MANY: &str = "more than 4096 records and files under `records` and `hosts`";
