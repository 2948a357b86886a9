//! What this host calls itself.

/// Its host name as set, in lower case and without a dot at the end; none if it cannot be found out or is no name.
pub fn host_names() -> Vec<String> {
    let name = system_name().unwrap_or_default();
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_name = !name.is_empty() && name.split('.').all(|label| (1..=63).contains(&label.len()));
    if is_name { vec![name] } else { Vec::new() }
}

/// By a call and not from /proc, which a service may not see.
#[cfg(target_os = "linux")]
fn system_name() -> Option<String> {
    let mut name = [0_u8; MAX_NAME_LEN + 1];
    #[allow(unsafe_code, reason = "std cannot tell the host's name")]
    // SAFETY: the call writes at most so many octets, and the last one stays zero.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), MAX_NAME_LEN) } != 0;
    let name = std::ffi::CStr::from_bytes_until_nul(&name).ok()?;
    (!failed).then(|| name.to_string_lossy().into_owned())
}

/// HOST_NAME_MAX is 64 on Linux.
#[cfg(target_os = "linux")]
const MAX_NAME_LEN: usize = 255;

/// Where the system keeps it elsewhere, a service is told.
#[cfg(not(target_os = "linux"))]
fn system_name() -> Option<String> {
    std::env::var("HOSTNAME")
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_name_is_the_kernels() {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(system_name().unwrap(), name.trim_end());
    }

    #[test]
    fn this_host_has_a_name_that_is_one() {
        for name in host_names() {
            assert!(!name.ends_with('.') && name == name.to_ascii_lowercase(), "{name}");
        }
    }
}
