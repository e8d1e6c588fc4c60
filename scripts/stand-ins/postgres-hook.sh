#!/bin/sh
# Makes Debian's PostgreSQL under $1 look like the official image's.
set -eu
root=$1
install -m 755 "$(dirname "$0")/postgres-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
mkdir -p "$root/docker-entrypoint-initdb.d" "$root/var/lib/postgresql/data" "$root/var/run/postgresql"
chroot "$root" chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql
chmod 700 "$root/var/lib/postgresql/data"
chmod 3777 "$root/var/run/postgresql"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/apt "$root"/var/log/*.log
