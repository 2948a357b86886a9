#!/usr/bin/env bash
# The cases of system.sh, each in a machine of its own. Not to be run by hand: it changes the host that it runs on.
set -euo pipefail
[ "$(readlink /proc/self/root)" = / ] && [ $$ -lt 100 ] || { echo "only inside system.sh" >&2; exit 1; }
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
name=$1
fail() { echo "FAILED: $name: $*"; tacenda system status --explain || true; cat /etc/resolv.conf || true; tail -20 /tmp/*.log 2>/dev/null || true; exit 1; }
has() { case $1 in *"$2"*) ;; *) fail "no '$2' in: $1" ;; esac; }

# --- the hotel, the upstream, tacenda
network() {
  ip link set lo up
  ip netns add hotel; ip -n hotel link set lo up
  ip link add h0 type veth peer name r0 netns hotel
  ip -n hotel addr add 192.168.77.1/24 dev r0; ip -n hotel link set r0 up; ip link set h0 up
  # It answers every name: a leak works, and is not hidden by a failure.
  ip netns exec hotel dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --address=/#/203.0.113.66 --interface=r0 --bind-interfaces \
    --dhcp-range=192.168.77.50,192.168.77.99,2m --dhcp-option=option:domain-name,hotel.example --dhcp-option=option:domain-search,com \
    --dhcp-option-force=114,https://api.hotel.example/cp \
    --log-queries --log-facility=/tmp/hotel.log --pid-file=/run/hotel.pid --dhcp-leasefile=/run/hotel.leases --user=root
}
upstream() {
  cd /tmp
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj "/CN=lab CA" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout s.key -out s.csr -subj "/CN=lab" 2>/dev/null
  printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > ext
  openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out s.pem 2>/dev/null
  cat s.key >> s.pem
  cat > dot.py <<'PY'
import socket, ssl, struct, threading
def answer(q):
    end = q.index(b"\0", 12) + 5
    is_a = q[end - 4:end] == b"\0\1\0\1"
    rr = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x33\x64\x01" if is_a else b""
    return q[:2] + b"\x81\x80\0\1\0" + bytes([is_a]) + b"\0\0\0\0" + q[12:end] + rr
def converse(stream):
    try:
        stream = context.wrap_socket(stream, server_side=True)
        while head := stream.recv(1):
            head += stream.recv(1)
            (left,), q = struct.unpack("!H", head), b""
            while len(q) < left: q += stream.recv(left - len(q))
            a = answer(q); stream.sendall(struct.pack("!H", len(a)) + a)
    except OSError: pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("/tmp/s.pem")
tls = socket.create_server(("127.0.0.1", 8853)); open("/tmp/dot.up", "w").close()
while True: threading.Thread(target=converse, args=[tls.accept()[0]], daemon=True).start()
PY
  python3 dot.py & for _ in $(seq 100); do [ -e /tmp/dot.up ] && break; sleep 0.05; done
}
daemon() {
  printf 'version = 1\nlisten = ["127.0.0.1:53"]\n[[upstream]]\nurl = "tls://127.0.0.1:8853"\nroots = "/tmp/ca.pem"\n[stats]\nlisten = "off"\n' > /tmp/t.toml
  tacenda run --config /tmp/t.toml 2> /tmp/tacenda.log & tacenda_pid=$!
  for _ in $(seq 100); do tacenda query localhost --server 127.0.0.1 > /dev/null 2>&1 && return; sleep 0.05; done
  fail "tacenda does not answer"
}

# --- what a host is, and whom it asks
# Whose word `portal open` would go by in a network that the settings know nothing of: NAME [URL].
told_by() {
  mv /var/lib/tacenda-system /var/lib/other; tacenda portal status --json > /tmp/told; mv /var/lib/other /var/lib/tacenda-system
  local got; got=$(python3 -c 'import json; n = json.load(open("/tmp/told"))["network"]; print(n["by"], n["interface"], *n["servers"], *n["urls"], sep="|")')
  [ "$got" = "$1|h0|192.168.77.1${2:+|$2}" ] || fail "what this network says: $got"
}
hotel=203.0.113.66 ours=198.51.100.1 count=0
asked() { count=$((count + 1)); getent ahostsv4 "n$count$1.canary.example" | awk 'NR == 1 { print $1 }'; }
asks() { local got; got=$(asked "$2") || true; [ "$got" = "$1" ] || fail "a name has the address '$got' and not $1 ($2)"; }
# Every file of /etc with what it is, whose and since when it says what it says.
snapshot() { (cd / && find etc run/systemd run/resolvconf run/NetworkManager -name '*.tmp' -prune -o \( -type f -printf '%p %m %u %g ' -exec sha256sum {} \; \) \
  -o \( -type l -printf '%p %u %g -> %l\n' \) -o \( -type d -printf '%p %m %u %g\n' \) 2>/dev/null | sort | grep -vE "${ignored:-^$}") || true; }
before() { snapshot > /tmp/before; cp /run/systemd/resolve/resolv.conf /tmp/uplink.before 2>/dev/null || true; }
same() { snapshot > /tmp/after; diff /tmp/before /tmp/after > /tmp/diff.log || { cat /tmp/diff.log; diff /tmp/uplink.before /run/systemd/resolve/resolv.conf || true; fail "not as before ($1)"; }; }
set_it() { tacenda system set --yes "$@" || fail "set"; }
restore() { tacenda system restore || fail "restore"; }
one_server() { [ "$(grep -c '^nameserver' /etc/resolv.conf)" = 1 ] && grep -q '^nameserver 127.0.0.1$' /etc/resolv.conf || fail "not exactly one server ($1)"; }
arrives() { tacenda system status > /tmp/status || { cat /tmp/status; fail "status ($1)"; }; }
quiet() { if grep -q "$1" /tmp/hotel.log; then fail "the hotel was asked for $1"; fi; }
plain_file() { rm -f /etc/resolv.conf; printf 'search hotel.example\nnameserver 192.168.77.1\n' > /etc/resolv.conf; chmod 640 /etc/resolv.conf; chown daemon /etc/resolv.conf; }
address() { ip addr add 192.168.77.2/24 dev h0; }
# Set, ask, renew, ask, restore: $1 renews, or nothing.
cycle() {
  asks $hotel "control"
  before
  set_it; asks $ours "set"; arrives "set"
  if [ -n "${1:-}" ]; then
    "$1"; ${2:-one_server} "renewed"; asks $ours "renewed"; arrives "renewed"
    [ -z "${told:-}" ] || told_by "$told" "${url:-}"
  fi
  set_it; asks $ours "twice"
  restore; same "restored"; asks $hotel "restored"
  quiet ours; for what in set renewed twice; do quiet "$what.canary"; done
}

# The control: what renews does write the file when tacenda is not set.
writes() { echo 'nameserver 192.0.2.99' > /etc/resolv.conf; "$1"; has "$(cat /etc/resolv.conf)" 192.168.77.1; }

case_plain() {
  address; plain_file
  tacenda system set --yes > /tmp/out 2>&1 && fail "set without tacenda running"
  has "$(cat /tmp/out)" "nobody listens"
  daemon; cycle
  kill "$tacenda_pid"; wait "$tacenda_pid" || true
  # Without the upstream: refused, unless told otherwise.
  pkill_python; daemon; before
  code=0; tacenda system set --yes > /tmp/out 2>&1 || code=$?
  [ $code = 69 ] || fail "set without an upstream ends with $code"
  has "$(cat /tmp/out)" "no upstream"; same "refused"
  set_it --offline; one_server offline; restore; same "restored"
  # Not as root.
  code=0; setpriv --reuid=daemon --clear-groups tacenda system set --yes > /tmp/out 2>&1 || code=$?
  [ $code = 77 ] || fail "set as a user ends with $code"
  # Another resolver on port 53 is not taken for tacenda.
  kill "$tacenda_pid"; wait "$tacenda_pid" || true
  dnsmasq --conf-file=/dev/null --no-resolv --address=/#/240.0.0.1 --listen-address=127.0.0.1 --bind-interfaces --pid-file=/run/other.pid --user=root
  tacenda system set --yes --offline > /tmp/out 2>&1 && fail "another resolver was taken for tacenda"
  same "another resolver"
  kill "$(cat /run/other.pid)"
  # Names that libc does not ask tacenda for: undone by itself.
  for _ in $(seq 50); do [ -e "/proc/$(cat /run/other.pid 2>/dev/null)" ] || break; sleep 0.1; done
  daemon; sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf; before
  tacenda system set --yes --offline > /tmp/out 2>&1 && fail "set though libc goes elsewhere"
  has "$(cat /tmp/out)" "everything is as it was before"; same "undone"
}
pkill_python() { for p in /proc/[0-9]*; do if [ "$(cat "$p/comm" 2>/dev/null)" = python3 ]; then kill "${p#/proc/}"; fi; done; }
case_dangling() {
  address; daemon
  for target in ../run/gone/resolv.conf /usr/lib/tacenda-test/resolv.conf; do
    mkdir -p /usr/lib/tacenda-test; printf 'nameserver 192.168.77.1\n' > /usr/lib/tacenda-test/resolv.conf
    ln -sfn $target /etc/resolv.conf
    before; set_it; one_server "$target"; asks $ours set; restore; same "$target"
    [ "$(cat /usr/lib/tacenda-test/resolv.conf)" = 'nameserver 192.168.77.1' ] || fail "written through a link"
  done
}
case_mounted() {
  address; plain_file; cp /etc/resolv.conf /tmp/mounted; mount --bind /tmp/mounted /etc/resolv.conf
  daemon; cycle
  has "$(tacenda system status --explain)" "mount of its own"
}
case_readonly() {
  address; plain_file; daemon; mount --bind /etc /etc; mount -o remount,bind,ro /etc
  before; tacenda system set --yes > /tmp/out 2>&1 && fail "set on a read-only /etc"
  has "$(cat /tmp/out)" "read-only"; same "refused"; [ ! -e /var/lib/tacenda-system/journal.json ] || fail "a journal is left"
}
# Undone by itself unless somebody says within the time that he can still work.
waits() { grep -q '"phase": "verify"' /var/lib/tacenda-system/journal.json 2> /dev/null; }
undone() { has "$(cat /tmp/out)" "as it was before: $2"; same "$1"; asks $hotel "$1"; [ ! -e /var/lib/tacenda-system/journal.json ] || fail "a journal is left ($1)"; }
case_confirm() {
  address; plain_file; daemon; before; mkfifo /tmp/silence; exec 9<> /tmp/silence
  : > /tmp/watch.log
  for answer in 'y\n' 'yes'; do
    printf "$answer" | set_it --confirm > /tmp/out 2>&1; asks $ours confirmed; restore; same confirmed
  done
  # An empty line is a person's only at a terminal.
  for no in no:'n\n' empty:'\n'; do
    if printf "${no#*:}" | tacenda system set --yes --confirm > /tmp/out 2>&1; then fail "set against ${no%%:*}"; fi; undone "${no%%:*}" "not confirmed"
  done
  if tacenda system set --yes --confirm > /tmp/out 2>&1 < /dev/null; then fail "set by nobody"; fi; undone nobody "nobody is there"
  if tacenda system set --yes --confirm=1s > /tmp/out 2>&1 <&9; then fail "set without an answer"; fi; undone silence "not confirmed within 1s"
  for signal in INT TERM HUP; do
    tacenda system set --yes --confirm > /tmp/out 2>&1 <&9 & pid=$!; within 100 waits; asks $ours "waits$signal"
    if tacenda system restore > /tmp/restore.log 2>&1; then fail "two at once"; fi; has "$(cat /tmp/restore.log)" "another tacenda"
    kill -s $signal $pid; if wait $pid; then fail "set after a signal"; fi; undone "SIG$signal" ended
  done
  # A session that ends: the terminal hangs up. And one in which Enter is pressed.
  cat > /tmp/session.py <<'PY'
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execvp("tacenda", ["tacenda", "system", "set", "--confirm"])
said = b""
while b"Go on?" not in said: said += os.read(terminal, 4096)
os.write(terminal, b"y\n")
while b"Press Enter within 30s" not in said: said += os.read(terminal, 4096)
if sys.argv[1] == "enter":
    os.write(terminal, b"\n")
    while b"set: programs" not in said: said += os.read(terminal, 4096)
else: os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
  code=0; python3 /tmp/session.py hangup || code=$?; [ $code = 1 ] || fail "after a hang-up it ends with $code"
  same "hung up"; asks $hotel "hungup"
  python3 /tmp/session.py enter || fail "Enter on a terminal"; asks $ours entered; restore; same entered
  # Killed, it is never known to have worked: whoever comes next undoes it.
  for next in "system set --if-set --offline --yes" "system restore" "system watch"; do
    tacenda system set --yes --confirm > /tmp/out 2>&1 <&9 & pid=$!; within 100 waits; kill -KILL $pid; wait $pid || true; asks $ours killed
    if [ "$next" = "system watch" ]; then watch_it; soon "the watch undoes it" given_back; unwatch
    else tacenda $next > /tmp/next.log 2>&1 || fail "$next"; fi
    same "killed, $next"; asks $hotel "killed$((nth = ${nth:-0} + 1))"
  done
}
given_back() { [ ! -e /var/lib/tacenda-system/journal.json ] && grep -q 192.168.77.1 /etc/resolv.conf; }
# Administrators protect the file from everything else like this; root itself may not write it then.
case_immutable() {
  address; plain_file; daemon; chattr +i /etc/resolv.conf || fail "no file system here that knows the flag"
  before; tacenda system set --yes > /tmp/out 2>&1 && fail "set on an immutable file"
  has "$(cat /tmp/out)" "everything is as it was before"; has "$(cat /tmp/out)" "chattr -i"; same refused; asks $hotel refused
  [ ! -e /var/lib/tacenda-system/journal.json ] || fail "a journal is left"
  chattr -i /etc/resolv.conf; before; set_it; chattr +i /etc/resolv.conf
  tacenda system restore > /tmp/out 2>&1 && fail "restored an immutable file"
  has "$(cat /tmp/out)" "chattr -i"; has "$(cat /tmp/out)" "system restore"; asks $ours kept
  chattr -i /etc/resolv.conf; restore; same restored; asks $hotel restored
}
case_container() {
  address; plain_file; daemon; touch /.dockerenv; before
  tacenda system set --yes > /tmp/out 2>&1 && fail "set in a container"
  has "$(cat /tmp/out)" "--dns"; same "refused"
}
case_dhclient() {
  plain_file; daemon; leases=/var/lib/dhcp/dhclient.h0.leases; mkdir -p /var/lib/dhcp
  told="dhclient's lease" url=https://api.hotel.example/cp
  dhclient -pf /run/dhclient.pid -lf $leases h0 2> /tmp/dhclient.log
  renew() { dhclient -x -pf /run/dhclient.pid -lf $leases h0 2>> /tmp/dhclient.log; dhclient -pf /run/dhclient.pid -lf $leases h0 2>> /tmp/dhclient.log; }
  has "$(cat /etc/resolv.conf)" 192.168.77.1
  cycle renew; writes renew
}
case_dhcpcd() {
  plain_file; daemon; ignored='^etc/(machine-id|dhcpcd\.duid)' told="dhcpcd's lease" url=https://api.hotel.example/cp
  # Without udev's and machine's own things: the hooks are what matters.
  dhcpcd -4 -w -q --noarp -c /usr/lib/dhcpcd/dhcpcd-run-hooks h0 > /tmp/dhcpcd.log 2>&1 || fail "dhcpcd"
  for _ in $(seq 100); do grep -q 192.168.77.1 /etc/resolv.conf && break; sleep 0.1; done
  renew() { dhcpcd -N h0 >> /tmp/dhcpcd.log 2>&1 || true; sleep 3; dhcpcd -n h0 >> /tmp/dhcpcd.log 2>&1 || true; sleep 3; }
  cycle renew; writes renew
}
case_udhcpc() {
  plain_file; daemon
  udhcpc -i h0 -s /etc/udhcpc/default.script -p /run/udhcpc.pid -b > /tmp/udhcpc.log 2>&1
  has "$(cat /etc/resolv.conf)" 192.168.77.1; before
  tacenda system set --yes > /tmp/out || fail set; has "$(cat /tmp/out)" udhcpc; asks $ours set
  kill -USR1 "$(cat /run/udhcpc.pid)"
  for _ in $(seq 100); do grep -q 192.168.77.1 /etc/resolv.conf && break; sleep 0.1; done
  grep -q 192.168.77.1 /etc/resolv.conf || fail "udhcpc does not write, against what is said"
  if tacenda system status > /tmp/out; then fail "status does not see that it is gone"; fi
  has "$(cat /tmp/out)" "changed by somebody since"
  set_it; one_server again; asks $ours again; restore; same restored
}
# What udhcpc and a link of systemd-resolved take away comes back by itself.
watch_it() { tacenda system watch 2> /tmp/watch.log & watcher=$!; }
within() { for _ in $(seq "$1"); do "$2" && return; sleep 0.1; done; cat /tmp/watch.log; fail "not within $1 tenths of a second: $2"; }
now_ms() { date +%s%3N; }
# Until "$2" holds, at most a second after now; the milliseconds are told at the end.
soon() {
  local begin took; begin=$(now_ms)
  for _ in $(seq 300); do if "$2"; then took=$(($(now_ms) - begin)); break; fi; sleep 0.01; done
  [ -n "${took:-}" ] && [ "$took" -lt 1000 ] || { cat /tmp/watch.log; fail "$1: ${took:-over 3000} ms"; }
  detail="${detail:-}, $1: $took ms"
}
case_watched() {
  plain_file; daemon
  udhcpc -i h0 -s /etc/udhcpc/default.script -p /run/udhcpc.pid -b > /tmp/udhcpc.log 2>&1
  has "$(cat /etc/resolv.conf)" 192.168.77.1; before
  watch_it; set_it; asks $ours set
  ours_again() { [ "$(grep -c "set again" /tmp/watch.log)" -gt "$seen" ] && [ "$(grep ^nameserver /etc/resolv.conf)" = "nameserver 127.0.0.1" ]; }
  for renewal in 1 2 3; do
    seen=$(grep -c "set again" /tmp/watch.log || true)
    kill -USR1 "$(cat /run/udhcpc.pid)"
    within 100 ours_again; asks $ours "renewal$renewal"
  done
  kill "$watcher"; wait "$watcher" || true
  one_server "after the watch"; asks $ours afterwards; restore; same restored
}
ours_alone() { [ "$(grep ^nameserver /etc/resolv.conf)" = "nameserver 127.0.0.1" ]; }
stripped() { ! resolvectl --no-pager dns h0 | grep -q 192.168.77.1; }
unwatch() { kill "$watcher"; wait "$watcher" || true; }
# A mount over the file is a change of which no folder tells: only the network does.
case_watchednetwork() {
  address; plain_file; daemon; : > /tmp/lease; before
  watch_it; set_it; asks $ours set
  for change in "addr add 192.168.77.3/24" "addr del 192.168.77.3/24"; do
    sleep 1; printf 'search hotel.example\nnameserver 192.168.77.1\n' > /tmp/lease; mount --bind /tmp/lease /etc/resolv.conf; grep -q 192.168.77.1 /etc/resolv.conf || fail "no mount"
    # shellcheck disable=SC2086 # words
    ip $change dev h0; soon "ip ${change% *}" ours_alone; asks $ours "${change:5:3}"
    umount /etc/resolv.conf
  done
  unwatch; restore; same restored
}
case_watchedlink() {
  address; resolved; daemon; hotel_gives; links > /tmp/links.before; before
  watch_it; set_it; asks $ours set
  # Not even a second after the last change: what comes in the meantime is told too.
  for _ in 1 2 3; do hotel_gives; soon "a link gets servers" stripped; asks $ours "stripped$((nth = ${nth:-0} + 1))"; done
  # A restart of systemd-resolved reads what a manager wrote for the link meanwhile.
  kill "$(cat /run/resolved.pid)"; while [ -e "/proc/$(cat /run/resolved.pid)" ]; do sleep 0.05; done
  printf 'LLMNR=yes\nSERVERS=192.168.77.1\nDOMAINS=com ~hotel.example\nDEFAULT_ROUTE=yes\n' > "/run/systemd/resolve/netif/$(cat /sys/class/net/h0/ifindex)"
  chown -R systemd-resolve: /run/systemd/resolve/netif; sleep 1
  grep 'cannot be looked after' /tmp/watch.log && fail "complains that systemd-resolved does not run"
  systemctl reload-or-restart systemd-resolved.service; soon "systemd-resolved restarts" stripped; asks $ours restarted
  # Without a bus nothing is heard; /etc/resolv.conf is looked after all the same, and the bus is found again.
  unwatch; restore; same_link restored; plain_file; set_it
  dbus_pid=$(pgrep_dbus); kill "$dbus_pid"; while [ -e "/proc/$dbus_pid" ]; do sleep 0.05; done; rm -f /run/dbus/system_bus_socket
  watch_it; sleep 1; printf 'nameserver 192.168.77.1\n' > /etc/resolv.conf; soon "without a bus" ours_alone
  sleep 4; used=$(awk '{print $14 + $15}' "/proc/$watcher/stat"); [ "$used" -lt 20 ] || fail "$((used * 10)) ms of CPU without a bus"
  [ "$(grep -c 'cannot be looked after' /tmp/watch.log)" -le 1 ] || fail "complains more than once"
  deaf=$(sockets); bus; within 150 heard; unwatch; systemctl reload-or-restart systemd-resolved.service; restore
}
pgrep_dbus() { for p in /proc/[0-9]*; do if [ "$(cat "$p/comm" 2>/dev/null)" = dbus-daemon ]; then echo "${p#/proc/}"; fi; done; }
sockets() { find "/proc/$watcher/fd" -lname 'socket:*' | wc -l; }
heard() { [ "$(sockets)" -gt "$deaf" ]; }
case_debian() {
  ignored='^run/'
  mkdir -p /run/resolvconf/interface; ln -sfn /run/resolvconf/resolv.conf /etc/resolv.conf; resolvconf --enable-updates; daemon
  dhclient -pf /run/dhclient.pid -lf /run/dhclient.leases h0 2> /tmp/dhclient.log
  has "$(cat /etc/resolv.conf)" 192.168.77.1
  renew() { dhclient -r -pf /run/dhclient.pid -lf /run/dhclient.leases h0 2>> /tmp/dhclient.log; dhclient -pf /run/dhclient.pid -lf /run/dhclient.leases h0 2>> /tmp/dhclient.log; }
  cycle renew
}
case_openresolv() {
  ignored='^run/'
  address; daemon; rm -f /etc/resolv.conf
  printf 'search hotel.example\nnameserver 192.168.77.1\n' | resolvconf -a h0.dhcp
  has "$(cat /etc/resolv.conf)" "resolvconf"
  renew() { printf 'search com\nnameserver 192.168.77.1\nnameserver 192.0.2.99\n' | resolvconf -a h0.dhcp; printf 'search hotel.example\nnameserver 192.168.77.1\n' | resolvconf -a h0.dhcp; }
  cycle renew
}
bus() {
  mkdir -p /run/dbus; dbus-daemon --system --fork --nopidfile
  for _ in $(seq 50); do [ -S /run/dbus/system_bus_socket ] && return; sleep 0.1; done; fail "no bus"
}
resolved() {
  grep -q systemd-resolve /etc/passwd || echo 'systemd-resolve:x:995:995::/:/usr/sbin/nologin' >> /etc/passwd
  grep -q systemd-resolve /etc/group || echo 'systemd-resolve:x:995:' >> /etc/group
  mkdir -p /run/systemd/resolve; chown systemd-resolve: /run/systemd/resolve
  ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
  cat > /usr/bin/systemctl <<'SH'
#!/bin/bash
# A restart as systemd does it: over when the program is ready.
case "$1 $2" in "reload-or-restart systemd-resolved.service" | "try-reload-or-restart systemd-resolved.service") ;; *) exit 4 ;; esac
old=$(cat /run/resolved.pid 2>/dev/null); [ -z "$old" ] || kill "$old"
while [ -n "$old" ] && [ -e "/proc/$old" ]; do sleep 0.05; done
/usr/lib/systemd/systemd-resolved > /tmp/resolved.log 2>&1 < /dev/null & echo $! > /run/resolved.pid
for _ in $(seq 100); do busctl call org.freedesktop.resolve1 /org/freedesktop/resolve1 org.freedesktop.DBus.Peer Ping > /dev/null 2>&1 && exit 0; sleep 0.05; done
exit 1
SH
  chmod 755 /usr/bin/systemctl; bus; systemctl reload-or-restart systemd-resolved.service || fail "resolved does not start"
}
# Which server it asked last, and whether an address is ready, is no setting.
links() { resolvectl --no-pager status h0 | grep -v Current | sed 's/^ *//'; }
same_link() { links > /tmp/links.after; diff /tmp/links.before /tmp/links.after || fail "the link is not as before ($1)"; }
one_upstream() { [ "$(grep -c '^nameserver' /run/systemd/resolve/resolv.conf)" = 1 ] || fail "resolved has other servers ($1)"; }
sources() { sed -i "s/^hosts:.*/$1/" /etc/nsswitch.conf; }
case_resolved() {
  ignored='^run/systemd/(resolve/netif|netif)|^run/systemd/resolve '
  address; resolved; daemon
  hotel_gives
  for how in 'hosts: resolve [!UNAVAIL=return] files dns' 'hosts: files dns'; do
    sources "$how"; links > /tmp/links.before
    cycle; same_link "$how"
    # The link gets its servers again, as with a new lease: set again takes them.
    set_it; one_upstream set; hotel_gives; set_it; one_upstream again; asks $ours "again"; restore; same_link "a lease, $how"
  done
  # A file of one's own beside it.
  plain_file; systemctl reload-or-restart systemd-resolved.service; cycle; same_link "beside a file"
  # Without a bus.
  set_it; kill "$(cat /run/resolved.pid)"; rm /run/dbus/system_bus_socket; tacenda system restore || fail "restore without a bus"
  [ ! -e /run/systemd/resolved.conf.d ] || fail "the drop-in is left"
}
# systemd-networkd owns the link: resolved says LinkBusy, and networkd is asked for the same.
case_networkd() {
  ignored='^run/systemd/(resolve/netif|netif)|^run/systemd/resolve '
  # Without udev, as in a container.
  resolved; mount -o remount,ro /sys; mkdir -p /etc/systemd/network /run/systemd/netif/{links,leases,lldp}
  chown -R systemd-network: /run/systemd/netif
  printf '[Match]\nName=h0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseDomains=yes\n' > /etc/systemd/network/h0.network
  told=systemd-networkd; /usr/lib/systemd/systemd-networkd > /tmp/networkd.log 2>&1 &
  for _ in $(seq 150); do grep -q 192.168.77.1 /run/systemd/resolve/resolv.conf && break; sleep 0.1; done
  has "$(busctl call org.freedesktop.resolve1 /org/freedesktop/resolve1 org.freedesktop.resolve1.Manager SetLinkDNS 'ia(iay)' "$(cat /sys/class/net/h0/ifindex)" 0 2>&1 || true)" "is managed"
  daemon; sources 'hosts: files resolve [!UNAVAIL=return] dns'
  renew_networkd() { networkctl renew h0; sleep 2; }
  links > /tmp/links.before; cycle renew_networkd one_upstream; same_link restored
  # Configured anew, a link now and then gets its lease's servers again; then they are taken away.
  watch_it; set_it; sleep 1
  for nth in 1 2 3; do
    networkctl reconfigure h0; sleep 2; soon "configured anew" stripped; one_upstream anew; asks $ours "anew$nth"
  done
  unwatch; restore
}
manager() {
  printf '[main]\nplugins=keyfile\n%s\n[keyfile]\nunmanaged-devices=none\n[logging]\nlevel=WARN\n' "$1" > /etc/NetworkManager/NetworkManager.conf
  # As in a container: then it does not wait for udev.
  mount -o remount,ro /sys
  NetworkManager --no-daemon > /tmp/manager.log 2>&1 &
  for _ in $(seq 100); do nmcli general > /dev/null 2>&1 && break; sleep 0.1; done
  nmcli device set h0 managed yes; nmcli connection add type ethernet ifname h0 con-name lan > /dev/null || fail "nmcli"
  nmcli connection up lan > /tmp/nmcli.log 2>&1 || fail "no connection"
}
renew_manager() { nmcli connection down lan > /dev/null; nmcli connection up lan > /dev/null; sleep 1; }
case_manager() {
  ignored='^(run/NetworkManager/(devices|system-connections|secret|no-stub)|etc/NetworkManager/system|run/systemd)'
  bus; daemon; plain_file; manager rc-manager=file; told=NetworkManager
  for _ in $(seq 100); do grep -q 192.168.77.1 /etc/resolv.conf && break; sleep 0.1; done
  cycle renew_manager; writes renew_manager
}
# As Ubuntu and Fedora are: NetworkManager feeds systemd-resolved.
case_desktop() {
  ignored='^(run/NetworkManager/(devices|system-connections|secret|no-stub)|etc/NetworkManager/system|run/systemd/(resolve/netif|netif)|run/systemd/resolve )'
  resolved; daemon; sources 'hosts: files resolve [!UNAVAIL=return] dns'; manager "${desktop_conf:-}"
  for _ in $(seq 100); do grep -q 192.168.77.1 /run/systemd/resolve/resolv.conf && break; sleep 0.1; done
  links > /tmp/links.before; cycle renew_manager one_upstream; same_link restored
  set_it; one_upstream set; renew_manager; one_upstream renewed; restore; renew_manager; same_link "restored and renewed"
}
case_desktop2() { desktop_conf=dns=systemd-resolved; case_desktop; }
# No octet is left on the disk: it is given back all the same.
case_full() {
  address; plain_file; daemon
  mount -t tmpfs -o size=16m tmpfs /mnt; mkdir -p /mnt/etc /mnt/lib; cp -a /etc/. /mnt/etc/
  mount --bind /mnt/etc /etc; mkdir -p /var/lib/tacenda-system; mount --bind /mnt/lib /var/lib/tacenda-system; chmod 700 /mnt/lib
  before; set_it; dd if=/dev/zero of=/mnt/all bs=4k > /dev/null 2>&1 || true; dd if=/dev/zero of=/mnt/rest bs=1 > /dev/null 2>&1 || true
  restore; same "on a full disk"; asks $hotel restored
  # Nor can it be set then, and nothing is changed.
  dd if=/dev/zero of=/mnt/more bs=4k > /dev/null 2>&1 || true
  if tacenda system set --yes > /tmp/out 2>&1; then fail "set on a full disk"; fi
  same "not set on a full disk"; rm /mnt/all /mnt/more; set_it; restore; same "after that"
}
# Debian 12's dhclient knows nothing of systemd-resolved and writes through the link, into its file.
case_resolvedhcp() {
  ignored='^run/systemd/(resolve|netif)'
  resolved; daemon; sources 'hosts: files dns'
  lease() { dhclient "$@" -pf /run/dhclient.pid -lf /run/dhclient.leases h0 2>> /tmp/dhclient.log; }
  renew() { lease -x; lease; }
  lease; has "$(cat /run/systemd/resolve/stub-resolv.conf)" 192.168.77.1
  asks $hotel control; before; has "$(set_it)" "new lease"; asks $ours set; arrives set; renew; arrives renewed; asks $ours renewed
  if grep -q 192.168.77.1 /etc/resolv.conf; then fail "dhclient has written"; fi
  restore; same restored; renew; asks $hotel anew
}
# The machine restarts: what was in /run is gone; the service sets it again.
case_restart() {
  address; resolved; daemon; sources 'hosts: resolve [!UNAVAIL=return] files dns'; hotel_gives
  before; set_it; asks $ours set
  kill "$(cat /run/resolved.pid)"; rm -rf /run/systemd/resolved.conf.d /run/systemd/resolve/netif; printf 'another-boot\n' > /tmp/boot
  mount --bind /tmp/boot /proc/sys/kernel/random/boot_id
  systemctl reload-or-restart systemd-resolved.service; hotel_gives; asks $hotel control
  set_it --if-set --offline; asks $ours "again"; arrives again
  restore; asks $hotel restored
  set_it --if-set; asks $hotel never
}
hotel_gives() { resolvectl dns h0 192.168.77.1; resolvectl domain h0 com '~hotel.example'; resolvectl default-route h0 yes; resolvectl llmnr h0 yes; }
# The journal is damaged: what is ours is taken away, and a new lease does the rest.
case_broken() {
  plain_file; daemon; lease() { dhclient "$@" -pf /run/dhclient.pid -lf /run/dhclient.leases h0 2>> /tmp/dhclient.log; }
  lease; asks $hotel control; set_it; echo '{' > /var/lib/tacenda-system/journal.json
  if tacenda system set --yes > /tmp/out 2>&1; then fail "set beside a broken journal"; fi
  has "$(cat /tmp/out)" "system restore"; has "$(restore)" "new DHCP lease"
  lease -x; lease; asks $hotel "renewed"; set_it; restore; asks $hotel restored
}
# Killed at each of these system calls; then restored.
kill_at() {
  for verb in set restore; do
    for call in "$@"; do
      for nth in $(seq 80); do
        [ $verb = set ] || set_it > /dev/null
        arguments=(system "$verb"); [ $verb = restore ] || arguments+=(--yes)
        strace -qq -o /dev/null -e trace="$call" -e inject="$call:signal=SIGKILL:when=$nth" tacenda "${arguments[@]}" > /dev/null 2>&1 && break
        # systemctl, and systemd-resolved with it, may still be at it.
        [ ! -e /run/resolved.pid ] || systemctl reload-or-restart systemd-resolved.service
        kills=$((kills + 1))
        servers=$(grep -c '^nameserver' /etc/resolv.conf) || true
        [ "$servers" = 1 ] || fail "$servers servers after $verb was killed at $call $nth"
        restore > /dev/null; "$as_before" "$verb killed at $call $nth"
      done
      restore > /dev/null; "$as_before" "$verb, $call"
    done
  done
  [ $kills -gt 20 ] || fail "only $kills kills"
  detail=", killed $kills times"
}
kills=0 as_before=same
case_killed() {
  address; plain_file; mkdir -p /etc/dhcp/dhclient-enter-hooks.d; daemon; before
  kill_at rename renameat renameat2 fsync unlink unlinkat fchmod fchown mkdir symlink
}
# The same in the midst of D-Bus; with a link that has servers of its own.
case_killedbus() {
  ignored='^run/systemd/(resolve/netif|netif)|^run/systemd/resolve '
  address; resolved; daemon; hotel_gives; links > /tmp/links.before; before
  as_before=same_and_link
  kill_at sendmsg rename mkdir rmdir
}
same_and_link() { same "$1"; same_link "$1"; }

network; upstream
"case_$name"
echo "ok: $name${detail:-}"
