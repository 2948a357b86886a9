use super::*;
use crate::config::{Config, Flags, Strategy, load};

/// The configuration that comes of it, which must be right; and the text.
fn imported(take: impl FnOnce(&mut Draft)) -> (Config, String) {
    let mut draft = Draft::default();
    take(&mut draft);
    let text = draft.to_toml("x.conf");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacenda.toml");
    std::fs::write(&path, &text).unwrap();
    let loaded = load(Some(&path), &Flags::default()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    (loaded.config, text)
}

fn urls(config: &Config) -> Vec<String> {
    let all = config.upstreams.iter();
    all.map(|one| format!("{} {:?}", one.endpoint, one.addresses)).collect()
}

#[test]
fn stubby_as_debian_brings_it() {
    let text = "\
# stubby
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list:
  - GETDNS_TRANSPORT_TLS
  - GETDNS_TRANSPORT_UDP
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: 128
edns_client_subnet_private : 1
round_robin_upstreams: 1
idle_timeout: 10000
listen_addresses:
  - 127.0.0.1
  - 0::1@5353   # there
upstream_recursive_servers:
# Quad9
  - address_data: 9.9.9.9
    tls_auth_name: \"dns.quad9.net\"
    tls_pubkey_pinset:
      - digest: \"sha256\"
        value: /SlsviBkb05Y/8XiKF9+CZsgCtrqPQk5bh47o0R3/Cg=
      - digest: \"sha256\"
        value: i2kObfz0qIKCGNWt7MjBUeSrh0Dyjb0/zWINImZES+I=
  - address_data: 2620:fe::fe
    tls_auth_name: \"dns.quad9.net\"
  - address_data: 185.49.141.37
    tls_port: 8853
    tls_auth_name: \"getdnsapi.net\"
    tls_pubkey_pinset:
      - digest: \"sha256\"
        value: foxZRnIh9gZpWnl+zEiKa0EJ2rdCGroMWm02gaxSc9Q=
  - address_data: 192.0.2.7
mystery: 3
";
    let (config, toml) = imported(|draft| stubby::take(text, draft));
    assert_eq!(
        urls(&config),
        [
            "tls://dns.quad9.net [9.9.9.9, 2620:fe::fe]",
            "tls://getdnsapi.net:8853 [185.49.141.37]"
        ]
    );
    assert_eq!((config.upstreams[0].pins.len(), config.upstreams[1].pins.len()), (2, 0));
    assert_eq!(config.strategy, Strategy::Spread);
    let listen: Vec<_> = config.listen.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:53", "[::1]:5353"]);
    for words in [
        "# not taken: one pin alone (sha256/foxZ",
        "line 5: GETDNS_TRANSPORT_UDP: nothing is asked in clear text",
        "line 10: idle_timeout: 10000: ",
        "192.0.2.7: without tls_auth_name",
        "line 32: mystery: 3: tacenda has nothing like it",
    ] {
        assert!(toml.contains(words), "{words}: {toml}");
    }
    assert!(!toml.contains("tls_query_padding"), "{toml}");
}

#[test]
fn cloudflared_in_each_of_its_three_forms() {
    let yaml = "tunnel: x\nproxy-dns: true\nproxy-dns-port: 5053\nproxy-dns-upstream:\n  - https://1.1.1.1/dns-query\n  - https://dns.quad9.net/dns-query\nproxy-dns-bootstrap:\n  - https://1.1.1.1/dns-query\n";
    let variables = "export TUNNEL_DNS_PORT=5053\nTUNNEL_DNS_UPSTREAM=\"https://1.1.1.1/dns-query,https://dns.quad9.net/dns-query\"\nEnvironment=TUNNEL_DNS_ADDRESS=127.0.0.1 TUNNEL_DNS_BOOTSTRAP=x\n";
    let unit = "ExecStart=/usr/bin/cloudflared proxy-dns --port 5053 --upstream https://1.1.1.1/dns-query --upstream=https://dns.quad9.net/dns-query --bootstrap x --metrics localhost:49312\n";
    let pihole = "CLOUDFLARED_OPTS=--port 5053 --upstream https://1.1.1.1/dns-query --upstream https://dns.quad9.net/dns-query --no-tls-verify --bootstrap x # mine\n";
    let compose = "  command: [\"proxy-dns\", \"--port\", \"5053\"]\n  environment:\n    TUNNEL_DNS_UPSTREAM: \"https://1.1.1.1/dns-query,https://dns.quad9.net/dns-query\"\n    TUNNEL_DNS_BOOTSTRAP: x\n";
    let commented = "proxy-dns-port: 5053 # ours\nproxy-dns-upstream:\n- https://1.1.1.1/dns-query   # cf\n- https://dns.quad9.net/dns-query\nproxy-dns-bootstrap: [x]\n";
    for text in [yaml, variables, unit, pihole, compose, commented] {
        let (config, toml) = imported(|draft| cloudflared::take(text, draft));
        let all = urls(&config);
        assert!(
            all[0].starts_with("https://1.1.1.1/dns-query [1.1.1.1]")
                && all[1].starts_with("https://dns.quad9.net/dns-query"),
            "{all:?}"
        );
        assert_eq!(config.listen.addresses[0].to_string(), "127.0.0.1:5053");
        assert!(
            toml.contains("bootstrap") && toml.contains("nobody is asked for them in clear text"),
            "{toml}"
        );
    }
}

#[test]
fn dnscrypt_proxy_keeps_its_doh_and_its_rules() {
    let text = "\
listen_addresses = ['127.0.0.1:53']
server_names = ['cloudflare', 'mine', 'scaleway-fr', 'crypt']
cache_min_ttl = 2400
cache_max_ttl = 86400
cache_neg_max_ttl = -5
cache = false
proxy = 'socks5://127.0.0.1:9050'
bootstrap_resolvers = ['9.9.9.11:53']
forwarding_rules = 'rules.txt'
require_dnssec = true
[blocked_names]
blocked_names_file = '/etc/dnscrypt-proxy/blocked-names.txt'
[allowed_names]
allowed_names_file = '/etc/allowed.txt'
[static.'mine']
stamp = 'sdns://AgcAAAAAAAAABzkuOS45LjkADmRuczkucXVhZDkubmV0Ci9kbnMtcXVlcnk'
[static.'crypt']
stamp = 'sdns://AQcAAAAAAAAABzkuOS45Ljk'
";
    let rules = "# mine\ncorp.example   10.8.0.1,10.8.0.2\n*.lan.example [fd00::1]\nx.example $DHCP\nCORP.example 10.8.0.3:5353\n. 10.0.0.1\n";
    let beside = |name: &str| (name == "rules.txt").then(|| rules.to_owned());
    let (config, toml) = imported(|draft| {
        dnscrypt_proxy::take(text, beside, draft).unwrap();
        assert_eq!(
            (draft.block.len(), &draft.allow[..]),
            (1, &["/etc/allowed.txt".to_owned()][..])
        );
        // Files that this host does not have.
        (draft.block, draft.allow) = (Vec::new(), Vec::new());
    });
    let all = urls(&config);
    assert!(all[0].starts_with("https://cloudflare-dns.com/dns-query"), "{all:?}");
    assert_eq!(all[1], "https://dns9.quad9.net/dns-query [9.9.9.9]");
    assert_eq!(all.len(), 2);
    assert_eq!(config.routes.len(), 2);
    assert_eq!(
        (&config.routes[0].zones[..], config.routes[0].upstreams.len()),
        (&["corp.example".to_owned()][..], 3)
    );
    for words in [
        "min-ttl = \"2400s\"",
        "server scaleway-fr: of the public list",
        "server crypt: DNSCrypt",
        "$DHCP: no address",
        "bootstrap_resolvers: nobody",
        "max-negative-ttl of -5 s",
        "cache: answers are kept",
        "proxy: NOT REACHED THAT WAY",
        "rules.txt:6: NOT A ROUTE",
    ] {
        assert!(toml.contains(words), "{words}: {toml}");
    }
    let mut draft = Draft::default();
    assert!(dnscrypt_proxy::take("x = ", |_| None, &mut draft).is_err());
}

#[test]
fn resolved_with_names_to_check_by() {
    let text = "[Resolve]\nDNS=1.1.1.1\nDNS=\nDNS=9.9.9.9#dns.quad9.net 149.112.112.112#dns.quad9.net [2620:fe::fe]:8853#dns.quad9.net 192.0.2.1\nFallbackDNS=8.8.8.8\nDomains=~. ~corp.example example.com\nDNSOverTLS=opportunistic\nLLMNR=no\nnonsense\n";
    let (config, toml) = imported(|draft| resolved::take(text, draft));
    assert_eq!(
        urls(&config),
        [
            "tls://dns.quad9.net [9.9.9.9, 149.112.112.112]",
            "tls://dns.quad9.net:8853 [2620:fe::fe]"
        ]
    );
    for words in [
        "DNS=192.0.2.1: without a name",
        "FallbackDNS=8.8.8.8",
        "Domains=~corp.example",
        "Domains=example.com: search",
        "opportunistic: tacenda asks over TLS alone",
        "line 9: not understood",
    ] {
        assert!(toml.contains(words), "{words}: {toml}");
    }
    assert!(!toml.contains("LLMNR") && !toml.contains("1.1.1.1\""), "{toml}");
}

#[test]
fn nothing_of_a_strangers_file_gets_out_of_its_string_or_comment() {
    let evil = "a\"\n[policy]\nblock = [\"/etc/shadow\"]\n#";
    let mut draft = Draft::default();
    draft.note(evil);
    draft.listen.push(evil.to_owned());
    draft.add(draft::Upstream {
        url: evil.to_owned(),
        pins: vec![evil.to_owned()],
        ..draft::Upstream::default()
    });
    let text = draft.to_toml(evil);
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(
        table.keys().collect::<Vec<_>>(),
        ["listen", "upstream", "version"],
        "{text}"
    );
}
