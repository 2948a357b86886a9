//! Lists of names as strangers publish them, read line by line, whatever the lines turn out to be.
//!
//! A file may mix these, as real ones do:
//! ```text
//! 0.0.0.0 ads.example x.example    hosts: exactly these names; also 127.0.0.0/8, :: and ::1
//! ads.example                      the domain: this name and all below
//! .ads.example, ||ads.example^     the same
//! *.ads.example                    the same, as dnscrypt-proxy and OISD's lists mean it
//! @@||ads.example^                 allowed, in a list of either sort
//! # ..., ! ..., [Adblock Plus]     comments; ` # ...` also behind a rule
//! ```
//! A hosts line is exact because that is what it does in the file that it is made for, and what AdGuard Home and Pi-hole do with it.
//! A domain on its own is taken with all below, as dnscrypt-proxy does: who blocks a tracker means its subdomains too, and lists
//! that name them all one by one lose nothing.
//!
//! Everything else is counted and skipped, because half a rule is another rule. `$important`, `$all`, `$document` and `$doc` behind
//! `^` change nothing for a resolver that answers for whole names; a rule with any other option blocks less than its domain. A
//! hosts line that leads elsewhere is no wish to block. One label on its own is a word, not a wish to lose a top-level domain
//! (`*.zip` and `||zip^` say that). Names in Unicode are skipped: a resolver is asked in punycode.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use crate::wire::name::MAX_NAME_LEN;

/// Octets of a file: ten times the largest list known (about 25 MiB for a million names). What is longer is no list.
pub const MAX_FILE_LEN: u64 = 256 << 20;

/// Octets of a line that is looked at: a hosts line with 16 of the longest names. What is longer is skipped without being held.
const MAX_LINE_LEN: u64 = 4096;

/// Skipped lines that are remembered by number: enough to see what a file is.
const MAX_REMEMBERED: usize = 10;

/// What `*.domain` means. A wildcard in a zone would not be the domain itself, but whoever publishes such lists means it too.
const STAR: Scope = Scope::Domain;

/// Options of an adblock rule with which it is still about a domain as a whole.
const HARMLESS_OPTIONS: &[&[u8]] = &[b"important", b"all", b"document", b"doc"];

/// Names that hosts files give to this host and its network: no wish to block anything, and not worth a count.
const HOUSE_NAMES: &[&[u8]] = &[
    b"localhost",
    b"localhost.localdomain",
    b"local",
    b"broadcasthost",
    b"0.0.0.0",
    b"ip6-localhost",
    b"ip6-loopback",
    b"ip6-localnet",
    b"ip6-mcastprefix",
    b"ip6-allnodes",
    b"ip6-allrouters",
    b"ip6-allhosts",
];

/// Whether a list, or a rule, blocks or allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Names are answered here, with nothing.
    Block,
    /// Names are asked whatever other rules say.
    Allow,
}

/// Which names a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This one.
    Name,
    /// This one and all below.
    Domain,
}

impl Scope {
    /// Whether a rule for this suffix of a name counts, which is the whole name or not.
    pub(super) fn covers(self, is_whole: bool) -> bool {
        match self {
            Self::Name => is_whole,
            Self::Domain => true,
        }
    }
}

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Canonical, in wire form.
    pub name: &'a [u8],
    /// Which names it is about.
    pub scope: Scope,
    /// What becomes of them.
    pub action: Action,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rules, doubles among them.
    pub rules: u32,
    /// Lines of which something was skipped.
    pub skipped: u32,
    /// Number and reason of the first of them.
    pub first_skipped: Vec<(u32, Skip)>,
}

impl Tally {
    /// Whether there is something, and nothing that a list has: a web page with an excuse instead of the list, say.
    pub fn is_no_list(&self) -> bool {
        self.rules == 0 && self.skipped > 0
    }

    pub(super) fn skip(&mut self, line: u32, why: Skip) {
        self.skipped = self.skipped.saturating_add(1);
        if self.first_skipped.len() < MAX_REMEMBERED {
            self.first_skipped.push((line, why));
        }
    }
}

/// Why a line gives no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// None of the forms above.
    Form,
    /// Not a name of letters, digits, hyphens and underscores, in labels of up to 63 octets and 255 in all.
    Name,
    /// An address where a name should be.
    Address,
    /// A name in Unicode.
    Unicode,
    /// One label on its own.
    OneLabel,
    /// A hosts line with an address that leads somewhere.
    Elsewhere,
    /// An adblock rule with options that are not known to be harmless.
    Option,
    /// Too long to be looked at.
    TooLong,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "no rule about a domain",
            Self::Name => "not a domain name",
            Self::Address => "an address, not a name",
            Self::Unicode => "a name in Unicode; lists have to give its punycode, `xn--...`",
            Self::OneLabel => "one label alone; `*.label` blocks a whole top-level domain",
            Self::Elsewhere => "an address that leads elsewhere; such lines belong into `hosts`",
            Self::Option => "a rule with options that only a browser can follow",
            Self::TooLong => "a line of more than 4096 octets",
        })
    }
}

