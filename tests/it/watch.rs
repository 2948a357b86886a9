//! What is set as system DNS stays set.

use std::process::Command;

#[test]
#[ignore = "needs root, mount and network namespaces, python3"]
fn a_program_that_rewrites_resolv_conf_without_end_is_named_and_shut_out() {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/fight.sh"))
        .args([env!("CARGO_BIN_EXE_tacenda"), "30"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
