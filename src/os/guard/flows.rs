//! Flows that the kernel remembers (ctnetlink): one that began before the guard is not led to tacenda, since it was decided where it goes. It
//! is refused; forgotten, it is led like a new one.

use std::io;
use std::time::Duration;

use crate::os::socket::netlink::{
    Messages, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, Socket, attribute, message, push_attribute, u32_at,
};

/// Forgets every flow to port 53. Gives back how many; best effort, since what is left is refused.
///
/// # Errors
/// The kernel's own, `EOPNOTSUPP` or `EINVAL` where it remembers none or cannot tell.
pub(super) fn forget() -> io::Result<usize> {
    let socket = Socket::of(libc::NETLINK_NETFILTER)?;
    socket.set_read_timeout(TIMEOUT)?;
    let flows = to_forget(&socket)?;
    for flow in &flows {
        // One that ended by itself meanwhile is as good.
        socket.send(flow)?;
    }
    Ok(flows.len())
}

/// A message for each, that has the kernel forget it.
fn to_forget(socket: &Socket) -> io::Result<Vec<Vec<u8>>> {
    socket.send(&message(
        GET,
        NLM_F_REQUEST | NLM_F_DUMP,
        SEQUENCE,
        &[libc::AF_UNSPEC.to_ne_bytes()[0], 0, 0, 0],
    ))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER_LEN];
    for _ in 0..MAX_DATAGRAMS {
        let len = socket.receive(&mut buffer)?;
        for answer in Messages::new(&buffer[..len]) {
            match answer.kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    let code = u32_at(answer.body, 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ if found.len() < MAX_FLOWS => found.extend(forgetting(answer.body)),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The message that has the kernel forget this flow, if it goes to port 53.
fn forgetting(flow: &[u8]) -> Option<Vec<u8>> {
    let (family, attributes) = (flow.get(..4)?, flow.get(4..)?);
    let original = attribute(attributes, CTA_TUPLE_ORIG)?;
    let port = attribute(attribute(original, CTA_TUPLE_PROTO)?, CTA_PROTO_DST_PORT)?;
    if *port != DNS_PORT.to_be_bytes() {
        return None;
    }
    let mut body = family.to_vec();
    push_attribute(&mut body, CTA_TUPLE_ORIG | NLA_F_NESTED, original);
    if let Some(zone) = attribute(attributes, CTA_ZONE) {
        push_attribute(&mut body, CTA_ZONE, zone);
    }
    Some(message(DELETE, NLM_F_REQUEST, SEQUENCE, &body))
}

/// The kernel answers within the call that asks; this is for the day it does not.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A host has some hundred flows, a router a quarter of a million; each datagram holds some fifty.
const MAX_DATAGRAMS: usize = 16 << 10;

/// Of port 53 alone; the rest is refused until it ends.
const MAX_FLOWS: usize = 16 << 10;

/// What the kernel fills at once.
const BUFFER_LEN: usize = 32 << 10;

/// Any number: the socket carries one question.
const SEQUENCE: u32 = 1;

const DNS_PORT: u16 = 53;

const NLM_F_DUMP: u16 = 0x300;
const NLA_F_NESTED: u16 = 0x8000;
/// linux/netfilter/nfnetlink_conntrack.h, with the subsystem.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ZONE: u16 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Vec<u8> {
        let nested = |kind: u16, inner: &[(u16, &[u8])]| {
            let mut body = Vec::new();
            for (kind, value) in inner {
                push_attribute(&mut body, *kind, value);
            }
            let mut outer = Vec::new();
            push_attribute(&mut outer, kind | NLA_F_NESTED, &body);
            outer
        };
        let protocol = nested(
            CTA_TUPLE_PROTO,
            &[(1, &[17]), (2, &[1, 2]), (CTA_PROTO_DST_PORT, &port.to_be_bytes())],
        );
        let mut tuple = Vec::new();
        push_attribute(&mut tuple, CTA_TUPLE_ORIG | NLA_F_NESTED, &protocol);
        [&[2, 0, 0, 0][..], &tuple].concat()
    }

    #[test]
    fn only_flows_to_port_53_are_forgotten() {
        for port in [52, 54, 443, 53 << 8] {
            assert_eq!(forgetting(&flow(port)), None, "{port}");
        }
        let found = forgetting(&flow(53)).unwrap();
        // Named by its own tuple, octet by octet.
        assert!(found.ends_with(&flow(53)[4..]), "{found:?}");
        assert_eq!(found[4..6], DELETE.to_ne_bytes());
    }

    #[test]
    fn what_is_cut_off_is_no_flow() {
        let whole = flow(53);
        for cut in 0..whole.len() {
            assert_eq!(forgetting(&whole[..cut]), None, "cut to {cut}");
        }
    }
}
