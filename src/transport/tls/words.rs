//! Words for what goes wrong in TLS: lower case, no full stop, fit for people.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::transport::dial::plain;

/// Words for an error on a TLS stream: what TLS said, if it was TLS.
pub fn io_words(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => words(tls),
        None => plain(error),
    }
}

/// Words for the failures that people meet; the others as rustls names them.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => certificate_words(certificate),
        Error::InvalidMessage(_) => "the peer does not speak tls".to_owned(),
        Error::NoCertificatesPresented => "the peer showed no certificate".to_owned(),
        Error::PeerIncompatible(_) => "the peer speaks neither tls 1.3 nor 1.2 as we do".to_owned(),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the peer does not speak the protocol asked for".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => {
            "the peer speaks neither tls 1.3 nor 1.2 as we do".to_owned()
        }
        Error::AlertReceived(alert) => format!("the peer refused: {alert:?}").to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired, or this host's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet, or this host's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name".to_owned()
        }
        // Only `verifier::Verifier` says this, and only of a chain, name and time that were right.
        CertificateError::ApplicationVerificationFailure => {
            "the certificate's key is none of the pinned ones".to_owned()
        }
        CertificateError::UnknownIssuer => "the certificate was issued by an authority not among the roots".to_owned(),
        CertificateError::BadSignature => "the certificate's signature is wrong, or made by too short a key".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for a server".to_owned()
        }
        // webpki's own errors come wrapped; these two are the ones that people meet.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => "the certificate is an authority's own, not a server's".to_owned(),
            "EndEntityUsedAsCa" => "the certificate was issued by one that is no authority".to_owned(),
            text => format!("the certificate cannot be used: {text}").to_lowercase(),
        },
        other => format!("the certificate cannot be used: {other}").to_lowercase(),
    }
}
