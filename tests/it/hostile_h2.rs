//! A DoH resolver whose HTTP/2 is an attack (T-H2, R9113-1): floods, and frames that no library sends.

use std::io;

use crate::ordeal::{Case, check_all, poison, right};
use crate::raw::{
    ACK, CONTINUATION, DATA, DNS, END_HEADERS, END_STREAM, GOAWAY, HEADERS, MAX_FRAME, OK, PING, PRIORITY,
    PUSH_PROMISE, Peer, Protocol, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};

/// Sends a frame without end, then keeps the connection.
fn flood_frames(peer: &mut Peer, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    peer.flood(&frame(kind, flags, stream, payload))?;
    peer.hold()
}

#[test]
fn t_h2_floods_end_the_connection_and_nothing_else() {
    check_all(
        Protocol::Doh,
        &[
            Case::fails("ping", |peer, _| flood_frames(peer, PING, 0, 0, &[7; 8])),
            Case::fails("ping-ack", |peer, _| flood_frames(peer, PING, ACK, 0, &[7; 8])),
            Case::fails("settings", |peer, _| flood_frames(peer, SETTINGS, 0, 0, &[])),
            Case::fails("priority", |peer, asked| {
                flood_frames(peer, PRIORITY, 0, asked.stream, &[0; 5])
            }),
            Case::fails("unknown-type", |peer, _| flood_frames(peer, 0xbb, 0, 0, &[0; 64])),
            Case::fails("window-update", |peer, _| {
                flood_frames(peer, WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
            }),
            Case::fails("empty-data", |peer, asked| {
                peer.begin(asked)?;
                flood_frames(peer, DATA, 0, asked.stream, &[])
            }),
            Case::fails("padding-only-data", |peer, asked| {
                const PADDED: u8 = 8;
                peer.begin(asked)?;
                flood_frames(peer, DATA, PADDED, asked.stream, &[&[255][..], &[0; 255]].concat())
            }),
            Case::fails("continuation", |peer, asked| {
                peer.frame(HEADERS, 0, asked.stream, &block(&[OK]))?;
                flood_frames(peer, CONTINUATION, 0, asked.stream, &[])
            }),
            Case::fails("continuation-with-headers", |peer, asked| {
                peer.frame(HEADERS, 0, asked.stream, &block(&[OK]))?;
                flood_frames(peer, CONTINUATION, 0, asked.stream, &block(&[("x", "y")]))
            }),
            Case::fails("interim-responses", |peer, asked| {
                let head = block(&[(":status", "103"), ("link", "</x>")]);
                flood_frames(peer, HEADERS, END_HEADERS, asked.stream, &head)
            }),
            // One octet of headers, a whole response in memory: `:status: 103` comes out of the table.
            Case::fails("small-interim-responses", |peer, asked| {
                let first = [&[0x48, 3][..], b"103"].concat();
                peer.frame(HEADERS, END_HEADERS, asked.stream, &first)?;
                flood_frames(peer, HEADERS, END_HEADERS, asked.stream, &[0x80 | 62])
            }),
            Case::fails("reset-of-one-stream", |peer, asked| {
                flood_frames(peer, RST_STREAM, 0, asked.stream, &[0, 0, 0, 8])
            }),
            Case::fails("goaway", |peer, _| {
                flood_frames(peer, GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])
            }),
        ],
    );
}

