//! One record as people write it (RFC 1035 section 5.1), without what zone files have for whole zones: `$ORIGIN`, `@`, lines that go
//! on in brackets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DEFAULT_TTL, MAX_SET_LEN, RECORD_OVERHEAD};
use crate::wire::name::{MAX_NAME_LEN, suffixes};
use crate::wire::record::RecordType;

/// A record. Names are in canonical wire form.
pub(super) struct Parsed {
    pub(super) owner: Box<[u8]>,
    pub(super) ttl: u32,
    pub(super) rtype: RecordType,
    pub(super) rdata: Box<[u8]>,
}

/// What is wrong with a line, and where.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) column: u32,
    pub(super) what: &'static str,
}

/// The highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

/// Octets of one character string (RFC 1035 section 3.3).
const MAX_STRING_LEN: usize = 255;

const LOCALHOST: &[u8] = b"\x09localhost\0";

const MX: RecordType = RecordType(15);
const TXT: RecordType = RecordType(16);
const SRV: RecordType = RecordType(33);

/// Types that can be given, by their mnemonics.
const TYPES: [(&str, RecordType); 7] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("CNAME", RecordType::CNAME),
    ("TXT", TXT),
    ("PTR", RecordType::PTR),
    ("SRV", SRV),
    ("MX", MX),
];

/// Reads a line; `None` if there is nothing but a comment.
pub(super) fn read_record(line: &str) -> Result<Option<Parsed>, Mistake> {
    let mut words = Words { line, at: 0 };
    let Some(first) = words.next()? else { return Ok(None) };
    if first.text.starts_with('$') {
        return first.refuse("directives such as $ORIGIN and $TTL are not known here; write whole names");
    }
    let (ttl, rtype) = read_type(&mut words)?;
    let owner = match first.text.parse() {
        Ok(address) if rtype == RecordType::PTR => reverse_name(address),
        _ => read_owner(&first)?,
    };
    let rdata = read_rdata(rtype, &mut words)?;
    if let Some(word) = words.next()? {
        return word.refuse("nothing should follow here");
    }
    if rdata.len() + RECORD_OVERHEAD > MAX_SET_LEN {
        return first.refuse("more text than fits an answer");
    }
    Ok(Some(Parsed {
        owner,
        ttl: ttl.unwrap_or(DEFAULT_TTL),
        rtype,
        rdata: rdata.into(),
    }))
}

/// TTL and class in either order, both may be left out; then the type.
fn read_type(words: &mut Words<'_>) -> Result<(Option<u32>, RecordType), Mistake> {
    let (mut ttl, mut has_class) = (None, false);
    loop {
        let word = words.want("expected a type: A, AAAA, CNAME, TXT, PTR, SRV or MX")?;
        if word.text.starts_with(|c: char| c.is_ascii_digit()) && ttl.is_none() {
            let seconds = word.text.parse().ok().filter(|seconds| *seconds <= MAX_TTL);
            if seconds.is_none() {
                return word.refuse("expected a TTL in seconds, at most 2147483647");
            }
            ttl = seconds;
        } else if word.text.eq_ignore_ascii_case("IN") && !has_class {
            has_class = true;
        } else {
            let found = TYPES.iter().find(|(name, _)| word.text.eq_ignore_ascii_case(name));
            return match found {
                Some((_, rtype)) => Ok((ttl, *rtype)),
                None => word.refuse("expected a type: A, AAAA, CNAME, TXT, PTR, SRV or MX"),
            };
        }
    }
}

fn read_owner(word: &Word<'_>) -> Result<Box<[u8]>, Mistake> {
    if word.text == "*" || word.text.starts_with("*.") {
        return word.refuse("wildcards are not known here; give every name its record");
    }
    let owner = read_name(word)?;
    if owner == [0] {
        return word.refuse("the root is not yours");
    }
    if suffixes(&owner).any(|suffix| suffix == LOCALHOST) {
        return word.refuse("localhost and all below is this host (RFC 6761)");
    }
    Ok(owner.into())
}

fn read_rdata(rtype: RecordType, words: &mut Words<'_>) -> Result<Vec<u8>, Mistake> {
    let mut rdata = Vec::new();
    match rtype {
        RecordType::A => {
            let word = words.want("expected an IPv4 address")?;
            match word.text.parse::<Ipv4Addr>() {
                Ok(address) => rdata.extend(address.octets()),
                Err(_) => return word.refuse("expected an IPv4 address"),
            }
        }
        RecordType::AAAA => {
            let word = words.want("expected an IPv6 address")?;
            match word.text.parse::<Ipv6Addr>() {
                Ok(address) => rdata.extend(address.octets()),
                Err(_) => return word.refuse("expected an IPv6 address"),
            }
        }
        TXT => read_strings(words, &mut rdata)?,
        _ => {
            let numbers: &[&str] = match rtype {
                MX => &["expected a preference, 0 to 65535"],
                SRV => &[
                    "expected a priority, 0 to 65535",
                    "expected a weight, 0 to 65535",
                    "expected a port, 0 to 65535",
                ],
                _ => &[],
            };
            for what in numbers {
                let word = words.want(what)?;
                match word.text.parse::<u16>() {
                    Ok(number) => rdata.extend(number.to_be_bytes()),
                    Err(_) => return word.refuse(what),
                }
            }
            rdata.extend(read_name(&words.want("expected a domain name")?)?);
        }
    }
    Ok(rdata)
}

