//! Domain names in wire form (RFC 1035 section 3.1 and 4.1.4). Labels are octets: NUL, dot and 0x80 and above are ordinary
//! (RFC 2181 section 11), and only A-Z fold (RFC 4343).

use super::ParseError;

/// Octets of the longest name, root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME_LEN: usize = 255;

/// Compression pointers followed per message. An honest message of 65,535 octets has at most 4,096 address records
/// (16 octets each) with a pointer or two for each name; eight for each leaves room. Chained pointers without this bound
/// cost quadratic time (CVE-2026-96405).
pub const MAX_POINTERS: u32 = 32_768;

/// An uncompressed name in the letter case in which it came.
#[derive(Clone, Copy)]
pub struct Name {
    octets: [u8; MAX_NAME_LEN],
    len: u8,
}

/// Holds a name, and debug output ends up in logs.
impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Name").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Name {
    /// Reads the name at `at`, following pointers; returns it and the position behind it.
    /// `pointers` is what is left of [`MAX_POINTERS`] for this message.
    ///
    /// # Errors
    /// As the variants of [`ParseError`] about names say. Each pointer must point before the labels it continues, so a loop
    /// cannot be built.
    pub fn read(message: &[u8], at: usize, pointers: &mut u32) -> Result<(Self, usize), ParseError> {
        let mut name = Self {
            octets: [0; MAX_NAME_LEN],
            len: 0,
        };
        let mut position = at;
        let mut segment_start = at;
        let mut end = None;
        loop {
            let length = *message.get(position).ok_or(ParseError::Short)?;
            match length {
                0 => {
                    name.push(&[0])?;
                    return Ok((name, end.unwrap_or(position + 1)));
                }
                1..=0x3f => {
                    let next = position + 1 + usize::from(length);
                    name.push(message.get(position..next).ok_or(ParseError::Short)?)?;
                    position = next;
                }
                0xc0.. => {
                    let low = *message.get(position + 1).ok_or(ParseError::Short)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if target >= segment_start {
                        return Err(ParseError::Pointer);
                    }
                    *pointers = pointers.checked_sub(1).ok_or(ParseError::PointerWork)?;
                    end.get_or_insert(position + 2);
                    position = target;
                    segment_start = target;
                }
                _ => return Err(ParseError::LabelType),
            }
        }
    }

    /// A name from uncompressed octets that were checked before.
    pub fn from_checked(octets: &[u8]) -> Option<Self> {
        let mut name = Self {
            octets: [0; MAX_NAME_LEN],
            len: 0,
        };
        name.push(octets).ok()?;
        Some(name)
    }

    /// The name's octets, the root label at the end.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Whether both are the same name, ASCII case aside. Length octets are below 64 and no letters, so one pass does.
    pub fn is(&self, other: &Self) -> bool {
        self.octets().eq_ignore_ascii_case(other.octets())
    }

    /// Whether this name is `ancestor` or below it.
    pub fn is_at_or_below(&self, ancestor: &Self) -> bool {
        let (own, above) = (self.octets(), ancestor.octets());
        own.len()
            .checked_sub(above.len())
            .is_some_and(|at| own[at..].eq_ignore_ascii_case(above) && self.suffixes().any(|s| s.len() == above.len()))
    }

    /// The name itself, its parent, and so on to the root.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        suffixes(self.octets())
    }

    fn push(&mut self, octets: &[u8]) -> Result<(), ParseError> {
        let start = usize::from(self.len);
        let end = start + octets.len();
        self.octets
            .get_mut(start..end)
            .ok_or(ParseError::NameTooLong)?
            .copy_from_slice(octets);
        self.len = u8::try_from(end).map_err(|_| ParseError::NameTooLong)?;
        Ok(())
    }
}

/// An uncompressed name, its parent, and so on to the root.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let suffix = rest?;
        let length = usize::from(*suffix.first()?);
        rest = if length == 0 { None } else { suffix.get(1 + length..) };
        Some(suffix)
    })
}

/// Octets of the uncompressed name at `at`. For questions: nothing comes before them that a pointer could point to.
///
/// # Errors
/// [`ParseError::LabelType`] for a pointer, else as [`Name::read`].
pub fn uncompressed_len(message: &[u8], at: usize) -> Result<usize, ParseError> {
    let mut position = at;
    loop {
        let length = *message.get(position).ok_or(ParseError::Short)?;
        if length > 0x3f {
            return Err(ParseError::LabelType);
        }
        position += 1 + usize::from(length);
        if position - at > MAX_NAME_LEN {
            return Err(ParseError::NameTooLong);
        }
        if length == 0 {
            return Ok(position - at);
        }
    }
}

