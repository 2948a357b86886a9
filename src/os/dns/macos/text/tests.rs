use super::*;

/// As a Mac on a home network shows it.
const DHCP: &str = "<dictionary> {\n  DomainName : fritz.box\n  ServerAddresses : <array> {\n    0 : fd00::ca0e:14ff:fe05:1c1\n    1 : 192.168.178.1\n  }\n}\n";

/// A VPN's, for all names.
const VPN: &str = "<dictionary> {\n  ConfirmedServiceID : 1A2B\n  SearchDomains : <array> {\n  }\n  SearchOrder : 100000\n  ServerAddresses : <array> {\n    0 : 10.8.0.1\n  }\n  SupplementalMatchDomains : <array> {\n    0 : \n    1 : corp.example\n  }\n  SupplementalMatchOrders : <array> {\n    0 : 101200\n    1 : 101201\n  }\n}\n";

fn one(said: &str) -> Dictionary {
    shown(said, 1).unwrap().remove(0).unwrap()
}

fn texts(texts: &[&str]) -> Item {
    Item::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn dictionaries_are_read_with_their_types() {
    let dhcp = one(DHCP);
    assert_eq!(servers(&dhcp), ["fd00::ca0e:14ff:fe05:1c1", "192.168.178.1"]);
    assert_eq!(dhcp["DomainName"], Item::Text("fritz.box".into()));
    let vpn = one(VPN);
    assert_eq!(vpn["SearchOrder"], Item::Number(100_000));
    assert_eq!(vpn["SupplementalMatchOrders"], Item::Numbers(vec![101_200, 101_201]));
    assert_eq!(vpn["SupplementalMatchDomains"], texts(&["", "corp.example"]));
    assert!(!vpn.contains_key("SearchDomains"), "nothing is in it");
}

#[test]
fn they_are_written_back_as_they_were() {
    let script = to_write("State:/Network/Service/1A2B/DNS", Some(&one(VPN))).unwrap();
    let expected = "d.init\nd.add ConfirmedServiceID 1A2B\nd.add SearchOrder # 100000\nd.add ServerAddresses * 10.8.0.1\n\
                    d.add SupplementalMatchDomains * \"\" corp.example\nd.add SupplementalMatchOrders * # 101200 101201\n\
                    set State:/Network/Service/1A2B/DNS\n";
    assert_eq!(script, expected);
    assert_eq!(to_write("a:/b", None).unwrap(), "remove a:/b\n");
}

#[test]
fn what_we_do_not_know_is_kept_but_not_written() {
    let said = "<dictionary> {\n  Color : 7\n  DomainName : a b\n  Deep : <dictionary> {\n    x : <array> {\n      0 : 1\n    }\n  }\n  Options : x\n}\n";
    let found = one(said);
    assert_eq!(found["Color"], Item::Shown("7".into()));
    assert_eq!(found["DomainName"], Item::Shown("a b".into()));
    assert!(matches!(&found["Deep"], Item::Shown(text) if text.starts_with("<dictionary>")));
    assert_eq!(writable(&found).len(), 1);
    assert_eq!(to_write("k", Some(&found)).unwrap(), "d.init\nd.add Options x\nset k\n");
}

#[test]
fn several_are_told_apart_and_absent_ones_too() {
    let said = format!("{DHCP}  No such key\n{VPN}");
    let found = shown(&said, 3).unwrap();
    assert!(found[0].is_some() && found[1].is_none() && found[2].is_some());
    assert_eq!(shown(&said, 2), None);
    assert_eq!(shown("", 0), Some(Vec::new()));
}

/// A network's domain name with line ends in it must not pass for another service's servers.
#[test]
fn a_forged_dictionary_is_seen() {
    for name in [
        "x\n}\n<dictionary> {\n  DomainName : y",
        "x\n}\n  No such key\n<dictionary> {\n  DomainName : y",
        "x\nnonsense",
        "x\n  ServerAddresses : <array> {",
    ] {
        let said = DHCP.replace("fritz.box", name);
        assert_eq!(shown(&said, 1), None, "{name:?}");
    }
    for broken in [
        "<dictionary> {\n",
        "<dictionary> {\n  A : <array> {\n    1 : x\n  }\n}\n",
        "Permission denied\n",
    ] {
        assert_eq!(shown(broken, 1), None, "{broken:?}");
    }
}

#[test]
fn keys_are_listed() {
    let said = "  subKey [0] = State:/Network/Service/0E3F/DNS\n  subKey [1] = Setup:/Network/Service/0E3F/DNS\n";
    assert_eq!(
        keys(said),
        ["State:/Network/Service/0E3F/DNS", "Setup:/Network/Service/0E3F/DNS"]
    );
    assert!(keys("  no keys.\n").is_empty());
}

#[test]
fn nothing_but_words_is_handed_over() {
    for key in ["", "a b", "a\nset x", "\"", "-x", "$(x)", "a;b", "*"] {
        assert!(to_write(key, None).is_err(), "{key:?}");
        assert!(to_show(&[key.to_owned()]).is_err(), "{key:?}");
    }
    assert_eq!(
        to_show(&["State:/a".into(), "b%en0".into()]).unwrap(),
        "show State:/a\nshow b%en0\n"
    );
}
