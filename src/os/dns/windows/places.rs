//! Where Windows keeps what decides about DNS, all below HKEY_LOCAL_MACHINE.

/// What a group policy sets for the resolver.
pub const POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient";
/// The resolver's own settings.
pub const RESOLVER: &str = r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters";
/// Rules of group policies: if there is any, the local ones do not count.
pub const POLICY_RULES: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient\DnsPolicyConfig";
/// Local rules.
pub const RULES: &str = r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig";
/// Adapters, for IPv4.
pub const TCPIP: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";
/// Adapters, for IPv6.
pub const TCPIP6: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip6\Parameters";
/// Adapters, for NetBIOS: its name service asks everybody on the link.
pub const NETBT: &str = r"SYSTEM\CurrentControlSet\Services\NetBT\Parameters\Interfaces";
/// Where programs are installed: its value `ProgramFilesDir`.
pub const INSTALLED: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion";

/// Our rule, always the same: so one that a power cut has left behind is known.
pub const OUR_RULE: &str = "{7ACE0DA0-5B1E-4C53-9D0E-8F2B6A41D053}";

/// The key of our rule, of the local ones or of those of group policies.
pub fn our_rule(rules: &str) -> String {
    format!(r"{rules}\{OUR_RULE}")
}

/// A server of an adapter; text, several with commas or spaces between them.
pub const SERVERS: &str = "NameServer";
/// The same for the profile of the network that it is in; goes before the other, where it is there at all.
pub const PROFILE_SERVERS: &str = "ProfileNameServer";
/// What DHCP said; asked where no other is named.
pub const DHCP_SERVERS: &str = "DhcpNameServer";
