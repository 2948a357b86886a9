use std::process::ExitCode;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

/// Every command with its path of names.
fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    found.push((path.to_owned(), command.clone()));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        commands(sub, &format!("{path} {}", sub.get_name()), found);
    }
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn help_renders_for_every_command_within_its_width() {
    let mut root = definition();
    root.build();
    let mut found = Vec::new();
    commands(&root, "tacenda", &mut found);
    assert!(found.len() >= 10, "{found:?}");
    for (path, mut command) in found {
        assert!(command.get_about().is_some(), "{path} has no headline");
        let help = command.render_long_help().to_string();
        assert!(help.contains("Usage: tacenda"), "{path}: {help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 110, "{path}: too wide: {line}");
        }
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{path} {} has no help",
                argument.get_id()
            );
        }
    }
}

#[test]
fn every_example_in_the_help_parses() {
    let mut root = definition();
    root.build();
    let mut found = Vec::new();
    commands(&root, "tacenda", &mut found);
    let mut examples = 0;
    for (path, command) in found {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.strip_prefix("  ")) {
            let line = line.trim_start_matches("sudo ");
            if !line.starts_with("tacenda ") {
                continue;
            }
            let line = line.split("  ").next().unwrap().split(['|', '>', '&']).next().unwrap();
            // In the overview a comment may stand one blank behind the longest example.
            let line = line.split(" straight ").next().unwrap();
            assert!(parse(line).is_ok(), "{path}: {line}: {}", parse(line).unwrap_err());
            examples += 1;
        }
    }
    assert!(examples >= 15, "{examples}");
}

#[test]
fn wrong_usage_is_2() {
    for line in [
        "tacenda",
        "tacenda walk",
        "tacenda query",
        "tacenda query a..b",
        "tacenda query bücher.example",
        "tacenda query https://example.com/",
        "tacenda query 192.168.77.1",
        "tacenda query example.com NOPE",
        "tacenda query example.com --server 9.9.9.9:53",
        "tacenda query example.com --server 127.0.0.1:53 --via tls://9.9.9.9",
        "tacenda query example.com --address 9.9.9.9",
        "tacenda run -v -q",
        "tacenda system",
        "tacenda system set --listen-at 192.0.2.1",
        "tacenda system set --listen-at 127.0.0.1:53",
        "tacenda check --color sometimes",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
    assert_eq!(parse("tacenda --help").unwrap_err().exit_code(), 0);
    assert_eq!(parse("tacenda --version").unwrap_err().exit_code(), 0);
}

#[test]
fn flags_stand_before_and_behind_the_command() {
    for line in ["tacenda -vv --color never check", "tacenda check -v --color=never -v"] {
        let cli = parse(line).unwrap();
        assert_eq!((cli.talk.verbose, cli.talk.color), (2, Color::Never), "{line}");
    }
}

#[test]
fn exit_codes_are_those_of_design_1() {
    let codes = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Unavailable,
        Exit::Io,
        Exit::Permission,
        Exit::Config,
    ];
    assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 69, 74, 77, 78]);
    assert_eq!(
        format!("{:?}", ExitCode::from(Exit::Config)),
        format!("{:?}", ExitCode::from(78))
    );
}

fn check(line: &str) -> (Result<Exit, Failure>, String) {
    let mut buffer = Vec::new();
    let output = Output::buffer(&mut buffer);
    let result = match parse(line).unwrap().command {
        Command::Check(args) => check::run(&args, output),
        Command::Config(command) => config::run(&command, output),
        Command::Completions(args) => completions::run(&args, &mut definition(), output),
        Command::Man(args) => man::run(&args, definition(), output),
        other => panic!("{other:?}"),
    };
    (result, String::from_utf8(buffer).unwrap())
}

#[test]
fn check_says_who_is_asked_and_how() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.toml");
    let two = "[[upstream]]\nurl = \"tls://9.9.9.9\"\n[[upstream]]\nurl = \"tls://x.example\"\n";
    let by_name = "x.example (its address is asked of resolvers that are reached by address)";
    for (strategy, words) in [
        ("in-order", format!("asks 9.9.9.9, then {by_name}")),
        ("fastest", format!("asks the fastest of 9.9.9.9, {by_name}")),
        ("spread", format!("spreads domains over 9.9.9.9, {by_name}")),
    ] {
        std::fs::write(&path, format!("strategy = \"{strategy}\"\n{two}")).unwrap();
        let (_, out) = check(&format!("tacenda check --config {}", path.display()));
        assert!(out.trim_end().ends_with(&words), "{out}");
    }
}

