//! tacenda: an encrypted DNS stub resolver.

pub mod shutdown;
pub mod stats;
pub mod wire;
