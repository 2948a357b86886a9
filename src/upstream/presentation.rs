//! Names and character strings as people write them: presentation format (RFC 1035 section 5.1, RFC 4343 section 2.1).
//! Pure, `std` only.

use std::fmt;

/// Reads a name: labels between dots, `\.` and `\DDD` for octets that need it; the last dot may be left out, `.` is the
/// root.
///
/// # Errors
/// See [`NameError`].
pub fn parse_name(text: &str) -> Result<Vec<Vec<u8>>, NameError> {
    if text == "." {
        return Ok(Vec::new());
    }
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'.' => push_label(&mut labels, &mut label)?,
            b'\\' => {
                let (octet, used) = unescape(rest)?;
                label.push(octet);
                rest = &rest[used..];
            }
            0x80.. => return Err(NameError::NotAscii),
            0..=b' ' | 0x7f => return Err(NameError::NotPrintable),
            _ => label.push(octet),
        }
    }
    if !label.is_empty() || labels.is_empty() {
        push_label(&mut labels, &mut label)?;
    }
    let len: usize = labels.iter().map(|label| label.len() + 1).sum();
    if len < MAX_NAME_LEN {
        Ok(labels)
    } else {
        Err(NameError::TooLong)
    }
}

/// Writes a name with its last dot.
pub fn show_name<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for label in labels {
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => text.extend(['\\', char::from(octet)]),
                0x21..=0x7e => text.push(char::from(octet)),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Takes a whole uncompressed name in wire form apart; `None` if it is anything else.
pub fn read_labels(mut octets: &[u8]) -> Option<Vec<&[u8]>> {
    let mut labels = Vec::new();
    while let Some((&len, rest)) = octets.split_first() {
        match usize::from(len) {
            0 => return rest.is_empty().then_some(labels),
            len @ 1..=63 if len < rest.len() => {
                let (label, tail) = rest.split_at(len);
                labels.push(label);
                octets = tail;
            }
            _ => return None,
        }
    }
    None
}

/// Writes a character string in quotes.
pub fn show_text(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            0x20..=0x7e => text.push(char::from(octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
    text.push('"');
    text
}

/// Writes RDATA of any type: `\# length hex` (RFC 3597 section 5).
pub fn show_unknown(octets: &[u8]) -> String {
    let mut text = format!("\\# {}", octets.len());
    for (index, octet) in octets.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { "" });
        text.push_str(&format!("{octet:02X}"));
    }
    text
}

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Two dots in a row, or nothing at all.
    EmptyLabel,
    /// More than 63 octets between two dots.
    LongLabel,
    /// More than 255 octets on the wire.
    TooLong,
    /// A backslash without a character or three digits up to 255.
    BadEscape,
    /// A blank or a control character that is not escaped.
    NotPrintable,
    /// Unicode: we do not convert.
    NotAscii,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "a name has no empty label: two dots in a row, or nothing at all",
            Self::LongLabel => "a label has at most 63 octets",
            Self::TooLong => "a name has at most 255 octets",
            Self::BadEscape => "after a backslash comes one character, or three digits up to 255",
            Self::NotPrintable => "write a blank as `\\032` and other invisible characters likewise",
            Self::NotAscii => {
                "write an internationalized name in punycode: `bücher.example` is `xn--bcher-kva.example`"
            }
        })
    }
}

impl std::error::Error for NameError {}

fn push_label(labels: &mut Vec<Vec<u8>>, label: &mut Vec<u8>) -> Result<(), NameError> {
    match label.len() {
        0 => Err(NameError::EmptyLabel),
        1..=63 => {
            labels.push(std::mem::take(label));
            Ok(())
        }
        _ => Err(NameError::LongLabel),
    }
}

/// The octet an escape stands for, and how many characters behind the backslash it took.
fn unescape(rest: &[u8]) -> Result<(u8, usize), NameError> {
    match rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let number = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            u8::try_from(number)
                .map(|octet| (octet, 3))
                .map_err(|_| NameError::BadEscape)
        }
        [b'0'..=b'9', ..] | [] => Err(NameError::BadEscape),
        [octet, ..] if !octet.is_ascii() => Err(NameError::NotAscii),
        [octet, ..] => Ok((*octet, 1)),
    }
}

/// Octets of a name on the wire, the root's length octet included (RFC 1035 section 3.1).
const MAX_NAME_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn check(text: &str, labels: &[&[u8]], shown: &str) {
        let parsed = parse_name(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed, labels, "{text}");
        assert_eq!(show_name(parsed.iter().map(Vec::as_slice)), shown, "{text}");
        assert_eq!(parse_name(shown), Ok(parsed));
    }

    #[test]
    fn r4343_names_with_escapes() {
        check(".", &[], ".");
        check("example.com", &[b"example", b"com"], "example.com.");
        check("Example.COM.", &[b"Example", b"COM"], "Example.COM.");
        check(r"a\.b.c", &[b"a.b", b"c"], r"a\.b.c.");
        check(r"a\032b", &[b"a b"], r"a\032b.");
        check(r"\000\255\\", &[&[0, 255, b'\\']], r"\000\255\\.");
        check(
            "_dns.resolver.arpa",
            &[b"_dns", b"resolver", b"arpa"],
            "_dns.resolver.arpa.",
        );
        check("*.x", &[b"*", b"x"], "*.x.");
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("{}.x", "a".repeat(64));
        let longest = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)]
            .map(String::as_str)
            .join(".");
        assert!(parse_name(&longest).is_ok());
        for (text, reason) in [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("..", NameError::EmptyLabel),
            (&long, NameError::LongLabel),
            (&format!("{longest}d"), NameError::TooLong),
            (r"a\256", NameError::BadEscape),
            (r"a\25", NameError::BadEscape),
            (r"a\", NameError::BadEscape),
            ("a b", NameError::NotPrintable),
            ("bücher.example", NameError::NotAscii),
        ] {
            assert_eq!(parse_name(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn wire_names_are_read_whole_or_not_at_all() {
        assert_eq!(read_labels(b"\x01a\x02bc\0"), Some(vec![b"a".as_slice(), b"bc"]));
        assert_eq!(read_labels(b"\0"), Some(vec![]));
        for broken in [b"".as_slice(), b"\x01a", b"\x02a\0", b"\xc0\x0c", b"\0\0", b"\x01a\0x"] {
            assert_eq!(read_labels(broken), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_an_error_and_names_survive(text in any::<String>()) {
            if let Ok(labels) = parse_name(&text) {
                prop_assert_eq!(parse_name(&show_name(labels.iter().map(Vec::as_slice))), Ok(labels));
            }
        }

        #[test]
        fn any_labels_survive(labels in vec(vec(any::<u8>(), 1..=63), 0..4)) {
            prop_assert_eq!(parse_name(&show_name(labels.iter().map(Vec::as_slice))), Ok(labels));
        }
    }

    #[test]
    fn strings_and_unknown_data() {
        assert_eq!(show_text(b"a\"b\\c\x07\xff d"), r#""a\"b\\c\007\255 d""#);
        assert_eq!(show_unknown(&[]), r"\# 0");
        assert_eq!(show_unknown(&[1, 0xab]), r"\# 2 01AB");
    }
}