/// One character string after the other, each with its length before it.
fn read_strings(words: &mut Words<'_>, rdata: &mut Vec<u8>) -> Result<(), Mistake> {
    const WHAT: &str = "expected text, in quotes if it has blanks";
    let mut next = Some(words.want(WHAT)?);
    while let Some(word) = next {
        let mut string = Vec::new();
        let mut rest = word.text.as_bytes();
        while let [octet, tail @ ..] = rest {
            let (octet, tail) = match octet {
                b'\\' => unescape(tail).ok_or_else(|| word.mistake(BAD_ESCAPE))?,
                octet => (*octet, tail),
            };
            string.push(octet);
            rest = tail;
        }
        let Some(len) = u8::try_from(string.len())
            .ok()
            .filter(|len| usize::from(*len) <= MAX_STRING_LEN)
        else {
            return word.refuse("a string has at most 255 octets; write several, one after the other");
        };
        rdata.push(len);
        rdata.extend(string);
        next = words.next()?;
    }
    Ok(())
}

const BAD_ESCAPE: &str = "after a backslash comes one character, or three digits up to 255";

/// A whole name in canonical wire form; the last dot may be left out.
fn read_name(word: &Word<'_>) -> Result<Vec<u8>, Mistake> {
    if word.text == "." {
        return Ok(vec![0]);
    }
    if word.text == "@" || word.is_quoted {
        return word.refuse("expected a whole domain name");
    }
    let text = word.text.as_bytes();
    let mut name = vec![0];
    let (mut rest, mut label_at) = (text, 0);
    while let [octet, tail @ ..] = rest {
        let (octet, tail) = match octet {
            b'.' => {
                close_label(word, &mut name, label_at)?;
                if tail.is_empty() {
                    label_at = name.len();
                    break;
                }
                label_at = name.len();
                name.push(0);
                rest = tail;
                continue;
            }
            b'\\' => unescape(tail).ok_or_else(|| word.mistake(BAD_ESCAPE))?,
            0x80.. => return word.refuse("write a name in Unicode as its punycode, `xn--...`"),
            octet => (*octet, tail),
        };
        name.push(octet.to_ascii_lowercase());
        rest = tail;
    }
    if label_at < name.len() {
        close_label(word, &mut name, label_at)?;
    }
    name.push(0);
    if name.len() > MAX_NAME_LEN {
        return word.refuse("a name has at most 255 octets");
    }
    Ok(name)
}

/// Writes the length of the last label before it.
fn close_label(word: &Word<'_>, name: &mut [u8], label_at: usize) -> Result<(), Mistake> {
    match u8::try_from(name.len() - label_at - 1) {
        Ok(0) => word.refuse("a name has no empty label: two dots in a row, or nothing at all"),
        Ok(len @ 1..=63) => {
            name[label_at] = len;
            Ok(())
        }
        _ => word.refuse("a label has at most 63 octets"),
    }
}

/// The octet behind a backslash, and what follows.
fn unescape(rest: &[u8]) -> Option<(u8, &[u8])> {
    match rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', tail @ ..] => {
            let number = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Some((u8::try_from(number).ok()?, tail))
        }
        [b'0'..=b'9', ..] => None,
        [octet, tail @ ..] => Some((*octet, tail)),
        [] => None,
    }
}

/// Where the name of an address is asked for (RFC 1035 section 3.5, RFC 3596 section 2.5), in canonical wire form.
pub(super) fn reverse_name(address: IpAddr) -> Box<[u8]> {
    let mut name = Vec::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let label = octet.to_string();
                name.push(u8::try_from(label.len()).unwrap_or(0));
                name.extend_from_slice(label.as_bytes());
            }
            name.extend_from_slice(b"\x07in-addr\x04arpa\0");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.extend([1, b"0123456789abcdef"[usize::from(nibble)]]);
                }
            }
            name.extend_from_slice(b"\x03ip6\x04arpa\0");
        }
    }
    name.into()
}

/// What stands between blanks, or in quotes, of one line.
struct Words<'a> {
    line: &'a str,
    at: usize,
}

struct Word<'a> {
    text: &'a str,
    column: u32,
    is_quoted: bool,
}

impl Word<'_> {
    fn mistake(&self, what: &'static str) -> Mistake {
        Mistake {
            column: self.column,
            what,
        }
    }

    fn refuse<T>(&self, what: &'static str) -> Result<T, Mistake> {
        Err(self.mistake(what))
    }
}

impl<'a> Words<'a> {
    /// The next word, without its quotes; escapes are still in it.
    fn next(&mut self) -> Result<Option<Word<'a>>, Mistake> {
        let rest = &self.line[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let rest = &self.line[self.at..];
        let column = self.column();
        match rest.chars().next() {
            None | Some(';' | '#') => Ok(None),
            Some('(' | ')') => Err(Mistake {
                column,
                what: "brackets are not known here; write the record in one line",
            }),
            Some('"') => {
                let len = end(&rest[1..], |c| c == '"').ok_or(Mistake {
                    column,
                    what: "the quote is not closed",
                })?;
                self.at += len + 2;
                Ok(Some(Word {
                    text: &rest[1..=len],
                    column,
                    is_quoted: true,
                }))
            }
            Some(_) => {
                let len = end(rest, |c| c.is_whitespace() || c == ';').unwrap_or(rest.len());
                self.at += len;
                Ok(Some(Word {
                    text: &rest[..len],
                    column,
                    is_quoted: false,
                }))
            }
        }
    }

    fn want(&mut self, what: &'static str) -> Result<Word<'a>, Mistake> {
        match self.next()? {
            Some(word) => Ok(word),
            None => Err(Mistake {
                column: self.column(),
                what,
            }),
        }
    }

    fn column(&self) -> u32 {
        u32::try_from(self.line[..self.at].chars().count() + 1).unwrap_or(u32::MAX)
    }
}

/// Where the first character like this is that no backslash stands before.
fn end(text: &str, is_end: impl Fn(char) -> bool) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if !is_escaped && is_end(c) {
            return Some(at);
        }
        is_escaped = !is_escaped && c == '\\';
    }
    None
}
