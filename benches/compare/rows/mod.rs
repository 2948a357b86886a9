//! The rows, one file for each family: what is measured, how, and what the target is.

pub(crate) mod hit;
pub(crate) mod miss;
pub(crate) mod size;
pub(crate) mod syscalls;
