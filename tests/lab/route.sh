#!/usr/bin/env bash
# A host with a VPN (tun0, resolver 10.8.0.1) beside a hotel's network: names of the VPN's zone are asked there and nowhere else, also
# when the VPN's link is gone; in clear text and over TLS. Usage: route.sh TACENDA. Needs root, iproute2, tcpdump, dig, python3, openssl.
# Leaves nothing behind.
set -euo pipefail
tacenda=$1
work=$(mktemp -d)
ns="tac-$$"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for host in host vpn hotel; do ip netns del "$ns-$host" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; cat "$work/log" 2>/dev/null || true; exit 1; }

for host in host vpn hotel; do ip netns add "$ns-$host"; ip -n "$ns-$host" link set lo up; done
ip link add tun0 netns "$ns-host" type veth peer name v0 netns "$ns-vpn"
ip link add wlan0 netns "$ns-host" type veth peer name h0 netns "$ns-hotel"
ip -n "$ns-host" addr add 10.8.0.2/24 dev tun0; ip -n "$ns-vpn" addr add 10.8.0.1/24 dev v0
ip -n "$ns-host" addr add 192.168.7.2/24 dev wlan0; ip -n "$ns-hotel" addr add 192.168.7.1/24 dev h0
for link in host:tun0 host:wlan0 vpn:v0 hotel:h0; do ip -n "$ns-${link%:*}" link set "${link#*:}" up; done
ip -n "$ns-host" route add default via 192.168.7.1
# The hotel would answer for the VPN's resolver as soon as it is asked.
ip -n "$ns-hotel" addr add 10.8.0.1/32 dev lo

# A certificate for the VPN's resolver, of an authority of its own. The hotel shows it too: let it be stolen.
{
  cd "$work"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj "/CN=lab CA"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj "/CN=lab"
  printf 'subjectAltName=IP:10.8.0.1\nbasicConstraints=CA:FALSE\n' > extensions
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem
  cat server.key >> server.pem
} > "$work/openssl" 2>&1 || { cat "$work/openssl"; exit 1; }

# A resolver that answers everything with 10.9.9.9, here and there, over UDP and TLS; it writes down what was asked.
cat > "$work/resolver.py" << 'PY'
import socket, ssl, struct, sys, threading
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
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 53))
threading.Thread(target=serve_tls, daemon=True).start()
open(sys.argv[1], "ab").close()
while True:
    q, client = udp.recvfrom(4096)
    udp.sendto(answer(q), client)
PY
for host in vpn hotel; do
  ip netns exec "$ns-$host" python3 "$work/resolver.py" "$work/$host" "$work/server.pem" & pids+=($!)
  for _ in $(seq 100); do [ -e "$work/$host" ] && break; sleep 0.05; done
done
ip netns exec "$ns-hotel" tcpdump -i h0 -n -U -w "$work/hotel.pcap" 2> /dev/null & pids+=($!)

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
[stats]
listen = "127.0.0.1:8053"
TOML
ip netns exec "$ns-host" "$tacenda" run --config "$work/tacenda.toml" 2> "$work/log" & pids+=($!)
ask() { ip netns exec "$ns-host" dig +tries=1 +time=6 @127.0.0.1 "$1" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
until [ "$(ask localhost)" = NOERROR ]; do sleep 0.1; done

# The positive control: what is asked at the hotel is seen there.
control() {
  for _ in $(seq 50); do
    ip netns exec "$ns-host" dig +tries=1 +time=1 @192.168.7.1 "$1.example" > /dev/null || true
    grep -qa "$1" "$work/hotel.pcap" && return
  done
  fail "the capture is blind"
}

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
if tcpdump -r "$work/hotel.pcap" -n host 10.8.0.1 2> /dev/null | grep .; then fail "the hotel's link saw a packet for the VPN's resolver"; fi
echo "names of the route: at the VPN's resolver only, and nowhere when its link is gone"
