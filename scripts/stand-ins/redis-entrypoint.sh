#!/bin/bash
# Entrypoint of the stand-in for redis: `redis-server OPTION…`, just options, a configuration file, or any command.
set -euo pipefail

if [ "${1:-}" = "" ] || [ "${1:0:1}" = - ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
if [ "$1" != redis-server ]; then exec "$@"; fi

if [ "$(id -u)" = 0 ]; then
  chown redis:redis /data
  exec setpriv --reuid=redis --regid=redis --init-groups -- "$0" "$@"
fi
shift
# The official image is built with protected mode off: other containers connect without a password.
file=()
if [ $# -gt 0 ] && [ "${1:0:1}" != - ]; then
  file=("$1")
  shift
fi
exec redis-server "${file[@]}" --protected-mode no "$@"
