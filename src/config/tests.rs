use std::fs;
use std::path::Path;

use super::load::assemble;
use super::problem::Source;
use super::*;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
    }
}

fn flags() -> Flags {
    Flags::default()
}

/// Loads one file's text.
fn read(text: &str) -> Result<Loaded, ConfigError> {
    assemble(vec![source("t.toml", text)], &flags())
}

fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|error| panic!("{error}")).config
}

/// The problems of one file's text.
fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

/// Exactly one problem, at this line and column, with these words in it.
fn check(text: &str, position: &str, words: &str) {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(
        problems[0].starts_with(&format!("t.toml:{position}: ")),
        "{}",
        problems[0]
    );
    assert!(problems[0].contains(words), "{}", problems[0]);
}

fn flag_problem(flags: &Flags) -> String {
    assemble(Vec::new(), flags).unwrap_err().to_string()
}

#[test]
fn the_commented_default_equals_the_default() {
    assert_eq!(config(DEFAULT_FILE), Config::default());
    assert_eq!(config("listen = [\"127.0.0.1:53\"]\n").listen.chosen_by, ChosenBy::User);
}

#[test]
fn what_packages_bring_is_the_default_and_a_container_answers_its_neighbours() {
    assert_eq!(
        config(include_str!("../../config/package/tacenda.toml")),
        Config::default()
    );
    let container = config(include_str!("../../config/package/container.toml"));
    assert_eq!(container.upstreams, Config::default().upstreams);
    assert!(
        container
            .listen
            .addresses
            .iter()
            .all(|address| address.ip().is_unspecified())
    );
}

#[test]
fn the_commented_default_shows_every_key() {
    let shown = read("").unwrap().to_string();
    for line in shown.lines() {
        let key = line.split(" = ").next().unwrap();
        assert!(
            key.is_empty() || DEFAULT_FILE.lines().any(|line| line.starts_with(key)),
            "{key} is missing"
        );
    }
}

#[test]
fn the_default_is_design_1() {
    let config = Config::default();
    assert_eq!(
        config.listen.addresses,
        ["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
    );
    assert_eq!(config.listen.chosen_by, ChosenBy::Default);
    assert_eq!(config.stats, Some("127.0.0.1:8053".parse().unwrap()));
    let names: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    assert_eq!(names, ["dns.quad9.net", "dns.mullvad.net", "cloudflare-dns.com"]);
    assert!(
        config
            .upstreams
            .iter()
            .all(|upstream| !upstream.addresses.is_empty() && upstream.roots == Roots::Bundled)
    );
    assert_eq!((config.cache.max_bytes, config.cache.min_ttl.as_secs()), (64 << 20, 0));
    assert_eq!(
        (config.cache.max_ttl.as_secs(), config.cache.max_negative_ttl.as_secs()),
        (86_400, 3_600)
    );
}

#[test]
fn no_file_and_no_flags_are_the_defaults() {
    assert_eq!(assemble(Vec::new(), &flags()).unwrap().config, Config::default());
}

#[test]
fn what_is_shown_loads_again_and_says_where_from() {
    let text = "listen = [\"127.0.0.1:5300\"]\n[[upstream]]\nurl = \"tls://dns.example:8853\"\naddresses = [\"192.0.2.1\"]\nserver-name = \"other.example\"\n[cache]\nmax-ttl = \"2h\"\n[stats]\nlisten = \"off\"\n";
    let drop_in = source("d/10.toml", "[cache]\nmin-ttl = \"5s\"\n");
    let roots = Flags {
        roots: Some("system".into()),
        ..flags()
    };
    let loaded = assemble(vec![source("t.toml", text), drop_in], &roots).unwrap();
    let shown = loaded.to_string();
    assert_eq!(config(&shown), loaded.config, "{shown}");
    let origin = |key: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{key} = ")))
            .unwrap();
        line.split("  # ").nth(1).unwrap().to_owned()
    };
    assert_eq!(origin("listen"), "t.toml:1");
    assert_eq!(origin("addresses"), "t.toml:4");
    assert_eq!(origin("name"), "default");
    assert_eq!(origin("min-ttl"), "d/10.toml:2");
    assert_eq!(origin("max-ttl"), "t.toml:7");
    assert_eq!(origin("max-negative-ttl"), "default");
    assert_eq!(origin("roots"), "flag --roots");
}

