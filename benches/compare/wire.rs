//! The questions that the harness asks and what a right answer is. Nothing of tacenda's own code: it would not be a check.

use std::fmt;

/// The longest query that is written here.
pub(crate) const MAX_QUERY: usize = 64;

/// What the bench upstream says of every name: `A 192.0.2.1` for a day.
pub(crate) const ADDRESS: [u8; 4] = [192, 0, 2, 1];

/// That day. A TTL above it was made up.
pub(crate) const TTL: u32 = 86_400;

/// Writes the query for `<prefix><number>.bench.example A`; gives its length.
pub(crate) fn write_query(out: &mut [u8], id: u16, prefix: u8, number: u64) -> usize {
    out[..12].copy_from_slice(&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out[..2].copy_from_slice(&id.to_be_bytes());
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[first..];
    out[12] = u8::try_from(digits.len() + 1).expect("at most 20 digits");
    out[13] = prefix;
    out[14..14 + digits.len()].copy_from_slice(digits);
    let end = 14 + digits.len();
    out[end..end + 19].copy_from_slice(b"\x05bench\x07example\0\0\x01\0\x01");
    end + 19
}

/// Why an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    NotAResponse,
    Question,
    Rcode(u8),
    NoAnswer,
    Record,
    Ttl(u32),
    Address,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAResponse => f.write_str("not a response, or cut short"),
            Self::Question => f.write_str("another question than was asked"),
            Self::Rcode(rcode) => write!(f, "RCODE {rcode}"),
            Self::NoAnswer => f.write_str("no answer record"),
            Self::Record => f.write_str("a record of another name or type"),
            Self::Ttl(ttl) => write!(f, "TTL {ttl}, above the original"),
            Self::Address => f.write_str("another address"),
        }
    }
}

/// Whether the response answers this query (whose id the caller has compared) as the bench upstream does.
pub(crate) fn check(response: &[u8], query: &[u8]) -> Result<(), Wrong> {
    let question = &query[12..];
    if response.len() < query.len() || response[2] & 0x82 != 0x80 {
        return Err(Wrong::NotAResponse);
    }
    if response[4..6] != [0, 1] || !response[12..query.len()].eq_ignore_ascii_case(question) {
        return Err(Wrong::Question);
    }
    let rcode = response[3] & 15;
    if rcode != 0 {
        return Err(Wrong::Rcode(rcode));
    }
    if response[6..8] == [0, 0] {
        return Err(Wrong::NoAnswer);
    }
    let answer = &response[query.len()..];
    let name = &question[..question.len() - 4];
    let record = if let Some(record) = answer.strip_prefix(b"\xc0\x0c") {
        record
    } else if answer.len() >= name.len() && answer[..name.len()].eq_ignore_ascii_case(name) {
        &answer[name.len()..]
    } else {
        return Err(Wrong::Record);
    };
    let Some((fixed, address)) = record.split_at_checked(10) else {
        return Err(Wrong::NotAResponse);
    };
    if fixed[..4] != [0, 1, 0, 1] || fixed[8..10] != [0, 4] {
        return Err(Wrong::Record);
    }
    let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    if ttl > TTL {
        return Err(Wrong::Ttl(ttl));
    }
    if !address.starts_with(&ADDRESS) {
        return Err(Wrong::Address);
    }
    Ok(())
}

/// Whether the echo gave the query back as a response, octet for octet but for its flags.
pub(crate) fn check_echo(response: &[u8], query: &[u8]) -> Result<(), Wrong> {
    if response.len() != query.len() || response[2] & 0x80 == 0 {
        return Err(Wrong::NotAResponse);
    }
    if response[4..] != query[4..] {
        return Err(Wrong::Question);
    }
    Ok(())
}

/// Octets of the bench upstream's answer to this query: what a cache cannot do without.
pub(crate) fn answer_len(query_len: usize) -> usize {
    query_len + 16
}

/// The answer of our own upstream to a query: the address for an A question, nothing for another type. `ttl` is asked for the first
/// letter of the name.
pub(crate) fn respond(query: &[u8], ttl: impl FnOnce(u8) -> u32) -> Option<Vec<u8>> {
    let question = question(query)?;
    let is_address = question.ends_with(&[0, 1, 0, 1]);
    let wants_edns = query.get(10..12)? != [0, 0];
    let mut response = Vec::with_capacity(query.len() + 32);
    response.extend_from_slice(&query[..2]);
    response.extend_from_slice(&[
        0x80 | query[2] & 1,
        0x80,
        0,
        1,
        0,
        u8::from(is_address),
        0,
        0,
        0,
        u8::from(wants_edns),
    ]);
    response.extend_from_slice(question);
    if is_address {
        response.extend_from_slice(b"\xc0\x0c\0\x01\0\x01");
        response.extend_from_slice(&ttl(question[1]).to_be_bytes());
        response.extend_from_slice(&[0, 4]);
        response.extend_from_slice(&ADDRESS);
    }
    if wants_edns {
        response.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    }
    Some(response)
}

/// The octets of the one question: name, type, class.
pub(crate) fn question(query: &[u8]) -> Option<&[u8]> {
    let rest = query.get(12..)?;
    let mut end = 0;
    loop {
        match rest.get(end)? {
            0 => return rest.get(..end + 5),
            len => end += usize::from(*len) + 1,
        }
    }
}
