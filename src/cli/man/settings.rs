//! tacenda.toml(5), made of the commented default file: what is written there is the manual, so the two cannot differ.

use std::fmt::Write as _;

/// What all pages belong to.
pub(super) const MANUAL: &str = "tacenda's manual";

/// A page in roff (man(7)) of a commented TOML file: tables are sections, comments are text, and what is indented in a comment or is TOML
/// stands as it is.
pub(super) fn page(file: &str) -> String {
    let mut page = Page::begin();
    for block in file.split("\n\n") {
        page.block(block);
    }
    page.end()
}

struct Page {
    roff: String,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    /// As it stands: what is indented in a comment.
    Example,
    /// As it stands: TOML.
    Value,
}

impl Page {
    fn begin() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let roff = format!(
            ".TH tacenda.toml 5 \"\" \"tacenda {version}\" \"{MANUAL}\"\n\
             .SH NAME\ntacenda.toml \\- configuration of tacenda(1)\n\
             .SH SYNOPSIS\n/etc/tacenda/tacenda.toml\n.br\n/etc/tacenda/config.d/*.toml\n\
             .SH DESCRIPTION\n"
        );
        Self {
            roff,
            shape: Shape::Text,
        }
    }

    fn end(mut self) -> String {
        self.turn(Shape::Text);
        self.roff +=
            ".SH \"SEE ALSO\"\n\\fBtacenda\\fR(1), \\fBtacenda\\-check\\fR(1), \\fBtacenda\\-config\\-show\\fR(1)\n";
        self.roff
    }

    /// What stands between two empty lines.
    fn block(&mut self, block: &str) {
        self.turn(Shape::Text);
        self.roff += ".PP\n";
        if block.lines().any(|line| line.starts_with("version = ")) {
            self.roff += ".SH \"BEFORE ALL TABLES\"\n";
        }
        for line in block.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                self.comment(comment);
            } else if line.starts_with('[') {
                self.turn(Shape::Text);
                let _ = writeln!(self.roff, ".SH \"{}\"", escaped(line));
            } else {
                self.literal(Shape::Value, line);
            }
        }
    }

    fn comment(&mut self, comment: &str) {
        if comment.trim().is_empty() {
            self.turn(Shape::Text);
            self.roff += ".PP\n";
        } else if let Some(indented) = comment.strip_prefix("   ") {
            self.literal(Shape::Example, indented);
        } else {
            self.turn(Shape::Text);
            let _ = writeln!(self.roff, "{}", escaped(comment.trim()));
        }
    }

    fn literal(&mut self, shape: Shape, line: &str) {
        self.turn(shape);
        let _ = writeln!(self.roff, "{}", escaped(line));
    }

    fn turn(&mut self, shape: Shape) {
        if shape == self.shape {
            return;
        }
        if self.shape != Shape::Text {
            self.roff += ".fi\n.RE\n";
        }
        self.roff += match shape {
            Shape::Text => ".PP\n",
            Shape::Example | Shape::Value => ".PP\n.RS 4\n.nf\n",
        };
        self.shape = shape;
    }
}

/// Text that roff takes for nothing else: backslashes, hyphens that are to be copied, and what begins a line.
pub(super) fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FILE;

    #[test]
    fn tables_text_and_values_have_their_places() {
        let page = page(
            "# First.\n#\n#   an example\n\n# The format.\nversion = 1\n\n[cache]\n# Memory - \"much\".\nmax-bytes = \"1\\\\2\"\n.x = 1\n",
        );
        let expected = ".SH DESCRIPTION\n.PP\nFirst.\n.PP\n.PP\n.RS 4\n.nf\nan example\n.fi\n.RE\n.PP\n.PP\n\
            .SH \"BEFORE ALL TABLES\"\nThe format.\n.PP\n.RS 4\n.nf\nversion = 1\n.fi\n.RE\n.PP\n.PP\n.SH \"[cache]\"\nMemory \\- \\(dqmuch\\(dq.\n\
            .PP\n.RS 4\n.nf\nmax\\-bytes = \\(dq1\\e\\e2\\(dq\n\\&.x = 1\n.fi\n.RE\n.PP\n.SH \"SEE ALSO\"\n";
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn every_key_of_the_default_file_is_in_it() {
        let page = page(DEFAULT_FILE);
        let keys = DEFAULT_FILE.lines().filter(|line| !line.starts_with(['#', '[']));
        for key in keys.filter_map(|line| line.split_once(" = ")) {
            assert!(page.contains(&format!("\n{} = ", escaped(key.0))), "{}", key.0);
        }
    }
}
