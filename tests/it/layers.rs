//! The rules of the house (`src/lib.rs`), read from the source: who imports whom, and what may stand where.

use std::fs;
use std::path::{Path, PathBuf};

/// Floors, from below. A room imports only from lower ones; rooms of one floor never import each other. `wire` stands at the
/// bottom because it knows nothing but `std`.
const FLOORS: [(&str, u8); 16] = [
    ("stats", 0),
    ("os", 0),
    ("wire", 0),
    ("shutdown", 1),
    ("policy", 2),
    ("cache", 2),
    ("transport", 3),
    ("upstream", 4),
    ("resolve", 5),
    ("serve", 6),
    ("config", 7),
    ("admin", 7),
    ("app", 8),
    ("cli", 9),
    ("main", 10),
    ("lib", 10),
];

/// What may stand only in some files: (text, file prefixes, why).
const PLACES: [(&str, &[&str], &str); 17] = [
    ("unsafe ", &["os/"], "unsafe only at the edge of the OS"),
    ("cfg(target_os", &["os/"], "no OS leaks upward"),
    (
        "serde",
        &["config", "admin", "cli/", "os/dns/", "os/guard/", "os/report"],
        "serialization only at the outermost rooms, in the undo journal, and in what root's helpers write down",
    ),
    (
        "hickory_proto",
        &["upstream/records", "cli/query"],
        "the typed reader stays off the hot path",
    ),
    ("moka", &["cache/mod.rs"], "the cache's engine is behind one file"),
    (
        "ring::",
        &["transport/", "cli/demo/"],
        "cryptography belongs to the transport",
    ),
    (
        "zbus::",
        &["os/dns/linux/bus"],
        "D-Bus is spoken by two files, one that asks and one that listens",
    ),
    (
        "os::dns",
        &["cli/", "os/dns/"],
        "whom the host asks is changed by the user's command alone",
    ),
    (
        "os::link",
        &["app/", "cli/", "os/dns/events.rs", "os/dns/linux/host.rs"],
        "rooms are told of the network, they do not look",
    ),
    ("h2::", &["transport/", "cli/demo/"], "HTTP/2 belongs to the transport"),
    (
        "UdpSocket",
        &[
            "os/",
            "transport/plain/",
            "cli/demo/",
            "cli/query/ask.rs",
            "cli/leaktest/",
        ],
        "promise 1: no datagram but to a client, or with a leave; the leak test sends canaries",
    ),
    (
        "datagrams_to",
        &["os/socket/", "transport/plain/udp.rs", "cli/leaktest/"],
        "promise 1: nobody is sent datagrams without a leave; the leak test sends canaries",
    ),
    (
        "transport::plain",
        &["transport/plain", "upstream/connect.rs", "upstream/route_endpoint.rs"],
        "promise 1: classic DNS is for routes and windows alone",
    ),
    (
        "RouteOnly",
        &["transport/plain", "upstream/connect.rs", "config/", "app/"],
        "promise 1: only what reads a `[[route]]` gives leave for classic DNS",
    ),
    (
        "WindowOnly",
        &["transport/plain", "upstream/connect.rs", "app/portal"],
        "promise 1: only what reads a consent of root's gives leave for a window",
    ),
    ("std::time::Instant::now", &[], "time is a value"),
    ("tokio::net::lookup_host", &[], "promise 1"),
];

/// The longest file.
const MAX_LINES: usize = 500;

