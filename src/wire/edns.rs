//! EDNS(0): the OPT record and its options (RFC 6891), extended DNS errors (RFC 8914), keepalive (RFC 7828).

use std::time::Duration;

use super::header::{HEADER_LEN, Header, Rcode};
use super::question::{Keepalive, PADDING_BLOCK};
use super::record::{Record, RecordType};
use super::{ParseError, name};

/// The UDP payload size we offer and never exceed (DNS flag day 2020; avoids fragments).
pub const UDP_PAYLOAD_SIZE: u16 = 1232;

/// Options looked at in one OPT; the rest is ignored (CVE-2026-41292).
pub const MAX_OPTIONS: usize = 32;

/// Octets of an OPT without options.
pub const OPT_LEN: usize = 11;

/// Octets of the longest OPT of ours: two reasons and a keepalive time.
pub(super) const MAX_OPT_LEN: usize = OPT_LEN + 3 * 6;

const OPTION_KEEPALIVE: u16 = 11;
const OPTION_PADDING: u16 = 12;
const OPTION_EDE: u16 = 15;
const DNSSEC_OK: u32 = 0x8000;

/// What we read of a client's OPT record. Everything else in it (cookies, client subnet, unknown options) stays unread:
/// it is hop by hop and never leaves this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP payload the client takes, as it said it (below 512 means 512, RFC 6891 section 6.2.3).
    pub udp_payload_size: u16,
    /// The version the sender speaks; 0 is the only one there is.
    pub version: u8,
    /// Upper bits of the extended RCODE.
    pub rcode_bits: u8,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// The client asked for a TCP keepalive time (RFC 7828).
    pub asks_keepalive: bool,
    /// The first extended DNS error, if any (RFC 8914); its text is untrusted and stays unread.
    pub ede: Option<Ede>,
}

impl Edns {
    /// Reads an OPT record.
    ///
    /// # Errors
    /// [`ParseError::MisplacedOpt`] if it has an owner name, [`ParseError::OptOption`] if an option runs past it.
    pub fn read(message: &[u8], opt: &Record) -> Result<Self, ParseError> {
        if message.get(opt.owner_at) != Some(&0) {
            return Err(ParseError::MisplacedOpt);
        }
        let [rcode_bits, version, _, _] = opt.ttl.to_be_bytes();
        let mut edns = Self {
            udp_payload_size: opt.class,
            version,
            rcode_bits,
            dnssec_ok: opt.ttl & DNSSEC_OK != 0,
            asks_keepalive: false,
            ede: None,
        };
        for option in options(&message[opt.rdata.clone()]) {
            match option? {
                (OPTION_KEEPALIVE, _) => edns.asks_keepalive = true,
                (OPTION_EDE, [high, low, ..]) if edns.ede.is_none() => {
                    edns.ede = Some(Ede(u16::from_be_bytes([*high, *low])));
                }
                _ => {}
            }
        }
        Ok(edns)
    }
}

/// The first [`MAX_OPTIONS`] options of an OPT's RDATA.
fn options(rdata: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), ParseError>> {
    let mut rest = rdata;
    let next = move || {
        if rest.is_empty() {
            return None;
        }
        let option = split_option(rest);
        rest = option.map_or(&[], |(_, _, behind)| behind);
        Some(
            option
                .map(|(code, value, _)| (code, value))
                .ok_or(ParseError::OptOption),
        )
    };
    std::iter::from_fn(next).take(MAX_OPTIONS)
}

fn split_option(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[c1, c2, l1, l2], rest) = octets.split_first_chunk::<4>()?;
    let (value, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([l1, l2])))?;
    Some((u16::from_be_bytes([c1, c2]), value, behind))
}

/// The OPT that we put into a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseOpt {
    /// The response's code; its upper bits go here.
    pub rcode: Rcode,
    /// DO, copied from the query (RFC 3225 section 3).
    pub dnssec_ok: bool,
    /// Why, for a client that can show it; two at most, such as "cached" and what it was at first.
    pub ede: [Option<Ede>; 2],
    /// TCP idle time in units of 100 milliseconds.
    pub keepalive: Option<u16>,
}

impl ResponseOpt {
    /// Octets it takes.
    pub fn encoded_len(&self) -> usize {
        OPT_LEN + 6 * self.options().into_iter().flatten().count()
    }

    /// Writes it to the front of `out` and returns its length, 0 if it does not fit.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let len = self.encoded_len();
        let Some(out) = out.get_mut(..len) else { return 0 };
        let flags = if self.dnssec_ok { DNSSEC_OK } else { 0 } | u32::from(self.rcode.opt_bits()) << 24;
        write_opt_head(out, flags, len - OPT_LEN);
        let mut at = OPT_LEN;
        for (code, value) in self.options().into_iter().flatten() {
            out[at..at + 2].copy_from_slice(&code.to_be_bytes());
            out[at + 2..at + 4].copy_from_slice(&2u16.to_be_bytes());
            out[at + 4..at + 6].copy_from_slice(&value.to_be_bytes());
            at += 6;
        }
        len
    }

    /// Code and value of each option; all of ours have two octets of data.
    fn options(&self) -> [Option<(u16, u16)>; 3] {
        let [first, second] = self.ede.map(|ede| ede.map(|ede| (OPTION_EDE, ede.0)));
        [first, second, self.keepalive.map(|timeout| (OPTION_KEEPALIVE, timeout))]
    }
}

