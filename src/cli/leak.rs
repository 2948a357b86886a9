//! Is a name in these octets? Pure: octets and names in, findings out.
//!
//! A name can leave in clear in many dresses, so the octets are looked at through several [`VIEWS`] (as they are, backwards,
//! as UTF-16, decoded from base64, hexadecimal and NetBIOS, unescaped), and in each view every form of the name is searched without
//! regard to letter case: dotted, wire form, and its rarest label alone. Encryption and compression are out of its sight;
//! whoever uses it also shows it, in every run, a clear-text packet that it must find.

use std::fmt;

/// A name found where none may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name that was looked for, in presentation form.
    pub name: String,
    /// How it was written.
    pub form: Form,
    /// Through which view it was seen.
    pub view: &'static str,
}

/// How a name was written where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Labels with a length octet before each, as in a DNS message.
    Wire,
    /// Labels with dots between them.
    Dotted,
    /// One label alone.
    Label,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Wire => "in wire form",
            Form::Dotted => "dotted",
            Form::Label => "by its rarest label",
        };
        write!(f, "{} {form}, {}", self.name, self.view)
    }
}

/// A name as an observer would look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    name: String,
    forms: Vec<(Form, Vec<u8>)>,
}

impl Needle {
    /// Forms of `name`, given with dots and without escapes. The rarest label is the longest one; a label shorter than
    /// [`MIN_LABEL_LEN`] is not searched alone, since random octets would hold it.
    pub fn new(name: &str) -> Self {
        let dotted = name.trim_end_matches('.').to_ascii_lowercase();
        let mut wire = Vec::with_capacity(dotted.len() + 1);
        for label in dotted.split('.') {
            wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            wire.extend_from_slice(label.as_bytes());
        }
        let mut forms = vec![(Form::Wire, wire), (Form::Dotted, dotted.clone().into_bytes())];
        let rarest = dotted.split('.').max_by_key(|label| label.len()).unwrap_or_default();
        if rarest.len() >= MIN_LABEL_LEN {
            forms.push((Form::Label, rarest.as_bytes().to_vec()));
        }
        Self { name: dotted, forms }
    }

    /// The first form that these octets, already in lower case, hold.
    fn find_in(&self, lower: &[u8]) -> Option<Form> {
        self.forms
            .iter()
            .find(|(_, octets)| contains(lower, octets))
            .map(|(form, _)| *form)
    }
}

/// Searches one stream of octets for every needle; at most one finding for a name, in the first view that shows it.
pub fn search(octets: &[u8], needles: &[Needle]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (view, transform) in VIEWS {
        for mut seen in transform(octets) {
            seen.make_ascii_lowercase();
            for needle in needles {
                let Some(form) = needle.find_in(&seen) else { continue };
                let finding = Finding {
                    name: needle.name.clone(),
                    form,
                    view,
                };
                if !findings
                    .iter()
                    .any(|known: &Finding| known.name == finding.name && known.view == view)
                {
                    findings.push(finding);
                }
            }
        }
    }
    findings
}

/// Turns captured octets into one or more streams to search.
type Transform = fn(&[u8]) -> Vec<Vec<u8>>;

/// Ways to look at captured octets.
pub const VIEWS: [(&str, Transform); 7] = [
    ("as it is", |octets| vec![octets.to_vec()]),
    ("backwards", |octets| vec![octets.iter().rev().copied().collect()]),
    ("as UTF-16", |octets| {
        (0..2)
            .map(|first| octets.iter().skip(first).step_by(2).copied().collect())
            .collect()
    }),
    ("as base64", |octets| decode_runs(octets, 6, base64_digit)),
    ("as hexadecimal", |octets| decode_runs(octets, 4, hex_digit)),
    ("as NetBIOS", |octets| decode_runs(octets, 4, netbios_digit)),
    ("percent-encoded", |octets| vec![unescape_percent(octets)]),
];

/// Shorter labels are not searched alone. Six letters without regard to case turn up in one of 2^42 places of random octets.
pub const MIN_LABEL_LEN: usize = 6;

/// Decodes every run of digits of `bits` bits each, from each place where a whole octet could begin.
fn decode_runs(octets: &[u8], bits: u32, digit: fn(u8) -> Option<u8>) -> Vec<Vec<u8>> {
    let digits_per_group = if bits == 6 { 4 } else { 2 };
    let mut streams = Vec::new();
    for run in octets.split(|octet| digit(*octet).is_none()) {
        // Fewer digits than a shortest label's cannot hold a name.
        if run.len() * usize::try_from(bits).unwrap_or(8) < MIN_LABEL_LEN * 8 {
            continue;
        }
        for skip in 0..digits_per_group {
            streams.push(decode(&run[skip..], bits, digit));
        }
    }
    streams
}

