#!/usr/bin/env bash
# Asks every lab server one signed name over DoT and DoH; prints status, AD, padding, size; then the DNSSEC table.
LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"; CA=$LAB/pki/ca.pem; bad=0
q() { kdig @127.0.0.1 -p "$2" +"$1" +tls-ca="$CA" +tls-hostname=dns.lab.example +dnssec +padding=128 +timeout=3 +retry=0 www.signed.example A 2>&1; }
for s in "unbound 15253 15443" "dnsdist 15254 15444" "kresd 15255 15445" "bind 15256 15446" "nginx 15258 15448"; do set -- $s
  for m in tls https; do p=$2; [ $m = https ] && p=$3; [ "$p" = - ] && continue; o=$(q $m "$p")
    printf '%-10s %-5s %s  %s\n' "$1" $m "$p" "$(grep -oE '\(TLS1\.[0-9]\)|HTTP/2-[A-Z]+|\(status: [0-9]+\)|status: [A-Z]+|Flags:[a-z ]+|PADDING: [0-9]+ B|Received [0-9]+ B' <<<"$o" | tr '\n' '|')"
    grep -q 'status: NOERROR' <<<"$o" || bad=$((bad+1)); done; done
echo; printf '%-14s %-26s %-26s %s\n' zone unbound kresd bind
for z in signed nsec3 optout iter50 iter500 rsa p384 ed25519 ed448 unsigned unknownalg unknowndigest sha1ds mixed expired notyet badsig badds bogus nosig; do printf '%-14s ' $z
  for p in 15153 15155 15156; do n=www t=A; [ $z = mixed ] && n=txt t=TXT
    o=$(kdig @127.0.0.1 -p $p +dnssec +timeout=4 +retry=0 $n.$z.example $t 2>&1)
    printf '%-26s ' "$(grep -oE 'status: [A-Z]+' <<<"$o" | cut -d' ' -f2) $(grep -oE 'Flags:[a-z ]+' <<<"$o" | grep -ow ad) $(grep -oE 'EDE: [0-9]+' <<<"$o" | tr '\n' ' ')"; done; echo; done
exit $bad