/// The position behind the name at `at`; pointers are not followed.
///
/// # Errors
/// [`ParseError::Short`], [`ParseError::LabelType`] or [`ParseError::NameTooLong`].
pub fn skip(message: &[u8], at: usize) -> Result<usize, ParseError> {
    let mut position = at;
    loop {
        let length = *message.get(position).ok_or(ParseError::Short)?;
        position = match length {
            0 => return Ok(position + 1),
            1..=0x3f => position + 1 + usize::from(length),
            0xc0.. if position + 1 < message.len() => return Ok(position + 2),
            0xc0.. => return Err(ParseError::Short),
            _ => return Err(ParseError::LabelType),
        };
        if position - at >= MAX_NAME_LEN {
            return Err(ParseError::NameTooLong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8], at: usize) -> Result<(Vec<u8>, usize), ParseError> {
        let mut pointers = MAX_POINTERS;
        Name::read(message, at, &mut pointers).map(|(name, end)| (name.octets().to_vec(), end))
    }

    #[test]
    fn pointers_lead_back() {
        let message = b"\x03www\x07example\x00\x01a\xc0\x04";
        assert_eq!(read(message, 13), Ok((b"\x01a\x07example\x00".to_vec(), 17)));
        assert_eq!(skip(message, 13), Ok(17));
        assert_eq!(uncompressed_len(message, 0), Ok(13));
        assert_eq!(uncompressed_len(message, 13), Err(ParseError::LabelType));
    }

    #[test]
    fn r1035_5_bad_names_are_refused_by_name() {
        assert_eq!(read(b"\xc0\x00", 0), Err(ParseError::Pointer), "to itself");
        assert_eq!(
            read(b"\x01a\xc0\x00", 0),
            Err(ParseError::Pointer),
            "into its own labels"
        );
        assert_eq!(read(b"\xc0\x02\x00", 0), Err(ParseError::Pointer), "forwards");
        assert_eq!(read(b"\x41a\x00", 0), Err(ParseError::LabelType));
        assert_eq!(read(b"\x80a\x00", 0), Err(ParseError::LabelType));
        assert_eq!(read(b"\x03ww", 0), Err(ParseError::Short));
        assert_eq!(read(b"\x03www", 0), Err(ParseError::Short));
        assert_eq!(read(b"\xc0", 0), Err(ParseError::Short));
        assert_eq!(skip(b"\xc0", 0), Err(ParseError::Short));
        assert_eq!(skip(b"\x41a\x00", 0), Err(ParseError::LabelType));
    }

    #[test]
    fn r1035_9_255_octets_fit_and_256_do_not() {
        let mut longest: Vec<u8> = b"\x01a".repeat(127);
        longest.push(0);
        assert_eq!(longest.len(), 255);
        assert_eq!(read(&longest, 0).map(|(_, end)| end), Ok(255));
        assert_eq!((uncompressed_len(&longest, 0), skip(&longest, 0)), (Ok(255), Ok(255)));
        let longer = [b"\x01a".as_slice(), &longest].concat();
        assert_eq!(read(&longer, 0), Err(ParseError::NameTooLong));
        assert_eq!(uncompressed_len(&longer, 0), Err(ParseError::NameTooLong));
        assert_eq!(skip(&longer, 0), Err(ParseError::NameTooLong));
        assert_eq!(read(b"\x00", 0), Ok((vec![0], 1)));
    }

    #[test]
    fn t_ptr_pointer_work_is_bounded_per_message() {
        let mut chain = b"\x01a\x00".to_vec();
        for i in 0..100u16 {
            let target = if i == 0 { 0 } else { 3 + 2 * (i - 1) };
            chain.extend_from_slice(&(0xc000 | target).to_be_bytes());
        }
        let last = chain.len() - 2;
        let mut pointers = 150;
        assert!(Name::read(&chain, last, &mut pointers).is_ok());
        assert_eq!(pointers, 50);
        assert_eq!(
            Name::read(&chain, last, &mut pointers).map(|_| ()),
            Err(ParseError::PointerWork)
        );
    }

    #[test]
    fn r4343_1_only_ascii_letters_fold() {
        let name = |octets: &[u8]| Name::from_checked(octets).unwrap();
        assert!(name(b"\x02aZ\x00").is(&name(b"\x02Az\x00")));
        assert!(!name(b"\x01[\x00").is(&name(b"\x01{\x00")));
        assert!(!name(b"\x01\xc4\x00").is(&name(b"\x01\xe4\x00")));
        assert!(!name(b"\x03a.b\x00").is(&name(b"\x01a\x01b\x00")));
        assert!(name(b"\x01a\x02bc\x00").is_at_or_below(&name(b"\x02BC\x00")));
        assert!(name(b"\x02bc\x00").is_at_or_below(&name(b"\x00")));
        assert!(!name(b"\x02bc\x00").is_at_or_below(&name(b"\x01c\x00")));
    }
}
