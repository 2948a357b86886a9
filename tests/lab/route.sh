#!/usr/bin/env bash
# A host with a VPN (tun0, resolver 10.8.0.1) beside a hotel's network, and with another one behind a router of its own in the same LAN
# (192.168.7.3, resolver 10.9.0.1): names of a VPN's zones are asked there and nowhere else, also when its link is gone, or when the
# default route leads to the hotel's router; in clear text and over TLS. Usage: route.sh TACENDA. Needs root, iproute2, tcpdump, dig, python3, openssl.
# Leaves nothing behind.
set -euo pipefail
tacenda=$(realpath "$1")
work=$(mktemp -d)
ns="tac-$$"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for host in host lan vpn hotel router; do ip netns del "$ns-$host" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; cat "$work/log" 2>/dev/null || true; exit 1; }

for host in host lan vpn hotel router; do ip netns add "$ns-$host"; ip -n "$ns-$host" link set lo up; done
ip link add tun0 netns "$ns-host" type veth peer name v0 netns "$ns-vpn"
ip -n "$ns-lan" link add br0 type bridge; ip -n "$ns-lan" link set br0 up
for port in host:wlan0 hotel:h0 router:r0; do
  ip link add "${port#*:}" netns "$ns-${port%:*}" type veth peer name "p-${port#*:}" netns "$ns-lan"
  ip -n "$ns-lan" link set "p-${port#*:}" master br0 up
done
ip -n "$ns-host" addr add 10.8.0.2/24 dev tun0; ip -n "$ns-vpn" addr add 10.8.0.1/24 dev v0
ip -n "$ns-host" addr add 192.168.7.2/24 dev wlan0; ip -n "$ns-hotel" addr add 192.168.7.1/24 dev h0
ip -n "$ns-router" addr add 192.168.7.3/24 dev r0; ip -n "$ns-router" addr add 10.9.0.1/32 dev lo
for link in host:tun0 host:wlan0 vpn:v0 hotel:h0 router:r0; do ip -n "$ns-${link%:*}" link set "${link#*:}" up; done
ip -n "$ns-host" route add default via 192.168.7.1
# The hotel would answer for both resolvers as soon as it is asked.
for resolver in 10.8.0.1 10.9.0.1; do ip -n "$ns-hotel" addr add $resolver/32 dev lo; done

# A certificate for the resolvers, of an authority of its own. The hotel shows it too: let it be stolen.
(
  cd "$work"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj "/CN=lab CA"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj "/CN=lab"
  printf 'subjectAltName=IP:10.8.0.1,IP:10.9.0.1\nbasicConstraints=CA:FALSE\n' > extensions
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem
  cat server.key >> server.pem
) > "$work/openssl" 2>&1 || { cat "$work/openssl"; exit 1; }

# A resolver that answers everything with 10.9.9.9, here and there, over UDP and TLS; it writes down what was asked.
cat > "$work/resolver.py" << 'PY'
import select, socket, ssl, struct, sys, threading
def answer(q):
    end = q.index(b"\0", 12) + 5
    with open(sys.argv[1], "ab") as heard: heard.write(q[12:end] + b"\n")
    return q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x09\x09\x09"
def converse(stream):
    try:
        stream = context.wrap_socket(stream, server_side=True)
        while head := stream.recv(1):
            head += stream.recv(1)
            (left,), q = struct.unpack("!H", head), b""
            while len(q) < left: q += stream.recv(left - len(q))
            a = answer(q)
            stream.sendall(struct.pack("!H", len(a)) + a)
    except OSError: pass
def serve_tls():
    while True: threading.Thread(target=converse, args=[tls.accept()[0]], daemon=True).start()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
tls = socket.create_server(("0.0.0.0", 853))
threading.Thread(target=serve_tls, daemon=True).start()
# A socket for each address: an answer comes from the one that was asked.
sockets = []
for address in sys.argv[3:]:
    sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].bind((address, 53))
open(sys.argv[1], "ab").close()
while True:
    for udp in select.select(sockets, [], [])[0]:
        q, client = udp.recvfrom(4096)
        udp.sendto(answer(q), client)
