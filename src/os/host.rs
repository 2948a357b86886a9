//! What this host calls itself.

/// Its host name as set, in lower case and without a dot at the end; none if it cannot be found out or is no name.
pub fn host_names() -> Vec<String> {
    let name = system_name().unwrap_or_default();
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_name = !name.is_empty() && name.split('.').all(|label| (1..=63).contains(&label.len()));
    if is_name { vec![name] } else { Vec::new() }
}

#[cfg(target_os = "linux")]
fn system_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok()
}

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

    #[test]
    fn this_host_has_a_name_that_is_one() {
        for name in host_names() {
            assert!(!name.ends_with('.') && name == name.to_ascii_lowercase(), "{name}");
        }
    }
}