#[test]
fn check_says_ok_or_78() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.toml");
    let line = format!("tacenda check --config {}", path.display());
    std::fs::write(&path, "listen = [\"127.0.0.1:5300\"]\n").unwrap();
    let (result, out) = check(&line);
    assert_eq!(result, Ok(Exit::Done));
    assert!(
        out.starts_with("ok: ") && out.contains("listens on 127.0.0.1:5300, asks dns.quad9.net, then"),
        "{out}"
    );

    std::fs::write(&path, "listen = [\"0.0.0.0:53\"]\nstrategy = \"x\"\n").unwrap();
    let (result, out) = check(&line);
    let failure = result.unwrap_err();
    assert_eq!((failure.exit, out.as_str()), (Exit::Config, ""));
    assert!(
        failure.message.starts_with("2 mistakes in the configuration\n\n"),
        "{failure}"
    );

    let (result, out) = check(&format!("{line} --json"));
    assert_eq!(result, Ok(Exit::Config));
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (value["ok"].as_bool(), value["problems"].as_array().unwrap().len()),
        (Some(false), 2)
    );

    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(&line).0.unwrap_err().exit, Exit::Config);
}

#[test]
fn config_default_is_the_shipped_file_and_show_has_json() {
    assert_eq!(check("tacenda config default").1, crate::config::DEFAULT_FILE);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.toml");
    std::fs::write(&path, "").unwrap();
    let (_, out) = check(&format!("tacenda config show --json --config {}", path.display()));
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["cache"]["max-bytes"], "64 MiB");
}

#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            check(&format!("tacenda completions {shell}")).1.contains("completions"),
            "{shell}"
        );
    }
    let page = check("tacenda man").1;
    assert!(page.contains(".TH tacenda 1") && page.contains("Exit codes"), "{page}");
    assert!(check("tacenda man config show").1.contains(".SH NAME"));
    assert!(check("tacenda man tacenda.toml").1.starts_with(".TH tacenda.toml 5"));
    let folder = tempfile::tempdir().unwrap();
    check(&format!("tacenda man --to {}", folder.path().display()))
        .0
        .unwrap();
    for page in ["man1/tacenda.1", "man1/tacenda-system-set.1", "man5/tacenda.toml.5"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH \"SEE ALSO\""), "{page}");
    }
    assert!(!folder.path().join("man1/tacenda-system-ask-libc.1").exists());
    assert_eq!(check("tacenda man --to /proc/nowhere").0.unwrap_err().exit, Exit::Io);
    assert_eq!(check("tacenda man walk").0.unwrap_err().exit, Exit::Usage);
}

#[test]
fn check_reads_lists_and_names_lines_that_are_no_rules() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("ads"), "a.example\n/banner/\nb.example\nbücher.example\n").unwrap();
    std::fs::write(at("hosts"), "192.0.2.1 a b\n").unwrap();
    let text = format!(
        "version = 1\n[policy]\nblock = [\"{}\"]\nhosts = [\"{}\"]\n",
        at("ads"),
        at("hosts")
    );
    std::fs::write(at("t.toml"), text).unwrap();
    let line = format!("tacenda check --config {}", at("t.toml"));
    let (result, out) = check(&line);
    assert_eq!(result, Ok(Exit::Done));
    let lines: Vec<_> = out.lines().skip(1).map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            format!("{}: 2 rules, 2 lines skipped", at("ads")),
            format!("{}:2: not a domain name", at("ads")),
            format!(
                "{}:4: a name in Unicode; lists have to give its punycode, `xn--...`",
                at("ads")
            ),
            format!("{}: 2 rules", at("hosts")),
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&check(&format!("{line} --json")).1).unwrap();
    assert_eq!(
        (&json["lists"][0]["skipped"], &json["lists"][0]["lines"][1]["line"]),
        (&2.into(), &4.into())
    );
    std::fs::write(at("ads"), "<html>\n").unwrap();
    let failure = check(&line).0.unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    assert!(failure.message.contains("no line of it is a name"), "{failure}");
    let (result, out) = check(&format!("{line} --json"));
    assert!(
        result == Ok(Exit::Config) && out.contains("no line of it is a name"),
        "{out}"
    );
}