PY
for who in vpn:10.8.0.1 "hotel:10.8.0.1 10.9.0.1 192.168.7.1" "router:10.9.0.1 192.168.7.3"; do
  host=${who%%:*}
  # shellcheck disable=SC2086
  ip netns exec "$ns-$host" python3 "$work/resolver.py" "$work/$host" "$work/server.pem" ${who#*:} & pids+=($!)
  for _ in $(seq 100); do [ -e "$work/$host" ] && break; sleep 0.05; done
done
ip netns exec "$ns-hotel" tcpdump -i h0 -n -U -w "$work/hotel.pcap" 2> /dev/null & pids+=($!)
ip netns exec "$ns-router" tcpdump -i r0 -n -U -w "$work/router.pcap" 2> /dev/null & pids+=($!)

cat > "$work/tacenda.toml" << TOML
version = 1
listen = ["127.0.0.1:53"]
[[upstream]]
url = "tls://192.0.2.1"
[[route]]
zones = ["corp.example"]
upstream = ["udp://10.8.0.1"]
interface = "tun0"
[[route]]
zones = ["sealed.example"]
upstream = ["tls://10.8.0.1"]
interface = "tun0"
roots = "$work/ca.pem"
[[route]]
zones = ["plant.example"]
upstream = ["udp://10.9.0.1"]
via = "192.168.7.3"
[[route]]
zones = ["locked.example"]
upstream = ["tls://10.9.0.1"]
via = "192.168.7.3"
roots = "$work/ca.pem"
[stats]
listen = "127.0.0.1:8053"
TOML
ip netns exec "$ns-host" "$tacenda" run --config "$work/tacenda.toml" 2> "$work/log" & pids+=($!)
ask() { ip netns exec "$ns-host" dig +tries=1 +time=6 @127.0.0.1 "$1" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
for _ in $(seq 100); do [ "$(ask localhost)" = NOERROR ] && break; sleep 0.1; done
[ "$(ask localhost)" = NOERROR ] || fail "tacenda does not answer"

# The positive control: what is asked at the hotel is seen there, and at the router there.
control() {
  for where in hotel:192.168.7.1 router:192.168.7.3; do
    for _ in $(seq 50); do
      ip netns exec "$ns-host" dig +tries=1 +time=1 "@${where#*:}" "$1.example" > /dev/null || true
      grep -qa "$1" "$work/${where%:*}.pcap" && continue 2
    done
    fail "the capture at the ${where%:*} is blind"
  done
}
packets() { tcpdump -r "$work/$1.pcap" -n "host $2" 2> /dev/null | wc -l; }

control before
[ "$(ask wiki.corp.example)" = NOERROR ] || fail "the VPN's resolver is not asked"
grep -qa wiki "$work/vpn" || fail "the VPN's resolver heard nothing"
[ "$(ask vault.sealed.example)" = NOERROR ] || fail "the VPN's resolver is not asked over TLS"
grep -qa vault "$work/vpn" || fail "the VPN's resolver heard nothing over TLS"
ip -n "$ns-host" link del tun0
sleep 0.3
for name in wiki.corp.example mail.corp.example vault.sealed.example keys.sealed.example; do
  [ "$(ask $name)" = SERVFAIL ] || fail "$name has an answer without the VPN"
done
control after
if grep -qaiE 'corp|sealed' "$work/hotel"; then fail "the hotel's resolver was asked"; fi
if grep -qaiE 'corp|sealed' "$work/hotel.pcap"; then fail "a name is on the hotel's link"; fi
[ "$(packets hotel 10.8.0.1)" = 0 ] || fail "the hotel's link saw a packet for the VPN's resolver"

# The other VPN: its names go to its router while the default route leads there, and then to nobody.
[ "$(ask early.plant.example)" = SERVFAIL ] || fail "asked through the hotel's router"
ip -n "$ns-host" route replace default via 192.168.7.3
sleep 0.3
for name in wiki.plant.example vault.locked.example; do
  [ "$(ask $name)" = NOERROR ] || fail "$name has no answer through its router"
  grep -qa "${name%%.*}.${name#*.}" <(tr '\005\006\004\007' '....' < "$work/router") || fail "the router's resolver heard nothing of $name"
done
ip -n "$ns-host" route replace default via 192.168.7.1
moved=$(ask mail.plant.example)$(ask keys.locked.example)
[ "$moved" = SERVFAILSERVFAIL ] || fail "answers through the hotel's router: $moved"
control moved
before=$(packets router 10.9.0.1)
for name in wiki.plant.example more.plant.example vault.locked.example more.locked.example; do
  [ "$(ask $name)" = SERVFAIL ] || fail "$name has an answer through the hotel's router"
done
# The kernel would repeat and close what is open in this time.
sleep 1
control later
[ "$(packets router 10.9.0.1)" = "$before" ] || fail "the router's link saw a packet after the default route had moved"
[ "$(packets hotel 10.9.0.1)" = 0 ] || fail "the hotel's link saw a packet for the other VPN's resolver"
if grep -qaiE 'plant|locked' "$work/hotel" "$work/hotel.pcap"; then fail "the hotel knows a name"; fi
ip -n "$ns-host" route replace default via 192.168.7.3
sleep 0.3
for name in back.plant.example back.locked.example; do
  [ "$(ask $name)" = NOERROR ] || fail "$name has no answer when the default route is back"
done
echo "names of the routes: at the VPNs' resolvers only, and nowhere when the link is gone or the default route leads elsewhere"
