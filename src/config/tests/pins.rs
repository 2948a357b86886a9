use super::*;

#[test]
fn r8310_4_pins_come_with_a_backup() {
    let (a, b) = (
        "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=",
        "sha256/E9CZ9INDbd+2eRQozYqqbQ2yXLVKB9+xcprMF+44U1g=",
    );
    let with = |pins: &str| format!("[[upstream]]\nurl = \"tls://9.9.9.9\"\npins = [{pins}]\n");
    let both = config(&with(&format!("\"{a}\", \"{b}\"")));
    assert_eq!(both.upstreams[0].pins, [a.parse().unwrap(), b.parse().unwrap()]);
    let shown = read(&with(&format!("\"{a}\", \"{b}\""))).unwrap().to_string();
    assert!(shown.contains(&format!("pins = [\"{a}\", \"{b}\"]")), "{shown}");
    assert_eq!(config(&shown), both);
    assert!(config(&with("")).upstreams[0].pins.is_empty());

    check(&with(&format!("\"{a}\"")), "3:8", "one pin alone");
    check(&with(&format!("\"{a}\"")), "3:8", "RFC 7469 section 4.3");
    check(&with(&format!("\"{a}\", \"{a}\"")), "3:64", "in the list already");
    check(
        &with(&format!("\"{a}\", \"sha1/AAAA\"")),
        "3:64",
        "begins with `sha256/`",
    );
    check(&with("\"sha256/d6qzRu9z!\""), "3:9", "not base64");
    check(&with("\"sha256/d6qzRu9z\""), "3:9", "32 octets, this has 6");
    let many: Vec<_> = (0..17)
        .map(|n| format!("\"sha256/{}A=\"", format!("{n:02}").repeat(21)))
        .collect();
    check(&with(&many.join(", ")), "3:8", "more than 16 pins");
}