#[test]
fn tables_merge_by_key_and_lists_are_replaced() {
    let main = source(
        "m",
        "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n[cache]\nmax-bytes = \"8 MiB\"\nmax-ttl = \"2h\"\n",
    );
    let first = source("a", "listen = [\"127.0.0.1:3\"]\n[cache]\nmax-ttl = \"3h\"\n");
    let second = source("b", "[cache]\nmax-ttl = \"4h\"\n");
    let config = assemble(vec![main, first, second], &flags()).unwrap().config;
    assert_eq!(config.listen.addresses, ["127.0.0.1:3".parse().unwrap()]);
    assert_eq!(
        (config.cache.max_bytes, config.cache.max_ttl.as_secs()),
        (8 << 20, 4 * 3600)
    );
}

#[test]
fn flags_win_and_replace_the_lists() {
    let main = source(
        "m",
        "listen = [\"127.0.0.1:1\"]\n[[upstream]]\nurl = \"tls://9.9.9.9\"\n",
    );
    let flags = Flags {
        listen: vec!["127.0.0.1".into()],
        upstream: vec!["tls://dns.example".into()],
        address: vec!["192.0.2.1".into(), "2001:db8::1".into()],
        roots: Some("system".into()),
        ..flags()
    };
    let config = assemble(vec![main], &flags).unwrap().config;
    assert_eq!(config.listen.addresses, ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].addresses.len(), 2);
    assert_eq!(config.upstreams[0].roots, Roots::System);
}

#[test]
fn r15_several_problems_come_at_once() {
    let found = problems(
        "listen = [\"0.0.0.0:53\", \"here\"]\nstrategy = \"best\"\n[[upstream]]\nurl = \"udp://9.9.9.9\"\n[[upstream]]\nurl = \"https://dns.example\"\n[cache]\nmax-bytes = 5\nmax-ttl = \"1x\"\n",
    );
    let lines: Vec<_> = found
        .iter()
        .map(|problem| problem.split(':').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["1", "1", "2", "4", "6", "8", "9"], "{found:#?}");
}

#[test]
fn t_amp_an_open_address_needs_an_allow_list() {
    check(
        "listen = [\"127.0.0.1:54\", \"0.0.0.0:53\"]\n",
        "1:27",
        "nobody said who may ask",
    );
    check("listen = [\"[::]:53\"]\n", "1:11", "allow = [");
    check(
        "listen = [\"192.168.1.1:53\"]\nallow = []\n",
        "1:11",
        "nobody said who may ask",
    );
    assert_eq!(
        config("listen = [\"0.0.0.0:53\"]\nallow = [\"192.168.0.0/16\"]\n")
            .allow
            .len(),
        1
    );
    assert_eq!(config("listen = [\"[::ffff:127.0.0.1]:53\"]\n").allow.len(), 0);
    let flags = Flags {
        listen: vec!["0.0.0.0:53".into()],
        ..flags()
    };
    assert!(flag_problem(&flags).starts_with("--listen 0.0.0.0:53: this address can be reached from other machines"));
}

#[test]
fn t_amp_the_rate_of_a_client_network() {
    let rate = |text: &str| config(text).rate_limit.map(NonZeroU32::get);
    assert_eq!(rate(""), Some(1000));
    assert_eq!(rate("rate-limit = 1\n"), Some(1));
    assert_eq!(rate("rate-limit = 1_000_000\n"), Some(1_000_000));
    assert_eq!(rate("rate-limit = 0\n"), None);
    for (wrong, words) in [
        ("-1", "write 1 to 1000000, or 0 for no limit"),
        ("1000001", "1000001 queries a second are no rate"),
        ("4294967296", "write 1 to 1000000"),
        ("\"1000\"", "expected a whole number"),
        ("1.5", "expected a whole number"),
        ("false", "expected a whole number"),
    ] {
        check(&format!("allow = []\nrate-limit = {wrong}\n"), "2:14", words);
    }
    let loaded = read("rate-limit = 0\n").unwrap();
    let shown = loaded.to_string();
    assert!(
        shown.contains("\nrate-limit = 0 ") && config(&shown) == loaded.config,
        "{shown}"
    );
}

#[test]
fn listen_addresses() {
    check("listen = []\n", "1:10", "nothing to listen on");
    check(
        "listen = [\"127.0.0.1:53\", \"127.0.0.1\"]\n",
        "1:27",
        "127.0.0.1:53 is in the list already",
    );
    check(
        "allow = [\"::1\"]\nlisten = [\"0.0.0.0:53\", \"127.0.0.1:53\"]\n",
        "2:25",
        "0.0.0.0:53 is in the list already",
    );
    check(
        "allow = [\"::1\"]\nlisten = [\"0.0.0.0:8053\"]\n",
        "2:11",
        "the stats endpoint listens on this port too",
    );
    config(
        "allow = [\"::1\"]\nlisten = [\"0.0.0.0:53\", \"[::]:53\", \"127.0.0.1:54\", \"127.0.0.1:0\", \"127.0.0.1:0\"]\n",
    );
    check("listen = [\"localhost:53\"]\n", "1:11", "names are not looked up");
    check(
        "listen = [\"127.0.0.1:8053\"]\n",
        "1:11",
        "the stats endpoint listens on this port too (default)",
    );
}

