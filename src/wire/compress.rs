//! Writing names into a message, with pointers to what stands there already (RFC 1035 section 4.1.4).
//!
//! Work is bounded by the octets written: every look-up that fails is followed by writing that label.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::ParseError;
use super::edns::MAX_OPT_LEN;
use super::frame::MAX_MESSAGE_LEN;
use super::name::{self, Name};

/// Pointers have 14 bits.
const MAX_POINTER_TARGET: usize = 0x3fff;

/// Octets of a message before our own OPT, which every answer may get.
const MAX_LEN: usize = MAX_MESSAGE_LEN - MAX_OPT_LEN;

/// A message under construction.
pub(super) struct Writer {
    pub(super) octets: Vec<u8>,
    /// Hash of a lower-cased suffix -> where it stands.
    suffixes: HashMap<u64, u16>,
    /// Keyed, so that nobody outside can make suffixes collide.
    hasher: RandomState,
}

/// Whether a name may be written with pointers: owners and the RDATA of RFC 1035 types only (RFC 3597 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Allowed,
    Forbidden,
}

impl Writer {
    /// Starts with a header and a question, which stands uncompressed at its place.
    pub(super) fn new(header: &[u8], question: &[u8]) -> Self {
        let mut octets = Vec::with_capacity(512);
        octets.extend_from_slice(header);
        octets.extend_from_slice(question);
        let mut writer = Self {
            octets,
            suffixes: HashMap::new(),
            hasher: RandomState::new(),
        };
        if let Some(qname) = name::uncompressed_len(question, 0)
            .ok()
            .and_then(|len| Name::from_checked(&question[..len]))
        {
            let mut at = header.len();
            for suffix in qname.suffixes() {
                writer.remember(suffix, at);
                at += 1 + usize::from(suffix[0]);
            }
        }
        writer
    }

    /// Appends octets.
    pub(super) fn put(&mut self, octets: &[u8]) -> Result<(), ParseError> {
        if self.octets.len() + octets.len() > MAX_LEN {
            return Err(ParseError::TooLong);
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    /// Appends a name, ended by a pointer where the rest of it already stands in the message.
    pub(super) fn put_name(&mut self, name: &Name, compression: Compression) -> Result<(), ParseError> {
        for suffix in name.suffixes() {
            if compression == Compression::Allowed
                && let Some(target) = self.find(suffix)
            {
                return self.put(&(0xc000 | target).to_be_bytes());
            }
            self.remember(suffix, self.octets.len());
            self.put(&suffix[..=usize::from(suffix[0])])?;
        }
        Ok(())
    }

    fn find(&self, suffix: &[u8]) -> Option<u16> {
        if suffix.len() == 1 {
            return None;
        }
        let target = *self.suffixes.get(&self.hash(suffix))?;
        let mut pointers = name::MAX_POINTERS;
        let (standing, _) = Name::read(&self.octets, usize::from(target), &mut pointers).ok()?;
        standing.octets().eq_ignore_ascii_case(suffix).then_some(target)
    }

    fn remember(&mut self, suffix: &[u8], at: usize) {
        if at <= MAX_POINTER_TARGET
            && suffix.len() > 1
            && let Ok(at) = u16::try_from(at)
        {
            self.suffixes.entry(self.hash(suffix)).or_insert(at);
        }
    }

    fn hash(&self, suffix: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for octet in suffix {
            hasher.write_u8(octet.to_ascii_lowercase());
        }
        hasher.finish()
    }
}
