#!/usr/bin/env bash
# system.sh TACENDA [CASE]...   `tacenda system set`, `restore` and `status` beside the real programs that write a host's DNS: each
# case is a machine of its own (mounts, processes, network) with a hotel's DHCP and DNS server behind a link, which answers every name.
# The real host is not touched, and everything dies with this script. Needs root, Debian 12's apt-get, dnsmasq, python3, openssl, strace.
set -euo pipefail
cases=(plain dangling mounted readonly immutable confirm container dhclient dhcpcd udhcpc watched watchednetwork watchedlink debian openresolv resolved networkd manager desktop desktop2 resolvedhcp restart full broken killed killedbus)
packages=(isc-dhcp-client dhcpcd-base udhcpc busybox systemd-resolved libnss-resolve libsystemd-shared resolvconf openresolv
  network-manager libnm0 libndp0 libjansson4 libcurl3-gnutls libmm-glib0 libpolkit-agent-1-0 libpolkit-gobject-1-0 libpsl5 libteamdctl0
  libbluetooth3 libudev1 libreadline8 libselinux1 libmnl0 libssh2-1 librtmp1 libnghttp2-14 libldap-2.5-0)

if [ "${1:-}" != --inside ]; then
  tacenda=$(realpath "$1"); shift
  here=$(dirname "$(readlink -f "$0")")
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  # Fetched and unpacked, never installed: an installation would change this host's own DNS.
  mkdir "$work/debs"; chmod 777 "$work/debs"
  (cd "$work/debs" && apt-get download -q "${packages[@]}" > /dev/null 2>&1) || { echo "cannot fetch packages" >&2; exit 1; }
  for package in "${packages[@]}"; do
    case $package in
      resolvconf | openresolv | network-manager | systemd-resolved | libnss-resolve | libsystemd-shared) to=$package ;;
      *) to=common ;;
    esac
    mkdir -p "$work/$to"; dpkg -x "$work/debs/$package"_*.deb "$work/$to"
  done
  for tree in "$work"/*/; do
    for folder in bin sbin lib; do
      [ -d "$tree/$folder" ] || continue
      mkdir -p "$tree/usr/$folder"; cp -a "$tree/$folder/." "$tree/usr/$folder/"; rm -rf "${tree:?}/$folder"
    done
  done
  [ $# -gt 0 ] && cases=("$@")
  failed=0
  for name in "${cases[@]}"; do
    trees="$work/common"
    case $name in
      resolved* | networkd | watchedlink | restart | killedbus) trees="$work/systemd-resolved:$work/libnss-resolve:$work/libsystemd-shared:$trees" ;;
      debian) trees="$work/resolvconf:$trees" ;;
      openresolv) trees="$work/openresolv:$trees" ;;
      desktop*) trees="$work/network-manager:$work/systemd-resolved:$work/libnss-resolve:$work/libsystemd-shared:$trees" ;;
      manager) trees="$work/network-manager:$trees" ;;
    esac
    if unshare --mount --net --pid --fork --kill-child "$here/system.sh" --inside "$tacenda" "$here" "$trees" "$name" > "$work/log" 2>&1; then
      tail -1 "$work/log"
    else
      echo "FAILED: $name"; tail -60 "$work/log"; failed=1
    fi
  done
  exit $failed
fi

# Inside: a copy of this host over which everything is written, and into which the packages are laid.
if [ -n "${4:-}" ]; then
  tacenda=$2 here=$3 trees=$4 name=$5
  base=$(mktemp -d); mount -t tmpfs tmpfs "$base"; mkdir "$base"/{upper,work,root}
  # A layer must not be inside another one: copied out of this host's file system.
  layers=''; for tree in ${trees//:/ }; do cp -a "$tree" "$base/"; layers="$layers$base/${tree##*/}:"; done
  mount -t overlay overlay -o "lowerdir=$layers/,upperdir=$base/upper,workdir=$base/work" "$base/root"
  root=$base/root
  mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"
  mkdir -p "$root/sys"; mount -t sysfs sysfs "$root/sys" || true
  for folder in run tmp; do mount -t tmpfs tmpfs "$root/$folder"; done
  rm -f "$root/.dockerenv"
  install "$tacenda" "$root/usr/bin/tacenda"; install "$here/system.sh" "$root/usr/bin/system.sh"
  install "$here/system_cases.sh" "$root/usr/bin/system_cases.sh"
  exec chroot "$root" /usr/bin/system_cases.sh "$name"
fi
