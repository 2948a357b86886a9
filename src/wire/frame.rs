//! Messages over a byte stream: two octets of length before each (RFC 1035 section 4.2.2, RFC 7766 section 8).
//!
//! Sans-IO: octets go in as they come, whole messages come out. Never holds more than one incomplete message
//! of 65,535 octets plus what one read brought.

/// The longest message a frame can carry.
pub const MAX_MESSAGE_LEN: usize = 65_535;

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
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
