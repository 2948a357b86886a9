//! Black-box tests over the real binary, a scripted resolver behind it, and the rules of the house.
//!
//! One binary with modules: `daemon`, `client`, `upstream` and `script` are the tools, every other module is conversations.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod activation;
mod bootstrap;
mod broken;
mod caching;
mod client;
mod clock;
mod command;
mod corpus;
mod daemon;
mod doctor;
mod economy;
mod edns;
mod explain;
mod failover;
mod figures;
mod flood;
mod guard;
mod hostile;
mod hostile_dns;
mod hostile_h2;
mod hostile_http;
mod hostile_silence;
mod layers;
mod lists;
mod local;
mod manager;
mod message;
mod network;
mod ordeal;
mod page;
mod peers;
mod portal;
mod privacy;
mod rate;
mod raw;
mod records;
mod reload;
mod routes;
mod sandbox;
mod script;
mod service;
mod stale;
mod status;
mod strategy;
mod stream;
mod system;
mod tls;
mod upstream;
mod watch;
