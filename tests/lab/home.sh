#!/usr/bin/env bash
# Names that stay home, with resolvers nobody here wrote: Unbound behind DoH as the public resolver, dnsmasq behind a VPN (tun0), another
# one at the hotel. Both write down all they are asked. Usage: home.sh TACENDA CERTS. Needs root, iproute2, tcpdump, dig, unbound,
# dnsmasq. Leaves nothing behind.
set -euo pipefail
tacenda=$1 certs=$2
work=$(mktemp -d)
ns="tac-$$"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  for host in host vpn hotel public; do ip netns del "$ns-$host" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; cat "$work/log" 2>/dev/null || true; exit 1; }

for host in host vpn hotel public; do ip netns add "$ns-$host"; ip -n "$ns-$host" link set lo up; done
link() { # HOST DEVICE ADDRESS PEER DEVICE ADDRESS
  ip link add "$2" netns "$ns-$1" type veth peer name "$5" netns "$ns-$4"
  ip -n "$ns-$1" addr add "$3/24" dev "$2"; ip -n "$ns-$4" addr add "$6/24" dev "$5"
  ip -n "$ns-$1" link set "$2" up; ip -n "$ns-$4" link set "$5" up
}
link host tun0 10.8.0.2 vpn v0 10.8.0.1
link host wlan0 192.168.7.2 hotel h0 192.168.7.1
link hotel isp0 192.0.2.2 public p0 192.0.2.1
ip -n "$ns-host" route add default via 192.168.7.1
ip -n "$ns-public" route add 192.168.7.0/24 via 192.0.2.2
ip netns exec "$ns-hotel" sysctl -qw net.ipv4.ip_forward=1
# The hotel would answer for the VPN's resolver as soon as it is asked.
ip -n "$ns-hotel" addr add 10.8.0.1/32 dev lo

rebound="192.168.1.1 10.0.0.1 172.16.0.1 127.0.0.1 169.254.169.254 100.64.0.1 0.0.0.0"
cat > "$work/unbound.conf" << CONF
server:
  interface: 192.0.2.1@443
  tls-service-key: "$certs/server.key"
  tls-service-pem: "$certs/server.pem"
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "$work"
  pidfile: ""
  use-syslog: no
  logfile: "$work/public"
  log-queries: yes
  module-config: "iterator"
  local-zone: "example." redirect
  local-data: "example. A 203.0.113.80"
  local-zone: "rebind.test-zone." static
$(n=0; for a in $rebound; do n=$((n + 1)); echo "  local-data: \"r$n.rebind.test-zone. A $a\""; done)
  local-data: "v6.rebind.test-zone. AAAA ::1"
  local-data: "ula.rebind.test-zone. AAAA fd00::1"
  local-data: "mapped.rebind.test-zone. AAAA ::ffff:192.168.1.1"
  local-data: "nat64.rebind.test-zone. AAAA 64:ff9b::c0a8:101"
  local-data: "hint.rebind.test-zone. HTTPS 1 . ipv4hint=192.168.1.1"
CONF
ip netns exec "$ns-public" unbound -c "$work/unbound.conf" 2> "$work/unbound.err" & pids+=($!)
for host in vpn hotel; do
  ip netns exec "$ns-$host" dnsmasq --keep-in-foreground --no-resolv --no-hosts --log-queries --log-facility="$work/$host" \
    --user=root --bind-interfaces --listen-address=10.8.0.1 --pid-file --address=/#/10.9.9.9 --ptr-record=7.3.8.10.in-addr.arpa,pc.corp.example & pids+=($!)
done
ip netns exec "$ns-hotel" tcpdump -i h0 -n -U -w "$work/hotel.pcap" 2> "$work/tcpdump.err" & pids+=($!)

