//! Resolvers that keep a connection and answer nothing on it (T-SILENT): silence, halves, and octets that drip.
//!
//! Signs of life are no answers: octets keep coming, and the connection is as good as dead all the same.

use std::time::Duration;

use crate::client::framed;
use crate::ordeal::{Case, check_all, check_turning, poison};
use crate::raw::{DATA, DNS, END_HEADERS, END_STREAM, HEADERS, OK, PING, Protocol, WINDOW_UPDATE, block, frame};

/// Often enough that no look at the connection finds it silent.
const OFTEN: Duration = Duration::from_millis(100);

const OVER_DOT: [Case; 5] = [
    Case::fails("silence", |peer, _| peer.hold()),
    Case::fails("half-a-length", |peer, _| {
        peer.send(&[0])?;
        peer.hold()
    }),
    Case::fails("half-an-answer", |peer, asked| {
        let message = framed(&poison(asked));
        peer.send(&message[..message.len() / 2])?;
        peer.hold()
    }),
    Case::fails("octet-a-second", |peer, asked| {
        let message = framed(&poison(asked));
        peer.drip(message.chunks(1), Duration::from_secs(1))
    }),
    Case::fails("ten-octets-a-second", |peer, asked| {
        let message = framed(&[poison(asked), vec![0; 200]].concat());
        peer.drip(message.chunks(1), OFTEN)
    }),
];

const OVER_DOH: [Case; 9] = [
    Case::fails("silence", |peer, _| peer.hold()),
    Case::fails("half-a-frame", |peer, asked| {
        peer.send(&frame(HEADERS, END_HEADERS, asked.stream, &block(&[OK, DNS]))[..20])?;
        peer.hold()
    }),
    Case::fails("ping-drip", |peer, _| {
        peer.drip([&frame(PING, 0, 0, &[7; 8])[..]; 100].into_iter(), OFTEN)
    }),
    Case::fails("empty-data-drip", |peer, asked| {
        peer.begin(asked)?;
        peer.drip([&frame(DATA, 0, asked.stream, &[])[..]; 100].into_iter(), OFTEN)
    }),
    Case::fails("interim-response-as-the-last", |peer, asked| {
        let flags = END_HEADERS | END_STREAM;
        peer.frame(HEADERS, flags, asked.stream, &block(&[(":status", "103")]))?;
        peer.hold()
    }),
    Case::fails("stream-window-over-2-gib", |peer, asked| {
        peer.frame(WINDOW_UPDATE, 0, asked.stream, &[0x7f, 0xff, 0xff, 0xff])?;
        peer.frame(WINDOW_UPDATE, 0, asked.stream, &[0x7f, 0xff, 0xff, 0xff])
    }),
    Case::fails("octet-a-second", |peer, asked| {
        peer.begin(asked)?;
        let body = frame(DATA, END_STREAM, asked.stream, &poison(asked));
        peer.drip(body.chunks(1), Duration::from_secs(1))
    }),
    Case::fails("ten-octets-a-second", |peer, asked| {
        let head = frame(HEADERS, END_HEADERS, asked.stream, &block(&[OK, DNS]));
        let body = frame(DATA, END_STREAM, asked.stream, &poison(asked));
        peer.drip([head, body].concat().chunks(1), OFTEN)
    }),
    Case::fails("data-octet-by-octet", |peer, asked| {
        peer.begin(asked)?;
        for octet in poison(asked) {
            peer.drip([&frame(DATA, 0, asked.stream, &[octet])[..]].into_iter(), OFTEN)?;
        }
        Ok(())
    }),
];

#[test]
fn t_silent_nothing_halves_and_drips_over_dot() {
    check_all(Protocol::Dot, &OVER_DOT);
}

#[test]
fn t_silent_nothing_halves_and_drips_over_doh() {
    check_all(Protocol::Doh, &OVER_DOH);
}

/// Queries wait on two connections, both of them kept: the next one must find its way past both.
#[test]
fn t_silent_a_resolver_that_turns_good_in_mid_attack_over_dot() {
    check_turning(Protocol::Dot, &OVER_DOT);
}

#[test]
fn t_silent_a_resolver_that_turns_good_in_mid_attack_over_doh() {
    check_turning(Protocol::Doh, &OVER_DOH);
}
