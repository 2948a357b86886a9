//! What we write into files of the system, and how it is known again.

use std::net::IpAddr;

/// Stands in every file of ours, and in nobody else's.
pub(super) const MARK: &str = "Written by tacenda";

/// The name of our drop-ins: the last of their folders, which win.
pub(super) const DROP_IN: &str = "zz-tacenda.conf";

/// How to undo, in every file of ours.
const UNDO: &str = "# To undo: sudo tacenda system restore";

/// Whether a file is ours.
pub(super) fn is_ours(octets: &[u8]) -> bool {
    octets.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// `/etc/resolv.conf`. One server only: a second one would be asked whenever the first takes long, and `::1` is a second one.
pub(super) fn resolv_conf(listen: IpAddr) -> Vec<u8> {
    format!(
        "# {MARK}: programs on this host ask it, and nobody else.\n\
         {UNDO}\n\
         # By hand: what stood here before is /var/lib/tacenda-system/resolv.conf.before.\n\
         {}",
        server(listen)
    )
    .into_bytes()
}

/// What openresolv is handed.
pub(super) fn openresolv(listen: IpAddr) -> Vec<u8> {
    server(listen).into_bytes()
}

/// tacenda answers within 5 s; a second try after 3 s costs one of its hits at most. `search .` has no name but the one that was typed be
/// asked.
fn server(listen: IpAddr) -> String {
    format!("nameserver {listen}\noptions edns0 trust-ad timeout:3 attempts:2\nsearch .\n")
}

/// systemd-resolved's drop-in. Lists add up over files, and an empty value empties them: so those of files before this one do not count.
pub(super) fn resolved(listen: IpAddr) -> Vec<u8> {
    format!(
        "# {MARK}.\n{UNDO}\n[Resolve]\nDNS=\nDNS={listen}\nFallbackDNS=\nDomains=\nDomains=~.\n\
         LLMNR=no\nMulticastDNS=no\nDNSOverTLS=no\nDNSSEC=no\n"
    )
    .into_bytes()
}

/// NetworkManager's drop-in: it goes on with addresses and routes, and leaves DNS alone.
pub(super) fn network_manager() -> Vec<u8> {
    format!("# {MARK}.\n{UNDO}\n[main]\ndns=none\nrc-manager=unmanaged\nsystemd-resolved=false\n").into_bytes()
}

/// A hook of dhclient's script: it still sets address and routes.
pub(super) fn dhclient_hook() -> Vec<u8> {
    format!("# {MARK}.\n{UNDO}\nmake_resolv_conf() {{ :; }}\n").into_bytes()
}

/// What is appended to dhcpcd's first hook: the one that writes `/etc/resolv.conf` is passed over.
pub(super) fn dhcpcd_hook() -> Vec<u8> {
    format!("# {MARK}.\n{UNDO}\nskip_hooks=\"$skip_hooks resolv.conf\"\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_file_is_known_again_and_says_how_to_undo() {
        let listen = Ipv4Addr::LOCALHOST.into();
        for octets in [
            resolv_conf(listen),
            resolved(listen),
            network_manager(),
            dhclient_hook(),
            dhcpcd_hook(),
        ] {
            let text = String::from_utf8(octets.clone()).unwrap();
            assert!(
                is_ours(&octets) && text.contains(UNDO) && text.ends_with('\n'),
                "{text}"
            );
        }
        assert!(!is_ours(b"nameserver 127.0.0.1\n"));
    }

    #[test]
    fn there_is_exactly_one_server() {
        for listen in ["127.0.0.1", "::1", "127.0.0.9"] {
            for octets in [
                resolv_conf(listen.parse().unwrap()),
                openresolv(listen.parse().unwrap()),
            ] {
                let text = String::from_utf8(octets).unwrap();
                let servers: Vec<_> = text.lines().filter(|line| line.starts_with("nameserver")).collect();
                assert_eq!(servers, [format!("nameserver {listen}")]);
            }
        }
    }
}
