//! What a certificate must be beside what webpki asks for, and the one thing that may be left out: its dates.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::Dates;
use super::pins::Pin;

/// Checks chain and name as ever, the dates unless they are to be ignored, then that the key is pinned if any is.
#[derive(Debug)]
pub(super) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    pins: Vec<Pin>,
    dates: Dates,
}

impl Verifier {
    pub(super) fn new(webpki: Arc<WebPkiServerVerifier>, pins: Vec<Pin>, dates: Dates) -> Self {
        Self { webpki, pins, dates }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |time| {
            self.webpki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, time)
        };
        let mut verified = verify(now);
        if self.dates == Dates::Ignored {
            for _ in 0..MAX_TIMES {
                // At a time when this certificate was good, everything else must be too, its issuers among it.
                let Some(time) = verified.as_ref().err().and_then(good_at) else {
                    break;
                };
                verified = verify(time);
            }
        }
        let verified = verified?;
        if self.pins.is_empty() || self.pins.contains(&Pin::of(end_entity)?) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// A time at which what was refused for its dates was good.
fn good_at(error: &Error) -> Option<UnixTime> {
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => Some(*not_after),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => Some(*not_before),
        _ => None,
    }
}

/// Whether a handshake failed for nothing but a certificate's dates.
pub(super) fn is_about_dates(error: &Error) -> bool {
    good_at(error).is_some()
}

/// Times tried: a chain of four certificates that were valid one after the other is none.
const MAX_TIMES: usize = 4;
