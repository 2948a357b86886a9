#!/bin/bash
# packages.sh FOLDER CERTS: the packages of FOLDER/1 and FOLDER/2 (.ci/packages 1, 2) in a clean Debian root under a real systemd: installed, used,
# upgraded under load, removed; after each, whom programs ask. The network hands out a resolver that answers every name with 203.0.113.66; a
# real Unbound beside it, over TLS, says 192.0.2.80. Needs root, systemd, overlayfs, mmdebstrap, unbound, and Debian's packages for the root.
set -euo pipefail
PACKAGES=$(readlink -f "$1"); CERTS=$(readlink -f "$2"); SELF=$(readlink -f "$0"); HERE=$(dirname "$SELF")
. "$HERE/booted.sh"
if [ "${4:-}" = boot ]; then
  root_of "$3" "$5"
  mkdir "$R/packages"; cp -r "$PACKAGES"/[12] "$R/packages"; cp "$CERTS/ca.pem" "$R/packages"
  install -m 755 "$HERE/load.py" "$R/usr/local/bin/load.py"
  # dpkg shall start services, as on a machine.
  rm -f "$R/usr/sbin/policy-rc.d"
  become_systemd
fi
CLEAN=$(mktemp -d)
mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,dbus,iproute2,python3-minimal,nftables,rpm,ca-certificates "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$CLEAN" > /dev/null
boot "$SELF" "$PACKAGES" "$CERTS" "$CLEAN"
trap 'end; rm -rf "$CLEAN"' EXIT

UNITS="tacenda.socket tacenda.service tacenda-system.service tacenda-guard.service"
network_resolver
cat > "$W/unbound.conf" <<END
server:
  directory: "" chroot: "" username: "" pidfile: "" use-syslog: no logfile: "" do-daemonize: no
  interface: 127.0.0.88@853 tls-service-key: "$CERTS/server.key" tls-service-pem: "$CERTS/server.pem"
  local-zone: "." redirect local-data: ". 60 IN A 192.0.2.80"
remote-control: control-enable: no
END
nsenter -t "$PID" --net unbound -dd -c "$W/unbound.conf" > "$W.unbound" 2>&1 &
UNBOUND=$!; trap 'kill "$UNBOUND" 2> /dev/null || true; end; rm -rf "$CLEAN" "$W.unbound" "$W.out"' EXIT
own() { inside sh -c 'mkdir -p /etc/tacenda/config.d && cp /packages/ca.pem /etc/tacenda && cat > /etc/tacenda/config.d/lab.toml' <<'END'
[[upstream]]
url = "tls://dns.tacenda.test"
addresses = ["127.0.0.88"]
roots = "/etc/tacenda/ca.pem"
[policy]
records = ["nas.example A 192.0.2.9"]
END
}
asks_network() { [ "$(asked www.example)" = 203.0.113.66 ]; }
asks_tacenda() { [ "$(asked "$RANDOM.www.example")" = 192.0.2.80 ]; }
resolv_conf() { inside sh -c 'stat -c "%a %U %F" /etc/resolv.conf; cat /etc/resolv.conf'; }
all_are() { local unit; for unit in $UNITS; do [ "$(inside systemctl "$1" "$unit")" = "$2" ] || { echo "$unit is not $2"; return 1; }; done; }
nothing_is_left() {
  ! inside systemctl list-units --all --plain --no-legend 'tacenda*' | grep tacenda || return 1
  [ -z "$(inside find /etc/systemd /run/systemd/system /usr/lib/systemd /var/lib/systemd/deb-systemd-helper-enabled -name '*tacenda*')" ] || return 1
  local rules; rules=$(inside nft list ruleset) && [ -z "$rules" ] && ! inside test -e /usr/bin/tacenda && [ "$(resolv_conf)" = "$BEFORE" ]
}
set_it() { inside tacenda system set --yes > "$W.out" 2>&1 || { cat "$W.out"; fail "system set"; }; inside tacenda guard on --yes > /dev/null || fail "guard on"
  asks_tacenda || fail "set, programs ask another"; }
until_true 50 asks_network || fail "the network's resolver does not answer"; BEFORE=$(resolv_conf)

