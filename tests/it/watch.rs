//! What is set as system DNS stays set.

use crate::daemon::lab;

#[test]
#[ignore = "needs root, mount and network namespaces, python3"]
fn a_program_that_rewrites_resolv_conf_without_end_is_named_and_shut_out() {
    lab("fight.sh", &["30"]);
}
