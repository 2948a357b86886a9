//! What a configuration needs of this host while it runs: the sandbox gives that and no more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::state::State;
use crate::config::{AddressesFrom, Config, Roots, Strategy};
use crate::os::file;
use crate::os::guard::window;
use crate::os::report;
use crate::os::sandbox::{Needs, read_again};
use crate::upstream::route_endpoint::RouteEndpoint;

/// What `config` needs, with the folders that itself stands in.
pub(super) fn needs(config: &Config, folders: &[PathBuf]) -> Needs {
    // One that is not there yet cannot be given, and the folder above it holds too much.
    let folders = folders.iter().filter(|folder| folder.is_dir());
    let mut read: BTreeSet<PathBuf> = folders.flat_map(|folder| read_again(folder)).collect();
    read.extend(config.paths().flat_map(read_again));
    // With root's consents below it.
    read.insert(report::FOLDER.into());
    if config.roots().any(|roots| *roots == Roots::System) {
        read.extend(system_roots());
    }
    Needs {
        read,
        write: BTreeSet::from([State::of_this_host().folder().to_owned()]),
        connect: ports(config),
        silences: config
            .routes
            .iter()
            .any(|route| route.exit.interface.is_some() || route.exit.via.is_some()),
    }
}

/// Makes the folder of root's consents, and the state folder if something may have to be remembered: the sandbox can only give what is there.
pub(super) fn make_ready(config: &Config) {
    let is_looked_up = config
        .upstreams
        .iter()
        .any(|upstream| upstream.addresses_from != AddressesFrom::User);
    // Root alone can; for the service its unit does.
    let _ = window::Store::of_this_host().make_folder();
    let is_spread = config.strategy == Strategy::Spread && config.upstreams.len() > 1;
    if is_looked_up || is_spread {
        // Whoever has no right to it remembers nothing, and is told when there is something.
        let _ = file::make_private_folder(State::of_this_host().folder());
    }
}

/// Those of the configuration, of the probes for a sign-in page, and the two of DoH and DoT: a new resolver at one of these needs no restart.
/// Not 53 for a window: an answer about a sign-in page fits a datagram, and this holds all the time when none is open.
fn ports(config: &Config) -> BTreeSet<u16> {
    let upstreams = config.upstreams.iter().map(|upstream| upstream.endpoint.port);
    let routes = config
        .routes
        .iter()
        .flat_map(|route| &route.upstreams)
        .map(|endpoint| match endpoint {
            RouteEndpoint::Encrypted(endpoint) => endpoint.port,
            RouteEndpoint::Plain(endpoint) => endpoint.server.port(),
        });
    let probes = config.portal.probes.iter().filter(|_| config.portal.detect);
    let probes = probes.map(|probe| probe.address.port());
    upstreams.chain(routes).chain(probes).chain([443, 853]).collect()
}

/// Where distributions keep theirs, and where those link to; or where the environment says (rustls-native-certs reads it).
fn system_roots() -> BTreeSet<PathBuf> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .filter_map(std::env::var_os);
    let mut found: BTreeSet<PathBuf> = named.flat_map(|path| read_again(Path::new(&path))).collect();
    found.extend(SYSTEM_ROOTS.map(PathBuf::from));
    found
}

const SYSTEM_ROOTS: [&str; 8] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/usr/lib/ssl",
    "/var/lib/ca-certificates",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    fn needs_of(text: &str, folder: &Path) -> Needs {
        let path = folder.join("t.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        let config = load(Some(&path), &Flags::default()).unwrap().config;
        needs(
            &config,
            &[folder.to_owned(), folder.join("config.d"), "/none/there".into()],
        )
    }

    fn reads(needs: &Needs, path: &Path) -> bool {
        needs.read.iter().any(|folder| path.starts_with(folder))
    }

    #[test]
    fn the_default_needs_its_folder_three_ports_and_no_right() {
        let folder = tempfile::tempdir().unwrap();
        let needs = needs_of("", folder.path());
        assert!(reads(&needs, &folder.path().join("config.d/x.toml")));
        for other in ["/etc/passwd", "/etc/ssl/certs/ca.pem", "/none", "/"] {
            assert!(!reads(&needs, Path::new(other)), "{other}");
        }
        assert_eq!(needs.connect, BTreeSet::from([80, 443, 853]));
        assert!(!needs.silences);
        let needs = needs_of("[portal]\ndetect = false\n", folder.path());
        assert_eq!(needs.connect, BTreeSet::from([443, 853]));
    }

    #[test]
    fn what_a_configuration_names_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).join("file");
        for name in ["block", "allow", "hosts", "records"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(at(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let text = "[[upstream]]\nurl = \"tls://192.0.2.1:8853\"\nroots = \"system\"\n\
             [[route]]\nzones = [\"corp.example\"]\nupstream = [\"udp://10.8.0.1:5353\"]\ninterface = \"tun0\"\n\
             [policy]\nblock = [\"../block/file\"]\nallow = [\"../allow\"]\nhosts = [\"../hosts/file\"]\nrecords = [\"../records/file\"]\n";
        let needs = needs_of(text, &folder.path().join("etc"));
        for name in ["block", "allow", "hosts", "records"] {
            let real = at(name).canonicalize().unwrap();
            assert!(reads(&needs, &real), "{name}: {needs:?}");
        }
        assert!(reads(&needs, Path::new("/etc/ssl/certs/x")) && !reads(&needs, &folder.path().join("other")));
        assert_eq!(needs.connect, BTreeSet::from([80, 443, 853, 5353, 8853]));
        assert!(needs.silences);
    }
}
