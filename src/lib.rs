//! tacenda: an encrypted DNS stub resolver.

pub mod cache;
pub mod policy;
pub mod resolve;
pub mod shutdown;
pub mod stats;
pub mod transport;
pub mod upstream;
pub mod wire;
