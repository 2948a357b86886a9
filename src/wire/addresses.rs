//! Where an answer leads: addresses in A and AAAA records and as hints of service bindings, and the targets of aliases.

use std::net::IpAddr;

use super::answer::Answer;
use super::name::{MAX_POINTERS, Name};
use super::record::RecordType;
use super::{name, read_u16};

/// SvcParamKeys of `ipv4hint` and `ipv6hint` (RFC 9460 section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

impl<O: AsRef<[u8]>> Answer<O> {
    /// All addresses, in the order of the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().flat_map(|(rtype, rdata)| match rtype {
            RecordType::A => read::<4>(rdata),
            RecordType::AAAA => read::<16>(rdata),
            RecordType::HTTPS | RecordType::SVCB => hints(rdata),
            _ => Vec::new(),
        })
    }
}

/// Names that an answer goes on to.
impl<O: AsRef<[u8]>> Answer<O> {
    /// The targets of its CNAMEs, canonical, in wire form.
    pub fn aliases(&self) -> Vec<Vec<u8>> {
        let targets = self.records_at().filter(|(rtype, _)| *rtype == RecordType::CNAME);
        let canonical = |at: usize| {
            let mut pointers = MAX_POINTERS;
            let (name, _) = Name::read(self.message(), at, &mut pointers).ok()?;
            Some(name.octets().to_ascii_lowercase())
        };
        targets.filter_map(|(_, at)| canonical(at)).collect()
    }
}

/// Addresses of one length, one after the other; a rest that is none is left out.
fn read<const LEN: usize>(octets: &[u8]) -> Vec<IpAddr>
where
    IpAddr: From<[u8; LEN]>,
{
    octets
        .as_chunks::<LEN>()
        .0
        .iter()
        .map(|octets| IpAddr::from(*octets))
        .collect()
}

/// SvcPriority, TargetName, SvcParams (RFC 9460 section 2.2). Reading ends where it cannot be read.
fn hints(rdata: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Some(mut at) = name::skip(rdata, 2).ok() else {
        return found;
    };
    while let (Ok(key), Ok(len)) = (read_u16(rdata, at), read_u16(rdata, at + 2)) {
        let value = at + 4..at + 4 + usize::from(len);
        let Some(octets) = rdata.get(value.clone()) else { break };
        match key {
            IPV4_HINT => found.extend(read::<4>(octets)),
            IPV6_HINT => found.extend(read::<16>(octets)),
            _ => {}
        }
        at = value.end;
    }
    found
}
