#!/usr/bin/env bash
# A program that rewrites /etc/resolv.conf every 10 ms, by writing into it and by putting another file in its place, against
# `tacenda system watch`: lookups keep coming to tacenda, the processor is left alone, the program is named. All in mount and network
# namespaces of its own. Usage: fight.sh TACENDA [SECONDS]. Needs root, python3. Leaves nothing behind.
set -euo pipefail
if [ -z "${INSIDE:-}" ]; then
  tacenda=$(readlink -f "$1")
  exec env INSIDE=outer timeout -k 5 120 unshare --mount --net --propagation private bash "$(readlink -f "$0")" "$tacenda" "${2:-30}"
fi
if [ "$INSIDE" = outer ]; then
  # A host of its own: all that is written goes to memory, and nothing says that this is a container.
  layer=$(mktemp -d)
  mount -t tmpfs none "$layer"
  mkdir "$layer/up" "$layer/work" "$layer/root"
  mount -t overlay overlay -o lowerdir=/,upperdir="$layer/up",workdir="$layer/work" "$layer/root"
  for folder in proc sys dev; do mount --rbind "/$folder" "$layer/root/$folder"; done
  mount -t tmpfs none "$layer/root/run"
  mount -t tmpfs none "$layer/root/tmp"
  rm -f "$layer/root/.dockerenv" "$layer/root/etc/resolv.conf"
  cp "$1" "$layer/root/tmp/tacenda"; cp "$0" "$layer/root/tmp/fight.sh"
  ip link set lo up
  code=0
  INSIDE=inner chroot "$layer/root" bash /tmp/fight.sh /tmp/tacenda "$2" || code=$?
  umount -l "$layer/root" "$layer"
  rmdir "$layer"
  exit "$code"
fi
tacenda=$1 seconds=$2
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; cat "$work"/*.log 2>/dev/null || true; exit 1; }

printf 'nameserver 192.0.2.53\nsearch hotel.example\n' > /etc/resolv.conf
chmod 640 /etc/resolv.conf
before=$(stat -c '%a %u %g' /etc/resolv.conf; cat /etc/resolv.conf)

printf 'version = 1\nlisten = ["127.0.0.1:53"]\n[[upstream]]\nurl = "tls://192.0.2.1"\n[stats]\nlisten = "off"\n' > "$work/t.toml"
"$tacenda" run --config "$work/t.toml" 2> "$work/run.log" & pids+=($!)
for _ in $(seq 100); do "$tacenda" query localhost --server 127.0.0.1:53 > /dev/null 2>&1 && break; sleep 0.05; done
"$tacenda" system set --offline --yes > "$work/set.log" 2>&1 || fail "set"
(umask 077; exec "$tacenda" system watch) 2> "$work/watch.log" & watch=$!; pids+=("$watch")

# One change is put right at once.
sleep 0.5
echo 'nameserver 192.0.2.53' > /etc/resolv.conf
for _ in $(seq 100); do grep -q '^nameserver 127.0.0.1$' /etc/resolv.conf && break; sleep 0.02; done
grep -q '^nameserver 127.0.0.1$' /etc/resolv.conf || fail "one change is not put right"
grep -q 'set again' "$work/watch.log" || fail "it is not said"

cat > "$work/dhcp-client" << 'PY'
import os, sys, time
end, n = time.time() + float(sys.argv[1]), 0
while time.time() < end:
    try:
        if n % 2:
            open("/etc/resolv.conf", "w").write("nameserver 192.0.2.53\n")
        else:
            open("/etc/resolv.conf.dhcp", "w").write("nameserver 192.0.2.53\n")
            os.rename("/etc/resolv.conf.dhcp", "/etc/resolv.conf")
    except OSError:
        pass
    n += 1
    time.sleep(0.01)
PY
cat > "$work/reader" << 'PY'
# What a program finds that starts now, a hundred times a second; the last time that it was not tacenda.
import sys, time
begin, astray, reads, last = time.time(), 0, 0, 0.0
while time.time() < begin + float(sys.argv[1]):
    try:
        servers = [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")]
    except OSError:
        servers = []
    reads += 1
    if servers != ["127.0.0.1"]:
        astray, last = astray + 1, time.time() - begin
    time.sleep(0.01)
print(reads, astray, round(last, 2))
PY
ticks() { awk '{print $14 + $15}' "/proc/$watch/stat"; }
cpu=$(ticks)
python3 "$work/dhcp-client" "$seconds" & pids+=($!)
read -r reads astray last < <(python3 "$work/reader" "$seconds")
cpu=$((($(ticks) - cpu) * 1000 / $(getconf CLK_TCK)))
grep -q 'again and again' "$work/watch.log" || fail "no alarm"
grep 'again and again' "$work/watch.log" | grep -q python3 || fail "the program is not named"
awk -v last="$last" 'BEGIN { exit !(last < 5) }' || fail "after $last s names still went elsewhere ($astray of $reads reads)"
[ "$cpu" -lt $((seconds * 100)) ] || fail "$cpu ms of CPU in $seconds s"
"$tacenda" system status | grep -q '^shielded: ' || fail "status does not say so"
[ "$(stat -c %a /etc/resolv.conf)" = 644 ] || fail "not everybody may read it"
kill "$watch"; wait "$watch" || true
"$tacenda" system restore > "$work/restore.log" 2>&1 || fail "restore"
after=$(stat -c '%a %u %g' /etc/resolv.conf; cat /etc/resolv.conf)
[ "$(tail -n +2 <<< "$after")" = "nameserver 192.0.2.53" ] || [ "$before" = "$after" ] || fail "restored: $after"
grep -q resolv.conf /proc/self/mountinfo && fail "the shield is still there"
echo "ok: $reads programs that started in $seconds s, $astray of them in the first $last s went elsewhere; $cpu ms of CPU; named: $(grep -o 'python3 (pid [0-9]*)' "$work/watch.log" | tail -1)"
