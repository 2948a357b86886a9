//! The program; everything is in the library.

use std::process::ExitCode;

/// Why: Cargo.toml.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tacenda::cli::main()
}