#[test]
fn t_h2_header_bombs_do_not_go_off() {
    check_all(
        Protocol::Doh,
        &[
            Case::fails("64-kib-of-headers", |peer, asked| {
                let header = [("x-bomb", "a-value-of-one-hundred-octets-or-a-little-less")];
                let headers = block(&header).repeat(1200);
                let mut pieces = headers.chunks(MAX_FRAME).peekable();
                peer.frame(HEADERS, 0, asked.stream, &block(&[OK, DNS]))?;
                while let Some(piece) = pieces.next() {
                    let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
                    peer.frame(CONTINUATION, flags, asked.stream, piece)?;
                }
                peer.frame(DATA, END_STREAM, asked.stream, &poison(asked))
            }),
            // One entry of 4,000 octets in the table, and 16,000 octets that say "once more": 64 MB (RFC 7541 section 7.3).
            Case::fails("hpack-bomb", |peer, asked| {
                let mut headers = block(&[OK, DNS]);
                headers.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
                headers.extend_from_slice(&[b'v'; 4000]);
                headers.extend_from_slice(&[0x80 | 62; 12_000]);
                peer.frame(HEADERS, END_HEADERS, asked.stream, &headers)?;
                peer.frame(DATA, END_STREAM, asked.stream, &poison(asked))
            }),
            Case::fails("hpack-index-0", |peer, asked| {
                peer.frame(HEADERS, END_HEADERS, asked.stream, &[0x80])?;
                peer.hold()
            }),
            Case::fails("hpack-index-beyond-table", |peer, asked| {
                peer.frame(HEADERS, END_HEADERS, asked.stream, &[0xff, 0xff, 0xff, 0xff, 0x07])?;
                peer.hold()
            }),
            Case::fails("hpack-endless-integer", |peer, asked| {
                peer.frame(HEADERS, END_HEADERS, asked.stream, &[0xff; 2000])?;
                peer.hold()
            }),
            Case::fails("hpack-huffman-noise", |peer, asked| {
                peer.frame(
                    HEADERS,
                    END_HEADERS,
                    asked.stream,
                    &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
                )?;
                peer.hold()
            }),
            Case::fails("upper-case-name", |peer, asked| {
                peer.respond(asked, &[OK, DNS, ("X-Bad", "1")], &poison(asked))?;
                peer.hold()
            }),
            Case::fails("no-status", |peer, asked| peer.respond(asked, &[DNS], &poison(asked))),
            Case::fails("pseudo-header-last", |peer, asked| {
                peer.respond(asked, &[DNS, OK], &poison(asked))
            }),
        ],
    );
}

#[test]
fn t_h2_frames_against_the_rules() {
    check_all(
        Protocol::Doh,
        &[
            // A promise of the very answer, although push is switched off (RFC 9113 section 8.4).
            Case::fails("push", |peer, asked| {
                let request = block(&[(":method", "GET"), (":scheme", "https"), (":path", "/dns-query")]);
                let promise = [&2u32.to_be_bytes()[..], &request].concat();
                peer.frame(PUSH_PROMISE, END_HEADERS, asked.stream, &promise)?;
                let pushed = frame(HEADERS, END_HEADERS, 2, &block(&[OK, DNS]));
                peer.send(&[pushed, frame(DATA, END_STREAM, 2, &poison(asked))].concat())?;
                peer.hold()
            }),
            Case::fails("frame-of-16-mib", |peer, asked| {
                peer.send(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1])?;
                peer.flood(&[asked.heard.octets[0]; 1024])
            }),
            Case::fails("data-on-stream-0", |peer, asked| {
                peer.frame(DATA, END_STREAM, 0, &poison(asked))?;
                peer.hold()
            }),
            Case::fails("response-on-idle-stream", |peer, asked| {
                peer.frame(HEADERS, END_HEADERS, asked.stream + 1000, &block(&[OK, DNS]))?;
                peer.hold()
            }),
            Case::fails("response-on-even-stream", |peer, _| {
                peer.frame(HEADERS, END_HEADERS, 2, &block(&[OK, DNS]))?;
                peer.hold()
            }),
            Case::fails("data-before-headers", |peer, asked| {
                peer.frame(DATA, END_STREAM, asked.stream, &poison(asked))?;
                peer.hold()
            }),
            Case::fails("reset-half-way", |peer, asked| {
                peer.begin(asked)?;
                peer.frame(DATA, 0, asked.stream, &poison(asked))?;
                peer.frame(RST_STREAM, 0, asked.stream, &[0, 0, 0, 8])
            }),
            Case::fails("interim-response-with-body", |peer, asked| {
                peer.frame(HEADERS, END_HEADERS, asked.stream, &block(&[(":status", "103"), DNS]))?;
                peer.frame(DATA, END_STREAM, asked.stream, &poison(asked))?;
                peer.hold()
            }),
            Case::fails("switching-protocols", |peer, asked| {
                peer.respond(asked, &[(":status", "101"), DNS], &poison(asked))?;
                peer.hold()
            }),
            Case::works("trailers", |peer, asked| {
                peer.begin(asked)?;
                peer.frame(DATA, 0, asked.stream, &right(asked).octets())?;
                let trailers = block(&[("x-after", "all")]);
                peer.frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, &trailers)
            }),
            Case::fails("continuation-of-nothing", |peer, asked| {
                peer.frame(CONTINUATION, END_HEADERS, asked.stream, &block(&[OK, DNS]))?;
                peer.hold()
            }),
            Case::fails("http/1.1", |peer, _| {
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")?;
                peer.hold()
            }),
        ],
    );
}

