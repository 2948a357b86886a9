//! Messages over a byte stream: two octets of length before each (RFC 1035 section 4.2.2, RFC 7766 section 8).
//!
//! Sans-IO: octets go in as they come, whole messages come out. Never holds more than one incomplete message
//! of 65,535 octets plus what one read brought.

/// The longest message a frame can carry.
pub const MAX_MESSAGE_LEN: usize = 65_535;

/// Cuts a byte stream into messages.
#[derive(Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

/// Holds a name, and debug output ends up in logs.
impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader")
            .field("len", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

impl FrameReader {
    /// An empty reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes octets in the order in which the stream brought them.
    pub fn push(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole message, or `None` until more octets are pushed. A frame of length 0 comes out as an empty message.
    pub fn next_message(&mut self) -> Option<&[u8]> {
        let rest = &self.buffer[self.start..];
        let (prefix, body) = rest.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*prefix));
        if body.len() < len {
            return None;
        }
        let begin = self.start + 2;
        self.start = begin + len;
        Some(&self.buffer[begin..begin + len])
    }

    /// Whether part of a message is waiting for its rest. Meaningful after [`FrameReader::next_message`] gave `None`.
    pub fn is_mid_message(&self) -> bool {
        self.start < self.buffer.len()
    }
}

/// Appends a message with its length in front.
///
/// # Errors
/// `None` for a message longer than [`MAX_MESSAGE_LEN`]; nothing is written then.
pub fn write_frame(message: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let len = u16::try_from(message.len()).ok()?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(message);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(reader: &mut FrameReader) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| reader.next_message().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn r7766_3_octet_by_octet_gives_the_same_messages() {
        let mut stream = Vec::new();
        write_frame(b"first", &mut stream).unwrap();
        write_frame(b"", &mut stream).unwrap();
        write_frame(b"last", &mut stream).unwrap();
        let mut reader = FrameReader::new();
        let mut messages = Vec::new();
        for octet in &stream[..stream.len() - 1] {
            reader.push(&[*octet]);
            messages.extend(drain(&mut reader));
        }
        assert_eq!(messages, [&b"first"[..], b""]);
        assert!(reader.is_mid_message());
        reader.push(b"t");
        assert_eq!(drain(&mut reader), [b"last"]);
        assert!(!reader.is_mid_message());
    }

    #[test]
    fn r7766_1_the_longest_message_passes_and_a_longer_one_is_not_written() {
        let longest = vec![7; MAX_MESSAGE_LEN];
        let mut stream = vec![1];
        write_frame(&longest, &mut stream).unwrap();
        let mut reader = FrameReader::new();
        reader.push(&stream[1..]);
        assert_eq!(reader.next_message(), Some(&longest[..]));
        let len = stream.len();
        assert_eq!(write_frame(&vec![7; MAX_MESSAGE_LEN + 1], &mut stream), None);
        assert_eq!(stream.len(), len);
    }

    #[test]
    fn a_reader_keeps_one_message_and_one_read_at_most() {
        let mut stream = Vec::new();
        write_frame(&vec![7; MAX_MESSAGE_LEN], &mut stream).unwrap();
        let mut reader = FrameReader::new();
        let mut taken = 0;
        for read in stream.repeat(20).chunks(4096) {
            reader.push(read);
            taken += drain(&mut reader).len();
            assert!(reader.buffer.len() <= 2 + MAX_MESSAGE_LEN + 4096);
        }
        assert_eq!(taken, 20);
    }

    proptest! {
        /// However the stream is cut, what was written comes out, in order, and nothing else.
        #[test]
        fn any_cut_gives_what_was_written(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in proptest::collection::vec(1_usize..200, 1..50),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                write_frame(message, &mut stream).unwrap();
            }
            let mut reader = FrameReader::new();
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (read, later) = rest.split_at((*cut).min(rest.len()));
                reader.push(read);
                got.extend(drain(&mut reader));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(!reader.is_mid_message());
        }

        /// Any octets at all: no panic, no message made up, and mid-message exactly if something is left over.
        #[test]
        fn any_octets_are_cut_without_loss(reads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..20)) {
            let mut reader = FrameReader::new();
            let mut written = Vec::new();
            for read in &reads {
                reader.push(read);
                for message in drain(&mut reader) {
                    write_frame(&message, &mut written).unwrap();
                }
            }
            let stream = reads.concat();
            prop_assert_eq!(&stream[..written.len()], &written[..]);
            prop_assert_eq!(reader.is_mid_message(), written.len() < stream.len());
        }
    }
}
