//! The demonstration certificates of `certs/`, for both sides.

use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Whom the certificate names.
pub(crate) const NAME: &str = "dns.tacenda.test";

/// A file of `certs/`.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/certs")).join(name)
}

fn certificates(name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file(name))
        .and_then(Iterator::collect)
        .map_err(|error| format!("certs/{name}: {error}"))
}

/// Trusts the demonstration's CA alone.
pub(crate) fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem")?);
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Shows the demonstration's certificate; `protocol` is what ALPN settles on, if anything.
pub(crate) fn server_config(protocol: Option<&[u8]>) -> Result<ServerConfig, String> {
    let key = PrivateKeyDer::from_pem_file(file("server.key")).map_err(|error| format!("certs/server.key: {error}"))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates("server.pem")?, key)
        .map_err(|error| format!("certs/server.pem: {error}"))?;
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    Ok(config)
}
