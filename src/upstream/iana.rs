//! Names that IANA gave to numbers: record types, classes, extended errors. Pure data, for people and for JSON.

/// A record type by its name (any letter case) or as `TYPE123` (RFC 3597 section 5).
pub fn type_number(name: &str) -> Option<u16> {
    let name = name.to_ascii_uppercase();
    match TYPES.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Some(*number),
        None => name
            .strip_prefix("TYPE")
            .filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))?
            .parse()
            .ok(),
    }
}

/// A record type's name, or `TYPE123`.
pub fn type_name(number: u16) -> String {
    name_of(TYPES, number).map_or_else(|| format!("TYPE{number}"), str::to_owned)
}

/// A class's name, or `CLASS123`.
pub fn class_name(number: u16) -> String {
    name_of(CLASSES, number).map_or_else(|| format!("CLASS{number}"), str::to_owned)
}

/// An extended DNS error's purpose (RFC 8914 section 5.2 and the registry).
pub fn ede_name(code: u16) -> &'static str {
    EDES.get(usize::from(code)).copied().unwrap_or("Unassigned")
}

fn name_of(table: &[(&'static str, u16)], number: u16) -> Option<&'static str> {
    table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Types that a resolver can be asked for.
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("SIG", 24),
    ("KEY", 25),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("DNAME", 39),
    ("OPT", 41),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("EUI48", 108),
    ("EUI64", 109),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
];

const CLASSES: &[(&str, u16)] = &[("IN", 1), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

/// In the order of their codes.
const EDES: &[&str] = &[
    "Other",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
    "Signature Expired before Valid",
    "Too Early",
    "Unsupported NSEC3 Iterations Value",
    "Unable to conform to policy",
    "Synthesized",
    "Invalid Query Type",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_name_and_number() {
        assert_eq!(
            (type_number("aaaa"), type_number("HTTPS"), type_number("Type65280")),
            (Some(28), Some(65), Some(65280))
        );
        assert_eq!(
            (
                type_number("TYPE65536"),
                type_number("TYPE+1"),
                type_number("TYPE"),
                type_number("B")
            ),
            (None, None, None, None)
        );
        for (name, number) in TYPES {
            assert_eq!(
                (type_number(name), type_name(*number)),
                (Some(*number), (*name).to_owned())
            );
        }
        assert_eq!(type_name(65280), "TYPE65280");
    }

    #[test]
    fn r8914_codes_stand_at_their_place() {
        for (code, name) in [
            (0, "Other"),
            (3, "Stale Answer"),
            (15, "Blocked"),
            (22, "No Reachable Authority"),
            (23, "Network Error"),
            (30, "Invalid Query Type"),
            (31, "Unassigned"),
        ] {
            assert_eq!(ede_name(code), name);
        }
    }
}
