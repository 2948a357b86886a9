# The net of one case: everything outside is one namespace that answers every question; and how it is judged. Sourced, not run.
set -euo pipefail
stranger=203.0.113.67 trusted=203.0.113.80 outside=203.0.113.5
failed=0 pids=()
mkdir -p w; chmod 755 w
fail() { echo "   FAILED: $*"; failed=1; }
say() { printf '  %-84s %s\n' "$1" "$2"; }
out() { ip netns exec out "$@"; }
dig="dig +tries=1 +time=2"
soon() { local n; for ((n = 0; n < 200; n++)); do "$@" > /dev/null 2>&1 && return 0; sleep 0.05; done; fail "not within 10 s: $*"; return 1; }
background() { "$@" & pids+=($!); }

build() {
  ip link set lo up; ip netns add out; ip -n out link set lo up
  ip link add h0 type veth peer name r0; ip link set r0 netns out
  ip addr add 192.168.77.50/24 dev h0; ip addr add fd77::50/64 dev h0 nodad; ip link set h0 up
  ip -n out addr add 192.168.77.1/24 dev r0; ip -n out addr add fd77::1/64 dev r0 nodad; ip -n out link set r0 up
  for address in 8.8.8.8/32 $outside/32 192.0.2.1/32 2001:4860:4860::8888/128; do ip -n out addr add $address dev lo; done
  ip route add default via 192.168.77.1; ip -6 route add default via fd77::1
  sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  echo "nameserver 192.168.77.1" > /etc/resolv.conf
  background out dnsmasq -k --no-resolv --no-hosts --user=root --pid-file --conf-file=/dev/null --address=/#/$stranger --address=/#/2001:db8:66::66
  printf 'server:\n interface: 192.0.2.1@853\n tls-service-key: "/tmp/certs/server.key"\n tls-service-pem: "/tmp/certs/server.pem"
 access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: ""\n chroot: ""\n directory: "/tmp/w"\n pidfile: ""\n use-syslog: no
 logfile: "/tmp/w/unbound.log"\n module-config: "iterator"\n local-zone: "." redirect\n local-data: ". A %s"\n' $trusted > w/unbound.conf
  background out unbound -c w/unbound.conf
  # Says who asks, then whatever is said to it.
  background out python3 echo.py
  out tcpdump -Z root -i r0 -n -U --immediate-mode -s0 -w w/r0.pcap 2> /dev/null & pids+=($!)
  soon grep -q . w/r0.pcap
  soon out dig +tries=1 +time=1 @8.8.8.8 ready.example
}

# Packets to a port for questions that came to the far end, but for tacenda's own to its resolver and those to this host; with a word, those of the last look that name it.
left() {
  [ -n "${1:-}" ] || { sleep 0.3; tcpdump -n -r w/r0.pcap "(dst port 53 or dst port 853 or dst port 5353 or dst port 5355 or dst port 137 or dst port 138)
    and not (dst host 192.0.2.1 and dst port 853) and not dst host 192.168.77.50" > w/left 2> /dev/null; }
  grep -c -- "${1:-.}" w/left || true
}
who() { case $1 in *$stranger*) echo "a stranger" ;; *$trusted*) echo tacenda ;; *"${local_server:-@@}"*) echo "the container" ;; *) echo nobody ;; esac; }

# A question by one way: asked NAME-OF-THE-WAY COMMAND...; LABEL in the command is a word of its own. Judged all together by `judged`.
asked_by=() answers=()
asked() {
  local way=$1 text; shift
  text=$("${@//LABEL/n${#asked_by[@]}x$round}" 2>&1 || true)
  asked_by+=("$way"); answers+=("$(who "$text")")
}
# WHO COMMAND...: servers outside, over IPv4 and IPv6.
asked_both() {
  local who=$1; shift
  asked "$who, 8.8.8.8 $how" "$@" $dig @8.8.8.8 LABEL.example $how
  asked "$who over IPv6 $how" "$@" $dig @2001:4860:4860::8888 LABEL.example $how
}
round=0
# leaks|holds: each way was seen from outside, or none was.
judged() {
  local n seen all; all=$(left)
  for n in "${!asked_by[@]}"; do
    seen=$(left "n${n}x$round\.")
    [ "$1" = holds ] || [ "$seen" -gt 0 ] || fail "void: ${asked_by[$n]} is not seen without the guard"
    [ "$1" = leaks ] || [ "$seen" = 0 ] || fail "seen: ${asked_by[$n]}"
  done
  if [ "$1" = holds ]; then [ "$all" = "$before_all" ] || fail "$((all - before_all)) packets left"; fi
  say "$2: ${#asked_by[@]} ways, $( [ "$1" = leaks ] && echo "each seen outside" || echo "none seen outside" )" "$(printf '%s\n' "${answers[@]}" | sort | uniq -c | awk '{ n = $1; $1 = ""; printf "%s%s:%s", s, substr($0, 2), " " n; s = ", " }')"
  [ -z "${3:-}" ] || [ "$3" = "${answers[*]}" ] || fail "answered by: $(paste -d: <(printf '%s\n' "${asked_by[@]}") <(printf '%s\n' "${answers[@]}"))"
}
begin_round() { round=$((round + 1)) asked_by=() answers=(); before_all=$(left); }

