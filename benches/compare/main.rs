//! The comparison with the peers, B1 to B12: the real binary beside whichever of Unbound, dnsdist, Knot Resolver, smartdns, dnsmasq, stubby,
//! dnscrypt-proxy and dnsproxy are installed, and beside what cannot be beaten (`limit-echo`, `limit-relay`). README.md beside this file
//! says what the figures mean and how they are taken.

#[cfg(target_os = "linux")]
mod children;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod closed;
#[cfg(target_os = "linux")]
mod configs;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
mod open;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod path;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod source;
#[cfg(target_os = "linux")]
mod source_doh;
#[cfg(target_os = "linux")]
mod source_dot;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(target_os = "linux")]
mod upstream;
#[cfg(target_os = "linux")]
mod wire;

/// Receive buffers hold a burst of thousands: what is measured is the server, not the kernel's patience.
#[cfg(target_os = "linux")]
const BUFFER: i32 = 4 << 20;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
