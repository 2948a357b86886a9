use super::*;

#[test]
fn what_the_service_cannot_see_or_read_is_said_before_it_fails() {
    let config = |block: &str| {
        let mut config = Config::default();
        config.policy.block = vec![block.into()];
        config
    };
    let check = |program: &str, given: Option<&str>, config: &Config, expected: &str| {
        let refused = within_sight(Path::new(program), given.map(Path::new), config).unwrap_err();
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.to_string().contains(expected), "{refused}");
    };
    let good = "/usr/local/bin/tacenda";
    assert_eq!(
        within_sight(Path::new(good), None, &config("/etc/tacenda/lists")),
        Ok(())
    );
    check(
        "/home/me/.cargo/bin/tacenda",
        None,
        &Config::default(),
        "sudo install -m 755 /home/me/.cargo/bin/tacenda",
    );
    check(
        good,
        Some("/root/tacenda.toml"),
        &Config::default(),
        "cannot see /root/tacenda.toml",
    );
    check(good, None, &config("/home/me/ads.txt"), "cannot see /home/me/ads.txt");
}

#[cfg(unix)]
#[test]
fn what_others_may_not_read_is_seen() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    for (path, mode, expected) in [
        (path.as_path(), 0o644, true),
        (&path, 0o640, false),
        (folder.path(), 0o755, true),
        (folder.path(), 0o751, false),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(file::others_may_read(path), expected, "{mode:o}");
    }
    assert!(file::others_may_read(&folder.path().join("none")));
}
