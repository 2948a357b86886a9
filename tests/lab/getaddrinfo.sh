#!/usr/bin/env bash
# getaddrinfo.sh TACENDA   asks glibc's getaddrinfo, with tacenda as the system's only resolver on port 53.
# Everything runs in namespaces of its own (network, mounts, processes): the host's DNS is not touched, and all of it dies with this
# script. Needs root, and a $LAB whose PKI and zones are made (upstreams/start.sh nsd).
set -euo pipefail
here="$(dirname "$(readlink -f "$0")")"
export LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"
if [ "${1:-}" != --inside ]; then
  exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$1"
fi
tacenda="$2"
own="$(mktemp -d)"; trap 'rm -rf "$own"' EXIT
chmod 755 "$own"; cp -r "$LAB/pki" "$LAB/zones" "$own/"; export LAB="$own"
ip link set lo up
"$here/upstreams/start.sh" nsd unbound >&2

cat > "$own/tacenda.toml" <<TOML
version = 1
listen = ["127.0.0.1:53"]
[[upstream]]
url = "tls://dns.lab.example:15253"
addresses = ["127.0.0.1"]
roots = "$own/pki/ca.pem"
[stats]
listen = "off"
TOML
echo 'nameserver 127.0.0.1' > "$own/resolv.conf"
echo 'hosts: dns' > "$own/nsswitch.conf"
mount --bind "$own/resolv.conf" "$(readlink -f /etc/resolv.conf)"
[ ! -e /etc/nsswitch.conf ] || mount --bind "$own/nsswitch.conf" /etc/nsswitch.conf

"$tacenda" run --config "$own/tacenda.toml" >&2 & pid=$!
for _ in $(seq 50); do kill -0 "$pid"; dig +time=1 +tries=1 @127.0.0.1 version.bind TXT CH >/dev/null && break; done

python3 - <<'PY'
import socket

def addresses(name):
    try:
        return sorted({info[4][0] for info in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return socket.gaierror.__name__, error.errno

WWW = ["198.51.100.10", "2001:db8::10"]
expected = {
    "www.unsigned.example": WWW,
    "WWW.Signed.EXAMPLE": WWW,
    "alias.unsigned.example": WWW,
    "c1.signed.example": WWW,
    "www.sub.unsigned.example": ["198.51.100.40"],
    "a.b.ent.unsigned.example": ["198.51.100.77"],
    "any.wild.unsigned.example": ["198.51.100.99"],
    "ttl0.unsigned.example": ["198.51.100.20"],
    "under_score.unsigned.example": ["198.51.100.32"],
    "nx.unsigned.example": ("gaierror", socket.EAI_NONAME),
    "txt.unsigned.example": ("gaierror", socket.EAI_NODATA),
    # A validator says SERVFAIL: try again later, and nothing else is asked.
    "www.bogus.example": ("gaierror", socket.EAI_AGAIN),
}
bad = {name: addresses(name) for name, right in expected.items() if addresses(name) != right}
many = addresses("many.unsigned.example")
if len(many) != 250:
    bad["many.unsigned.example"] = len(many)
print(f"getaddrinfo: {len(expected) + 1} names, {len(bad)} wrong {bad or ''}")
raise SystemExit(bool(bad))
PY