/// Every breach of one file's rules, in words.
fn breaches(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let room = room_of(path);
    let Some(floor) = floor_of(room) else {
        return vec![format!("{path}: no floor for `{room}`; add it to FLOORS")];
    };
    if source.lines().count() > MAX_LINES {
        found.push(format!("{path}: more than {MAX_LINES} lines"));
    }
    let is_test_file = is_test(path);
    for (number, line) in (1..).zip(production_lines(source, is_test_file)) {
        let mut breach = |what: String| found.push(format!("{path}:{number}: {what}"));
        for imported in crate_paths(&line).filter(|imported| *imported != room) {
            match floor_of(imported) {
                Some(below) if below < floor => {}
                Some(_) => breach(format!("`{room}` must not import `{imported}`")),
                // A name from the crate's root: `crate::{...}` is written out in this house.
                None => breach(format!("`crate::{imported}` names no room")),
            }
        }
        for (text, places, why) in PLACES {
            if holds(&line, text) && !places.iter().any(|place| path.starts_with(place)) {
                breach(format!("`{}`: {why}", text.trim()));
            }
        }
        if floor < 3 && line.contains("Instant::now") {
            breach("no clock below floor 3".to_owned());
        }
        if floor < 3 && !["shutdown", "os"].contains(&room) && ["tokio", "rustls"].iter().any(|name| uses(&line, name))
        {
            breach("tokio and rustls first appear in the transport".to_owned());
        }
    }
    for (number, line) in (1..).zip(source.lines()) {
        let line = line.trim();
        if line.contains("super::super") {
            found.push(format!("{path}:{number}: no super::super"));
        }
        let is_import = line.starts_with("use ") || line.starts_with("pub use ");
        if is_import && line.contains("::*") && !["use super::*;", "use proptest::prelude::*;"].contains(&line) {
            found.push(format!("{path}:{number}: no glob imports"));
        }
    }
    found
}

/// The room that a file belongs to: its first folder or its name.
fn room_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn floor_of(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Whether a whole file is tests: `x/tests.rs`, `x_tests.rs`, and the tools that only tests use.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    path.contains("/tests/") || name == "tests" || name.ends_with("_tests") || name == "testkit" || name == "testing"
}

/// The file's lines with comments, strings and test modules blanked out, so that line numbers stay right.
fn production_lines(source: &str, is_test_file: bool) -> Vec<String> {
    let mut in_tests = false;
    let mut lines = Vec::new();
    for line in source.lines() {
        // By custom of the house a file's own tests are its last item.
        in_tests |= line.starts_with("#[cfg(test)]") || line.starts_with("mod tests {");
        lines.push(if in_tests || is_test_file {
            String::new()
        } else {
            without_text(line)
        });
        // `#[cfg(test)] mod x;` in the middle of the module list ends with its line.
        if in_tests && line.ends_with(';') && line.starts_with(['m', 'p']) {
            in_tests = false;
        }
    }
    lines
}

