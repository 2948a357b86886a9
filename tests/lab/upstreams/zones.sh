#!/usr/bin/env bash
# Builds a private, signed DNS tree (root, example., and ~25 child zones, good and broken) under $LAB/zones for NSD.
set -euo pipefail
for PYDNS in /usr/bin/python3 python3; do "$PYDNS" -c "import dns" 2>/dev/null && break; done   # needs dnspython
LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"; Z="$LAB/zones"; mkdir -p "$Z/keys"; cd "$Z"
[ -s nsd-zones.conf ] && [ -z "${FORCE:-}" ] && exit 0
rm -f ./*.zone* ./dsset-* nsd-zones.conf keys/*
TTL=300
hdr() { printf '$TTL %s\n@ SOA ns.lab.example. hostmaster.lab.example. 2026010100 7200 900 1209600 60\n@ NS ns.lab.example.\n' "$TTL"; }
leaf() { # common content of every leaf zone
  hdr; cat <<X
www     A       198.51.100.10
www     AAAA    2001:db8::10
@       A       198.51.100.1
@       MX      10 mail
mail    A       198.51.100.25
txt     TXT     "hello from the lab"
alias   CNAME   www
a.b.ent A       198.51.100.77
*.wild  A       198.51.100.99
*.wild  TXT     "wildcard"
X
}
rich() { # extra names, only in signed.example and unsigned.example
  cat <<X
ttl0    0       A 198.51.100.20
ttlbig  2147483647 A 198.51.100.21
c1      CNAME   c2
c2      CNAME   c3
c3      CNAME   www
loop1   CNAME   loop2
loop2   CNAME   loop1
dangle  CNAME   nx.name
xzone   CNAME   www.unsigned.example.
xbogus  CNAME   www.bogus.example.
@       CAA     0 issue "ca.lab.example"
_443._tcp.www TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
svc     HTTPS   1 . alpn=h2,h3 ipv4hint=198.51.100.30 ipv6hint=2001:db8::30
svcalias HTTPS  0 svc
_dns.svc SVCB   1 dns alpn=dot,h2 port=8853 key7="/dns-query{?dns}"
unk     TYPE65280 \# 4 0A000001
srv     SRV     0 5 5060 www
loc     LOC     51 30 12.748 N 0 7 39.611 W 0.00m 1m 10000m 10m
UPPER.Case A    198.51.100.31
under_score A   198.51.100.32
\000nul A       198.51.100.33
dot\.inlabel A  198.51.100.34
sub     DNAME   target
www.target A    198.51.100.40
rebind4 A       192.168.1.1
rebind4 A       10.0.0.1
rebindlo A      127.0.0.1
rebind0 A       0.0.0.0
rebindll A      169.254.169.254
rebindcg A      100.64.0.1
rebind6 AAAA    ::1
rebindula AAAA  fd00::1
rebindmap AAAA  ::ffff:192.168.1.1
rebind6ll AAAA  fe80::1
rebindsvc HTTPS 1 . ipv4hint=192.168.1.1
X
  for i in $(seq 1 250); do echo "many A 203.0.113.$i"; done            # ~4 KB: truncated over UDP
  for i in $(seq 1 60); do echo "big TXT \"$i $(printf 'x%.0s' $(seq 1 240))\""; done   # ~15 KB
  for i in $(seq 1 190); do echo "huge TXT \"$i $(printf 'y%.0s' $(seq 1 230))\""; done # ~46 KB
  local l63; l63=$(printf 'a%.0s' $(seq 1 63)); echo "$l63.$l63.$l63 A 198.51.100.50"
  for i in $(seq 1 30); do echo "d$i CNAME d$((i+1))"; done; echo "d31 A 198.51.100.51"   # 30-step chain
}
kg() { dnssec-keygen -q -K keys "$@" 2>/dev/null; }
# signz ZONE ALG signzone-args...
signz() { local z=$1 alg=$2; shift 2; local o=""; [ "$alg" = RSASHA256 ] && o="-b 2048"
  kg -a "$alg" $o -f KSK "$z" >/dev/null; kg -a "$alg" $o "$z" >/dev/null
  dnssec-signzone -q -P -S -K keys -d . -o "$z" -f "${z%.}.zone.signed" "$@" "${z%.}.zone" >/dev/null; }
ts() { date -u -d "$1" +%Y%m%d%H%M%S; }
END="-s $(ts "-7 days") -e $(ts "+3650 days")"
mk() { local z=$1; leaf > "$z.zone"; }
for z in signed nsec3 optout iter50 iter500 rsa ed25519 ed448 p384 expired notyet badsig badds nosig unknownalg unknowndigest unsigned mixed sha1ds; do mk "$z.example"; done
rich >> signed.example.zone; rich >> unsigned.example.zone
echo "sub NS ns.sub" >> optout.example.zone; echo "ns.sub A 198.51.100.60" >> optout.example.zone
mk bogus.example
signz signed.example   ECDSAP256SHA256 $END
signz nsec3.example    ECDSAP256SHA256 $END -3 - -H 0
signz optout.example   ECDSAP256SHA256 $END -3 ABCD -H 0 -A
signz iter50.example   ECDSAP256SHA256 $END -3 ABCD -H 50
# BIND refuses more than 150 iterations, so ldns signs this one
k=$(cd keys && ldns-keygen -a ECDSAP256SHA256 -k iter500.example)
ldns-signzone -n -t 500 -s ABCD -o iter500.example -i "$(date -u -d '-7 days' +%Y%m%d%H%M%S)" -e "$(date -u -d '+3650 days' +%Y%m%d%H%M%S)" -f iter500.example.zone.signed iter500.example.zone "keys/$k"
ldns-key2ds -n -2 "keys/$k.key" > dsset-iter500.example.
signz rsa.example      RSASHA256 $END
signz p384.example     ECDSAP384SHA384 $END
signz ed25519.example  ED25519 $END
signz ed448.example    ED448 $END
signz expired.example  ECDSAP256SHA256 -s "$(ts "-60 days")" -e "$(ts "-30 days")"
signz notyet.example   ECDSAP256SHA256 -s "$(ts "+30 days")" -e "$(ts "+3650 days")"
signz badsig.example   ECDSAP256SHA256 $END
signz badds.example    ECDSAP256SHA256 $END
signz bogus.example    ECDSAP256SHA256 $END
signz nosig.example    ECDSAP256SHA256 $END
signz unknownalg.example ECDSAP256SHA256 $END
signz unknowndigest.example ECDSAP256SHA256 $END
signz mixed.example    ECDSAP256SHA256 $END
signz sha1ds.example   ECDSAP256SHA256 $END
# break things on purpose
"$PYDNS" - <<'P'
import re
def flip(zone, owner, rtype):
    f = f"{zone}.zone.signed"; s = open(f).read()
    # RRSIG records span lines "( ... )": flip one base64 character of the first matching signature
    pat = re.compile(r"(RRSIG\s+%s\s[^()]*\([^)]*?\s%s\.\s+)([A-Za-z0-9+/])" % (rtype, re.escape(zone)), re.S)
    n = 0
    def rep(m):
        nonlocal n; n += 1
        return m.group(1) + ("A" if m.group(2) != "A" else "B")
    s = pat.sub(rep, s); open(f, "w").write(s); print(zone, rtype, "signatures broken:", n)
flip("badsig.example", "www", "A")          # every A RRSIG bad, the rest good
flip("bogus.example", "@", "DNSKEY")        # DNSKEY RRset unverifiable
P
cp nosig.example.zone nosig.example.zone.signed                                  # DS in the parent, no signatures in the child
# mixed.example: drop the RRSIGs of TXT only
"$PYDNS" - <<'P'
import dns.zone, dns.rdatatype as T
z = dns.zone.from_file("mixed.example.zone.signed", origin="mixed.example.", relativize=False, check_origin=False)
n = z["txt.mixed.example."]; n.delete_rdataset(1, T.RRSIG, T.TXT); z.to_file("mixed.example.zone.signed", relativize=False)
P
{ hdr; echo 'example NS ns.lab.example.'; echo 'arpa NS ns.lab.example.'; echo 'ns.lab.example. A 127.0.0.1'; cat dsset-example. 2>/dev/null || true; } > root.tmp
{ hdr; echo 'lab NS ns.lab'; echo 'ns.lab A 127.0.0.1'
  for f in *.example.zone; do z=${f%.zone}; [ "$z" = example ] || echo "$z. NS ns.lab.example."; done
  for f in dsset-*.example.; do z=${f#dsset-}; z=${z%.}
    case $z in
      badds.example)         echo "badds.example. DS 12345 13 2 $(printf '%064d' 7)" ;;
      unknownalg.example)    sed -E 's/(DS[[:space:]]+[0-9]+) 13 /\1 200 /' "$f" ;;
      unknowndigest.example) sed -E 's/ 13 2 / 13 200 /' "$f" ;;
      sha1ds.example)        dnssec-dsfromkey -1 "$(grep -l 'IN DNSKEY 257' keys/Ksha1ds.example.*.key | head -1)" ;;
      *)                  cat "$f" ;;
    esac; done
} > example.zone
signz example ECDSAP256SHA256 $END
printf '$TTL 300\n@ SOA ns.lab.example. h.lab.example. 1 7200 900 1209600 60\n@ NS ns.lab.example.\nns A 127.0.0.1\n' > lab.example.zone; cp lab.example.zone lab.example.zone.signed
printf '$TTL 300\n@ SOA ns.lab.example. h.lab.example. 1 7200 900 1209600 60\n@ NS ns.lab.example.\nipv4only A 192.0.0.170\nipv4only A 192.0.0.171\n' > arpa.zone; cp arpa.zone arpa.zone.signed
cp unsigned.example.zone unsigned.example.zone.signed
{ hdr; echo 'example. NS ns.lab.example.'; echo 'arpa. NS ns.lab.example.'; echo 'ns.lab.example. A 127.0.0.1'; cat dsset-example.; } > root.zone
kg -a ECDSAP256SHA256 -f KSK . >/dev/null; kg -a ECDSAP256SHA256 . >/dev/null
dnssec-signzone -q -P -S -K keys -d . -o . -f root.zone.signed $END root.zone >/dev/null
grep -h 'IN DNSKEY 257' keys/K.+*.key > root.key
dnssec-dsfromkey -2 "$(grep -l 'IN DNSKEY 257' keys/K.+*.key)" > root.ds
{ printf 'zone:\n name: "."\n zonefile: "root.zone.signed"\n'
  for f in *.zone.signed; do z=${f%.zone.signed}; [ "$z" = root ] || printf 'zone:\n name: "%s."\n zonefile: "%s"\n' "$z" "$f"; done; } > nsd-zones.conf
sed -E 's/^\. IN DNSKEY 257 3 13 (.*)$/trust-anchors { "." static-key 257 3 13 "\1"; };/' root.key > bind-ta.conf
for f in *.zone.signed; do z=${f%.zone.signed}; [ "$z" = root ] && z=.; named-checkzone -q -i none "$z" "$f" || echo "note: named-checkzone complains about $z (broken zones are meant to)"; done
chmod -R a+rX "$LAB"; echo "zones ready in $Z: $(ls ./*.zone.signed | wc -l) zones; root trust anchor in root.key / root.ds"