/// Writes the OPT of an upstream query at the end of a message of `at` octets: DO, an empty keepalive option over DoT
/// (RFC 7828), and zeros up to a multiple of [`PADDING_BLOCK`] octets (RFC 7830, RFC 8467) unless they hide nothing. Returns the
/// message's new length.
pub(super) fn write_query_opt(out: &mut [u8], at: usize, dnssec_ok: bool, keepalive: Keepalive) -> usize {
    let options_at = at + OPT_LEN;
    let flags = if dnssec_ok { DNSSEC_OK } else { 0 };
    if keepalive == Keepalive::Bare {
        write_opt_head(&mut out[at..options_at], flags, 0);
        return options_at;
    }
    let padding_at = options_at + if keepalive == Keepalive::Ask { 4 } else { 0 };
    let end = (padding_at + 4).next_multiple_of(PADDING_BLOCK);
    out[at..end].fill(0);
    write_opt_head(&mut out[at..], flags, end - options_at);
    if keepalive == Keepalive::Ask {
        out[options_at..options_at + 2].copy_from_slice(&OPTION_KEEPALIVE.to_be_bytes());
    }
    out[padding_at..padding_at + 2].copy_from_slice(&OPTION_PADDING.to_be_bytes());
    let padding_len = u16::try_from(end - padding_at - 4).unwrap_or(0);
    out[padding_at + 2..padding_at + 4].copy_from_slice(&padding_len.to_be_bytes());
    end
}

fn write_opt_head(out: &mut [u8], flags: u32, options_len: usize) {
    out[0] = 0;
    out[1..3].copy_from_slice(&RecordType::OPT.0.to_be_bytes());
    out[3..5].copy_from_slice(&UDP_PAYLOAD_SIZE.to_be_bytes());
    out[5..9].copy_from_slice(&flags.to_be_bytes());
    out[9..11].copy_from_slice(&u16::try_from(options_len).unwrap_or(0).to_be_bytes());
}

/// An extended DNS error's info code (RFC 8914 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ede(pub u16);

impl Ede {
    /// Other.
    pub const OTHER: Self = Self(0);
    /// Stale answer: past its end, because no newer one could be had (RFC 8767).
    pub const STALE_ANSWER: Self = Self(3);
    /// Cached error.
    pub const CACHED_ERROR: Self = Self(13);
    /// Blocked: withheld by a rule of ours.
    pub const BLOCKED: Self = Self(15);
    /// Prohibited: the client is not in the allow list.
    pub const PROHIBITED: Self = Self(18);
    /// Stale NXDOMAIN answer: like [`Ede::STALE_ANSWER`], for a name that did not exist.
    pub const STALE_NXDOMAIN_ANSWER: Self = Self(19);
    /// Not authoritative: asked without RD for what is not in the cache.
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    /// Not supported.
    pub const NOT_SUPPORTED: Self = Self(21);
    /// No reachable authority: the upstream stayed silent.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// Network error: TLS, connect or HTTP failed.
    pub const NETWORK_ERROR: Self = Self(23);
    /// Invalid data from the upstream.
    pub const INVALID_DATA: Self = Self(24);
    /// Synthesized.
    pub const SYNTHESIZED: Self = Self(29);
    /// Invalid query type.
    pub const INVALID_QUERY_TYPE: Self = Self(30);

    /// Whether the code says that DNSSEC validation failed: another resolver would find the same (RFC 8914 section 4,
    /// RFC 9276).
    pub fn is_validation_failure(self) -> bool {
        matches!(self.0, 1 | 2 | 5..=12 | 25 | 27)
    }
}

/// The idle time a DoT server grants in its answer's keepalive option (RFC 7828), `None` when absent or malformed.
/// Zero means: close when done.
pub fn keepalive_timeout(response: &[u8]) -> Option<Duration> {
    let opt = find_opt(response)?;
    options(&response[opt.rdata]).flatten().find_map(|(code, value)| {
        let timeout = u16::from_be_bytes(value.try_into().ok()?);
        (code == OPTION_KEEPALIVE).then(|| Duration::from_millis(100 * u64::from(timeout)))
    })
}

fn find_opt(response: &[u8]) -> Option<Record> {
    let header = Header::read(response).ok()?;
    let [questions, answers, authority, additional] = header.counts.map(usize::from);
    let mut at = HEADER_LEN;
    for _ in 0..questions {
        at = name::skip(response, at).ok()? + 4;
    }
    for index in 0..answers + authority + additional {
        let record = Record::read(response, at).ok()?;
        at = record.rdata.end;
        if record.rtype == RecordType::OPT && index >= answers + authority {
            return Some(record);
        }
    }
    None
}
