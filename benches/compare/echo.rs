//! `limit-echo`: what a DNS server over UDP cannot be faster than. It takes batches, sets QR and sends them back, nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::sys::{self, Batch, Wait};

/// Beyond 32 the kernel's own work per datagram is all there is.
const BATCH: usize = 32;

/// Echoes until it is killed.
pub(crate) fn run(listen: SocketAddr) -> Result<(), String> {
    let socket = UdpSocket::bind(listen).map_err(|error| format!("cannot bind {listen}: {error}"))?;
    sys::receive_buffer(socket.as_fd(), crate::BUFFER);
    let mut batch = Batch::new(BATCH);
    loop {
        let Ok(got) = batch.receive(socket.as_fd(), BATCH, true, Wait::ForOne) else {
            continue;
        };
        for index in 0..got {
            if let Some(flags) = batch.datagram_mut(index).get_mut(2..4) {
                flags.copy_from_slice(&[flags[0] | 0x80, 0x80]);
            }
        }
        // What cannot be sent is lost, as with any server.
        let _ = batch.send(socket.as_fd(), got, true);
    }
}
