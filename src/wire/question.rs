//! The question, and the key made of it: cache key, coalescing key and the whole upstream query.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use super::header::{AD, CD, HEADER_LEN, Header, RD};
use super::name::MAX_NAME_LEN;
use super::record::{CLASS_IN, RecordType};
use super::{ParseError, edns, name, read_u16};

/// Everything of a client's query that decides its answer: canonical QNAME, QTYPE, QCLASS, DO and CD. Not RD, AD, the payload
/// size or the transport: one entry serves them all.
#[derive(Clone)]
pub struct QuestionKey {
    octets: [u8; MAX_KEY_LEN],
    len: u16,
}

/// 255 octets of name, QTYPE, QCLASS, one octet of flags.
const MAX_KEY_LEN: usize = 260;

/// Octets of one label (RFC 1035 section 2.3.4).
const MAX_LABEL_LEN: u8 = 63;

/// Set in the key's last octet for DO.
const KEY_DO: u8 = 0x80;

/// The longest upstream query: header, 259 octets of question, OPT with keepalive and padding, padded.
pub const MAX_QUERY_LEN: usize = 384;

/// Upstream queries are padded to a multiple of this many octets (RFC 8467 section 4.1).
pub const PADDING_BLOCK: usize = 128;

impl QuestionKey {
    /// Makes the key of a question in wire form that was checked before: uncompressed QNAME, QTYPE, QCLASS.
    /// `None` if it is longer than a question can be.
    pub(super) fn new(question: &[u8], dnssec_ok: bool, checking_disabled: bool) -> Option<Self> {
        let mut octets = [0; MAX_KEY_LEN];
        let len = question.len();
        octets.get_mut(..len)?.copy_from_slice(question);
        // Length octets are below 64 and so no letters; QTYPE and QCLASS are left alone.
        octets[..len.checked_sub(4)?].make_ascii_lowercase();
        *octets.get_mut(len)? = if dnssec_ok { KEY_DO } else { 0 } | if checking_disabled { CD } else { 0 };
        Some(Self {
            octets,
            len: u16::try_from(len + 1).ok()?,
        })
    }

    /// The key for a host name with dots, in class IN, without DO and CD. `None` if it is no name.
    pub fn of_host(host: &str, rtype: RecordType) -> Option<Self> {
        let mut question = Vec::with_capacity(host.len() + 6);
        for label in host.split('.') {
            question.push(
                u8::try_from(label.len())
                    .ok()
                    .filter(|len| (1..=MAX_LABEL_LEN).contains(len))?,
            );
            question.extend_from_slice(label.as_bytes());
        }
        question.push(0);
        if question.len() > MAX_NAME_LEN {
            return None;
        }
        question.extend(rtype.0.to_be_bytes());
        question.extend(CLASS_IN.to_be_bytes());
        Self::new(&question, false, false)
    }

    /// The same question about another name, a canonical one in wire form. `None` if it is longer than a name can be.
    pub fn with_qname(&self, qname: &[u8]) -> Option<Self> {
        let rest = &self.as_octets()[self.qname().len()..];
        let mut octets = [0; MAX_KEY_LEN];
        let len = qname.len() + rest.len();
        let room = octets.get_mut(..len)?;
        let (name, tail) = room.split_at_mut_checked(qname.len())?;
        name.copy_from_slice(qname);
        tail.copy_from_slice(rest);
        Some(Self {
            octets,
            len: u16::try_from(len).ok()?,
        })
    }

    /// The key as octets: QNAME folded to lower case, QTYPE, QCLASS, one octet of flags.
    pub fn as_octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The question: canonical QNAME, QTYPE, QCLASS.
    pub fn question(&self) -> &[u8] {
        &self.octets[..usize::from(self.len) - 1]
    }

    /// The canonical QNAME, uncompressed, root label included.
    pub fn qname(&self) -> &[u8] {
        &self.octets[..usize::from(self.len) - 5]
    }

    /// QTYPE.
    pub fn qtype(&self) -> RecordType {
        let at = usize::from(self.len) - 5;
        RecordType(u16::from_be_bytes([self.octets[at], self.octets[at + 1]]))
    }

