//! The addresses of this host's interfaces.
#![allow(unsafe_code, reason = "std does not list interfaces")]

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Each address with its interface's name, those of loopback too (getifaddrs(3)).
///
/// # Errors
/// The system's own.
pub fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, which outlives it.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut at = list;
    // SAFETY: the list is the system's until it is freed below, and ends with a null pointer; nothing of it is kept.
    while let Some(entry) = unsafe { at.as_ref() } {
        // SAFETY: a name is never null and ends with a zero.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        // SAFETY: as above.
        if let Some(ip) = unsafe { ip(entry.ifa_addr) } {
            found.push((name.to_string_lossy().into_owned(), ip));
        }
        at = entry.ifa_next;
    }
    // SAFETY: it came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The number of the interface with this name; none if there is none.
pub fn index_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the call reads the name up to its zero; it outlives it.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The name of the interface with this number; none if there is none.
pub fn name_of(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the call writes at most `IF_NAMESIZE` octets, a zero among them.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: it ends with the zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

/// # Safety
/// `address` is null, or points to an address of the kind that its family says.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the caller's promise: the family says so. Read without regard to alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn loopback_has_its_address() {
        assert!(
            addresses()
                .unwrap()
                .contains(&("lo".into(), Ipv4Addr::LOCALHOST.into()))
        );
        assert_eq!((name_of(1).as_deref(), name_of(u32::MAX)), (Some("lo"), None));
        assert_eq!(
            (index_of("lo"), index_of("no such"), index_of("l\0o")),
            (Some(1), None, None)
        );
    }
}
