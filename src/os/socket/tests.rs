//! Real sockets on loopback, no other network and no root.

use std::net::{Ipv6Addr, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

const ANY_PORT: &str = "127.0.0.1:0";
const PATIENCE: Duration = Duration::from_secs(5);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn bind(address: SocketAddr, udp_count: usize) -> Result<Sockets, BindFailure> {
    let patience = None;
    super::bind(address, Wish { udp_count, patience }, Given::default())
}

fn listener(text: &str) -> Arc<UdpListener> {
    bind(address(text), 1).unwrap().udp.remove(0)
}

fn client(server: SocketAddr) -> UdpSocket {
    let local: SocketAddr = if server.is_ipv4() {
        address("127.0.0.1:0")
    } else {
        address("[::1]:0")
    };
    let socket = UdpSocket::bind(local).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Replies with as many octets, their length in front; says nothing to an empty datagram.
#[cfg(target_os = "linux")]
fn echo(datagram: Datagram<'_>, reply: &mut [u8]) -> usize {
    let Some(last) = datagram.octets.last() else { return 0 };
    let len = datagram.octets.len().min(reply.len());
    reply[..len].fill(*last);
    reply[0] = u8::try_from(datagram.octets.len() % 251).unwrap();
    len
}

/// What both twins must do alike: the same datagrams in, the same replies out. A macro, because they share a face and
/// no trait.
#[cfg(target_os = "linux")]
macro_rules! conversation {
    ($batch:path, $server:expr, $datagrams:expr) => {{
        let server: Arc<UdpListener> = $server;
        let client = client(server.local());
        for datagram in $datagrams {
            client.send(datagram).unwrap();
        }
        let mut batch = <$batch>::new();
        let (mut received, mut oversized, mut sent, mut failed) = (0, 0, 0, 0);
        while received < $datagrams.len() {
            received += batch.receive(&server).unwrap();
            oversized += batch.answer(echo);
            let outcome = batch.send(&server);
            sent += outcome.sent;
            failed += outcome.failed;
        }
        let mut replies = Vec::new();
        for _ in 0..sent {
            let mut reply = vec![0; 70_000];
            let len = client.recv(&mut reply).unwrap();
            reply.truncate(len);
            replies.push(reply);
        }
        (received, oversized, sent, failed, replies)
    }};
}

#[cfg(target_os = "linux")]
#[test]
fn the_twins_agree() {
    let sizes = [1, 12, 29, 512, 1231, 1232, 1233, 4095, 4096, 4097, 9000, 20_000, 0, 40];
    let datagrams: Vec<Vec<u8>> = (0..4)
        .flat_map(|round| {
            sizes
                .iter()
                .map(move |size| vec![u8::try_from(size % 256).unwrap() ^ round; *size])
        })
        .collect();
    for listen in [ANY_PORT, "[::1]:0"] {
        let batched = conversation!(UdpBatch, listener(listen), &datagrams);
        let single = conversation!(portable::UdpBatch, listener(listen), &datagrams);
        assert_eq!(batched, single, "{listen}");
        assert_eq!((batched.0, batched.1, batched.2, batched.3), (56, 12, 40, 0));
        assert!(batched.4.iter().all(|reply| reply.len() <= MAX_REPLY_LEN));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_burst_is_one_batch_and_every_client_gets_its_own_reply() {
    let server = listener(ANY_PORT);
    let clients: Vec<UdpSocket> = (0..40).map(|_| client(server.local())).collect();
    for (index, client) in clients.iter().enumerate() {
        client.send(&[u8::try_from(index).unwrap(); 7]).unwrap();
    }
    let mut batch = UdpBatch::new();
    for expected in [BATCH_LEN, 40 - BATCH_LEN] {
        assert_eq!(batch.receive(&server).unwrap(), expected);
        assert_eq!(batch.answer(echo), 0);
        assert_eq!(
            batch.send(&server),
            Sent {
                sent: expected,
                failed: 0
            }
        );
    }
    for (index, client) in clients.iter().enumerate() {
        let mut reply = [0; 16];
        assert_eq!(client.recv(&mut reply).unwrap(), 7);
        assert_eq!(reply[1], u8::try_from(index).unwrap());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    for (listen, asked) in [
        ("0.0.0.0:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.53"),
        ("[::]:0", "::1"),
    ] {
        let server = listener(listen);
        let to = SocketAddr::new(asked.parse().unwrap(), server.local().port());
        // Connected: the kernel gives it only what comes from the very address that it asked.
        let client = client(to);
        client.send(b"now").unwrap();
        let mut batch = UdpBatch::new();
        assert_eq!(batch.receive(&server).unwrap(), 1);
        let mut late = None;
        batch.answer(|datagram, reply| {
            late = Some(ReplyHandle::new(&server, datagram.path));
            echo(datagram, reply)
        });
        assert_eq!(batch.send(&server).sent, 1);
        late.unwrap().send(b"later").unwrap();
        let mut reply = [0; 16];
        assert_eq!(client.recv(&mut reply).unwrap(), 3);
        assert_eq!(client.recv(&mut reply).unwrap(), 5);
    }
}

#[test]
fn stop_wakes_a_blocked_receiver_and_leaves_sending_alone() {
    let server = listener(ANY_PORT);
    let asker = client(server.local());
    let (sender, receiver) = mpsc::channel();
    let thread = {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            let mut batch = UdpBatch::new();
            let mut paths = Vec::new();
            while !server.is_stopping() {
                batch.receive(&server).unwrap();
                batch.answer(|datagram, _| {
                    paths.push(datagram.path);
                    sender.send(()).unwrap();
                    0
                });
            }
            paths
        })
    };
    asker.send(b"one").unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
    server.stop();
    let ended = receiver.recv_timeout(PATIENCE);
    assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "the thread ends");
    let paths = thread.join().unwrap();
    assert_eq!(paths.len(), 1, "the waking itself is no datagram");
    server.send(b"late", paths[0]).unwrap();
    assert_eq!(asker.recv(&mut [0; 16]).unwrap(), 4);
}

#[test]
fn a_datagram_that_cannot_be_sent_is_an_error_and_the_socket_lives() {
    let server = listener(ANY_PORT);
    let nowhere = ReturnPath {
        peer: address("127.0.0.1:0"),
        local: None,
    };
    assert!(server.send(b"x", nowhere).is_err(), "port 0 is nobody");
    // A client that closed its port answers by ICMP; nothing of that may reach our receive.
    let gone = client(server.local());
    let path = ReturnPath {
        peer: gone.local_addr().unwrap(),
        local: None,
    };
    drop(gone);
    server.send(b"x", path).unwrap();
    server.send(b"x", path).unwrap();
    let alive = client(server.local());
    alive.send(b"still there?").unwrap();
    assert_eq!(UdpBatch::new().receive(&server).unwrap(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn threads_share_one_port_and_each_gets_some_clients() {
    let sockets = bind(address(ANY_PORT), 4).unwrap();
    assert!(sockets.udp.iter().all(|listener| listener.local() == sockets.local));
    for _ in 0..200 {
        client(sockets.local).send(b"x").unwrap();
    }
    let mut total = 0;
    for listener in &sockets.udp {
        // A stopped socket still gives what is queued, then nothing, without blocking.
        listener.stop();
        let mut batch = UdpBatch::new();
        let mut count = 0;
        let mut before = usize::MAX;
        while count != before {
            before = count;
            batch.receive(listener).unwrap();
            batch.answer(|_, _| {
                count += 1;
                0
            });
        }
        assert!(count > 0, "200 clients over 4 sockets leave none without");
        total += count;
    }
    assert_eq!(total, 200);
}

#[test]
fn r9210_1_udp_and_tcp_share_the_port() {
    for listen in [ANY_PORT, "[::1]:0"] {
        let sockets = bind(address(listen), 2).unwrap();
        assert_ne!(sockets.local.port(), 0);
        assert_eq!(sockets.tcp.local_addr().unwrap(), sockets.local);
    }
}

#[test]
fn a_taken_port_is_an_error_whatever_options_its_owner_set() {
    let first = bind(address(ANY_PORT), 2).unwrap();
    for count in [1, 2] {
        let failure = bind(first.local, count).unwrap_err();
        assert_eq!(
            (failure.transport, failure.cause.kind()),
            (Transport::Udp, io::ErrorKind::AddrInUse)
        );
    }
    let Sockets { udp, tcp, local } = first;
    drop(udp);
    let failure = bind(local, 2).unwrap_err();
    assert_eq!(
        (failure.transport, failure.cause.kind()),
        (Transport::Tcp, io::ErrorKind::AddrInUse)
    );
    drop(tcp);
    bind(local, 2).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_taken_port_names_its_owner() {
    let sockets = bind(address(ANY_PORT), 1).unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        let owner = port_owner(transport, sockets.local).unwrap();
        assert_eq!(owner.pid, std::process::id());
        assert!(owner.to_string().ends_with(&format!(" (pid {})", owner.pid)), "{owner}");
    }
    let free = SocketAddr::new(address("127.0.0.77:0").ip(), sockets.local.port());
    assert_eq!(port_owner(Transport::Udp, free), None);
}

#[test]
fn an_address_that_the_host_lacks_is_told_apart() {
    // RFC 5737 and RFC 3849: documentation addresses, nobody's.
    let v6 = SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 0);
    for lacking in [address("192.0.2.1:0"), v6] {
        assert_eq!(
            bind(lacking, 1).unwrap_err().cause.kind(),
            io::ErrorKind::AddrNotAvailable
        );
    }
}

#[cfg(unix)]
#[test]
fn accept_errors_are_sorted_by_what_to_do() {
    let check = |code: i32, expected: AcceptFailure| {
        assert_eq!(
            AcceptFailure::of(&io::Error::from_raw_os_error(code)),
            expected,
            "errno {code}"
        );
    };
    for code in [
        libc::ECONNABORTED,
        libc::ECONNRESET,
        libc::EINTR,
        libc::ENETDOWN,
        libc::EHOSTUNREACH,
        libc::EPERM,
    ] {
        check(code, AcceptFailure::Connection);
    }
    for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        check(code, AcceptFailure::Exhausted);
    }
    check(libc::EBADF, AcceptFailure::Listener);
    check(libc::EINVAL, AcceptFailure::Listener);
}