/// Packs digits of `bits` bits into octets, dropping an incomplete last one.
fn decode(run: &[u8], bits: u32, digit: fn(u8) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(run.len());
    let (mut held, mut held_bits) = (0u32, 0u32);
    for value in run.iter().filter_map(|octet| digit(*octet)) {
        held = (held << bits) | u32::from(value);
        held_bits += bits;
        if held_bits >= 8 {
            held_bits -= 8;
            out.push((held >> held_bits).to_le_bytes()[0]);
            held &= (1 << held_bits) - 1;
        }
    }
    out
}

/// A digit of base64 or base64url.
fn base64_digit(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// A hexadecimal digit.
fn hex_digit(octet: u8) -> Option<u8> {
    char::from(octet)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Half an octet as a letter (RFC 1001 section 14.1).
fn netbios_digit(octet: u8) -> Option<u8> {
    let digit = octet.to_ascii_uppercase().checked_sub(b'A')?;
    (digit < 16).then_some(digit)
}

/// Replaces `%41` by `A`, as in a URL.
fn unescape_percent(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match tail {
            [high, low, ..] if first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        out.push(escaped.map_or(first, |(high, low)| high << 4 | low));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// Whether `needle` is somewhere in `hay`.
fn contains(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && hay.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "Divorce-Lawyer.example";
    const WIRE: &[u8] = b"\x0edivorce-lawyer\x07example\x00";

    fn check(octets: &[u8], expected: Option<(Form, &str)>) {
        let noise: Vec<u8> = (0..1000u32)
            .map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        let stream = [&noise[..], octets, &noise[..]].concat();
        let found = search(&stream, &[Needle::new(NAME)]);
        match expected {
            Some((form, view)) => assert!(found.iter().any(|f| f.form == form && f.view == view), "{found:?}"),
            None => assert_eq!(found, []),
        }
    }

    #[test]
    fn noise_holds_no_name() {
        check(b"", None);
        check(b"\x16\x03\x01 dns.tacenda.test example", None);
    }

    #[test]
    fn plain_forms_are_found_in_any_letter_case() {
        check(WIRE, Some((Form::Wire, "as it is")));
        check(&WIRE.to_ascii_uppercase(), Some((Form::Wire, "as it is")));
        check(b"\x0edIvOrCe-LAWyer\x07eXample\x00", Some((Form::Wire, "as it is")));
        check(b"Host: divorce-LAWYER.example\r\n", Some((Form::Dotted, "as it is")));
        check(b"q=divorce-lawyer&", Some((Form::Label, "as it is")));
    }

    #[test]
    fn reversed_names_are_found() {
        let backwards: Vec<u8> = WIRE.iter().rev().copied().collect();
        check(&backwards, Some((Form::Wire, "backwards")));
        check(b"elpmaxe.reywal-ecrovid", Some((Form::Dotted, "backwards")));
        check(b"example.divorce-lawyer", Some((Form::Label, "as it is")));
    }

    #[test]
    fn utf_16_of_either_order_and_parity_is_found() {
        for pad in [&b""[..], b"x"] {
            let little: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_be_bytes).collect();
            check(&[pad, &little].concat(), Some((Form::Dotted, "as UTF-16")));
            check(&[pad, &big].concat(), Some((Form::Dotted, "as UTF-16")));
        }
    }

    #[test]
    fn base64_of_every_alignment_and_case_is_found() {
        for offset in 0..3 {
            let mut message = vec![b'?'; 12 + offset];
            message.extend_from_slice(&WIRE.to_ascii_uppercase());
            for encoding in [&data_encoding::BASE64, &data_encoding::BASE64URL_NOPAD] {
                let request = format!("GET /dns-query?dns={} HTTP/1.1", encoding.encode(&message));
                check(request.as_bytes(), Some((Form::Wire, "as base64")));
            }
        }
    }

    #[test]
    fn hexadecimal_is_found() {
        check(
            data_encoding::HEXLOWER.encode(WIRE).as_bytes(),
            Some((Form::Wire, "as hexadecimal")),
        );
        check(
            data_encoding::HEXUPPER.encode(NAME.as_bytes()).as_bytes(),
            Some((Form::Dotted, "as hexadecimal")),
        );
    }

    #[test]
    fn netbios_is_found() {
        let upper = NAME.to_ascii_uppercase();
        let encoded = upper
            .bytes()
            .flat_map(|octet| [b'A' + (octet >> 4), b'A' + (octet & 15)]);
        check(&encoded.collect::<Vec<_>>(), Some((Form::Dotted, "as NetBIOS")));
    }

    #[test]
    fn percent_encoding_is_found() {
        check(
            b"name=divorce%2Dlawyer%2eexample",
            Some((Form::Dotted, "percent-encoded")),
        );
        check(b"100%", None);
    }

    #[test]
    fn a_short_label_is_not_searched_alone() {
        let found = search(b"....mail....", &[Needle::new("mail.x.org")]);
        assert_eq!(found, []);
    }
}
