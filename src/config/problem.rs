//! Where a value was written, and how an error there is shown: file, line, column, the line itself and a caret.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A config file's text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, as it is shown.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Built in.
    Default,
    /// A stretch of a file, in octets.
    At {
        /// The file.
        source: Arc<Source>,
        /// Where in its text.
        span: Range<usize>,
    },
    /// A flag and what was given to it.
    Flag {
        /// With its dashes.
        name: &'static str,
        /// As typed.
        value: String,
    },
    /// A file as a whole: it cannot be read.
    File(PathBuf),
}

impl Place {
    /// Whether the user typed it on the command line.
    pub fn is_flag(&self) -> bool {
        matches!(self, Self::Flag { .. })
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub place: Place,
}

/// One thing that is wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to write instead, if that can be said.
    pub help: Option<String>,
}

impl<T> Sourced<T> {
    /// A built-in value.
    pub fn default_value(value: T) -> Self {
        Self {
            value,
            place: Place::Default,
        }
    }
}

impl Source {
    /// Line and column of an octet, both from 1; the column counts characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number - 1).unwrap_or_default()
    }
}

/// What `config show` writes behind a value: `default`, `file:line` or the flag.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::At { source, span } => write!(f, "{}:{}", source.path.display(), source.position(span.start).0),
            Self::Flag { name, .. } => write!(f, "flag {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match &self.place {
            Place::Default => write!(f, "{message}")?,
            Place::Flag { name, value } => write!(f, "{name} {value}: {message}")?,
            Place::File(path) => write!(f, "{}: {message}", path.display())?,
            Place::At { source, span } => {
                let (line, column) = source.position(span.start);
                writeln!(f, "{}:{line}:{column}: {message}", source.path.display())?;
                write_excerpt(f, source, span, line, column)?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n  = {help}"),
            None => Ok(()),
        }
    }
}

/// The line with carets below the span, which ends with the line at the latest.
fn write_excerpt(
    f: &mut fmt::Formatter<'_>,
    source: &Source,
    span: &Range<usize>,
    line: usize,
    column: usize,
) -> fmt::Result {
    let text = source.line(line);
    let gutter = line.to_string().len();
    let end = source.text.floor_char_boundary(span.end).max(span.start);
    let spanned = source
        .text
        .get(span.start..end)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    // A tab before the caret is kept, so that the two lines stay in step whatever a tab is worth.
    let indent: String = text
        .chars()
        .take(column - 1)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = "^".repeat(spanned.chars().count().max(1));
    writeln!(f, "{:gutter$} |", "")?;
    writeln!(f, "{line} | {text}")?;
    write!(f, "{:gutter$} | {indent}{carets}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, span: Range<usize>) -> String {
        let source = Arc::new(Source {
            path: "t.toml".into(),
            text: text.into(),
        });
        let place = Place::At { source, span };
        Problem {
            place,
            message: "wrong".into(),
            help: Some("write right".into()),
        }
        .to_string()
    }

    #[test]
    fn the_caret_stands_under_the_value() {
        assert_eq!(
            problem("a = 1\nbb = \"x\"\n", 11..14),
            "t.toml:2:6: wrong\n  |\n2 | bb = \"x\"\n  |      ^^^\n  = write right"
        );
    }

    #[test]
    fn characters_are_counted_and_not_octets() {
        let text = "é = \"ü\"";
        assert_eq!(
            problem(text, 5..9),
            "t.toml:1:5: wrong\n  |\n1 | é = \"ü\"\n  |     ^^^\n  = write right"
        );
    }

    #[test]
    fn a_span_over_several_lines_is_cut_and_an_end_of_file_is_no_panic() {
        assert!(problem("[a]\nb = 1\n", 0..9).contains("1 | [a]\n  | ^^^\n"));
        assert!(problem("a = ", 4..4).ends_with("1 | a = \n  |     ^\n  = write right"));
        assert!(problem("", 0..0).starts_with("t.toml:1:1: wrong"));
        assert!(problem("a", 7..9).starts_with("t.toml:1:2: wrong"));
    }
}
