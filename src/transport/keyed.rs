//! Numbers that only who has the secret can work out: HMAC-SHA-256 (RFC 2104), cut to 64 bits.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// A key of SHA-256's own length (RFC 2104 section 3).
pub const SECRET_LEN: usize = 32;

/// A keyed function from octets to numbers.
#[derive(Clone, Debug)]
pub struct Keyed(hmac::Key);

impl Keyed {
    /// The function for one `purpose`; those of two purposes have nothing to do with each other.
    pub fn new(secret: &[u8; SECRET_LEN], purpose: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&secret, purpose.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The number of these octets.
    pub fn number(&self, octets: &[u8]) -> u64 {
        let tag = hmac::sign(&self.0, octets);
        let first = tag.as_ref().first_chunk().copied();
        u64::from_be_bytes(first.unwrap_or_default())
    }
}

/// A new secret from the OS generator; `None` if it gives none.
pub fn fresh_secret() -> Option<[u8; SECRET_LEN]> {
    let mut secret = [0; SECRET_LEN];
    SystemRandom::new().fill(&mut secret).ok()?;
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_secret_purpose_and_octets() {
        let number = |secret: u8, purpose, octets: &str| Keyed::new(&[secret; 32], purpose).number(octets.as_bytes());
        let base = number(1, "a", "x");
        assert_eq!(base, number(1, "a", "x"));
        for other in [number(2, "a", "x"), number(1, "b", "x"), number(1, "a", "y")] {
            assert_ne!(base, other);
        }
        assert_ne!(fresh_secret(), fresh_secret());
    }

    #[test]
    fn the_number_is_the_same_on_every_machine_and_version() {
        // Worked out with Python's hmac module.
        assert_eq!(
            Keyed::new(&[7; 32], "dns.example").number(b"example.com"),
            0xa2ea_b951_e82b_b66f
        );
    }
}
