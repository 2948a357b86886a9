//! systemd as the service manager of this host: whether it runs, and what `systemctl` says.

use std::path::Path;
use std::process::{Command, Stdio};

/// Where an administrator's own units are, which win over those of packages.
pub const UNIT_FOLDER: &str = "/etc/systemd/system";

/// Where those of packages are.
pub const PACKAGE_FOLDER: &str = "/usr/lib/systemd/system";

/// Whether systemd runs this host (sd_booted(3)).
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Runs `systemctl` with these arguments to its end.
///
/// # Errors
/// Its own words.
pub fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let ended = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    let words = words.trim();
    Err(if words.is_empty() {
        ended.status.to_string()
    } else {
        words.to_owned()
    })
}

/// The one word that `systemctl is-active` or `is-enabled` has for a unit; none if it cannot be asked.
pub fn word(question: &str, unit: &str) -> Option<String> {
    let ended = Command::new("systemctl")
        .args([question, unit])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let word = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    (!word.is_empty()).then_some(word)
}