install_deb() { inside env DEBIAN_FRONTEND=noninteractive apt-get install -qqy "/packages/$1/$(basename "$PACKAGES/$1"/*.deb)" > "$W.out" 2>&1 || { cat "$W.out"; fail "apt-get install"; }; }
install_deb 1; grep -q '^tacenda runs' "$W.out" || { cat "$W.out"; fail "it does not say what is next"; }
all_are is-active active && all_are is-enabled enabled || fail "not all units are on"
asks_network && [ "$(resolv_conf)" = "$BEFORE" ] && [ -z "$(inside nft list ruleset)" ] || fail "the installation took something over"
inside bash -c 'test -s /usr/share/man/man5/tacenda.toml.5.gz && test -s /usr/share/man/man1/tacenda-system-set.1.gz && test -s /usr/share/zsh/vendor-completions/_tacenda &&
  . /usr/share/bash-completion/completions/tacenda && complete -p tacenda > /dev/null' || fail "manual or completions are missing"
inside tacenda check > /dev/null || fail "the configuration that it brings is wrong"
inside systemctl reload tacenda.service || fail "a reload of what it brings"
inside tacenda service status --json | tr -d ' \n' | grep -o '"whose":"packages"' | grep -c . | grep -qx 4 || fail "the units are not known as a package's"
proves "deb: installed, on, listening, and nobody asks it yet"
own; up() { inside tacenda query "$RANDOM.example" --json | grep -q 192.0.2.80; }
until_true 100 up || fail "a configuration of one's own is not in force"
set_it; inside tacenda status > "$W.out" || { cat "$W.out"; fail "it says that the promise does not hold"; }
grep -q '^protected (' "$W.out" || { cat "$W.out"; fail "not protected"; }
proves "deb: set as system DNS with its guard, it says that the promise holds"
# What the service cannot see is said before it is started anew, and a typo takes nothing from what status says.
inside sh -c 'mkdir -p /home; echo ads.example > /home/ads.txt; printf "[policy]\nblock = [\"/home/ads.txt\"]\n" > /etc/tacenda/config.d/x.toml'
inside tacenda check > "$W.out" 2>&1 && fail "a list below /home is right"; grep -q 'the service cannot see /home/ads.txt' "$W.out" || { cat "$W.out"; fail "not said what it cannot see"; }
inside sh -c 'echo "nonsense = 1" > /etc/tacenda/config.d/x.toml'
in_status() { inside tacenda status 2>&1 | tr -s ' \n' ' ' | grep -q "$1"; }
until_true 100 in_status 'GAP configuration .*nonsense' || { inside tacenda status; fail "beside a typo status says nothing"; }
in_status 'protected, with a gap.* ok upstream' || { inside tacenda status; fail "beside a typo nothing is said of the rest"; }
inside rm /etc/tacenda/config.d/x.toml; until_true 100 in_status '^protected (' || { inside tacenda status; fail "the mended configuration is not seen"; }
proves "deb: a file out of the service's sight is no right configuration, and beside a typo status says how things stand"
A=$(main); inside python3 /usr/local/bin/load.py dpkg -i "/packages/2/$(basename "$PACKAGES"/2/*.deb)" > "$W.out" 2>&1 || { cat "$W.out"; fail "queries were lost over an upgrade"; }
[ "$(main)" != "$A" ] && all_are is-active active || fail "the upgrade started nothing anew"
inside dpkg-query -W -f '${Version}' tacenda | grep -qx '.*-2' || fail "not upgraded"
asks_tacenda && inside tacenda guard status | grep -q '^leak guard: on' || fail "the upgrade took something away"
proves "deb: upgraded under a thousand queries a second ($(grep -o '^[0-9]* queries' "$W.out")), none lost, still set and guarded"
inside systemctl disable --now tacenda-guard.service 2> /dev/null; inside sh -c 'echo "# mine" >> /etc/tacenda/tacenda.toml'
inside dpkg -i "/packages/2/$(basename "$PACKAGES"/2/*.deb)" > "$W.out" 2>&1 || { cat "$W.out"; fail "dpkg -i once more"; }
[ "$(inside systemctl is-enabled tacenda-guard.service)" = disabled ] && ! inside systemctl is-active -q tacenda-guard.service || fail "what was turned off is on again"
inside grep -qx '# mine' /etc/tacenda/tacenda.toml || fail "the configuration is written over"
inside systemctl enable --now tacenda-guard.service 2> /dev/null
proves "deb: what an administrator turned off or wrote stays so"
inside sh -c 'echo "nonsense = 1" > /etc/tacenda/config.d/x.toml'; A=$(main)
inside dpkg -i "/packages/1/$(basename "$PACKAGES"/1/*.deb)" > "$W.out" 2>&1 || { cat "$W.out"; fail "an upgrade beside a mistake"; }
grep -q 'runs on as it was' "$W.out" && [ "$(main)" = "$A" ] && asks_tacenda || { cat "$W.out"; fail "an upgrade beside a mistake ends what answers"; }
inside rm /etc/tacenda/config.d/x.toml; inside systemctl restart tacenda.service
proves "deb: an upgrade beside a mistake in the configuration leaves the one that answers"
# Units of an administrator's own in the place of all of the package's.
inside sh -c 'cp /usr/lib/systemd/system/tacenda* /etc/systemd/system/ && systemctl daemon-reload'
inside dpkg -r tacenda > "$W.out" 2>&1 || { cat "$W.out"; fail "remove beside units of others"; }
asks_network && [ "$(resolv_conf)" = "$BEFORE" ] && [ -z "$(inside nft list ruleset)" ] || fail "beside units of others nothing is given back"
inside sh -c 'rm /etc/systemd/system/tacenda*.s*; systemctl daemon-reload'; install_deb 2; all_are is-active active || fail "installed again"; set_it
# Nothing may come of a removal that another package's failure takes back, but what is said.
inside sh -c 'mkdir -p /tmp/other/DEBIAN && cd /tmp/other && printf "Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\nConflicts: tacenda\nReplaces: tacenda\n" > DEBIAN/control && printf "#!/bin/sh\nexit 1\n" > DEBIAN/preinst && chmod 755 DEBIAN/preinst && dpkg-deb -b . /tmp/other.deb' > /dev/null
! inside dpkg -i /tmp/other.deb > "$W.out" 2>&1 || fail "another package is installed"
grep -q 'in favour of other' "$W.out" && grep -q '^tacenda stays' "$W.out" || { cat "$W.out"; fail "a removal that is taken back is not said"; }
all_are is-active active && all_are is-enabled enabled || { cat "$W.out"; fail "a removal that was taken back leaves it off"; }
asks_network || fail "neither asked nor given back"; set_it
proves "deb: beside units of others all is given back, and a removal that is taken back leaves it on"
# Another address: the socket's unit is the administrator's then, and goes with the package.
inside sh -c 'echo "listen = [\"127.0.0.1:53\", \"[::1]:53\", \"127.0.0.2:53\"]" > /tmp/l; cat /tmp/l /etc/tacenda/config.d/lab.toml > /tmp/m; cp /tmp/m /etc/tacenda/config.d/lab.toml'
inside tacenda service install > "$W.out" || fail "service install beside the package"
[ "$(inside find /etc/systemd/system -name 'tacenda*' -type f)" = /etc/systemd/system/tacenda.socket ] || { cat "$W.out"; fail "it wrote more than it had to"; }
until_true 50 inside tacenda query nas.example --server 127.0.0.2:53 || fail "not at the new address"
asks_tacenda || fail "the new address took something away"
proves "deb: a listen address of one's own is an override in /etc"
# What cannot be given back is not removed.
inside mount --bind /etc/resolv.conf /etc/resolv.conf; inside mount -o remount,bind,ro /etc/resolv.conf
! inside dpkg -r tacenda > "$W.out" 2>&1 || fail "removed though DNS cannot be given back"
grep -q "make it writable" "$W.out" || { cat "$W.out"; fail "not said why"; }
inside umount /etc/resolv.conf; all_are is-active active && asks_tacenda || fail "a removal that failed stopped something"
proves "deb: while the host's DNS cannot be given back, it is not removed, and goes on"
inside dpkg -r tacenda > "$W.out" 2>&1 || { cat "$W.out"; fail "remove"; }
asks_network || fail "removed, names do not go where they went before"; nothing_is_left || fail "removed, something is left"
inside test -e /etc/tacenda/tacenda.toml || fail "the configuration is gone before a purge"
install_deb 2; all_are is-active active && all_are is-enabled enabled || fail "installed again, not all is on"; set_it
inside dpkg --purge tacenda > "$W.out" 2>&1 || { cat "$W.out"; fail "purge"; }
asks_network || fail "purged, names do not go where they went before"; nothing_is_left || fail "purged, something is left"
[ -z "$(inside find /var/lib /etc -path /etc/tacenda/config.d -prune -o -name '*tacenda*' -print | grep -v '^/etc/tacenda$')" ] || fail "purged, files are left"
# Without nft there never was a guard, and none to give back.
install_deb 2; inside mv /usr/sbin/nft /usr/sbin/nft.away; inside dpkg --purge tacenda > "$W.out" 2>&1 || { cat "$W.out"; fail "without nft it cannot be removed"; }
inside mv /usr/sbin/nft.away /usr/sbin/nft; nothing_is_left || fail "without nft, something is left"
proves "deb: removed and purged, programs ask whom they asked before, and nothing is left"
# Somebody else has the port: dpkg is not broken by that, and it is said.
inside rm -r /etc/tacenda
inside sh -c 'echo $$ > /tmp/holder; exec python3 -c "$1"' sh 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53)); time.sleep(60)' > /dev/null 2>&1 &
port_is_taken() { inside ss -Hlun 'sport = 53' | grep -q "127.0.0.1:53"; }; until_true 50 port_is_taken || fail "no holder"
install_deb 1; grep -q '^tacenda cannot run here' "$W.out" || { cat "$W.out"; fail "it does not say that it does not run"; }
all_are is-enabled disabled || fail "it would take the port at the next start of this machine"
inside tacenda doctor > "$W.out" 2>&1 && fail "doctor sees nothing"; grep -q 'python3' "$W.out" || { cat "$W.out"; fail "doctor does not name the owner of the port"; }
inside sh -c 'kill "$(cat /tmp/holder)"'
inside tacenda service install > /dev/null || fail "it cannot be started when the port is free"; own; until_true 100 up || fail "it does not answer when the port is free"
inside dpkg --purge tacenda > /dev/null 2>&1 || fail "purge"; nothing_is_left || fail "purged, something is left"; inside rm -rf /etc/tacenda
proves "deb: a port that is taken is said, and no broken package"

