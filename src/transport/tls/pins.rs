//! Pinned keys (RFC 7469 section 2.4, RFC 7858 section 4.2): an upstream whose key is known beforehand must show it,
//! *beside* a valid chain, name and time and never instead of them.
//!
//! Only the server's own certificate is compared. RFC 7469 also takes the key of any authority in the validated chain,
//! but rustls does not tell which chain it validated, and what the server *sent* proves nothing: whoever has a valid
//! certificate from any other authority could append the pinned one's certificate, which is public.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ring::digest;
use rustls::Error;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// The SHA-256 of a public key, as `SubjectPublicKeyInfo` in DER. Written `sha256/` and 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; digest::SHA256_OUTPUT_LEN]);

impl Pin {
    /// The pin of a certificate's key.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let mut pin = [0; digest::SHA256_OUTPUT_LEN];
        pin.copy_from_slice(digest::digest(&digest::SHA256, &key).as_ref());
        Ok(Self(pin))
    }
}

/// As the configuration writes it.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// It does not begin with `sha256/`.
    Hash,
    /// What follows is not base64.
    Base64,
    /// It is base64 of so many octets, not 32.
    Length(usize),
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash => f.write_str("a pin begins with `sha256/`: no other hash is known"),
            Self::Base64 => f.write_str("what follows `sha256/` is not base64"),
            Self::Length(len) => write!(f, "a SHA-256 has 32 octets, this has {len}"),
        }
    }
}

impl std::error::Error for PinError {}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(PinError::Hash)?;
        let octets = BASE64.decode(encoded.as_bytes()).map_err(|_| PinError::Base64)?;
        let len = octets.len();
        octets.try_into().map(Self).map_err(|_| PinError::Length(len))
    }
}

/// The only hash that RFC 7469 section 2.1.1 defines.
const PREFIX: &str = "sha256/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r8310_4_a_pin_is_the_hash_of_the_public_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["dns.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let expected = digest::digest(&digest::SHA256, &rcgen::PublicKeyData::subject_public_key_info(&key));
        let pin = Pin::of(certificate.der()).unwrap();
        assert_eq!(pin.0.as_slice(), expected.as_ref());
        assert_eq!(pin.to_string().parse(), Ok(pin));
        assert!(Pin::of(&CertificateDer::from(&b"no certificate"[..])).is_err());
    }

    #[test]
    fn a_text_that_is_no_pin() {
        let parse = |text: &str| text.parse::<Pin>().unwrap_err();
        // RFC 7469 section 2.1.5.
        let text = "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=";
        assert_eq!(text.parse::<Pin>().unwrap().to_string(), text);
        assert_eq!(parse("sha1/d6qzRu9zOECb90Uez27xWltNsj0="), PinError::Hash);
        assert_eq!(parse("d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM="), PinError::Hash);
        assert_eq!(
            parse("sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM"),
            PinError::Base64
        );
        assert_eq!(
            parse("sha256/d6qzRu9z OECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM="),
            PinError::Base64
        );
        assert_eq!(parse("sha256/d6qzRu9z"), PinError::Length(6));
        assert_eq!(parse("sha256/"), PinError::Length(0));
    }
}