# Everybody's rules but tacenda's, with handles: the same handle is the same rule, never made anew. Without counters.
theirs() {
  nft list tables | grep -v 'inet tacenda$' | while read -r _ family table; do nft -a -s list table "$family" "$table" 2> /dev/null; done
  for program in iptables ip6tables; do $program-save 2> /dev/null | sed -E 's/\[[0-9]+:[0-9]+\]//; /^#/d'; done
}
anew() { theirs | sed -E 's/ # handle [0-9]+//' | grep -v '^#' | sort; }
ours() { nft -a -s list table inet tacenda; }
same() { if [ "$2" = "$3" ]; then say "$1" "the same, $(wc -l <<< "$2") lines"; else fail "$1 differs:"; diff <(echo "$2") <(echo "$3") | head -20 || true; fi; }

# ADDRESS NETWORK...: tacenda listens there too, and the guard is on.
guarded() {
  local more=$1; shift
  mkdir -p /etc/tacenda /var/lib/tacenda /run/tacenda-guard/portal; chown 990:990 /var/lib/tacenda
  printf 'version = 1\nlisten = ["127.0.0.1:53", "[::1]:53", %s]\nallow = ["127.0.0.0/8", "::1", %s]\n[[upstream]]\nurl = "tls://dns.tacenda.test"
addresses = ["192.0.2.1"]\nroots = "/tmp/certs/ca.pem"\n' "$more" "$1" > /etc/tacenda/tacenda.toml
  local caps=+net_bind_service,+net_raw
  setpriv --reuid=990 --regid=990 --clear-groups --inh-caps=$caps --ambient-caps=$caps tacenda run > w/stub.log 2>&1 & pids+=($!)
  soon sh -c 'dig +tries=1 +time=1 @127.0.0.1 localhost | grep -q NOERROR'
  tacenda guard watch > w/guard.log 2>&1 & pids+=($!)
  soon test -e /run/tacenda-guard/report.json
  tacenda guard on --yes > w/on.log 2>&1 || fail "guard on: $(cat w/on.log)"
}
# What an administrator saves of all rules can be loaded again: somewhere else, since the kernel keeps ours for its owner.
saved() {
  nft list ruleset > w/saved.nft 2> /dev/null
  if unshare -n sh -c 'ip link set lo up; nft -f w/saved.nft' > w/load.log 2>&1; then say "all rules as \`nft list ruleset\` saves them" "can be loaded"; else fail "cannot be loaded: $(head -5 w/load.log)"; fi
}
# NAMESPACE WHAT COMMAND...: it and the host ask all the time meanwhile.
flooded() {
  local where=$1 what=$2 first host there; shift 2
  first=$(left); rm -f w/asking.*
  python3 flood.py > w/flood.host & local flood_here=$!
  ip netns exec "$where" python3 flood.py > w/flood.there & local flood_there=$!
  soon test -e w/asking.$flood_here -a -e w/asking.$flood_there
  sleep 0.4; "$@" || fail "$what: $*"; sleep 0.4
  kill $flood_here $flood_there || fail "void: $what: a flood is dead"; wait $flood_here $flood_there || true
  local least
  read -r host there least < <(paste -d' ' w/flood.host w/flood.there | awk '{ print $1 + $4, $2 + $5, ($1 < $4) ? $1 : $4 }') || true
  [ "${least:-0}" -gt 100 ] || fail "void: $what: ${least:-0} questions"
  [ "$(left)" = "$first" ] && [ "$there" = 0 ] || fail "$what: $(($(left) - first)) packets left, strangers answered $there"
  say "$what, while $host questions are asked" "none seen outside"
  same "tacenda's rules after that" "$table" "$(ours)"
}
unguarded() {
  local before; before=$(theirs)
  tacenda guard off > w/off.log 2>&1 || fail "guard off: $(cat w/off.log)"
  ! nft list ruleset 2> /dev/null | grep -q tacenda || fail "rules of tacenda are left"
  same "their rules after \`guard off\`, handles and all" "$before" "$(theirs)"
}
end() {
  [ $failed = 0 ] || tail -n 20 w/guard.log w/stub.log
  kill "${pids[@]}" 2> /dev/null || true; wait
  [ $failed = 0 ] && echo "ok: $1, $SECONDS s"
  exit $failed
}
