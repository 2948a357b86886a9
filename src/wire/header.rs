//! The twelve octets at the front of a message, RCODEs and opcodes (RFC 1035 section 4.1.1, RFC 6895).

use std::fmt;

use super::{ParseError, read_u16};

/// Octets of a header.
pub const HEADER_LEN: usize = 12;

/// QR, in the third octet: this is a response.
pub const QR: u8 = 0x80;
/// TC, in the third octet: truncated.
pub const TC: u8 = 0x02;
/// RD, in the third octet: recursion desired.
pub const RD: u8 = 0x01;
/// RA, in the fourth octet: recursion available.
pub const RA: u8 = 0x80;
/// AD, in the fourth octet: authentic data (RFC 4035 section 3.2.3).
pub const AD: u8 = 0x20;
/// CD, in the fourth octet: checking disabled (RFC 4035 section 3.2.2).
pub const CD: u8 = 0x10;
/// The opcode's bits in the third octet; 0 is QUERY.
pub const OPCODE: u8 = 0x78;

/// A header, copied out of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message ID.
    pub id: u16,
    /// QR, opcode, AA, TC, RD.
    pub high: u8,
    /// RA, Z, AD, CD, RCODE.
    pub low: u8,
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT as claimed.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ParseError::Short`] under twelve octets.
    pub fn read(message: &[u8]) -> Result<Self, ParseError> {
        let octets = message.first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        Ok(Self {
            id: read_u16(octets, 0)?,
            high: octets[2],
            low: octets[3],
            counts: [
                read_u16(octets, 4)?,
                read_u16(octets, 6)?,
                read_u16(octets, 8)?,
                read_u16(octets, 10)?,
            ],
        })
    }

    /// The header as octets.
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        octets[..2].copy_from_slice(&self.id.to_be_bytes());
        octets[2] = self.high;
        octets[3] = self.low;
        for (field, count) in octets[4..].chunks_exact_mut(2).zip(self.counts) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        octets
    }

    /// Whether QR is set.
    pub fn is_response(&self) -> bool {
        self.high & QR != 0
    }

    /// Whether the opcode is QUERY.
    pub fn is_query_opcode(&self) -> bool {
        self.high & OPCODE == 0
    }
}

/// A response code; extended codes (above 15) have their upper bits in the OPT record (RFC 6895 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The message could not be read.
    pub const FORMERR: Self = Self(1);
    /// The answer could not be had.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// Opcode not implemented.
    pub const NOTIMP: Self = Self(4);
    /// Refused by policy.
    pub const REFUSED: Self = Self(5);
    /// A name that should not exist does: a DNAME made it too long (RFC 6672).
    pub const YXDOMAIN: Self = Self(6);
    /// EDNS version not supported (RFC 6891).
    pub const BADVERS: Self = Self(16);

    /// The lower four bits, which go into the header.
    pub fn header_bits(self) -> u8 {
        (self.0 & 0x0f).to_be_bytes()[1]
    }

    /// The upper eight bits, which go into the OPT record.
    pub fn opt_bits(self) -> u8 {
        (self.0 >> 4).to_be_bytes()[1]
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RCODE_NAMES.iter().find(|(code, _)| *code == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

/// RCODEs by the names IANA gives them (DNS parameters registry).
pub const RCODE_NAMES: [(u16, &str); 20] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_reading_and_writing() {
        let octets = [0xab, 0xcd, 0x81, 0xb3, 0, 1, 0, 2, 0, 3, 0xff, 0xff];
        assert_eq!(Header::read(&octets).unwrap().octets(), octets);
        assert_eq!(Header::read(&octets[..11]), Err(ParseError::Short));
    }

    #[test]
    fn extended_rcodes_are_split_between_header_and_opt() {
        assert_eq!((Rcode::BADVERS.header_bits(), Rcode::BADVERS.opt_bits()), (0, 1));
        assert_eq!((Rcode(23).header_bits(), Rcode(23).opt_bits()), (7, 1));
        assert_eq!(
            (Rcode::BADVERS.to_string(), Rcode(12).to_string()),
            ("BADVERS".into(), "RCODE12".into())
        );
    }
}
