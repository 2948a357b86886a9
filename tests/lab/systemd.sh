#!/bin/bash
# systemd.sh TACENDA: the shipped units under a real systemd, in a view of this host's root whose other units are taken out. Needs root, systemd,
# overlayfs and python3. Prints what it proves, and fails at the first thing that is not so.
set -euo pipefail
TACENDA=$(readlink -f "$1"); SELF=$(readlink -f "$0"); HERE=$(dirname "$SELF")
. "$HERE/booted.sh"
if [ "${2:-}" = boot ]; then
  root_of / "$3"
  install -D -m 755 "$TACENDA" "$R/usr/local/bin/tacenda"
  install -D -m 755 "$HERE/load.py" "$R/usr/local/bin/load.py"
  mkdir -p "$R/etc/tacenda"
  printf 'version = 1\n[policy]\nrecords = ["nas.example A 192.0.2.9"]\n' > "$R/etc/tacenda/tacenda.toml"
  become_systemd
fi
answers() { inside tacenda query nas.example --server 127.0.0.1:53 | grep -q 192.0.2.9; }
refused() { inside systemctl show -P StatusText tacenda.service | grep -q 'the new configuration is refused'; }
renewed() { [ "$(main)" != "$A" ]; }
boot "$SELF" "$TACENDA"

inside tacenda service install || fail install
answers || fail "no answer"
inside systemctl show -P StatusText tacenda.service | grep '^listening at 127.0.0.1:53' || fail "no status"
inside journalctl --no-pager -u tacenda.service | grep -c 'taken over from the service manager' | grep -qx 4 || fail "not all sockets are taken over"
proves "installed, started by its sockets' unit, ready, with a status line"
A=$(main); [ "$(inside stat -c %U "/proc/$A" 2> /dev/null)" != root ] || fail "runs as root"
inside grep '^CapEff:' "/proc/$A/status" | grep -q '^CapEff:.0*$' || fail "rights are left"
inside journalctl --no-pager -u tacenda.service | grep -q 'sandboxed: no files but its own' || fail "no sandbox under the unit's filter"
proves "a user of its own, without rights, in its sandbox"
inside systemctl reload tacenda.service || fail reload
[ "$(main)" = "$A" ] && answers || fail "after a reload"
inside sh -c 'mkdir -p /etc/tacenda/config.d && echo "nonsense = 1" > /etc/tacenda/config.d/x.toml'
until_true 100 refused || fail "a refused reload is not told"
answers || fail "after a refused reload"; inside rm /etc/tacenda/config.d/x.toml
proves "a reload goes on in the same process; a refused one is in the status"
inside python3 /usr/local/bin/load.py || fail "queries were lost"
[ "$(main)" != "$A" ] || fail "nothing was started anew"
proves "three restarts under a thousand queries a second lose none"
inside sh -c 'mkdir -p /run/systemd/system/tacenda.service.d && printf "[Service]\nWatchdogSec=2s\n" > /run/systemd/system/tacenda.service.d/w.conf'
inside systemctl daemon-reload; inside systemctl restart tacenda.service; A=$(main); sleep 5
[ "$(main)" = "$A" ] || fail "the watchdog ends one that lives"
inside kill -STOP "$A"
until_true 150 renewed || fail "one that hangs is not ended"
until_true 100 answers || fail "it does not come back"
proves "one that hangs is started anew by the watchdog, one that lives is not"
# Queries that wait start a service again that fails at once, until systemd closes the socket: whoever asks gets no answer, and nothing spins.
inside sh -c 'echo "nonsense = 1" > /etc/tacenda/config.d/x.toml'; ! inside systemctl restart tacenda.service 2> /dev/null || fail "it starts with a mistake"
! inside timeout 3 tacenda query nas.example --server 127.0.0.1:53 > /dev/null 2>&1 || fail "it answers with a mistake"
inside systemctl show -P ExecMainStatus tacenda.service | grep -qx 78 || fail "not the exit code of a mistake"
until_true 50 inside systemctl is-failed tacenda.socket || fail "the socket goes on to start it"
inside rm /etc/tacenda/config.d/x.toml; inside systemctl restart tacenda.service || fail "a mended configuration does not start"
answers || fail "no answer after a mistake was mended"
inside tacenda service install > /dev/null || fail "a second install"; answers || fail "no answer after a second install"
inside systemctl is-active -q tacenda.socket || fail "the socket is not there again"
proves "a mistake in the configuration ends in silence, not in a storm, and is mended by a restart; a second install brings the socket back"
inside sh -c "printf 'nameserver 192.0.2.53\n' > /etc/resolv.conf"
inside systemctl is-active -q tacenda-system.service || fail "nobody keeps what will be set"
inside tacenda system set --offline --yes > /dev/null || fail "system set"
inside sh -c "echo nameserver 192.0.2.9 > /etc/resolv.conf"
until_true 50 inside grep -qx 'nameserver 127.0.0.1' /etc/resolv.conf || fail "what was changed is not set again"
proves "set as system DNS, it stays so"
inside tacenda guard on --offline --yes > /dev/null || fail "guard on"
inside tacenda guard status --json | tr -d ' \n' | grep -q '"on":true,.*"problem":null' || fail "the guard is not as it is wanted"
if inside tacenda guard status --json | tr -d ' \n' | grep -q '"held":true'; then
  inside sh -c 'nft flush ruleset; nft list table inet tacenda' > /dev/null || fail "the guard is flushed away"
