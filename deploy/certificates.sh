#!/bin/sh
# A certificate authority of your own, and what deploy/compose.production.yaml needs of it, in the directory that is
# named: `deploy/certificates.sh deploy/certs`. Run again, it renews what the authority has signed and keeps the authority.
#
# Checked by tests/interop with openssl, and in use there by all programs.
#
# server.*: for every part that listens, with the names of the services in the compose files. client.*: for the
# Collector, which shows it to Jaeger. Certificates are good for 90 days.
set -eu
directory=${1:?usage: certificates.sh DIRECTORY [NAME ...]}
shift
names="DNS:localhost,IP:127.0.0.1,DNS:collector,DNS:otelcol,DNS:jaeger,DNS:elasticsearch,DNS:tempo,DNS:prometheus,DNS:grafana"
for name in "$@"; do names="$names,DNS:$name"; done

umask 077
mkdir -p "$directory"
cd "$directory"
if [ ! -e ca.key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=tracing CA" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca.key -out ca.crt 2>/dev/null
fi
for role in server client; do
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%sAuth\nsubjectAltName=%s\n' \
    "$role" "$names" > "$role.ext"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=tracing $role" \
    -keyout "$role.key" -out "$role.csr" 2>/dev/null
  openssl x509 -req -in "$role.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -extfile "$role.ext" \
    -out "$role.crt" 2>/dev/null
  rm "$role.csr" "$role.ext"
done
chmod 0644 ./*.crt
chmod 0644 server.key client.key # the parts run as users of their own; the directory is what keeps others out