/// Reads a list; `each` gets its rules, with the numbers of their lines, and says whether to go on.
///
/// # Errors
/// Those of the reader, and [`io::ErrorKind::FileTooLarge`] above [`MAX_FILE_LEN`]. The rules up to there were given.
pub fn read(reader: impl BufRead, action: Action, mut each: impl FnMut(u32, Rule<'_>) -> bool) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for_each_line(reader, |number, line| {
        let mut goes_on = true;
        let read = match line {
            Ok(line) => read_line(line, action, &mut |rule| {
                tally.rules = tally.rules.saturating_add(1);
                goes_on = goes_on && each(number, rule);
            }),
            Err(skip) => Err(skip),
        };
        if let Err(skip) = read {
            tally.skip(number, skip);
        }
        goes_on
    })?;
    Ok(tally)
}

/// A line of a list that is about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLine {
    /// Counted from 1.
    pub number: u32,
    /// What it says, without its comment; octets that are no printable ASCII are escaped.
    pub text: String,
    /// Whether it blocks or allows.
    pub action: Action,
    /// Octets of the name that its rule is about: of two lines the longer one decides.
    pub name_len: usize,
}

impl FoundLine {
    /// Which of two lines decides: the higher one; the first of equal ones.
    pub fn rank(&self) -> (usize, bool) {
        (self.name_len, self.action == Action::Allow)
    }
}

/// The line that decides on a canonical name in wire form, as far as this list goes: the longest match, at equal length one that
/// allows, of these the first.
///
/// # Errors
/// As [`read`].
pub fn find_line(reader: impl BufRead, action: Action, qname: &[u8]) -> io::Result<Option<FoundLine>> {
    let mut best: Option<FoundLine> = None;
    for_each_line(reader, |number, line| {
        let Ok(line) = line else { return true };
        let _ = read_line(line, action, &mut |rule| {
            if !covers(&rule, qname) {
                return;
            }
            let found = FoundLine {
                number,
                // A stranger's octets, on their way to a terminal.
                text: without_comment(line).escape_ascii().to_string(),
                action: rule.action,
                name_len: rule.name.len(),
            };
            if best.as_ref().is_none_or(|best| best.rank() < found.rank()) {
                best = Some(found);
            }
        });
        true
    })?;
    Ok(best)
}

/// Whether a rule is about this name.
fn covers(rule: &Rule<'_>, qname: &[u8]) -> bool {
    let mut at = 0;
    while let Some(suffix) = qname.get(at..) {
        if suffix.len() == rule.name.len() {
            return suffix == rule.name && rule.scope.covers(at == 0);
        }
        let Some(len @ 1..) = suffix.first().copied() else {
            break;
        };
        at += usize::from(len) + 1;
    }
    false
}

/// Hands over line after line, without its end, while `each` wants more. One line is held at a time, and no more than
/// [`MAX_LINE_LEN`] octets of it.
pub(super) fn for_each_line(
    reader: impl BufRead,
    mut each: impl FnMut(u32, Result<&[u8], Skip>) -> bool,
) -> io::Result<()> {
    let mut reader = reader.take(MAX_FILE_LEN + 1);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let len = reader.by_ref().take(MAX_LINE_LEN).read_until(b'\n', &mut line)?;
        if len == 0 {
            break;
        }
        let is_whole = line.last() == Some(&b'\n') || reader.fill_buf()?.is_empty();
        if !is_whole {
            reader.skip_until(b'\n')?;
        }
        // A byte order mark, which Windows puts before the first line.
        let bom = if number == 1 { b"\xef\xbb\xbf".as_slice() } else { b"" };
        let octets = line.strip_prefix(bom).unwrap_or(&line).trim_ascii();
        if !each(number, if is_whole { Ok(octets) } else { Err(Skip::TooLong) }) {
            break;
        }
    }
    if reader.limit() == 0 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Reads one line without blanks around it.
fn read_line(line: &[u8], action: Action, each: &mut impl FnMut(Rule<'_>)) -> Result<(), Skip> {
    let line = match line {
        [] | [b'#' | b'!' | b'[', ..] => return Ok(()),
        _ => without_comment(line),
    };
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Ok(()) };
    if let Some(address) = read_address(first) {
        return read_hosts_line(address, words, action, each);
    }
    if words.next().is_some() {
        return Err(Skip::Form);
    }
    if let Some(rule) = first.strip_prefix(b"@@") {
        return read_adblock(rule, Action::Allow, each);
    }
    if first.starts_with(b"|") {
        return read_adblock(first, action, each);
    }
    let (text, scope) = match first {
        [b'*', b'.', domain @ ..] => (domain, STAR),
        [b'.', domain @ ..] => (domain, Scope::Domain),
        domain => (domain, Scope::Domain),
    };
    let is_plain = text.len() == first.len();
    give(text, scope, is_plain, action, each)
}

