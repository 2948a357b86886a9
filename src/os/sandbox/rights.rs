//! Capabilities, and the promise never to gain any.
#![allow(unsafe_code, reason = "std has neither prctl nor capset")]

use super::Layer;

/// CAP_NET_RAW (linux/capability.h).
const NET_RAW: u32 = 13;

/// _LINUX_CAPABILITY_VERSION_3, with two words for each set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// All capabilities but CAP_NET_RAW, and that too unless it is kept and there.
pub(super) fn give_up(keeps_raw: bool) -> Layer {
    let no_new = set(libc::PR_SET_NO_NEW_PRIVS, 1);
    // An old kernel has no ambient set to clear.
    let _ = set(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL);
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the calls read the header and read or write two sets; both outlive them.
    let dropped = unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) != 0 {
            return Layer::Missing;
        }
        let kept = if keeps_raw {
            sets[0].permitted & (1 << NET_RAW)
        } else {
            0
        };
        sets = [Sets::default(); 2];
        sets[0].effective = kept;
        sets[0].permitted = kept;
        libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) == 0
    };
    match (no_new, dropped) {
        (true, true) => Layer::Whole,
        (false, false) => Layer::Missing,
        _ => Layer::Part,
    }
}

/// Whether the kernel took a setting of this thread's.
fn set(option: libc::c_int, value: libc::c_int) -> bool {
    let value = libc::c_ulong::from(value.unsigned_abs());
    let none: libc::c_ulong = 0;
    // SAFETY: the options that are set here take integers and no pointer.
    unsafe { libc::prctl(option, value, none, none, none) == 0 }
}
