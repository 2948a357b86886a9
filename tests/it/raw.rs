//! A resolver whose octets inside TLS are all a test's own: it sends what no library of HTTP/2 or DNS would.
//!
//! It answers well until it is told to be hostile, and well again when it is told to be good. A thread for each connection;
//! a connection that an attack keeps stays kept, as bad as it is.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::time::Instant;

use crate::client::framed;
use crate::script::{Heard, Reply, normal};
use crate::upstream::{Identity, SERVER_NAME, server_config};

/// What a connection gets while the resolver is hostile.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// As soon as it is there, before any settings. An older one is closed with its next query.
    OnStart(fn(&mut Peer) -> io::Result<()>),
    /// With each query on it.
    OnQuery(fn(&mut Peer, &Asked) -> io::Result<()>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Dot,
    Doh,
}

/// A query, and over DoH its stream.
pub(crate) struct Asked {
    pub(crate) heard: Heard,
    pub(crate) stream: u32,
}

/// The resolver.
pub(crate) struct Raw {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    attack: Attack,
    tls: Arc<ServerConfig>,
    is_hostile: AtomicBool,
    is_over: AtomicBool,
    /// Names that were answered well.
    answered: Mutex<Vec<String>>,
    connections: AtomicUsize,
    attacks: AtomicUsize,
}

impl Raw {
    pub(crate) fn start(protocol: Protocol, attack: Attack) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let alpn: &[u8] = match protocol {
            Protocol::Dot => b"dot",
            Protocol::Doh => b"h2",
        };
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            protocol,
            attack,
            tls: server_config(&Identity::default(), alpn),
            is_hostile: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            answered: Mutex::default(),
            connections: AtomicUsize::new(0),
            attacks: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    pub(crate) fn set_hostile(&self, is_hostile: bool) {
        self.shared.is_hostile.store(is_hostile, Ordering::SeqCst);
    }

    pub(crate) fn url(&self) -> String {
        let port = self.address.port();
        match self.shared.protocol {
            Protocol::Dot => format!("tls://{SERVER_NAME}:{port}"),
            Protocol::Doh => format!("https://{SERVER_NAME}:{port}/dns-query"),
        }
    }

    /// Whether this name was asked and answered well.
    pub(crate) fn has_answered(&self, name: &str) -> bool {
        self.shared
            .answered
            .lock()
            .unwrap()
            .iter()
            .any(|answered| answered == name)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often an attack has begun.
    pub(crate) fn attacks(&self) -> usize {
        self.shared.attacks.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener; if it is gone already, so much the better.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // An error is the stub hanging up, which is what most attacks should earn.
        std::thread::spawn(move || Peer::new(stream, shared)?.serve());
    }
}

/// The resolver's end of one connection.
pub(crate) struct Peer {
    tls: StreamOwned<ServerConnection, TcpStream>,
    shared: Arc<Shared>,
    bodies: HashMap<u32, Vec<u8>>,
}

impl Peer {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // A stub that stops reading has hung up too.
        stream.set_write_timeout(Some(FLOOD_TIME))?;
        let session = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
        shared.connections.fetch_add(1, Ordering::SeqCst);
        Ok(Self {
            tls: StreamOwned::new(session, stream),
            shared,
            bodies: HashMap::new(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        if self.shared.protocol == Protocol::Doh {
            self.read(PREFACE_LEN)?;
        }
        match self.shared.attack {
            Attack::OnStart(attack) if self.is_hostile() => {
                self.shared.attacks.fetch_add(1, Ordering::SeqCst);
                return attack(&mut self);
            }
            _ if self.shared.protocol == Protocol::Doh => self.frame(SETTINGS, 0, 0, &[])?,
            _ => {}
        }
        loop {
            let asked = self.next_query()?;
            match self.shared.attack {
                _ if !self.is_hostile() => self.answer_well(&asked)?,
                Attack::OnStart(_) => return Ok(()),
                Attack::OnQuery(attack) => {
                    self.shared.attacks.fetch_add(1, Ordering::SeqCst);
                    attack(&mut self, &asked)?;
                }
            }
        }
    }

    fn is_hostile(&self) -> bool {
        self.shared.is_hostile.load(Ordering::SeqCst)
    }

    fn read(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; len];
        self.tls.read_exact(&mut octets)?;
        Ok(octets)
    }

    pub(crate) fn next_query(&mut self) -> io::Result<Asked> {
        let (stream, octets) = match self.shared.protocol {
            Protocol::Doh => self.next_request()?,
            Protocol::Dot => {
                let prefix = self.read(2)?;
                (0, self.read(usize::from(u16::from_be_bytes([prefix[0], prefix[1]])))?)
            }
        };
        let heard = Heard::read(octets, Vec::new(), String::new());
        Ok(Asked { heard, stream })
    }

    /// Reads frames until a request is whole; its headers are not looked at.
    fn next_request(&mut self) -> io::Result<(u32, Vec<u8>)> {
        loop {
            let head = self.read(9)?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let payload = self.read(usize::try_from(len).unwrap())?;
            match (head[3], head[4] & 1) {
                (SETTINGS, 0) => self.frame(SETTINGS, ACK, 0, &[])?,
                (PING, 0) => self.frame(PING, ACK, 0, &payload)?,
                (DATA, is_last) => {
                    self.bodies.entry(stream).or_default().extend(payload);
                    if is_last == END_STREAM {
                        return Ok((stream, self.bodies.remove(&stream).unwrap_or_default()));
                    }
                }
                _ => {}
            }
        }
    }

    fn answer_well(&mut self, asked: &Asked) -> io::Result<()> {
        let Reply::Dns(octets) = normal(&asked.heard) else {
            return Ok(());
        };
        self.shared.answered.lock().unwrap().push(asked.heard.name.clone());
        self.answer(asked, &octets)
    }

    /// Sends a message as it should be sent.
    pub(crate) fn answer(&mut self, asked: &Asked, message: &[u8]) -> io::Result<()> {
        if self.shared.protocol == Protocol::Dot {
            return self.send(&framed(message));
        }
        self.respond(asked, &[OK, DNS], message)
    }

    /// DoH: sends a response.
    pub(crate) fn respond(&mut self, asked: &Asked, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        self.frame(HEADERS, END_HEADERS, asked.stream, &block(headers))?;
        if body.is_empty() {
            return self.frame(DATA, END_STREAM, asked.stream, &[]);
        }
        let mut chunks = body.chunks(MAX_FRAME).peekable();
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() { END_STREAM } else { 0 };
            self.frame(DATA, flags, asked.stream, chunk)?;
        }
        Ok(())
    }

