#!/usr/bin/env bash
# start.sh [nsd unbound dnsdist kresd named nginx]   real resolvers on 127.0.0.1, ports 15000 and up; all of them by default.
# What already runs in this $LAB is left alone. Fails if one of them does not come up.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
export LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"; mkdir -p "$LAB"/{conf,named,kresd,run}
./pki.sh; ./zones.sh
chmod 755 "$LAB"
for f in conf/*.in; do sed "s,@LAB@,$LAB,g" "$f" > "$LAB/conf/$(basename "${f%.in}")"; done
runs() { local p; p="$(cat "$LAB/run/$1.pid" 2>/dev/null)" && kill -0 "$p" 2>/dev/null; }
bg() { local n=$1; shift; nohup setsid "$@" > "$LAB/$n.out" 2>&1 < /dev/null & echo $! > "$LAB/run/$n.pid"; }
one() { case $1 in
  nsd)     bg nsd     nsd -d -c "$LAB/conf/nsd.conf" ;;
  unbound) bg unbound unbound -d -c "$LAB/conf/unbound.conf" ;;
  dnsdist) bg dnsdist dnsdist --supervised --disable-syslog -C "$LAB/conf/dnsdist.conf" ;;
  kresd)   rm -rf "$LAB/kresd-cache"; cd "$LAB/kresd"; bg kresd kresd -n -c "$LAB/conf/kresd.conf" "$LAB/kresd"; cd "$OLDPWD" ;;
  named)   bg named   named -g -c "$LAB/conf/named.conf" ;;
  nginx)   bg nginx   nginx -c "$LAB/conf/nginx.conf" -g 'daemon off;' ;;
  *) echo "unknown: $1" >&2; exit 2 ;; esac; }
[ $# -gt 0 ] || set -- nsd unbound dnsdist kresd named nginx
declare -A port=([nsd]=15053 [unbound]=15153 [dnsdist]=15154 [kresd]=15155 [named]=15156)
for n; do runs "$n" || one "$n"; done
bad=0
for n; do
  if [ -n "${port[$n]:-}" ]; then   # answers on its plain port; kdig waits a second a try
    for _ in $(seq 20); do kdig @127.0.0.1 -p "${port[$n]}" +timeout=1 +retry=0 www.unsigned.example A 2>/dev/null | grep -q 198.51.100.10 && break; sleep 0.2; done
  fi
  if runs "$n"; then echo "up   $n (pid $(cat "$LAB/run/$n.pid"))"; else echo "DOWN $n - see $LAB/$n.out"; bad=1; fi
done
exit $bad
