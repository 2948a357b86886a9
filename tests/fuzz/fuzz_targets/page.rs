//! Run with `cargo +nightly fuzz run --fuzz-dir tests/fuzz page`.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::page(octets));
