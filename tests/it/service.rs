//! The units that `tacenda service` writes, in an image of a root; what systemd makes of them is for the laboratory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{lab, run};

/// A root that nothing is in.
struct Image(tempfile::TempDir);

impl Image {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.0.path().join("etc/systemd/system").join(name)
    }

    fn service(&self, arguments: &[&str]) -> (i32, String, String) {
        let root = self.0.path().to_str().unwrap();
        run(&[&["service"], arguments, &["--root", root]].concat())
    }

    fn install(&self) {
        let (code, _, stderr) = self.service(&["install"]);
        assert_eq!(code, 0, "{stderr}");
    }
}

const UNITS: [&str; 4] = [
    "tacenda.service",
    "tacenda.socket",
    "tacenda-system.service",
    "tacenda-guard.service",
];

#[test]
fn what_is_installed_is_taken_away_again_and_nothing_else() {
    let image = Image::new();
    fs::create_dir_all(image.unit("")).unwrap();
    fs::write(image.unit("other.service"), "[Service]\n").unwrap();
    image.install();
    // Once more, as after an update.
    let (code, stdout, _) = image.service(&["install"]);
    assert_eq!(code, 0);
    assert_eq!(
        stdout.lines().filter(|line| line.starts_with("wrote ")).count(),
        UNITS.len(),
        "{stdout}"
    );
    assert!(!stdout.contains("systemctl"), "nothing is started: {stdout}");
    let (_, stdout, _) = image.service(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["units"][1]["whose"], "ours", "{status}");
    let (code, stdout, _) = image.service(&["uninstall"]);
    assert_eq!(code, 0);
    assert_eq!(
        stdout.lines().filter(|line| line.starts_with("removed ")).count(),
        UNITS.len(),
        "{stdout}"
    );
    let left: Vec<_> = fs::read_dir(image.unit(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["other.service"]);
    let (code, stdout, _) = image.service(&["uninstall"]);
    assert!(code == 0 && stdout.contains("is not there"), "{stdout}");
}

#[test]
fn a_unit_that_was_changed_stays_and_is_said() {
    let image = Image::new();
    image.install();
    let changed = format!(
        "{}\n[Service]\nNice=5\n",
        fs::read_to_string(image.unit(UNITS[0])).unwrap()
    );
    fs::write(image.unit(UNITS[0]), &changed).unwrap();
    let (code, _, stderr) = image.service(&["install"]);
    assert!(
        code == 1 && stderr.contains("tacenda.service was changed by hand"),
        "{code} {stderr}"
    );
    let (code, stdout, _) = image.service(&["uninstall"]);
    assert!(
        code == 0 && stdout.contains("tacenda.service was changed by hand: it stays"),
        "{stdout}"
    );
    assert_eq!(fs::read_to_string(image.unit(UNITS[0])).unwrap(), changed);
    assert!(!image.unit(UNITS[1]).exists(), "the other one was ours");
}

#[test]
fn another_ones_unit_is_never_written_over() {
    let image = Image::new();
    fs::create_dir_all(image.unit("")).unwrap();
    fs::write(image.unit(UNITS[1]), "[Socket]\n").unwrap();
    let (code, _, stderr) = image.service(&["install"]);
    assert!(
        code == 1 && stderr.contains("was not written by tacenda: nothing is done"),
        "{stderr}"
    );
    assert!(!image.unit(UNITS[0]).exists());
    assert_eq!(fs::read_to_string(image.unit(UNITS[1])).unwrap(), "[Socket]\n");
}

#[test]
fn the_socket_unit_listens_where_the_configuration_says() {
    let image = Image::new();
    let path = image.0.path().join("t.toml");
    fs::write(&path, "version = 1\nlisten = [\"127.0.0.9:5300\"]\n").unwrap();
    let (code, _, stderr) = image.service(&["install", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let socket = fs::read_to_string(image.unit(UNITS[1])).unwrap();
    assert!(
        socket.contains("\nListenStream=127.0.0.9:5300\n") && !socket.contains("127.0.0.1"),
        "{socket}"
    );
    let service = fs::read_to_string(image.unit(UNITS[0])).unwrap();
    assert!(
        service.contains(&format!(" run --config {}\n", path.display())),
        "{service}"
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(image.unit(UNITS[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "everybody may read what runs");
    fs::write(&path, "version = 1\nlisten = 5\n").unwrap();
    assert_eq!(image.service(&["install", "--config", path.to_str().unwrap()]).0, 78);
}

#[test]
fn what_a_package_brings_is_not_written_again() {
    let image = Image::new();
    image.install();
    let packages = image.0.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&packages).unwrap();
    for unit in UNITS {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(unit);
        fs::copy(shipped, packages.join(unit)).unwrap();
    }
    // The socket's is the same; the others are for another program's place.
    let (code, stdout, stderr) = image.service(&["install"]);
    assert!(
        code == 0 && stdout.contains("tacenda.socket is there, from a package"),
        "{stdout} {stderr}"
    );
    assert!(!image.unit("tacenda.socket").exists() && image.unit("tacenda.service").exists());
    let (_, stdout, _) = image.service(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&status["units"][0]["whose"], &status["units"][1]["whose"]),
        (&"packages".into(), &"ours".into())
    );
    let file = packages.join("tacenda.socket");
    assert_eq!(status["units"][0]["file"], file.to_str().unwrap());
    let (code, stdout, _) = image.service(&["uninstall"]);
    assert!(
        code == 0 && stdout.contains("tacenda.socket stays, with its package, and is off"),
        "{stdout}"
    );
    assert!(!image.unit("tacenda.service").exists());
    for unit in UNITS {
        assert!(packages.join(unit).exists(), "a package's own: {unit}");
    }
    // An address of another's own needs a file beside it.
    let path = image.0.path().join("t.toml");
    fs::write(&path, "version = 1\nlisten = [\"127.0.0.9:5300\"]\n").unwrap();
    image.service(&["install", "--config", path.to_str().unwrap()]);
    assert!(image.unit("tacenda.socket").exists());
}

/// Nothing here may touch the host that the tests run on, so this is only for one that systemd does not run.
#[test]
fn without_systemd_it_is_said_what_can_be_done() {
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let (code, _, stderr) = run(&["service", "install"]);
    assert!(
        code == 69 && stderr.contains("systemd does not run this host"),
        "{stderr}"
    );
    assert_eq!(run(&["service", "uninstall"]).0, 69);
    assert_eq!(run(&["service", "status"]).0, 0);
}

#[test]
#[ignore = "needs systemd-analyze"]
fn the_units_please_systemd_and_expose_little() {
    let image = Image::new();
    image.install();
    let files = UNITS.map(|unit| image.unit(unit));
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(&files)
        .output()
        .unwrap();
    assert!(verified.status.success());
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    // In tenths; stubby's unit has 61.
    let status = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(&files[0])
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
}

#[test]
#[ignore = "needs root, systemd, overlayfs, python3"]
fn under_a_real_systemd_it_is_installed_runs_and_is_taken_away_in_every_state() {
    lab("systemd.sh", &[]);
}
