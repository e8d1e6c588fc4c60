#!/bin/sh
# Installs the Debian packages of one set, unless the image has them already: the weekly base image brings most sets along,
# so that the application's own build has nothing left to install.
#
#   system-packages.sh runtime|node|chromium
set -eu

marker=/usr/local/share/site-packages.d/$1
if [ -e "$marker" ]; then
  echo "packages of the set '$1' are in the base image"
  exit 0
fi

case $1 in
  runtime) set -- "$1" ca-certificates curl tini ;;
  node) set -- "$1" nodejs npm ;;
  chromium) set -- "$1" chromium fonts-dejavu-core ;;
  *) echo "unknown set of packages: $1" >&2; exit 1 ;;
esac
shift

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/*
mkdir -p "$(dirname "$marker")"
echo "$@" > "$marker"
