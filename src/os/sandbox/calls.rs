//! seccomp: calls that no resolver makes, and every intruder. Making one ends the process.
//!
//! A list of what is forbidden, not of what is allowed. What libc, the runtime and the TLS library call changes with their versions and from one
//! processor to the next, and a forgotten call would cost a user his DNS on a day when nobody of us looks. The list of what is allowed is
//! kept by those who keep systemd (`SystemCallFilter=@system-service` in the unit); this one holds for those who have no such unit too.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::Layer;

/// On every processor.
const FORBIDDEN: &[c_long] = &[
    // Another program.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Another view of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces, in which one is root again.
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_syslog,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    // Its calls are seen by no filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The clock and the name of the host.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// Those that other processors do not have, and the numbers by which x32 has the same calls (asm/unistd_x32.h).
#[cfg(target_arch = "x86_64")]
fn of_this_processor() -> Vec<c_long> {
    const X32: c_long = 0x4000_0000;
    let own = [
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_modify_ldt,
        libc::SYS_uselib,
        libc::SYS_kexec_file_load,
    ];
    // execve, ptrace, kexec_load, process_vm_readv, process_vm_writev, execveat.
    let renumbered = [520, 521, 528, 539, 540, 545];
    let all = FORBIDDEN.iter().copied().chain(own);
    own.into_iter()
        .chain(all.chain(renumbered).map(|number| number | X32))
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn of_this_processor() -> Vec<c_long> {
    Vec::new()
}

/// Bits of `clone` that begin a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

pub(super) fn forbid() -> Layer {
    let done =
        [end_on_forbidden(), refuse_clone3()].map(|filter| filter.and_then(|filter| apply_filter(&filter)).is_ok());
    match done {
        [true, true] => Layer::Whole,
        [false, false] => Layer::Missing,
        _ => Layer::Part,
    }
}

fn end_on_forbidden() -> Result<BpfProgram, Error> {
    let always = FORBIDDEN
        .iter()
        .copied()
        .chain(of_this_processor())
        .map(|number| (number, Vec::new()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.collect();
    let begins = |flag: i32| {
        let flag = u64::from(flag.cast_unsigned());
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
        SeccompRule::new(vec![condition])
    };
    let clone: Result<Vec<_>, _> = NAMESPACES.into_iter().map(begins).collect();
    rules.insert(libc::SYS_clone, clone?);
    program(rules, SeccompAction::KillProcess)
}

/// Its flags are out of a filter's sight. Libraries that are told it does not exist use `clone`.
fn refuse_clone3() -> Result<BpfProgram, Error> {
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    program(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), no_such_call)
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?;
    Ok(filter.try_into()?)
}

/// As a kernel without it.
#[cfg(test)]
pub(super) fn take_landlock_away() {
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let filter = program(
        BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]),
        no_such_call,
    );
    apply_filter(&filter.unwrap()).unwrap();
}
