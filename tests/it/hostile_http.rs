//! A DoH resolver whose HTTP is an attack (T-BODY, R8484-3, R8484-5, R8484-6): bodies, statuses and headers, octet by octet.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;

use crate::ordeal::{Case, check_all, poison, right};
use crate::raw::{Asked, DATA, DNS, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME, OK, Peer, Protocol, block, frame};

#[test]
fn t_body_long_compressed_and_lying_bodies() {
    check_all(
        Protocol::Doh,
        &[
            Case::fails("endless", |peer, asked| {
                peer.begin(asked)?;
                peer.flood(&frame(DATA, 0, asked.stream, &[0; MAX_FRAME]))?;
                peer.hold()
            }),
            Case::fails("over-65535", |peer, asked| {
                let body = [poison(asked), vec![0; 66_000]].concat();
                peer.respond(asked, &[OK, DNS], &body)
            }),
            Case::fails("length-too-small", |peer, asked| {
                peer.respond(asked, &[OK, DNS, ("content-length", "20")], &poison(asked))
            }),
            Case::fails("length-too-large", |peer, asked| {
                peer.respond(asked, &[OK, DNS, ("content-length", "2000")], &poison(asked))
            }),
            Case::fails("length-of-gigabytes", |peer, asked| {
                let length = ("content-length", "99999999999999999999");
                peer.respond(asked, &[OK, DNS, length], &poison(asked))
            }),
            Case::fails("two-lengths", |peer, asked| {
                let lengths = [("content-length", "20"), ("content-length", "2000")];
                peer.respond(asked, &[OK, DNS, lengths[0], lengths[1]], &poison(asked))
            }),
            Case::fails("gzip", |peer, asked| {
                peer.respond(asked, &[OK, DNS, ("content-encoding", "gzip")], &poison(asked))
            }),
            Case::fails("empty", |peer, asked| peer.respond(asked, &[OK, DNS], &[])),
            Case::fails("no-body", |peer, asked| {
                let flags = END_HEADERS | END_STREAM;
                peer.frame(HEADERS, flags, asked.stream, &block(&[OK, DNS]))
            }),
            Case::fails("two-messages", |peer, asked| {
                peer.respond(asked, &[OK, DNS], &[poison(asked), poison(asked)].concat())
            }),
            Case::fails("another-question", |peer, asked| {
                let mut message = poison(asked);
                message[13] ^= 1;
                peer.respond(asked, &[OK, DNS], &message)
            }),
        ],
    );
}

#[test]
fn r8484_3_what_is_not_dns_by_its_headers_is_not_read() {
    check_all(
        Protocol::Doh,
        &[
            Case::fails("html", |peer, asked| {
                peer.respond(asked, &[OK, ("content-type", "text/html")], b"<html>sign in</html>")
            }),
            Case::fails("html-as-dns", |peer, asked| {
                peer.respond(asked, &[OK, DNS], b"<html>sign in</html>")
            }),
            Case::fails("dns-as-html", |peer, asked| {
                peer.respond(asked, &[OK, ("content-type", "text/html")], &poison(asked))
            }),
            Case::fails("untyped", |peer, asked| peer.respond(asked, &[OK], &poison(asked))),
            Case::fails("no-content", |peer, asked| {
                peer.respond(asked, &[(":status", "204"), DNS], &poison(asked))
            }),
            Case::fails("teapot", |peer, asked| {
                peer.respond(asked, &[(":status", "418"), DNS], &poison(asked))
            }),
            Case::fails("not-a-status", |peer, asked| {
                peer.respond(asked, &[(":status", "20x"), DNS], &poison(asked))
            }),
        ],
    );
}

/// Where the attacks of this test point: nobody may come.
static ELSEWHERE: OnceLock<String> = OnceLock::new();

fn elsewhere() -> &'static str {
    ELSEWHERE.get().unwrap()
}

fn redirect(peer: &mut Peer, asked: &Asked, status: &str) -> io::Result<()> {
    let location = format!("https://dns.tacenda.test:{}/dns-query", elsewhere());
    peer.respond(
        asked,
        &[(":status", status), DNS, ("location", &location)],
        &poison(asked),
    )
}

#[test]
fn r8484_6_nothing_leads_to_another_server() {
    /// RFC 7838 section 4: a frame that names an alternative service.
    const ALTSVC: u8 = 0x0a;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    ELSEWHERE.get_or_init(|| listener.local_addr().unwrap().port().to_string());
    check_all(
        Protocol::Doh,
        &[
            Case::fails("301", |peer, asked| redirect(peer, asked, "301")),
            Case::fails("302", |peer, asked| redirect(peer, asked, "302")),
            Case::fails("303", |peer, asked| redirect(peer, asked, "303")),
            Case::fails("307", |peer, asked| redirect(peer, asked, "307")),
            Case::fails("308", |peer, asked| redirect(peer, asked, "308")),
            Case::fails("421", |peer, asked| redirect(peer, asked, "421")),
            Case::works("alt-svc", |peer, asked| {
                let service = format!("h2=\":{}\"; ma=86400; persist=1", elsewhere());
                peer.respond(asked, &[OK, DNS, ("alt-svc", &service)], &right(asked).octets())
            }),
            Case::works("alt-svc-frame", |peer, asked| {
                let service = format!("h2=\":{}\"; ma=86400", elsewhere());
                peer.frame(ALTSVC, 0, asked.stream, &[&[0, 0][..], service.as_bytes()].concat())?;
                peer.respond(asked, &[OK, DNS], &right(asked).octets())
            }),
            Case::works("refresh", |peer, asked| {
                let url = format!("0; url=https://127.0.0.1:{}/", elsewhere());
                peer.respond(asked, &[OK, DNS, ("refresh", &url)], &right(asked).octets())
            }),
        ],
    );
    assert!(listener.accept().is_err(), "somebody went where the resolver pointed");
}
