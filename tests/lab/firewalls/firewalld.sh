# A real firewalld with a D-Bus of its own: zones, a policy, masquerading, a port that it leads to somebody's DNS server.
. /tmp/world.sh
build
ip netns add ctr; ip -n ctr link set lo up
ip link add k0 type veth peer name c0; ip link set c0 netns ctr
ip addr add 10.77.0.1/24 dev k0; ip addr add fd78::1/64 dev k0 nodad; ip link set k0 up
ip -n ctr addr add 10.77.0.2/24 dev c0; ip -n ctr addr add fd78::2/64 dev c0 nodad; ip -n ctr link set c0 up
ip -n ctr route add default via 10.77.0.1; ip -n ctr route add default via fd78::1
ip -n out route add fd78::/64 via fd77::50
background python3 -c '
import socket, threading
def serve(server):
    while True:
        stream, _ = server.accept(); stream.sendall(b"hello\n"); stream.close()
for port in (8080, 8081):
    threading.Thread(target=serve, args=(socket.create_server(("0.0.0.0", port)),)).start()'
mkdir -p /run/dbus; dbus-daemon --system --nofork --nopidfile 2> w/dbus.log & pids+=($!)
soon test -S /run/dbus/system_bus_socket
start() { /usr/sbin/firewalld --nofork --nopid >> w/firewalld.log 2>&1 & firewalld=$!; soon firewall-cmd --state; }
stop() { kill "-${1:-TERM}" "$firewalld"; wait "$firewalld" 2> /dev/null || true; }
again() { stop "$1"; sleep 0.2; start; }
fw() { firewall-cmd -q "$@"; }
start
fw --permanent --zone=public --change-interface=h0; fw --permanent --zone=public --add-masquerade; fw --permanent --zone=public --add-port=8080/tcp
fw --permanent --zone=trusted --change-interface=k0
fw --permanent --zone=trusted --add-forward-port=port=5300:proto=udp:toport=53:toaddr=192.168.77.1
fw --permanent --new-policy out; fw --permanent --policy out --add-ingress-zone=trusted; fw --permanent --policy out --add-egress-zone=public
fw --permanent --policy out --set-target=ACCEPT
fw --permanent --direct --add-rule ipv4 filter OUTPUT 0 -d 203.0.113.98 -j DROP
fw --reload
zones() { firewall-cmd --list-all-zones; firewall-cmd --list-all-policies; firewall-cmd --direct --get-all-rules; }
works() {
  local open shut nat
  open=$(out timeout 3 bash -c 'cat < /dev/tcp/192.168.77.50/8080' 2>&1 || true); shut=$(out timeout 3 bash -c 'cat < /dev/tcp/192.168.77.50/8081' 2>&1 || true)
  nat=$(ip netns exec ctr timeout 3 bash -c "exec 3<>/dev/tcp/$outside/80; read -r who <&3; echo \$who" 2>&1 || true)
  [ "$open" = hello ] && [ "$shut" != hello ] && [ "$nat" = 192.168.77.50 ] || fail "$1: 8080: $open, 8081: $shut, NAT: $nat"
}
ways() {
  begin_round
  for how in +notcp +tcp; do
    asked_both host
    asked_both forwarded ip netns exec ctr
  done
  asked "led by firewalld from port 5300 to a DNS server" ip netns exec ctr $dig @192.168.77.50 -p 5300 LABEL.example
}
works before; ways; judged leaks "without the guard"
# What a kill makes of its rules by itself.
stop; nft flush ruleset; start; rules=$(anew)
again KILL; killed=$(anew)
again TERM; before=$(theirs) lists=$(zones)

guarded '"10.77.0.1:53", "[fd78::1]:53"' '"10.77.0.0/24", "fd78::/64"'
same "firewalld's rules with the guard on" "$before" "$(theirs)"
table=$(ours)
for said in "$(cat w/on.log)" "$(tacenda doctor --json || true)"; do
  case $said in *"servers over IPv6 are refused, not answered: another firewall"*) ;; *) fail "nobody says that questions over IPv6 are refused: $said" ;; esac
done
# Over IPv6 the host is refused: firewalld's own RFC3964_IPv4=yes rejects what is led to ::1.
led="tacenda nobody tacenda tacenda"
works on; ways; judged holds "with the guard" "$led $led nobody"
saved
flooded ctr "firewall-cmd --reload" fw --reload; same "firewalld's rules after that" "$rules" "$(anew)"
flooded ctr "firewall-cmd --complete-reload" fw --complete-reload; same "firewalld's rules after that" "$rules" "$(anew)"
flooded ctr "firewalld ended by SIGKILL and started" again KILL; same "firewalld's rules after that, as without the guard" "$killed" "$(anew)"
flooded ctr "firewalld ended by SIGTERM and started" again TERM; same "firewalld's rules after that" "$rules" "$(anew)"
flooded ctr "nft flush ruleset" nft flush ruleset
flooded ctr "firewalld started behind that" again TERM; same "firewalld's rules after that" "$rules" "$(anew)"
works restarted; ways; judged holds "after all that" "$led $led nobody"
same "zones, policies and direct rules" "$lists" "$(zones)"

unguarded
works off; ways; judged leaks "after \`guard off\`"
stop
end firewalld