mkdir "$work/lists"
echo "||ads.example^" > "$work/lists/ads.txt"
cat > "$work/tacenda.toml" << TOML
version = 1
listen = ["127.0.0.1:53", "[::1]:53"]
[[upstream]]
url = "https://dns.tacenda.test/dns-query"
addresses = ["192.0.2.1"]
roots = "$certs/ca.pem"
[[route]]
zones = ["corp.example"]
networks = ["10.8.0.0/16"]
upstream = ["udp://10.8.0.1"]
interface = "tun0"
[policy]
block = ["lists"]
records = ["nas.example A 192.168.7.9"]
[stats]
listen = "127.0.0.1:8053"
TOML
ip netns exec "$ns-host" "$tacenda" run --config "$work/tacenda.toml" 2> "$work/log" & pids+=($!)
dig() { ip netns exec "$ns-host" dig +tries=1 +time=6 "$@" 2>&1 || true; }
ask() { dig @127.0.0.1 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
# Whoever is asked before he listens has not heard, and a capture that begins late is blind: each is waited for, on a busy machine too.
until_true() { # WHAT COMMAND...
  local what=$1; shift
  for _ in $(seq 300); do if "$@"; then return; fi; sleep 0.1; done
  cat "$work"/*.err 2>/dev/null || true; fail "not ready after 30 s: $what"
}
listens() { [ -n "$(ip netns exec "$ns-$1" ss -Hln "$2" "src $3 and sport = :$4")" ]; }
answers() { [ "$(ask localhost)" = NOERROR ]; }
# No name that is looked for below, to a port where nobody is.
sees_beacon() { ip netns exec "$ns-host" bash -c 'echo beacon-to-nobody > /dev/udp/192.168.7.1/9' 2> /dev/null || true; grep -qa beacon-to-nobody "$work/hotel.pcap"; }
until_true "Unbound" listens public -t 192.0.2.1 443
for host in vpn hotel; do until_true "dnsmasq ($host), UDP" listens $host -u 10.8.0.1 53; until_true "dnsmasq ($host), TCP" listens $host -t 10.8.0.1 53; done
until_true "tcpdump" test -s "$work/hotel.pcap"
until_true "the capture" sees_beacon
until_true "tacenda" answers

home="localhost a.localhost invalid x.invalid x.test printer.local _http._tcp.local expyuzz4wqqyqhjn.onion x.alt db.internal nas.lan
  router.home mail.corp wiki.intranet x.private x.localdomain home.arpa nas.home.arpa resolver.arpa _dns.resolver.arpa printer wpad
  wpad.hotel.example isatap.hotel.example _ldap._tcp.dc._msdcs.ad.example use-application-dns.net 1.0.0.127.in-addr.arpa
  1.1.168.192.in-addr.arpa 168.192.in-addr.arpa 4.3.1.10.in-addr.arpa 1.0.16.172.in-addr.arpa 1.1.64.100.in-addr.arpa
  1.1.254.169.in-addr.arpa 1.2.0.192.in-addr.arpa 1.0.d.f.ip6.arpa 1.0.8.e.f.ip6.arpa 1.8.b.d.0.1.0.0.2.ip6.arpa
  nas.example pixel.ads.example"
count=0
stay_home() {
  for name in $home; do
    for how in "" +tcp @::1; do
      # shellcheck disable=SC2086 # one word or none
      status=$(ask "$name" $how)
      case $status in NOERROR | NXDOMAIN) ;; *) fail "$name ($how): $status" ;; esac
      count=$((count + 1))
    done
  done
  # What a capture would show cannot be seen in TLS; the resolver itself says what it was asked.
  for name in $home; do
    if grep -qiE "[ :]${name//./\\.}\. " "$work/public"; then fail "$name reached the public resolver"; fi
  done
}
# The positive control: a public name does arrive there.
control() {
  [ "$(ask "$1.www.example")" = NOERROR ] || fail "a public name has no answer"
  for _ in $(seq 50); do grep -q "$1.www.example" "$work/public" && return; sleep 0.1; done
  fail "the public resolver writes nothing down"
}

control vpn-up
stay_home
[ "$(ask wiki.corp.example)" = NOERROR ] || fail "the VPN's resolver is not asked"
[ "$(ask -x 10.8.3.7)" = NOERROR ] || fail "reverse names of the route's networks are not asked there"
grep -q "wiki.corp.example" "$work/vpn" || fail "the VPN's resolver heard nothing"
grep -q "10.8.3.7\|7.3.8.10" "$work/vpn" || fail "the VPN's resolver heard nothing of the address"
rebinds=0
for name in $(seq -f 'r%g' 7) v6 ula mapped nat64 hint; do
  for qtype in A AAAA HTTPS; do
    if dig @127.0.0.1 "$name.rebind.test-zone" "$qtype" +short | grep -q .; then fail "$name $qtype leads home"; fi
  done
  rebinds=$((rebinds + 1))
done
[ "$(dig @127.0.0.1 r1.rebind.test-zone A | grep -c 'EDE: 15')" = 1 ] || fail "no reason for what is withheld"

before=$(grep -c "query" "$work/vpn")
ip -n "$ns-host" link del tun0
sleep 0.3
for name in wiki.corp.example mail.corp.example; do
  [ "$(ask "$name")" = SERVFAIL ] || fail "$name has an answer without the VPN"
done
control vpn-down
stay_home
[ "$(grep -c "query" "$work/vpn")" = "$before" ] || fail "the VPN's resolver was asked without its link"
if grep -q "query" "$work/hotel"; then fail "the hotel's resolver was asked"; fi
if grep -qi "corp\.example" "$work/public"; then fail "a routed name reached the public resolver"; fi
for name in corp nas ads printer wpad rebind www; do
  if grep -qai "$name" "$work/hotel.pcap"; then fail "'$name' is on the hotel's link"; fi
done
[ -s "$work/hotel.pcap" ] && grep -qa "dns.tacenda.test" "$work/hotel.pcap" || fail "the capture is blind"
echo "ok: $(wc -w <<< "$home") names stayed home over UDP, TCP and IPv6 with the VPN up and down ($count queries), $rebinds names did not lead home"
