//! `limit-relay`: what a miss over DNS over TLS cannot be cheaper than. Batches from UDP go into one TLS stream in one write, answers back in
//! one batch; ids are made unique, nothing is kept or understood. One thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::sys::{self, Batch, Wait};

/// Datagrams taken or sent at once.
const BATCH: usize = 32;

/// Who asked under which id of ours.
type Waiting = Vec<Option<(SocketAddrV4, u16)>>;

struct Stream {
    tcp: TcpStream,
    tls: ClientConnection,
    /// What came and is not a whole message yet.
    pending: Vec<u8>,
}

/// Relays until it is killed; connects again when the upstream has closed.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<(), String> {
    let socket = UdpSocket::bind(listen).map_err(|error| format!("cannot bind {listen}: {error}"))?;
    sys::receive_buffer(socket.as_fd(), crate::BUFFER);
    let config = Arc::new(crate::tls::client_config()?);
    let mut relay = Relay {
        socket,
        waiting: vec![None; 1 << 16],
        next_id: 0,
        batch: Batch::new(BATCH),
    };
    loop {
        let mut stream = connect(&config, upstream).map_err(|error| format!("cannot reach {upstream}: {error}"))?;
        while relay.turn(&mut stream).is_ok() {}
    }
}

fn connect(config: &Arc<ClientConfig>, upstream: SocketAddr) -> io::Result<Stream> {
    let mut tcp = TcpStream::connect(upstream)?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(crate::tls::NAME).expect("a host name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    tcp.set_nonblocking(true)?;
    let pending = Vec::new();
    Ok(Stream { tcp, tls, pending })
}

struct Relay {
    socket: UdpSocket,
    waiting: Waiting,
    next_id: u16,
    batch: Batch,
}

impl Relay {
    fn turn(&mut self, stream: &mut Stream) -> io::Result<()> {
        let [queries, answers] = sys::wait_readable([self.socket.as_fd(), stream.tcp.as_fd()], None)?;
        if queries {
            self.ask(stream)?;
        }
        if answers {
            self.answer(stream)?;
        }
        Ok(())
    }

    fn ask(&mut self, stream: &mut Stream) -> io::Result<()> {
        let got = self.batch.receive(self.socket.as_fd(), BATCH, true, Wait::Never)?;
        let mut frames = Vec::with_capacity(got * 64);
        for index in 0..got {
            let peer = self.batch.peer(index);
            let query = self.batch.datagram(index);
            let (Ok(len), [high, low, rest @ ..]) = (u16::try_from(query.len()), query) else {
                continue;
            };
            self.next_id = self.next_id.wrapping_add(1);
            self.waiting[usize::from(self.next_id)] = Some((peer, u16::from_be_bytes([*high, *low])));
            frames.extend_from_slice(&len.to_be_bytes());
            frames.extend_from_slice(&self.next_id.to_be_bytes());
            frames.extend_from_slice(rest);
        }
        stream.tls.writer().write_all(&frames)?;
        flush(stream)
    }

    fn answer(&mut self, stream: &mut Stream) -> io::Result<()> {
        if stream.tls.read_tls(&mut stream.tcp)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let state = stream.tls.process_new_packets().map_err(io::Error::other)?;
        let start = stream.pending.len();
        stream.pending.resize(start + state.plaintext_bytes_to_read(), 0);
        stream.tls.reader().read_exact(&mut stream.pending[start..])?;
        let mut rest: &[u8] = &stream.pending;
        let mut ready = 0;
        while let Some((message, after)) = frame(rest) {
            rest = after;
            let asked = self.waiting[usize::from(u16::from_be_bytes([message[0], message[1]]))].take();
            let Some((peer, id)) = asked else { continue };
            let room = self.batch.room(ready);
            let len = message.len().min(room.len());
            room[..len].copy_from_slice(&message[..len]);
            room[..2].copy_from_slice(&id.to_be_bytes());
            self.batch.set_len(ready, len);
            self.batch.set_peer(ready, peer);
            ready += 1;
            if ready == BATCH {
                let _ = self.batch.send(self.socket.as_fd(), ready, true);
                ready = 0;
            }
        }
        let _ = self.batch.send(self.socket.as_fd(), ready, true);
        let used = stream.pending.len() - rest.len();
        stream.pending.drain(..used);
        if stream.tls.wants_write() {
            flush(stream)?;
        }
        Ok(())
    }
}

/// The first whole message and what follows it.
fn frame(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    (len >= 2).then(|| rest.split_at_checked(len))?
}

fn flush(stream: &mut Stream) -> io::Result<()> {
    while stream.tls.wants_write() {
        match stream.tls.write_tls(&mut stream.tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            outcome => {
                outcome?;
            }
        }
    }
    Ok(())
}
