//! The rows, one file for each family: what is measured, how, and what the target is.

pub(crate) mod clients;
pub(crate) mod herd;
pub(crate) mod hit;
pub(crate) mod loss;
pub(crate) mod miss;
pub(crate) mod recovery;
pub(crate) mod size;
pub(crate) mod start;
pub(crate) mod syscalls;
pub(crate) mod tail;