install_rpm() { inside rpm --force-debian --nodeps "$1" "/packages/$2/$(basename "$PACKAGES/$2"/*.rpm)" > "$W.out" 2>&1; }
install_rpm -i 1 || { cat "$W.out"; fail "rpm -i"; }
grep -q 'service install` starts tacenda' "$W.out" || { cat "$W.out"; fail "it does not say what is next"; }
asks_network && [ "$(resolv_conf)" = "$BEFORE" ] || fail "rpm: the installation took something over"
! inside systemctl is-active -q tacenda.service || fail "rpm: started without being told"
own; inside tacenda service install > /dev/null || fail "rpm: service install"
[ -z "$(inside find /etc/systemd/system -name 'tacenda*' -type f)" ] || fail "rpm: units are written a second time"
until_true 100 up || fail "rpm: no answer"; set_it
inside tacenda system status | grep -q '^names asked through libc: arrive' || fail "rpm: libc is not tried"
A=$(main); inside python3 /usr/local/bin/load.py rpm --force-debian --nodeps -U "/packages/2/$(basename "$PACKAGES"/2/*.rpm)" > "$W.out" 2>&1 || { cat "$W.out"; fail "rpm: queries were lost over an upgrade"; }
LOAD=$(grep -o '^[0-9]* queries' "$W.out"); [ "$(main)" != "$A" ] && all_are is-active active && asks_tacenda || fail "rpm: after the upgrade"
inside mount --bind /etc/resolv.conf /etc/resolv.conf; inside mount -o remount,bind,ro /etc/resolv.conf
inside rpm --force-debian -e tacenda > "$W.out" 2>&1 && fail "rpm: removed though DNS cannot be given back"
inside umount /etc/resolv.conf; asks_tacenda || fail "rpm: a removal that failed stopped something"
inside rpm --force-debian -e tacenda > "$W.out" 2>&1 || { cat "$W.out"; fail "rpm -e"; }
grep -q '^restored' "$W.out" || { cat "$W.out"; fail "rpm: it does not say what it gives back"; }
asks_network || fail "rpm: removed, names do not go where they went before"; nothing_is_left || fail "rpm: something is left"
proves "rpm: installed, set, upgraded under load ($LOAD, none lost), removed; DNS worked after each"
