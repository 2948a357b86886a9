//! The page at the stats endpoint, in a real browser.

use std::process::Command;

use crate::daemon::Config;
use crate::upstream::Upstream;

#[test]
#[ignore = "needs chromium-driver and python3"]
fn t_web_the_page_in_a_browser_and_what_a_hostile_one_can_reach() {
    let upstream = Upstream::honest();
    let daemon = Config::new()
        .dot(&upstream)
        .key("name = \"<img src=x onerror=alert(1)>\"")
        .start();
    let mut browse = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/page.py"));
    browse.args([
        daemon.stats_address().to_string(),
        daemon.dns.to_string(),
        daemon.pid().to_string(),
    ]);
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        browse.arg(folder);
    }
    let output = browse.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.ends_with("all of it holds\n"),
        "{said}{complained}"
    );
}