/// A line without its comment and without what stands in quotes.
fn without_text(line: &str) -> String {
    let (mut out, mut quoted, mut rest) = (String::new(), false, line.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '\\' if quoted => drop(rest.next()),
            '\'' if !quoted && rest.peek() == Some(&'"') => drop(rest.by_ref().take(2).count()),
            '"' => quoted = !quoted,
            '/' if !quoted && rest.peek() == Some(&'/') => break,
            _ if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// The first segment of every path that begins with `crate::`.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::")
        .filter(|(at, _)| !line[..*at].ends_with(is_word))
        .map(|(at, text)| {
            let path = &line[at + text.len()..];
            &path[..path.find(|c| !is_word(c)).unwrap_or(path.len())]
        })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a line holds this text; one that ends in `::` must begin a path (`string::` is not `ring::`).
fn holds(line: &str, text: &str) -> bool {
    text.strip_suffix("::")
        .map_or_else(|| line.contains(text), |name| uses(line, name))
}

/// Whether a line holds a path that begins with this crate.
fn uses(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(|c| is_word(c) || c == ':'))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_source_file_keeps_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "the sources were not found");
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        all.extend(breaches(&path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(all.is_empty(), "{} breaches:\n{}", all.len(), all.join("\n"));
}

/// One breach with this text, or none.
fn check(path: &str, source: &str, expected: Option<&str>) {
    let found = breaches(path, source);
    match expected {
        Some(text) => assert!(
            found.len() == 1 && found[0].contains(text),
            "{path}: {source:?} gave {found:?}"
        ),
        None => assert_eq!(found, Vec::<String>::new(), "{path}: {source:?}"),
    }
}

#[test]
fn the_floors_are_enforced() {
    check("serve/udp.rs", "use crate::resolve::Resolver;", None);
    check("serve/udp.rs", "use crate::serve::limits::Limits;", None);
    check(
        "resolve/mod.rs",
        "use crate::serve::udp;",
        Some("`resolve` must not import `serve`"),
    );
    check(
        "cache/mod.rs",
        "use crate::policy::rules;",
        Some("`cache` must not import `policy`"),
    );
    check(
        "wire/name.rs",
        "use crate::stats::Counter;",
        Some("`wire` must not import `stats`"),
    );
    check(
        "admin/mod.rs",
        "use crate::config::Config;",
        Some("`admin` must not import `config`"),
    );
    check(
        "upstream/pool.rs",
        "    let x = crate::config::load();",
        Some("must not import `config`"),
    );
    check("app.rs", "use crate::cli::run;", Some("`app` must not import `cli`"));
    check("cli/run.rs", "use crate::app::App;", None);
    check("serve/mod.rs", "use crate::{wire, cli};", Some("names no room"));
    check("attic/mod.rs", "", Some("no floor for `attic`"));
}

#[test]
fn the_places_are_enforced() {
    check("serve/udp.rs", "    unsafe { libc::recvmmsg() }", Some("unsafe"));
    check("os/socket.rs", "    unsafe { libc::recvmmsg() }", None);
    check(
        "cli/run.rs",
        "#[cfg(target_os = \"linux\")]",
        Some("no OS leaks upward"),
    );
    check("resolve/mod.rs", "use serde::Serialize;", Some("serialization"));
    check(
        "wire/answer.rs",
        "use hickory_proto::op::Message;",
        Some("typed reader"),
    );
    check("cache/lifetime.rs", "use moka::sync::Cache;", Some("cache's engine"));
    check(
        "upstream/pool.rs",
        "use ring::rand::SystemRandom;",
        Some("cryptography"),
    );
    check("upstream/pool.rs", "use tokio::net::UdpSocket;", Some("promise 1"));
    check("transport/dial.rs", "use tokio::net::UdpSocket;", Some("promise 1"));
    check(
        "upstream/bootstrap.rs",
        "use crate::transport::plain::Plain;",
        Some("for routes and windows alone"),
    );
    check("transport/dot.rs", "use super::plain::RouteOnly;", Some("gives leave"));
    check(
        "resolve/mod.rs",
        "    WindowOnly::for_a_time(left, index, names)",
        Some("gives leave"),
    );
    check("transport/plain/udp.rs", "use tokio::net::UdpSocket;", None);
    check("config/route.rs", "    RouteOnly::for_zones(zones)", None);
    check(
        "serve/udp.rs",
        "    let now = std::time::Instant::now();",
        Some("time is a value"),
    );
    check(
        "policy/rules.rs",
        "    let now = Instant::now();",
        Some("no clock below floor 3"),
    );
    check(
        "cache/mod.rs",
        "use tokio::sync::Mutex;",
        Some("first appear in the transport"),
    );
}

#[test]
fn globs_and_grandparents_and_long_files_are_seen() {
    check("serve/mod.rs", "use std::io::*;", Some("no glob imports"));
    check("serve/mod.rs", "use super::super::wire;", Some("no super::super"));
    check("serve/mod.rs", &"\n".repeat(501), Some("more than 500 lines"));
}

#[test]
fn comments_strings_and_tests_are_no_breaches() {
    check(
        "wire/mod.rs",
        "//! moka and serde and tokio::spawn belong elsewhere",
        None,
    );
    check(
        "wire/mod.rs",
        "    let text = \"use crate::cli; unsafe \\\" serde\"; // ring::x",
        None,
    );
    check(
        "wire/mod.rs",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n    use hickory_proto::op::Message;\n}",
        None,
    );
    check(
        "wire/mod.rs",
        "#[cfg(test)]\nmod testkit;\nuse crate::serve::udp;",
        Some("must not import `serve`"),
    );
    check("wire/name_tests.rs", "use hickory_proto::rr::Name;", None);
    check("wire/query/tests.rs", "use super::*;", None);
}