    /// DoH: begins a response that is DNS so far.
    pub(crate) fn begin(&mut self, asked: &Asked) -> io::Result<()> {
        self.frame(HEADERS, END_HEADERS, asked.stream, &block(&[OK, DNS]))
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tls.write_all(octets)?;
        self.tls.flush()
    }

    /// Sends octets past TLS.
    pub(crate) fn send_bare(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tls.sock.write_all(octets)
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// One setting (RFC 9113 section 6.5.2).
    pub(crate) fn setting(&mut self, id: u16, value: u32) -> io::Result<()> {
        let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        self.frame(SETTINGS, 0, 0, &payload)
    }

    /// Sends the same octets again and again until the stub hangs up or the flood's time is over.
    pub(crate) fn flood(&mut self, octets: &[u8]) -> io::Result<()> {
        let batch = octets.repeat((MAX_FRAME / octets.len()).max(1));
        let begin = Instant::now();
        while begin.elapsed() < FLOOD_TIME {
            self.send(&batch)?;
        }
        Ok(())
    }

    /// Sends one piece after the other, `pause` apart, until the stub hangs up or all are sent.
    pub(crate) fn drip<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>, pause: Duration) -> io::Result<()> {
        for piece in pieces {
            self.send(piece)?;
            std::thread::park_timeout(pause);
        }
        Ok(())
    }

    /// Takes all that comes and says nothing, until the stub hangs up.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        let mut sink = [0; 4096];
        while self.tls.read(&mut sink)? > 0 {}
        Ok(())
    }
}

/// Any frame (RFC 9113 section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    octets.extend_from_slice(&[kind, flags]);
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
    octets
}

/// Headers without compression: literals that are not indexed (RFC 7541 section 6.2.2), each shorter than 127 octets.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, value) in headers {
        octets.push(0);
        for text in [name, value] {
            octets.push(u8::try_from(text.len()).unwrap());
            octets.extend_from_slice(text.as_bytes());
        }
    }
    octets
}

pub(crate) const OK: (&str, &str) = (":status", "200");
pub(crate) const DNS: (&str, &str) = ("content-type", "application/dns-message");

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The longest payload that a stub takes which says nothing about it.
pub(crate) const MAX_FRAME: usize = 16 << 10;

/// What every client of HTTP/2 says first.
const PREFACE_LEN: usize = 24;

/// The longest flood on one connection.
const FLOOD_TIME: Duration = Duration::from_secs(2);