#[test]
fn cache_bounds() {
    check(
        "[cache]\nmax-ttl = \"1m\"\nmin-ttl = \"5m\"\n",
        "2:11",
        "max-ttl (1m, t.toml:2) is smaller than min-ttl (5m, t.toml:3)",
    );
    check(
        "[cache]\nmax-negative-ttl = \"1m\"\nmin-ttl = \"5m\"\n",
        "2:20",
        "is smaller than min-ttl",
    );
    check("[cache]\nmax-ttl = \"8d\"\n", "2:11", "more than 7d");
    check("[cache]\nserve-stale = \"73h\"\n", "2:15", "more than 3d");
    check("[cache]\nserve-stale = 0\n", "2:15", "a time needs its unit");
    check("[cache]\nmin-ttl = \"500ms\"\n", "2:11", "whole seconds");
    check("[cache]\nmax-bytes = \"1 kB\"\n", "2:13", "write 1 MiB to 64 GiB");
    check("[cache]\nmax-bytes = 67108864\n", "2:13", "a size needs its unit");
    check("[cache]\nmax-ttl = 60\n", "2:11", "a time needs its unit");
    check("[cache]\nmax-ttl = \"60 MiB\"\n", "2:11", "unknown unit of time");
}

#[test]
fn serve_stale_and_prefetch_can_be_turned_off() {
    for off in ["\"0s\"", "false"] {
        let loaded = read(&format!("[cache]\nserve-stale = {off}\nprefetch = false\n")).unwrap();
        assert_eq!(
            (loaded.config.cache.serve_stale, loaded.config.cache.prefetch),
            (Duration::ZERO, false)
        );
        assert_eq!(config(&loaded.to_string()), loaded.config, "what is shown loads again");
    }
    let three_days = config("[cache]\nserve-stale = \"3d\"\n").cache.serve_stale;
    assert_eq!(three_days.as_secs(), 259_200);
}

#[test]
fn the_rest_of_the_keys() {
    check("version = 2\n", "1:11", "this tacenda reads `version = 1`");
    check(
        "strategy = \"best\"\n",
        "1:12",
        "write \"in-order\", \"fastest\" or \"spread\"",
    );
    check("allow = [\"192.168.1.7/16\"]\n", "1:10", "192.168.0.0/16");
    check(
        "[stats]\nlisten = \"0.0.0.0:8053\"\n",
        "2:10",
        "only listens on loopback",
    );
    check(
        "listen = [\"0.0.0.0:53\"]\nallow = [\"lan\"]\n",
        "2:10",
        "not an IP address or network",
    );
    check("[stats]\nlisten = \"8053\"\n", "2:10", "\"127.0.0.1:8053\" or \"off\"");
    assert_eq!(config("[stats]\nlisten = \"off\"\n").stats, None);
}

#[test]
fn flags_are_named_in_their_errors() {
    let two = Flags {
        upstream: vec!["tls://9.9.9.9".into(), "tls://1.1.1.1".into()],
        address: vec!["9.9.9.9".into()],
        ..flags()
    };
    assert!(flag_problem(&two).starts_with("--address 9.9.9.9: `--address` says where the one `--upstream` is"));
    let stranger = Flags {
        upstream: vec!["tls://dns.example".into()],
        upstream_flag: UpstreamFlag::Via,
        ..flags()
    };
    assert!(flag_problem(&stranger).contains("say where it is: --address IP"));
    let wrong = Flags {
        upstream: vec!["9.9.9.9".into()],
        ..flags()
    };
    let text = flag_problem(&wrong);
    assert!(
        text.starts_with("--upstream 9.9.9.9: no scheme") && !text.contains("no upstream to ask"),
        "{text}"
    );
}

#[test]
fn what_an_unread_file_says_is_not_missed_elsewhere() {
    let main = source("m", "allow = [\"10.0.0.0/8\"]\ntypo = 1\n");
    let flags = Flags {
        listen: vec!["0.0.0.0:53".into()],
        ..flags()
    };
    let error = assemble(vec![main], &flags).unwrap_err().to_string();
    assert!(
        error.contains("unknown key `typo`") && !error.contains("who may ask"),
        "{error}"
    );
}

