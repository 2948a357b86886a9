# Sourced by what needs a real systemd: process 1 of namespaces of its own, over a copy-on-write view of a root. /proc/sys and /sys are read-only,
# the network is empty, and all of it ends with the script that sources this. Needs root, systemd and overlayfs. A script runs itself again,
# inside, with `boot` behind its own arguments: see systemd.sh.

# root_of LOWER W: the root at $R, on a tmpfs at W. For the inside, with namespaces of its own.
root_of() {
  local d n a b
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$2"; mkdir "$2"/{upper,work,root}
  mount -t overlay overlay -o lowerdir="$1",upperdir="$2/upper",workdir="$2/work" "$2/root"
  R=$2/root
  # What a tacenda of this host has left, too.
  rm -rf "$R"/etc/systemd/system/* "$R"/run/systemd "$R"/var/lib/tacenda "$R"/var/lib/private/tacenda "$R"/var/lib/tacenda-system; mkdir -p "$R/etc/systemd/system"
  mount -t proc proc "$R/proc"; mount --bind -o ro "$R/proc/sys" "$R/proc/sys"; mount -o remount,bind,ro "$R/proc/sys"
  mount -t sysfs -o ro sysfs "$R/sys"; mount -t tmpfs tmpfs "$R/sys/fs/cgroup"
  mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$R/run"; mount -t tmpfs tmpfs "$R/tmp"; mount -t tmpfs tmpfs "$R/dev"
  for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do IFS=: read -r n a b <<< "$d"; mknod -m 666 "$R/dev/$n" c "$a" "$b"; done
  ln -s pts/ptmx "$R/dev/ptmx"
  rm -f "$R/.dockerenv"
}

# become_systemd: the last of the inside.
become_systemd() {
  ip link set lo up
  cd "$R"; mkdir -p .old; pivot_root . .old; umount -l /.old
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=lab \
    setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-syslog,-audit_control,-audit_write \
    /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no < /dev/null
}

# boot SCRIPT ARGUMENT...: runs `SCRIPT ARGUMENT... boot W` inside, and waits until systemd has booted.
boot() {
  W=$(mktemp -d); LOG=$W.log
  local unified=/sys/fs/cgroup/unified; [ -d $unified ] || unified=/sys/fs/cgroup
  CG=$unified/tacenda-lab-$$; mkdir "$CG"
  ( echo "$BASHPID" > "$CG/cgroup.procs"; exec unshare --mount --pid --fork --net --uts --ipc --cgroup --kill-child "$@" boot "$W" ) > "$LOG" 2>&1 &
  OUTER=$!
  trap end EXIT
  PID=; for _ in $(seq 100); do PID=$(pgrep -P "$OUTER" || true); [ -n "$PID" ] && [ "$(cat /proc/"$PID"/comm)" = systemd ] && break; sleep 0.1; done
  until_true 300 inside systemctl is-active basic.target || fail "systemd does not boot"
}
# unshare itself takes no signal while its child lives; with process 1 all others end.
end() { [ -z "${PID:-}" ] || kill -KILL "$PID" 2> /dev/null || true; wait "$OUTER" 2> /dev/null || true
  for _ in $(seq 50); do find "$CG" -depth -type d -exec rmdir {} \; 2> /dev/null || true; [ -d "$CG" ] || break; sleep 0.1; done; rm -rf "$W" "$LOG"; }
inside() { nsenter -t "$PID" --mount --pid --net --uts --ipc --cgroup --root --wd env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
fail() { echo "FAILED: $*" >&2; inside systemctl status --no-pager -l tacenda.service tacenda.socket systemd-journald.service >&2 || true; inside journalctl --no-pager -n 60 2> /dev/null | tail -40 >&2; tail -20 "$LOG" >&2; exit 1; }
proves() { echo "proved: $*"; }
until_true() { local n=$1; shift; for _ in $(seq "$n"); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done; return 1; }
main() { inside systemctl show -P MainPID tacenda.service; }

# network_resolver: what the network would have handed out, at 127.0.0.77: it answers every name with 203.0.113.66.
network_resolver() {
  inside sh -c 'cat > /tmp/dns.py' <<'PY'
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(("127.0.0.77", 53))
while True:
    query, client = server.recvfrom(512); end = query.index(b"\0", 12) + 5; is_a = query[end - 4:end] == b"\0\1\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x01\0\4\xcb\0\x71\x42" if is_a else b""
    server.sendto(query[:2] + b"\x81\x80\0\1\0" + bytes([is_a]) + b"\0\0\0\0" + query[12:end] + record, client)
PY
  # libc asks for no address of a family of which the host has none but 127.0.0.1.
  inside ip address add 192.0.2.100/32 dev lo
  inside python3 /tmp/dns.py < /dev/null > /dev/null 2>&1 &
  inside sh -c 'sed -i "s/^hosts:.*/hosts: files dns/" /etc/nsswitch.conf; rm -f /etc/resolv.conf; printf "search lan.example\nnameserver 127.0.0.77\n" > /etc/resolv.conf; chmod 640 /etc/resolv.conf; chown daemon /etc/resolv.conf'
}
# asked NAME: the address that programs get.
asked() { inside getent ahostsv4 "$1" 2> /dev/null | awk 'NR == 1 { print $1 }'; }
