//! What the service sees of this host: neither home folders nor this moment's /tmp (`ProtectHome=`, `PrivateTmp=`), and as a user of its own
//! what everybody may read.

use std::path::Path;

use crate::cli::{Exit, Failure};
use crate::config::{Config, DEFAULT_PATH};
use crate::os::file;

pub(super) const OUT_OF_SIGHT: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

pub(super) fn is_out(path: &Path) -> bool {
    OUT_OF_SIGHT.iter().any(|folder| path.starts_with(folder))
}

/// Whether it can read the configuration, from `given` or the usual place, and every file that this names.
pub(super) fn of_files(given: Option<&Path>, config: &Config) -> Result<(), Failure> {
    let main = given.unwrap_or_else(|| Path::new(DEFAULT_PATH));
    let named = || std::iter::once(main).chain(config.paths());
    if let Some(path) = named().find(|path| is_out(path)) {
        let kept_out = OUT_OF_SIGHT.join(", ");
        let message = format!(
            "the service cannot see {}: it is kept out of {kept_out}",
            path.display()
        );
        return Err(Failure::new(Exit::Config, message).with_help("put it below /etc/tacenda"));
    }
    if let Some(path) = named().find(|path| !file::others_may_read(path)) {
        let message = format!(
            "the service cannot read {}: it runs as a user of its own",
            path.display()
        );
        let help = format!("sudo chmod o+rX {}", path.display());
        return Err(Failure::new(Exit::Config, message).with_help(help));
    }
    Ok(())
}