/// `||domain^`, with what may stand behind it.
fn read_adblock(text: &[u8], action: Action, each: &mut impl FnMut(Rule<'_>)) -> Result<(), Skip> {
    let text = text.strip_prefix(b"||").ok_or(Skip::Form)?;
    let end = text.iter().position(|octet| *octet == b'^').ok_or(Skip::Form)?;
    let (domain, rest) = text.split_at(end);
    // The end of the address, which is the end of the name for us.
    match rest.strip_prefix(b"^|").or_else(|| rest.strip_prefix(b"^")) {
        Some([]) => {}
        Some([b'$', options @ ..]) if options.split(|octet| *octet == b',').all(is_harmless) => {}
        Some([b'$', ..]) => return Err(Skip::Option),
        _ => return Err(Skip::Form),
    }
    match domain.strip_prefix(b"*.") {
        Some(domain) => give(domain, STAR, false, action, each),
        None => give(domain, Scope::Domain, false, action, each),
    }
}

fn is_harmless(option: &[u8]) -> bool {
    HARMLESS_OPTIONS.contains(&option)
}

/// The names behind an address. One that cannot be taken does not stop the others.
fn read_hosts_line<'a>(
    address: IpAddr,
    names: impl Iterator<Item = &'a [u8]>,
    action: Action,
    each: &mut impl FnMut(Rule<'_>),
) -> Result<(), Skip> {
    let is_nowhere = address.is_unspecified() || address.is_loopback();
    let (mut read, mut is_alone) = (Ok(()), true);
    for name in names {
        is_alone = false;
        if is_house_name(name) {
            continue;
        }
        if !is_nowhere {
            return Err(Skip::Elsewhere);
        }
        let given = give(name, Scope::Name, false, action, each);
        read = read.and(given);
    }
    if is_alone { Err(Skip::Address) } else { read }
}

/// Whether hosts files use this name for this host or its network.
pub(super) fn is_house_name(name: &[u8]) -> bool {
    let is_below_localhost = name.len() > 10 && name[name.len() - 10..].eq_ignore_ascii_case(b".localhost");
    is_below_localhost || HOUSE_NAMES.iter().any(|house| house.eq_ignore_ascii_case(name))
}

/// An address, with or without the zone of a link-local one.
pub(super) fn read_address(word: &[u8]) -> Option<IpAddr> {
    // Most words are names: told apart without a try.
    if !word.contains(&b':') && !word.last()?.is_ascii_digit() {
        return None;
    }
    let word = std::str::from_utf8(word).ok()?;
    word.split_once('%').map_or(word, |(address, _)| address).parse().ok()
}

/// What stands before a comment, which is set off by a blank.
pub(super) fn without_comment(line: &[u8]) -> &[u8] {
    let is_comment = |pair: &[u8]| pair[0].is_ascii_whitespace() && pair[1] == b'#';
    let end = line.windows(2).position(is_comment).unwrap_or(line.len());
    line[..end].trim_ascii_end()
}

/// Hands over the rule for a name in text form.
fn give(
    text: &[u8],
    scope: Scope,
    needs_two_labels: bool,
    action: Action,
    each: &mut impl FnMut(Rule<'_>),
) -> Result<(), Skip> {
    let mut octets = [0; MAX_NAME_LEN];
    let len = write_name(text, &mut octets)?;
    if needs_two_labels && usize::from(octets[0]) + 2 == len {
        return Err(Skip::OneLabel);
    }
    each(Rule {
        name: &octets[..len],
        scope,
        action,
    });
    Ok(())
}

/// Writes a name in canonical wire form and returns its length. Host names and underscores only: whatever else stands in a list was
/// meant for somebody else.
pub(super) fn write_name(text: &[u8], octets: &mut [u8; MAX_NAME_LEN]) -> Result<usize, Skip> {
    let text = text.strip_suffix(b".").unwrap_or(text);
    // One octet more before and one behind the text.
    let len = text.len() + 2;
    if text.is_empty() || len > MAX_NAME_LEN {
        return Err(no_name(text));
    }
    // From the right: a label's length stands where its dot did, once it is known.
    let mut label_len = 0;
    for (at, octet) in text.iter().enumerate().rev() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                octets[at + 1] = octet.to_ascii_lowercase();
                label_len += 1;
            }
            b'.' if (1..=63).contains(&label_len) => {
                octets[at + 1] = label_len;
                label_len = 0;
            }
            _ => return Err(no_name(text)),
        }
    }
    if !(1..=63).contains(&label_len) {
        return Err(no_name(text));
    }
    octets[0] = label_len;
    octets[len - 1] = 0;
    // No top-level domain is a number (RFC 3696 section 2): this is an address, or a part of one.
    let mut labels = text.rsplit(|octet| *octet == b'.');
    if labels.next().is_some_and(|last| last.iter().all(u8::is_ascii_digit)) {
        return Err(Skip::Address);
    }
    Ok(len)
}

fn no_name(text: &[u8]) -> Skip {
    if text.is_ascii() { Skip::Name } else { Skip::Unicode }
}

#[cfg(test)]
mod tests;
