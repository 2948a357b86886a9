//! What a message from a classic server is. Pure.

use crate::wire::edns::UDP_PAYLOAD_SIZE;
use crate::wire::header::{Header, TC};
use crate::wire::question::same_question;

/// See [`sort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A response to the question.
    Answer,
    /// The same, cut short (TC=1), or longer than we said we take: its rest may have come in fragments, which are easier to forge
    /// (T-POI-7). To be asked over TCP.
    Oversized,
    /// Anything else (T-POI-1).
    Stranger,
}

/// Sorts what came over UDP for `query`, which was sent with `id`.
pub(super) fn sort(query: &[u8], id: u16, message: &[u8]) -> Reply {
    match response_to(query, id, message) {
        None => Reply::Stranger,
        Some(header) if header.high & TC != 0 || message.len() > usize::from(UDP_PAYLOAD_SIZE) => Reply::Oversized,
        Some(_) => Reply::Answer,
    }
}

/// The header of a response with this ID to this question.
pub(super) fn response_to(query: &[u8], id: u16, message: &[u8]) -> Option<Header> {
    let header = Header::read(message).ok()?;
    let is_ours = header.id == id && header.is_response() && header.is_query_opcode();
    (is_ours && same_question(query, message)).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::testing::{answer, query};

    /// The response with ID 0x1234, changed.
    fn sorted(change: impl FnOnce(&mut Vec<u8>)) -> Reply {
        let query = query("www.corp.example");
        let mut message = answer(&query);
        message[..2].copy_from_slice(&[0x12, 0x34]);
        change(&mut message);
        sort(&query, 0x1234, &message)
    }

    #[test]
    fn t_poi_1_id_question_opcode_and_qr_must_match() {
        assert_eq!(sorted(|_| {}), Reply::Answer);
        assert_eq!(
            sorted(|message| message[13] = b'W'),
            Reply::Answer,
            "case is no difference"
        );
        assert_eq!(sorted(|message| message[0] ^= 1), Reply::Stranger, "ID");
        assert_eq!(sorted(|message| message[1] ^= 1), Reply::Stranger, "ID");
        assert_eq!(sorted(|message| message[2] &= 0x7f), Reply::Stranger, "QR");
        for opcode in 1..=15 {
            assert_eq!(sorted(|message| message[2] |= opcode << 3), Reply::Stranger, "{opcode}");
        }
        assert_eq!(sorted(|message| message[13] = b'x'), Reply::Stranger, "name");
        assert_eq!(
            sorted(|message| *message.last_mut().unwrap() = 3),
            Reply::Stranger,
            "class"
        );
        assert_eq!(
            sorted(|message| {
                let at = message.len() - 3;
                message[at] = 28;
            }),
            Reply::Stranger,
            "type"
        );
        assert_eq!(sorted(|message| message[5] = 0), Reply::Stranger, "no question");
        assert_eq!(sorted(|message| message[5] = 2), Reply::Stranger, "two questions");
        for len in 0..answer(&query("www.corp.example")).len() {
            assert_eq!(sorted(|message| message.truncate(len)), Reply::Stranger, "cut to {len}");
        }
    }

    #[test]
    fn t_poi_7_cut_or_too_long_is_for_tcp_if_it_matches() {
        assert_eq!(sorted(|message| message[2] |= TC), Reply::Oversized);
        assert_eq!(sorted(|message| message.resize(1232, 0)), Reply::Answer);
        assert_eq!(sorted(|message| message.resize(1233, 0)), Reply::Oversized);
        assert_eq!(
            sorted(|message| {
                message[2] |= TC;
                message[0] ^= 1;
            }),
            Reply::Stranger
        );
    }
}
