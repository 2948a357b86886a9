//! Which rtnetlink messages are changes. Pure: octets in, a verdict out.
//!
//! Kernels repeat themselves: a scan for wireless networks and every router advertisement send link and address messages that
//! say nothing new. So the last state of each link and address is kept and compared; whatever is not understood is a change.

use std::collections::HashMap;

use crate::os::socket::netlink::{Messages, NLMSG_DONE, NLMSG_NOOP, attribute, u32_at};

/// The last state of links and addresses.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// Flags of each interface.
    links: HashMap<u32, u32>,
    /// Flags of each address.
    addresses: HashMap<Address, u8>,
}

/// An address on an interface.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Address {
    interface: u32,
    prefix_len: u8,
    octets: Vec<u8>,
}

impl Sieve {
    /// Whether a datagram of rtnetlink messages says anything new. Broken ones count as news.
    pub(super) fn is_news(&mut self, datagram: &[u8]) -> bool {
        let mut messages = Messages::new(datagram);
        let mut news = false;
        for message in &mut messages {
            // Each one is looked at, so that its state is kept.
            news |= self.is_message_news(message.kind, message.body);
        }
        news || messages.is_broken()
    }

    fn is_message_news(&mut self, kind: u16, body: &[u8]) -> bool {
        match kind {
            NLMSG_NOOP | NLMSG_DONE => false,
            libc::RTM_NEWLINK => self.is_new_link(body),
            libc::RTM_NEWADDR => self.is_new_address(body),
            libc::RTM_DELADDR => {
                if let Some((address, _)) = read_address(body) {
                    self.addresses.remove(&address);
                }
                true
            }
            libc::RTM_DELLINK => {
                if let Some(interface) = u32_at(body, 4) {
                    self.links.remove(&interface);
                }
                true
            }
            // What the kernel noted for itself, a path MTU for example, moves no packet elsewhere.
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
                u32_at(body, 8).is_none_or(|flags| flags & libc::RTM_F_CLONED == 0)
            }
            _ => true,
        }
    }

    /// `struct ifinfomsg`: family, padding, type, index at 4, flags at 8.
    fn is_new_link(&mut self, body: &[u8]) -> bool {
        let (Some(interface), Some(flags)) = (u32_at(body, 4), u32_at(body, 8)) else {
            return true;
        };
        if self.links.len() >= MAX_KEPT {
            self.links.clear();
        }
        self.links.insert(interface, flags) != Some(flags)
    }

    fn is_new_address(&mut self, body: &[u8]) -> bool {
        let Some((address, flags)) = read_address(body) else {
            return true;
        };
        if self.addresses.len() >= MAX_KEPT {
            self.addresses.clear();
        }
        self.addresses.insert(address, flags) != Some(flags)
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index at 4; then attributes.
fn read_address(body: &[u8]) -> Option<(Address, u8)> {
    let (prefix_len, flags) = (*body.get(1)?, *body.get(2)?);
    let interface = u32_at(body, 4)?;
    let attributes = body.get(8..)?;
    // On a point-to-point link IFA_ADDRESS is the other end.
    let octets = attribute(attributes, libc::IFA_LOCAL).or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
    let address = Address {
        interface,
        prefix_len,
        octets: octets.to_vec(),
    };
    Some((address, flags))
}

/// Links or addresses kept; a host that runs containers has hundreds. Past it all is forgotten, which costs false alarms.
const MAX_KEPT: usize = 4096;
