#!/usr/bin/env bash
# leaks.sh TACENDA CERTS [SCENARIO]...   The leak laboratory: a hotel and its ISP who look at every packet, and a client with everything that
# could tell them a name. One line a scenario: what was done, and how many names they saw. Without protection they must see them, or else the
# scenario proves nothing. Everything happens in namespaces and over a copy of this host that dies with this script. Needs root, python3,
# iproute2, nftables, dnsmasq, unbound, bind9-dnsutils, tcpdump, openvpn, isc-dhcp-client, util-linux.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
  tacenda=$(realpath "$1") certs=$(realpath "$2"); shift 2
  here=$(dirname "$(readlink -f "$0")")
  exec unshare --mount --net --pid --fork --kill-child --propagation private "$here/leaks.sh" --inside "$tacenda" "$certs" "$here" "$@"
fi
tacenda=$2 certs=$3 here=$4; shift 4
base=$(mktemp -d); mount -t tmpfs tmpfs "$base"; mkdir "$base"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys"
for folder in run tmp; do mount -t tmpfs tmpfs "$root/$folder"; done
rm -f "$root/.dockerenv" "$root/etc/resolv.conf"
install -D "$tacenda" "$root/usr/bin/tacenda"
cp -r "$here/leaks" "$root/tmp/leaks"; mkdir "$root/tmp/certs"; cp "$certs"/* "$root/tmp/certs/"; chmod -R a+rX "$root/tmp"
code=0
chroot "$root" python3 /tmp/leaks/main.py /usr/bin/tacenda /tmp/certs "$@" || code=$?
umount -l "$base"; rmdir "$base"
exit "$code"