elif [ "$(printf '6.9\n%s\n' "$(uname -r)" | sort -V | head -1)" = 6.9 ]; then fail "nobody holds the guard"; fi
inside setpriv --reuid=1000 --clear-groups tacenda guard status | grep -q '^leak guard: on (redirect)' || fail "who is not root is not told"
inside systemctl kill -s KILL tacenda-guard.service; inside nft list table inet tacenda > /dev/null || fail "killed, it takes the rules along"
until_true 50 inside sh -c 'tacenda guard status | grep -q "^kept: others cannot"' || fail "its unit does not start it again"
inside tacenda guard off --for 1s > /dev/null || fail "guard off"
until_true 50 inside nft list table inet tacenda || fail "it is not on again after its time"
inside systemctl restart tacenda.service
in_stats() { inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/8053; printf "GET /stats HTTP/1.0\r\nHost: 127.0.0.1:8053\r\n\r\n" >&3; cat <&3' | grep -q '"mode": *"redirect"'; }
until_true 50 in_stats || fail "the guard is not in /stats"
proves "the leak guard is kept by its unit, is not flushed, outlives a SIGKILL, comes back after its time, and is in /stats"
inside tacenda query a.example --server 127.0.0.1:53 > /dev/null 2>&1 || true
suspects() { inside tacenda portal status --json | tr -d ' \n' | grep -q '"state":"suspect"'; }
until_true 50 suspects || fail "that nothing can be reached is not noticed"
inside tacenda portal open --yes --name login.hotel.example --server 192.0.2.53 --interface lo | grep -q '^window: open' || fail "a consent does not reach the daemon"
until_true 20 inside sh -c "nft list set inet tacenda portal4 | grep -q '192.0.2.53 timeout'" || fail "the kernel lets nothing out"
inside systemctl restart tacenda-guard.service
until_true 50 inside sh -c "nft list set inet tacenda portal4 | grep -q '192.0.2.53 timeout'" || fail "the guard's restart shuts the window"
until_true 50 in_stats || fail "after the guard's restart the daemon cannot read of it any more"
inside tacenda portal status | grep -q '^window: open' || fail "the guard's restart takes the consent back"
inside tacenda portal close | grep -q '^closed; asked of 192.0.2.53 (lo)' || fail "portal close"
until_true 20 inside sh -c "! nft list set inet tacenda portal4 | grep -q timeout.*expires" || fail "closed, the kernel still lets it out"
proves "a consent for a sign-in page reaches the confined daemon, outlives a restart of the guard's keeper, and is taken back"
inside systemctl stop tacenda.service || fail stop
inside systemctl show -P Result tacenda.service | grep -qx success || fail "its stop is no success"
inside tacenda service uninstall || fail uninstall
[ -z "$(inside find /etc/systemd/system -name 'tacenda*')" ] || fail "something is left"
! inside systemctl is-active -q tacenda.socket || fail "the socket still listens"
inside grep -qx 'nameserver 192.0.2.9' /etc/resolv.conf || fail "the system's DNS is not given back"
[ -z "$(inside nft list ruleset)" ] || fail "packet rules are left"
proves "uninstalled: no unit, no link, no socket is left"

# Uninstalled in every state, programs ask whom they asked before the installation: a resolver of the network's, which answers every name.
network_resolver
network_answers() { [ "$(asked nas.example)" = 203.0.113.66 ]; }
looks() { inside sh -c 'stat -c "%a %U %F" /etc/resolv.conf; cat /etc/resolv.conf; find /etc /run -name "*tacenda*" ! -path "/etc/tacenda*" ! -path "/run/tacenda-system*" | sort'; }
until_true 50 network_answers || fail "the network's resolver does not answer"; LOOKS=$(looks)
J=/var/lib/tacenda-system/journal.json
installed() { inside tacenda service install > /dev/null || fail "install before: $1"; }
set_there() { installed "$1"; inside tacenda system set --offline --yes > /dev/null || fail "set before: $1"; [ "$(asked nas.example)" = 192.0.2.9 ] || fail "not asked: $1"; }
# $1 the state, $2 how it comes about; whoever watches would put some of it right at once.
state() { set_there "$1"; inside systemctl stop tacenda-system.service; inside sh -c "$2" || fail "cannot make: $1"; }
away() { inside tacenda service uninstall > "$LOG.out" 2>&1 || { cat "$LOG.out"; fail "uninstall, $1"; }; }
given_back() { away "$1"; [ "$(asked nas.example)" = 203.0.113.66 ] || fail "names go elsewhere: $1"; [ "$(looks)" = "$LOOKS" ] || { looks; fail "not as before: $1"; }; states=$((${states:-0} + 1)); }
stays() {
  ! inside tacenda service uninstall > "$LOG.out" 2>&1 || fail "uninstall though it cannot be given back: $1"
  grep -q "$2" "$LOG.out" || { cat "$LOG.out"; fail "not said why: $1"; }
  for unit in tacenda.socket tacenda.service tacenda-system.service; do inside systemctl is-active -q $unit || fail "$unit is stopped: $1"; done
  [ "$(asked nas.example)" = 192.0.2.9 ] || fail "names go elsewhere: $1"
}
installed "not set"; given_back "not set"
set_there "set"; given_back "set"
for phase in intent steps verify again restoring; do state "cut off at $phase" "sed -i 's/\"phase\": \"applied\"/\"phase\": \"$phase\"/' $J; grep -q '\"$phase\"' $J"; given_back "cut off at $phase"; done
state "nothing done yet" "cp $J /tmp/j; tacenda system restore; sed 's/applied/intent/; s/begun/planned/' /tmp/j > $J; chmod 600 $J"; given_back "nothing done yet"
state damaged "echo '{' > $J"; given_back damaged
state "another version" "sed -i 's/\"version\": 1/\"version\": 7/' $J"; given_back "another version"
state "no journal" "rm $J"; given_back "no journal"
state "tacenda is dead" "systemctl kill -s KILL tacenda.service; systemctl stop tacenda.service tacenda.socket"; given_back "tacenda is dead"
state shield ":"; inside systemctl start tacenda-system.service
inside python3 -c 'import time
for _ in range(300): open("/etc/resolv.conf", "w").write("nameserver 127.0.0.77\n") if not open("/proc/self/mountinfo").read().count("tacenda-system/resolv.conf") else 0; time.sleep(0.01)' 2> /dev/null || true
inside tacenda system status 2> /dev/null | grep -q '^shielded' || fail "no shield"; away shield; [ "$(asked nas.example)" = 203.0.113.66 ] || fail "names go elsewhere: shield"
! inside grep -q tacenda-system /proc/self/mountinfo || fail "the shield is still there"
inside sh -c 'printf "search lan.example\nnameserver 127.0.0.77\n" > /etc/resolv.conf; chmod 640 /etc/resolv.conf; chown daemon /etc/resolv.conf'
state "somebody wrote since" "printf 'nameserver 127.0.0.77\n' > /etc/resolv.conf.new; mv /etc/resolv.conf.new /etc/resolv.conf"; away "somebody wrote since"
[ "$(asked nas.example)" = 203.0.113.66 ] || fail "names go elsewhere: somebody wrote since"; inside grep -qx 'nameserver 127.0.0.77' /etc/resolv.conf || fail "theirs is gone"
inside sh -c 'printf "search lan.example\nnameserver 127.0.0.77\n" > /etc/resolv.conf; chmod 640 /etc/resolv.conf; chown daemon /etc/resolv.conf'
set_there "a unit changed by hand"; inside sh -c 'echo "# mine" >> /etc/systemd/system/tacenda.socket'; away "a unit changed by hand"
[ "$(asked nas.example)" = 203.0.113.66 ] || fail "names go elsewhere: a unit changed by hand"; inside test -e /etc/systemd/system/tacenda.socket || fail "a unit changed by hand is gone"
inside systemctl disable --now tacenda.socket 2> /dev/null; inside rm /etc/systemd/system/tacenda.socket
proves "uninstalled in $((states + 3)) states, names are asked as before the installation"
# What cannot be given back is said, and everything goes on.
set_there "no folder"; inside systemctl stop tacenda-system.service; inside rm -r /var/lib/tacenda-system; inside systemctl start tacenda-system.service
stays "no folder" "still names tacenda alone"
inside sh -c 'rm /etc/resolv.conf; printf "search lan.example\nnameserver 127.0.0.77\n" > /etc/resolv.conf; chmod 640 /etc/resolv.conf; chown daemon /etc/resolv.conf'; given_back "no folder, and a server written"
set_there "read-only"; inside mount --bind /etc/resolv.conf /etc/resolv.conf; inside mount -o remount,bind,ro /etc/resolv.conf
stays "read-only" "make it writable"; inside umount /etc/resolv.conf; given_back "read-only, and writable again"
set_there immutable; inside chattr +i /etc/resolv.conf || fail "no chattr here"
stays immutable "chattr -i"; inside chattr -i /etc/resolv.conf; given_back "immutable, and not any more"
proves "what cannot be given back is said, and nothing is stopped; then it can"
