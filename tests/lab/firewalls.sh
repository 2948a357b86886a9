#!/usr/bin/env bash
# firewalls.sh TACENDA CERTS [docker|firewalld]...   The leak guard beside real programs with packet rules of their own: Debian's Docker and
# firewalld, unpacked and never installed, each in namespaces laid over this host. What they are asked to do, while everybody asks everybody:
# no packet to a port for questions reaches the far end of the outside link, their rules and tacenda's stay as they were, and without the
# guard the same questions are seen. Needs root, nft, iproute2, dbus-daemon, dnsmasq, unbound, dig, tcpdump, python3, and apt-get for 66 MB.
set -euo pipefail
cases=(docker firewalld)
docker=(docker.io containerd runc iptables libip6tc2 busybox-static)
firewalld=(firewalld python3-firewall python3-nftables python3-jsonschema python3-attr python3-pyrsistent python3-cap-ng python3-dbus python3-gi
  libgirepository-1.0-1 gir1.2-glib-2.0 iptables libip6tc2 ipset libipset13)
if [ "${1:-}" != --inside ]; then
  tacenda=$(realpath "$1") certs=$(realpath "$2"); shift 2
  [ $# = 0 ] || cases=("$@")
  here=$(dirname "$(readlink -f "$0")") base=$(mktemp -d) group=tacenda-lab-$$
  # A container's groups outlive the namespace in which it died.
  trap 'for found in /sys/fs/cgroup/$group /sys/fs/cgroup/*/$group; do [ ! -d "$found" ] || find "$found" -depth -type d -exec rmdir {} \;; done; rm -rf "$base"' EXIT
  mkdir "$base/debs"; chmod 755 "$base"; chmod 777 "$base/debs"
  for name in "${cases[@]}"; do
    declare -n packages=$name
    (cd "$base/debs" && apt-get download -q "${packages[@]}" > /dev/null 2>&1) || { echo "cannot fetch packages" >&2; exit 1; }
    mkdir "$base/$name" "$base/on-$name"; for package in "${packages[@]}"; do dpkg -x "$base/debs/$package"_*.deb "$base/$name"; done
    (cd "$base/$name"; rm -rf usr/share/{doc,man,locale}
     for folder in bin sbin lib; do [ ! -d $folder ] || { mkdir -p usr/$folder; cp -a $folder/. usr/$folder/; rm -rf $folder; }; done
     # What an installation would make.
     for program in iptables ip6tables ebtables; do for what in '' -save -restore; do ln -s $program-nft$what usr/sbin/$program$what; done; done
     [ $name != firewalld ] || ln -s org.fedoraproject.FirewallD1.server.policy.choice usr/share/polkit-1/actions/org.fedoraproject.FirewallD1.policy)
  done
  code=0
  for name in "${cases[@]}"; do
    if timeout -k 5 300 unshare --mount --net --pid --uts --fork --kill-child --propagation private \
      "$here/firewalls.sh" --inside "$tacenda" "$certs" "$here/firewalls" "$base/$name" "$base/on-$name" "$group" "$name" > "$base/log" 2>&1; then
      grep -v '^#' "$base/log"
    else
      echo "FAILED: $name"; cat "$base/log"; code=1
    fi
  done
  exit $code
fi

tacenda=$2 certs=$3 here=$4 tree=$5 base=$6 group=$7 name=$8
mount -t tmpfs tmpfs "$base"; mkdir "$base"/{upper,work,root}
cp -a "$tree" "$base/tree"
mount -t overlay overlay -o "lowerdir=$base/tree:/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
for folder in run tmp var/lib/docker; do mkdir -p "$root/$folder"; mount -t tmpfs tmpfs "$root/$folder"; done
rm -f "$root/.dockerenv" "$root/etc/resolv.conf"
install -D "$tacenda" "$root/usr/bin/tacenda"; cp "$here"/* "$root/tmp/"
mkdir "$root/tmp/certs"; cp "$certs"/* "$root/tmp/certs/"; chmod -R a+rX "$root/tmp"
# Not chroot: `docker exec` enters the root of the mount namespace, which would be this host's.
cd "$root"; mkdir -p tmp/old; pivot_root . tmp/old; cd /tmp
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umount -l /tmp/old
exec bash "/tmp/$name.sh" "$group"
