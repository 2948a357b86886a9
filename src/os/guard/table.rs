//! Our table in the kernel's eyes (nfnetlink): made so that it outlives whoever holds it, and held so that nobody else can change it. What nft
//! 1.0 cannot say, in four messages of our own; the rules themselves are its business.

use std::io;
use std::time::Duration;

use crate::os::socket::netlink::{Messages, NLM_F_REQUEST, NLMSG_ERROR, Socket, message, push_attribute, u32_at};

use super::ruleset::TABLE;

/// Holds the table: `nft flush ruleset` passes it by, and no other program can change it. When this is dropped, or its process dies, the
/// table stays as it is, and can be changed again.
#[derive(Debug)]
pub(super) struct Owner(#[expect(dead_code, reason = "the kernel counts the open socket as the holder")] Socket);

impl Owner {
    /// Holds the table, which must be there and nobody's.
    ///
    /// # Errors
    /// `PermissionDenied` if somebody holds it; `Unsupported` if it does not outlive its holder, and then it must have none.
    pub(super) fn of_table() -> io::Result<Self> {
        let socket = open()?;
        match change(&socket, NEW_TABLE, TABLE_OWNER | TABLE_PERSIST) {
            Err(error) if is_unknown(&error) => Err(io::ErrorKind::Unsupported.into()),
            held => held.map(|()| Self(socket)),
        }
    }
}

/// Makes the table, without any rule, unless it is there; one that outlives its holder if it may be held and the kernel knows such.
///
/// # Errors
/// The kernel's own: `EPERM` without `CAP_NET_ADMIN`, or while somebody else holds the table.
pub(super) fn make(may_be_held: bool) -> io::Result<()> {
    let socket = open()?;
    let flags = if may_be_held { TABLE_PERSIST } else { 0 };
    match change(&socket, NEW_TABLE, flags) {
        // A table that was made without it cannot be changed to it either.
        Err(error) if is_unknown(&error) => change(&socket, NEW_TABLE, 0),
        made => made,
    }
}

/// Kernels before 6.9 know no table that outlives its holder.
fn is_unknown(error: &io::Error) -> bool {
    [libc::EOPNOTSUPP, libc::EINVAL]
        .map(Some)
        .contains(&error.raw_os_error())
}

fn open() -> io::Result<Socket> {
    let socket = Socket::of(libc::NETLINK_NETFILTER)?;
    // The kernel lets go of the table when a socket with an address is closed.
    socket.bind()?;
    socket.set_read_timeout(TIMEOUT)?;
    Ok(socket)
}

/// One transaction of one change of the table.
fn change(socket: &Socket, kind: u16, flags: u32) -> io::Result<()> {
    let mut body = vec![NFPROTO_INET, 0, 0, 0];
    push_attribute(&mut body, NFTA_TABLE_NAME, format!("{TABLE}\0").as_bytes());
    push_attribute(&mut body, NFTA_TABLE_FLAGS, &flags.to_be_bytes());
    let bound = [&[0, 0][..], &SUBSYSTEM.to_be_bytes()].concat();
    let transaction = [
        message(BATCH_BEGIN, NLM_F_REQUEST, 0, &bound),
        message(kind | SUBSYSTEM << 8, NLM_F_REQUEST | NLM_F_ACK, SEQUENCE, &body),
        message(BATCH_END, NLM_F_REQUEST, 0, &bound),
    ];
    socket.send(&transaction.concat())?;
    let mut buffer = vec![0; BUFFER_LEN];
    for _ in 0..MAX_DATAGRAMS {
        let len = socket.receive(&mut buffer)?;
        for answer in Messages::new(&buffer[..len]) {
            // One about the transaction as a whole has the sequence number of its begin.
            if answer.kind == NLMSG_ERROR && [0, SEQUENCE].contains(&answer.sequence) {
                return match u32_at(answer.body, 0).map(u32::cast_signed) {
                    Some(0) => Ok(()),
                    Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    None => Err(io::Error::other("the kernel's answer is cut off")),
                };
            }
        }
    }
    Err(io::Error::other("the kernel did not answer"))
}

/// The kernel answers within the call that asks; this is for the day it does not.
const TIMEOUT: Duration = Duration::from_secs(1);

/// One is the answer.
const MAX_DATAGRAMS: usize = 4;

/// An answer is some hundred octets: a number and the question.
const BUFFER_LEN: usize = 8192;

/// Any number but 0.
const SEQUENCE: u32 = 1;

const NLM_F_ACK: u16 = 4;
/// linux/netfilter/nfnetlink.h.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
/// linux/netfilter.h.
const NFPROTO_INET: u8 = 1;
/// linux/netfilter/nf_tables.h.
const NEW_TABLE: u16 = 0;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const TABLE_OWNER: u32 = 2;
const TABLE_PERSIST: u32 = 4;
