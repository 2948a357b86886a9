//! A process that enters the sandbox and then does what an intruder would. It is this test binary again, with one test and one deed.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

const DEED: &str = "TACENDA_TEST_DEED";
const FOLDER: &str = "TACENDA_TEST_FOLDER";
const PORT: &str = "TACENDA_TEST_PORT";

/// What the child does, and whether it may.
const DEEDS: [(&str, Outcome); 18] = [
    ("read", Outcome::Allowed),
    ("read a replaced file", Outcome::Allowed),
    ("write", Outcome::Allowed),
    ("connect", Outcome::Allowed),
    ("thread", Outcome::Allowed),
    ("read outside", Outcome::Refused),
    ("write where it reads", Outcome::Refused),
    ("make a folder", Outcome::Refused),
    ("link outside", Outcome::Refused),
    ("connect to 53", Outcome::Refused),
    ("bind", Outcome::Refused),
    ("keep rights", Outcome::Refused),
    ("execve", Outcome::Ended),
    ("unshare", Outcome::Ended),
    ("mount", Outcome::Ended),
    ("ptrace", Outcome::Ended),
    ("clone a namespace", Outcome::Ended),
    (OLD_KERNEL, Outcome::Allowed),
];

/// To be without Landlock, and to have the rest all the same.
const OLD_KERNEL: &str = "old kernel";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Refused,
    Ended,
}

#[test]
fn an_intruder_gains_little() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["read", "write", "outside"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("file"), name).unwrap();
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for (deed, expected) in DEEDS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "os::sandbox::tests::intruder",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DEED, deed)
            .env(FOLDER, folder.path())
            .env(PORT, listener.local_addr().unwrap().port().to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("no sandbox here") {
            eprintln!("this kernel has not all layers: nothing is shown");
            return;
        }
        let outcome = match output.status.signal() {
            Some(libc::SIGSYS) => Outcome::Ended,
            None if said.contains("deed done") => Outcome::Allowed,
            None if said.contains("deed refused") => Outcome::Refused,
            _ => panic!(
                "{deed}: {} {said} {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ),
        };
        assert_eq!(outcome, expected, "{deed}");
    }
}

#[test]
#[ignore = "the other process of a test"]
fn intruder() {
    let Ok(deed) = std::env::var(DEED) else { return };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let at = |path: &str| folder.join(path);
    let mut status = File::open("/proc/thread-self/status").unwrap();
    if deed == OLD_KERNEL {
        calls::take_landlock_away();
    }
    let held = enter(&Needs {
        read: read_again(&at("read/file")),
        write: BTreeSet::from([at("write")]),
        connect: BTreeSet::from([port]),
        silences: false,
    });
    if deed == OLD_KERNEL {
        let expected = Held {
            files: Layer::Missing,
            calls: Layer::Whole,
            rights: Layer::Whole,
        };
        assert_eq!(held, expected);
        File::open(at("outside/file")).unwrap();
        println!("deed done");
        return;
    }
    if !held.is_whole() {
        println!("no sandbox here: {held:?}");
        return;
    }
    let done = match deed.as_str() {
        "read" => File::open(at("read/file")).map(drop),
        "read a replaced file" => fs::read_dir(at("read")).map(drop),
        "write" => crate::os::file::replace(&at("write/file"), b"new"),
        "connect" => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop),
        "thread" => std::thread::Builder::new()
            .spawn(|| ())
            .map(|thread| thread.join().unwrap()),
        "read outside" => File::open(at("outside/file")).map(drop),
        "write where it reads" => fs::write(at("read/file"), "x"),
        "make a folder" => fs::create_dir(at("write/folder")),
        "link outside" => fs::hard_link(at("outside/file"), at("write/link")),
        "connect to 53" => TcpStream::connect((Ipv4Addr::LOCALHOST, 53)).map(drop),
        "bind" => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop),
        "keep rights" => rights(&mut status),
        "execve" => Err(std::os::unix::process::CommandExt::exec(&mut Command::new("/bin/true"))),
        other => system_call(other),
    };
    match done {
        Ok(()) => println!("deed done"),
        Err(error) if [ErrorKind::PermissionDenied, ErrorKind::CrossesDevices].contains(&error.kind()) => {
            println!("deed refused");
        }
        Err(error) => panic!("{deed}: {error}"),
    }
}

/// Whether this thread has a capability left, or could gain one.
fn rights(status: &mut File) -> std::io::Result<()> {
    let mut text = String::new();
    status.read_to_string(&mut text)?;
    let has = |line: &str| text.lines().any(|other| other == line);
    let zero = "0000000000000000";
    let is_bare = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
        .iter()
        .all(|set| has(&format!("{set}:\t{zero}")));
    if is_bare && has("NoNewPrivs:\t1") {
        return Err(ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

#[allow(unsafe_code, reason = "what an intruder would do")]
fn system_call(name: &str) -> std::io::Result<()> {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of these calls is carried out; with arguments like these none could do harm.
    let result = unsafe {
        match name {
            "unshare" => libc::c_long::from(libc::unshare(libc::CLONE_NEWUSER)),
            "mount" => libc::syscall(libc::SYS_mount, null, null, null, 0, null),
            "ptrace" => libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, null, null),
            "clone a namespace" => libc::syscall(
                libc::SYS_clone,
                libc::CLONE_NEWUSER | libc::SIGCHLD,
                null,
                null,
                null,
                null,
            ),
            _ => panic!("{name}"),
        }
    };
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[test]
fn what_a_later_configuration_needs_beyond_is_named() {
    let needs = |read: &[&str], connect: &[u16], silences| Needs {
        read: read.iter().map(PathBuf::from).collect(),
        write: BTreeSet::new(),
        connect: connect.iter().copied().collect(),
        silences,
    };
    let given = needs(&["/etc/tacenda", "/lists"], &[443, 853], false);
    let check = |later: Needs, expected: Option<&str>| assert_eq!(later.beyond(&given).as_deref(), expected);
    check(needs(&["/etc/tacenda/lists", "/lists"], &[853], false), None);
    check(needs(&["/etc"], &[], false), Some("reading /etc"));
    check(needs(&["/listsx"], &[], false), Some("reading /listsx"));
    check(needs(&[], &[443, 8853], false), Some("connecting to port 8853"));
    check(needs(&[], &[], true), Some("a route that is bound to a link"));
}

#[test]
fn a_path_is_read_again_where_it_stands_and_where_it_leads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let at = |path: &str| folder.join(path);
    for name in ["store", "other", "lists"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), "").unwrap();
    }
    std::os::unix::fs::symlink(at("store/file"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("other/file"), at("lists/link")).unwrap();
    let check = |path: &str, expected: &[&str]| {
        assert_eq!(
            read_again(&at(path)),
            expected.iter().map(|path| at(path)).collect(),
            "{path}"
        );
    };
    check("store/file", &["store"]);
    check("store/none", &["store"]);
    check("lists", &["lists", "other"]);
    assert_eq!(read_again(&at("link")), BTreeSet::from([folder.clone(), at("store")]));
    assert_eq!(
        read_again(Path::new("/none-there")),
        BTreeSet::from([PathBuf::from("/none-there")])
    );
}
