#!/bin/sh
# Changes Debian's Python under $1 so that a Dockerfile written for python:3.13-slim works. $2: a CA bundle, or nothing.
set -eu
root=$1
version=3.13

# pip installs into the system, as in the official image.
rm -f "$root/usr/lib/python$version/EXTERNALLY-MANAGED"

# Dockerfiles copy /usr/local/lib/python3.13/site-packages from stage to stage; Debian's name for it is another.
mkdir -p "$root/usr/local/lib/python$version/site-packages"
rm -rf "$root/usr/local/lib/python$version/dist-packages"
ln -s site-packages "$root/usr/local/lib/python$version/dist-packages"

# From its wheel: Debian's package of pip could not be upgraded by pip itself (it has no RECORD file).
wheel=$(cd "$root" && echo usr/share/python-wheels/pip-*.whl)
chroot "$root" python3 "/$wheel/pip" install --quiet --no-index --no-cache-dir --root-user-action=ignore "/$wheel"

for name in python python3 "python$version"; do
  ln -s "/usr/bin/python$version" "$root/usr/local/bin/$name"
done

if [ -n "${2:-}" ]; then cat -- "$2" >"$root/etc/ssl/certs/ca-certificates.crt"; fi
find "$root/usr" -name __pycache__ -prune -exec rm -rf {} +
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*
