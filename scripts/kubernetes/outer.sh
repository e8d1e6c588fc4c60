#!/usr/bin/env bash
# outer.sh FOLDER: runs the cluster of FOLDER in namespaces of its own (network, mounts, processes) until SIGTERM.
set -euo pipefail
folder=$1
unshare --net --mount --pid --fork --mount-proc --kill-child -- bash "$(dirname -- "${BASH_SOURCE[0]}")/inner.sh" "$folder" &
pid=$!
# The first process of the process namespace: with it, the kernel ends all others, and their mounts disappear. `unshare` itself
# ignores SIGTERM.
end() {
  local first
  first=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) || true
  # shellcheck disable=SC2086  # a list of processes
  [ -z "$first" ] || kill -KILL $first 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  exit 0
}
trap end TERM INT HUP
printf '%s' "$pid" >"$folder/unshare.pid"
wait "$pid"