#[test]
fn files_are_found_and_laid_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("config.d")).unwrap();
    fs::write(at("t.toml"), "[cache]\nmax-ttl = \"2h\"\nmin-ttl = \"1s\"\n").unwrap();
    fs::write(at("config.d/20.toml"), "[cache]\nmax-ttl = \"20m\"\n").unwrap();
    fs::write(at("config.d/10.toml"), "[cache]\nmax-ttl = \"10m\"\n").unwrap();
    fs::write(at("config.d/30.toml~"), "not read").unwrap();
    fs::write(at("config.d/.40.toml"), "not read").unwrap();
    let loaded = load(Some(&at("t.toml")), &flags()).unwrap();
    assert_eq!(
        (
            loaded.config.cache.max_ttl.as_secs(),
            loaded.config.cache.min_ttl.as_secs()
        ),
        (1200, 1)
    );
    assert_eq!(
        loaded.files,
        [at("t.toml"), at("config.d/10.toml"), at("config.d/20.toml")]
    );
}

#[test]
fn a_relative_roots_file_counts_from_the_config() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::write(at("empty.pem"), "nothing\n").unwrap();
    fs::write(
        at("t.toml"),
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nroots = \"ca.pem\"\n",
    )
    .unwrap();
    assert_eq!(
        load(Some(&at("t.toml")), &flags()).unwrap().config.upstreams[0].roots,
        Roots::File(at("ca.pem"))
    );
    fs::write(
        at("t.toml"),
        "[[upstream]]\nurl = \"tls://9.9.9.9\"\nroots = \"empty.pem\"\n",
    )
    .unwrap();
    assert!(
        load(Some(&at("t.toml")), &flags())
            .unwrap_err()
            .to_string()
            .contains("no PEM certificate in")
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let kind = |path: &Path| match load(Some(path), &flags()) {
        Err(ConfigError::Unreadable { kind, .. }) => kind,
        other => panic!("{other:?}"),
    };
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(kind(&directory.path().join("none.toml")), std::io::ErrorKind::NotFound);
    assert_eq!(kind(directory.path()), std::io::ErrorKind::IsADirectory);
    let binary = directory.path().join("b.toml");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert_eq!(kind(&binary), std::io::ErrorKind::InvalidData);
    let huge = directory.path().join("h.toml");
    fs::write(&huge, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(kind(&huge), std::io::ErrorKind::Other);
}

proptest! {
    /// The default file with a stretch cut out and something else put in: loads or complains, and never panics.
    #[test]
    fn a_mutilated_file_is_no_panic(at in 0..DEFAULT_FILE.len(), cut in 0..80_usize, insert in "[\\[\\]a-z=\"0-9 .:\n\\PC]{0,12}") {
        let start = DEFAULT_FILE.floor_char_boundary(at);
        let end = DEFAULT_FILE.ceil_char_boundary((start + cut).min(DEFAULT_FILE.len()));
        let text = format!("{}{insert}{}", &DEFAULT_FILE[..start], &DEFAULT_FILE[end..]);
        match read(&text) {
            Ok(loaded) => prop_assert_eq!(config(&loaded.to_string()), loaded.config),
            Err(error) => prop_assert!(error.to_string().starts_with("t.toml:")),
        }
    }
}

mod pins;

mod records;
mod routes;
mod upstreams;

#[test]
fn the_guard_is_read_and_checked() {
    use crate::os::guard::ruleset::{Exempt, Mode, Protocol};
    let read = config("[guard]\nmode = \"reject\"\nexempt = [\"udp://198.51.100.7:53\", \"tcp://[2001:db8::7]:853\"]\nmulticast-dns = true\n").guard;
    let exempt = |protocol, server: &str| Exempt {
        protocol,
        server: server.parse().unwrap(),
    };
    assert_eq!((read.mode, read.multicast_dns), (Mode::Reject, true));
    let expected = [
        exempt(Protocol::Udp, "198.51.100.7:53"),
        exempt(Protocol::Tcp, "[2001:db8::7]:853"),
    ];
    assert_eq!(read.exempt, expected);
    check("[guard]\nmode = \"open\"\n", "2:8", "\"redirect\" or \"reject\"");
    for server in [
        "198.51.100.7",
        "udp://198.51.100.7",
        "udp://vpn.example:53",
        "udp://0.0.0.0:53",
        "udp://224.0.0.251:5353",
        "tls://192.0.2.1:853",
    ] {
        check(
            &format!("[guard]\nexempt = [\"{server}\"]\n"),
            "2:11",
            "udp://198.51.100.7:53",
        );
    }
    assert!(config("").guard.exempt.is_empty() && !config("").guard.multicast_dns);
}
