use std::fs;

use super::*;
use crate::config::RecordsFrom;

#[test]
fn records_and_hosts_files_are_named_in_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("zones")).unwrap();
    fs::write(at("zones/1"), "; mine\nb.example A 192.0.2.2\n").unwrap();
    fs::write(at("zones/.old"), "not a record").unwrap();
    fs::write(at("hosts"), "192.0.2.3 c.example\nwhat is this\n").unwrap();
    let text = format!(
        "[policy]\nhosts = [\"{}\"]\nrecords = [\"a.example TXT 'x  y'\", \"{}\"]\n",
        at("hosts"),
        at("zones")
    );
    let loaded = read(&text).unwrap();
    let policy = &loaded.config.policy;
    assert_eq!(policy.hosts, [folder.path().join("hosts")]);
    assert_eq!(
        policy.records,
        [
            RecordsFrom::Line("a.example TXT 'x  y'".into()),
            RecordsFrom::Path(folder.path().join("zones"))
        ]
    );
    let shown = loaded.to_string();
    assert_eq!(config(&shown).policy, loaded.config.policy, "what is shown loads again");
}

#[test]
fn a_mistake_in_a_record_is_shown_where_it_is() {
    check(
        "[policy]\nrecords = [\"nas.example A\"]\n",
        "2:26",
        "expected an IPv4 address",
    );
    let line = "[policy]\nrecords = [\"a.example A 192.0.2.1\",\n  'nas.example A 192.168.1.500 ; why']\n";
    check(line, "3:18", "expected an IPv4 address");
    assert!(
        problems(line)[0].contains("|                  ^^^^^^^^^^^^^\n")
            || problems(line)[0].ends_with("^^^^^^^^^^^^^")
    );
    // Of a text with escapes only the whole is shown.
    check(
        "[policy]\nrecords = [\"a.example TXT \\\"x\"]\n",
        "2:12",
        "the quote is not closed",
    );
    check(
        "[policy]\nrecords = [\"a.example CNAME b.example\", \"b.example CNAME a.example\", \"x.example A 192.0.2.1 y\"]\n",
        "2:93",
        "nothing should follow",
    );
    let both = problems("[policy]\nrecords = [\"a.example CNAME b.example\", \"b.example CNAME a.example\"]\n");
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].contains("lead back to this name"));
    check(
        "[policy]\nrecords = [\"/no/such file\"]\n",
        "2:12",
        "cannot read /no/such file",
    );
    check(
        "[policy]\nrecords = [\"nas.example\"]\n",
        "2:12",
        "write a record such as",
    );
    check(
        "[policy]\nhosts = [\"/no/such\"]\n",
        "2:10",
        "hosts files have lines such as",
    );
}

#[test]
fn a_mistake_in_a_file_is_shown_with_the_files_own_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
        at("zone"),
        "\u{feff}; mine\r\n\r\nnas.example\tA\tü\r\nm.example MX 10\n",
    )
    .unwrap();
    let text = format!("[policy]\nrecords = [\"{}\"]\n", at("zone"));
    let problems = problems(&text);
    assert_eq!(problems.len(), 2);
    assert_eq!(
        problems[0],
        format!(
            "{}:3:15: expected an IPv4 address\n  |\n3 | nas.example\tA\tü\n  |            \t \t^",
            at("zone")
        )
    );
    assert!(
        problems[1].starts_with(&format!("{}:4:16: ", at("zone"))),
        "{}",
        problems[1]
    );
    fs::write(at("page"), "<html>\n<body>\n").unwrap();
    check(
        &format!("[policy]\nhosts = [\"{}\"]\n", at("page")),
        "2:10",
        "no line of it is a hosts line",
    );
    fs::write(at("binary"), [0xff, 0xfe, 0]).unwrap();
    check(
        &format!("[policy]\nrecords = [\"{}\"]\n", at("binary")),
        "2:12",
        "not UTF-8 text",
    );
    let many: String = (0..5000).map(|n| format!("\"n{n}.example A 192.0.2.1\",")).collect();
    assert!(super::problems(&format!("[policy]\nrecords = [{many}]\n"))[0].contains("more than 4096"));
}
