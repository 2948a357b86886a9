#!/usr/bin/env bash
# Makes the lab CA, the good server certificate and a set of bad ones under $LAB/pki.
set -euo pipefail
LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"; P="$LAB/pki"; mkdir -p "$P"; cd "$P"
[ -s server.pem ] && exit 0
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
cat > ext.cnf <<'X'
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[good]
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=DNS:dns.lab.example,DNS:*.wild.lab.example,IP:127.0.0.1,IP:::1
[wrongname]
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
authorityKeyIdentifier=keyid
subjectAltName=DNS:other.lab.example
[cnonly]
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
authorityKeyIdentifier=keyid
[clienteku]
basicConstraints=CA:FALSE
extendedKeyUsage=clientAuth
authorityKeyIdentifier=keyid
subjectAltName=DNS:dns.lab.example,IP:127.0.0.1
[subca]
basicConstraints=critical,CA:FALSE
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
subjectAltName=DNS:notaca.lab.example
X
mkca() { key "$1.key"; openssl req -new -x509 -key "$1.key" -subj "/CN=$2" -days 3650 -out "$1.pem" -config <(printf '[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n'; cat ext.cnf); }
mkca ca "lab test CA"; mkca otherca "some other CA"
# issue NAME EXT CA CN [extra x509 args...]
issue() { local n=$1 e=$2 c=$3 cn=$4; shift 4; [ -s "$n.key" ] || key "$n.key"
  openssl req -new -key "$n.key" -subj "/CN=$cn" -out "$n.csr"
  openssl x509 -req -in "$n.csr" -CA "$c.pem" -CAkey "$c.key" -CAcreateserial -extfile ext.cnf -extensions "$e" -out "$n.crt" "$@" 2>/dev/null
  cat "$n.crt" "$c.pem" > "$n.pem"; }
issue server    good      ca      dns.lab.example -days 3650
issue wrongname wrongname ca      other.lab.example -days 3650
issue cnonly    cnonly    ca      dns.lab.example -days 3650          # name only in CN: must be refused (RFC 6125/9525)
issue clienteku clienteku ca      dns.lab.example -days 3650          # wrong EKU
issue untrusted good      otherca dns.lab.example -days 3650
key expired.key; key notyet.key
faketime '-400 days' bash -c "$(declare -f key issue); issue expired good ca dns.lab.example -days 30"
faketime '+400 days' bash -c "$(declare -f key issue); issue notyet good ca dns.lab.example -days 30"
key selfsigned.key; openssl req -new -x509 -key selfsigned.key -subj /CN=dns.lab.example -days 3650 -addext "subjectAltName=DNS:dns.lab.example,IP:127.0.0.1" -out selfsigned.pem
issue notaca    subca     ca      notaca.lab.example -days 3650        # a leaf used as if it were an intermediate
issue viafakeca good      notaca  dns.lab.example -days 3650; cat viafakeca.crt notaca.crt ca.pem > viafakeca.pem
openssl genrsa -out weak.key 1024 2>/dev/null; issue weak good ca dns.lab.example -days 3650   # RSA-1024
openssl x509 -in server.crt -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64 > server.spki-pin
chmod 644 ./*.key   # lab keys only: daemons run as other users
echo "pki ready in $P"