    /// QCLASS.
    pub fn qclass(&self) -> u16 {
        let at = usize::from(self.len) - 3;
        u16::from_be_bytes([self.octets[at], self.octets[at + 1]])
    }

    /// Whether the client can read DNSSEC records (DO).
    pub fn dnssec_ok(&self) -> bool {
        self.flags() & KEY_DO != 0
    }

    /// Whether the client wants to check signatures itself (CD).
    pub fn checking_disabled(&self) -> bool {
        self.flags() & CD != 0
    }

    /// Writes the upstream query for this key: ID 0, RD and AD set, EDNS with our own payload size, padded with zeros to a
    /// multiple of 128 octets (RFC 8467) unless it is [`Keepalive::Bare`]. Returns its length. `out` needs [`MAX_QUERY_LEN`] octets.
    ///
    /// AD asks for the AD bit without DNSSEC records (RFC 6840 section 5.7); it is always set, so it tells nobody apart.
    pub fn write_query(&self, keepalive: Keepalive, out: &mut [u8; MAX_QUERY_LEN]) -> usize {
        let low = AD | if self.checking_disabled() { CD } else { 0 };
        out[..HEADER_LEN].copy_from_slice(
            &Header {
                id: 0,
                high: RD,
                low,
                counts: [1, 0, 0, 1],
            }
            .octets(),
        );
        let end = HEADER_LEN + self.question().len();
        out[HEADER_LEN..end].copy_from_slice(self.question());
        edns::write_query_opt(out, end, self.dnssec_ok(), keepalive)
    }

    /// The octet of flags.
    pub fn flags(&self) -> u8 {
        self.octets[usize::from(self.len) - 1]
    }
}

impl PartialEq for QuestionKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_octets() == other.as_octets()
    }
}

impl Eq for QuestionKey {}

impl Hash for QuestionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_octets().hash(state);
    }
}

impl Borrow<[u8]> for QuestionKey {
    fn borrow(&self) -> &[u8] {
        self.as_octets()
    }
}

/// A key holds a query name, and debug output ends up in logs: only the type is shown.
impl std::fmt::Debug for QuestionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuestionKey")
            .field("qtype", &self.qtype().0)
            .finish_non_exhaustive()
    }
}

/// Whether an upstream query carries an empty keepalive option (RFC 7828: DoT does, DoH must not), and whether it is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// DoT.
    Ask,
    /// DoH.
    Omit,
    /// Classic DNS: no option at all. Padding hides nothing in clear text, and some server might send it back (RFC 8467).
    Bare,
}

/// The one question of a message: QNAME, QTYPE and QCLASS in wire form.
///
/// # Errors
/// [`ParseError::QuestionCount`] for none or several, else as [`name::uncompressed_len`].
pub fn read_question(message: &[u8]) -> Result<&[u8], ParseError> {
    if read_u16(message, 4)? != 1 {
        return Err(ParseError::QuestionCount);
    }
    let end = HEADER_LEN + name::uncompressed_len(message, HEADER_LEN)? + 4;
    message.get(HEADER_LEN..end).ok_or(ParseError::Short)
}

/// Whether a response carries exactly the query's question: one question, same name (ASCII case aside), type and class.
/// False for anything that cannot be read.
pub fn same_question(query: &[u8], response: &[u8]) -> bool {
    match (read_question(query), read_question(response)) {
        (Ok(asked), Ok(answered)) => is_same(asked, answered),
        _ => false,
    }
}

