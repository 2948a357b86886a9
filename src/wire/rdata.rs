//! RDATA with names in it, by type. Names there may come compressed and must be written out (RFC 3597 section 4); all other
//! RDATA is copied octet by octet, unknown types included.

use std::ops::Range;

use super::ParseError;
use super::compress::{Compression, Writer};
use super::name::Name;
use super::record::RecordType;

/// One part of a type's RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Octets(usize),
    /// A length octet and as many octets.
    CharacterString,
    Name,
    Rest,
}

use Part::{CharacterString, Name as DomainName, Octets, Rest};

/// The layout of a type, and whether its names may be compressed when we write them (RFC 1035 types only).
fn layout(rtype: RecordType) -> (&'static [Part], Compression) {
    use Compression::{Allowed, Forbidden};
    match rtype.0 {
        1 => (&[Octets(4)], Forbidden),
        28 => (&[Octets(16)], Forbidden),
        // NS MD MF CNAME MB MG MR PTR
        2..=5 | 7..=9 | 12 => (&[DomainName], Allowed),
        6 => (&[DomainName, DomainName, Octets(20)], Allowed),
        14 => (&[DomainName, DomainName], Allowed),
        15 => (&[Octets(2), DomainName], Allowed),
        // RP
        17 => (&[DomainName, DomainName], Forbidden),
        // AFSDB RT KX
        18 | 21 | 36 => (&[Octets(2), DomainName], Forbidden),
        // SIG
        24 => (&[Octets(18), DomainName, Rest], Forbidden),
        // PX
        26 => (&[Octets(2), DomainName, DomainName], Forbidden),
        // NXT
        30 => (&[DomainName, Rest], Forbidden),
        // SRV
        33 => (&[Octets(6), DomainName], Forbidden),
        // NAPTR
        35 => (
            &[Octets(4), CharacterString, CharacterString, CharacterString, DomainName],
            Forbidden,
        ),
        // DNAME
        39 => (&[DomainName], Forbidden),
        _ => (&[Rest], Forbidden),
    }
}

/// Appends the RDATA at `rdata` in `message`, with its length before it.
///
/// # Errors
/// [`ParseError::Rdata`] if it does not fit its type's layout, [`ParseError::TooLong`] if `out` is full.
pub(super) fn copy(
    message: &[u8],
    rtype: RecordType,
    rdata: &Range<usize>,
    pointers: &mut u32,
    out: &mut Writer,
) -> Result<(), ParseError> {
    let length_at = out.octets.len();
    out.put(&[0, 0])?;
    let (parts, compression) = layout(rtype);
    let mut at = rdata.start;
    for part in parts {
        let end = match part {
            Octets(len) => at + len,
            CharacterString => at + 1 + message.get(at).map_or(0, |len| usize::from(*len)),
            Rest => rdata.end,
            DomainName => {
                let (name, end) = Name::read(message, at, pointers)?;
                out.put_name(&name, compression)?;
                at = end;
                continue;
            }
        };
        if end > rdata.end {
            return Err(ParseError::Rdata);
        }
        // A name before this may have run past the end.
        out.put(message.get(at..end).ok_or(ParseError::Rdata)?)?;
        at = end;
    }
    if at != rdata.end {
        return Err(ParseError::Rdata);
    }
    let length = u16::try_from(out.octets.len() - length_at - 2).map_err(|_| ParseError::TooLong)?;
    out.octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The times of a SOA record that negative answers live by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaTimes {
    /// The record's own TTL, in seconds.
    pub ttl: u32,
    /// Its MINIMUM field, in seconds.
    pub minimum: u32,
}

/// MINIMUM, the last four octets of a SOA (RFC 1035 section 3.3.13).
pub(super) fn soa_minimum(rdata: &[u8]) -> Result<u32, ParseError> {
    rdata
        .last_chunk::<4>()
        .map(|octets| u32::from_be_bytes(*octets))
        .ok_or(ParseError::Rdata)
}
