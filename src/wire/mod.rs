//! Octets: reading queries and responses, writing answers and errors.
//!
//! Sans-IO and `std` only. Total: every input ends in a value or a named [`ParseError`]; the costliest 64 KiB response known takes
//! about 10 ms, once. A query is read without allocating. Nothing believes a count or a length before it has seen the octets.

use std::fmt;

mod addresses;
pub mod answer;
mod chain;
mod check;
mod compress;
pub mod domains;
pub mod edns;
pub mod frame;
pub mod header;
pub mod name;
pub mod query;
pub mod question;
pub mod rdata;
pub mod record;
pub mod synth;
#[cfg(test)]
pub(crate) mod testkit;

/// Why a message could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// A header, name, record or option runs past the end, or a count promises more than there is.
    Short,
    /// Octets after the last record.
    TrailingOctets,
    /// A label of type 01 or 10, or a pointer where none is allowed.
    LabelType,
    /// A name of more than 255 octets.
    NameTooLong,
    /// A compression pointer that does not point backwards.
    Pointer,
    /// More compression pointers than any honest message needs.
    PointerWork,
    /// QR or opcode say that this is not a response to a query.
    NotAResponse,
    /// Not exactly one question.
    QuestionCount,
    /// The question is not the one that was asked.
    WrongQuestion,
    /// TC is set where the transport has room for everything.
    Truncated,
    /// RDATA does not fit its type.
    Rdata,
    /// An OPT record outside the additional section, or with an owner name, or a second one (RFC 6891 section 6.1.1).
    MisplacedOpt,
    /// An EDNS option runs past its record.
    OptOption,
    /// CNAMEs go in a circle.
    ChainLoop,
    /// More CNAMEs than anybody follows, or two at one owner.
    Chain,
    /// Records in the answer section, but none for the question.
    UnrelatedAnswer,
    /// NXDOMAIN together with the records that were asked for.
    Contradiction,
    /// The SOA of a negative response is not of a zone above the name (RFC 2308 section 5).
    ForeignSoa,
    /// Too long once its names were written out.
    TooLong,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "message ends too early",
            Self::TrailingOctets => "octets after the last record",
            Self::LabelType => "unknown label type",
            Self::NameTooLong => "name over 255 octets",
            Self::Pointer => "compression pointer does not point backwards",
            Self::PointerWork => "too many compression pointers",
            Self::NotAResponse => "not a response to a query",
            Self::QuestionCount => "not exactly one question",
            Self::WrongQuestion => "response to another question",
            Self::Truncated => "truncated over a stream transport",
            Self::Rdata => "record data does not fit its type",
            Self::MisplacedOpt => "misplaced or second OPT record",
            Self::OptOption => "EDNS option runs past its record",
            Self::ChainLoop => "CNAME loop",
            Self::Chain => "CNAME chain too long or forked",
            Self::UnrelatedAnswer => "no record for the question",
            Self::Contradiction => "NXDOMAIN with an answer",
            Self::ForeignSoa => "SOA of a zone that is not above the name",
            Self::TooLong => "message over 65535 octets when decompressed",
        })
    }
}

impl std::error::Error for ParseError {}

/// Two octets at `at` in network order.
fn read_u16(message: &[u8], at: usize) -> Result<u16, ParseError> {
    let octets = message
        .get(at..)
        .and_then(<[u8]>::first_chunk::<2>)
        .ok_or(ParseError::Short)?;
    Ok(u16::from_be_bytes(*octets))
}

/// Four octets at `at` in network order.
fn read_u32(message: &[u8], at: usize) -> Result<u32, ParseError> {
    let octets = message
        .get(at..)
        .and_then(<[u8]>::first_chunk::<4>)
        .ok_or(ParseError::Short)?;
    Ok(u32::from_be_bytes(*octets))
}