/// Whether two questions in wire form are the same, ASCII case of the name aside.
pub(super) fn is_same(asked: &[u8], answered: &[u8]) -> bool {
    let name_len = asked.len().saturating_sub(4);
    asked.len() == answered.len()
        && asked[..name_len].eq_ignore_ascii_case(&answered[..name_len])
        && asked[name_len..] == answered[name_len..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03WwW\x07eXample\x00\x00\x41\x00\x01";

    #[test]
    fn r4343_1_the_key_folds_the_name_and_nothing_else() {
        let key = QuestionKey::new(QUESTION, true, true).unwrap();
        assert_eq!(key.as_octets(), b"\x03www\x07example\x00\x00\x41\x00\x01\x90");
        assert_eq!((key.qtype(), key.qclass()), (RecordType(0x41), 1));
        assert_eq!(key.qname(), b"\x03www\x07example\x00");
        assert!(key.dnssec_ok() && key.checking_disabled());
        assert_ne!(key, QuestionKey::new(QUESTION, false, true).unwrap());
        assert_ne!(key, QuestionKey::new(QUESTION, true, false).unwrap());
    }

    #[test]
    fn r1035_8_nul_and_dot_in_labels_make_distinct_keys() {
        let key = |question: &[u8]| QuestionKey::new(question, false, false).unwrap();
        assert_ne!(
            key(b"\x03a.b\x00\x00\x01\x00\x01"),
            key(b"\x01a\x01b\x00\x00\x01\x00\x01")
        );
        assert_ne!(key(b"\x02\x00a\x00\x00\x01\x00\x01"), key(b"\x01a\x00\x00\x01\x00\x01"));
    }

    #[test]
    fn r8467_2_queries_are_padded_to_128_octets_with_zeros() {
        let mut out = [0xff; MAX_QUERY_LEN];
        let key = QuestionKey::new(QUESTION, true, false).unwrap();
        let len = key.write_query(Keepalive::Ask, &mut out);
        let question = b"\x03www\x07example\x00\x00\x41\x00\x01";
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x58\x00\x0b\x00\x00\x00\x0c\x00\x50";
        let mut expected = [b"\0\0\x01\x20\0\x01\0\0\0\0\0\x01".as_slice(), question, opt].concat();
        assert!(expected.len() < 128);
        expected.resize(128, 0);
        assert_eq!(out[..len], expected);
    }

    #[test]
    fn r8467_1_a_query_in_clear_text_has_no_option() {
        let mut out = [0xff; MAX_QUERY_LEN];
        let key = QuestionKey::new(QUESTION, false, true).unwrap();
        let len = key.write_query(Keepalive::Bare, &mut out);
        let question = b"\x03www\x07example\x00\x00\x41\x00\x01";
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        assert_eq!(
            out[..len],
            [b"\0\0\x01\x30\0\x01\0\0\0\0\0\x01".as_slice(), question, opt].concat()
        );
    }

    #[test]
    fn every_name_fits_and_is_a_multiple_of_the_block() {
        for labels in 0..=127usize {
            let mut question: Vec<u8> = b"\x01a".repeat(labels);
            question.extend_from_slice(b"\x00\x00\x01\x00\x01");
            let key = QuestionKey::new(&question, false, false).unwrap();
            for keepalive in [Keepalive::Ask, Keepalive::Omit] {
                let len = key.write_query(keepalive, &mut [0; MAX_QUERY_LEN]);
                assert!(len.is_multiple_of(PADDING_BLOCK) && len <= MAX_QUERY_LEN);
            }
        }
    }

    #[test]
    fn t_poi_1_another_question_is_not_the_same() {
        let message = |count: u16, question: &[u8]| {
            let header = Header {
                id: 0,
                high: 0,
                low: 0,
                counts: [count, 0, 0, 0],
            };
            [header.octets().as_slice(), question].concat()
        };
        let query = message(1, QUESTION);
        assert!(same_question(
            &query,
            &message(1, b"\x03www\x07EXAMPLE\x00\x00\x41\x00\x01")
        ));
        for other in [
            message(0, QUESTION),
            message(2, &[QUESTION, QUESTION].concat()),
            message(1, b"\x03www\x07EXAMPLE\x00\x00\x61\x00\x01"),
            message(1, b"\x03www\x07EXAMPLE\x00\x00\x41\x00\x03"),
            message(1, b"\x03wwx\x07example\x00\x00\x41\x00\x01"),
            message(1, &QUESTION[..QUESTION.len() - 1]),
            message(1, b"\xc0\x0c\x00\x41\x00\x01"),
            vec![],
        ] {
            assert!(!same_question(&query, &other));
        }
    }

    #[test]
    fn debug_output_holds_no_name() {
        let shown = format!("{:?}", QuestionKey::new(QUESTION, false, false).unwrap());
        assert!(
            !shown.contains("119") && !shown.to_lowercase().contains("www"),
            "{shown}"
        );
    }
}
