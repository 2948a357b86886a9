//! Landlock: which files are read and written, and to which TCP ports connections go.
//!
//! UDP ports are left open, though Linux 7.2 could close them: replies to clients go to any.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Layer, Needs};

/// What is asked for, whatever else a newer kernel knows (Linux 6.12): nothing is forbidden that was never tried.
const KNOWN: ABI = ABI::V6;

pub(super) fn confine(needs: &Needs) -> Layer {
    match restrict(needs) {
        Ok(RulesetStatus::FullyEnforced) => Layer::Whole,
        Ok(RulesetStatus::PartiallyEnforced) => Layer::Part,
        _ => Layer::Missing,
    }
}

fn restrict(needs: &Needs) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let beneath = |paths: &std::collections::BTreeSet<PathBuf>, access: BitFlags<AccessFs>| {
        path_beneath_rules(paths.clone(), access)
    };
    let ports = needs
        .connect
        .iter()
        .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(beneath(&needs.read, read))?
        .add_rules(beneath(&needs.write, write))?
        .add_rules(ports)?
        .restrict_self()?;
    Ok(status.ruleset)
}
