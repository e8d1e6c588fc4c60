#!/bin/sh
# Makes Debian's Redis under $1 look like the official image's.
set -eu
root=$1
install -m 755 "$(dirname "$0")/redis-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
mkdir -p "$root/data"
chroot "$root" chown redis:redis /data
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/apt "$root"/var/log/*.log
