#!/usr/bin/env bash
# Makes the demo and test CA and its one server certificate beside this script. Names, serial numbers and dates are fixed;
# only the keys and the signatures differ from run to run. Needs openssl 3.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# A hundred years from the past: no clock of a build machine, wrong ones too, may break `cargo test`.
FROM=20200101000000Z; TO=21200101000000Z
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT

cat > "$work/ca.cnf" <<CNF
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = one
[one]
database = $work/index
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = any
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:dns.tacenda.test, IP:127.0.0.1, IP:::1
CNF
: > "$work/index"; echo 01 > "$work/serial"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
request() { openssl req -new -config "$work/ca.cnf" -key "$1" -subj "/CN=$2" -out "$work/request"; }
sign() { openssl ca -batch -notext -config "$work/ca.cnf" -keyfile "$work/ca.key" -startdate "$FROM" -enddate "$TO" -in "$work/request" "$@" 2>/dev/null; }

key "$work/ca.key"; request "$work/ca.key" "tacenda demo and test CA"
sign -selfsign -extensions root -out ca.pem
key server.key; request server.key "tacenda demo and test resolver"
sign -cert ca.pem -extensions server -out server.pem
chmod 644 ca.pem server.pem server.key
openssl verify -CAfile ca.pem -purpose sslserver -verify_hostname dns.tacenda.test server.pem
# The CA's own key goes with $work: nobody can sign anything else with it.