#[test]
fn t_h2_settings_and_windows_against_the_rules() {
    check_all(
        Protocol::Doh,
        &[
            Case::fails("push-switched-on", |peer, _| peer.setting(2, 1)),
            Case::fails("initial-window-over-2-gib", |peer, _| peer.setting(4, u32::MAX)),
            Case::fails("frames-of-one-octet", |peer, _| peer.setting(5, 1)),
            Case::works("header-table-of-4-gib", |peer, asked| {
                peer.setting(1, u32::MAX)?;
                peer.respond(asked, &[OK, DNS], &right(asked).octets())
            }),
            Case::fails("settings-of-odd-length", |peer, _| {
                peer.frame(SETTINGS, 0, 0, &[0; 5])?;
                peer.hold()
            }),
            Case::fails("window-update-of-0", |peer, _| {
                peer.frame(WINDOW_UPDATE, 0, 0, &[0; 4])?;
                peer.hold()
            }),
            Case::fails("window-over-2-gib", |peer, _| {
                peer.frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])?;
                peer.frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])?;
                peer.hold()
            }),
        ],
    );
}

#[test]
fn r9113_1_resolvers_that_take_no_queries() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    check_all(
        Protocol::Doh,
        &[
            Case::fails_at_once("no-streams", |peer| {
                peer.setting(MAX_CONCURRENT_STREAMS, 0)?;
                peer.hold()
            }),
            Case::fails("no-more-streams", |peer, _| {
                peer.setting(MAX_CONCURRENT_STREAMS, 0)?;
                peer.hold()
            }),
            Case::fails_at_once("no-http/2-at-all", Peer::hold),
            Case::fails_at_once("no-window", |peer| {
                peer.setting(INITIAL_WINDOW_SIZE, 0)?;
                peer.hold()
            }),
            Case::fails_at_once("goaway-at-once", |peer| {
                peer.frame(SETTINGS, 0, 0, &[])?;
                peer.frame(GOAWAY, 0, 0, &[0; 8])
            }),
            Case::fails_at_once("goaway-and-silence", |peer| {
                peer.frame(SETTINGS, 0, 0, &[])?;
                peer.frame(GOAWAY, 0, 0, &[0; 8])?;
                peer.hold()
            }),
            Case::fails("goaway-with-each-query", |peer, _| {
                peer.frame(GOAWAY, 0, 0, &[0; 8])?;
                peer.hold()
            }),
            Case::fails("reset-of-every-stream", |peer, asked| {
                peer.frame(RST_STREAM, 0, asked.stream, &[0, 0, 0, 8])
            }),
            Case::fails("refusal-of-every-stream", |peer, asked| {
                peer.frame(RST_STREAM, 0, asked.stream, &[0, 0, 0, 7])
            }),
            Case::fails("close-with-each-query", |_, _| {
                Err(io::Error::other("the attack is to hang up"))
            }),
        ],
    );
}
