//! Resource records as they stand in a message (RFC 1035 section 4.1.3), and record types by number.

use std::ops::Range;

use super::{ParseError, name, read_u16, read_u32};

/// A record type or QTYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

impl RecordType {
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// Name server.
    pub const NS: Self = Self(2);
    /// Canonical name.
    pub const CNAME: Self = Self(5);
    /// Start of authority.
    pub const SOA: Self = Self(6);
    /// Name of an address.
    pub const PTR: Self = Self(12);
    /// Host information; carries the answer to ANY (RFC 8482).
    pub const HINFO: Self = Self(13);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Redirection of a subtree (RFC 6672).
    pub const DNAME: Self = Self(39);
    /// EDNS (RFC 6891).
    pub const OPT: Self = Self(41);
    /// Signature (RFC 4034).
    pub const RRSIG: Self = Self(46);
    /// Denial of existence (RFC 4034).
    pub const NSEC: Self = Self(47);
    /// Service binding (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// Service binding of HTTPS (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// Digest of a child's key (RFC 4034).
    pub const DS: Self = Self(43);
    /// Keys of a zone (RFC 4034).
    pub const DNSKEY: Self = Self(48);
    /// Hashed denial of existence (RFC 5155).
    pub const NSEC3: Self = Self(50);
    /// NXNAME, only in bitmaps (RFC 9824).
    pub const NXNAME: Self = Self(128);
    /// TKEY (RFC 2930).
    pub const TKEY: Self = Self(249);
    /// TSIG (RFC 8945).
    pub const TSIG: Self = Self(250);
    /// Incremental zone transfer.
    pub const IXFR: Self = Self(251);
    /// Zone transfer.
    pub const AXFR: Self = Self(252);
    /// Mailbox records, obsolete.
    pub const MAILB: Self = Self(253);
    /// Mail agent records, obsolete.
    pub const MAILA: Self = Self(254);
    /// Any type (RFC 8482).
    pub const ANY: Self = Self(255);
}

/// The Internet class.
pub const CLASS_IN: u16 = 1;

/// One record's place in its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the owner name begins; read it with [`name::Name::read`].
    pub owner_at: usize,
    /// TYPE.
    pub rtype: RecordType,
    /// CLASS; the payload size in an OPT.
    pub class: u16,
    /// TTL in seconds as it stands; flags in an OPT.
    pub ttl: u32,
    /// RDATA.
    pub rdata: Range<usize>,
}

impl Record {
    /// Reads the record at `at`; its end is `rdata.end`.
    ///
    /// # Errors
    /// [`ParseError::Short`] and those of [`name::skip`]; pointers are not followed yet.
    pub fn read(message: &[u8], at: usize) -> Result<Self, ParseError> {
        let fixed = name::skip(message, at)?;
        let start = fixed + 10;
        let end = start + usize::from(read_u16(message, fixed + 8)?);
        if end > message.len() {
            return Err(ParseError::Short);
        }
        Ok(Self {
            owner_at: at,
            rtype: RecordType(read_u16(message, fixed)?),
            class: read_u16(message, fixed + 2)?,
            ttl: read_u32(message, fixed + 4)?,
            rdata: start..end,
        })
    }

    /// The type a signature covers (RFC 4034 section 3.1.1); `None` for other types and cut signatures.
    pub fn covered(&self, message: &[u8]) -> Option<RecordType> {
        (self.rtype == RecordType::RRSIG && self.rdata.len() >= 2)
            .then(|| read_u16(message, self.rdata.start).ok().map(RecordType))
            .flatten()
    }
}
